#!/bin/sh
# Install what the libraries of the project know nothing of: from tests/NAME/requirements.txt into .tools/NAME, unless it is
# there already. The arguments: NAME, and what it is.
set -eu
cd "$(dirname "$0")/.."
tools=.tools/$1
export UV_SYSTEM_CERTS=1 # trust what pip and the system trust

if ! cmp -s "tests/$1/requirements.txt" "$tools/.locked"; then
    echo "Setting up $2…"
    rm -rf "$tools"
    .venv/bin/uv pip install --quiet --require-hashes --no-deps --python .venv/bin/python --target "$tools" -r "tests/$1/requirements.txt"
    cp "tests/$1/requirements.txt" "$tools/.locked"
fi
