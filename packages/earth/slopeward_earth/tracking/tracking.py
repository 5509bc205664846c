"""How far the ground moved between two images of two dates: windows of the older one are found again on the newer."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyproj
from numpy.typing import NDArray
from scipy import ndimage

from detection.imagery.errors import NoValidPixelsError, SceneError
from detection.imagery.footprints.geopackage import write_geopackage
from detection.imagery.raster.areas import spacing_m
from detection.imagery.raster.components import RowBuffer
from detection.imagery.raster.grid import Grid
from detection.imagery.raster.masks import apply_mask
from detection.imagery.raster.overlay import Layer
from detection.imagery.raster.raster import inspect, read_grid
from detection.imagery.scene.scene import find_date
from detection.whole_file import replacing, write_json

NODES_MOST: Final = 40_000
WINDOW_PX: Final = (16, 256)
SEARCH_MOST_PX: Final = 200.0
SHOWN: Final = 0.9  # of a window, on both images
CORRELATION_LEAST: Final = 0.5
# The best place must correlate so many times better than the second best, which lies farther than so many pixels off.
RATIO_LEAST: Final = 1.15
APART_PX: Final = 4
BACK_MOST_PX: Final = 0.5
ROUNDS: Final = 12
STILL_PX: Final = 0.002  # a step of least squares matching below this ends it
RIM_PX: Final = 2  # of a window, left out: a spline shift makes values up there
NMAD: Final = 1.4826
STABLE_LEAST: Final = 12
CHI2_95: Final = 5.991  # of two components
FILES: Final = {"vectors": "vectors.gpkg", "run": "track.json"}
COLUMNS: Final = {
    "name": "TEXT",
    **dict.fromkeys(("east_m", "north_m", "east_error_m", "north_error_m", "length_m", "azimuth_deg"), "REAL"),
    "significant": "BOOLEAN",
    **dict.fromkeys(("correlation", "ratio", "back_px"), "REAL"),
}


@dataclass(frozen=True, slots=True)
class TrackingRequest:
    """How two images are compared."""

    window_px: int = 48  # side of the window that is found again
    step_px: int = 24  # between windows
    most_m: float = 2.0  # how far the ground can have moved
    stable: Path | None = None  # raster that is not 0 on ground known to be stable; None: what moved like most
    # name to longitude and latitude, which get a vector of their own
    places: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    older_at: datetime | None = None  # when the older image was taken; None: as its tag or its name says
    newer_at: datetime | None = None  # the same of the newer
    band: int = 1  # number of the band that is compared, from 1
    out_dir: Path | None = None  # for the files


@dataclass(frozen=True, slots=True)
class MotionVector:
    """How far one window moved, on the ground; errors are one sigma."""

    name: str  # of the place; empty on the grid
    longitude: float  # of the middle of the window, degrees
    latitude: float  # of the middle of the window, degrees
    east_m: float  # stable ground taken away
    north_m: float  # stable ground taken away
    east_error_m: float  # from the image and from stable ground
    north_error_m: float  # from the image and from stable ground
    significant: bool  # beyond both errors together at 95 %
    correlation: float  # of the two windows
    ratio: float  # of this correlation to that of the second best place
    back_px: float  # what is left after the way there and back


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackingResult:
    """What two images say of movement."""

    older_at: datetime | None  # when the older image was taken; None: nobody says it
    newer_at: datetime | None  # the same of the newer
    vectors: tuple[MotionVector, ...]  # that passed all tests; those of places first
    asked: int  # windows
    dropped: dict[str, int]  # why others did not pass -> how many
    lost_places: dict[str, str]  # place -> why it has no vector
    shift_m: tuple[float, float]  # east and north by which the newer image lay off on stable ground; it was taken away
    shift_error_m: float  # one sigma of that, along one axis
    raised: float  # by how much errors were raised to what stable ground shows; 1: not
    stable: int  # windows on stable ground
    error_m: float  # median error along one axis
    warnings: tuple[str, ...]  # one sentence each
    outputs: dict[str, str] = field(default_factory=dict)  # name to path


@dataclass(frozen=True, slots=True)
class _Match:
    moved: NDArray[np.float64]
    covariance: NDArray[np.float64]
    correlation: float
    ratio: float


@dataclass(frozen=True, slots=True)
class _GridMatch:
    name: str
    at: tuple[float, float]
    match: _Match
    back_px: float


class _LostError(Exception):
    """A window has no match; the message says why in few words."""


def track(
    older: Path, newer: Path, request: TrackingRequest, progress: Callable[[str, float], None] = lambda *_: None
) -> TrackingResult:
    """Find windows of the older image again on the newer one, and say how far they moved, with its error.

    The whole pixel is the best normalised cross-correlation within `most_m`; what is below a pixel comes by least
    squares matching (Gruen 1985), which gives the covariance of the shift too. A match is kept where the window shows
    ground on both images, correlates, stands out against the second best place, and leads back to where it began. The
    median over stable ground is taken away. Where stable ground scatters more than the covariances say, all are raised
    by that.

    `newer`: georeferenced raster; gives the grid, the older one is warped onto it.

    Raises:
        SceneError: wrong sizes, or too little stable ground to say any error.
        NoValidPixelsError: no window was found again.
    """
    grid = read_grid(newer)
    step = min(spacing_m(grid, grid.width / 2, grid.height / 2))
    reach = int(min(np.ceil(request.most_m / step), 1e6)) if request.most_m > 0 else 0
    _check(newer, grid, request, reach, step)
    places = {name: grid.pixel_of(*place) for name, place in request.places.items()}
    half = request.window_px // 2
    nodes = [
        ("", (float(column), float(row)))
        for row in range(half, grid.height - half + 1, request.step_px)
        for column in range(half, grid.width - half + 1, request.step_px)
    ]
    found: list[_GridMatch] = []
    lost: dict[str, str] = {}
    dropped: Counter[str] = Counter()
    with Layer(older, grid, request.band) as before, Layer(newer, grid, request.band) as after:
        then, now = _open_rows(before), _open_rows(after)
        warnings = ["the older image was warped onto the grid of the newer one (bilinear)"] if before.warped else []
        windows = [*places.items(), *nodes]
        for number, (name, at) in enumerate(windows):
            progress("windows", number / len(windows))
            try:
                found.append(_follow(name, at, then, now, request.window_px, reach))
            except _LostError as why:
                dropped[str(why)] += 1
                if name:
                    lost[name] = str(why)
    if not found:
        reasons = ", ".join(f"{why}: {count}" for why, count in dropped.most_common())
        raise NoValidPixelsError(f"{newer}: no window of {older} was found again ({reasons})")
    times = [
        given or find_date(path, inspect(path).tags)
        for given, path in ((request.older_at, older), (request.newer_at, newer))
    ]
    result = _correct(found, grid, request, newer, warnings)
    tracked = replace(
        result,
        older_at=times[0],
        newer_at=times[1],
        asked=len(places) + len(nodes),
        dropped=dict(dropped),
        lost_places=lost,
        warnings=tuple(warnings),
    )
    if request.out_dir is None:
        return tracked
    request.out_dir.mkdir(parents=True, exist_ok=True)
    with replacing(request.out_dir / FILES["vectors"]) as partial:
        write_geopackage(
            partial,
            list_rows(tracked),
            COLUMNS,
            table="vectors",
            changed_at=tracked.newer_at or datetime(2000, 1, 1, tzinfo=UTC),
            kind="POINT",
            description="Displacement between two images",
        )
    tracked = replace(tracked, outputs={name: str(request.out_dir / file) for name, file in FILES.items()})
    write_json(request.out_dir / FILES["run"], asdict(tracked), default=str)
    return tracked


def _check(newer: Path, grid: Grid, request: TrackingRequest, reach: int, step: float) -> None:
    if not WINDOW_PX[0] <= request.window_px <= WINDOW_PX[1] or request.step_px < 1:
        raise SceneError(f"a window has {WINDOW_PX[0]} to {WINDOW_PX[1]} pixels a side, and the step is 1 at least")
    if not 1 <= reach <= SEARCH_MOST_PX:
        raise SceneError(
            f"{newer}: {request.most_m:g} m are {reach} pixels of {step:.3g} m; at most {SEARCH_MOST_PX:.0f} are "
            "searched: take larger pixels, or a smaller distance"
        )
    nodes = (grid.width // request.step_px) * (grid.height // request.step_px)
    if nodes > NODES_MOST:
        raise SceneError(
            f"{newer}: {nodes:,} windows, the limit is {NODES_MOST:,}; take a wider step, or cut the slope out"
        )


def _follow(name: str, at: tuple[float, float], then: RowBuffer, now: RowBuffer, window: int, reach: int) -> _GridMatch:
    if not np.isfinite(at).all():
        raise _LostError("at the rim")
    column, row = round(at[0]), round(at[1])
    there = _match(then, now, column, row, window, reach)
    step = np.rint(there.moved).astype(int)
    back = _match(now, then, column + int(step[0]), row + int(step[1]), window, reach)
    left = float(np.hypot(*(there.moved + back.moved)))
    if left > BACK_MOST_PX:
        raise _LostError("does not lead back")
    return _GridMatch(name, at, there, left)


def _match(one: RowBuffer, other: RowBuffer, column: int, row: int, window: int, reach: int) -> _Match:
    from skimage.feature import match_template

    pattern = _read(one, column - window // 2, row - window // 2, window)
    wide = _read(other, column - window // 2 - reach, row - window // 2 - reach, window + 2 * reach)
    if pattern.std() <= 0:
        raise _LostError("no texture")
    surface: NDArray[np.float64] = match_template(wide, pattern)  # type: ignore[no-untyped-call,unused-ignore]
    best = np.unravel_index(int(np.argmax(surface)), surface.shape)
    top, left = int(best[0]), int(best[1])
    correlation = float(surface[top, left])
    if correlation < CORRELATION_LEAST:
        raise _LostError("correlates too little")
    if min(top, left, 2 * reach - top, 2 * reach - left) == 0:
        raise _LostError("left the search")
    rows, columns = np.ogrid[: surface.shape[0], : surface.shape[1]]
    others = surface[(np.abs(rows - top) > APART_PX) | (np.abs(columns - left) > APART_PX)]
    ratio = correlation / max(float(others.max()), 0.1) if others.size else np.inf
    if ratio < RATIO_LEAST:
        raise _LostError("looks alike elsewhere")
    shift, covariance = _refine(pattern, wide[top : top + window, left : left + window])
    return _Match(np.array([left - reach, top - reach]) + shift, covariance, correlation, min(ratio, 99.0))


def _open_rows(layer: Layer) -> RowBuffer:
    """Windows of a layer, NaN where it is not valid; neighbouring ones share most of their pixels."""

    def read(*box: int) -> NDArray[np.float32]:
        values, valid = layer.read(*box)
        return np.where(valid, values, np.float32(np.nan))

    return RowBuffer(read, layer.grid.width, layer.grid.height)


def _read(image: RowBuffer, column: int, row: int, side: int) -> NDArray[np.float64]:
    if column < 0 or row < 0 or column + side > image.width or row + side > image.height:
        raise _LostError("at the rim")
    values: NDArray[np.float64] = image(column, row, side, side).astype(np.float64)
    valid = np.isfinite(values)
    if valid.mean() < SHOWN:
        raise _LostError("not shown")
    values[~valid] = values[valid].mean()
    return values


def _refine(
    pattern: NDArray[np.float64], found: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Columns and rows below a pixel by least squares matching with gain and offset, and their covariance (Gruen 1985).

    Gradients are the mean of both images, so that the noise of one alone does not flatten them.
    """
    inner = np.s_[RIM_PX:-RIM_PX, RIM_PX:-RIM_PX]
    shift = np.zeros(2)
    normal = np.eye(4)
    variance = np.inf
    for _ in range(ROUNDS):
        moved = ndimage.shift(found, -shift[::-1], order=3, mode="nearest")
        down, across = (
            0.5 * (np.gradient(moved, axis=axis) + np.gradient(pattern, axis=axis))[inner].ravel() for axis in (0, 1)
        )
        one, other = pattern[inner].ravel(), moved[inner].ravel()
        terms = np.column_stack([across, down, one - one.mean(), np.ones(one.size)])
        normal = terms.T @ terms
        try:
            answer = np.linalg.solve(normal, terms.T @ other)
        except np.linalg.LinAlgError:
            raise _LostError("no texture") from None
        variance = float(((other - terms @ answer) ** 2).sum()) / (one.size - 4)
        move = -answer[:2]
        shift = shift + move
        if np.abs(shift).max() > 1.0:
            raise _LostError("does not settle")
        if np.abs(move).max() < STILL_PX:
            break
    else:
        raise _LostError("does not settle")
    return shift, np.asarray(variance * np.linalg.inv(normal)[:2, :2])


