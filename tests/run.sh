#!/usr/bin/env bash
# run.sh [pytest's options]: run the tests; up to ten that failed run once more, one after another with nothing beside
# them. A test that fails twice fails the run. One that passes alone is named at the end as unsteady: it is a fault of its
# own, in the test or in what it tests, and is mended before anything else. Where pytest itself broke off (status 3), no
# test has failed and most have not run: all run once more, and what was said is printed at the end.
set -uo pipefail
cd "$(dirname "$0")/.."
# Where the environment forbids it, each of some hundred processes would compile all that it imports: as long again.
unset PYTHONDONTWRITEBYTECODE
failed=.pytest_cache/v/cache/lastfailed
rm -f "$failed"
# Modules that changed, once for all workers, which load the result: to rewrite the assertions of all costs each as much again.
stamp=.pytest_cache/rewritten
[ -e "$stamp" ] && since=(-newer "$stamp") || since=()
mkdir -p .pytest_cache && touch "$stamp.next"
mapfile -t changed < <(find tests -name 'test_*.py' "${since[@]}")
[ "${#changed[@]}" -eq 0 ] || .venv/bin/python -m pytest -n 0 --collect-only -qq "${changed[@]}" > /dev/null 2>&1
mv "$stamp.next" "$stamp"
broken=.pytest_cache/broken_off
rm -f "$broken"
run() { .venv/bin/python -m pytest -p tests.broken_off "$@"; }
run "$@"
status=$?
if [ "$status" -eq 3 ]; then
    printf '\npytest broke off: once more, from the beginning\n'
    run "$@"
    status=$?
    printf 'pytest broke off, mend before anything else:\n%s\n' "$(cat "$broken")"
fi
[ "$status" -eq 1 ] && [ -s "$failed" ] || exit "$status"
names=$(.venv/bin/python -c 'import json, sys; print("\n".join(json.load(open(sys.argv[1]))))' "$failed")
[ "$(wc -l <<< "$names")" -le 10 ] || exit "$status"
printf '\nonce more, alone:\n%s\n' "$names"
run "$@" -n 0 --last-failed --last-failed-no-failures none || exit
printf 'unsteady, mend before anything else:\n%s\n' "$names"
