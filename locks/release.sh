#!/usr/bin/env bash
# Makes dist/ anew: the sources, the package built from them, a list of its parts (CycloneDX 1.6) for each lock file, and SHA256SUMS of them all;
# with RELEASE_KEY=FILE, an SSH private key, also SHA256SUMS.sig. locks/release.sh .venv/bin/python build/tools/bin/cyclonedx-py
# How who receives it checks them stands in locks/sign.sh.
set -euo pipefail
python=${1:?"which Python? locks/release.sh .venv/bin/python build/tools/bin/cyclonedx-py"}
cyclonedx=${2:?"which cyclonedx-py?"}
cd "$(dirname "$0")/.."
# the same sources give the same bytes: file times are those of the last commit
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH
"$python" -m tests.words --urgent  # whom an alarm wakes reads it in his language
rm -rf dist
mkdir dist
"$python" -m hatchling build -t sdist -d dist >/dev/null
# from the sources that are handed out, so that what is not in them is not in the package either
"$python" -m pip --disable-pip-version-check wheel -q --no-deps --no-build-isolation -w dist dist/slopeward-*.tar.gz
for name in core models; do
    parts=$(mktemp)
    cat locks/core.txt > "$parts"
    [ "$name" = core ] || cat locks/models.txt locks/torch-pypi.txt >> "$parts"
    "$cyclonedx" requirements --output-reproducible --spec-version 1.6 --pyproject pyproject.toml \
        -o "dist/slopeward-$name.cdx.json" "$parts"
    rm -f "$parts"
done
locks/sign.sh dist
ls -l dist
