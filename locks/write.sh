#!/usr/bin/env bash
# Writes the lock files anew from pyproject.toml, with the hash of every file that the package index has of each version.
# Needs uv. Versions that are locked stay, unless asked for: locks/write.sh --upgrade, or --upgrade-package NAME.
set -euo pipefail
cd "$(dirname "$0")/.."
command -v uv >/dev/null || { echo "uv is needed to write the locks: pip install uv" >&2; exit 1; }

compile() {  # FILE EXTRA...: one file for Python 3.11 and newer, for every platform
    local file=$1; shift
    # the build backend is locked too: nothing is fetched without a hash
    printf 'hatchling\neditables\n' | uv pip compile --quiet --universal --generate-hashes --python-version 3.11 \
        --no-header --no-annotate -o "$file" "$@" pyproject.toml - >/dev/null
}

# PyTorch and what it alone needs of CUDA: apart, because one of two builds is installed
is_torch='/^(torch|triton|nvidia-|cuda-)/'
whole=$(mktemp --suffix .txt)
trap 'rm -f "$whole"' EXIT
cat locks/dev.txt locks/torch-pypi.txt > "$whole" 2>/dev/null || true
compile "$whole" --extra dev "$@"
awk "/^[a-z]/ { torch = $is_torch } !torch" "$whole" > locks/dev.txt
awk "/^[a-z]/ { torch = $is_torch } torch" "$whole" > locks/torch-pypi.txt
for name in service models cluster; do
    # signatures, PDF and PostgreSQL are for every installation: small, and missed on the night when they are needed
    extra=(--extra cap --extra postgresql --extra reports); [ "$name" = service ] || extra+=(--extra "$name")
    # the same versions everywhere: dev.txt holds all
    compile "$whole" "${extra[@]}" -c locks/dev.txt -c locks/torch-pypi.txt
    awk "/^[a-z]/ { torch = $is_torch } !torch" "$whole" > "locks/$name.txt"
done
# what audits and releases use stands apart from the service
printf 'bandit\ncyclonedx-bom\npip-audit\n' | uv pip compile --quiet --universal --generate-hashes --python-version 3.11 \
    --no-header --no-annotate -o locks/tools.txt "$@" - >/dev/null
# and so does what the documents are built with as a site
printf 'mkdocs-material\n' | uv pip compile --quiet --universal --generate-hashes --python-version 3.11 \
    --no-header --no-annotate -o locks/docs.txt "$@" - >/dev/null
version=$(sed -n 's/^torch==\([0-9.]*\).*/\1/p' locks/torch-pypi.txt)
grep -q "^torch==$version+cpu" locks/torch-cpu.txt ||
    echo "locks/torch-cpu.txt is not of torch $version: write its hashes by hand, from PyTorch's CPU package index" >&2
