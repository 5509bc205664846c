"""From ground points to one height a cell, with its error from how many points there are and how far they scatter."""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal, cast

import numpy as np
from numpy.typing import NDArray

from slopeward_earth.clouds.header import CloudError
from slopeward_earth.clouds.reader import GROUND
from slopeward_earth.clouds.spool import Points

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
    return cast("Rule", name)


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


BANDS: Final = ("height_m", "sigma_m", "points_per_m2", "spread_m")
# Heights are metres also where the map is in feet. Without the unit a reader cannot know that.
UNITS: Final = ("m", "m", "1/m2", "m")
# The standard error of a median is so many times that of a mean, for normal scatter.
MEDIAN: Final = float(np.sqrt(np.pi / 2))
# A plane needs so many points of the cells around; where the 3 x 3 have fewer, wider ones are asked.
PLANE_LEAST: Final = 6
RADII: Final = (1, 2, 3)
# Standard deviation of what is spread evenly, of its width.
WITHIN: Final = float(np.sqrt(1 / 12))
# Ground around a window that planes are fitted to, cells.
MARGIN: Final = 5
FLAT: Final = 1e-6
Field = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Planes:
    """Of each cell the plane through the points of the 3 x 3 cells around it, or of the 5 x 5 or 7 x 7; all h x w."""

    count: Field  # points of the cell itself
    across: Field  # how much higher one column further, m
    down: Field  # how much higher one row further, m
    spread: Field  # standard deviation of the points about the plane, m; NaN without one
    lacking: NDArray[np.bool_]  # where there is no plane
    tilt: float  # rise of the usual plane over one cell, m


def make_heights(
    points: Points, corner: tuple[int, int], shape: tuple[int, int], usual_m: float, step_m: float = 0.001
) -> NDArray[np.float32]:
    """Return height, its error, points of the cell and spread of a window; NaN where there is no height.

    A height is the median of the points of a cell, each brought to its middle along the plane of the 3 x 3 cells
    around. The error is 1.2533 s / √n (s / √n up to two points). s is the spread about that plane. Cells without a
    point stay empty.

    `points`: ground, in columns and rows of the grid, of the window and `MARGIN` cells around it; `usual_m`: spread
    where nothing else says it; `step_m`: in which heights are stored, no spread is smaller than that of rounding.
    """
    x, y = points[:, 0] - corner[0] + MARGIN, points[:, 1] - corner[1] + MARGIN
    height, width = shape[0] + 2 * MARGIN, shape[1] + 2 * MARGIN
    inside = (x >= 0) & (y >= 0) & (x < width) & (y < height)
    x, y, z = x[inside], y[inside], points[inside, 2]
    base = float(z.mean()) if len(z) else 0.0
    planes = _fit_planes(x, y, z - base, height, width)
    spread = np.where(planes.lacking, np.hypot(usual_m, WITHIN * planes.tilt), planes.spread)
    spread = np.maximum(spread, WITHIN * step_m)
    heights, sigma = _medians(x, y, z - base, planes, spread)
    inner = np.s_[MARGIN : MARGIN + shape[0], MARGIN : MARGIN + shape[1]]
    spread = np.where(np.isnan(heights), np.nan, spread)
    return np.stack([(heights + base)[inner], sigma[inner], planes.count[inner], spread[inner]]).astype(np.float32)


def usual_spread(points: Points) -> float:
    """The median spread about the planes of a part of a cloud, m; NaN where no cell says it."""
    if not len(points):
        return float("nan")
    corner = np.floor(points[:, :2].min(axis=0))
    x, y = (points[:, :2] - corner).T
    planes = _fit_planes(x, y, points[:, 2] - points[:, 2].mean(), int(y.max()) + 1, int(x.max()) + 1)
    known = planes.spread[(planes.count > 0) & ~planes.lacking]
    return float(np.median(known)) if len(known) else float("nan")


