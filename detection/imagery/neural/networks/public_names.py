"""Convert the names of weights in public files to the names in `encoders`."""

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
    """Return the name in `encoders` of each weight of a file, by its name in the file.

    Files of `timm`, and ResNets of `torchvision`, have these names already. Two other kinds of files are recognised by
    the name of their first convolution: `_conv_stem` in the published EfficientNet-lite, and `features.0.0` in
    MobileNetV3 of `torchvision`.

    >>> name_as_timm(["_conv_stem.weight", "_blocks.1._bn0.bias"])["_blocks.1._bn0.bias"]
    'blocks.1.0.bn1.bias'
    """
    if "_conv_stem.weight" in keys:
        return dict(zip(keys, map(_name_lite, keys), strict=True))
    if "features.0.0.weight" in keys:
        return dict(_name_mobile(keys))
    return {key: key for key in keys}


def _name_lite(key: str) -> str:
    """Return the name in `encoders` of a weight of the published EfficientNet-lite0."""
    key = re.sub(r"^_(conv_stem|conv_head)\b", r"\1", key)
    key = re.sub(r"^_bn0\.", "bn1.", key)
    match = re.match(r"_blocks\.(\d+)\.(\w+)\.(.+)", key)
    if match is None:
        return key
    number = int(match[1])
    layer, parameter = match[2], match[3]
    stage, block = _locate_block(number, _LITE0_BLOCKS)
    layers = _FIRST_LAYERS if number == 0 else _LAYERS
    return f"blocks.{stage}.{block}.{layers.get(layer, layer)}.{parameter}"


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
    """Return the name in `encoders` of one weight.

    Args:
        key: its name in the file.
        parts_by_block: numbers of the parts of each block.
        squeezed: (block, part) of the squeezes.
    """
    match = re.match(r"features\.(\d+)\.(?:block\.(\d+)\.)?(\w+)\.(.+)", key)
    if match is None:
        return key
    number = int(match[1])
    parameter = match[4]
    is_norm = match[3] == "1"
    if match[2] is None:
        layer = "bn1" if is_norm else "conv_stem" if number == 0 else "conv"
        return f"{layer}.{parameter}" if number == 0 else f"blocks.{len(_MOBILE_BLOCKS)}.0.{layer}.{parameter}"
    part = int(match[2])
    stage, block = _locate_block(number - 1, _MOBILE_BLOCKS)
    head = f"blocks.{stage}.{block}"
    if match[3] in _SQUEEZES:
        return f"{head}.{_SQUEEZES[match[3]]}.{parameter}"
    squeezes = {squeeze for block_number, squeeze in squeezed if block_number == number}
    layers = sorted(parts_by_block[number] - squeezes)
    place = layers.index(part)
    names = ("conv_dw", "conv_pw") if len(layers) == 2 else ("conv_pw", "conv_dw", "conv_pwl")
    return f"{head}.bn{place + 1}.{parameter}" if is_norm else f"{head}.{names[place]}.{parameter}"


def _locate_block(number: int, blocks: tuple[int, ...]) -> tuple[int, int]:
    """Return the stage of a block that is numbered over all stages, and its position within the stage.

    >>> _locate_block(3, (1, 2, 2))
    (2, 0)
    """
    for stage, count in enumerate(blocks):
        if number < count:
            return stage, number
        number -= count
    return len(blocks), number
