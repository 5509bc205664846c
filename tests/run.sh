#!/usr/bin/env bash
# run.sh [pytest's options]: run the tests; up to three that failed run once more, one after another with nothing beside
# them. A test that fails twice fails the run. One that passes alone is named at the end as unsteady: it is a fault of its
# own, in the test or in what it tests, and is mended before anything else.
set -uo pipefail
cd "$(dirname "$0")/.."
# Where the environment forbids it, each of some hundred processes would compile all that it imports: as long again.
unset PYTHONDONTWRITEBYTECODE
failed=.pytest_cache/v/cache/lastfailed
rm -f "$failed"
# Once for all workers, which load the result: to rewrite the assertions of all modules costs each of them as much again.
.venv/bin/python -m pytest "$@" -n 0 --collect-only -qq > /dev/null 2>&1
.venv/bin/python -m pytest "$@"
status=$?
[ "$status" -eq 1 ] && [ -s "$failed" ] || exit "$status"
names=$(.venv/bin/python -c 'import json, sys; print("\n".join(json.load(open(sys.argv[1]))))' "$failed")
[ "$(wc -l <<< "$names")" -le 3 ] || exit "$status"
printf '\nonce more, alone:\n%s\n' "$names"
.venv/bin/python -m pytest "$@" -n 0 --last-failed --last-failed-no-failures none || exit
printf 'unsteady, mend before anything else:\n%s\n' "$names"
