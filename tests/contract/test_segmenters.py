"""Contract of imagery networks: any size and number of bands, gradients for every weight, exact tiles.

The tests that take `model`, `exact_model` or `blended_model` run over `MODELS` of the module that collects them. A
package with networks of its own imports the names of `__all__` and sets `MODELS`, and `RATES` and `TRAINING_IMAGES` if
they differ. `make soak` alone halves the loss of the models of its `TRAINED_IN_SOAK`.
"""

import pytest
import torch
from torch import nn
from torch.nn import functional

from detection.imagery.errors import ModelError
from detection.imagery.neural.losses import make_loss
from detection.imagery.neural.model_file import load_model, save_model
from detection.imagery.neural.networks.blocks import Bru, SBConv, Sru, ThinnedConv
from detection.imagery.registry import CLASSIFIERS, SEGMENTERS, build, find_entry
from tests.fixtures.networks import mark_soak
from tests.tables import tabulated

__all__ = (
    "RATES",
    "TRAINING_IMAGES",
    "average_pooling",
    "deterministic",
    "pytest_generate_tests",
    "test_a_network_comes_back_from_disk_as_it_was_and_order_in_the_batch_does_not_matter",
    "test_a_network_that_is_not_exact_sees_the_far_end",
    "test_a_tile_with_its_halo_gives_the_answer_of_the_whole_scene",
    "test_any_size_in_logits_of_that_size_out_and_a_gradient_for_every_weight",
    "test_at_most_twenty_steps_halve_the_loss",
    "test_halo_and_stride_fit_the_tiles",
    "test_no_1x1_convolution_has_the_stride_whose_gradient_corrupts_memory",
    "test_one_small_image_of_any_bands_and_classes_can_be_trained_on_at_any_width",
    "test_the_halo_is_the_receptive_field",
)
MODELS = [*SEGMENTERS, *CLASSIFIERS]
RATES = {"unet-efficientnet-lite0": 2e-2}
"""Learning rates of networks that need another rate than 0.01 to halve the loss in twenty steps."""
TRAINING_IMAGES = (4, 48)
"""Number of images on which the loss is halved, and their size in pixels."""

TRAINED_IN_SOAK = {"unet-efficientnet-lite0", "unet-mobilenetv3-large", "unet-resnet34"}
"""Networks that differ from `unet-resnet18` only in their encoder. `make soak` trains them too."""


def pytest_generate_tests(metafunc):
    """Parametrize a test with `MODELS` of the module that collects it."""
    models = metafunc.module.MODELS
    segmenters = [name for name in models if name not in CLASSIFIERS]
    names = metafunc.fixturenames
    if "exact_model" in names:
        metafunc.parametrize("exact_model", [name for name in segmenters if find_entry(name).tile_exact])
    elif "blended_model" in names:
        metafunc.parametrize("blended_model", [name for name in segmenters if not find_entry(name).tile_exact])
    elif "rate" in names:
        models_in_soak = getattr(metafunc.module, "TRAINED_IN_SOAK", frozenset())
        rates = [mark_soak(models_in_soak, name, metafunc.module.RATES.get(name, 1e-2)) for name in models]
        metafunc.parametrize(("model", "rate"), rates)
    elif "model" in names:
        metafunc.parametrize("model", models)


@pytest.fixture(autouse=True)
def deterministic(one_torch_thread):
    torch.use_deterministic_algorithms(mode=True)


def sketch(name, channels, classes=2, width=1.0, **options):
    """Build a network on the meta device, which allocates no weights."""
    with torch.device("meta"):
        return build(name, channels, classes, width, **options)


def parameters(network):
    return sum(parameter.numel() for parameter in network.parameters())


def seeded(name, channels=3, width=0.125, seed=0, **options):
    torch.manual_seed(seed)
    return build(name, channels, width=width, **options)


def blobs(count, size, seed=1):
    """Return smooth images of three bands, and masks of the pixels with a high mean."""
    torch.manual_seed(seed)
    images = functional.interpolate(torch.randn(count, 3, 4, 4), size=size, mode="bilinear")
    return images, (images.mean(dim=1) > 0.3).long()


