"""Encoder weights from a file of the user, loaded into a network of the registry before it is trained."""

import math
from dataclasses import replace
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from torch.nn import functional

from detection.imagery.errors import ModelError
from detection.imagery.neural.learner import ImageryTrainingSettings
from detection.imagery.neural.networks.public_names import name_as_timm
from detection.imagery.registry import CLASSIFIERS, build

Tensors = dict[str, torch.Tensor]
VIT, VIT_STAGE = "unet-vit", "stages.0."
ENCODERS = ("encoder.", "trunk.", "stages.", "groups.")  # prefixes of encoder weights in networks of this project
_PATCHES, _PLACES = "patch_embed.proj.weight", "pos_embed"
LEAST_SHARE = 0.5  # of the weights of the encoder that a file must hold
_TEMPORAL_MOST = 8  # most dates for which a table may hold positions; Prithvi has three or four
_HEAD_CHANNELS = 64  # of each attention head in all public sizes; files do not state it


def open_encoder(
    settings: ImageryTrainingSettings, bands: int, optional_channels: int = 0
) -> tuple[ImageryTrainingSettings, torch.nn.Module, dict[str, str], str]:
    """Build the network that starts with the encoder weights of the file `settings.encoder`.

    Weights are found by the names of `timm`, of `torchvision` and of the published EfficientNet-lite (`public_names`).

    A vision transformer gives a `unet-vit` of its size. Any other file is taken as weights of the network that the
    settings name: weights with the same name and shape are loaded, and must be at least half of the encoder.
    A first convolution of other bands repeats its weights in their order, scaled so that their sum stays. Its weights
    for `optional_channels`, which follow the bands, start at 0: the encoder then starts as it does without them.

    Returns the settings of that network, the network, the origin for the card, and one line for the user.

    Raises:
        ModelError: no such file, no weights, another layout, or weights of another size.
    """
    path = Path(settings.encoder)
    tensors, origin = _read(path)
    if settings.network in CLASSIFIERS:
        raise ModelError(f"{path}: triage is trained from nothing; leave out encoder")
    prefix = next((key.removesuffix(_PATCHES) for key in tensors if key.endswith(_PATCHES)), None)
    if prefix is not None:
        transformer = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
        try:
            options, weights = _read_vit(path, transformer)
        except (IndexError, RuntimeError) as error:
            raise ModelError(f"{path}: no vision transformer of the common layout ({error})") from None
        settings = replace(settings, network=VIT, width=1.0, options={**options, **settings.options})
        dim, heads = settings.options["dim"], settings.options["heads"]
        if heads < 1 or dim % heads:
            raise ModelError(f"{path}: {dim} channels cannot be shared by {heads} heads")
        tensors = {VIT_STAGE + key: value for key, value in weights.items()}
    torch.manual_seed(settings.seed)
    channels = bands + optional_channels
    network = build(settings.network, channels, 2, settings.width, **settings.options)
    if prefix is None and not any(key.startswith(ENCODERS) for key in tensors):
        names_by_key = name_as_timm(list(tensors))
        tensors = {f"encoder.{names_by_key[key]}": value for key, value in tensors.items()}
    names = ENCODERS if prefix is None else VIT_STAGE
    encoder = {key: value for key, value in network.state_dict().items() if key.startswith(names)}
    loaded: Tensors = {}
    for key in (key for key in encoder if key in tensors):
        value, shape = tensors[key], encoder[key].shape
        if len(shape) == value.dim() == 4 and shape[1] == channels != value.shape[1]:  # a first convolution
            value = value[:, torch.arange(bands) % value.shape[1]] * (value.shape[1] / bands)
            value = functional.pad(value, (0, 0, 0, 0, 0, optional_channels))
        if value.shape == shape:
            loaded[key] = value
    share = sum(encoder[key].numel() for key in loaded) / max(1, sum(value.numel() for value in encoder.values()))
    if share < (LEAST_SHARE if prefix is None else 1.0):
        lacking = next((key for key in encoder if key not in loaded), "its encoder")
        state = list(tensors[lacking].shape) if lacking in tensors else "missing"
        raise ModelError(
            f"{path}: {share:.0%} of the encoder of {settings.network} (width {settings.width:g}) are there by name "
            f"and shape, too little: {lacking} is {state}"
        )
    network.load_state_dict(loaded, strict=False)
    line = f"{path}: {share:.0%} of the encoder of {settings.network} begins from it"
    changed = next((tensors[key].shape[1] for key in loaded if tensors[key].shape != encoder[key].shape), None)
    if changed not in {None, bands}:
        line += f"; it was learnt on {changed} bands, which are repeated in their order for {bands}"
    return settings, network, origin, line


