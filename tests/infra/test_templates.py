"""What of the templates can be read without a parser of Bicep: settings, parameters, secrets, excuses. The rest is
done by `make infra-check`."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from shared.core.settings import Settings
from shared.privacy.key_vault import NAMES
from shared.privacy.vault_keys import KEY
from tests.app import ROOT

INFRA = ROOT / "infra"
TEMPLATES = {path.relative_to(INFRA).as_posix(): path.read_text(encoding="utf-8") for path in INFRA.rglob("*.bicep")}
MAIN, FUNCTION_APP = TEMPLATES["main.bicep"], TEMPLATES["modules/function-app.bicep"]
PLATFORM = {
    "AzureWebJobsStorage__credential",
    "AzureWebJobsStorage__clientId",
    "AzureWebJobsStorage__blobServiceUri",
    "APPLICATIONINSIGHTS_CONNECTION_STRING",
    "APPLICATIONINSIGHTS_AUTHENTICATION_STRING",
    "PYTHON_APPLICATIONINSIGHTS_ENABLE_TELEMETRY",
    "OTEL_DOTNET_EXPERIMENTAL_ASPNETCORE_DISABLE_URL_QUERY_REDACTION",
    "OTEL_DOTNET_EXPERIMENTAL_HTTPCLIENT_DISABLE_URL_QUERY_REDACTION",
    "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS",
    "COSMOS_DB__accountEndpoint",
    "COSMOS_DB__credential",
    "COSMOS_DB__clientId",
}
OF_A_CALLER = {"ClientBrowser", "ClientCity", "ClientIP", "ClientModel", "ClientOS", "ClientStateOrProvince"}
"""Columns of AppRequests that Azure fills from the address and the program of whoever calls."""
NOT_ON_FLEX = (
    "FUNCTIONS_WORKER_RUNTIME|FUNCTIONS_EXTENSION_VERSION|FUNCTIONS_WORKER_PROCESS_COUNT|WEBSITE_RUN_FROM_PACKAGE|"
    "WEBSITE_CONTENT|SCM_DO_BUILD_DURING_DEPLOYMENT|ENABLE_ORYX_BUILD|FUNCTIONS_MAX_HTTP_CONCURRENCY"
)


def app_settings() -> set[str]:
    """The names of all app settings that the templates set."""
    blocks = [FUNCTION_APP[FUNCTION_APP.index("union(settings, {") :]]
    blocks += re.findall(r"^var (?:settings|witness|feed) = .*?\}$", MAIN, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 4
    return {name for block in blocks for name in re.findall(r"\b([A-Z][A-Za-z]*_[A-Za-z_]+): ", block)} | {"APP_ROLE"}


def test_app_settings_are_ours_or_the_platforms_and_none_that_flex_refuses() -> None:
    own = {name.upper() for name in Settings.model_fields}
    assert app_settings() - own == PLATFORM
    assert not re.search(NOT_ON_FLEX, "".join(TEMPLATES.values()))


def test_what_the_app_refuses_to_start_without_is_set() -> None:
    """WEBSITE_SITE_NAME is Azure's own."""
    assert {"COSMOS_DB_ENDPOINT", "KEY_VAULT_URI", "LEDGER_ORIGIN", "AZURE_CLIENT_ID"} <= app_settings()


def test_two_apps_of_one_package_share_the_work() -> None:
    assert re.findall(r"^    role: '(\w+)'$", MAIN, re.MULTILINE) == ["app", "erasure"]
    services = re.findall(r"^    serviceName: '(\w+)'$", MAIN, re.MULTILINE)
    text = (ROOT / "azure.yaml").read_text(encoding="utf-8")
    assert re.findall(r"^  (\w+):(?= #)", text, re.MULTILINE) == services == ["api", "erasure"]
    assert "version: '3.13'" in FUNCTION_APP


