"""Cracks: from a map of what is thin to lines with length, width and azimuth on the ground, and files of them."""

import hashlib
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from scipy import ndimage

from detection.imagery.footprints.geopackage import write_geopackage
from detection.imagery.footprints.outputs import GEOPACKAGE_COLUMNS as OUTLINE_COLUMNS
from detection.imagery.footprints.outputs import SHARED_KEYS
from detection.imagery.footprints.polygons import STEPS, threshold_steps
from detection.imagery.footprints.records import SceneDetection
from detection.imagery.raster.areas import map_outline, pixel_sides_m, to_local_metres
from detection.imagery.raster.components import Read
from detection.imagery.raster.grid import Grid
from detection.imagery.raster.raster import ByteRaster, read_grid
from detection.whole_file import replacing, write_json
from slopeward_lab.cracks.skeleton import Skeleton, find_skeleton, link

DECIMALS: Final = 8  # of a degree: a millimetre
SHORTEST_PX: Final = 4  # of a skeleton: less has no direction
LEAST_PX: Final = 8.0  # a crack is at least so long
SLENDER: Final = 3.0  # and so many times as long as wide
WOBBLE_PX: Final = 0.75  # a line may leave the middles of its pixels by so much: it has no stairs
STRAIGHT: Final = math.cos(math.radians(50))  # lines that meet go on in each other if they turn by less
WINDOW_PX: Final = 4  # the greatest width is a mean over so many pixels on each side
Points = NDArray[np.float64]
End = tuple[int, int]  # a branch, and 0 or 1 for its first or last pixel


@dataclass(frozen=True, slots=True, kw_only=True)
class Crack:
    """A crack as it was found; lengths are None without a place on the ground."""

    crack_id: str  # a hash of the scene, the model and the first pixel
    length_m: float | None  # along its middle
    width_m: float | None  # mean
    greatest_width_m: float | None
    azimuth_deg: float | None  # 0 to 180, clockwise from north, by length
    mean_probability: float
    touches_edge: bool  # of the scene
    geometry: dict[str, Any]  # a LineString, lon/lat at 8 decimals; pixels without a place on the ground
    line: shapely.LineString  # in (column, row)
    middles: Points  # n x 3: column, row, width in the unit of the sides

    def to_json(self) -> dict[str, object]:
        """As JSON has it."""
        return {one.name: getattr(self, one.name) for one in fields(self) if one.name not in {"line", "middles"}}


def find_cracks(read: Read, grid: Grid, least: int, identity: str) -> list[Crack]:
    """Find cracks on a stored map of probabilities.

    Lines that meet go on straight: two cracks that cross are two. What is shorter than `LEAST_PX`, or not `SLENDER`, is
    left out.

    Args:
        read: `read(column, row, width, height)` of stored steps, 255 = nodata.
        least: step from which a pixel counts.
        identity: what ids depend on.
    """
    sides = pixel_sides_m(grid) if grid.placed else (1.0, 1.0)
    skeleton = find_skeleton(read, (grid.width, grid.height), least, sides)
    return list(_describe(list(_Lines(skeleton, sides, grid).trace()), grid, sides, identity))


class _Line(NamedTuple):
    points: Points  # column, row
    middles: Points
    width: float  # mean, in the unit of the sides
    steps: float  # mean


