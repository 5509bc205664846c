#!/usr/bin/env bash
# Tries the lowest versions that pyproject.toml allows: installs them into build/lowest and runs the tests that need no
# server, no browser, no measured data and no PyTorch. Needs uv. Further arguments go to pytest: locks/lowest.sh -x
# PyTorch is left out: its lowest version brings 2 GB of CUDA; its floor is held by hand.
set -euo pipefail
cd "$(dirname "$0")/.."
command -v uv >/dev/null || { echo "uv is needed to install the lowest versions: pip install uv" >&2; exit 1; }
place=build/lowest
mkdir -p "$place"
printf "%s ; sys_platform == 'none'\n" torch slopeward-earth slopeward-lab slopeward-weights > "$place/overrides.txt"
for package in earth lab; do
    mkdir -p "$place/$package"
    sed '/"slopeward==/d' "packages/$package/pyproject.toml" > "$place/$package/pyproject.toml"
done
uv pip compile --quiet --resolution lowest-direct --python-version 3.11 --no-header --no-annotate \
    --override "$place/overrides.txt" --extra dev -o "$place/lowest.txt" pyproject.toml "$place/earth/pyproject.toml" "$place/lab/pyproject.toml" >/dev/null
[ -x "$place/venv/bin/python" ] || uv venv --quiet --python 3.11 "$place/venv"
uv pip sync --quiet --python "$place/venv/bin/python" "$place/lowest.txt"
uv pip install --quiet --python "$place/venv/bin/python" --no-deps --no-build-isolation -e . -e packages/earth -e packages/lab
mapfile -t tests < <(tests/without_torch.sh tests/{alerts,app,cli,contract,decision,forecasting,ingest,readings,settings,text,web,worker})
exec "$place/venv/bin/python" -m pytest -q -p no:cacheprovider \
    -m 'not soak and not slow and not server and not browser and not data' "$@" "${tests[@]}"
