"""The contract of imagery networks over the networks of this package, and what is particular of some of them."""

import pytest
import torch
from torch.nn import functional

from detection.imagery.errors import ModelError
from detection.imagery.neural.losses import make_loss
from detection.imagery.registry import build, list_segmenters
from slopeward_lab.segmenters import segnet
from slopeward_lab.segmenters.registry import NETWORKS
from tests.contract.test_segmenters import (  # noqa: F401 - tests, fixtures and a hook of pytest
    blobs,
    deterministic,
    parameters,
    pytest_generate_tests,
    seeded,
    sketch,
    test_a_network_comes_back_from_disk_as_it_was_and_order_in_the_batch_does_not_matter,
    test_a_network_that_is_not_exact_sees_the_far_end,
    test_a_tile_with_its_halo_gives_the_answer_of_the_whole_scene,
    test_any_size_in_logits_of_that_size_out_and_a_gradient_for_every_weight,
    test_at_most_twenty_steps_halve_the_loss,
    test_halo_and_stride_fit_the_tiles,
    test_no_1x1_convolution_has_the_stride_whose_gradient_corrupts_memory,
    test_one_small_image_of_any_bands_and_classes_can_be_trained_on_at_any_width,
    test_the_halo_is_the_receptive_field,
    test_the_number_of_parameters_is_frozen,
)

MODELS = sorted(NETWORKS)
# networks without normalisation need small steps, those with four channels at this width and those with attention
# large ones
RATES = {"fcn8s": 1e-3, "deeplabv2": 1e-3, "linknet": 3e-2, "sssn": 3e-2, "transformer-unet": 3e-2, "unet-vit": 3e-2}
TRAINING_IMAGES = (3, 32)
# the other networks differ from these in their blocks or their size
TRAINED_IN_SOAK = {*MODELS} - {
    "attention-unet",
    "contextnet",
    "deeplabv2",
    "fcn8s",
    "frrn-a",
    "resunet",
    "sbconv-resunet",
    "segnet",
    "siam-diff-unet",
    "sqnet",
    "sssn",
    "transformer-unet",
}


@pytest.fixture
def average_pooling(monkeypatch):
    """Replace the largest value by the mean where maps are pooled, so that every pixel of a window counts."""
    monkeypatch.setattr(
        functional,
        "max_pool2d",
        lambda x, k, stride=None, padding=0, *_, **__: functional.avg_pool2d(x, k, stride or k, padding),
    )
    monkeypatch.setattr(segnet, "pool_with_places", lambda features: (functional.avg_pool2d(features, 2), None))
    monkeypatch.setattr(segnet, "unpool", lambda values, _: functional.interpolate(values, scale_factor=2))


def test_the_networks_are_registered():
    assert NETWORKS.items() <= list_segmenters().items()


DEEP = {"peak": 1024, "up": "transpose"}


@pytest.mark.parametrize(
    ("name", "classes", "options", "expected"),
    [
        ("sru-unet", 2, DEEP, 31_049_474),
        ("sru-unet", 2, {"gate": "soft"}, NETWORKS["sru-unet"].parameters[0]),
        ("bru-resunet", 2, DEEP, 38_767_554),
        ("sbconv-resunet", 2, DEEP, 38_779_330),
        ("sbconv-unet", 2, {"width": 0.25}, 1_272_178),
        ("scdnn", 2, {"blocks": (2, 2, 2, 2)}, 20_596_388),
        ("deeplabv3plus-resnet50", 2, {"depth": 101}, 59_339_426),
        ("deeplabv3plus-resnet50", 2, {"pooling": False}, 39_756_962),
        # the paper counts 17.7 and 24.8 million, with the 19 classes of street scenes
        ("frrn-a", 19, {}, 17_712_227),
        ("frrn-b", 19, {}, 24_721_123),
    ],
)
def test_classes_width_and_options_change_the_count_as_they_should(name, classes, options, expected):
    assert parameters(sketch(name, 3, classes, **options)) == expected


@pytest.mark.parametrize("name", ["sru-unet", "sbconv-resunet"])
def test_a_soft_gate_trains_its_normalisation(name):
    network = seeded(name, gate="soft")
    images, truth = blobs(1, 32)
    make_loss("ce+dice")(network(images), truth).backward()
    assert all(value.grad is not None and value.grad.abs().sum() > 0 for value in network.parameters())


@pytest.mark.parametrize(("name", "joined"), [("siam-diff-unet", 1), ("siam-conc-unet", 2)])
def test_a_siamese_network_sees_each_date_by_one_encoder(name, joined, monkeypatch):
    network, fed = seeded(name, 5).eval(), []
    monkeypatch.setattr(network, "decode", lambda maps: fed.append(maps) or maps[0])
    before, both, after = (torch.randn(1, bands, 32, 32) for bands in (2, 1, 2))
    network(torch.cat([before, both, after], dim=1))
    alone = [network.encoder[0](torch.cat(part, dim=1)) for part in ((before, both), (both, after))]
    found = (alone[1] - alone[0]).abs() if joined == 1 else torch.cat(alone, dim=1)
    torch.testing.assert_close(fed[0][0], found)
    assert [level.shape[1] for level in fed[0]] == [joined * 8, joined * 16, joined * 32, joined * 64, 64]


def test_the_registry_warns_of_images_too_small_for_wide_rates():
    large = {name for name, entry in NETWORKS.items() if entry.least_px >= 304}
    assert large == {"scdnn", "deeplabv3plus-resnet50", "deeplabv3plus-mobilenetv2"}


def test_unpooling_is_that_of_torch():
    features = torch.randn(2, 3, 8, 6)
    values, places = segnet.pool_with_places(features)
    expected, indices = functional.max_pool2d(features, 2, return_indices=True)
    torch.testing.assert_close(values, expected)
    torch.use_deterministic_algorithms(mode=False)
    torch.testing.assert_close(segnet.unpool(values, places), functional.max_unpool2d(expected, indices, 2))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("sssn", {"depth": 5}, "no option depth; known: none"),
        ("sru-unet", {"gate": "firm"}, "'hard' or 'soft'"),
        ("deeplabv3plus-resnet50", {"depth": 18}, r"one of \[50, 101\]"),
    ],
)
def test_a_wrong_option_is_one_clear_line(name, options, message):
    with pytest.raises(ModelError, match=message) as refused:
        build(name, 3, **options)
    assert "\n" not in str(refused.value)
