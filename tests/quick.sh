#!/usr/bin/env bash
# quick.sh [pytest's options]: the tests to run while you work, in two minutes on two cores: those that need no server, no
# browser, no measured data and no PyTorch. Of the property tests a third, another one each day; `make test` runs all.
set -euo pipefail
cd "$(dirname "$0")/.."
day=$(($(date +%s) / 86400))
mapfile -t tests < <(tests/without_torch.sh tests/unit tests/contract tests/architecture)
mapfile -t laws < <(tests/without_torch.sh tests/property | awk -v day="$day" '(NR + day) % 3 == 0')
exec .venv/bin/python -m pytest -q -n auto --dist worksteal -m 'not slow and not server and not browser and not data' \
    "$@" "${tests[@]}" "${laws[@]}"
