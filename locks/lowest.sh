#!/usr/bin/env bash
# Test the lowest versions that pyproject.toml allows: install them into build/lowest, and run the tests that need no
# server, no browser, no measured data and no PyTorch. Needs uv. Arguments are passed to pytest: locks/lowest.sh -x
# PyTorch is left out, because its lowest version includes 2 GB of CUDA. Nothing checks its lower bound in pyproject.toml.
set -euo pipefail
cd "$(dirname "$0")/.."
command -v uv >/dev/null || { echo "uv is needed to install the lowest versions: pip install uv" >&2; exit 1; }
folder=build/lowest
mkdir -p "$folder"
printf "%s ; sys_platform == 'none'\n" torch slopeward-earth slopeward-lab slopeward-weights > "$folder/overrides.txt"
for package in earth lab; do
    mkdir -p "$folder/$package"
    sed '/"slopeward==/d' "packages/$package/pyproject.toml" > "$folder/$package/pyproject.toml"
done
uv pip compile --quiet --resolution lowest-direct --python-version 3.11 --no-header --no-annotate \
    --override "$folder/overrides.txt" --extra dev -o "$folder/lowest.txt" pyproject.toml "$folder/earth/pyproject.toml" "$folder/lab/pyproject.toml" >/dev/null
[ -x "$folder/venv/bin/python" ] || uv venv --quiet --python 3.11 "$folder/venv"
uv pip sync --quiet --python "$folder/venv/bin/python" "$folder/lowest.txt"
uv pip install --quiet --python "$folder/venv/bin/python" --no-deps --no-build-isolation -e . -e packages/earth -e packages/lab
mapfile -t tests < <(tests/without_torch.sh tests/{alerts,app,cli,contract,decision,forecasting,ingest,readings,settings,text,web,worker})
exec "$folder/venv/bin/python" -m pytest -q -p no:cacheprovider \
    -m 'not soak and not slow and not server and not browser and not data' "$@" "${tests[@]}"