def _correct(
    found: list[_GridMatch], grid: Grid, request: TrackingRequest, newer: Path, warnings: list[str]
) -> TrackingResult:
    """Vectors on the ground, less what stable ground seems to have moved, with errors that stable ground bears out."""
    at = np.array([one.at for one in found])
    lon, lat, turn = _place(grid, at)
    moved = np.einsum("nij,nj->ni", turn, np.array([one.match.moved for one in found]))
    covariance = turn @ np.array([one.match.covariance for one in found]) @ turn.transpose(0, 2, 1)
    on_grid = np.array([not one.name for one in found])
    ground = _find_stable(moved, on_grid, at, grid, request.stable, warnings)
    if ground.sum() < STABLE_LEAST:
        raise SceneError(
            f"{newer}: {ground.sum()} windows lie on stable ground, {STABLE_LEAST} are needed to say any error: take "
            "smaller steps, or name more stable ground"
        )
    shift = np.median(moved[ground], axis=0)
    left = moved - shift
    sigma = np.sqrt(np.einsum("nii->ni", covariance))
    raised = max(1.0, NMAD * float(np.median(np.abs(left[ground] / sigma[ground]))))
    overlap = min(1.0, request.step_px / request.window_px) ** 2
    scatter = NMAD * float(np.median(np.abs(left[ground])))
    shift_error = 1.2533 * scatter / np.sqrt(max(1.0, overlap * ground.sum()))
    off_m, usual_m = float(np.abs(shift).max()), raised * float(np.median(sigma))
    if request.stable is None and off_m > np.sqrt(CHI2_95) * np.hypot(usual_m, shift_error):
        warnings.append(
            f"the newer image differs by {off_m:.3f} m as a whole: either it lay off or this ground moved; nothing was "
            "taken away: give --stable"
        )
        left, shift_error, shift = moved, float(np.hypot(shift_error, off_m)), np.zeros(2)
    covariance = covariance * raised**2 + np.eye(2) * shift_error**2
    beyond = np.einsum("ni,nij,nj->n", left, np.linalg.inv(covariance), left) > CHI2_95
    errors = np.sqrt(np.einsum("nii->ni", covariance))
    vectors = tuple(
        MotionVector(
            one.name,
            round(float(lon[k]), 8),
            round(float(lat[k]), 8),
            round(float(left[k, 0]), 5),
            round(float(left[k, 1]), 5),
            round(float(errors[k, 0]), 5),
            round(float(errors[k, 1]), 5),
            bool(beyond[k]),
            round(one.match.correlation, 4),
            round(one.match.ratio, 3),
            round(one.back_px, 4),
        )
        for k, one in enumerate(found)
    )
    return TrackingResult(
        older_at=None,
        newer_at=None,
        vectors=vectors,
        asked=0,
        dropped={},
        lost_places={},
        shift_m=(round(float(shift[0]), 5), round(float(shift[1]), 5)),
        shift_error_m=round(float(shift_error), 5),
        raised=round(raised, 3),
        stable=int(ground.sum()),
        error_m=round(float(np.median(errors)), 5),
        warnings=(),
    )


