"""Which points lie on the ground: those of class 2, else those near a cloth that is laid against the cloud."""

import contextlib
import os
from collections.abc import Iterator
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from detection.clouds.errors import CloudError
from detection.clouds.reader import GROUND
from detection.clouds.spool import Points

Rule = Literal["class", "cloth", "all"]
RULES: Final = ("auto", "class", "cloth", "all")
# Of Zhang et al. (2016): width of the meshes, how stiff the cloth is, what lies nearer to it is ground.
MESH_M: Final = 0.5
RIGIDNESS: Final = 1
NEAR_M: Final = 0.5
# Around a square the cloth hangs over its rim; so much of it is thrown away.
RIM_M: Final = 8.0
TREND_M: Final = 5.0


def choose_rule(name: str, *, is_classified: bool) -> Rule:
    """Return the rule for a cloud: `auto` takes class 2 where the cloud is classified, else the cloth."""
    if name not in RULES:
        raise CloudError(f"ground {name!r}: expected one of {', '.join(RULES)}")
    if name == "class" and not is_classified:
        raise CloudError("no point is of class 2 (ground): classify the cloud, or take --ground cloth")
    if name == "auto":
        return "class" if is_classified else "cloth"
    return name  # type: ignore[return-value]


def find_ground(points: Points, kind: NDArray[np.uint8], rule: Rule, cell_m: float) -> NDArray[np.bool_]:
    """Return which points lie on the ground.

    `points`: columns, rows (cells) and heights (m).
    """
    if rule == "all":
        return np.ones(len(points), bool)
    if rule == "class":
        return np.asarray(kind == GROUND)
    return _lay_cloth(points[:, :2] * cell_m, points[:, 2]) if len(points) > 3 else np.ones(len(points), bool)


def _lay_cloth(places_m: NDArray[np.float64], heights_m: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Cloth simulation (Zhang et al. 2016), on heights above the plane of the slope.

    A cloth that falls onto a steep slope does not reach into its lower half: of a drawn slope of 35° it kept 8 % of the
    ground at meshes of 1 m. Above the plane through the lowest points it kept 99 %.
    """
    import CSF

    cloth = CSF.CSF()
    cloth.params.bSloopSmooth = True
    cloth.params.cloth_resolution, cloth.params.rigidness = MESH_M, RIGIDNESS
    cloth.params.class_threshold = NEAR_M
    above = heights_m - _slope(places_m, heights_m)
    found, others = CSF.VecInt(), CSF.VecInt()
    with _silent():
        cloth.setPointCloud(np.column_stack([places_m, above]))
        cloth.do_filtering(found, others, False)
    kept = np.zeros(len(heights_m), bool)
    kept[np.asarray(found, np.int64)] = True
    return kept


def _slope(places_m: NDArray[np.float64], heights_m: NDArray[np.float64]) -> NDArray[np.float64]:
    block = np.floor(places_m / TREND_M).astype(np.int64)
    order = np.lexsort((heights_m, block[:, 1], block[:, 0]))
    first = np.r_[True, (np.diff(block[order], axis=0) != 0).any(axis=1)]
    lowest = order[first]
    middle = places_m.mean(axis=0)
    terms = np.column_stack([np.ones(len(lowest)), places_m[lowest] - middle])
    fit = np.linalg.lstsq(terms, heights_m[lowest], rcond=None)[0]
    return np.asarray(fit[0] + (places_m - middle) @ fit[1:])


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """The library writes its steps to the process's own output, past Python."""
    kept = os.dup(1)
    try:
        with open(os.devnull, "wb") as nothing:  # noqa: PTH123 - a file descriptor is wanted
            os.dup2(nothing.fileno(), 1)
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
