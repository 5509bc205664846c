#!/usr/bin/env bash
# Makes dist/ anew: the sources, the packages built from them, the documents (build/site), two lists of parts (CycloneDX 1.6), and SHA256SUMS of them all;
# with RELEASE_KEY=FILE, an SSH private key, also SHA256SUMS.sig. locks/release.sh .venv/bin/python build/tools/bin/cyclonedx-py
# How who receives it checks them stands in locks/sign.sh.
set -euo pipefail
python=${1:?"which Python? locks/release.sh .venv/bin/python build/tools/bin/cyclonedx-py"}
cyclonedx=${2:?"which cyclonedx-py?"}
cd "$(dirname "$0")/.."
# the same sources give the same bytes: file times are those of the last commit
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH
"$python" -m tests.translation_coverage --urgent  # every text of an alert is translated
rm -rf dist
mkdir dist
"$python" -m hatchling build -t sdist -d dist >/dev/null
# from the sources that are handed out, so that what is not in them is not in the package either; the weights are in none
unpacked=$(mktemp -d)
trap 'rm -rf "$unpacked"' EXIT
tar -xzf dist/slopeward-*.tar.gz -C "$unpacked" --strip-components 1
"$python" -m pip --disable-pip-version-check wheel -q --no-deps --no-build-isolation -w dist "$unpacked/packages/earth" "$unpacked/packages/lab" "$unpacked" ./deploy/weights
for name in core models; do
    parts=$(mktemp)
    cat locks/core.txt > "$parts"
    [ "$name" = core ] || cat locks/models.txt locks/torch-pypi.txt >> "$parts"
    "$cyclonedx" requirements --output-reproducible --spec-version 1.6 --pyproject pyproject.toml \
        -o "dist/slopeward-$name.cdx.json" "$parts"
    "$python" - "dist/slopeward-$name.cdx.json" <<'CODE'
import json, sys
from pathlib import Path
from re import MULTILINE, findall
path = Path(sys.argv[1])
listed = json.loads(path.read_text())
for name, version, licence in findall(r"^  (\S.*?) ([\d.]+) +(\S+)", Path("NOTICE").read_text(), MULTILINE):  # the scripts
    listed.setdefault("components", []).append(
        {"type": "library", "name": name, "version": version, "licenses": [{"license": {"id": licence.rstrip(",")}}]})
for card in sorted(Path().glob("detection/imagery/weights/**/*.json")) + sorted(Path().glob("forecasting/weights/*.json")):
    facts = json.loads(card.read_text())
    data = facts["data"]
    known = data.get("licence") or "; ".join(f"{key}: {text}" for key, text in data.items())
    listed["components"].append(
        {"type": "machine-learning-model", "name": card.stem, "description": data.get("source", "measured records"),
         "licenses": [{"license": {"name": known}}], "hashes": [{"alg": "SHA-256", "content": facts["weights_sha256"]}]
         if "weights_sha256" in facts else []})
path.write_text(json.dumps(listed, indent=2) + "\n")
CODE
    rm -f "$parts"
done
if [ -d build/site ]; then
    tar --exclude=__pycache__ --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner -C build -cf - site | gzip -n > dist/slopeward-documents.tar.gz
fi
locks/sign.sh dist
ls -l dist
