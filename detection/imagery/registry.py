"""The list of imagery networks that exist, by name; a network is imported only when it is built."""

from dataclasses import dataclass, field
from importlib import import_module
from inspect import Parameter, signature
from typing import TYPE_CHECKING, Any

from detection.imagery.errors import ModelError

if TYPE_CHECKING:
    import torch

ROOM = "detection.imagery.neural.networks"


@dataclass(frozen=True, slots=True)
class Entry:
    """One network of the registry.

    Attributes:
        target: dotted path `module:callable`, called as `f(in_channels, classes, width, **options)`.
        tile_exact: true when the network has a finite receptive field, so that tiles with a halo give
            the answer of the whole scene; false when means over the window enter.
        stride: deepest down-sampling; tile origins are multiples of it.
        halo_px: how far outside of an aligned tile its pixels can see, rounded up to the stride: with this halo tiles
            are exact. Where tiles cannot be exact, the overlap to blend over.
        least_px: least side of an image on which all of the network is in use: below it the widest dilated
            convolutions see padding only. Train on no less than this, or know it.
        fixed: options that make this name out of its family.
    """

    target: str
    tile_exact: bool
    stride: int
    halo_px: int
    least_px: int = 32
    fixed: dict[str, Any] = field(default_factory=dict)


def _family(unit: str, *, residual: bool) -> Entry:
    fixed: dict[str, Any] = {"unit": unit, "residual": residual}
    if unit not in {"sru", "sbconv"}:
        fixed["gate"] = "hard"
    return Entry(f"{ROOM}.unet:Unet", tile_exact=unit == "plain", stride=16, halo_px=112, fixed=fixed)


SEGMENTERS: dict[str, Entry] = {
    "unet": _family("plain", residual=False),
    "sru-unet": _family("sru", residual=False),
    "bru-unet": _family("bru", residual=False),
    "sbconv-unet": _family("sbconv", residual=False),
    "resunet": _family("plain", residual=True),
    "sru-resunet": _family("sru", residual=True),
    "bru-resunet": _family("bru", residual=True),
    "sbconv-resunet": _family("sbconv", residual=True),
    "scdnn": Entry(f"{ROOM}.scdnn:Scdnn", tile_exact=True, stride=16, halo_px=496, least_px=304),
    "segnet": Entry(f"{ROOM}.segnet:Segnet", tile_exact=True, stride=32, halo_px=192),
    "deeplabv3plus-resnet50": Entry(
        f"{ROOM}.deeplabv3plus:build_resnet", tile_exact=False, stride=16, halo_px=128, least_px=304
    ),
    "deeplabv3plus-mobilenetv2": Entry(
        f"{ROOM}.deeplabv3plus:build_mobilenet", tile_exact=False, stride=16, halo_px=128, least_px=304
    ),
    "linknet": Entry(f"{ROOM}.linknet:Linknet", tile_exact=True, stride=32, halo_px=256),
    "sssn": Entry(f"{ROOM}.sssn:Sssn", tile_exact=True, stride=4, halo_px=8),
    "fcn8s": Entry(f"{ROOM}.fcn8s:Fcn8s", tile_exact=True, stride=32, halo_px=224),
    "pspnet": Entry(f"{ROOM}.pspnet:Pspnet", tile_exact=False, stride=8, halo_px=128),
    "deeplabv2": Entry(f"{ROOM}.deeplabv2:DeepLabV2", tile_exact=True, stride=8, halo_px=376, least_px=200),
    "contextnet": Entry(f"{ROOM}.contextnet:Contextnet", tile_exact=True, stride=32, halo_px=352),
    "sqnet": Entry(f"{ROOM}.sqnet:Sqnet", tile_exact=True, stride=16, halo_px=176),
    "frrn-a": Entry(f"{ROOM}.frrn:Frrn", tile_exact=True, stride=16, halo_px=240, fixed={"variant": "A"}),
    "frrn-b": Entry(f"{ROOM}.frrn:Frrn", tile_exact=True, stride=32, halo_px=448, fixed={"variant": "B"}),
    "transformer-unet": Entry(f"{ROOM}.transformer_unet:TransformerUnet", tile_exact=False, stride=32, halo_px=128),
    "drs-unet": Entry(f"{ROOM}.drs_unet:DrsUnet", tile_exact=False, stride=16, halo_px=112),
}

# one answer per tile, not per pixel: never a segmenter's stand-in
CLASSIFIERS: dict[str, Entry] = {
    "triage-resnet": Entry(f"{ROOM}.triage_resnet:TriageResnet", tile_exact=False, stride=32, halo_px=0),
}


def find_entry(name: str) -> Entry:
    """Return the registry's entry for a segmenter's name.

    Raises:
        ModelError: the name is unknown, or a classifier's; the message lists the known ones.

    >>> find_entry("unet").stride
    16
    """
    if name in CLASSIFIERS:
        raise ModelError(f"network {name!r} classifies whole tiles and draws no map; known: {_names(SEGMENTERS)}")
    if name not in SEGMENTERS:
        raise ModelError(f"unknown network {name!r}; known: {_names(SEGMENTERS)}")
    return SEGMENTERS[name]


def find_doubts(name: str, side_px: int) -> tuple[str, ...]:
    """Return what is doubtful about a network on images of a side, one sentence each.

    >>> find_doubts("scdnn", 128)
    ('patches of 128 px are small for scdnn: below 304 px its widest convolutions see little but padding',)
    """
    least_px = (CLASSIFIERS.get(name) or find_entry(name)).least_px
    if side_px >= least_px:
        return ()
    small = f"patches of {side_px} px are small for {name}"
    return (f"{small}: below {least_px} px its widest convolutions see little but padding",)


def build(name: str, in_channels: int, classes: int = 2, width: float = 1.0, **options: Any) -> "torch.nn.Module":
    """Build a network with fresh weights.

    Args:
        name: a key of `SEGMENTERS` or `CLASSIFIERS`.
        in_channels: number of input bands.
        classes: number of output classes; class 1 is landslide.
        width: multiplier of all channel counts.
        **options: options of the network's family.

    Returns:
        A segmenter maps N x in_channels x H x W to logits N x classes x H x W, for any H, W; a classifier to
        N x classes. Training on a batch of one works from 32 px on.

    Raises:
        ModelError: the name or an option is unknown, or a value does not fit; the message says what would.

    >>> build("unet", 3, gate="soft")
    Traceback (most recent call last):
    detection.imagery.errors.ModelError: network 'unet' has no option gate; known: peak, up
    """
    entry = CLASSIFIERS.get(name) or find_entry(name)
    if in_channels < 1 or classes < 1 or not width > 0:
        raise ModelError(f"network {name!r} needs bands, classes and width above 0: {in_channels}, {classes}, {width}")
    module_name, attribute = entry.target.split(":")
    target = getattr(import_module(module_name), attribute)
    parameters = signature(target).parameters.values()
    known = {each.name for each in parameters if each.kind is Parameter.KEYWORD_ONLY} - set(entry.fixed)
    if unknown := sorted(set(options) - known):
        raise ModelError(f"network {name!r} has no option {', '.join(unknown)}; known: {_names(known) or 'none'}")
    try:
        network: torch.nn.Module = target(in_channels, classes, width, **entry.fixed, **options)
    except ValueError as error:
        raise ModelError(f"network {name!r}: {error}") from None
    return network


def _names(names: Any) -> str:
    return ", ".join(sorted(names))
