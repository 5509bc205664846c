"""What became of each footprint between two dates: new, grown, known, vanished, or seen on one date only.

The rules work on stored probability steps of both dates on the newer grid. A pixel is new where the newer date reaches
the threshold and the older one does not, and both are valid. An outline wobbles by the pixels and by what two images
are displaced, so a footprint has grown only by what lies farther than that tolerance from all that was already
(nearly) a landslide; growth that creeps below the tolerance from date to date is caught by comparing also with the
date on which the outline was last declared (its anchor).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from detection.imagery.raster.components import EIGHT, NODATA

# Values of the change raster.
NOTHING, NEW, KNOWN, GONE = 0, 1, 2, 3
# A pixel this much below the threshold was nearly one: its rise over the threshold is no news (steps of 1/200).
HYSTERESIS_STEPS = 20
# Share of an outline that the other date must show before it can be called new by less than the minimum area, known
# without a parent, or (VANISHED_SEEN) gone.
SEEN_SHARE = 0.5
VANISHED_SEEN = 0.8
# A footprint that was seen earlier, then not, and lies again by this share in its old place, is the same one.
AGAIN_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the older date says of one outline, in pixels of the newer grid."""

    body: int  # pixels of the outline
    # of those, valid at the older date, and farther than the tolerance from where more than specks were not: beside a
    # landslide that nodata may have hidden, the outline wobbles as beside one that was seen
    seen: int
    fresh: int  # seen, and farther than the tolerance from all that was nearly a landslide
    grown: int  # not a landslide at the older date, and near what is fresh: the best estimate of the growth


def change_of(newer: NDArray[np.uint8], older: NDArray[np.uint8], least: int) -> NDArray[np.uint8]:
    """Classify pixels of two dates; 255 wherever either of them is nodata.

    Args:
        newer: probability steps, 255 = nodata.
        older: the same of the older date, on the same grid.
        least: smallest step that is a landslide.

    >>> change_of(np.uint8([200, 200, 0, 0, 200, 255]), np.uint8([0, 200, 200, 0, 255, 0]), 100).tolist()
    [1, 2, 3, 0, 255, 255]
    """
    now, then = newer >= least, older >= least
    out = np.where(now, np.where(then, KNOWN, NEW), np.where(then, GONE, NOTHING)).astype(np.uint8)
    out[(newer == NODATA) | (older == NODATA)] = NODATA
    return out


def measure_evidence(body: NDArray[np.bool_], older: NDArray[np.uint8], least: int, tolerance_px: int) -> Evidence:
    """Count pixels of one outline on the older date, in a window with a margin wider than the tolerance.

    Args:
        older: probability steps of the older date, 255 = nodata.
        least: smallest step that is a landslide.
        tolerance_px: how far an outline may wobble.
    """
    seen = older != NODATA
    nearly = seen & (older >= max(1, least - HYSTERESIS_STEPS))
    hidden = body & ~seen
    if hidden.any():  # specks of nodata are too narrow to have hidden a landslide
        hidden = ndimage.binary_opening(hidden, EIGHT)
    shown = body & seen & ~_widen(hidden, tolerance_px)
    fresh = shown & ~_widen(nearly, tolerance_px)
    grown = shown & (older < least) & _widen(fresh, tolerance_px)
    return Evidence(*(int(np.count_nonzero(part)) for part in (body, shown, fresh, grown)))


def _widen(pixels: NDArray[np.bool_], by_px: int) -> NDArray[np.bool_]:
    if by_px < 1 or not pixels.any():
        return pixels
    return np.asarray(ndimage.binary_dilation(pixels, EIGHT, iterations=by_px))


def is_new(evidence: Evidence, pixel_m2: float, minimum_m2: float) -> bool | None:
    """Whether an outline without a parent is new; None where the older date shows too little of it to say."""
    if evidence.fresh * pixel_m2 >= minimum_m2 and evidence.fresh:
        return True
    if evidence.seen < SEEN_SHARE * evidence.body or not evidence.seen:
        return None
    return evidence.fresh * 2 >= evidence.seen


def has_grown(evidence: Evidence, pixel_m2: float, minimum_m2: float) -> bool:
    """Whether an outline with a parent has grown beyond the wobble, by at least the minimum area."""
    return bool(evidence.fresh) and 2 * evidence.fresh * pixel_m2 >= minimum_m2 <= evidence.grown * pixel_m2


def has_vanished(body: NDArray[np.bool_], newer: NDArray[np.uint8], least: int, tolerance_px: int) -> bool:
    """Whether an older outline is gone: the newer date shows it, and nothing near it is nearly a landslide."""
    shown = body & (newer != NODATA)
    if not body.any() or np.count_nonzero(shown) < VANISHED_SEEN * np.count_nonzero(body):
        return False
    near = _widen(body, tolerance_px) & (newer != NODATA)
    return not bool((newer[near] >= max(1, least - HYSTERESIS_STEPS)).any())


def choose_parent(outline: Any, candidates: list[Any], tolerance_px: float) -> int | None:
    """Return which older outline this one continues: the one with the largest common area, else the nearest in reach.

    Args:
        outline: polygon in (column, row).
        candidates: older polygons in the same coordinates.
        tolerance_px: reach without common area.
    """
    near = [(float(outline.distance(one)), position, one) for position, one in enumerate(candidates)]
    near = [one for one in near if one[0] <= tolerance_px]
    if len(near) < 2:  # no common area is needed to choose
        return near[0][1] if near else None

    def rank(one: tuple[float, int, Any]) -> tuple[float, float, int]:
        away, position, candidate = one
        return -float(outline.intersection(candidate).area) if away == 0 else 0.0, away, position

    return min(map(rank, near))[2]
