#!/usr/bin/env bash
# Write the lock files from pyproject.toml. They contain the hashes of all files of each version in the package index.
# Needs uv. Locked versions stay; locks/write.sh --upgrade, or --upgrade-package NAME, selects newer ones.
set -euo pipefail
cd "$(dirname "$0")/.."
command -v uv >/dev/null || { echo "uv is needed to write the locks: pip install uv" >&2; exit 1; }

# These packages are on no index. locks/install.sh builds them from the same sources.
overrides=$(mktemp --suffix .txt)
printf "%s ; python_version < '3'\n" slopeward-earth slopeward-lab slopeward-weights > "$overrides"
# The requirements of each package without Slopeward itself. uv reads only files with the name pyproject.toml.
packages=$(mktemp -d)
for package in earth lab; do
    mkdir "$packages/$package"
    sed '/"slopeward==/d' "packages/$package/pyproject.toml" > "$packages/$package/pyproject.toml"
done

# Write a lock file for every platform and Python 3.11 or newer.
compile() {  # FILE UV_OPTION...
    local file=$1; shift
    local projects=(pyproject.toml)
    local package
    for package in earth lab; do
        case " $* " in *" --extra dev "* | *" --extra $package "*) projects+=("$packages/$package/pyproject.toml") ;; esac
    done
    # The build backend is locked too, so that nothing is downloaded without a hash.
    printf 'hatchling\neditables\n' | uv pip compile --quiet --universal --generate-hashes --python-version 3.11 \
        --no-header --no-annotate --override "$overrides" -o "$file" "$@" "${projects[@]}" - >/dev/null
}

# PyTorch and its packages of CUDA are in a file of their own, because there are two builds of PyTorch.
is_torch='/^(torch|triton|nvidia-|cuda-)/'
whole=$(mktemp --suffix .txt)
trap 'rm -rf "$whole" "$overrides" "$packages"' EXIT
cat locks/dev.txt locks/torch-pypi.txt > "$whole" 2>/dev/null || true
compile "$whole" --extra dev "$@"
awk "/^[a-z]/ { torch = $is_torch } !torch" "$whole" > locks/dev.txt
awk "/^[a-z]/ { torch = $is_torch } torch" "$whole" > locks/torch-pypi.txt
# Every file has the versions of dev.txt. The file of an extra contains the packages that are not in core.txt.
compile locks/core.txt -c locks/dev.txt -c locks/torch-pypi.txt "$@"
for name in $(sed -n '/^\[project.optional-dependencies\]/,/^\[project.scripts\]/s/^\([a-z-]*\) = .*/\1/p' pyproject.toml); do
    case "$name" in all | dev | weights) continue ;; esac
    constraints=(-c locks/dev.txt -c locks/torch-pypi.txt)
    # `compare` may have older versions than dev.txt: otherwise statsforecast would limit the versions of all files.
    [ "$name" != compare ] || constraints=(-c locks/core.txt)
    compile "$whole" --extra "$name" "${constraints[@]}" "$@"
    awk "NR == FNR { core[\$1]; next } /^[a-z]/ { is_extra = !(\$1 in core) && !($is_torch) } is_extra" locks/core.txt "$whole" > "locks/$name.txt"
done
# Tools of audits and releases, in an environment of their own.
printf 'bandit\ncyclonedx-bom\npip-audit\n' | uv pip compile --quiet --universal --generate-hashes --python-version 3.11 \
    --no-header --no-annotate -o locks/tools.txt "$@" - >/dev/null
# Tools that build the documentation site, in an environment of their own.
printf 'mkdocs-material\n' | uv pip compile --quiet --universal --generate-hashes --python-version 3.11 \
    --no-header --no-annotate -o locks/docs.txt "$@" - >/dev/null
version=$(sed -n 's/^torch==\([0-9.]*\).*/\1/p' locks/torch-pypi.txt)
grep -q "^torch==$version+cpu" locks/torch-cpu.txt ||
    echo "locks/torch-cpu.txt is not for torch $version; copy the hashes of that version from the CPU index of PyTorch" >&2
