#!/bin/sh
# Any bytes for every reader of bytes, led by coverage (atheris), and walks over the API from seeds of their own, each
# for so many seconds (the argument; 30). atheris is installed at the first run (.tools/fuzz); it is there for Linux on
# x86-64. What fails is written to .tools/found, and stops the run: keep it as a test in tests/fuzz/test_findings.py.
set -eu
cd "$(dirname "$0")/.."
seconds=${1:-30}
tools=.tools/fuzz
sh scripts/side_tool.sh fuzz atheris

mkdir -p .tools/found
for target in $(.venv/bin/python -m tests.fuzz.targets); do
    corpus=.tools/corpus/$target
    mkdir -p "$corpus"
    .venv/bin/python -m tests.fuzz.targets "$target" "$corpus"
    echo "$target…"
    if ! PYTHONPATH="$tools" .venv/bin/python -m tests.fuzz "$target" "$corpus" -max_total_time="$seconds" -max_len=20000 \
        -timeout=30 -rss_limit_mb=2048 -artifact_prefix=".tools/found/$target-" >.tools/found/log 2>&1; then
        grep -a -A 20 "Uncaught\|ERROR" .tools/found/log || tail -n 30 .tools/found/log
        exit 1
    fi
    tail -n 1 .tools/found/log
done
FUZZ_SECONDS=$seconds .venv/bin/python -m pytest -q -s tests/fuzz/test_walks.py tests/fuzz/test_targets.py
