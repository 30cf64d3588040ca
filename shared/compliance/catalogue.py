"""The catalogue: frameworks with their controls, what data is not there yet, and where their content was confirmed."""

from __future__ import annotations

from dataclasses import dataclass

from shared.compliance.controls import gdpr, hipaa, iso_27001, pci_dss, pci_dss_logging, soc2, soc2_privacy
from shared.compliance.controls.model import Control
from shared.compliance.facts.data_use import MOST_ACTORS
from shared.compliance.report_model import Framework

CATALOGUE_VERSION = "3"
CATALOGUE_DIGEST = "ad7424dc5007f778f68b56aeeb6af6528e44b587d62e2a9adcaf0478c84ff16e"
"""Which catalogue a report was made by: what is tested of a control, and what a status of it means. Raised whenever
that changes: a control, its evidence, needs or exposure, a rule or what it finds, a metric, a threshold, a gap, or a
rule of status. Reports of one version can be compared; of others, a status may differ although nothing else did. The
digest is SHA-256 of all that is said of these (`tests/compliance/test_catalogue.py`): where it changes, the version
does. What the code of a rule or a metric finds is not in it: whoever changes that raises the version, too."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A framework with its controls, in their order, and what its reports add for the reader."""

    framework: Framework
    controls: tuple[Control, ...]
    duties: tuple[str, ...]


_ATTACH = "Evidence from outside the trail, where a control says that only that can show it."

FRAMEWORKS: dict[str, Listed] = {
    each.framework.id: each
    for each in (
        Listed(
            Framework("gdpr", "GDPR", "Regulation (EU) 2016/679"),
            gdpr.CONTROLS,
            (
                "The register of processing, its purposes and legal bases.",
                "Answering persons, and telling them.",
                _ATTACH,
            ),
        ),
        Listed(
            Framework("soc2", "SOC 2", "Trust Services Criteria 2017, points of focus 2022; over a period (Type II)"),
            (*soc2.CONTROLS, *soc2_privacy.CONTROLS),
            ("Approving access before it is given.", "Reviewing access and alerts.", _ATTACH),
        ),
        Listed(
            Framework("hipaa", "HIPAA", "45 CFR Part 164 Subpart C, and 164.528"),
            hipaa.CONTROLS,
            ("Purpose and recipient on every disclosure that its systems report.", "Reviewing activity.", _ATTACH),
        ),
        Listed(
            Framework("pci_dss", "PCI DSS", "v4.0.1"),
            (*pci_dss.CONTROLS, *pci_dss_logging.CONTROLS),
            (
                "Sending events of every access to card data.",
                "The daily review, and the targeted risk analysis.",
                _ATTACH,
            ),
        ),
        Listed(
            Framework("iso_27001", "ISO/IEC 27001", "2022, Annex A"),
            iso_27001.CONTROLS,
            ("The statement of applicability.", "Reviewing access and incidents.", _ATTACH),
        ),
    )
}
"""Every framework by its id."""

GAPS: dict[str, str] = {
    "G01": "Requests of persons other than for erasure and export, such as to correct: the register has no such kind",
    "G10": "An off-system copy of the log: up to where it reaches, and a test of restoring it",
    "G11": "Purpose, recipient, legal basis and digests on events of data, where their producer does not give them",
    "G15": "How data was protected in transit",
    "G16": "Emergency access: that it was used, why, and its later review",
    "G18": "A reset of a password as an event of its own, with how the person was identified",
    "G19": "The channel of a consent, and which notice was shown",
    "G22": "Removal at the end of retention: months expire whole in the store, and no event is written of it",
    "on_call": "Who may work outside working hours: a setting of the organization",
    "data_roles": "Which roles may touch which class of data of the organization's other systems: a setting of its",
    "many_actors": f"Who used data outside working hours, of a day on which more than {MOST_ACTORS} used any: the "
    "others are counted together",
    "basis": "The legal basis of uses after a consent was withdrawn: `consent`, or one of Article 6(1)(b) to (f) GDPR",
    "requests": "The register of requests of persons",
    "two_factors": "A login with two factors before each use of card data, on its day or the day before",
    "factors": "Whether a login of a day's first minute showed a second factor: that may have been before midnight",
    "logins": "Who signed in, of a day on which very many did",
    "decision": "Whether an incident is reportable: decisions that say so begin with `reportable` or `not reportable`",
    "alerts": "The alerts and their histories",
    "accounts": "The accounts as they are",
    "policies": "The settings in force",
    "sources": "Which sources are expected to send events: a setting of the organization",
    "facts": "All of what a day held: so much happened that what matters to the rule is counted and not all named; or "
    "what is sealed of the week before cannot be relied on",
    "last_logins": "The last logins of all accounts: more than can be looked for were not seen in the period",
    "operations": "Signs of life of detection and of the writer of the trail",
}
"""Data that a control may want and the trail may not have."""

SOURCES: dict[str, str] = {
    "PRW": "a list of compliance checks of an open tool (Prowler 5.46)",
    "CLW": "a vendor's pages on PCI DSS v4.0.1 (excerpts)",
    "WPC": "withpci.com, v4.0.1 (excerpts)",
    "MYC": "myctrl.tools, v4.0",
    "XM": "a third party's mind map of requirement 10, v4",
    "CFR": "45 CFR 164.308, .312, .316 as published",
    "C528": "45 CFR 164.528 as published",
    "TSC": "the criteria as published in an open tool (comply, TSC 2017)",
    "ISO": "id and subject in public statements of applicability",
    "G12": "GDPR article 12",
    "G33": "GDPR article 33",
    "G34": "GDPR article 34",
    "G5": "a summary of GDPR article 5",
    "GT": "a public table of contents; content unconfirmed",
    "BLG": "a blog on v4.0 (secondary)",
    "OWN": "no source: unconfirmed",
}
"""Where numbers and contents of controls were seen."""
