"""Load encoder weights from a file of the user into a network of the registry, before the network is trained."""

import math
from dataclasses import replace
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from torch.nn import functional

from detection.imagery.errors import ModelError
from detection.imagery.neural.learner import ImageryTrainingSettings
from detection.imagery.neural.networks.public_names import name_as_timm
from detection.imagery.registry import CLASSIFIERS, build

Tensors = dict[str, torch.Tensor]
# The network for vision transformers, and the prefix of its encoder weights.
VIT: Final = "unet-vit"
VIT_PREFIX: Final = "stages.0."
# Prefixes of encoder weights in networks of this project.
ENCODER_PREFIXES: Final = ("encoder.", "trunk.", "stages.", "groups.")
# A file must contain at least this share of the weights of the encoder.
LEAST_SHARE: Final = 0.5
# Names in files of vision transformers.
_PATCH_EMBEDDING: Final = "patch_embed.proj.weight"
_POSITION_EMBEDDING: Final = "pos_embed"
# A position embedding may be of at most this many dates. Prithvi has three or four.
_DATES_MOST: Final = 8
# Channels of each attention head in all public sizes. Files do not state it.
_HEAD_CHANNELS: Final = 64


def open_encoder(
    settings: ImageryTrainingSettings, bands: int, optional_channels: int = 0
) -> tuple[ImageryTrainingSettings, torch.nn.Module, dict[str, str], str]:
    """Build the network that starts with the encoder weights of the file `settings.encoder`.

    The weights may have the names of `timm`, of `torchvision` or of the published EfficientNet-lite (`public_names`).

    For a file of a vision transformer, the network is a `unet-vit` of its size. For any other file, it is the network
    of the settings: weights with the same name and shape are loaded, and must be at least half of the encoder. If the
    file has another number of bands, the weights of its first convolution are repeated in their order, and scaled so
    that their sum stays. The weights for optional channels, which follow the bands, start at 0, so that the encoder
    starts as it does without these channels.

    Args:
        settings: name the file, the network and the seed of its other weights.
        bands: number of bands.
        optional_channels: number of channels of optional bands.

    Returns:
        The settings of the network, the network, the origin of the weights for the card, and a line for the user.

    Raises:
        ModelError: the file does not exist, contains no weights, or contains weights of another layout or size.
    """
    path = Path(settings.encoder)
    tensors, origin = _read_tensors(path)
    if settings.network in CLASSIFIERS:
        raise ModelError(f"{path}: triage is trained from nothing; leave out encoder")
    prefix = next((key.removesuffix(_PATCH_EMBEDDING) for key in tensors if key.endswith(_PATCH_EMBEDDING)), None)
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
        tensors = {VIT_PREFIX + key: value for key, value in weights.items()}
    torch.manual_seed(settings.seed)
    channels = bands + optional_channels
    network = build(settings.network, channels, 2, settings.width, **settings.options)
    if prefix is None and not any(key.startswith(ENCODER_PREFIXES) for key in tensors):
        names_by_key = name_as_timm(list(tensors))
        tensors = {f"encoder.{names_by_key[key]}": value for key, value in tensors.items()}
    prefixes = ENCODER_PREFIXES if prefix is None else VIT_PREFIX
    encoder = {key: value for key, value in network.state_dict().items() if key.startswith(prefixes)}
    loaded: Tensors = {}
    for key in (key for key in encoder if key in tensors):
        value = tensors[key]
        shape = encoder[key].shape
        is_first_convolution = len(shape) == value.dim() == 4 and shape[1] == channels
        if is_first_convolution and value.shape[1] != channels:
            value = value[:, torch.arange(bands) % value.shape[1]] * (value.shape[1] / bands)
            value = functional.pad(value, (0, 0, 0, 0, 0, optional_channels))
        if value.shape == shape:
            loaded[key] = value
    loaded_count = sum(encoder[key].numel() for key in loaded)
    share = loaded_count / max(1, sum(value.numel() for value in encoder.values()))
    if share < (LEAST_SHARE if prefix is None else 1.0):
        lacking = next((key for key in encoder if key not in loaded), "its encoder")
        state = list(tensors[lacking].shape) if lacking in tensors else "missing"
        raise ModelError(
            f"{path}: {share:.0%} of the encoder of {settings.network} (width {settings.width:g}) are there by name "
            f"and shape, too little: {lacking} is {state}"
        )
    network.load_state_dict(loaded, strict=False)
    line = f"{path}: {share:.0%} of the encoder of {settings.network} begins from it"
    file_bands = next((tensors[key].shape[1] for key in loaded if tensors[key].shape != encoder[key].shape), None)
    if file_bands not in {None, bands}:
        line += f"; it was learnt on {file_bands} bands, which are repeated in their order for {bands}"
    return settings, network, origin, line