class _Lines:
    """The branches of a skeleton between joints or free ends (-1), and how they go on in each other."""

    def __init__(self, skeleton: Skeleton, sides: tuple[float, float], grid: Grid) -> None:
        self._skeleton, self._grid, self._pixel = skeleton, grid, math.sqrt(sides[0] * sides[1])
        self._sides = np.array(sides)
        self._places = (np.stack([skeleton.columns, skeleton.rows], axis=1) + 0.5) * self._sides
        around = link(skeleton, grid.width)
        one, number = np.nonzero(around >= 0)
        pairs = np.stack([one, around[one, number]], axis=1)[one < around[one, number]]
        # as points (pixel, 0), of which shapely makes chains from joint to joint
        steps: Any = shapely.linestrings(np.stack([pairs, np.zeros_like(pairs)], axis=-1).astype(float))
        merged = shapely.get_parts(shapely.line_merge(shapely.multilinestrings(steps)))
        self._branches = [shapely.get_coordinates(line)[:, 0].astype(int) for line in merged]
        self._ends = self._join((around >= 0).sum(axis=1))
        self._prune()

    def _join(self, degrees: NDArray[np.int64]) -> list[list[int]]:
        """Make one joint of those whose discs overlap, as where lines cross at an acute angle; the ends of branches."""
        self._joints: dict[int, list[int]] = {int(place): [int(place)] for place in np.flatnonzero(degrees > 2)}
        into = {joint: joint for joint in self._joints}
        kept = []
        for branch in self._branches:
            one, other = (into.get(int(branch[end]), -1) for end in (0, -1))
            if min(one, other) < 0 or self._length(branch) >= 2 * max(self._reach(one), self._reach(other)):
                kept.append(branch)
            elif one != other:
                for place in (members := self._joints.pop(other)):
                    into[place] = one
                self._joints[one] += members
        self._branches = kept
        return [[into.get(int(branch[end]), -1) for end in (0, -1)] for branch in kept]

    def _reach(self, joint: int) -> float:
        return float(self._skeleton.reaches[self._joints[joint]].max())

    def _length(self, branch: NDArray[np.int64]) -> float:
        return float(np.hypot(*np.diff(self._places[branch], axis=0).T).sum())

    def _prune(self) -> None:
        """Leave out what reaches from a joint no farther than the rim, as long as a line goes through the joint."""
        gone = set[int]()
        for joint, ends in self._list_meeting().items():
            limit = 1.5 * self._reach(joint) + 2 * self._pixel
            spurs = sorted((self._length(self._branches[n]), n) for n, _ in ends if -1 in self._ends[n])
            gone.update(n for length, n in spurs[: len(ends) - 2] if length < limit)
        kept = [number for number in range(len(self._branches)) if number not in gone]
        self._branches, self._ends = [self._branches[n] for n in kept], [self._ends[n] for n in kept]

    def _list_meeting(self) -> dict[int, list[End]]:
        meeting = defaultdict[int, list[End]](list)
        for number, joints in enumerate(self._ends):
            for side, joint in enumerate(joints):
                if joint >= 0:
                    meeting[joint].append((number, side))
        return meeting

    def _pair(self) -> dict[End, End]:
        """Which ends of branches go on in each other, the straightest first."""
        partner = dict[End, End]()
        for joint, ends in self._list_meeting().items():
            start, away = self._centre(joint), 4 * self._pixel + 3 * self._reach(joint)
            ways = [self._head(end, start, away) for end in ends]
            turns = [(-float(ways[i] @ ways[j]), ends[i], ends[j]) for i in range(len(ends)) for j in range(i)]
            for straight, one, other in sorted(turns, reverse=True):
                if not {one, other} & partner.keys() and (straight >= STRAIGHT or len(ends) == 2):
                    partner[one], partner[other] = other, one
        return partner

    def _centre(self, joint: int) -> Points:
        return np.asarray(self._places[self._joints[joint]].mean(axis=0))

    def _head(self, end: End, start: Points, away: float) -> Points:
        """The way that a branch takes from a place, as a unit vector, seen so far."""
        points = self._places[self._branches[end[0]]][:: -1 if end[1] else 1]
        far = np.flatnonzero(np.hypot(*(points - start).T) >= away)
        way = points[far[0] if len(far) else -1] - start
        return np.asarray(way / max(float(np.hypot(*way)), 1e-9))

    def trace(self) -> Iterator[_Line]:
        """Yield each crack, branch after branch."""
        partner, seen = self._pair(), set[int]()
        ends = [(number, side) for number in range(len(self._branches)) for side in (0, 1)]
        for start in sorted(ends, key=lambda end: end in partner):  # free ends first, then rings
            chain, end = list[End](), start
            while end[0] not in seen:
                seen.add(end[0])
                chain.append(end)
                end = partner.get((end[0], 1 - end[1]), end)
            if chain and sum(len(self._branches[number]) for number, _ in chain) >= SHORTEST_PX + 2:
                yield self._assemble(chain)

    def _assemble(self, chain: Sequence[End]) -> _Line:
        skeleton, line, own = self._skeleton, list[Points](), list[int]()  # -1 is the middle of a joint
        joints = [self._ends[number][:: -1 if side else 1] for number, side in chain]
        for (number, side), (first, last) in zip(chain, joints, strict=True):
            branch = self._branches[number][:: -1 if side else 1]
            branch = branch[int(first >= 0) : len(branch) - int(last >= 0)]
            if first >= 0 and not own:
                line, own = [self._centre(first)], [-1]
            line += [*self._places[branch], *([self._centre(last)] if last >= 0 else [])]
            own += [*branch.tolist(), *([-1] if last >= 0 else [])]
        is_pixel = np.array(own) >= 0
        pixels = np.array(own)[is_pixel]
        areas, reaches = skeleton.areas_px[pixels] * float(np.prod(self._sides)), skeleton.reaches[pixels]
        half = max(WINDOW_PX, math.ceil(2.5 * float(np.quantile(reaches, 0.9)) / min(self._sides)))
        inner = slice(half, -half) if len(pixels) > 4 * half else slice(None)
        smooth = _smooth(np.array(line), 1 + float(np.median(reaches)) / self._pixel / 2)
        along = np.append(0, np.cumsum(np.hypot(*np.diff(smooth, axis=0).T)))
        steps = np.gradient(along)[is_pixel].clip(self._pixel / 4, 1.5 * max(self._sides))
        width = float(areas[inner].sum() / steps[inner].sum())
        local = np.full(len(pixels), width)
        if inner.start:
            near = np.ones(2 * half + 1)
            local[inner] = np.divide(*(ndimage.correlate1d(one[inner], near, mode="reflect") for one in (areas, steps)))
            local[:half], local[-half:] = local[half], local[-half - 1]
        for end, joint in ((0, joints[0][0]), (-1, joints[-1][1])):
            if joint < 0:
                smooth = self._set_tip(smooth, areas, reaches, float(local[end]), end)
        whole = shapely.LineString(smooth).simplify(WOBBLE_PX * self._pixel)
        middles = np.column_stack([self._places[pixels] / self._sides, local])
        return _Line(np.asarray(whole.coords) / self._sides, middles, width, float(skeleton.steps[pixels].mean()))

    def _set_tip(self, line: Points, areas: Points, reaches: Points, width: float, end: int) -> Points:
        """Lead a line on as it came to where its body ends: near there a skeleton bends to corners."""
        if end == 0:
            return self._set_tip(line[::-1], areas[::-1], reaches[::-1], width, -1)[::-1]
        away = np.hypot(*(line[-1] - line).T)
        reach = float(reaches[-12:].max())
        inside = np.flatnonzero(away > 1.5 * reach + 2 * self._pixel)
        if len(inside) < 4:
            return line
        last = int(inside[-1])
        before = np.flatnonzero(away > away[last] + max(2 * reach, 6 * self._pixel))
        way = line[last] - line[int(before[-1]) if len(before) else 0]
        way /= max(float(np.hypot(*way)), 1e-9)
        beyond = len(line) - 1 - last
        # of a body of one width, as far as its area says; a tapered one as far as its skeleton
        far = max(float((line[-1] - line[last]) @ way), float(areas[-beyond:].sum()) / width) + self._pixel / 2
        tip = np.clip(line[last] + far * way, 0, self._sides * (self._grid.width, self._grid.height))
        return np.concatenate([line[: last + 1], tip[None]])


