"""Cautions of a comparison: why a change is advice only."""

import math
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detection.imagery.change.alignment import Alignment
from detection.imagery.change.comparison import measure_pixel_m2
from detection.imagery.change.images import DateImage
from detection.imagery.change.records import FootprintChange
from detection.imagery.errors import ImageryError
from detection.imagery.raster.areas import geodesic_pixel_m2
from detection.imagery.raster.components import NODATA
from detection.imagery.raster.grid import Grid
from detection.imagery.raster.raster import read_grid
from detection.imagery.scene.built_ground import BuiltGround, describe_built
from detection.imagery.scene.white import COLOURS, is_measured_size, measure_brightness
from detection.imagery.scene.white_ground import ColourImage, WhiteGround, describe_white, open_white_ground
from detection.reasons import Explanation, Reason

# The caution on changes between images whose shift is not known.
SHIFT_UNKNOWN = "the shift between the images could not be measured"
# Images are rotated or distorted if their corners are farther apart than this, pixels, after the common shift.
DISTORTED_PX = 1.0
# If the pixel sizes of two dates differ by more than this factor, outlines of unchanged ground differ by more than a
# pixel.
PIXEL_RATIO = 1.1
# If the share of landslide pixels is more than this many times larger before than after, the dates are of different
# seasons or radiometry.
SHARE_RATIO = 5.0
# Medians of a band may differ by this factor between two dates of one season. The medians of a measured pair of two
# seasons differed by 1.26 to 1.44.
MEDIAN_RATIO = 1.25


def list_alignment_cautions(alignment: Alignment) -> list[Explanation]:
    """Return the cautions on comparing two images: unknown season, unknown shift, or distortion."""
    cautions: list[Explanation] = []
    if alignment.median_ratios is None:
        cautions.append("the season of the images could not be compared")
    if alignment.shift is None:
        cautions.append(SHIFT_UNKNOWN)
    return [*cautions, *list_distortion_cautions(alignment.distortion_px)]


def list_distortion_cautions(distortion_px: float | None) -> list[Reason]:
    """Return the caution on images that are rotated or distorted against each other; none if they are not."""
    if distortion_px is None or distortion_px <= DISTORTED_PX:
        return []
    return [Reason("caution.distorted", {"shift": distortion_px})]


def list_pixel_size_cautions(newer: Grid, older: Grid, day: str) -> list[Reason]:
    """Return the caution on two dates of different resolution; none if their pixels have about the same size.

    Args:
        newer: grid of the newer date.
        older: grid of the file of the older date.
        day: of the older date.
    """
    newer_m, older_m = (math.sqrt(measure_pixel_m2(grid, grid.width / 2, grid.height / 2)) for grid in (newer, older))
    if max(newer_m, older_m) <= PIXEL_RATIO * min(newer_m, older_m):
        return []
    return [Reason("caution.pixels", {"pixel": newer_m, "other": older_m, "day": day})]


def list_season_cautions(ratios: tuple[float, ...] | None, share_before: float, share_after: float) -> list[str]:
    """Return the cautions on two dates that seem to be of different seasons.

    Args:
        ratios: medians of the bands, newer over older. None: not measured.
        share_before: share of landslide pixels on the older date.
        share_after: share of landslide pixels on the newer date.

    >>> list_season_cautions((1.1, 0.9), 0.01, 0.004), list_season_cautions((1.4,), 0.06, 0.01)[1]
    ([], 'season or radiometry differs (landslide share 6.00% before, 1.00% after)')
    """
    cautions = []
    if ratios is not None and any(not 1 / MEDIAN_RATIO <= ratio <= MEDIAN_RATIO for ratio in ratios):
        cautions.append(f"season or radiometry differs (medians of the bands by {', '.join(map(str, ratios))})")
    if share_before > SHARE_RATIO * share_after and share_before > 0:
        cautions.append(
            f"season or radiometry differs (landslide share {share_before:.2%} before, {share_after:.2%} after)"
        )
    return cautions