def test_the_number_of_parameters_is_frozen(model):
    entry = CLASSIFIERS.get(model) or find_entry(model)
    assert entry.paper
    assert (parameters(sketch(model, 3)), parameters(sketch(model, 14))) == entry.parameters


DEEP = {"peak": 1024, "up": "transpose"}


@pytest.mark.parametrize(
    ("name", "classes", "options", "expected"),
    [
        ("unet", 1, DEEP, 31_037_633),
        ("unet", 2, {"width": 0.125}, 270_906),
    ],
)
def test_classes_width_and_options_change_the_count_as_they_should(name, classes, options, expected):
    assert parameters(sketch(name, 3, classes, **options)) == expected


def test_shipped_weights_of_the_plain_network_keep_their_names():
    names = list(seeded("unet").state_dict())
    assert names[0] == "encoder.0.0.0.weight"
    assert names[-3:] == ["decoder.3.1.1.num_batches_tracked", "head.weight", "head.bias"]
    assert load_model("generated").network.state_dict().keys() == set(names)


@pytest.mark.one_case_in(4)
@pytest.mark.parametrize(("channels", "height", "width"), [(14, 48, 64), (3, 49, 67)])
def test_any_size_in_logits_of_that_size_out_and_a_gradient_for_every_weight(model, channels, height, width):
    network = seeded(model, channels)
    logits = network(torch.randn(1, channels, height, width))
    if model in CLASSIFIERS:
        assert logits.shape == (1, 2)
        functional.cross_entropy(logits, torch.tensor([1])).backward()
    else:
        assert logits.shape == (1, 2, height, width)
        make_loss("ce+dice")(logits, torch.randint(0, 2, (1, height, width))).backward()
    without_gradient = {key for key, value in network.named_parameters() if value.grad is None}
    units = [key for key, module in network.named_modules() if isinstance(module, Sru)]
    gates = {f"{key}.norm.{part}" for key in units for part in ("weight", "bias")}
    # A hard gate is a sign, so its normalisation has no gradient.
    assert without_gradient == gates
    assert bool(gates) == (model.startswith(("sru-", "sbconv-")))


@pytest.mark.one_case_in(4)
@pytest.mark.parametrize("width", [0.03, 0.2])
def test_one_small_image_of_any_bands_and_classes_can_be_trained_on_at_any_width(model, width):
    network = build(model, 5, 3, width)
    logits = network(torch.randn(1, 5, 32, 33))
    assert logits.shape[:2] == (1, 3)
    assert torch.isfinite(logits).all()


@pytest.mark.one_case_in(3)
def test_at_most_twenty_steps_halve_the_loss(model, rate, request):
    network = seeded(model, seed=1)
    count, size_px = request.module.TRAINING_IMAGES
    images, truth = blobs(count, size_px)
    optimiser = torch.optim.Adam(network.parameters(), rate)
    losses = []
    while len(losses) < 21 and not (losses and losses[-1] < losses[0] / 2):
        optimiser.zero_grad()
        logits = network(images)
        if model in CLASSIFIERS:
            loss = functional.cross_entropy(logits, torch.tensor([0, 1, 1, 0][:count]))
        else:
            loss = make_loss("ce+dice")(logits, truth)
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2


