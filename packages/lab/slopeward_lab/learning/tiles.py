"""Tiles cut from scenes with what people said of their ground: 1 landslide, 0 none, 255 not known."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.features import rasterize
from scipy import ndimage

from detection.imagery.data.patches import IGNORED, list_starts
from detection.imagery.errors import ImageryError
from detection.imagery.raster.grid import Grid, apply_affine, from_lonlat
from detection.imagery.raster.raster import write_geotiff
from detection.imagery.scene.reader import BandReader, open_scene
from detection.imagery.scene.scene import Scene
from slopeward_lab.learning.records import (
    LANDSLIDE,
    NOT_LANDSLIDE,
    NOTHING,
    GroundLabel,
    LearningError,
    Report,
    SceneWindow,
)
from slopeward_lab.learning.scenes import BYTES_MOST, UNKNOWN, ReadableScenes

RING_PX: Final = 4  # around an outline, where people said of a few places what they are
LEAST_KNOWN_PX: Final = 64
MOST_TILES: Final = 1_500
LEAST_HOLDING: Final = 1 / 3  # of the tiles that are drawn: landslides are few, and what was outlined is to be learnt
MOST_OTHERS: Final = 3_000


@dataclass(frozen=True, slots=True)
class LabelledTile:
    """A tile that was written: images/NAME.tif, masks/NAME.tif."""

    name: str
    window: SceneWindow
    landslide_px: int
    known_px: int


@dataclass(frozen=True, slots=True)
class LabelledTiles:
    """All tiles of a set of scenes."""

    tiles: tuple[LabelledTile, ...]  # of which something is known
    others: tuple[SceneWindow, ...]  # of which nothing is
    notes: tuple[str, ...]  # what was left out, and why


class _Outlines:
    def __init__(self, shapes: list[Any], kinds: list[str]) -> None:
        self._shapes, self._kinds = shapes, kinds
        self._tree = shapely.STRtree(shapes)

    def near(self, window: SceneWindow) -> list[tuple[Any, str]]:
        """Those that reach into the frame of a tile."""
        column, row, side = window.column, window.row, window.side_px
        frame = shapely.box(column, row, column + side, row + side)
        return [(self._shapes[k], self._kinds[k]) for k in self._tree.query(frame)]


@dataclass(frozen=True, slots=True)
class _Surveyed:
    scene: Scene
    outlines: _Outlines
    windows: tuple[SceneWindow, ...]


@dataclass(slots=True)
class _Survey:
    places: list[_Surveyed]
    others: list[SceneWindow]
    days: list[set[date]]
    unread: list[str]

    def refuse(self, error: ImageryError, notes: list[str]) -> None:
        """Note a scene that cannot be read."""
        self.unread.append(str(error))
        notes.append(f"left out: {error}")


Place = tuple[int, int]
"""Number of a scene, and of a window among those of the scene that something is known of."""


def cut_tiles(
    readable: ReadableScenes,
    labels: Sequence[GroundLabel],
    folder: Path,
    side_px: int,
    *,
    around: bool,
    report: Report,
    seed: int = 0,
    most: int = MOST_TILES,
) -> LabelledTiles:
    """Write the tiles of which something is known below `folder`, and list the others.

    Where there are more than `most`, so many of them are drawn: evenly from the scenes, and from those with and without
    a landslide.

    Args:
        around: where nobody says what was looked at, it is the box around the outlines of a scene and a tile more.

    Raises:
        LearningError: no outline lies on a scene, or one class alone is known.
    """
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    notes = list[str]()
    survey = _survey(readable, labels, side_px, notes, around=around)
    order, holds = _draw_order(survey, seed, most)
    tiles, begun, failed = list[LabelledTile](), 0, set[int]()
    while begun < len(order) and len(tiles) < most:
        # what cannot be used (nodata, a torn scene) makes room for the next of the order
        drawn = order[begun : begun + most - len(tiles)]
        begun += len(drawn)
        for number, ones in groupby(sorted(drawn), key=lambda one: one[0]):
            if number in failed:
                continue
            place = survey.places[number]
            try:
                _cut_scene(place, [place.windows[k] for _, k in ones], readable, folder, tiles)
            except ImageryError as error:
                failed.add(number)
                survey.refuse(error, notes)
            if number % 20 == 19:
                report(f"{number + 1} of {len(readable.scenes)} scenes, {len(tiles)} labelled tiles")
    if begun < len(order) and holds is not None:
        notes.append(_describe_drawn(order, begun, holds, tiles))
    notes += _describe_doubts(readable, labels, survey.days)
    _check(tiles, labels, survey.unread, readable)
    others = survey.others
    return LabelledTiles(tuple(tiles), tuple(others[:: max(1, -(-len(others) // MOST_OTHERS))]), tuple(notes))


def _survey(
    readable: ReadableScenes, labels: Sequence[GroundLabel], side_px: int, notes: list[str], *, around: bool
) -> _Survey:
    shapes = np.array([label.shape for label in labels], object)
    survey = _Survey([], [], [set() for _ in labels], [])
    for scene in readable.scenes:
        try:
            with open_scene(scene, readable.bands) as reader:
                grid = reader.grid
        except ImageryError as error:
            survey.refuse(error, notes)
            continue
        found = _place(scene, grid, labels, shapes, survey.days, side_px if around else 0)
        near = list[SceneWindow]()
        for window in _list_windows(scene, grid, side_px):
            (near if found.near(window) else survey.others).append(window)
        survey.places.append(_Surveyed(scene, found, tuple(near)))
    return survey


def _draw_order(survey: _Survey, seed: int, most: int) -> tuple[list[Place], dict[Place, bool] | None]:
    """The windows to cut, the first `most` first; where they are more, whether each of them holds a landslide.

    Of those with a landslide as many as their share is, `LEAST_HOLDING` at least where there are so many; within both
    kinds the scenes take turns, and within a scene chance decides.
    """
    every = [(number, k) for number, one in enumerate(survey.places) for k in range(len(one.windows))]
    if len(every) <= most:
        return every, None
    holds = dict[Place, bool]()
    for number, k in every:
        place = survey.places[number]
        window = place.windows[k]
        mask = paint(place.outlines.near(window), (window.column, window.row), window.side_px)
        if (mask != IGNORED).sum() >= LEAST_KNOWN_PX:
            holds[number, k] = bool((mask == 1).any())
    if len(holds) <= most:
        return list(holds), None
    rng = np.random.default_rng(seed)
    kinds = {kind: _take_turns([place for place in holds if holds[place] is kind], rng) for kind in (True, False)}
    share = max(sum(holds.values()) / len(holds), LEAST_HOLDING)
    first = min(len(kinds[True]), max(round(share * most), most - len(kinds[False])))
    head = kinds[True][:first] + kinds[False][: most - first]
    rest = kinds[True][first:] + kinds[False][most - first :]
    return head + [rest[k] for k in rng.permutation(len(rest))], holds


def _take_turns(places: list[Place], rng: np.random.Generator) -> list[Place]:
    turns, ranked = dict[int, int](), []
    for k in rng.permutation(len(places)):
        number = places[k][0]
        turns[number] = turns.get(number, 0) + 1
        ranked.append((turns[number], places[k]))
    return [place for _, place in sorted(ranked, key=lambda one: one[0])]


def _cut_scene(
    place: _Surveyed, windows: Sequence[SceneWindow], readable: ReadableScenes, folder: Path, tiles: list[LabelledTile]
) -> None:
    begun = len(tiles)
    try:
        with open_scene(place.scene, readable.bands) as reader:
            for window in windows:
                number = f"{len(tiles):05d}"
                counts_px = _cut(reader, window, place.outlines, readable, folder, number, place.scene)
                if counts_px is not None:
                    tiles.append(LabelledTile(_name(number, place.scene), window, *counts_px))
    except ImageryError:
        for tile in tiles[begun:]:
            for kind in ("images", "masks"):
                (folder / kind / f"{tile.name}.tif").unlink()
        del tiles[begun:]
        raise


def _describe_drawn(order: list[Place], begun: int, holds: dict[Place, bool], tiles: Sequence[LabelledTile]) -> str:
    used, left = len(tiles), len(order) - begun
    used_with, left_with = sum(tile.landslide_px > 0 for tile in tiles), sum(holds[place] for place in order[begun:])
    images, every = len({tile.window.scene for tile in tiles}), len({number for number, _ in order})
    without, left_without = used - used_with, left - left_with
    return (
        f"{used:,} of {used + left:,} labelled tiles are used, drawn from {images:,} of {every:,} scenes: "
        f"{used_with:,} of {used_with + left_with:,} with a landslide, {without:,} of {without + left_without:,} "
        f"without; {left:,} are left out"
    )


def _describe_doubts(readable: ReadableScenes, labels: Sequence[GroundLabel], days: Sequence[set[date]]) -> list[str]:
    notes = []
    if several := sum(
        len(own) > 1 and not label.since and label.kind != NOTHING for label, own in zip(labels, days, strict=True)
    ):
        notes.append(
            f"{several} of {len(labels)} outlines lie on scenes of several days and count on all of them: where a "
            "landslide is younger than a scene, say since when it is there (--since)"
        )
    undated = sum(scene.acquired_at == UNKNOWN for scene in readable.scenes)
    if undated and any(label.since for label in labels):
        notes.append(f"{undated} scenes do not say their day: outlines with one do not count on them")
    if missed := sum(not own for own in days):
        notes.append(f"{missed} of {len(labels)} outlines lie on no scene")
    return notes


def _check(
    tiles: list[LabelledTile], labels: Sequence[GroundLabel], unread: Sequence[str], readable: ReadableScenes
) -> None:
    if not tiles:
        raise LearningError(
            next(iter(unread), "")
            or f"none of the {len(labels)} outlines lies on one of the "
            f"{len(readable.scenes)} scenes: check the coordinate system of both"
        )
    landslide = sum(tile.landslide_px for tile in tiles)
    if landslide == 0:
        raise LearningError("no pixel lies in an outline of a landslide: nothing can be learnt from one class")
    if landslide == sum(tile.known_px for tile in tiles):
        raise LearningError("all that is known is landslide: outline ground that was looked at too (kind nothing)")


def _place(
    scene: Scene, grid: Grid, labels: Sequence[GroundLabel], shapes: NDArray[Any], days: list[set[date]], around_px: int
) -> _Outlines:
    """The labels that speak of a scene, in its pixels; its day is noted for them.

    Where nobody says what was looked at, it is the box around them and `around_px` more; none where that is 0.
    """
    own = np.array(
        [
            (not label.scene or Path(label.scene) == scene.path)
            and (label.since is None or scene.acquired_at >= label.since)
            for label in labels
        ],
        bool,
    )

    def move(x: NDArray[Any], y: NDArray[Any]) -> tuple[Any, Any]:
        return apply_affine(~grid.transform, *map(np.asarray, from_lonlat(grid, x, y)))

    lonlat = _frame(grid, 0, 0, grid.width, grid.height)
    bounds = shapely.bounds(shapes)
    near = own & (bounds[:, 0] <= lonlat[2]) & (bounds[:, 2] >= lonlat[0])
    near &= (bounds[:, 1] <= lonlat[3]) & (bounds[:, 3] >= lonlat[1])
    moved = np.asarray(shapely.transform(shapes[near], move, interleaved=False))  # type: ignore[arg-type]
    box = shapely.bounds(moved)
    here = np.isfinite(box).all(axis=1)
    here &= (box[:, 0] < grid.width) & (box[:, 2] > 0) & (box[:, 1] < grid.height) & (box[:, 3] > 0)
    places = np.flatnonzero(near)[here]
    for place in places:
        days[place].add(scene.acquired_at.date())
    kinds = [labels[int(place)].kind for place in places]
    found = list(moved[here])
    if around_px and found and NOTHING not in kinds:
        left, top, right, bottom = shapely.total_bounds(np.array(found, object))
        found.append(shapely.box(left - around_px, top - around_px, right + around_px, bottom + around_px))
        kinds.append(NOTHING)
    return _Outlines(found, kinds)


def _list_windows(scene: Scene, grid: Grid, side: int) -> Iterator[SceneWindow]:
    for row in list_starts(grid.height, side):
        for column in list_starts(grid.width, side):
            yield SceneWindow(scene.path, column, row, side, _frame(grid, column, row, side, side))


def _frame(grid: Grid, column: int, row: int, width: int, height: int) -> tuple[float, float, float, float]:
    columns, rows = np.array([0, 1, 1, 0]) * width + column, np.array([0, 0, 1, 1]) * height + row
    lon, lat = grid.to_lonlat(*grid.to_crs(columns, rows))
    return float(lon.min()), float(lat.min()), float(lon.max()), float(lat.max())


def _name(number: str, scene: Scene) -> str:
    return number if scene.acquired_at == UNKNOWN else f"{number}_{scene.acquired_at:%Y%m%d}"


def _cut(
    reader: BandReader,
    window: SceneWindow,
    found: _Outlines,
    readable: ReadableScenes,
    folder: Path,
    number: str,
    scene: Scene,
) -> tuple[int, int] | None:
    column, row, side = window.column, window.row, window.side_px
    mask = paint(found.near(window), (column, row), side)
    size = min(side, reader.grid.width - column), min(side, reader.grid.height - row)
    values, valid = reader.read(column, row, *size)
    whole = np.zeros((side, side), bool)
    whole[: size[1], : size[0]] = valid
    mask[~whole] = IGNORED
    known = int((mask != IGNORED).sum())
    if known < LEAST_KNOWN_PX:
        return None
    image = np.zeros((len(readable.bands), side, side), np.float32)
    image[:, : size[1], : size[0]] = values
    image[:, ~whole] = values[:, valid].mean(axis=1)[:, None]  # as a network sees what it does not know
    is_picture = readable.scale == 1 / BYTES_MOST
    grid = Grid(reader.grid.transform_at(column, row), reader.grid.crs_wkt, side, side)
    name = _name(number, scene)
    # The recipe converts the numbers of tiles and scenes by the same scale.
    tile = np.rint(image).astype(np.uint8) if is_picture else image
    write_geotiff(folder / "images" / f"{name}.tif", tile, grid, descriptions=readable.bands)
    write_geotiff(folder / "masks" / f"{name}.tif", mask[None], grid)
    return int((mask == 1).sum()), known


def paint(outlines: list[tuple[Any, str]], corner: tuple[int, int], side: int) -> NDArray[np.uint8]:
    """Mask of a window, from (outline in pixels of the scene, kind); what crosses itself is filled by even and odd.

    Around an outline a ring counts as what the outline says it is not.
    """
    truth = _fill([one for one, kind in outlines if kind == LANDSLIDE], corner, side)
    outlined = truth | _fill([one for one, kind in outlines if kind == NOT_LANDSLIDE], corner, side)
    looked = _fill([one for one, kind in outlines if kind == NOTHING], corner, side)
    mask = np.full(truth.shape, IGNORED, np.uint8)
    mask[looked | ndimage.binary_dilation(outlined, iterations=RING_PX)] = 0
    mask[truth] = 1
    return mask


def _fill(shapes: list[Any], corner: tuple[int, int], side: int) -> NDArray[np.bool_]:
    if not shapes:
        return np.zeros((side, side), bool)
    return np.asarray(rasterize(shapes, (side, side), transform=Affine.translation(*corner), dtype="uint8") == 1)