def _place(grid: Grid, at: NDArray[np.float64]) -> tuple[Any, Any, NDArray[np.float64]]:
    geod = pyproj.Geod(ellps="WGS84")
    lon, lat = grid.to_lonlat(*grid.to_crs(at[:, 0], at[:, 1]))
    turn = np.empty((len(at), 2, 2))
    for part, step in enumerate(((1.0, 0.0), (0.0, 1.0))):
        to = grid.to_lonlat(*grid.to_crs(at[:, 0] + step[0], at[:, 1] + step[1]))
        azimuth, _, away = geod.inv(lon, lat, *to)
        turn[:, 0, part] = away * np.sin(np.radians(azimuth))
        turn[:, 1, part] = away * np.cos(np.radians(azimuth))
    return lon, lat, turn


def _find_stable(
    moved: NDArray[np.float64],
    on_grid: NDArray[np.bool_],
    at: NDArray[np.float64],
    grid: Grid,
    stable: Path | None,
    warnings: list[str],
) -> NDArray[np.bool_]:
    """Windows on stable ground: as given, else those that moved like most, clipped at three NMAD until it rests."""
    if stable is not None:
        held = on_grid.copy()  # those lie inside of the grid
        with Layer(stable, grid, nearest=True) as layer:

            def read(*box: int) -> NDArray[np.bool_]:
                values, known = layer.read(*box)
                return np.asarray(known & apply_mask("mask", values))

            rows = RowBuffer(read, grid.width, grid.height)
            for k in np.flatnonzero(on_grid):
                held[k] = rows(int(at[k, 0]), int(at[k, 1]), 1, 1)[0, 0]
        return held
    ground = on_grid
    for _ in range(ROUNDS):
        if not ground.any():
            break
        middle = np.median(moved[ground], axis=0)
        scatter = NMAD * np.median(np.abs(moved[ground] - middle), axis=0)
        kept = on_grid & (np.abs(moved - middle) <= 3 * np.maximum(scatter, 1e-6)).all(axis=1)
        if np.array_equal(kept, ground):
            break
        ground = kept
    warnings.append("stable ground was found by clipping; a mask of stable ground is better")
    if ground.sum() < 0.5 * on_grid.sum():
        warnings.append("less than half of the windows are stable: shift and errors rest on little")
    return np.asarray(ground)


def list_rows(tracked: TrackingResult) -> Iterator[dict[str, Any]]:
    """Yield the vectors as rows of a table, with length and azimuth (clockwise from north)."""
    for vector in tracked.vectors:
        yield {
            **asdict(vector),
            "geometry": {"type": "Point", "coordinates": (vector.longitude, vector.latitude)},
            "length_m": round(float(np.hypot(vector.east_m, vector.north_m)), 5),
            "azimuth_deg": round(float(np.degrees(np.arctan2(vector.east_m, vector.north_m)) % 360), 2),
        }