def measure_landslide_shares(
    pairs: Iterable[tuple[NDArray[np.uint8], NDArray[np.uint8]]], least: int
) -> tuple[float, float]:
    """Return the shares of landslide pixels before and after, among the pixels that both dates show.

    Args:
        pairs: probability steps of the newer and the older date, window by window.
        least: smallest step of a landslide.
    """
    joint = before = after = 0
    for newer, older in pairs:
        both = (newer != NODATA) & (older != NODATA)
        joint += int(np.count_nonzero(both))
        before += int(np.count_nonzero(both & (older >= least)))
        after += int(np.count_nonzero(both & (newer >= least)))
    return before / max(1, joint), after / max(1, joint)


def find_white_ground(image: DateImage) -> tuple[WhiteGround | None, list[Reason]]:
    """Return the white ground of an image, and warnings if it cannot be measured; see `open_white_ground`.

    For an image that cannot be read there is no warning, because `align` reports it.
    """

    def sample_colours() -> tuple[NDArray[np.floating], float]:
        values, valid = image.sample_colours()
        return values[:, valid], float(valid.mean())

    grid = image.grid
    try:
        bands = image.scene.bands
        has_colours = set(COLOURS) <= set(bands)
        colours = ColourImage(
            bands=bands,
            pixel_m=geodesic_pixel_m2(read_grid(bands[COLOURS[0]].path)) ** 0.5 if has_colours else None,
            grid=grid,
            read_colours=image.read_colours,
            sample_colours=sample_colours,
            measure_pixel_m2=lambda: measure_pixel_m2(grid, grid.width / 2, grid.height / 2),
        )
        return open_white_ground(colours, image.date.day)
    except ImageryError:
        return None, []


def find_built_ground(image: DateImage) -> BuiltGround | None:
    """Return the built ground of an image; None if it cannot be recognised.

    There are no warnings: those of `find_white_ground` hold for built ground too, and `align` reports an image that
    cannot be read.
    """
    try:
        bands = image.scene.bands
        if not set(COLOURS) <= set(bands):
            return None
        if not is_measured_size(geodesic_pixel_m2(read_grid(bands[COLOURS[0]].path)) ** 0.5):
            return None
        colours, valid = image.sample_colours()
        brightness = measure_brightness(colours[:, valid])
        if brightness is None:
            return None
        grid = image.grid
        pixel_m = measure_pixel_m2(grid, grid.width / 2, grid.height / 2) ** 0.5
        return BuiltGround(image.read_colours, grid, brightness, pixel_m)
    except ImageryError:
        return None


def add_built_cautions(
    changes: Sequence[FootprintChange], outlines: NDArray[Any], built: BuiltGround, day: str
) -> tuple[list[FootprintChange], int]:
    """Add a caution to changes whose outlines lie on built ground of the newer image.

    Args:
        changes: changes of the outlines.
        outlines: outlines in pixels of the grid of `built`.
        built: built ground of the image.
        day: day of the image.

    Returns:
        All changes, and how many of them have the caution.
    """
    is_built = built.contains(outlines)
    cautioned = [
        change.with_cautions(describe_built(day)) if is_on_built else change
        for change, is_on_built in zip(changes, is_built, strict=True)
    ]
    return cautioned, int(np.count_nonzero(is_built))


def add_white_cautions(
    changes: Sequence[FootprintChange], outlines: NDArray[Any], white: WhiteGround, day: str, since: datetime | None
) -> tuple[list[FootprintChange], int]:
    """Add a caution to changes whose outlines lie on or beside white ground of an image.

    Args:
        changes: changes of the outlines.
        outlines: outlines in pixels of the grid of `white`.
        white: white ground of the image.
        day: day of the image.
        since: instant of the image, if it is the older one: only changes since then depend on it. None: the newer one.

    Returns:
        All changes, and how many of them have the caution.
    """
    places = [place for place, change in enumerate(changes) if since is None or change.since_at == since]
    cautioned = list(changes)
    count = 0
    for place, is_white in zip(places, white.find_beside(outlines[places]), strict=True):
        if is_white:
            cautioned[place] = cautioned[place].with_cautions(describe_white(day))
            count += 1
    return cautioned, count