def _read_tensors(path: Path) -> tuple[Tensors, dict[str, str]]:
    """Return the weights of a file by name, and their origin for the card."""
    if path.suffix not in {".safetensors", ".pth", ".pt"}:
        raise ModelError(f"{path}: encoder weights are a .safetensors, .pth or .pt file")
    try:
        content = path.read_bytes()
        if path.suffix == ".safetensors":
            loaded = load_tensors(content)
        else:
            # `weights_only` refuses code.
            loaded = torch.load(BytesIO(content), map_location="cpu", weights_only=True)
        tensors = {key: value.float() for key, value in loaded.items()}
    except (OSError, SafetensorError, RuntimeError, UnpicklingError, EOFError, AttributeError, ValueError) as error:
        raise ModelError(f"{path}: no weights that can be read ({(str(error) or 'empty').splitlines()[0]})") from None
    if not tensors:
        raise ModelError(f"{path}: holds no weights")
    return tensors, {"weights": path.name, "model_hash": sha256(content).hexdigest()}


def _read_vit(path: Path, tensors: Tensors) -> tuple[dict[str, Any], Tensors]:
    """Return the options of the `unet-vit` that fits the weights of a file, and the weights by the names of `unet-vit`.

    Args:
        path: of the file, for error messages.
        tensors: weights by the names of the file.

    Raises:
        ModelError: weights are missing or do not fit together.
    """
    depth = len({key.split(".")[1] for key in tensors if key.startswith("blocks.")})
    parts = ("norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2")
    layers = [f"blocks.{number}.{part}" for number in range(max(1, depth)) for part in parts] + ["norm"]
    missing = [f"{layer}.weight" for layer in layers if f"{layer}.weight" not in tensors]
    missing += [key for key in (_POSITION_EMBEDDING, "patch_embed.proj.bias") if key not in tensors]
    if missing:
        raise ModelError(f"{path}: no vision transformer of the common layout: {missing[0]} is missing")
    patches = tensors[_PATCH_EMBEDDING]
    positions = tensors[_POSITION_EMBEDDING]
    # Weights for a series of dates (Prithvi): this network reads one date.
    if patches.dim() == 5 and patches.shape[2] == 1:
        patches = patches[:, :, 0]
    dim = int(patches.shape[0])
    is_square = patches.dim() == 4 and patches.shape[2] == patches.shape[3]
    if not is_square or positions.dim() != 3 or positions.shape[2] != dim:
        raise ModelError(
            f"{path}: {_PATCH_EMBEDDING} {list(tensors[_PATCH_EMBEDDING].shape)} and {_POSITION_EMBEDDING} "
            f"{list(positions.shape)} do not fit together"
        )
    grid, front = _find_grid(path, positions.shape[1])
    class_token = tensors.get("cls_token", torch.zeros(1, 0, dim))
    if front and class_token.shape[1] == front:
        class_token = class_token + positions[:, :front]
    registers = [tensors[key] for key in ("register_tokens", "reg_token") if key in tensors]
    tokens = torch.cat([class_token, *registers], dim=1)
    weights = {
        "patch_embed.proj.weight": patches,
        "patch_embed.proj.bias": tensors["patch_embed.proj.bias"],
        _POSITION_EMBEDDING: positions[:, front : front + grid * grid],
        "tokens": tokens,
    }
    for layer in layers:
        weight = tensors[f"{layer}.weight"]
        bias = tensors.get(f"{layer}.bias", torch.zeros(weight.shape[0]))
        scale = _find_layer_scale(tensors, layer)
        if scale is not None:
            weight = scale[:, None] * weight
            bias = scale * bias
        weights[f"{layer}.weight"] = weight
        weights[f"{layer}.bias"] = bias
    options = {
        "dim": dim,
        "depth": depth,
        "heads": max(1, dim // _HEAD_CHANNELS),
        "patch": int(patches.shape[2]),
        "hidden": len(tensors["blocks.0.mlp.fc1.weight"]),
        "grid": grid,
        "prefix": int(tokens.shape[1]),
    }
    return options, weights


def _find_layer_scale(tensors: Tensors, layer: str) -> torch.Tensor | None:
    """Return the scale that follows a layer (DINOv2, CaiT), which can be merged into the layer; None if it has none."""
    if layer.endswith(".attn.proj"):
        return tensors.get(f"{layer.removesuffix('.attn.proj')}.ls1.gamma")
    if layer.endswith(".mlp.fc2"):
        return tensors.get(f"{layer.removesuffix('.mlp.fc2')}.ls2.gamma")
    return None


def _find_grid(path: Path, count: int) -> tuple[int, int]:
    """Return the side of the square grid of one date, and how many positions precede it, of `count` positions."""
    for dates in range(1, _DATES_MOST + 1):
        for front in (1, 0):
            side = math.isqrt((count - front) // dates)
            if side and dates * side * side + front == count:
                return side, front
    raise ModelError(f"{path}: the {count} places of {_POSITION_EMBEDDING} are no square grid")
