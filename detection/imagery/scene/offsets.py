"""Read the gain and offset of counts from the names and tags of a product, and recognise a missing offset."""

import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

# Sentinel-2 products name their processing baseline; from 04.00 on (25 January 2022) 1000 is added to all counts
# (Sentinel-2 Products Specification Document, issue 14.9).
PRODUCT: Final = re.compile(r"S2[A-D]_MSIL(?:1C|2A)_\d{8}T\d{6}_N(\d{4})_")
BASELINE: Final = 400
SENTINEL_OFFSET: Final = -1000.0
# Bands of surface reflectance of Landsat Collection 2, level 2: reflectance = 0.0000275 x count - 0.2, valid from 7273
# to 43636 (USGS, "How do I use a scale factor with Landsat Level-2 science products?"; names: LSDS-1328).
LANDSAT: Final = re.compile(r"L[COET]0[4-9]_L2S[PR]_\d{6}_\d{8}_\d{8}_02_(?:T1|T2|RT)_SR_B\d", re.IGNORECASE)
LANDSAT_SCALE, LANDSAT_OFFSET = 0.0000275, -0.2
# Ranges of the darkest counts and of the medians of bands without this calibration: water and shadow reflect 0 to 9 %,
# the median of a band is 1 to 35 %.
LANDSAT_DARKEST: Final = (6800.0, 10_500.0)
LANDSAT_MEDIANS: Final = (7600.0, 20_000.0)
# Beginnings of the names of tags that contain the offset.
TAGS: Final = ("BOA_ADD_OFFSET", "RADIO_ADD_OFFSET")
# Reflectance of one count: 10000 counts are a reflectance of 1.
COUNT: Final = 1e-4
# Range of the scales in headers that turn counts into reflectance. Scales outside of it have another meaning.
SCALES: Final = (1e-6, 1e-3)
# Range of the darkest counts of a Sentinel-2 scene whose offset was not subtracted: water and shadow reflect 0 to 4 %
# in the darkest band, and haze adds to blue. The median of each band is at most `MOST_MEDIAN`.
DARKEST: Final = (950.0, 1450.0)
MOST_MEDIAN: Final = 6000.0


class CountCalibration(NamedTuple):
    """Gain and offset in counts = gain x value + offset. `source` names where they were read; empty if nowhere."""

    gain: float = 1.0
    offset: float = 0.0
    source: str = ""


def read_calibration(files: Iterable[Path], facts: Iterable[Any]) -> CountCalibration:
    """Return how values become counts of reflectance, from product names in the paths, from tags, or from headers.

    Args:
        files: of the bands.
        facts: headers of the files (`raster.RasterFacts`), in the same order.

    >>> read_calibration([Path("S2B_MSIL2A_20230511T101559_N0509_R065/B04.jp2")], []).offset
    -1000.0
    """
    for path in files:
        match = PRODUCT.search(path.name) or PRODUCT.search(path.parent.name)
        if match:
            baseline = match[1]
            offset = SENTINEL_OFFSET if int(baseline) >= BASELINE else 0.0
            source = f"processing baseline {baseline[:2]}.{baseline[2:]} in the product's name"
            return CountCalibration(1.0, offset, source)
        if LANDSAT.search(path.name):
            return _in_counts(LANDSAT_SCALE, LANDSAT_OFFSET, "Landsat Collection 2 level 2 in the product's name")
    for fact in facts:
        for key, value in fact.tags.items():
            if key.upper().startswith(TAGS):
                with suppress(ValueError):
                    return CountCalibration(1.0, float(value), f"tag {key}")
        scale, offset = fact.scales[0], fact.offsets[0]
        if (scale, offset) != (1.0, 0.0) and SCALES[0] <= scale <= SCALES[1]:
            return _in_counts(scale, offset, f"scale {scale:g} and offset {offset:g} in the header")
    return CountCalibration()


def _in_counts(scale: float, offset: float, source: str) -> CountCalibration:
    return CountCalibration(round(scale / COUNT, 9), round(offset / COUNT, 6), source)


def find_missing_offset(counts: NDArray[np.floating]) -> str | None:
    """Return a warning if counts (bands x n) look like Sentinel-2 whose offset was not subtracted; else None.

    >>> find_missing_offset(np.linspace(1020, 2600, 9999)[None].repeat(3, axis=0))[:44]
    'the darkest pixels of every band have 1,028 '
    """
    darkest, median = np.quantile(counts, [0.005, 0.5], axis=1)
    if not DARKEST[0] <= darkest.min() <= DARKEST[1] or (median > MOST_MEDIAN).any():
        return None
    return (
        f"the darkest pixels of every band have {darkest.min():,.0f} counts or more: the offset of Sentinel-2 products "
        "since 2022 seems to be missing; give --offset -1000, or `offset = -1000` in scene.toml"
    )


def find_landsat(counts: NDArray[np.floating]) -> str | None:
    """Return a warning with a remedy if counts (bands x n) look like those of Landsat Collection 2; else None.

    >>> (find_landsat(np.linspace(7400, 14000, 9999)[None].repeat(3, axis=0)) or "")[:62]
    'the counts look like Landsat Collection 2 level 2 (reflectance'
    """
    darkest, median = np.quantile(counts, [0.005, 0.5], axis=1)
    low, high = LANDSAT_MEDIANS
    if not LANDSAT_DARKEST[0] <= darkest.min() <= LANDSAT_DARKEST[1] or (median < low).any() or (median > high).any():
        return None
    return (
        f"the counts look like Landsat Collection 2 level 2 (reflectance is {LANDSAT_SCALE:.7f} x count "
        f"{LANDSAT_OFFSET:+g}): keep the names of the product's files (..._SR_B4.TIF), or write it into the file: "
        f"gdal_edit.py -scale {LANDSAT_SCALE:.7f} -offset {LANDSAT_OFFSET:g} FILE"
    )
