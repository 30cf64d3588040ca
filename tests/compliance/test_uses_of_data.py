"""Uses of card data without a second factor, exports without a purpose, and consent that was withdrawn."""

from __future__ import annotations

from typing import Any

import pytest

from shared.audit.entries import entry_of
from shared.audit.values import HIGHEST_NUMBER
from shared.compliance.builder import Order, build
from shared.compliance.facts import card_use, data_use
from shared.compliance.facts.data_use import relied_on
from shared.compliance.facts.fold import fold
from shared.compliance.facts.gone import Before
from shared.compliance.facts.logins import OneFactor, one_factor
from shared.compliance.facts.merged import Facts
from shared.compliance.parts import encode
from shared.compliance.rules.model import Result
from shared.core.canonical import canonical
from tests.compliance.judging import run, status
from tests.compliance.trails import CLASSES, DAYS, Trail, new_evidence

UNKNOWN_BASES = (
    *(
        None,
        ".",
        "Einwilligung",
        "a consent",
        "her consent",
        "art 6 1 a",
        "同意",
        "law",
        "с\u043ensent",
        "contract or consent",
    ),
    *("legitimate interests, formerly consent", "not consent", "Art. 6", "Art. 6(1)", "6(1)(b) and (a)", "contractual"),
)
"""What is neither clearly a consent nor clearly another basis."""
OTHER_BASES = (
    *("contract", "Performance of a contract", "legal obligation", "legal_obligation", "vital interest", "public task"),
    *(
        "public-interest",
        "Legitimate  Interests",
        "legitimate interest (Art. 6(1)(f))",
        "Art. 6(1)(b) GDPR",
        "6 (1) (c)",
    ),
    *("article 6(1)(e): public task", "Art. 6(1)(b) (contract)", "legal obligation, art.6(1)(c) GDPR"),
)


class TestSecondFactor:
    """8.4.2: whoever uses card data has signed in with two factors before, that day or the day before."""

    @staticmethod
    def judged(*logins: tuple[str, bool], used: str = "05T10:00", **told: Any) -> tuple[str, str | None]:
        trail = Trail()
        for at, mfa in logins:
            trail.login("emp1", at, mfa=mfa)
        trail.say("data.read", used, **({"who": "emp1", "role": None, "data_class": "cardholder"} | told))
        trail.entries.sort(key=lambda each: (each["recorded_at"], each["id"]))
        return status("pci-8.4.2", new_evidence(trail, "pci_dss"))

    def test_only_a_login_that_covers_the_use_will_do(self) -> None:
        unknown, passed = ("not-evidenced", "data-missing"), ("satisfied", None)
        assert self.judged() == unknown, "somebody who never signs in to us"
        assert self.judged(("05T09:00", True)) == passed
        assert self.judged(("05T11:00", True)) == unknown, "signed in after it"
        assert self.judged(("04T23:00", True)) == passed
        assert self.judged(("04T00:10", True), ("05T11:00", True)) == passed
        assert self.judged(("03T23:00", True)) == unknown, "too long ago"
        assert self.judged(("04T23:00", False))[0] == "exception"
        assert self.judged(("05T09:00", False))[0] == "exception"
        assert self.judged(("05T09:00", False), ("05T09:30", True)) == passed, "with two before the use"
        assert self.judged(("04T09:00", True), ("05T09:00", False)) == passed, "with two on the day before"
        assert self.judged(("05T09:00", False), ("05T11:00", True))[0] == "exception", "with two after the use"
        assert self.judged(("20T09:00", False), ("05T09:00", True)) == passed, "nothing was used by it"
        assert self.judged(("05T00:00:20", False)) == unknown, "its factor may have been shown before midnight"
        assert self.judged(("04T23:00", False), ("05T00:00:20", False)) == unknown
        assert self.judged(("04T00:00:20", False), ("05T09:00", False)) == unknown
        assert self.judged(("05T00:00:20", False), ("05T09:00", True)) == passed
        assert self.judged(("05T00:01", False))[0] == "exception"
        assert self.judged(who=None) == unknown
        assert self.judged(actor="service", who="batch") == ("not-evidenced", "no-occurrence")
        assert self.judged(outcome="denied") == ("not-evidenced", "no-occurrence")

    @pytest.mark.parametrize("factor", ["mfa.challenge", "mfa.recovery_used"])
    @pytest.mark.parametrize(("shown", "passes"), [("04T23:59:59", True), ("05T00:00:01", True), (None, False)])
    def test_a_factor_shown_before_midnight_counts_for_the_login_after_it(
        self, factor: str, shown: str | None, passes: bool
    ) -> None:
        """For both rules that ask: a day looks at what was sealed beside it, too."""
        trail = Trail()
        if shown is not None:
            trail.say(factor, shown, who="emp1", target="emp1", request="r-1")
        trail.say("auth.login", "05T00:00:02", who="emp1", target="emp1", role="user", request="r-1")
        trail.say("data.read", "05T10:00", who="emp1", role=None, data_class="cardholder")
        entries = [(index, entry_of(each)) for index, each in enumerate(trail.entries)]
        facts = Facts(DAYS, {day: fold(day, entries) for day in ("2026-03-04", "2026-03-05")})
        result = run("AUTH-06", trail, "pci_dss", facts=facts)
        assert result == (Result() if passes else Result((), ("two_factors",)))
        assert one_factor(facts.documents) == ({} if passes else {"emp1": [OneFactor("2026-03-05", 0, None, 1, 2.0)]})
        assert status("pci-8.4.2", new_evidence(trail, "pci_dss", facts)) == (
            ("satisfied", None) if passes else ("not-evidenced", "data-missing")
        )

    def test_the_order_of_sealing_changes_nothing(self) -> None:
        trail = Trail()
        trail.say("data.read", "05T10:00", who="emp1", role=None, data_class="cardholder")
        trail.login("emp1", "05T09:00")
        assert run("AUTH-06", trail, "pci_dss") == Result()

    def test_each_user_counts_also_beyond_what_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(card_use, "MOST_CARD_USERS", 3)
        trail = Trail()
        for name in ("a", "b", "c"):
            trail.login(name, "05T08:00")
            trail.say("data.read", "05T10:00", who=name, role=None, data_class="cardholder")
        assert run("AUTH-06", trail, "pci_dss") == Result()
        trail.say("data.read", "05T10:00", who="z", role=None, data_class="cardholder")
        assert run("AUTH-06", trail, "pci_dss").missing == ("two_factors", "facts")

    def test_systems_are_not_signed_in_to(self, monkeypatch: pytest.MonkeyPatch) -> None:
        trail = Trail()
        trail.say("data.read", "05T10:00", actor="service", who="batch", role=None)
        assert run("ACC-12", trail) == Result()
        monkeypatch.setattr(data_use, "MOST_TOUCHED", 2)
        for number in range(3):
            trail.login(f"u{number}", "06T10:00")
        assert run("ACC-12", trail).missing == ("logins",), "of so many it cannot be told"
        monkeypatch.undo()
        trail.login("batch", "20T10:00")
        (found,) = run("ACC-12", trail).found
        assert found.text == "batch signed in"