def test_parameters_are_those_of_the_template() -> None:
    file = json.loads((INFRA / "main.parameters.json").read_text(encoding="utf-8"))["parameters"]
    declared = dict(re.findall(r"^param (\w+) (\w+)", MAIN, re.MULTILINE))
    assert set(file) == set(declared)
    assert set(declared.values()) == {"string"}, "azd fills in texts"
    optional = dict(re.findall(r"^param (\w+) string = '([^']*)'$", MAIN, re.MULTILINE))
    for name, each in file.items():
        variable = re.fullmatch(r"\$\{[A-Z_]+(?:=(.*))?\}", each["value"])
        assert variable, name
        if name != "principalId":
            assert variable[1] == optional.get(name), name


def test_no_parameter_and_no_output_is_a_secret() -> None:
    for name, text in TEMPLATES.items():
        assert "@secure" not in text, name
        assert not re.search(r"\blist(Keys|Secrets|\w*Sas)\b|vaults/secrets@|connectionString", text), name
        outputs = " ".join(re.findall(r"^output .*$", text, re.MULTILINE))
        assert not re.search(r"key(?!Vault|_VAULT)|secret|password|ConnectionString", outputs, re.IGNORECASE), name


def test_keys_and_shared_secrets_are_switched_off_everywhere() -> None:
    whole = "".join(TEMPLATES.values())
    assert whole.count("disableLocalAuth: true") == 3  # database; workspace, which is declared twice
    assert "DisableLocalAuth: true" in TEMPLATES["modules/telemetry.bicep"]
    assert "allowSharedKeyAccess: false" in FUNCTION_APP
    assert "enableRbacAuthorization: true" in TEMPLATES["modules/vault.bicep"]
    assert "enablePurgeProtection: true" in TEMPLATES["modules/vault.bicep"]
    assert FUNCTION_APP.count("allow: false") == 2  # passwords of ftp and scm


def test_no_query_of_a_url_is_kept() -> None:
    """What a search asks for can be an e-mail. Once by the host, once more by the workspace."""
    for part in ("ASPNETCORE", "HTTPCLIENT"):
        assert f"OTEL_DOTNET_EXPERIMENTAL_{part}_DISABLE_URL_QUERY_REDACTION: 'false'" in FUNCTION_APP
    rule = TEMPLATES["modules/url-queries.bicep"]
    transformation = re.findall(r"transformKql: '(.*)'", rule)[0]
    cut, _, dropped = transformation.partition(" | project-away ")
    assert cut == 'source | extend Url = tostring(split(Url, "?")[0])'
    assert set(dropped.split(", ")) >= OF_A_CALLER
    assert "defaultDataCollectionRuleResourceId: rule.id" in rule
    turned_off = re.findall(r"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS: '([^']*)'", FUNCTION_APP)[0].split(",")
    assert {"azure_sdk", "httpx", "requests", "urllib", "urllib3"} <= set(turned_off)


def test_a_region_without_zones_will_do() -> None:
    """What exists only in regions with zones is asked for by the parameter, or by nobody."""
    for name, text in TEMPLATES.items():
        for line in text.splitlines():
            if re.search(r"_G?ZRS|\bzones: \[ *'|(?:isZoneRedundant|zoneRedundant): true", line):
                assert "isZoneRedundant ?" in line, f"{name}: {line.strip()}"
    assert "isZoneRedundant ? 'Standard_ZRS' : 'Standard_LRS'" in FUNCTION_APP


def test_the_vault_gets_every_root_secret_and_the_key_of_persons() -> None:
    for hook in ("secrets.sh", "secrets.ps1"):
        text = (INFRA / "hooks" / hook).read_text(encoding="utf-8")
        assert set(re.findall(r"kraftd-[a-z]+", text)) == set(NAMES.values())
    assert f"name: '{KEY}'" in TEMPLATES["modules/vault.bicep"]


AZ = """#!/bin/sh
echo "$*" >>"$HERE/calls"
case "$*" in
*" list "*kraftd-index*) echo kraftd-index ;;
*" set "*)
    for word; do
        if [ "$last" = --file ]; then
            cp "$word" "$HERE/value.$$"
            stat -c %a "$word" >>"$HERE/modes"
        fi
        last=$word
    done ;;
esac
"""
"""A stand-in for the command line of Azure: one secret is there, and what is set is noted."""