@pytest.mark.one_case_in(4)
def test_a_network_comes_back_from_disk_as_it_was_and_order_in_the_batch_does_not_matter(model, tmp_path):
    network, twin, other = (seeded(model, seed=seed).eval() for seed in (3, 3, 4))
    card = {
        "name": "made",
        "network": {"name": model, "classes": 2, "width": 0.125, "options": {}},
        "bands": ["B4", "B3", "B2"],
        "radiometry": {"stretch": "local-max"},
        "threshold": 0.5,
        "pixel_size_m": 10.0,
        "normalisation": {"mean": [0.0] * 3, "std": [1.0] * 3, "value_range": [[0.0, 1.0]] * 3},
    }
    save_model(tmp_path / "made.safetensors", network, card)
    loaded = load_model(str(tmp_path / "made.safetensors")).network
    images = torch.cat([torch.randn(2, 3, 32, 40), torch.full((1, 3, 32, 40), 0.7)])
    with torch.inference_mode():
        logits = network(images)
        assert torch.equal(twin(images), logits)
        assert torch.equal(loaded(images), logits)
        assert not torch.allclose(other(images), logits)
        assert not torch.allclose(logits[0], logits[1])
        # Double precision, since rounding in another order may flip the sign of a hard gate.
        exact, precise = twin.double(), images.double()
        torch.testing.assert_close(exact(precise[[2, 0, 1]]), exact(precise)[[2, 0, 1]])
    # The standard deviation of a constant image is zero.
    assert torch.isfinite(logits).all()
    assert torch.isfinite(network.train()(torch.zeros(1, 3, 32, 32))).all()


# ---- halo and stride of tiles in the registry ----------------------------------------------------------------------
def make_averages(network):
    """Make every weight positive, so that no contributions cancel and every ReLU is active."""
    with torch.no_grad():
        for key, value in network.named_parameters():
            value.fill_(1 / value[0].numel() if value.dim() == 4 else float(key.endswith("weight")))


@pytest.fixture
def average_pooling(monkeypatch):
    """Replace max pooling by average pooling, so that every pixel of a window counts."""
    monkeypatch.setattr(
        functional,
        "max_pool2d",
        lambda x, k, stride=None, padding=0, *_, **__: functional.avg_pool2d(x, k, stride or k, padding),
    )


