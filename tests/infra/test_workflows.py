"""The workflows: pinned, with few rights, without secrets, and true to what is in the project. What the language says
of them is checked by actionlint and zizmor (`make infra-check`)."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from shared.core.version import VERSION
from tests.app import ROOT

FOLDER = ROOT / ".github" / "workflows"
TEXTS = {path.name: path.read_text(encoding="utf-8") for path in sorted(FOLDER.glob("*"))}
WORKFLOWS: dict[str, dict[Any, Any]] = {name: yaml.safe_load(text) for name, text in TEXTS.items()}
JOBS = [(name, job, body) for name, flow in WORKFLOWS.items() for job, body in flow["jobs"].items()]
STEPS = [(f"{name}:{job}", step) for name, job, body in JOBS for step in body.get("steps", ())]
RUNS = [(where, step["run"]) for where, step in STEPS if "run" in step]
DEPLOY = WORKFLOWS["deploy-environment.yml"]["jobs"]["deploy"]
PINNED = re.compile(r"^\s*(?:- )?uses: [\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$")
LOCAL = re.compile(r"^\s*uses: \./\.github/workflows/([\w-]+\.yml)$")
MAY = {"contents": "read", "actions": "read", "id-token": "write"}
"""The most that a job may: and identity and old packages those alone that deploy."""
SMOKE = {"SMOKE_EMAIL": "${{ vars.SMOKE_EMAIL }}", "SMOKE_PASSWORD": "${{ secrets.SMOKE_PASSWORD }}"}


def test_they_are_what_the_project_says_it_has() -> None:
    assert set(TEXTS) == {"ci.yml", "deploy.yml", "deploy-environment.yml"}


def test_every_action_is_pinned_by_commit_with_its_version() -> None:
    lines = [line for text in TEXTS.values() for line in text.splitlines() if re.search(r"^\s*(- )?uses:", line)]
    assert len(lines) > 12
    for line in lines:
        local = LOCAL.match(line)
        assert PINNED.match(line) or (local and local[1] in TEXTS), line
    pins: dict[str, set[str]] = {}
    for line in lines:
        if "@" in line:
            action, _, rest = line.partition("uses: ")[2].partition("@")
            pins.setdefault(action, set()).add(rest)
    assert all(len(each) == 1 for each in pins.values()), "one version of an action everywhere"


@pytest.mark.parametrize(
    "line", ["uses: actions/checkout@v6", "uses: actions/checkout@df4cb1c # v6.0.3", "uses: a/b@main"]
)
def test_an_action_that_is_not_pinned_would_be_found(line: str) -> None:
    assert not PINNED.match(f"      - {line}")


@pytest.mark.parametrize("name", sorted(WORKFLOWS))
def test_rights_are_given_job_by_job_and_no_more_than_needed(name: str) -> None:
    flow = WORKFLOWS[name]
    assert flow["permissions"] == {}, "of the workflow: none"
    for job, body in flow["jobs"].items():
        rights = body["permissions"]
        assert rights, job
        assert rights.items() <= MAY.items(), job
        deploys = name != "ci.yml" and job != "ci"
        assert deploys or rights == {"contents": "read"}, f"{job} deploys nothing"


def test_every_job_ends_and_deployments_wait_for_each_other() -> None:
    for name, job, body in JOBS:
        assert "timeout-minutes" in body or "uses" in body, f"{name}:{job}"
    assert DEPLOY["concurrency"] == {"group": "deploy-${{ inputs.environment }}", "cancel-in-progress": False}
    assert WORKFLOWS["ci.yml"]["concurrency"]["cancel-in-progress"] == "${{ github.event_name == 'pull_request' }}"


def test_no_secret_of_azure_is_stored_and_nothing_is_pasted_into_a_script() -> None:
    """Values come by the environment: a script is the same whatever they are. The one secret that there may be opens an
    organization that is kept for smoke runs, and reaches those alone."""
    for name, text in TEXTS.items():
        used = set(re.findall(r"\bsecrets\b\s*[.\[]\s*[\w'\"]*", text))
        assert used == (set() if name == "ci.yml" else {"secrets.SMOKE_PASSWORD"}), name
        assert "inherit" not in text
    for job in WORKFLOWS["deploy.yml"]["jobs"].values():
        assert job.get("secrets", {}) in ({}, {"SMOKE_PASSWORD": "${{ secrets.SMOKE_PASSWORD }}"})
    declared = WORKFLOWS["deploy-environment.yml"][True]["workflow_call"]["secrets"]
    assert {name: each["required"] for name, each in declared.items()} == {"SMOKE_PASSWORD": False}
    assert "secrets" not in str(DEPLOY["env"])
    for where, run in RUNS:
        assert "${{" not in run, where
    for where, step in STEPS:
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False, where
        if "devhost.smoke" in step.get("run", "") and where.startswith("deploy"):
            assert step["env"] == SMOKE, where
        else:
            assert set(step.get("env", {})) <= {"GH_TOKEN", "RUN"}, where


def test_every_look_from_outside_is_offered_the_organization_that_is_kept() -> None:
    """In a new organization no report can be read (docs/delivery.md). An empty variable is none."""
    looks = [step for _, step in steps_of_the_deployment() if "devhost.smoke" in step.get("run", "")]
    assert [step["env"] for step in looks] == [SMOKE, SMOKE]
    for job in ("staging", "production"):
        assert WORKFLOWS["deploy.yml"]["jobs"][job]["secrets"] == {"SMOKE_PASSWORD": "${{ secrets.SMOKE_PASSWORD }}"}


def test_nobody_elses_code_runs_with_rights() -> None:
    for name, flow in WORKFLOWS.items():
        events = flow[True]  # what YAML makes of `on`
        assert "pull_request_target" not in events, name
        assert "workflow_run" not in events, name
        assert "pull_request" not in events or name == "ci.yml"
    for job in ("ci", "staging"):
        assert "github.ref == 'refs/heads/main'" in WORKFLOWS["deploy.yml"]["jobs"][job]["if"]


def test_libraries_are_looked_at_every_week() -> None:
    flow = WORKFLOWS["ci.yml"]
    ((cron,),) = ([*each.values()] for each in flow[True]["schedule"])
    assert re.fullmatch(r"\d+ \d+ \* \* [0-6]", cron)
    audits = [job for job, body in flow["jobs"].items() if {"run": "make audit"} in body["steps"]]
    assert audits == ["supply-chain"]
    assert "if" not in flow["jobs"]["supply-chain"]


def test_a_bill_of_materials_is_made_of_what_is_installed(tmp_path: Path) -> None:
    """At each run, and kept; of the lock file that Azure installs from. The tool is a stand-in that notes its call."""
    steps = WORKFLOWS["ci.yml"]["jobs"]["supply-chain"]["steps"]
    made = steps.index({"run": "make sbom"})
    assert steps[made + 1]["with"] == {
        "name": "sbom",
        "path": "dist/sbom.json",
        "if-no-files-found": "error",
        "retention-days": 90,
    }
    for name in ("scripts/supply_chain.sh", "shared/core/version.py", "pyproject.toml", "tests/infra/supply.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    tools = tmp_path / ".tools/supply"
    (tools / "bin").mkdir(parents=True)
    shutil.copy(ROOT / "tests/infra/supply.txt", tools / ".locked")
    (tools / "bin/cyclonedx-py").write_text('#!/bin/sh\necho "$@" >called\n', encoding="utf-8")
    (tools / "bin/cyclonedx-py").chmod(0o755)
    shell = shutil.which("sh") or "sh"
    subprocess.run([shell, str(tmp_path / "scripts/supply_chain.sh"), "sbom"], check=True)  # noqa: S603 - our own
    called = (tmp_path / "called").read_text(encoding="utf-8").split()
    assert (called[0], called[-1]) == ("requirements", "requirements.txt")
    assert called[called.index("-o") + 1] == "dist/sbom.json"
    assert (tmp_path / "dist").is_dir()
    named = (tools / "pyproject.toml").read_text(encoding="utf-8")
    assert f'version = "{VERSION}"' in named
    assert "cyclonedx-bom==" in (tmp_path / "tests/infra/supply.txt").read_text(encoding="utf-8")


def test_what_they_call_is_there() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    text = "\n".join(run for _, run in RUNS)
    made = set(re.findall(r"\bmake ([a-z-]+)", text))
    assert made == {"setup", "serve", "infra-check", "sbom", "audit", "package"}
    assert made <= targets
    modules = set(re.findall(r"python -m ([\w.]+)", text))
    assert modules == {"devhost.smoke", "tools.earlier_package"}
    for module in modules:
        path = ROOT / module.replace(".", "/")
        assert path.with_suffix(".py").is_file() or (path / "__main__.py").is_file(), module
    files = set(re.findall(r"(?:\bsh |^)((?:scripts/|\.ci/)[\w./-]+)", text, re.MULTILINE))
    assert files == {"scripts/deploy_package.sh", ".ci/run"}
    assert all((ROOT / each).is_file() for each in files)
    assert "infra/main.bicep" in text
    assert (ROOT / ".ci/run").stat().st_mode & 0o111


def test_staging_comes_before_production_and_both_after_the_checks() -> None:
    jobs = WORKFLOWS["deploy.yml"]["jobs"]
    assert (jobs["staging"]["needs"], jobs["production"]["needs"]) == ("ci", "staging")
    assert "needs.ci.result == 'success'" in jobs["staging"]["if"]
    assert "needs.staging.result == 'success'" in jobs["production"]["if"]
    assert [jobs[name]["with"]["environment"] for name in ("staging", "production")] == ["staging", "production"]
    assert DEPLOY["environment"] == "${{ inputs.environment }}", "whose rules ask for an approval"


def steps_of_the_deployment() -> list[tuple[str, dict[str, Any]]]:
    return [(step.get("name", step.get("uses", step.get("run", ""))), step) for step in DEPLOY["steps"]]


def test_the_deployment_provisions_deploys_looks_and_goes_back() -> None:
    runs = [step["run"] for _, step in steps_of_the_deployment() if "run" in step]
    order = ("--good", "azd auth login", "azd provision", "deploy_package.sh .package/new", "devhost.smoke")
    places = [next(at for at, run in enumerate(runs) if part in run) for part in order]
    assert places == sorted(places), "what one goes back to is fetched before anything is changed"
    back = next(step for name, step in steps_of_the_deployment() if name.startswith("Go back"))
    assert "deploy_package.sh .package/last" in back["run"]
    assert "steps.smoke.outcome != 'success'" in back["if"]
    assert {"failure()", "cancelled()", "steps.deploy.outcome"} <= set(
        re.findall(r"\w+\(\)|steps\.deploy\.outcome", back["if"])
    )


def test_going_back_provisions_nothing() -> None:
    provisioning = [
        step for _, step in steps_of_the_deployment() if re.search(r"azd (provision|up)", step.get("run", ""))
    ]
    (one,) = provisioning
    assert one["if"] == "${{ !inputs.package_run }}"
    script = (ROOT / "scripts/deploy_package.sh").read_text(encoding="utf-8")
    assert set(re.findall(r"\bazd (\w+)", script.partition("set -eu")[2])) == {"deploy", "removes"}


def test_only_what_was_looked_at_is_kept_as_good() -> None:
    names = [name for name, _ in steps_of_the_deployment()]
    kept = names.index("Keep it as the package to go back to")
    assert names[kept - 1] == "Look at it from outside"
    step = DEPLOY["steps"][kept]
    assert "if" not in step, "after a failure it does not run"
    assert step["with"]["name"] == "good-${{ inputs.environment }}"
    assert ".package/new/package.zip" in step["with"]["path"]


def test_every_parameter_of_the_templates_can_be_set() -> None:
    text = (ROOT / "infra/main.parameters.json").read_text(encoding="utf-8")
    wanted = set(re.findall(r"\$\{(\w+)", text)) - {"AZURE_PRINCIPAL_ID"}  # azd's own
    assert wanted <= set(DEPLOY["env"])
    for name, default in re.findall(r"\$\{(\w+)=([^}]+)\}", text):
        value = DEPLOY["env"][name]
        assert default in value or name == "AZURE_PRINCIPAL_TYPE", f"{name}: an empty variable must not be none"
    assert DEPLOY["env"]["AZURE_PRINCIPAL_TYPE"] == "ServicePrincipal"


AZD = """#!/bin/sh
echo "$*" >>"$HERE/calls"
test -e "$4" || exit 9
sha256sum <"$4" >>"$HERE/deployed"
rm "$4"
if [ "$2" = "${FAILING:-}" ]; then exit 1; fi
"""
"""A stand-in for azd, which removes the package that it has deployed."""


def deploy(tmp_path: Path, package: bytes, digest: str, **more: str) -> subprocess.CompletedProcess[str]:
    (tmp_path / "azd").write_text(AZD, encoding="utf-8")
    (tmp_path / "azd").chmod(0o755)
    (tmp_path / "package.zip").write_bytes(package)
    (tmp_path / "package.zip.sha256").write_text(f"{digest}  package.zip\n", encoding="utf-8")
    command = [shutil.which("sh") or "sh", str(ROOT / "scripts/deploy_package.sh"), str(tmp_path)]
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "HERE": str(tmp_path)} | more
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603


OF_X = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"


def test_both_apps_get_the_one_package(tmp_path: Path) -> None:
    services = re.findall(r"^  (\w+): #", (ROOT / "azure.yaml").read_text(encoding="utf-8"), re.MULTILINE)
    done = deploy(tmp_path, b"x", OF_X)
    assert done.returncode == 0, done.stderr
    calls = (tmp_path / "calls").read_text(encoding="utf-8").splitlines()
    assert sorted(call.split()[1] for call in calls) == sorted(services)
    assert all(re.fullmatch(r"deploy \w+ --from-package \S+\.zip --no-prompt", call) for call in calls)
    assert (tmp_path / "deployed").read_text(encoding="utf-8").split() == [OF_X, "-", OF_X, "-"]
    assert (tmp_path / "package.zip").exists(), "it may be needed again"


@pytest.mark.parametrize("failing", ["api", "erasure"])
def test_one_that_fails_fails_it(tmp_path: Path, failing: str) -> None:
    assert deploy(tmp_path, b"x", OF_X, FAILING=failing).returncode != 0


@pytest.mark.parametrize(("package", "digest"), [(b"y", OF_X), (b"x", "0" * 64), (b"x", "")])
def test_a_package_that_is_not_what_it_was_is_not_deployed(tmp_path: Path, package: bytes, digest: str) -> None:
    assert deploy(tmp_path, package, digest).returncode != 0
    assert not (tmp_path / "calls").exists()
