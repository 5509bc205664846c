"""The wheel of this package beside the wheel of Slopeward, in an environment with nothing else."""

import json
import os
import subprocess
import venv
from datetime import UTC, datetime, timedelta
from importlib.metadata import Distribution

import numpy as np
import pytest

from tests.end_to_end.test_bare_machine import link_packages, run_pip

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
FIRST_AT = datetime(2023, 1, 1, tzinfo=UTC)
DAYS = 420
TRAIN_AND_FORECAST = """
import json, sys
from forecasting.data.sources import RecordRecipe, read_record
from forecasting.serving.issue import issue_forecasts
from forecasting.serving.records import Checkpoint, TrainingRequest
from forecasting.serving.training import train

panel = read_record(sys.argv[1], RecordRecipe()).panel
trained = train(panel, TrainingRequest("tcn", (86400.0,), "models", epochs=1, stride=8))
checkpoint = Checkpoint("tcn", trained.model_hash, trained.path)
issue = issue_forecasts(panel, (86400.0,), checkpoints=[checkpoint])
print(json.dumps([row.q50 for row in issue.rows if row.model == "tcn"]))
"""


def install(environment, project):
    """Build the wheel of a folder of this repository, install it, and link the packages that it requires."""
    wheels = environment / f"wheels-{project.replace('/', '-')}"
    run_pip("wheel", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", str(wheels), project)
    (wheel,) = wheels.glob("*.whl")
    run_pip(
        "--python", str(environment / "bin/python"), "install", "--no-deps", "--no-index", "--no-compile", str(wheel)
    )
    site_packages = next(environment.glob("lib/python*/site-packages"))
    name = wheel.name.partition("-")[0].replace("_", "-")
    (installed,) = Distribution.discover(name=name, path=[str(site_packages)])
    link_packages(site_packages, [text for text in installed.requires or () if not text.startswith("slopeward=")], "")


def write_record(path):
    """Write the displacement of two stations that creep, in the long form."""
    rng = np.random.default_rng(1)
    values = np.cumsum(rng.gamma(0.5, 1.0, (DAYS, 2)), axis=0) + rng.normal(0.0, 0.4, (DAYS, 2))
    lines = ["time,station,quantity,value"]
    for day in range(DAYS):
        at = FIRST_AT + timedelta(days=day)
        lines += [f"{at.isoformat()},{station},displacement,{values[day, k]:.3f}" for k, station in enumerate("AB")]
    path.write_text("\n".join(lines))


@pytest.mark.soak
def test_models_of_the_wheel_appear_beside_the_core_and_are_named_without_it(tmp_path):
    environment = tmp_path / "environment"
    venv.create(environment, with_pip=False)
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}

    def run(*words):
        done = subprocess.run(words, cwd=tmp_path, env=kept, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout, done.stderr

    def slopeward(*words):
        return run(environment / "bin/slopeward", *words)

    def list_models():
        status, output, error = slopeward("forecast", "models", "--all", "--json")
        assert status == 0, error
        return {row["id"] for row in map(json.loads, output.splitlines())}

    def list_segmenters():
        status, output, error = slopeward("scenes", "models", "--json")
        assert status == 0, error
        return {row["id"] for row in map(json.loads, output.splitlines())}

    write_record(tmp_path / "record.csv")
    install(environment, ".")
    assert {"gru", "lstm", "graph-gru", "pretrained-lstm", "rules", "ae"} <= list_models()
    assert not {"tcn", "emd", "vae"} & list_models()
    assert not {"segnet", "siam-diff-unet"} & list_segmenters()
    for words in (
        ("forecast", "backtest", "--data", "record.csv", "--horizons", "1d", "--models", "tcn"),
        ("anomalies", "bench", "--data", "record.csv", "--detector", "vae"),
        ("scenes", "detect", "record.csv", "--out", "found", "--cracks"),
        ("scenes", "learn"),
        ("scenes", "train"),
    ):
        status, _, error = slopeward(*words)
        assert status != 0
        (line,) = [line for line in error.splitlines() if "pip install 'slopeward[lab]'" in line]
        assert words[-1] in line

    install(environment, "packages/lab")
    assert {"tcn", "emd", "vae"} <= list_models()
    assert {"segnet", "siam-diff-unet"} <= list_segmenters()
    status, _, error = slopeward("scenes", "train", "--recipe", "nothing")
    assert status == 1
    assert "nothing: no such recipe; shipped: bijie, cracks, generated" in error
    status, output, error = run(environment / "bin/python", "-c", TRAIN_AND_FORECAST, "record.csv")
    assert status == 0, error
    assert np.isfinite(json.loads(output)).all()
    assert len(json.loads(output)) == 2
