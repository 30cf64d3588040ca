#!/bin/sh
# What is in the app, and whether anything is known against it: `sbom` writes dist/sbom.json, `audit` asks for
# vulnerabilities. The programs are installed at the first run (.tools/supply).
set -eu
cd "$(dirname "$0")/.."
tools=.tools/supply
export UV_SYSTEM_CERTS=1 # trust what pip and the system trust

if ! cmp -s tests/infra/supply.txt "$tools/.locked"; then
    echo "Setting up cyclonedx-py and pip-audit…"
    .venv/bin/uv venv --quiet --clear --python "$(.venv/bin/python -c 'import sys; print(sys._base_executable)')" "$tools"
    .venv/bin/uv pip sync --quiet --require-hashes --link-mode copy --python "$tools/bin/python" tests/infra/supply.txt
    cp tests/infra/supply.txt "$tools/.locked"
fi

case "${1:-}" in
sbom)
    mkdir -p dist
    version=$(sed -n 's/^VERSION = "\(.*\)"$/\1/p' shared/core/version.py)
    sed "s/^dynamic = \[\"version\"\].*/version = \"${version:?}\"/" pyproject.toml >"$tools/pyproject.toml" # it reads no code
    PYTHONWARNINGS=ignore "$tools/bin/cyclonedx-py" requirements --pyproject "$tools/pyproject.toml" --mc-type application --output-reproducible \
        --of JSON -o dist/sbom.json requirements.txt
    ;;
audit) # what Azure installs, and what development and checks do: every lock file
    status=0
    for locked in requirements.txt requirements-dev.txt tests/infra/requirements.txt tests/infra/supply.txt \
        tests/fuzz/requirements.txt tests/mutation/requirements.txt; do
        echo "$locked:"
        "$tools/bin/pip-audit" --progress-spinner off --strict --disable-pip --require-hashes -r "$locked" || status=1
    done
    exit "$status"
    ;;
*)
    echo "usage: supply_chain.sh sbom|audit" >&2
    exit 2
    ;;
esac
