"""What all tests of this folder share."""

from collections.abc import Iterator
from functools import lru_cache

import pytest
import torch

from detection.imagery.footprints import detect
from detection.imagery.footprints.index_map import IndexModel
from detection.imagery.footprints.probabilities import Classifier
from detection.imagery.neural.model_file import SegmentationModel
from detection.imagery.weights_file import list_shipped

LOAD, MAKE = detect._load, detect._make_segmenter


@pytest.fixture(autouse=True)
def torch_as_it_was() -> Iterator[None]:
    """A detection in this process takes one thread; the tests after it have theirs."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    if torch.are_deterministic_algorithms_enabled():
        torch.use_deterministic_algorithms(mode=False)


SHIPPED = {file.stem for file in list_shipped()}


@lru_cache(maxsize=8)
def load_shipped(weights: str) -> SegmentationModel | IndexModel:
    """Shipped weights stay as they are while tests run, and a detection changes no network."""
    return LOAD(weights)


@lru_cache(maxsize=8)
def make_shipped(weights: str) -> Classifier:
    """A network as it maps tiles, of shipped weights."""
    return MAKE(load_shipped(weights))


def load(weights: str) -> SegmentationModel | IndexModel:
    """Weights by name as often as they are wanted; those of a path are read each time."""
    return load_shipped(weights) if weights in SHIPPED else LOAD(weights)


def make(model: SegmentationModel | IndexModel) -> Classifier:
    """The classifier of a model that `load` gave."""
    torch.set_num_threads(1)
    name = "" if isinstance(model, IndexModel) else str(model.card["name"])
    shipped = bool(name) and name in SHIPPED and load_shipped(name) is model
    return make_shipped(name) if shipped else MAKE(model)


@pytest.fixture(autouse=True)
def shipped_networks_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hundreds of detections in one process would each build the same four networks anew."""
    monkeypatch.setattr(detect, "_load", load)
    monkeypatch.setattr(detect, "_make_segmenter", make)
