#!/usr/bin/env bash
# Install the locked packages and Slopeward into the environment of a Python. pip checks the hash of each locked file.
#   locks/install.sh .venv/bin/python core [EXTRA...]     core: page, command line, simple forecasts
#   locks/install.sh .venv/bin/python dev                 everything that the tests need, with Slopeward as editable
# EXTRA is an extra of pyproject.toml, such as models (networks), cluster (a machine of a cluster) or grids. `all` stands
# for all extras except `compare`.
# PyTorch: an installed one of the locked version stays. Otherwise Linux gets the build for the CPU, from the package
# indexes of pip or from that of PyTorch. If it cannot be installed, the build of the public index follows, which includes
# CUDA. With TORCH=cpu in the environment this is an error instead.
set -euo pipefail
usage="locks/install.sh .venv/bin/python core [EXTRA...] | dev"
python=${1:?"name a Python: $usage"}
shift
# A relative path starts at the working directory of the caller.
[ "$python" = "${python#*/}" ] || python=$(cd "$(dirname "$python")" && pwd)/$(basename "$python")
cd "$(dirname "$0")/.."
extras=$(cd locks && echo *.txt | sed 's/\.txt\b//g; s/\b\(compare\|core\|dev\|docs\|tools\|torch-[a-z]*\)\b *//g')
wanted=" ${*:-core} "
case "$wanted" in
" dev ") files=(-r locks/dev.txt) ;;
*)
    files=(-r locks/core.txt)
    for name in ${wanted/ all / $extras }; do
        [ "$name" != weights ] || continue
        case " core compare $extras " in *" $name "*) ;; *) echo "unknown extra $name; expected: core compare weights all ${extras% }, or only dev" >&2; exit 2 ;; esac
        [ "$name" = core ] || files+=(-r "locks/$name.txt")
    done
    ;;
esac
torch_index=https://download.pytorch.org/whl/cpu
pip=("$python" -m pip --disable-pip-version-check install)

echo "1 of 3: packages: ${files[*]}" >&2
# The lock files name every package. pip would ask for PyTorch, which other packages depend on and the next step installs.
"${pip[@]}" --no-deps --require-hashes "${files[@]}"

find_torch() {
    "$python" -c 'import importlib.metadata as m; print(m.version("torch").split("+")[0])' 2>/dev/null || true
}
if grep -qE "dev|models|cluster|lab" <<< "${files[*]}"; then
    version=$(sed -n 's/^torch==\([0-9.]*\).*/\1/p' locks/torch-pypi.txt)
    if [ "$(find_torch)" = "$version" ]; then
        echo "2 of 3: PyTorch $version is installed already" >&2
    elif [ "$(uname -s)" = Linux ]; then
        echo "2 of 3: PyTorch $version for the CPU, 0.2 GB to download, 0.8 GB on disk" >&2
        "${pip[@]}" --no-deps --require-hashes --retries 1 --extra-index-url "$torch_index" -r locks/torch-cpu.txt || true
    fi
    if [ "$(find_torch)" != "$version" ]; then
        if [ "$(uname -s)" = Linux ]; then
            echo "PyTorch for the CPU was not installed: $torch_index could not be reached, or has no file with a locked" \
                "hash for this Python. Without PyTorch: locks/install.sh .venv/bin/python core" >&2
            [ "${TORCH:-any}" != cpu ] || exit 1
            echo "The build of the public package index follows. It includes CUDA: 2.7 GB to download, 4.8 GB on disk;" \
                "Ctrl-C stops it." >&2
        fi
        "${pip[@]}" --no-deps --require-hashes -r locks/torch-pypi.txt
    fi
fi

echo "3 of 3: Slopeward" >&2
if [ "$wanted" = " dev " ]; then
    "${pip[@]}" --no-deps --no-build-isolation -e . -e packages/earth -e packages/lab
else
    "${pip[@]}" --no-deps --no-build-isolation .
    case "$wanted" in *" all "* | *" earth "*) "${pip[@]}" --no-deps --no-build-isolation ./packages/earth ;; esac
    case "$wanted" in *" all "* | *" lab "*) "${pip[@]}" --no-deps --no-build-isolation ./packages/lab ;; esac
    case "$wanted" in *" all "* | *" weights "*) "${pip[@]}" --no-deps --no-build-isolation ./deploy/weights ;; esac
fi
