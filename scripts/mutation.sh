#!/bin/sh
# Mutation testing: small changes to the code, one at a time, and whether a test notices each. The arguments are scopes
# (tests/mutation/scopes.py; all of them), `--again`, `--digits` and `--show`. mutmut is installed at the first run (.tools/mutation).
set -eu
cd "$(dirname "$0")/.."
sh scripts/side_tool.sh mutation mutmut
exec .venv/bin/python -m tests.mutation "$@"
