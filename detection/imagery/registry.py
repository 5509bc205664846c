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
class NetworkEntry:
    """One network of the registry."""

    target: str  # `module:callable` in `ROOM`, called as `f(in_channels, classes, width, **options)`
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


def _family(unit: str, parameters: tuple[int, int], paper: str, *, residual: bool) -> NetworkEntry:
    fixed: dict[str, Any] = {"unit": unit, "residual": residual}
    if unit not in {"sru", "sbconv"}:
        fixed["gate"] = "hard"
    is_plain = unit == "plain"
    return NetworkEntry("unets.unet:Unet", is_plain, 16, 112, paper, parameters, streams=is_plain, fixed=fixed)


_UNITS = "SBConv U-Net, Land 2024; units after Li et al. 2023 (SCConv, CVPR)"
_DEEPLAB = "Chen et al. 2018, arXiv 1802.02611"
_SIAMESE = "Daudt et al. 2018, arXiv 1810.08462"
_FRRN = "Pohlen et al. 2017, arXiv 1611.08323"
SEGMENTERS: dict[str, NetworkEntry] = {
    "unet": _family("plain", (17_263_042, 17_269_378), "Ronneberger et al. 2015, arXiv 1505.04597", residual=False),
    "sru-unet": _family("sru", (17_271_874, 17_278_210), _UNITS, residual=False),
    "bru-unet": _family("bru", (20_274_178, 20_280_514), _UNITS, residual=False),
    "sbconv-unet": _family("sbconv", (20_283_010, 20_289_346), _UNITS, residual=False),
    "resunet": _family("plain", (17_790_466, 17_797_506), "Zhang et al. 2018, arXiv 1711.10684", residual=True),
    "sru-resunet": _family("sru", (17_799_298, 17_806_338), _UNITS, residual=True),
    "bru-resunet": _family("bru", (20_801_602, 20_808_642), _UNITS, residual=True),
    "sbconv-resunet": _family("sbconv", (20_810_434, 20_817_474), _UNITS, residual=True),
    "attention-unet": NetworkEntry(
        "unets.attention_unet:AttentionUnet",
        True,
        16,
        112,
        "Oktay et al. 2018, arXiv 1804.03999",
        (19_331_013, 19_337_349),
    ),
    "unet-efficientnet-b0": NetworkEntry(
        "unets.staged_unet:build_efficientnet",
        False,
        32,
        128,
        "Tan and Le 2019, arXiv 1905.11946",
        (4_250_510, 4_255_262),
    ),
    "unet-mobilenetv3": NetworkEntry(
        "unets.staged_unet:build_mobilenetv3",
        False,
        32,
        128,
        "Howard et al. 2019, arXiv 1905.02244",
        (3_310_274, 3_313_442),
    ),
    "unet-vit": NetworkEntry(
        "unets.vit_unet:VitUnet",
        False,
        16,
        128,
        "own; encoder after Dosovitskiy et al. 2021, arXiv 2010.11929",
        (22_592_530, 23_675_458),
    ),
    "scdnn": NetworkEntry(
        "scdnn:Scdnn", True, 16, 496, "SCDnn, China Geology 2024", (26_867_108, 26_873_444), least_px=304
    ),
    "segnet": NetworkEntry(
        "segnet:Segnet", True, 32, 192, "Badrinarayanan et al. 2017, arXiv 1511.00561", (29_436_226, 29_442_562)
    ),
    "deeplabv3plus-resnet50": NetworkEntry(
        "deeplabv3plus:build_resnet", False, 16, 128, _DEEPLAB, (40_347_298, 40_381_794), least_px=304
    ),
    "deeplabv3plus-mobilenetv2": NetworkEntry(
        "deeplabv3plus:build_mobilenet",
        False,
        16,
        128,
        f"{_DEEPLAB}; Sandler et al. 2018, arXiv 1801.04381",
        (5_811_170, 5_814_338),
        least_px=304,
    ),
    "linknet": NetworkEntry(
        "linknet:Linknet", True, 32, 256, "Chaurasia and Culurciello 2017, arXiv 1707.03718", (11_533_506, 11_568_002)
    ),
    "sssn": NetworkEntry("sssn:Sssn", True, 4, 8, "MATLAB, Create a semantic segmentation network", (43_042, 46_210)),
    "fcn8s": NetworkEntry(
        "fcn8s:Fcn8s", True, 32, 224, "Long et al. 2015, arXiv 1411.4038", (134_271_430, 134_277_766)
    ),
    "pspnet": NetworkEntry(
        "pspnet:Pspnet", False, 8, 128, "Zhao et al. 2017, arXiv 1612.01105", (65_698_754, 65_705_090)
    ),
    "deeplabv2": NetworkEntry(
        "deeplabv2:DeepLabV2",
        True,
        8,
        376,
        "Chen et al. 2018 (PAMI), arXiv 1606.00915",
        (28_946_248, 28_952_584),
        least_px=200,
    ),
    "contextnet": NetworkEntry(
        "contextnet:Contextnet", True, 32, 352, "Poudel et al. 2018, arXiv 1805.04554", (874_370, 880_706)
    ),
    "sqnet": NetworkEntry(
        "sqnet:Sqnet", True, 16, 176, "Treml et al. 2016 (NIPS workshop MLITS)", (16_233_378, 16_242_882)
    ),
    "frrn-a": NetworkEntry("frrn:Frrn", True, 16, 240, _FRRN, (17_711_394, 17_724_594), fixed={"variant": "A"}),
    "frrn-b": NetworkEntry("frrn:Frrn", True, 32, 448, _FRRN, (24_720_290, 24_733_490), fixed={"variant": "B"}),
    "transformer-unet": NetworkEntry(
        "unets.transformer_unet:TransformerUnet",
        False,
        32,
        128,
        "own; encoder after Xie et al. 2021, arXiv 2105.15203",
        (3_715_730, 3_734_562),
    ),
    "drs-unet": NetworkEntry(
        "unets.drs_unet:DrsUnet", False, 16, 112, "Chen et al. 2022, Remote Sensing 14, 1848", (18_662_210, 18_669_250)
    ),
    # these read two dates: half of their bands are those of the date before
    "siam-diff-unet": NetworkEntry(
        "unets.siamese_unet:SiameseDifferenceUnet", True, 16, 112, _SIAMESE, (17_262_466, 17_265_346)
    ),
    "siam-conc-unet": NetworkEntry("unets.siamese_unet:SiameseUnet", True, 16, 112, _SIAMESE, (20_395_906, 20_398_786)),
}

# one answer per tile, not per pixel: never a segmenter's stand-in
CLASSIFIERS: dict[str, NetworkEntry] = {
    "triage-resnet": NetworkEntry(
        "triage_resnet:TriageResnet", False, 32, 0, "He et al. 2016, arXiv 1512.03385", (11_177_538, 11_212_034)
    )
}


def find_entry(name: str) -> NetworkEntry:
    """Return the registry's entry for a segmenter's name.

    Raises:
        ModelError: the name is unknown or a classifier's; the message lists the known ones.

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
    target = getattr(import_module(f"{ROOM}.{module_name}"), attribute)
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