def _fit_planes(x: Field, y: Field, z: Field, height: int, width: int) -> Planes:
    column, row = x.astype(np.int64), y.astype(np.int64)
    cell = row * width + column
    u, v = x - column - 0.5, y - row - 0.5

    def add(values: Field | None) -> Field:
        return np.bincount(cell, values, height * width).reshape(height, width).astype(np.float64)

    one, su, sv, sz = add(None), add(u), add(v), add(z)
    uu, uv, vv, uz, vz, zz = add(u * u), add(u * v), add(v * v), add(u * z), add(v * z), add(z * z)
    fields = np.stack([one, su, sv, sz, uu, uv, vv, uz, vz, zz])
    across, down, spread = np.zeros_like(one), np.zeros_like(one), np.full_like(one, np.nan)
    lacking = np.ones(one.shape, bool)
    for radius in RADII:
        wide = _solve(_add_around(fields, radius))
        for kept, values in zip((across, down, spread), wide, strict=True):
            kept[lacking] = values[lacking]
        lacking &= np.isnan(wide[2])
        if not lacking.any():
            break
    tilt = float(np.median(np.hypot(across, down)[~lacking])) if not lacking.all() else 0.0
    return Planes(one, np.where(lacking, 0, across), np.where(lacking, 0, down), spread, lacking, tilt)


def _add_around(fields: Field, radius: int) -> Field:
    """The sums of each cell and its neighbours; the points of the cell (column + a, row + b) lie a and b further."""
    one, su, sv, sz, uu, uv, vv, uz, vz, zz = fields
    height, width = one.shape
    total = np.zeros((len(fields), height + 2 * radius, width + 2 * radius))
    for b in range(-radius, radius + 1):
        for a in range(-radius, radius + 1):
            part = (
                one,
                su + a * one,
                sv + b * one,
                sz,
                uu + 2 * a * su + a * a * one,
                uv + a * sv + b * su + a * b * one,
                vv + 2 * b * sv + b * b * one,
                uz + a * sz,
                vz + b * sz,
                zz,
            )
            place = np.s_[radius - b : radius - b + height, radius - a : radius - a + width]
            for sums, values in zip(total, part, strict=True):
                sums[place] += values
    return total[:, radius : radius + height, radius : radius + width]


def _solve(sums: Field) -> tuple[Field, Field, Field]:
    """Slopes and spread of the planes of these sums; NaN where there are too few points, or all on a line."""
    n, su, sv, sz, uu, uv, vv, uz, vz, zz = sums
    some = np.maximum(n, 1)
    # about the mean of the cells, so that nothing large is subtracted
    cuu, cuv, cvv = uu - su * su / some, uv - su * sv / some, vv - sv * sv / some
    cuz, cvz, czz = uz - su * sz / some, vz - sv * sz / some, zz - sz * sz / some
    area = cuu * cvv - cuv * cuv
    known = (n >= PLANE_LEAST) & (area > FLAT * some * some)
    safe = np.where(known, area, 1.0)
    across = np.where(known, (cuz * cvv - cvz * cuv) / safe, np.nan)
    down = np.where(known, (cvz * cuu - cuz * cuv) / safe, np.nan)
    left = np.maximum(czz - across * cuz - down * cvz, 0.0)
    return across, down, np.sqrt(left / np.maximum(n - 3, 1))


def _medians(x: Field, y: Field, z: Field, planes: Planes, spread: Field) -> tuple[Field, Field]:
    height, width = spread.shape
    column, row = x.astype(np.int64), y.astype(np.int64)
    level = z - planes.across[row, column] * (x - column - 0.5) - planes.down[row, column] * (y - row - 0.5)
    cell = row * width + column
    order = np.lexsort((level, cell))
    level, cell = level[order], cell[order]
    begin = np.flatnonzero(np.r_[True, np.diff(cell) != 0]) if len(cell) else np.empty(0, np.int64)
    count = np.diff(np.r_[begin, len(cell)])
    middle = 0.5 * (level[begin + (count - 1) // 2] + level[begin + count // 2])
    heights, sigma = np.full(height * width, np.nan), np.full(height * width, np.nan)
    heights[cell[begin]] = middle
    sigma[cell[begin]] = np.where(count > 2, MEDIAN, 1.0) * spread.ravel()[cell[begin]] / np.sqrt(count)
    return heights.reshape(spread.shape), sigma.reshape(spread.shape)