class TestUsesOfData:
    @pytest.mark.parametrize("purpose", [".", "-", "  ", "x", "…!?", 7, True, None, ["care"]])
    def test_a_word_that_says_nothing_is_no_purpose(self, purpose: Any) -> None:
        trail = Trail()
        trail.say("data.export", data_class="phi", records=5000, recipient="clinic.example.com", purpose=purpose)
        assert run("DATA-01", trail).found
        assert run("DATA-04", trail).found

    @pytest.mark.parametrize("purpose", ["care", "診療", "42", "รักษา"])
    def test_one_that_says_something_is(self, purpose: str) -> None:
        trail = Trail()
        trail.say("data.export", data_class="phi", records=5000, recipient="clinic.example.com", purpose=purpose)
        assert run("DATA-01", trail) == run("DATA-04", trail) == Result()

    def test_a_large_export_is_one_whatever_its_class(self) -> None:
        for data_class in ("none", *CLASSES):
            trail = Trail()
            trail.say("data.export", data_class=data_class, records=5_000_000)
            (found,) = run("DATA-01", trail).found
            assert found.text == "ada exported 5000000 records"

    @pytest.mark.parametrize(
        ("purpose", "basis", "found", "missing"),
        [
            ("care", "consent", True, ()),
            ("care", "Consent", True, ()),
            (" CARE ", " consent (Art. 6(1)(a))", True, ()),
            (None, "consent", True, ()),
            ("billing", "consent", False, ()),
            ("care", "contract", False, ()),
            ("care", "explicit consent", True, ()),
            *(("care", basis, False, ("basis",)) for basis in UNKNOWN_BASES),
            *((None, basis, False, ("basis",)) for basis in UNKNOWN_BASES),
            *(("billing", basis, False, ()) for basis in UNKNOWN_BASES),
            *(("care", basis, False, ()) for basis in OTHER_BASES),
        ],
    )
    @pytest.mark.parametrize("day", ["02", "20"])
    def test_a_withdrawn_consent_is_found_however_it_is_written(
        self, purpose: str | None, basis: str | None, found: bool, missing: tuple[str, ...], day: str
    ) -> None:
        trail = Trail()
        trail.say("data.read", "01T08:00", data_class="personal", about=["p2"], purpose="care", legal_basis="consent")
        trail.say("consent.withdraw", "02T09:00", about=["p1"], purpose="care", version="1")
        said: dict[str, Any] = {"legal_basis": basis} if basis else {}
        trail.say("data.read", f"{day}T10:00", data_class="personal", about=["p1"], purpose=purpose, **said)
        result = run("DATA-03", trail, "gdpr")
        assert (bool(result.found), result.missing) == (found, missing)
        trail.say("consent.grant", f"{day}T11:00", about=["p1"], purpose="Care", version="2")
        trail.say("data.read", "25T12:00", data_class="personal", about=["p1"], purpose="care", legal_basis="consent")
        again = run("DATA-03", trail, "gdpr")
        assert sum(e.count for e in again.found) == sum(e.count for e in result.found), "it was given again"

    def test_a_use_of_an_unknown_basis_is_a_gap_where_it_may_be_on_what_was_withdrawn(self) -> None:
        """Before it was, of somebody else, once it was given again, or to delete what there is, it is none."""

        def gaps(*steps: tuple[str, str, str], before: Before | None = None) -> tuple[str, ...]:
            trail = Trail()
            trail.say("data.read", "01T08:00", data_class="phi", about=["p2"], purpose="care", legal_basis="consent")
            for kind, at, person in steps:
                own: dict[str, Any] = (
                    {"version": "1"} if kind.startswith("consent") else {"legal_basis": "Einwilligung"}
                )
                trail.say(kind, at, data_class="personal", about=[person], purpose="care", **own)
            documents = trail.documents()
            return run("DATA-03", trail, "gdpr", facts=Facts(DAYS, documents, before)).missing

        withdrawn, given = ("consent.withdraw", "05T09:00", "p1"), ("consent.grant", "06T09:00", "p1")
        for at in ("05T10:00", "06T08:00", "20T10:00"):
            assert gaps(withdrawn, ("data.read", at, "p1")) == ("basis",)
            assert gaps(withdrawn, ("data.update", at, "p1")) == ("basis",)
            assert gaps(withdrawn, ("data.read", at, "p3")) == ()
            assert gaps(withdrawn, ("data.delete", at, "p1")) == ()
            assert gaps(("data.read", at, "p1")) == ()
            earlier = Before(withdrawn=frozenset({relied_on("p1", "care")}))
            assert gaps(("data.read", at, "p1"), before=earlier) == ("basis",)
        assert gaps(("data.read", "05T08:00", "p1"), withdrawn) == ()
        assert gaps(("data.read", "04T08:00", "p1"), withdrawn) == ()
        assert gaps(withdrawn, given, ("data.read", "06T10:00", "p1")) == ()
        assert gaps(withdrawn, ("data.read", "06T08:00", "p1"), given) == ("basis",), "before it was given again"
        assert gaps(withdrawn, given, ("data.read", "20T10:00", "p1")) == ()

    def test_where_very_many_persons_are_used_nobody_is_overlooked(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(data_use, "MOST_TOUCHED", 2)
        trail = Trail()
        trail.say("data.read", "01T08:00", data_class="phi", about=["p2"], purpose="care", legal_basis="consent")
        trail.say("consent.withdraw", "02T09:00", about=[f"q{n}" for n in range(9)], purpose="care", version="1")
        for number in range(9):
            trail.say("data.read", "05T10:00", data_class="phi", about=[f"q{number}"], purpose="care", legal_basis="?!")
        assert set(run("DATA-03", trail, "gdpr").missing) >= {"basis", "facts"}

    @pytest.mark.parametrize(("reason", "counts"), [("executed", True), ("replayed", True), ("requested", False)])
    def test_an_erasure_that_was_done_once_more_is_one(self, reason: str, counts: bool) -> None:
        trail = Trail()
        trail.say("privacy.erasure", "02T10:00", target="p1", reason=reason, request_id="r", counts={})
        trail.say("data.read", "03T10:00", data_class="phi", about=["p1"], purpose="care")
        assert bool(run("DATA-02", trail, "gdpr").found) == counts

    def test_however_many_records_somebody_claims_there_is_a_report(self) -> None:
        """JSON has no numbers beyond 2^53."""
        trail = Trail()
        for _ in range(3):
            trail.say("data.read", data_class="cardholder", records=HIGHEST_NUMBER)
        for each in trail.documents().values():
            canonical(each)
        made = build(new_evidence(trail, "pci_dss"), Order("r", "2026-04-01T01:00:00.000000Z", "system"))
        (row,) = next(each for each in made.tables if each.id == "card_access").rows
        assert row[-2:] == (3, HIGHEST_NUMBER)
        assert encode(made)
