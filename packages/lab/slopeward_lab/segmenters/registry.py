"""The segmenters of this package, registered by the entry point group `slopeward.segmenters`."""

from collections.abc import Mapping
from typing import Any, Final

from detection.imagery.registry import NetworkEntry


def _family(unit: str, parameters: tuple[int, int], paper: str, *, residual: bool) -> NetworkEntry:
    fixed: dict[str, Any] = {"unit": unit, "residual": residual}
    if unit not in {"sru", "sbconv"}:
        fixed["gate"] = "hard"
    is_plain = unit == "plain"
    return NetworkEntry(
        "detection.imagery.neural.networks.unet:Unet",
        is_plain,
        16,
        112,
        paper,
        parameters,
        streams=is_plain,
        fixed=fixed,
    )


_UNITS = "SBConv U-Net, Land 2024; units after Li et al. 2023 (SCConv, CVPR)"
_DEEPLAB = "Chen et al. 2018, arXiv 1802.02611"
_SIAMESE = "Daudt et al. 2018, arXiv 1810.08462"
_FRRN = "Pohlen et al. 2017, arXiv 1611.08323"
NETWORKS: Final[Mapping[str, NetworkEntry]] = {
    "sru-unet": _family("sru", (17_271_874, 17_278_210), _UNITS, residual=False),
    "bru-unet": _family("bru", (20_274_178, 20_280_514), _UNITS, residual=False),
    "sbconv-unet": _family("sbconv", (20_283_010, 20_289_346), _UNITS, residual=False),
    "resunet": _family("plain", (17_790_466, 17_797_506), "Zhang et al. 2018, arXiv 1711.10684", residual=True),
    "sru-resunet": _family("sru", (17_799_298, 17_806_338), _UNITS, residual=True),
    "bru-resunet": _family("bru", (20_801_602, 20_808_642), _UNITS, residual=True),
    "sbconv-resunet": _family("sbconv", (20_810_434, 20_817_474), _UNITS, residual=True),
    "attention-unet": NetworkEntry(
        "slopeward_lab.segmenters.attention_unet:AttentionUnet",
        True,
        16,
        112,
        "Oktay et al. 2018, arXiv 1804.03999",
        (19_331_013, 19_337_349),
    ),
    "unet-vit": NetworkEntry(
        "slopeward_lab.segmenters.vit_unet:VitUnet",
        False,
        16,
        128,
        "own; encoder after Dosovitskiy et al. 2021, arXiv 2010.11929",
        (22_592_530, 23_675_458),
    ),
    "scdnn": NetworkEntry(
        "slopeward_lab.segmenters.scdnn:Scdnn",
        True,
        16,
        496,
        "SCDnn, China Geology 2024",
        (26_867_108, 26_873_444),
        least_px=304,
    ),
    "segnet": NetworkEntry(
        "slopeward_lab.segmenters.segnet:Segnet",
        True,
        32,
        192,
        "Badrinarayanan et al. 2017, arXiv 1511.00561",
        (29_436_226, 29_442_562),
    ),
    "deeplabv3plus-resnet50": NetworkEntry(
        "slopeward_lab.segmenters.deeplabv3plus:build_resnet",
        False,
        16,
        128,
        _DEEPLAB,
        (40_347_298, 40_381_794),
        least_px=304,
    ),
    "deeplabv3plus-mobilenetv2": NetworkEntry(
        "slopeward_lab.segmenters.deeplabv3plus:build_mobilenet",
        False,
        16,
        128,
        f"{_DEEPLAB}; Sandler et al. 2018, arXiv 1801.04381",
        (5_811_170, 5_814_338),
        least_px=304,
    ),
    "linknet": NetworkEntry(
        "slopeward_lab.segmenters.linknet:Linknet",
        True,
        32,
        256,
        "Chaurasia and Culurciello 2017, arXiv 1707.03718",
        (11_533_506, 11_568_002),
    ),
    "sssn": NetworkEntry(
        "slopeward_lab.segmenters.sssn:Sssn",
        True,
        4,
        8,
        "MATLAB, Create a semantic segmentation network",
        (43_042, 46_210),
    ),
    "fcn8s": NetworkEntry(
        "slopeward_lab.segmenters.fcn8s:Fcn8s",
        True,
        32,
        224,
        "Long et al. 2015, arXiv 1411.4038",
        (134_271_430, 134_277_766),
    ),
    "pspnet": NetworkEntry(
        "slopeward_lab.segmenters.pspnet:Pspnet",
        False,
        8,
        128,
        "Zhao et al. 2017, arXiv 1612.01105",
        (65_698_754, 65_705_090),
    ),
    "deeplabv2": NetworkEntry(
        "slopeward_lab.segmenters.deeplabv2:DeepLabV2",
        True,
        8,
        376,
        "Chen et al. 2018 (PAMI), arXiv 1606.00915",
        (28_946_248, 28_952_584),
        least_px=200,
    ),
    "contextnet": NetworkEntry(
        "slopeward_lab.segmenters.contextnet:Contextnet",
        True,
        32,
        352,
        "Poudel et al. 2018, arXiv 1805.04554",
        (874_370, 880_706),
    ),
    "sqnet": NetworkEntry(
        "slopeward_lab.segmenters.sqnet:Sqnet",
        True,
        16,
        176,
        "Treml et al. 2016 (NIPS workshop MLITS)",
        (16_233_378, 16_242_882),
    ),
    "frrn-a": NetworkEntry(
        "slopeward_lab.segmenters.frrn:Frrn", True, 16, 240, _FRRN, (17_711_394, 17_724_594), fixed={"variant": "A"}
    ),
    "frrn-b": NetworkEntry(
        "slopeward_lab.segmenters.frrn:Frrn", True, 32, 448, _FRRN, (24_720_290, 24_733_490), fixed={"variant": "B"}
    ),
    "transformer-unet": NetworkEntry(
        "slopeward_lab.segmenters.transformer_unet:TransformerUnet",
        False,
        32,
        128,
        "own; encoder after Xie et al. 2021, arXiv 2105.15203",
        (3_715_730, 3_734_562),
    ),
    "transformer-resunet": NetworkEntry(
        "slopeward_lab.segmenters.transformer_resunet:TransformerResunet",
        False,
        16,
        112,
        "Yang, Xu and Li 2022, Remote Sensing 14, 2885",
        (31_038_894, 31_045_934),
    ),
    "l-unet": NetworkEntry(
        "slopeward_lab.segmenters.l_unet:LUnet",
        False,
        16,
        112,
        "Dong et al. 2022, Remote Sensing 14, 2552",
        (27_655_181, 27_662_221),
        least_px=80,
    ),
    # these read two dates: half of their bands are those of the date before
    "siam-diff-unet": NetworkEntry(
        "slopeward_lab.segmenters.siamese_unet:SiameseDifferenceUnet", True, 16, 112, _SIAMESE, (17_262_466, 17_265_346)
    ),
    "siam-conc-unet": NetworkEntry(
        "slopeward_lab.segmenters.siamese_unet:SiameseUnet", True, 16, 112, _SIAMESE, (20_395_906, 20_398_786)
    ),
}
"""The networks of this package."""

FAMILIES: Final[Mapping[str, NetworkEntry]] = {
    "smp:": NetworkEntry(
        "slopeward_lab.segmenters.smp:SmpNetwork",
        False,
        32,
        128,
        "networks of segmentation-models-pytorch, Iakubovskii 2019",
        least_px=64,
        is_family=True,
    ),
}
"""Families of networks from other libraries. A name is that of the family and that of a member: `smp:Unet/resnet18`."""

SEGMENTERS: Final[Mapping[str, NetworkEntry]] = {**NETWORKS, **FAMILIES}
