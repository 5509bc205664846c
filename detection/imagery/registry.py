"""Registry of imagery networks by name. The code of a network is imported when the network is built.

Installed packages add segmenters by the entry point group `slopeward.segmenters`. They are imported when a name is not
that of a built-in network, or when all networks are listed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import import_module
from inspect import Parameter, signature
from typing import TYPE_CHECKING, Any, Final

from detection.entry_points import load_entries
from detection.imagery.errors import ModelError

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class NetworkEntry:
    """One network of the registry."""

    target: str  # `module:callable`, called as `f(in_channels, classes, width, **options)`
    # Whether the receptive field is finite, so that tiles with a halo give the map of the whole scene. False if the map
    # depends on means over the window.
    tile_exact: bool
    stride: int  # deepest down-sampling; tile origins are multiples of it
    # Pixels outside of an aligned tile on which its map depends, rounded up to the stride: with this halo, tiles are
    # exact. If tiles cannot be exact, the overlap over which they are blended.
    halo_px: int
    paper: str | None = None  # describes the network
    parameters: tuple[int, int] | None = None  # number at width 1 with two classes, for 3 and for 14 bands
    # Least recommended side of the training images. On smaller ones, the widest dilated convolutions read only padding.
    least_px: int = 32
    # Whether the network can read a scene in consecutive bands of rows (`row_stream`), without a halo.
    streams: bool = False
    fixed: dict[str, Any] = field(default_factory=dict)  # options of `target` that this name determines
    # Whether the entry is of a family of networks. Its name ends with a colon, such as `smp:`. The part of a name after
    # the colon is passed to `target` as the option `member`.
    is_family: bool = False


ENTRY_POINTS: Final = "slopeward.segmenters"
"""Entry point group of further segmenters: each entry point names a mapping from name to `NetworkEntry`."""


def _describe_encoder_unet(
    encoder: str, *, tile_exact: bool, halo_px: int, paper: str, parameters: tuple[int, int]
) -> NetworkEntry:
    """Return the entry of a U-Net on an encoder with the layout of public weight files.

    Tiles are not exact if the encoder has squeezes, which take means over the whole window.
    """
    return NetworkEntry(
        "detection.imagery.neural.networks.encoder_unet:EncoderUnet",
        tile_exact=tile_exact,
        stride=32,
        halo_px=halo_px,
        paper=paper,
        parameters=parameters,
        least_px=64,
        streams=tile_exact,
        fixed={"encoder": encoder},
    )


SEGMENTERS: Final[Mapping[str, NetworkEntry]] = {
    "unet": NetworkEntry(
        "detection.imagery.neural.networks.unet:Unet",
        tile_exact=True,
        stride=16,
        halo_px=112,
        paper="Ronneberger et al. 2015, arXiv 1505.04597",
        parameters=(17_263_042, 17_269_378),
        streams=True,
        fixed={"unit": "plain", "residual": False, "gate": "hard"},
    ),
    "unet-efficientnet-lite0": _describe_encoder_unet(
        "efficientnet-lite0",
        tile_exact=True,
        halo_px=544,
        paper="Tan and Le 2019, arXiv 1905.11946; lite variant of 2020",
        parameters=(3_836_706, 3_839_874),
    ),
    "unet-resnet18": _describe_encoder_unet(
        "resnet18",
        tile_exact=True,
        halo_px=320,
        paper="He et al. 2016, arXiv 1512.03385",
        parameters=(12_518_626, 12_553_122),
    ),
    "unet-resnet34": _describe_encoder_unet(
        "resnet34",
        tile_exact=True,
        halo_px=576,
        paper="He et al. 2016, arXiv 1512.03385",
        parameters=(22_626_786, 22_661_282),
    ),
    "unet-mobilenetv3-large": _describe_encoder_unet(
        "mobilenetv3-large",
        tile_exact=False,
        halo_px=544,
        paper="Howard et al. 2019, arXiv 1905.02244",
        parameters=(4_582_482, 4_584_066),
    ),
    "logistic-regression": NetworkEntry(
        "detection.imagery.neural.networks.logistic:LogisticRegression",
        tile_exact=True,
        stride=1,
        halo_px=24,
        paper="Cox 1958, J. R. Stat. Soc. B 20, 215",
        parameters=(44, 198),
        least_px=48,
    ),
    "drs-unet": NetworkEntry(
        "detection.imagery.neural.networks.drs_unet:DrsUnet",
        tile_exact=False,
        stride=16,
        halo_px=112,
        paper="Chen et al. 2022, Remote Sensing 14, 1848",
        parameters=(18_662_210, 18_669_250),
    ),
}
"""The built-in segmenters. `list_segmenters` also returns those of installed packages."""

# Networks with one result per tile instead of per pixel. They cannot be used as segmenters.
CLASSIFIERS: Final[Mapping[str, NetworkEntry]] = {
    "triage-resnet": NetworkEntry(
        "detection.imagery.neural.networks.triage_resnet:TriageResnet",
        tile_exact=False,
        stride=32,
        halo_px=0,
        paper="He et al. 2016, arXiv 1512.03385",
        parameters=(11_177_538, 11_212_034),
    )
}


@cache
def _load_installed() -> Mapping[str, NetworkEntry]:
    installed = load_entries(ENTRY_POINTS, NetworkEntry)
    return {name: entry for name, entry in installed.items() if name not in SEGMENTERS and name not in CLASSIFIERS}


def list_segmenters() -> Mapping[str, NetworkEntry]:
    """Return the built-in segmenters and those of installed packages, without families."""
    installed = {name: entry for name, entry in _load_installed().items() if not entry.is_family}
    return {**SEGMENTERS, **installed}


def _find_family_member(name: str) -> NetworkEntry | None:
    """Return the entry of a name such as `smp:Unet/resnet18`; None if no family has that name."""
    family_name, _, member = name.partition(":")
    family = _load_installed().get(f"{family_name}:")
    if family is None or not family.is_family or not member:
        return None
    return replace(family, is_family=False, fixed={**family.fixed, "member": member})


def find_entry(name: str) -> NetworkEntry:
    """Return the entry of a segmenter.

    Args:
        name: a name of `list_segmenters`, or of a member of a family.

    Raises:
        ModelError: the name is unknown, or is that of a classifier. The message lists the segmenters.

    >>> find_entry("unet").stride
    16
    """
    if name in CLASSIFIERS:
        raise ModelError(
            f"network {name!r} classifies whole tiles and draws no map; known: {_join_names(list_segmenters())}"
        )
    entry = list_segmenters().get(name) or _find_family_member(name)
    if entry is None:
        families = sorted(name for name, entry in _load_installed().items() if entry.is_family)
        hint = f"; families: {', '.join(families)}" if families else ""
        hint = hint if _load_installed() else "; more networks: pip install 'slopeward[lab]'"
        raise ModelError(f"unknown network {name!r}; known: {_join_names(list_segmenters())}{hint}")
    return entry


def list_size_warnings(name: str, side_px: int) -> tuple[str, ...]:
    """Return the warnings about training a network on images of this side, one sentence each.

    >>> list_size_warnings("unet", 16)
    ('patches of 16 px are small for unet: below 32 px its widest convolutions see little but padding',)
    """
    least_px = (CLASSIFIERS.get(name) or find_entry(name)).least_px
    if side_px >= least_px:
        return ()
    small = f"patches of {side_px} px are small for {name}"
    return (f"{small}: below {least_px} px its widest convolutions see little but padding",)


def build(name: str, in_channels: int, classes: int = 2, width: float = 1.0, **options: Any) -> "torch.nn.Module":
    """Build a network with random weights.

    A segmenter maps images N x in_channels x H x W to logits N x classes x H x W, for any H and W. A classifier maps
    them to logits N x classes. Training on a batch of one image needs at least 32 px.

    Args:
        name: a name of `list_segmenters` or of `CLASSIFIERS`, or of a member of a family.
        classes: number of output classes; class 1 is landslide.
        width: multiplier of the channels.
        options: of the network.

    Raises:
        ModelError: the name or an option is unknown, or a value is not valid. The message lists what is.

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
    known = {parameter.name for parameter in parameters if parameter.kind is Parameter.KEYWORD_ONLY} - set(entry.fixed)
    if unknown := sorted(set(options) - known):
        raise ModelError(f"network {name!r} has no option {', '.join(unknown)}; known: {_join_names(known) or 'none'}")
    try:
        network: torch.nn.Module = target(in_channels, classes, width, **entry.fixed, **options)
    except (RuntimeError, TypeError, ValueError) as error:
        raise ModelError(f"network {name!r}: {str(error).splitlines()[0]}") from None
    return network


def _join_names(names: Any) -> str:
    return ", ".join(sorted(names))
