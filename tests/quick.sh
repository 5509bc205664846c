#!/usr/bin/env bash
# quick.sh [pytest's options]: the tests to run while you work, in two minutes on two cores: no server, no browser, no
# measured data, no PyTorch, and none that starts pytest, the reference or a release anew. Of the property tests and of the
# dear ones a third, another one each day; `make test` runs all.
set -euo pipefail
cd "$(dirname "$0")/.."
day=$(($(date +%s) / 86400))
dear='test_(follows|trials|fusion_decisions|common_motion|guess_verb|guess_slopes)|table_import/test_files'
mapfile -t tests < <(tests/without_torch.sh tests/unit tests/contract tests/architecture tests/extensions |
    grep -vE "test_(run_again|written_reference|deploy|release)|$dear")
mapfile -t laws < <({ tests/without_torch.sh tests/property; tests/without_torch.sh tests/unit tests/extensions | grep -E "$dear"; } |
    awk -v day="$day" '(NR + day) % 3 == 0')
exec .venv/bin/python -m pytest -q -n auto --dist worksteal -m 'not slow and not server and not browser and not data' \
    "$@" "${tests[@]}" "${laws[@]}"
