"""A training that is killed between or within passes goes on where it was and ends with the same bytes."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from forecasting.data.series import DAY_S, Panel
from forecasting.data.splits import split
from forecasting.errors import ForecastingError
from forecasting.neural.checkpoint import to_bytes
from forecasting.neural.device import ask, pick_device
from forecasting.neural.learner import Settings
from forecasting.neural.training import train_network

SETTINGS = Settings(epochs=5, window=20, hidden=8, batch=16, patience=5, dropout=0.2)
CHILD = """
import sys
from tests.unit.forecasting.neural.test_training_state import SETTINGS, learn
def stop_here(epoch, epochs, loss):
    print(epoch, flush=True)
    if epoch == int(sys.argv[2]):
        sys.stdin.read()  # until it is killed
learn(sys.argv[1], progress=stop_here)
"""


def drawn():
    rng = np.random.default_rng(3)
    values = np.cumsum(rng.normal(0.3, 0.5, (160, 3)), axis=0)
    values[rng.random(values.shape) < 0.05] = np.nan
    return Panel(0.0, DAY_S, ("A", "B", "C"), values)


def learn(work, model="gru", settings=SETTINGS, progress=None):
    """The bytes of a whole training and its number of passes as seen from outside."""
    panel = drawn()
    made = train_network(
        model, panel, split(panel.values.shape[0]), (DAY_S,), settings, work=work, progress=progress
    )  # fmt: skip
    return to_bytes(made.forecaster, "data"), made.losses


class CutError(Exception):
    """The training is cut off."""


def cut_after(epoch):
    def progress(at, _epochs, _loss):
        if at == epoch:
            raise CutError

    return progress


@pytest.mark.parametrize("model", ["gru", "graph-gru", "vae-gru"])
def test_it_goes_on_after_its_last_pass_with_the_same_bytes(tmp_path, model):
    whole = learn(None, model)
    for epoch in (1, 3):
        with pytest.raises(CutError):
            learn(tmp_path, model, progress=cut_after(epoch))
        assert len(list(tmp_path.iterdir())) == 1
    passes = []
    again = learn(tmp_path, model, progress=lambda at, *_: passes.append(at))
    assert passes == [4, 5]
    assert again == whole


def test_killed_from_outside(tmp_path):
    root = Path(__file__).resolve().parents[4]
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path), "2"], cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1"}, text=True,
    )  # fmt: skip
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        for line in child.stdout:
            if line.strip() == "2":
                break
    finally:
        os.kill(child.pid, signal.SIGKILL)
        assert child.wait() == -signal.SIGKILL
        child.stdin.close()
        child.stdout.close()
    passes = []
    assert learn(tmp_path, progress=lambda at, *_: passes.append(at)) == learn(None)
    assert passes[0] == 3


def test_another_training_does_not_go_on_from_it(tmp_path):
    with pytest.raises(CutError):
        learn(tmp_path, progress=cut_after(2))
    other = replace(SETTINGS, seed=8)
    assert learn(tmp_path, settings=other) == learn(None, settings=other)


def test_a_damaged_place_is_a_fresh_start(tmp_path):
    with pytest.raises(CutError):
        learn(tmp_path, progress=cut_after(2))
    (kept,) = tmp_path.iterdir()
    kept.write_bytes(kept.read_bytes()[:200])
    assert learn(tmp_path) == learn(None)


def test_a_training_that_ended_ends_again_without_a_pass(tmp_path):
    whole = learn(tmp_path)
    passes = []
    assert learn(tmp_path, progress=lambda at, *_: passes.append(at)) == whole
    assert passes == []


def test_the_device_is_chosen_by_one_word(monkeypatch):
    assert pick_device() == torch.device("cpu")
    monkeypatch.setenv("SLOPEWARD_DEVICE", "auto")
    assert pick_device().type == ("cuda" if torch.cuda.is_available() else "cpu")
    monkeypatch.setenv("SLOPEWARD_DEVICE", "tpu")
    with pytest.raises(ForecastingError, match="expected one of cpu, cuda, auto"):
        pick_device()
    assert ask(torch.nn.Identity(), torch.ones(2)).device.type == "cpu"
