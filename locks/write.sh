#!/usr/bin/env bash
# Writes the lock files anew from pyproject.toml, with the hash of every file that the package index has of each version.
# Needs uv. Versions that are locked stay, unless asked for: locks/write.sh --upgrade, or --upgrade-package NAME.
set -euo pipefail
cd "$(dirname "$0")/.."
command -v uv >/dev/null || { echo "uv is needed to write the locks: pip install uv" >&2; exit 1; }

# of the same sources, on no index: locks/install.sh builds them
apart=$(mktemp --suffix .txt)
printf "%s ; python_version < '3'\n" slopeward-earth slopeward-lab slopeward-weights > "$apart"
# what each package needs beside Slopeward itself; files of uv have this name
packages=$(mktemp -d)
for package in earth lab; do
    mkdir "$packages/$package"
    sed '/"slopeward==/d' "packages/$package/pyproject.toml" > "$packages/$package/pyproject.toml"
done

compile() {  # FILE EXTRA...: one file for Python 3.11 and newer, for every platform
    local file=$1; shift
    local projects=(pyproject.toml)
    local package
    for package in earth lab; do
        case " $* " in *" --extra dev "* | *" --extra $package "*) projects+=("$packages/$package/pyproject.toml") ;; esac
    done
    # the build backend is locked too: nothing is fetched without a hash
    printf 'hatchling\neditables\n' | uv pip compile --quiet --universal --generate-hashes --python-version 3.11 \
        --no-header --no-annotate --override "$apart" -o "$file" "$@" "${projects[@]}" - >/dev/null
}

# PyTorch and what it alone needs of CUDA: apart, because one of two builds is installed
is_torch='/^(torch|triton|nvidia-|cuda-)/'
whole=$(mktemp --suffix .txt)
trap 'rm -rf "$whole" "$apart" "$packages"' EXIT
cat locks/dev.txt locks/torch-pypi.txt > "$whole" 2>/dev/null || true
compile "$whole" --extra dev "$@"
awk "/^[a-z]/ { torch = $is_torch } !torch" "$whole" > locks/dev.txt
awk "/^[a-z]/ { torch = $is_torch } torch" "$whole" > locks/torch-pypi.txt
# the same versions everywhere: dev.txt holds all. The file of an extra holds what the core lacks
compile locks/core.txt -c locks/dev.txt -c locks/torch-pypi.txt "$@"
for name in $(sed -n '/^\[project.optional-dependencies\]/,/^\[project.scripts\]/s/^\([a-z-]*\) = .*/\1/p' pyproject.toml); do
    case "$name" in all | dev | weights) continue ;; esac
    held=(-c locks/dev.txt -c locks/torch-pypi.txt)
    [ "$name" != compare ] || held=(-c locks/core.txt)  # of no other lock: statsforecast would hold all at what it knows
    compile "$whole" --extra "$name" "${held[@]}" "$@"
    awk "NR == FNR { core[\$1]; next } /^[a-z]/ { mine = !(\$1 in core) && !($is_torch) } mine" locks/core.txt "$whole" > "locks/$name.txt"
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
