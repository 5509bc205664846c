#!/usr/bin/env bash
# quick.sh [--extensions] [pytest's options]: the tests of the core to run while you work, in two minutes on two cores: no
# server, no browser, no measured data, no PyTorch, no extension, and none that starts pytest, the reference or a release
# anew. Of the property tests and of the dear ones a third, another one each day; `make test` runs all. With --extensions
# those of the extensions, and of the core those that use one (`make test-quick QUICK_FLAGS=--extensions`).
set -euo pipefail
cd "$(dirname "$0")/.."
day=$(($(date +%s) / 86400))
dear='test_(follows|trials|fusion_decisions|common_motion|guess_verb|guess_slopes)|table_import/test_files'
folders=(tests/unit tests/contract tests/architecture)
choose() { xargs grep -LE '(import|from) monitor\.extensions\.'; }
if [ "${1:-}" = --extensions ]; then
    shift
    folders+=(tests/extensions)
    choose() { cat; }
fi
mapfile -t tests < <(tests/without_torch.sh "${folders[@]}" | grep -vE "test_(run_again|written_reference|deploy|release)|$dear" |
    choose)
mapfile -t laws < <({ tests/without_torch.sh tests/property; tests/without_torch.sh "${folders[@]}" | grep -E "$dear"; } |
    choose | awk -v day="$day" '(NR + day) % 3 == 0')
exec .venv/bin/python -m pytest -q -n auto --dist worksteal -m 'not slow and not server and not browser and not data' \
    "$@" "${tests[@]}" "${laws[@]}"
