"""What the templates ask of everything that listens, and where everything that happens is logged to."""

import re

import pytest

from tests.infra.test_templates import FUNCTION_APP, MAIN, TEMPLATES

WHOLE = "\n".join(TEMPLATES.values())
COSMOS, TELEMETRY, VAULT = (TEMPLATES[f"modules/{name}.bicep"] for name in ("cosmos", "telemetry", "vault"))


def resources(text: str, kind: str) -> list[str]:
    """The blocks of all resources of a kind."""
    block = rf"^resource \w+ '{re.escape(kind)}@[^']*' = .*?^\}}"
    return re.findall(block, text, re.MULTILINE | re.DOTALL)


def resource(text: str, kind: str) -> str:
    """The block of the one resource of a kind."""
    (found,) = resources(text, kind)
    return found


def site() -> str:
    return resource(FUNCTION_APP, "Microsoft.Web/sites")


def test_every_site_account_and_store_takes_tls_1_2_or_later() -> None:
    assert "minTlsVersion: '1.2'" in site()
    assert "scmMinTlsVersion: '1.2'" in site()
    assert "minimalTlsVersion: 'Tls12'" in resource(COSMOS, "Microsoft.DocumentDB/databaseAccounts")
    assert "minimumTlsVersion: 'TLS1_2'" in resource(FUNCTION_APP, "Microsoft.Storage/storageAccounts")
    versions = re.findall(r"(?i)tls(?:Version)?: '([^']*)'|Tls\w*Version: '([^']*)'", WHOLE)
    assert {one or other for one, other in versions} == {"1.2", "Tls12", "TLS1_2"}


def test_no_site_and_no_store_answers_without_tls() -> None:
    assert "httpsOnly: true" in site()
    assert "ftpsState: 'Disabled'" in site()
    assert "supportsHttpsTrafficOnly: true" in resource(FUNCTION_APP, "Microsoft.Storage/storageAccounts")
    assert not re.search(r"httpsOnly: (?!true)|HttpsTrafficOnly: (?!true)|clientCertEnabled: false", WHOLE)
    for url in re.findall(r"'(\w+)://", WHOLE):
        assert url == "https"


def test_certificates_are_those_of_the_platform() -> None:
    """Host names are Azure's, whose certificates browsers and programs trust; none is made or brought here."""
    assert not re.search(r"Microsoft\.Web/certificates|hostNameBindings|sslState|thumbprint|customDomain", WHOLE)
    assert "output url string = 'https://${site.properties.defaultHostName}'" in FUNCTION_APP


def test_each_app_has_a_host_name_of_its_own() -> None:
    """And the one that rewrites is closed to everybody."""
    modules = re.findall(r"^module \w+ 'modules/function-app\.bicep' = \{.*?^\}", MAIN, re.MULTILINE | re.DOTALL)
    value = re.compile(r"^    (name|role|isOpen|storageName|planName|identityName): (.*)$", re.MULTILINE)
    named = [dict(value.findall(each)) for each in modules]
    assert {each["role"]: each["isOpen"] for each in named} == {"'app'": "true", "'erasure'": "false"}
    for field in ("name", "storageName", "planName", "identityName"):
        assert len({each[field] for each in named}) == 2, field
    assert "ipSecurityRestrictionsDefaultAction: isOpen ? 'Allow' : 'Deny'" in site()


def test_nothing_is_debugged_or_changed_in_place() -> None:
    assert "remoteDebuggingEnabled: false" in site()
    unwanted = "DETAILED_ERRORS|PYTHON_ENABLE_DEBUG|FUNCTIONS_ENVIRONMENT|'Development'"
    assert not re.search(rf"remoteDebugging\w*: (?!false)|{unwanted}", WHOLE)
    assert "Microsoft.Web/sites/siteextensions" not in WHOLE


@pytest.mark.parametrize(
    ("name", "logged"),
    [
        ("function-app", {"FunctionAppLogs", "StorageWrite", "StorageDelete"}),
        ("cosmos", {"DataPlaneRequests", "PartitionKeyRUConsumption", "ControlPlaneRequests"}),
        ("vault", {"audit"}),
    ],
)
def test_what_each_part_logs_goes_to_the_workspace(name: str, logged: set[str]) -> None:
    settings = resources(TEMPLATES[f"modules/{name}.bicep"], "Microsoft.Insights/diagnosticSettings")
    assert settings
    assert all("workspaceId: workspaceId" in each for each in settings)
    found = re.findall(r"category(?:Group)?: '(\w+)', enabled: true", "".join(settings))
    assert logged <= set(found)


def test_the_workspace_is_apart_and_opens_with_an_identity_alone() -> None:
    """Nobody writes there with a key, and the app's identity may add telemetry and read nothing."""
    workspace = resource(TELEMETRY, "Microsoft.OperationalInsights/workspaces")
    assert "disableLocalAuth: true" in workspace
    assert "enableLogAccessUsingOnlyResourcePermissions: true" in workspace
    assert "retentionInDays: retentionDays" in workspace
    assert "DisableLocalAuth: true" in resource(TELEMETRY, "Microsoft.Insights/components")
    roles = set(re.findall(r"roleDefinitions', (\w+)\)", TELEMETRY))
    assert roles == {"metricsPublisher"}
    assert "var metricsPublisher = '3913510d-42f4-4e42-8a64-420c390055eb'" in TELEMETRY
