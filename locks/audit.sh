#!/usr/bin/env bash
# Asks the database of known weaknesses about every locked package: locks/audit.sh build/tools/bin/python
# A weakness that is known ends with status 1. What could not be asked about is said, and nothing is proven of it.
set -euo pipefail
python=${1:?"which Python? locks/audit.sh build/tools/bin/python"}
cd "$(dirname "$0")/.."
answer=$(mktemp)
trap 'rm -f "$answer"' EXIT
weak=0
for name in dev compare torch-pypi tools; do
    # its exit status is 1 for a weakness and for a database that does not answer: the answer itself says which
    "$python" -m pip_audit --disable-pip --require-hashes --progress-spinner off --timeout 10 --format json \
        -r "locks/$name.txt" > "$answer" 2> "$answer.err" || true
    "$python" - "$name" "$answer" <<'CODE' || weak=1
import json, sys
name, path = sys.argv[1:]
try:
    parts = json.load(open(path, encoding="utf-8"))["dependencies"]
except (ValueError, KeyError):
    last = open(f"{path}.err", encoding="utf-8").read().strip().splitlines()[-1:] or ["no answer"]
    print(f"locks/{name}.txt: NOT CHECKED, the database of known weaknesses does not answer: {last[0][:200]}")
    sys.exit(0)
unknown = [part["name"] for part in parts if "skip_reason" in part]
weak = [f"{part['name']} {part['version']}: {one['id']}" for part in parts for one in part.get("vulns", ())]
if weak:
    print(f"locks/{name}.txt: KNOWN WEAKNESSES: {'; '.join(weak)}")
if unknown:
    print(f"locks/{name}.txt: NOT CHECKED: {len(unknown)} of {len(parts)} packages are unknown to the database that answered")
elif not weak:
    print(f"locks/{name}.txt: {len(parts)} packages, no known weakness")
sys.exit(1 if weak else 0)
CODE
    rm -f "$answer.err"
done
exit $weak
