#!/usr/bin/env bash
# Build the files of a release in dist/, which is deleted before:
#   locks/release.sh .venv/bin/python build/tools/bin/cyclonedx-py
# They are the sources, the packages, the documentation (from build/site), two software bills of materials (CycloneDX
# 1.6) and SHA256SUMS. locks/sign.sh describes their signature and how to check it.
set -euo pipefail
python=${1:?"name a Python: locks/release.sh .venv/bin/python build/tools/bin/cyclonedx-py"}
cyclonedx=${2:?"name cyclonedx-py: locks/release.sh .venv/bin/python build/tools/bin/cyclonedx-py"}
cd "$(dirname "$0")/.."
# All files have the time of the last commit, so that the same sources give the same bytes.
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH
# A release needs a translation of every text of an alert.
"$python" -m tests.translation_coverage --urgent
rm -rf dist
mkdir dist
"$python" -m hatchling build -t sdist -d dist >/dev/null
# The packages are built from the source distribution, so that they contain nothing that it lacks. It does not contain
# deploy/weights.
unpacked=$(mktemp -d)
trap 'rm -rf "$unpacked"' EXIT
tar -xzf dist/slopeward-*.tar.gz -C "$unpacked" --strip-components 1
"$python" -m pip --disable-pip-version-check wheel -q --no-deps --no-build-isolation -w dist "$unpacked/packages/earth" "$unpacked/packages/lab" "$unpacked" ./deploy/weights
for name in core models; do
    requirements=$(mktemp)
    cat locks/core.txt > "$requirements"
    [ "$name" = core ] || cat locks/models.txt locks/torch-pypi.txt >> "$requirements"
    "$cyclonedx" requirements --output-reproducible --spec-version 1.6 --pyproject pyproject.toml \
        -o "dist/slopeward-$name.cdx.json" "$requirements"
    "$python" - "dist/slopeward-$name.cdx.json" <<'CODE'
import json
import sys
from pathlib import Path
from re import MULTILINE, findall

path = Path(sys.argv[1])
document = json.loads(path.read_text())
components = document.setdefault("components", [])
# NOTICE lists the JavaScript libraries of the page.
for name, version, licence in findall(r"^  (\S.*?) ([\d.]+) +(\S+)", Path("NOTICE").read_text(), MULTILINE):
    licences = [{"license": {"id": licence.rstrip(",")}}]
    components.append({"type": "library", "name": name, "version": version, "licenses": licences})
cards = [
    *sorted(Path().glob("detection/imagery/weights/**/*.json")),
    *sorted(Path().glob("forecasting/weights/*.json")),
]
for card_path in cards:
    card = json.loads(card_path.read_text())
    data = card["data"]
    licence = data.get("licence") or "; ".join(f"{key}: {text}" for key, text in data.items())
    hashes = []
    if "weights_sha256" in card:
        hashes.append({"alg": "SHA-256", "content": card["weights_sha256"]})
    components.append(
        {
            "type": "machine-learning-model",
            "name": card_path.stem,
            "description": data.get("source", "measured records"),
            "licenses": [{"license": {"name": licence}}],
            "hashes": hashes,
        }
    )
path.write_text(json.dumps(document, indent=2) + "\n")
CODE
    rm -f "$requirements"
done
if [ -d build/site ]; then
    tar --exclude=__pycache__ --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner -C build -cf - site | gzip -n > dist/slopeward-documents.tar.gz
fi
locks/sign.sh dist
ls -l dist
