#!/bin/sh
# Mutation testing: small changes to the code, one at a time, and whether a test notices each. The arguments are scopes
# (tests/mutation/scopes.py; all of them), `--again` and `--show`. mutmut is installed at the first run (.tools/mutation).
set -eu
cd "$(dirname "$0")/.."
tools=.tools/mutation
export UV_SYSTEM_CERTS=1 # trust what pip and the system trust

if ! cmp -s tests/mutation/requirements.txt "$tools/.locked"; then
    echo "Setting up mutmut…"
    rm -rf "$tools"
    .venv/bin/uv pip install --quiet --require-hashes --no-deps --python .venv/bin/python --target "$tools" -r tests/mutation/requirements.txt
    cp tests/mutation/requirements.txt "$tools/.locked"
fi
exec .venv/bin/python -m tests.mutation "$@"
