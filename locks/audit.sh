#!/usr/bin/env bash
# Check every locked package for known vulnerabilities: locks/audit.sh build/tools/bin/python
# Exit status 1: at least one package has a known vulnerability. Packages that could not be checked are listed and do
# not change the status.
set -euo pipefail
python=${1:?"name a Python: locks/audit.sh build/tools/bin/python"}
cd "$(dirname "$0")/.."
report=$(mktemp)
trap 'rm -f "$report" "$report.err"' EXIT
status=0
for name in dev compare torch-pypi tools; do
    # pip-audit ends with 1 for a vulnerability and for an unreachable database. Only its report shows which.
    "$python" -m pip_audit --disable-pip --require-hashes --progress-spinner off --timeout 10 --format json \
        -r "locks/$name.txt" > "$report" 2> "$report.err" || true
    "$python" - "$name" "$report" <<'CODE' || status=1
import json
import sys

name, path = sys.argv[1:]
try:
    with open(path, encoding="utf-8") as report:
        packages = json.load(report)["dependencies"]
except (ValueError, KeyError):
    with open(f"{path}.err", encoding="utf-8") as errors:
        last_lines = errors.read().strip().splitlines()[-1:] or ["no output"]
    print(f"locks/{name}.txt: NOT CHECKED, the vulnerability database cannot be reached: {last_lines[0][:200]}")
    sys.exit(0)
skipped = [package["name"] for package in packages if "skip_reason" in package]
vulnerabilities = [
    f"{package['name']} {package['version']}: {vulnerability['id']}"
    for package in packages
    for vulnerability in package.get("vulns", ())
]
if vulnerabilities:
    print(f"locks/{name}.txt: KNOWN VULNERABILITIES: {'; '.join(vulnerabilities)}")
if skipped:
    print(f"locks/{name}.txt: NOT CHECKED: {len(skipped)} of {len(packages)} packages are not in the database")
elif not vulnerabilities:
    print(f"locks/{name}.txt: {len(packages)} packages, no known vulnerability")
sys.exit(1 if vulnerabilities else 0)
CODE
done
exit $status