@pytest.mark.usefixtures("average_pooling")
def test_the_halo_is_the_receptive_field(exact_model):
    entry = find_entry(exact_model)
    network = build(exact_model, 1, 1, 1 / 64).double().eval()
    make_averages(network)
    start = -(-(entry.halo_px + entry.stride) // entry.stride) * entry.stride
    rows = 2 * start + entry.stride
    image = torch.full((1, 1, rows, 64), 1e-9, dtype=torch.float64, requires_grad=True)  # below the limit of a ReLU6
    network(image)[..., start : start + entry.stride, :].sum().backward()
    affected_rows = image.grad.abs().sum(dim=(0, 1, 3)).nonzero()[:, 0]
    reach = max(start - int(affected_rows[0]), int(affected_rows[-1]) - (start + entry.stride - 1))
    assert entry.halo_px - entry.stride < reach <= entry.halo_px


def test_a_tile_with_its_halo_gives_the_answer_of_the_whole_scene(exact_model):
    entry = find_entry(exact_model)
    network = build(exact_model, 2, 2, 1 / 32).double().eval()
    halo, stride = entry.halo_px, entry.stride
    scene = torch.randn(1, 2, 2 * halo + 6 * stride, 64, dtype=torch.float64)
    first = 2 * stride
    with torch.inference_mode():
        whole = network(scene)[..., first + halo : first + halo + stride, :]
        tile = network(scene[..., first : first + 2 * halo + stride, :])[..., halo : halo + stride, :]
    torch.testing.assert_close(tile, whole, rtol=1e-7, atol=1e-7)


def test_a_network_that_is_not_exact_sees_the_far_end(blended_model):
    network = seeded(blended_model, 2, 1 / 16).double().eval()
    scene = torch.randn(1, 2, 640, 32, dtype=torch.float64)
    changed = scene.clone()
    changed[..., -64:, :] += 9
    with torch.inference_mode():
        assert not torch.equal(network(scene)[..., :64, :], network(changed)[..., :64, :])


def test_halo_and_stride_fit_the_tiles(model):
    entry = CLASSIFIERS.get(model) or find_entry(model)
    assert entry.halo_px % entry.stride == 0


# ---- blocks ------------------------------------------------------------------------------------------------
def test_a_hard_sru_is_a_sign_gated_mix_of_the_two_halves():
    unit = Sru(8)
    features = torch.randn(2, 8, 6, 5)
    strong = unit.norm(features) > 0
    crossed = torch.cat([features[:, 4:], features[:, :4]], dim=1)
    strong_crossed = torch.cat([strong[:, 4:], strong[:, :4]], dim=1)
    torch.testing.assert_close(unit(features), features * strong + crossed * ~strong_crossed)
    assert parameters(unit) == 2 * 8


def test_a_soft_sru_keeps_weak_values_at_their_weight():
    unit = Sru(8, gate="soft")
    features = torch.randn(2, 8, 6, 5)
    weight = torch.sigmoid(unit.norm(features) / 8)
    high = torch.where(weight > 0.5, features, weight * features)
    low = torch.where(weight > 0.5, torch.zeros(()), weight * features)
    torch.testing.assert_close(unit(features), high + torch.cat([low[:, 4:], low[:, :4]], dim=1))


@pytest.mark.parametrize("gate", ["hard", "soft"])
def test_sru_is_finite_for_equal_values_and_zero_normalisation(gate):
    unit = Sru(8, gate)
    assert torch.isfinite(unit(torch.full((1, 8, 4, 4), 3.0))).all()
    torch.nn.init.zeros_(unit.norm.weight)
    assert torch.isfinite(unit(torch.randn(1, 8, 4, 4))).all()


@pytest.mark.parametrize("channels", [8, 64, 512])
def test_a_bru_has_the_size_of_its_formula(channels):
    assert parameters(Bru(channels)) == 1.8125 * channels**2 + channels


def test_the_two_maps_of_a_bru_are_mixed_by_a_softmax_of_their_means():
    unit, features = Bru(16), torch.randn(3, 16, 5, 7)
    first, second = unit.parts(features)
    beta = torch.stack([first.mean((2, 3)), second.mean((2, 3))]).softmax(dim=0)[..., None, None]
    torch.testing.assert_close(beta[0], unit.share(first, second))
    torch.testing.assert_close(beta[0] + beta[1], torch.ones_like(beta[0]))
    torch.testing.assert_close(unit(features), beta[0] * first + beta[1] * second)


def test_sbconv_is_an_sru_followed_by_a_bru():
    unit, features = SBConv(16), torch.randn(3, 16, 5, 7)
    torch.testing.assert_close(unit(features), unit[1](unit[0](features)))
    torch.testing.assert_close(unit(features[[2, 0, 1]]), unit(features)[[2, 0, 1]])


@pytest.mark.parametrize(
    ("make", "message"),
    [(lambda: Sru(7), "even"), (lambda: Sru(8, "firm"), "hard"), (lambda: Bru(12), "multiples of 8")],
)
def test_block_refuses_channels_it_cannot_split(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_no_1x1_convolution_has_the_stride_whose_gradient_corrupts_memory(model):
    convolutions = [
        m for m in build(model, 3, 2, 0.0625).modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (1, 1)
    ]
    assert all(m.stride == (1, 1) or isinstance(m, ThinnedConv) for m in convolutions)


def test_a_thinned_convolution_is_the_strided_one_at_odd_sizes_too():
    torch.manual_seed(0)
    thinned, image = ThinnedConv(3, 4, 1, 2, bias=False), torch.randn(2, 3, 9, 12)
    assert torch.allclose(thinned(image), functional.conv2d(image, thinned.weight, stride=2), atol=1e-6)


# ---- refused arguments -------------------------------------------------------------------------------------------
@tabulated(
    ("name", "options", "message"),
    [
        ("unett", {}, "known: .*drs-unet, .*unet"),
        ("unet", {"gate": "soft"}, "no option gate; known: peak, up"),
        ("drs-unet", {"depth": 5}, "no option depth; known: none"),
        ("unet", {"up": "nearest"}, "'bilinear' or 'transpose', not 'nearest'"),
        ("unet", {"classes": 0}, "above 0"),
    ],
)
def test_wrong_name_or_option_is_refused_in_one_line(name, options, message):
    with pytest.raises(ModelError, match=message) as refused:
        build(name, 3, **options)
    assert "\n" not in str(refused.value)


def test_classifier_is_not_found_as_a_segmenter():
    with pytest.raises(ModelError, match="classifies whole tiles"):
        find_entry("triage-resnet")