def test_the_hook_makes_what_is_missing_leaves_what_is_there_and_shows_no_value(tmp_path: Path) -> None:
    fake = tmp_path / "az"
    fake.write_text(AZ, encoding="utf-8")
    fake.chmod(0o755)
    shell = shutil.which("sh") or "sh"
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "HERE": str(tmp_path), "AZURE_KEY_VAULT_NAME": "v"}
    command = [shell, str(INFRA / "hooks/secrets.sh")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "secrets: kraftd-tokens made",
        "secrets: kraftd-index is there",
        "secrets: kraftd-ledger made",
    ]
    values = [path.read_text(encoding="utf-8") for path in tmp_path.glob("value.*")]
    assert len(set(values)) == 2
    calls = (tmp_path / "calls").read_text(encoding="utf-8")
    for value in values:
        assert re.fullmatch(r"[A-Za-z0-9+/]{43}=", value)
        assert value not in done.stdout + done.stderr + calls
    assert (tmp_path / "modes").read_text(encoding="utf-8").split() == ["600", "600"]


CURL = """#!/bin/sh
cat >"$HERE/header"
for word; do
    if [ "$last" = --output ]; then echo '{"count": 1, "value": "who.the.job-is"}' >"$word"; fi
    last=$word
done
echo "$last" >"$HERE/url"
exit "${CURL_STATUS:-0}"
"""
"""A stand-in for what asks GitHub who a job is."""


def in_a_workflow(tmp_path: Path, **more: str) -> subprocess.CompletedProcess[str]:
    for name, text in (("az", AZ), ("curl", CURL)):
        (tmp_path / name).write_text(text, encoding="utf-8")
        (tmp_path / name).chmod(0o755)
    environment = {
        "PATH": f"{tmp_path}:{Path(sys.executable).parent}:/usr/bin:/bin",
        "HERE": str(tmp_path),
        "AZURE_KEY_VAULT_NAME": "v",
        "ACTIONS_ID_TOKEN_REQUEST_URL": "https://example.com/token?x=1",
        "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "of-the-job",
        "AZURE_CLIENT_ID": "client",
        "AZURE_TENANT_ID": "tenant",
    }
    command = [shutil.which("sh") or "sh", str(INFRA / "hooks/secrets.sh")]
    return subprocess.run(command, env=environment | more, capture_output=True, text=True, check=False)  # noqa: S603


def test_in_a_workflow_the_hook_signs_in_by_itself_just_then(tmp_path: Path) -> None:
    done = in_a_workflow(tmp_path)
    assert done.returncode == 0, done.stderr
    login, *rest = (tmp_path / "calls").read_text(encoding="utf-8").splitlines()
    assert login == (
        "login --service-principal --username client --tenant tenant --federated-token who.the.job-is "
        "--allow-no-subscriptions --output none"
    )
    assert len(rest) == 5
    assert (tmp_path / "header").read_text(encoding="utf-8") == "Authorization: bearer of-the-job"
    url = (tmp_path / "url").read_text(encoding="utf-8").strip()
    assert url == "https://example.com/token?x=1&audience=api://AzureADTokenExchange"
    assert "of-the-job" not in done.stdout + done.stderr


@pytest.mark.parametrize("more", [{"CURL_STATUS": "22"}, {"AZURE_CLIENT_ID": ""}, {"AZURE_TENANT_ID": ""}])
def test_without_a_sign_in_the_hook_makes_nothing(tmp_path: Path, more: dict[str, str]) -> None:
    done = in_a_workflow(tmp_path, **more)
    assert done.returncode != 0
    assert not (tmp_path / "calls").exists()


@pytest.mark.parametrize("name", sorted(TEMPLATES))
def test_whatever_a_check_is_excused_from_has_a_reason(name: str) -> None:
    for line in TEMPLATES[name].splitlines():
        if "checkov:skip" in line:
            assert re.fullmatch(r"  //checkov:skip=CKV_AZURE_\d+:\S.{20,}", line), line
        if "disable-next-line" in line:
            assert re.fullmatch(r"#disable-next-line [\w-]+ // \S.{20,}", line), line


def test_templates_stay_readable() -> None:
    for name, text in TEMPLATES.items():
        assert len(text.splitlines()) <= 400, name
