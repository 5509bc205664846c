#!/usr/bin/env bash
# quick.sh [--features] [pytest's options]
# Run the tests that need no server, database, browser, measured data or PyTorch, and that do not take long. Without
# --features, leave out the tests of the features and every test that imports one, also by a module of tests.
set -euo pipefail
cd "$(dirname "$0")/.."
mapfile -t folders < <(find tests -mindepth 1 -maxdepth 1 -type d |
    grep -vE '/(bench|browser|data|end_to_end|features|fixtures|measured|property|recording|storage|__pycache__)$' | sort)
select_files() { xargs .venv/bin/python tests/kernel_files.py; }
if [ "${1:-}" = --features ]; then
    shift
    folders+=(tests/features)
    select_files() { cat; }
fi
without_database() { xargs grep -LE '\b((filled_)?database(_url)?|filled_sqlite_url)\b|\bserving\b'; }
slow_files='test_(written_reference|deploy|release|follows|trials|fusion_decisions|common_motion|guess_verb|guess_slopes)|table_import/test_files'
mapfile -t files < <(tests/without_torch.sh "${folders[@]}" | grep -vE "$slow_files" | select_files | without_database)
exec .venv/bin/python -m pytest -q -n auto --dist loadfile \
    -m 'not soak and not slow and not server and not browser and not data' "$@" "${files[@]}"
