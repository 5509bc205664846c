"""Encoder weights from disk: what is taken over, what is brought to other bands and sizes, what is refused."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional

from detection.imagery.errors import ModelError, TrainingRecipeError
from detection.imagery.neural.encoder_file import open_encoder
from detection.imagery.neural.learner import ImageryTrainingSettings
from detection.imagery.neural.model_file import load_model
from detection.imagery.registry import build
from monitor.cli.main import run_command
from packages.lab.tests.data.tiny_recipe import tiny
from slopeward_lab.recipes.recipe_file import read_recipe
from slopeward_lab.recipes.run import run_recipe

pytestmark = pytest.mark.usefixtures("one_torch_thread")
DIM, DEPTH, HIDDEN = 128, 3, 160


def make_vit(bands=3, patch=8, places=1 + 6 * 6, registers=0, scaled=False, dates=0):
    """A random checkpoint by the names of DINO, DINOv2 (registers, scaled layers) and Prithvi (dates)."""
    torch.manual_seed(7)
    kernel = (dates, patch, patch) if dates else (patch, patch)
    shapes = {"cls_token": (1, 1, DIM), "pos_embed": (1, places, DIM), "norm": (DIM,)}
    shapes |= {"patch_embed.proj.weight": (DIM, bands, *kernel), "patch_embed.proj.bias": (DIM,)}
    for number in range(DEPTH):
        head = f"blocks.{number}."
        shapes |= {head + "norm1": (DIM,), head + "attn.qkv": (3 * DIM, DIM), head + "attn.proj": (DIM, DIM)}
        shapes |= {head + "norm2": (DIM,), head + "mlp.fc1": (HIDDEN, DIM), head + "mlp.fc2": (DIM, HIDDEN)}
        shapes |= {head + f"ls{one}.gamma": (DIM,) for one in (1, 2) if scaled}
    shapes |= {"register_tokens": (1, registers, DIM)} if registers else {}
    whole = {}
    for name, shape in shapes.items():
        if ("." in name and not name.endswith(("weight", "bias", "gamma"))) or name == "norm":
            whole[f"{name}.bias"] = torch.randn(shape[0]) * 0.1
            name = f"{name}.weight"
        whole[name] = torch.randn(shape) * 0.1 + (1.0 if "norm" in name else 0.0)
    return whole


def run_vit(given, images, patch=8):
    """The last map of a checkpoint, as its authors compute it, on images of the size that it was learnt on."""

    def norm(name, x):
        return functional.layer_norm(x, (DIM,), given[f"{name}.weight"], given[f"{name}.bias"], 1e-6)

    def line(name, x):
        return functional.linear(x, given[f"{name}.weight"], given[f"{name}.bias"])

    proj = functional.conv2d(images, given["patch_embed.proj.weight"], given["patch_embed.proj.bias"], patch)
    x = torch.cat([given["cls_token"].expand(len(images), -1, -1), proj.flatten(2).mT], 1) + given["pos_embed"]
    if "register_tokens" in given:
        x = torch.cat([x[:, :1], given["register_tokens"].expand(len(images), -1, -1), x[:, 1:]], 1)
    for number in range(DEPTH):
        block, one = f"blocks.{number}", torch.ones(DIM)
        qkv = line(f"{block}.attn.qkv", norm(f"{block}.norm1", x)).reshape(len(x), -1, 3, 2, DIM // 2)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        mixed = ((q @ k.mT / (DIM // 2) ** 0.5).softmax(-1) @ v).transpose(1, 2).flatten(2)
        x = x + given.get(f"{block}.ls1.gamma", one) * line(f"{block}.attn.proj", mixed)
        hidden = functional.gelu(line(f"{block}.mlp.fc1", norm(f"{block}.norm2", x)))
        x = x + given.get(f"{block}.ls2.gamma", one) * line(f"{block}.mlp.fc2", hidden)
    front = x.shape[1] - proj.shape[2] * proj.shape[3]
    return norm("norm", x)[:, front:].mT.unflatten(2, proj.shape[2:])


def opened(tmp_path, tensors, bands=3, **said):
    path = tmp_path / "encoder.safetensors"
    save_file({name: value.contiguous() for name, value in tensors.items()}, path)
    return open_encoder(ImageryTrainingSettings(**{"width": 0.0625, **said}, encoder=str(path)), bands)


@pytest.mark.parametrize("head", ["", "backbone."])
@pytest.mark.parametrize("made", [{}, {"registers": 4, "scaled": True}])
def test_a_transformer_of_the_common_layout_gives_the_map_of_its_authors(tmp_path, made, head):
    given = make_vit(**made)
    settings, network, origin, line = opened(
        tmp_path, {head + k: v for k, v in given.items()} | {"head.bias": torch.ones(2)}
    )
    assert (settings.network, settings.width) == ("unet-vit", 1.0)
    assert settings.options == {
        "dim": DIM,
        "depth": DEPTH,
        "heads": 2,
        "patch": 8,
        "hidden": HIDDEN,
        "grid": 6,
        "prefix": 1 + made.get("registers", 0),
    }
    images = torch.randn(2, 3, 48, 48)
    with torch.inference_mode():
        torch.testing.assert_close(network.stages[0](images)[-1], run_vit(given, images), rtol=1e-4, atol=1e-4)
        assert network.eval()(torch.randn(1, 3, 50, 71)).shape == (1, 2, 50, 71)  # places are interpolated
    assert line.endswith("encoder.safetensors: 100% of the encoder of unet-vit begins from it")
    assert len(origin["model_hash"]) == 64


def test_of_weights_for_several_dates_one_date_is_used_and_six_bands_are_brought_to_three(tmp_path):
    given = make_vit(bands=6, places=1 + 3 * 6 * 6, dates=1)
    _, network, _, line = opened(tmp_path, given)
    encoder = network.stages[0]
    assert torch.equal(encoder.pos_embed, given["pos_embed"][:, 1:37])
    assert torch.equal(encoder.patch_embed["proj"].weight, given["patch_embed.proj.weight"][:, :3, 0] * 2)
    assert line.endswith("begins from it; it was learnt on 6 bands, which are repeated in their order for 3")


@pytest.mark.parametrize("name", ["deeplabv3plus-mobilenetv2", "unet"])
def test_encoders_of_the_project_are_taken_over_and_nothing_else(tmp_path, name):
    torch.manual_seed(1)
    source = build(name, 3, 2, 0.0625)
    _, network, _, line = opened(tmp_path, source.state_dict(), 5, network=name, seed=9)
    before, after, images = source.state_dict(), network.state_dict(), torch.rand(2, 5, 64, 64)
    assert f"100% of the encoder of {name} begins from it; it was learnt on 3 bands" in line
    same = {key.split(".")[0] for key in after if torch.equal(after[key], before[key]) and "weight" in key}
    assert same & {"stages", "trunk", "encoder"}
    last = [key for key in after if key.endswith("weight") and after[key].dim() == 4][-1]
    assert not torch.equal(after[last], before[last])
    first = next(key for key in after if key.startswith(("stages", "trunk", "encoder")))
    torch.testing.assert_close(after[first], before[first][:, [0, 1, 2, 0, 1]] * 3 / 5)
    assert network(images).shape == (2, 2, 64, 64)


def refuse(tmp_path, tensors, **said):
    with pytest.raises(ModelError) as refused:
        opened(tmp_path, tensors, **said)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def without(name):
    return {key: value for key, value in make_vit().items() if key != name}


@pytest.mark.parametrize(
    ("tensors", "said", "message"),
    [
        (without("pos_embed"), {}, "no vision transformer of the common layout: pos_embed is missing"),
        (without("blocks.1.mlp.fc1.weight"), {}, "blocks.1.mlp.fc1.weight is missing"),
        (make_vit() | {"cls_token": torch.ones(5)}, {}, "no vision transformer of the common layout ("),
        (make_vit(places=40), {}, "the 40 places of pos_embed are no square grid"),
        (make_vit(dates=3), {}, "[128, 3, 3, 8, 8] and pos_embed [1, 37, 128] do not fit together"),
        (make_vit() | {"blocks.2.norm1.weight": torch.ones(5)}, {}, "% of the encoder of unet-vit (width 1) are there"),
        (make_vit(), {"options": {"heads": 3}}, "128 channels cannot be shared by 3 heads"),
        (make_vit(), {"options": {"eyes": 3}}, "has no option eyes"),
        (
            {"layers.0.to_qkv.weight": torch.ones(3, 3)},
            {},
            "0% of the encoder of unet (width 0.0625) are there by name and shape, too little",
        ),
        (build("unet", 3, 2, 0.125).state_dict(), {}, "too little: encoder.0.0.0.weight is [8, 3, 3, 3]"),
        (make_vit(), {"network": "triage-resnet"}, "triage is trained from nothing"),
        ({}, {}, "holds no weights"),
    ],
)
def test_what_does_not_fit_is_one_line(tmp_path, tensors, said, message):
    assert message in refuse(tmp_path, tensors, **said)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("dino.bin", b"\x80\x02", "encoder weights are a .safetensors, .pth or .pt file"),
        ("dino.pth", b"\x80\x02", "no weights that can be read"),
        ("none.safetensors", None, "no weights that can be read ([Errno 2] No such file"),
        ("torn.safetensors", b"\x00" * 40, "no weights that can be read"),
    ],
)
def test_a_file_of_another_kind_is_one_line(tmp_path, name, content, message):
    if content:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelError) as refused:
        open_encoder(ImageryTrainingSettings(encoder=str(tmp_path / name)), 3)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.soak
def test_a_recipe_trains_the_decoder_under_a_frozen_encoder_and_the_weights_say_so(tmp_path, capsys):
    path, recipe, out = tmp_path / "dino.safetensors", tmp_path / "tiny.toml", tmp_path / "mine.safetensors"
    given = make_vit()
    save_file(given, path)
    recipe.write_text(tiny(12, 4, 2) + "options = {frozen = true}\n")
    assert (
        run_command(["scenes", "train", "--recipe", str(recipe), "--out", str(out), "--encoder", str(path), "--json"])
        == 0
    )
    answer = capsys.readouterr()
    card = json.loads(answer.out)
    assert "dino.safetensors: 100% of the encoder of unet-vit begins from it" in answer.err
    assert card["begun_from"]["weights"] == path.name, "without the folder, which is of no use elsewhere"
    network = load_model(str(out)).network
    kept = network.stages[0].state_dict()
    assert torch.equal(kept["blocks.2.mlp.fc2.weight"], given["blocks.2.mlp.fc2.weight"])
    assert np.isfinite(card["metrics"]["test"]["f1"] or 0.0)
    loaded = read_recipe(recipe)
    both = replace(loaded, training={**loaded.training, "encoder": str(path), "start": str(out)})
    with pytest.raises(TrainingRecipeError, match="start brings an encoder of its own"):
        run_recipe(both, out)
