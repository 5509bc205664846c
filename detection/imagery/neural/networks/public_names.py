"""Names of public weight files, turned into those of `encoders`."""

import re
from collections.abc import Iterator, Mapping
from typing import Final

# Blocks of each stage of the networks whose files number all blocks in one row.
_LITE0_BLOCKS: Final = (1, 2, 2, 3, 3, 4, 1)
_MOBILE_BLOCKS: Final = (1, 2, 3, 4, 2, 3)
_LAYERS: Final = {
    "_expand_conv": "conv_pw",
    "_depthwise_conv": "conv_dw",
    "_project_conv": "conv_pwl",
    "_bn0": "bn1",
    "_bn1": "bn2",
    "_bn2": "bn3",
}
# The first block has no convolution that expands its channels.
_FIRST_LAYERS: Final = {"_depthwise_conv": "conv_dw", "_project_conv": "conv_pw", "_bn1": "bn1", "_bn2": "bn2"}
_SQUEEZES: Final = {"fc1": "se.conv_reduce", "fc2": "se.conv_expand"}


def name_as_timm(keys: list[str]) -> Mapping[str, str]:
    """Return for each weight of a file, by its name there, the name that `encoders` gives it.

    Files of `timm`, and ResNets of `torchvision`, have these names already. Others are known by their first
    convolution: `_conv_stem` of the published EfficientNet-lite, `features.0.0` of MobileNetV3 in `torchvision`.

    >>> name_as_timm(["_conv_stem.weight", "_blocks.1._bn0.bias"])["_blocks.1._bn0.bias"]
    'blocks.1.0.bn1.bias'
    """
    if "_conv_stem.weight" in keys:
        return dict(zip(keys, map(_name_lite, keys), strict=True))
    if "features.0.0.weight" in keys:
        return dict(_name_mobile(keys))
    return {key: key for key in keys}


def _name_lite(key: str) -> str:
    key = re.sub(r"^_(conv_stem|conv_head)\b", r"\1", key)
    key = re.sub(r"^_bn0\.", "bn1.", key)
    match = re.match(r"_blocks\.(\d+)\.(\w+)\.(.+)", key)
    if match is None:
        return key
    number, layer, rest = int(match[1]), match[2], match[3]
    stage, block = _place(number, _LITE0_BLOCKS)
    layers = _FIRST_LAYERS if number == 0 else _LAYERS
    return f"blocks.{stage}.{block}.{layers.get(layer, layer)}.{rest}"


def _name_mobile(keys: list[str]) -> Iterator[tuple[str, str]]:
    """Yield both names of each weight of a MobileNetV3-large of `torchvision`."""
    parts_by_block: dict[int, set[int]] = {}
    for key in keys:
        match = re.match(r"features\.(\d+)\.block\.(\d+)\.", key)
        if match:
            parts_by_block.setdefault(int(match[1]), set()).add(int(match[2]))
    squeezed = {
        (int(match[1]), int(match[2]))
        for key in keys
        if (match := re.match(r"features\.(\d+)\.block\.(\d+)\.fc1", key))
    }
    for key in keys:
        yield key, _name_mobile_weight(key, parts_by_block, squeezed)


def _name_mobile_weight(key: str, parts_by_block: Mapping[int, set[int]], squeezed: set[tuple[int, int]]) -> str:
    match = re.match(r"features\.(\d+)\.(?:block\.(\d+)\.)?(\w+)\.(.+)", key)
    if match is None:
        return key
    number, rest = int(match[1]), match[4]
    is_norm = match[3] == "1"
    if match[2] is None:
        layer = "bn1" if is_norm else "conv_stem" if number == 0 else "conv"
        return f"{layer}.{rest}" if number == 0 else f"blocks.{len(_MOBILE_BLOCKS)}.0.{layer}.{rest}"
    part = int(match[2])
    stage, block = _place(number - 1, _MOBILE_BLOCKS)
    head = f"blocks.{stage}.{block}"
    if match[3] in _SQUEEZES:
        return f"{head}.{_SQUEEZES[match[3]]}.{rest}"
    layers = sorted(parts_by_block[number] - {p for n, p in squeezed if n == number})
    place = layers.index(part)
    names = ("conv_dw", "conv_pw") if len(layers) == 2 else ("conv_pw", "conv_dw", "conv_pwl")
    return f"{head}.bn{place + 1}.{rest}" if is_norm else f"{head}.{names[place]}.{rest}"


def _place(number: int, blocks: tuple[int, ...]) -> tuple[int, int]:
    """Return stage and place within it of a block that is numbered over all stages.

    >>> _place(3, (1, 2, 2))
    (2, 0)
    """
    for stage, count in enumerate(blocks):
        if number < count:
            return stage, number
        number -= count
    return len(blocks), number