def _smooth(line: Points, sigma: float) -> Points:
    """Without stairs; the ends stay where they are."""
    padding = min(len(line) - 1, math.ceil(4 * sigma))
    if padding < 1:
        return line
    before, after = 2 * line[0] - line[padding:0:-1], 2 * line[-1] - line[-2 : -padding - 2 : -1]
    return np.asarray(ndimage.gaussian_filter1d(np.concatenate([before, line, after]), sigma, axis=0)[padding:-padding])


def _describe(found: Sequence[_Line], grid: Grid, sides: tuple[float, float], identity: str) -> Iterator[Crack]:
    """Measure lines on the ground and give those that are cracks, by their first pixel."""
    pixel = math.sqrt(sides[0] * sides[1])
    for points, middles, width, steps in sorted(found, key=lambda one: tuple(one.middles[:, [1, 0]].min(axis=0))):
        line = shapely.LineString(points)
        length = float(np.hypot(*(np.diff(points, axis=0) * sides).T).sum())
        if length < max(LEAST_PX * pixel, SLENDER * width):
            continue
        lonlat = map_outline(line, lambda x, y: grid.to_lonlat(*grid.to_crs(x, y))) if grid.placed else line
        ways = np.diff(shapely.get_coordinates(to_local_metres(np.array([lonlat]))[0] if grid.placed else line), axis=0)
        lengths, angles = np.hypot(*ways.T), 2 * np.arctan2(ways[:, 0], ways[:, 1])
        azimuth = math.degrees(math.atan2(lengths @ np.sin(angles), lengths @ np.cos(angles))) / 2 % 180
        first = np.lexsort((middles[:, 0], middles[:, 1]))[0]
        name = f"{identity}:{int(middles[first, 1])}:{int(middles[first, 0])}:crack"
        left, top, right, bottom = line.bounds
        yield Crack(
            crack_id=hashlib.sha256(name.encode()).hexdigest()[:16],
            length_m=round(float(lengths.sum()), 3) if grid.placed else None,
            width_m=round(width, 4) if grid.placed else None,
            greatest_width_m=round(max(width, float(middles[:, 2].max())), 4) if grid.placed else None,
            azimuth_deg=round(azimuth, 1) % 180 if grid.placed else None,
            mean_probability=round(steps / STEPS, 4),
            touches_edge=min(left, top) < 1 or right > grid.width - 1 or bottom > grid.height - 1,
            geometry={"type": "LineString", "coordinates": np.round(lonlat.coords, DECIMALS).tolist()},
            line=line,
            middles=middles,
        )


