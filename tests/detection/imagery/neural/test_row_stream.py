"""A scene shown to a network band of rows by band of rows, or with folded norms, has the numbers of one pass."""

from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from detection.imagery.neural.inference import Segmenter
from detection.imagery.neural.model_file import load_model
from detection.imagery.neural.networks.blocks import fold_norms
from detection.imagery.registry import build, list_segmenters
from tests.tables import tabulated

pytestmark = pytest.mark.usefixtures("one_torch_thread")
STREAMED = [name for name, entry in list_segmenters().items() if entry.streams]
OPTIONS = {"unet": [{}, {"up": "transpose", "peak": 1024}]}
NETWORKS = {
    (name, number): build(name, 2, 3, 0.0625, **options).double().eval()
    for name in STREAMED
    for number, options in enumerate(OPTIONS.get(name, [{}]))
}


def stream(network, image, high):
    drawn, row, rows = network.open_stream(), 0, []
    with torch.inference_mode():
        while image.shape[2] - row > high + network.stride:
            rows.append(drawn.draw(image[:, :, row : row + high], last=False))
            row += high
        rows.append(drawn.draw(image[:, :, row:], last=True))
    return torch.cat([part for part in rows if part.shape[2]], dim=2)


def differ(network, image, high):
    with torch.inference_mode():
        wanted = network(image)
    found = stream(network, image, high)
    assert found.shape == wanted.shape
    return float((found - wanted).abs().max() / wanted.abs().max().clamp(min=1e-9))


@pytest.mark.soak
@settings(max_examples=25, deadline=None)
@given(
    which=st.sampled_from(sorted(NETWORKS)),
    height=st.integers(1, 260),
    width=st.integers(1, 90),
    high=st.sampled_from([32, 48, 64, 96]),
    seed=st.integers(0, 2**31),
)
def test_bands_of_rows_give_the_results_of_one_pass(which, height, width, high, seed):
    image = torch.randn(1, 2, height, width, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    network = NETWORKS[which]
    assert differ(network, image, high * network.stride // 16) < 1e-12


@pytest.mark.parametrize(("weights", "most"), [("generated", 1e-5), ("landslide4sense", 1e-5)])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (17, 300), (200, 5), (331, 130)])
def test_each_part_is_mapped_in_order_as_in_one_pass(weights, most, height, width):
    model, rng = load_model(weights), np.random.default_rng(height)
    segmenter = Segmenter(model)
    low, high = np.array(model.card["normalisation"]["value_range"], np.float32).T[:, :, None, None]
    values = low + (high - low) * rng.random((len(model.bands), height, width), np.float32)
    valid = rng.random((height, width)) < 0.9
    whole = segmenter.classify(segmenter.prepare(values, valid))
    assert np.abs(segmenter.class_probabilities(values, valid) - whole).max() <= most
    edges = sorted({0, height, *rng.integers(1, height + 1, 4).tolist()})
    found = list(segmenter.stream((values[:, top:end], valid[top:end]) for top, end in pairwise(edges)))
    assert [part.shape[1] for part in found] == np.diff(edges).tolist()
    assert np.abs(np.concatenate(found, axis=1) - whole).max() <= most


@pytest.mark.soak
@tabulated("name", list_segmenters())
def test_registry_states_which_networks_read_rows(name):
    network = build(name, 2, width=0.125)
    entry = list_segmenters()[name]
    assert (network.open_stream() is not None) == entry.streams
    assert entry.tile_exact or not entry.streams
    if not entry.streams and name in {"drs-unet", "sssn"}:
        card = {"normalisation": {"mean": [0, 0], "std": [1, 1]}}
        segmenter = Segmenter(SimpleNamespace(network=network, card=card))
        parts = [(np.ones((2, high, 40), np.float32), np.ones((high, 40), bool)) for high in (40, 70)]
        found = list(segmenter.stream(parts))
        for one, part in zip(found, parts, strict=True):
            assert np.array_equal(one, segmenter.class_probabilities(*part))


FOLDED = {"unet", "drs-unet", "sbconv-resunet", "scdnn", "deeplabv3plus-resnet50"}


@pytest.mark.parametrize("name", sorted(FOLDED & list_segmenters().keys()))
def test_folded_norms_give_the_same_results(name):
    torch.manual_seed(4)
    network = build(name, 3, width=0.125).train()
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        network(images)  # running means and variances that are not those of the start
        wanted, found = network.eval()(images), fold_norms(network)(images)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)
    assert any(isinstance(module, torch.nn.BatchNorm2d) for module in network.modules()), "the network itself stays"
