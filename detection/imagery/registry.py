"""The list of segmentation networks that exist, by name; a network is imported only when it is built."""

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from detection.imagery.errors import ModelError

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class Entry:
    """One network of the registry.

    Attributes:
        target: dotted path `module:callable`, called as `f(in_channels, classes, width, **options)`.
        tile_exact: true when the network has a finite receptive field, so that tiles with a halo give
            the answer of the whole scene.
        stride: deepest down-sampling; tile origins are multiples of it.
        halo_px: how far an output pixel can see, rounded up to the stride: with this halo tiles are exact. For the
            bilinear U-Net convolutions see 92 px, the up-sampling 30 px more, the poolings up to 15 px.
    """

    target: str
    tile_exact: bool
    stride: int
    halo_px: int


SEGMENTERS: dict[str, Entry] = {
    "unet": Entry("detection.imagery.neural.unet:build_unet", tile_exact=True, stride=16, halo_px=144),
}


def find_entry(name: str) -> Entry:
    """Return the registry's entry for a name.

    Raises:
        ModelError: the name is unknown; the message lists the known ones.

    >>> find_entry("unet").stride
    16
    """
    if name not in SEGMENTERS:
        raise ModelError(f"unknown network {name!r}; known: {', '.join(sorted(SEGMENTERS))}")
    return SEGMENTERS[name]


def build(name: str, in_channels: int, classes: int = 2, width: float = 1.0, **options: Any) -> "torch.nn.Module":
    """Build a network with fresh weights.

    Args:
        name: a key of `SEGMENTERS`.
        in_channels: number of input bands.
        classes: number of output classes; class 1 is landslide.
        width: multiplier of all channel counts.
        **options: options of the network's family.

    Returns:
        A module from N x in_channels x H x W to logits N x classes x H x W, for any H, W >= 32.
    """
    module_name, attribute = find_entry(name).target.split(":")
    network: torch.nn.Module = getattr(import_module(module_name), attribute)(in_channels, classes, width, **options)
    return network