CRACK: Final = "crack"  # the class, where a model knows several
GEOPACKAGE_COLUMNS: Final[dict[str, str]] = {
    **dict.fromkeys(("crack_id", "change"), "TEXT"),
    **dict.fromkeys(("length_m", "width_m", "greatest_width_m", "azimuth_deg", "mean_probability"), "REAL"),
    **dict.fromkeys(("grown_m", "grown_error_m", "wider_m", "wider_error_m"), "REAL"),
    "touches_edge": "BOOLEAN",
    **{name: OUTLINE_COLUMNS[name] for name in SHARED_KEYS},
}


def outline_cracks(found: SceneDetection) -> list[Crack]:
    """Find the cracks of a scene on its kept probabilities; raises ImageryError: they are gone."""
    path, least = Path(found["outputs"]["prob"]), threshold_steps(found["threshold"])
    unplaced = Grid(Affine.identity(), "", found["width"], found["height"])
    grid = unplaced if found["crs"] == unplaced.crs_name else read_grid(path)
    band = 1 + (found["classes"].index(CRACK) if CRACK in found["classes"] else 0)
    with ByteRaster(path, grid).reading() as read:
        identity = f"{found['scene_hash']}:{found['model_hash']}"
        return find_cracks(lambda *box: read(*box, band), grid, least, identity)


def write_cracks(rows: Sequence[Mapping[str, object]], found: SceneDetection, out_dir: Path) -> dict[str, str]:
    """Write cracks (`Crack.to_json`, with their change) as `cracks.geojson` and `cracks.gpkg`, as the formats ask."""
    shared: dict[str, Any] = {key: found[key] for key in SHARED_KEYS}
    paths = {kind: out_dir / f"cracks.{kind}" for kind in found["formats"]}
    if "geojson" in paths:
        properties = [{key: value for key, value in row.items() if key != "geometry"} for row in rows]
        features = [
            {"type": "Feature", "id": row["crack_id"], "geometry": row["geometry"], "properties": {**own, **shared}}
            for row, own in zip(rows, properties, strict=True)
        ]
        write_json(paths["geojson"], {"type": "FeatureCollection", "features": features})
    if "gpkg" in paths:
        with replacing(paths["gpkg"]) as partial:
            write_geopackage(
                partial,
                [{**row, **shared, "touches_edge": int(bool(row["touches_edge"]))} for row in rows],
                GEOPACKAGE_COLUMNS,
                table="cracks",
                changed_at=datetime.fromisoformat(found["acquired_at"]),
                placed=found["crs"] != "pixels",
                kind="LINESTRING",
                description="Probable cracks found on one scene",
            )
    return {kind: str(path) for kind, path in paths.items()}