def _read(path: Path) -> tuple[Tensors, dict[str, str]]:
    if path.suffix not in {".safetensors", ".pth", ".pt"}:
        raise ModelError(f"{path}: encoder weights are a .safetensors, .pth or .pt file")
    try:
        content = path.read_bytes()
        if path.suffix == ".safetensors":
            loaded = load_tensors(content)
        else:  # `weights_only` reads tensors and refuses code
            loaded = torch.load(BytesIO(content), map_location="cpu", weights_only=True)
        tensors = {key: value.float() for key, value in loaded.items()}
    except (OSError, SafetensorError, RuntimeError, UnpicklingError, EOFError, AttributeError, ValueError) as error:
        raise ModelError(f"{path}: no weights that can be read ({(str(error) or 'empty').splitlines()[0]})") from None
    if not tensors:
        raise ModelError(f"{path}: holds no weights")
    return tensors, {"weights": path.name, "model_hash": sha256(content).hexdigest()}


def _read_vit(path: Path, given: Tensors) -> tuple[dict[str, Any], Tensors]:
    """Return the options of `unet-vit` that fit the weights of a file, and these by the names of that network."""
    depth = len({key.split(".")[1] for key in given if key.startswith("blocks.")})
    parts = ("norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2")
    needed = [f"blocks.{n}.{part}" for n in range(max(1, depth)) for part in parts] + ["norm"]
    missing = [f"{one}.weight" for one in needed if f"{one}.weight" not in given]
    missing += [key for key in (_PLACES, "patch_embed.proj.bias") if key not in given]
    if missing:
        raise ModelError(f"{path}: no vision transformer of the common layout: {missing[0]} is missing")
    patches, places = given[_PATCHES], given[_PLACES]
    if patches.dim() == 5 and patches.shape[2] == 1:  # of series of dates (Prithvi): this network reads one date
        patches = patches[:, :, 0]
    dim = int(patches.shape[0])
    if patches.dim() != 4 or patches.shape[2] != patches.shape[3] or places.dim() != 3 or places.shape[2] != dim:
        raise ModelError(
            f"{path}: {_PATCHES} {list(given[_PATCHES].shape)} and {_PLACES} {list(places.shape)} do not fit together"
        )
    grid, front = _find_grid(path, places.shape[1])
    cls = given.get("cls_token", torch.zeros(1, 0, dim))
    cls = cls + places[:, :front] if front and cls.shape[1] == front else cls
    tokens = torch.cat([cls, *(given[key] for key in ("register_tokens", "reg_token") if key in given)], dim=1)
    found = {"patch_embed.proj.weight": patches, "patch_embed.proj.bias": given["patch_embed.proj.bias"]}
    found |= {_PLACES: places[:, front : front + grid * grid], "tokens": tokens}
    for one in needed:
        weight = given[f"{one}.weight"]
        bias = given.get(f"{one}.bias", torch.zeros(weight.shape[0]))
        # the scale of a layer (DINOv2, CaiT) is the same function within the layer before it
        block = one.removesuffix(".attn.proj").removesuffix(".mlp.fc2")
        scale = given.get(f"{block}.ls{1 if one.endswith('attn.proj') else 2}.gamma") if block != one else None
        if scale is not None:
            weight, bias = scale[:, None] * weight, scale * bias
        found |= {f"{one}.weight": weight, f"{one}.bias": bias}
    options = {"dim": dim, "depth": depth, "heads": max(1, dim // _HEAD_CHANNELS), "patch": int(patches.shape[2])}
    options |= {"hidden": len(given["blocks.0.mlp.fc1.weight"]), "grid": grid, "prefix": int(tokens.shape[1])}
    return options, found


def _find_grid(path: Path, count: int) -> tuple[int, int]:
    """Return the side of the square grid of one date, and the places before it, of a table of `count` places."""
    for dates in range(1, _TEMPORAL_MOST + 1):
        for front in (1, 0):
            side = math.isqrt((count - front) // dates)
            if side and dates * side * side + front == count:
                return side, front
    raise ModelError(f"{path}: the {count} places of {_PLACES} are no square grid")
