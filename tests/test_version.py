"""The version is in one place, and everything that shows it shows that one."""

import ast
import csv
import io
import json
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pypdf
import pytest

from shared.audit.ocsf import PRODUCT
from shared.core import version
from shared.core.version import VERSION
from shared.identity.model import Role
from tests.app import ROOT, App

PROGRAMS = ("functions", "shared", "devhost", "tools")


def said_again(path: Path, text: str) -> bool:
    """Whether a program has the text as a constant of its own."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return any(isinstance(node, ast.Constant) and node.value == text for node in ast.walk(tree))


def test_no_program_and_no_file_of_the_project_says_it_again() -> None:
    files = [path for folder in PROGRAMS for path in (ROOT / folder).rglob("*.py")]
    assert [path for path in files if said_again(path, VERSION)] == [Path(version.__file__)]
    for name in ("pyproject.toml", "azure.yaml", "host.json", "Makefile", "infra/main.bicep"):
        assert f"{VERSION}\n" not in (ROOT / name).read_text(encoding="utf-8").replace('"', ""), name
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert "version" not in project["project"]
    assert project["project"]["dynamic"] == ["version"]
    assert project["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "shared.core.version.VERSION"}


def test_it_is_a_version_and_the_bill_of_materials_can_read_it() -> None:
    """scripts/supply_chain.sh takes it by its form."""
    assert f'\nVERSION = "{VERSION}"\n' in Path(version.__file__).read_text(encoding="utf-8")
    assert all(part.isdecimal() for part in VERSION.split("."))
    assert '\ndynamic = ["version"]' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", ["live", "ready"])
async def test_health_shows_it(app: App, path: str) -> None:
    assert (await app.client.get(f"/v1/health/{path}")).json()["version"] == VERSION


async def test_the_openapi_document_shows_it(app: App) -> None:
    assert (await app.client.get("/v1/openapi.json")).json()["info"]["version"] == VERSION


def show(name: str, body: bytes) -> bool:
    """Whether one form of a report shows the version where its readers look."""
    if name.endswith(".csv"):
        return ["product_version", VERSION] in list(csv.reader(io.StringIO(body.decode("utf-8-sig"))))
    if name.endswith(".pdf"):
        return f"product {VERSION}, " in pypdf.PdfReader(io.BytesIO(body)).pages[0].extract_text()
    if name.endswith(".html"):
        return f"product {VERSION}, " in body.decode()
    read = json.loads(body)
    if name == "report.json":
        return bool(read["product_version"] == VERSION)
    return {"name": "product-version", "value": VERSION}.items() <= prop_of(read, "product-version").items()


def prop_of(read: Any, name: str) -> dict[str, Any]:
    """The first object of a JSON document that has a name; an empty one where there is none."""
    below = read.values() if isinstance(read, dict) else read if isinstance(read, list) else ()
    if isinstance(read, dict) and read.get("name") == name:
        return read
    return next(filter(None, (prop_of(each, name) for each in below)), {})


async def test_reports_show_it_in_every_form(app: App) -> None:
    ada = await app.register()
    joined = await app.join(ada, "eve@example.com", Role.TENANT_ADMIN)
    await app.host.drain_feed()
    app.clock.advance(hours=24)
    await app.host.run_timer("verify_ledger")
    headers = {"Authorization": f"Bearer {(await app.login(joined.email)).json()['access_token']}"}
    day = {"framework": "soc2", "from": "2026-03-15", "to": "2026-03-16"}
    asked = await app.client.post("/v1/reports", json=day, headers=headers)
    assert asked.status_code == 201, asked.text

    async def form(name: str) -> bytes:
        answer = await app.client.get(f"/v1/reports/{asked.json()['id']}?format={name}", headers=headers)
        assert answer.status_code == 200, answer.text
        return answer.content

    assert show("report.json", await form("json"))
    assert show("report.html", await form("html"))
    assert show("report.pdf", await form("pdf"))
    assert show("assessment-results.json", await form("oscal"))
    with zipfile.ZipFile(io.BytesIO(await form("csv"))) as packed:
        assert show("report.csv", packed.read("report.csv"))
    with zipfile.ZipFile(io.BytesIO(await form("bundle"))) as signed:
        for name in ("report.json", "report.html", "report.pdf", "csv/report.csv", "assessment-results.json"):
            assert show(name, signed.read(f"report/{name}")), name


def test_exports_for_other_programs_show_it() -> None:
    assert PRODUCT["version"] == VERSION
