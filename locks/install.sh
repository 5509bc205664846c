#!/usr/bin/env bash
# Installs into the environment of a Python what lock files here list, each file proven by its hash, and Slopeward on top:
#   locks/install.sh .venv/bin/python core [EXTRA...]     core: page, command line, simple forecasts
#   locks/install.sh .venv/bin/python dev                 everything, for running the tests; Slopeward stays editable
# EXTRA is one of pyproject.toml: models (networks), cluster (a machine of a cluster), grids ...; all is all but `compare`.
# PyTorch: on Linux its build for the CPU, from pip's package indexes or PyTorch's own. Where neither can be reached, the
# one of the public index, which brings CUDA (with TORCH=cpu in the environment: an error instead). One of the locked
# version that is there is kept.
set -euo pipefail
usage="locks/install.sh .venv/bin/python core [EXTRA...] | dev"
python=${1:?"which Python? $usage"}
shift
# a path is taken from where the caller stands
[ "$python" = "${python#*/}" ] || python=$(cd "$(dirname "$python")" && pwd)/$(basename "$python")
cd "$(dirname "$0")/.."
extras=$(cd locks && echo *.txt | sed 's/\.txt\b//g; s/\b\(compare\|core\|dev\|docs\|tools\|torch-[a-z]*\)\b *//g')
what=" ${*:-core} "
case "$what" in
" dev ") files=(-r locks/dev.txt) ;;
*)
    files=(-r locks/core.txt)
    for name in ${what/ all / $extras }; do
        [ "$name" != weights ] || continue
        case " core compare $extras " in *" $name "*) ;; *) echo "no extra $name: core compare weights all $extras, or dev alone" >&2; exit 2 ;; esac
        [ "$name" = core ] || files+=(-r "locks/$name.txt")
    done
    ;;
esac
torch_index=https://download.pytorch.org/whl/cpu
pip=("$python" -m pip --disable-pip-version-check install)

echo "1 of 3: packages: ${files[*]}" >&2
"${pip[@]}" --require-hashes "${files[@]}"

find_torch() {
    "$python" -c 'import importlib.metadata as m; print(m.version("torch").split("+")[0])' 2>/dev/null || true
}
if grep -qE "dev|models|cluster|lab" <<< "${files[*]}"; then
    version=$(sed -n 's/^torch==\([0-9.]*\).*/\1/p' locks/torch-pypi.txt)
    if [ "$(find_torch)" = "$version" ]; then
        echo "2 of 3: PyTorch $version is there already" >&2
    elif [ "$(uname -s)" = Linux ]; then
        echo "2 of 3: PyTorch $version for the CPU, 0.2 GB to download, 0.8 GB on disk" >&2
        "${pip[@]}" --no-deps --require-hashes --retries 1 --extra-index-url "$torch_index" -r locks/torch-cpu.txt || true
    fi
    if [ "$(find_torch)" != "$version" ]; then
        if [ "$(uname -s)" = Linux ]; then
            echo "PyTorch for the CPU was not installed: $torch_index was not reached, or it has no file with a locked" \
                "hash for this Python. Without PyTorch: locks/install.sh .venv/bin/python core" >&2
            [ "${TORCH:-any}" != cpu ] || exit 1
            echo "The build of the public package index follows. It brings CUDA: 2.7 GB to download, 4.8 GB on disk;" \
                "Ctrl-C stops it." >&2
        fi
        "${pip[@]}" --no-deps --require-hashes -r locks/torch-pypi.txt
    fi
fi

echo "3 of 3: Slopeward" >&2
if [ "$what" = " dev " ]; then
    "${pip[@]}" --no-deps --no-build-isolation -e . -e packages/earth -e packages/lab
else
    "${pip[@]}" --no-deps --no-build-isolation .
    case "$what" in *" all "* | *" earth "*) "${pip[@]}" --no-deps --no-build-isolation ./packages/earth ;; esac
    case "$what" in *" all "* | *" lab "*) "${pip[@]}" --no-deps --no-build-isolation ./packages/lab ;; esac
    case "$what" in *" all "* | *" weights "*) "${pip[@]}" --no-deps --no-build-isolation ./deploy/weights ;; esac
fi
