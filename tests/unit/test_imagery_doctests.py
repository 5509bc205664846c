"""The examples in the docstrings of the imagery library run and are true."""

import doctest
from importlib import import_module

import pytest

MODULES = [
    "areas",
    "band_names",
    "data.patches",
    "generate",
    "indices",
    "masks",
    "metrics",
    "neural.blocks",
    "neural.calibration",
    "neural.explaining",
    "neural.segnet",
    "neural.triage_training",
    "neural.unet",
    "objects",
    "polygons",
    "registry",
    "scoring",
    "simple",
    "splits",
    "tiling",
    "triage",
]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    done = doctest.testmod(import_module(f"detection.imagery.{name}"))
    assert done.attempted > 0
    assert done.failed == 0
