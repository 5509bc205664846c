"""Weights trained on measured data are in the checkout, in a separate distribution, or missing."""

import sys
from pathlib import Path

import pytest

from detection.imagery import weights_file
from detection.imagery.errors import ModelError
from detection.imagery.footprints import detect
from forecasting.errors import CheckpointError
from forecasting.measured_weights import DISTRIBUTION, find_weights


def test_weights_of_the_checkout_take_precedence_over_the_distribution(tmp_path, monkeypatch):
    here = tmp_path / "weights"
    assert find_weights(here, "scenes") == here
    (tmp_path / DISTRIBUTION / "scenes").mkdir(parents=True)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    assert find_weights(here, "scenes") == tmp_path / DISTRIBUTION / "scenes"
    here.mkdir()
    assert find_weights(here, "scenes") == here


def test_missing_weights_are_reported_in_one_line_with_the_installation(tmp_path, monkeypatch):
    from forecasting.neural import pretrained

    monkeypatch.setattr(weights_file, "MEASURED_FOLDER", tmp_path / "none")
    monkeypatch.setattr(pretrained, "PLACE", tmp_path / "none")
    for name, error, read in (
        ("bijie", ModelError, weights_file.read_weights),
        ("pretrained-lstm", CheckpointError, pretrained.read_shipped),
    ):
        with pytest.raises(error, match=rf"{name}.*pip install 'slopeward\[weights\]'$") as caught:
            read(name)
        assert "\n" not in str(caught.value)
    monkeypatch.setitem(
        sys.modules, "detection.imagery.neural.model_file", None
    )  # as in an environment without PyTorch
    with pytest.raises(ModelError, match="no weights at bijie"):
        detect._load("bijie")
    assert [path.stem for path in weights_file.list_shipped()] == ["generated"]
    assert Path(weights_file.weights_path("generated")).is_file()
