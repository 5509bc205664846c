"""Registry of imagery networks: names and where their code is. A network is imported when it is built.

Installed packages add segmenters by the entry point group `slopeward.segmenters`. Such a package is imported when a
network is named that is not built in, or when all networks are listed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
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
    # true when the network has a finite receptive field, so that tiles with a halo give the answer of the whole scene;
    # false when means over the window enter
    tile_exact: bool
    stride: int  # deepest down-sampling; tile origins are multiples of it
    # how far outside of an aligned tile its pixels can see, rounded up to the stride: with this halo tiles are exact.
    # Where tiles cannot be exact, the overlap to blend over.
    halo_px: int
    paper: str | None = None  # who described it
    parameters: tuple[int, int] | None = None  # weights at width 1 with two classes, for 3 and for 14 bands
    # least side of an image on which all of the network is in use: below it the widest dilated convolutions see padding
    # only. Train on no less than this, or know it.
    least_px: int = 32
    # true when it can be shown a scene band of rows by band of rows (`row_stream`): no pixel twice, no halo
    streams: bool = False
    fixed: dict[str, Any] = field(default_factory=dict)  # options that make this name out of its family


ENTRY_POINTS: Final = "slopeward.segmenters"
"""Entry point group of further segmenters: each entry point names a mapping from name to `NetworkEntry`."""

# Name of an encoder with the layout of public weight files; whether tiles are exact, which they are not with squeezes,
# because these take means over the whole window; halo in pixels; paper; parameters.
_ENCODERS: Final = (
    (
        "efficientnet-lite0",
        True,
        544,
        "Tan and Le 2019, arXiv 1905.11946; lite variant of 2020",
        (3_836_706, 3_839_874),
    ),
    ("resnet18", True, 320, "He et al. 2016, arXiv 1512.03385", (12_518_626, 12_553_122)),
    ("resnet34", True, 576, "He et al. 2016, arXiv 1512.03385", (22_626_786, 22_661_282)),
    ("mobilenetv3-large", False, 544, "Howard et al. 2019, arXiv 1905.02244", (4_582_482, 4_584_066)),
)
_ENCODER_UNETS: Final = {
    f"unet-{encoder}": NetworkEntry(
        "detection.imagery.neural.networks.encoder_unet:EncoderUnet",
        tile_exact,
        stride=32,
        halo_px=halo_px,
        paper=paper,
        parameters=parameters,
        least_px=64,
        streams=tile_exact,
        fixed={"encoder": encoder},
    )
    for encoder, tile_exact, halo_px, paper, parameters in _ENCODERS
}

SEGMENTERS: Final[Mapping[str, NetworkEntry]] = {
    "unet": NetworkEntry(
        "detection.imagery.neural.networks.unet:Unet",
        True,
        16,
        112,
        "Ronneberger et al. 2015, arXiv 1505.04597",
        (17_263_042, 17_269_378),
        streams=True,
        fixed={"unit": "plain", "residual": False, "gate": "hard"},
    ),
    **_ENCODER_UNETS,
    "logistic-regression": NetworkEntry(
        "detection.imagery.neural.networks.logistic:LogisticRegression",
        True,
        stride=1,
        halo_px=24,
        paper="Cox 1958, J. R. Stat. Soc. B 20, 215",
        parameters=(44, 198),
        least_px=48,
    ),
    "drs-unet": NetworkEntry(
        "detection.imagery.neural.networks.drs_unet:DrsUnet",
        False,
        16,
        112,
        "Chen et al. 2022, Remote Sensing 14, 1848",
        (18_662_210, 18_669_250),
    ),
}
"""The built-in segmenters. `list_segmenters` also returns those of installed packages."""

# one answer per tile, not per pixel: never a segmenter's stand-in
CLASSIFIERS: Final[Mapping[str, NetworkEntry]] = {
    "triage-resnet": NetworkEntry(
        "detection.imagery.neural.networks.triage_resnet:TriageResnet",
        False,
        32,
        0,
        "He et al. 2016, arXiv 1512.03385",
        (11_177_538, 11_212_034),
    )
}


@cache
def _load_installed() -> Mapping[str, NetworkEntry]:
    installed = load_entries(ENTRY_POINTS, NetworkEntry)
    return {name: entry for name, entry in installed.items() if name not in SEGMENTERS and name not in CLASSIFIERS}


def list_segmenters() -> Mapping[str, NetworkEntry]:
    """Return the built-in segmenters and those of installed packages."""
    return {**SEGMENTERS, **_load_installed()}


def find_entry(name: str) -> NetworkEntry:
    """Return the registry's entry for a segmenter's name.

    Raises:
        ModelError: the name is unknown or a classifier's; the message lists the known ones.

    >>> find_entry("unet").stride
    16
    """
    if name in CLASSIFIERS:
        raise ModelError(
            f"network {name!r} classifies whole tiles and draws no map; known: {_names(list_segmenters())}"
        )
    entry = SEGMENTERS.get(name) or _load_installed().get(name)
    if entry is None:
        hint = "" if _load_installed() else "; more networks: pip install 'slopeward[lab]'"
        raise ModelError(f"unknown network {name!r}; known: {_names(list_segmenters())}{hint}")
    return entry


def find_doubts(name: str, side_px: int) -> tuple[str, ...]:
    """Return what is doubtful about a network on images of a side, one sentence each.

    >>> find_doubts("unet", 16)
    ('patches of 16 px are small for unet: below 32 px its widest convolutions see little but padding',)
    """
    least_px = (CLASSIFIERS.get(name) or find_entry(name)).least_px
    if side_px >= least_px:
        return ()
    small = f"patches of {side_px} px are small for {name}"
    return (f"{small}: below {least_px} px its widest convolutions see little but padding",)


def build(name: str, in_channels: int, classes: int = 2, width: float = 1.0, **options: Any) -> "torch.nn.Module":
    """Build a network with fresh weights.

    Args:
        name: a name of `list_segmenters` or of `CLASSIFIERS`.
        classes: number of output classes; class 1 is landslide.

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
    except (RuntimeError, TypeError, ValueError) as error:
        raise ModelError(f"network {name!r}: {str(error).splitlines()[0]}") from None
    return network


def _names(names: Any) -> str:
    return ", ".join(sorted(names))
