"""Map a scene to probabilities: in rows, in exact tiles, or in blended tiles."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from detection.imagery.errors import ModelError
from detection.imagery.footprints.options import Quality
from detection.imagery.footprints.polygons import STEPS
from detection.imagery.optional_bands import list_optional_bands
from detection.imagery.raster.components import NODATA
from detection.imagery.raster.grid import Grid
from detection.imagery.raster.raster import ByteRaster
from detection.imagery.raster.tiling import compute_blend_weights, cut
from detection.imagery.scene.optional_reader import OptionalBandReader
from detection.imagery.scene.radiometry import RadiometricStretch
from detection.imagery.scene.reader import BandReader
from detection.imagery.scene.resized import Pixels, resample
from detection.imagery.weights_file import ModelCard

# Rows that are read at once for a network that maps rows: more than it sees above and below, and half a block of most
# files; GDAL caches the other half.
PART_ROWS: Final = 128
# A network maps at most this many columns at once, so that memory does not grow with the width of a scene.
COLUMNS: Final = 2048
TILE_PX: Final = 512  # owned side of exact tiles
# Bands of terrain that are directions: rotating the image would have to change their values.
DIRECTIONS: Final = frozenset({"aspect", "northness", "eastness"})
# A scene with at most this many pixels is mapped twice, the second time moved by half a cell of the poolings. With few
# outlines the position of their pixels in these cells would change the whole area by 5 to 10 %; with many outlines it
# averages out.
LOOKED_AT_TWICE_PX: Final = 1 << 20
# Side of the training patches if a card does not state it.
PATCH_PX = 128
# The flip rate is measured in a square with this side, in the middle of the scene.
FLIP_SIDE_PX = 2048
# Side of the windows in which probabilities on other pixels are resampled to those of the scene.
BACK_PX = 512

Write = Callable[[NDArray[np.uint8], int, int], None]
Progress = Callable[[float], None]


class Classifier(Protocol):
    """Interface of classes that map tiles to probabilities, such as `neural.inference.Segmenter`."""

    def class_probabilities(
        self, tile: NDArray[np.float32], valid: NDArray[np.bool_], *, again: bool = False
    ) -> NDArray[np.float32]:
        """Map bands x H x W to classes x H x W.

        Args:
            tile: model values.
            valid: H x W, where they are valid.
            again: return the mean of two maps; the poolings of the second one are moved by half a cell.
        """

    def stream(
        self, parts: Iterable[tuple[NDArray[np.float32], NDArray[np.bool_]]], *, again: bool = False
    ) -> Iterator[NDArray[np.float32]]:
        """Map parts of a scene, each below the one before. A part may be needed before an earlier one is mapped."""


@dataclass(frozen=True, slots=True)
class TilingPlan:
    """How a scene is cut into parts that a network maps one after the other."""

    # `rows`: the network maps rows as they are read (exact); `crop`: the middle of each tile is used (exact); `hann`:
    # tiles of the size of the training patches overlap by half and are faded by a Hann window
    blend: str
    tile: int  # columns at once (`rows`), side of the used middle (`crop`) or of the whole tile (`hann`)
    halo: int  # pixels read around the used middle (`crop`) or beside the columns (`rows`); 0 for `hann`
    stride: int  # all origins are multiples of it

    def count(self, width: int, height: int) -> int:
        """Return how many tiles a scene has."""
        if self.blend != "hann":
            return -(-width // self.tile) * (1 if self.blend == "rows" else -(-height // self.tile))
        return len(tile_origins(0, width, self.tile, 0)) * len(tile_origins(0, height, self.tile, 0))

    def looks_again(self, grid: Grid) -> bool:
        """Return whether a scene is so small that it is mapped twice; a blend maps each pixel several times anyway."""
        return self.blend != "hann" and self.stride > 1 and grid.width * grid.height <= LOOKED_AT_TWICE_PX


class EightViews:
    """A classifier that maps each tile in its eight flips and rotations and returns the mean probabilities.

    A network learns landslides of any direction, but its answer still depends a little on how the image is turned. The
    mean of all eight views does not: turning the image turns the map.
    """

    def __init__(self, classifier: Classifier, stride: int) -> None:
        """Wrap a classifier.

        Args:
            classifier: maps one view.
            stride: deepest down-sampling of its network. Tiles are padded to a multiple of it, so that the cells of the
                poolings cover the same pixels in every view and in every tile of a scene.
        """
        self._classifier = classifier
        self._stride = stride

    def class_probabilities(
        self, tile: NDArray[np.float32], valid: NDArray[np.bool_], *, again: bool = False
    ) -> NDArray[np.float32]:
        """Map bands x H x W to the mean of eight maps, classes x H x W."""
        height, width = valid.shape
        padding = ((0, -height % self._stride), (0, -width % self._stride))
        tile = np.pad(tile, ((0, 0), *padding))
        valid = np.pad(valid, padding)
        total: NDArray[np.float32] | None = None
        for turns in range(4):
            for is_flipped in (False, True):
                view = _turn(tile, turns, is_flipped=is_flipped)
                view_valid = _turn(valid, turns, is_flipped=is_flipped)
                mapped = self._classifier.class_probabilities(view, view_valid, again=again)
                turned_back = _turn_back(mapped, turns, is_flipped=is_flipped)
                total = turned_back if total is None else total + turned_back
        assert total is not None
        return total[:, :height, :width] / np.float32(8)

    def stream(
        self, parts: Iterable[tuple[NDArray[np.float32], NDArray[np.bool_]]], *, again: bool = False
    ) -> Iterator[NDArray[np.float32]]:
        """Map each part as a tile by itself."""
        return (self.class_probabilities(*part, again=again) for part in parts)


def _turn(values: NDArray[Any], turns: int, *, is_flipped: bool) -> NDArray[Any]:
    """Rotate an array by quarter turns in its last two axes, after flipping its columns if `is_flipped`."""
    return np.ascontiguousarray(np.rot90(values[..., ::-1] if is_flipped else values, turns, axes=(-2, -1)))


def _turn_back(values: NDArray[Any], turns: int, *, is_flipped: bool) -> NDArray[Any]:
    """Undo `_turn`."""
    values = np.rot90(values, -turns, axes=(-2, -1))
    return np.ascontiguousarray(values[..., ::-1] if is_flipped else values)


def make_plan(
    card: ModelCard, entry: Any, tile: int | None, halo: int | None, quality: Quality = "standard"
) -> TilingPlan:
    """Return the plan of a network: in rows, else exact tiles with a halo where there is such a thing, else a blend.

    With quality `best` a scene is cut into tiles, because rows that come one after the other cannot be rotated.

    Args:
        card: card of the model; `tile_px` is the side of the training patches.
        entry: the network in the registry.
        tile: side of the tiles, pixels; None: by the plan.
        halo: pixels read around a tile; None: as far as the network sees.
        quality: see `DetectionOptions`.

    Raises ModelError: the tile does not suit the network, or bands that are directions cannot be rotated.
    """
    if quality == "best" and DIRECTIONS & {*card["bands"], *list_optional_bands(card)}:
        raise ModelError(f"{card['name']}: quality best rotates the image, which bands of directions do not allow")
    if entry.streams and tile is None and halo is None and quality == "standard":
        return TilingPlan("rows", COLUMNS, entry.halo_px, entry.stride)
    if entry.tile_exact:
        return TilingPlan("crop", tile or TILE_PX, entry.halo_px if halo is None else halo, entry.stride)
    patch = int(card.get("tile_px", PATCH_PX))
    plan = TilingPlan("hann", tile or -(-patch // (4 * entry.stride)) * 4 * entry.stride, 0, entry.stride)
    if plan.tile % (4 * entry.stride):
        raise ModelError(f"{card['name']}: the tile of a blend must be a multiple of {4 * entry.stride}")
    return plan


def name_classes(card: ModelCard) -> tuple[str, ...]:
    """Return the names of the classes from 1 on."""
    names = tuple(card.get("classes", ("landslide",)))
    if len(names) != int(card["network"]["classes"]) - 1 or len(names) > 250:
        raise ModelError(f"{card['name']}: {len(names)} class names for {card['network']['classes']} outputs")
    return names


@dataclass(frozen=True, slots=True)
class MappingRun:
    """Everything that the map of a scene depends on."""

    reader: BandReader
    segmenter: Classifier
    stretch: RadiometricStretch  # counts to model values
    plan: TilingPlan
    classes: int  # how many maps the network returns
    optional: OptionalBandReader | None = None  # None: the network has no optional bands, or all of them are masked


def map_scene(run: MappingRun, write: Write, progress: Progress) -> int:
    """Write the probabilities of a scene in steps of 1/200 and return how many pixels are valid."""
    pixels = 0
    grid, plan = run.reader.grid, run.plan
    again = plan.looks_again(grid)
    if plan.blend != "crop":
        whole = 0, 0, grid.width, grid.height
        done = 0
        for part in draw_rows(run) if plan.blend == "rows" else blend(run, whole):
            write(*part)
            pixels += int(np.count_nonzero(part.steps[0] != NODATA))
            done += part.steps[0].size
            progress(done / (grid.width * grid.height))
        return pixels
    tiles = list(cut(grid.width, grid.height, plan.tile, plan.halo, plan.stride))
    for number, tile in enumerate(tiles, start=1):
        values, valid = run.reader.read(tile.read_column, tile.read_row, tile.read_width, tile.read_height)
        owned = valid[tile.crop]
        steps = np.full((run.classes, *owned.shape), NODATA, np.uint8)
        if owned.any():
            origin = tile.read_column, tile.read_row
            values, valid, shown = _stretch(run.stretch, values, valid, *origin, own=True)
            values = _add_optional(run.optional, values, *origin)
            owned = shown[tile.crop]
            found = run.segmenter.class_probabilities(values, valid, again=again)[(slice(None), *tile.crop)]
            steps = _to_steps(found, owned)
            pixels += int(np.count_nonzero(owned))
        write(steps, tile.own_column, tile.own_row)
        progress(number / len(tiles))
    return pixels


class StepBlock(NamedTuple):
    """Probability steps, classes x H x W, whose first pixel is (column, row) of the scene."""

    steps: NDArray[np.uint8]
    column: int
    row: int


class Strip(NamedTuple):
    """Rows that were read: counts and valid pixels, with `above` further rows above them and some below them."""

    row: int
    height: int
    values: NDArray[np.float32]
    valid: NDArray[np.bool_]
    above: int

    @property
    def own(self) -> slice:
        """Return the rows of the strip without the further ones."""
        return slice(self.above, self.above + self.height)


def draw_rows(run: MappingRun) -> Iterator[StepBlock]:
    """Yield the map of a scene part by part, by a network that maps rows.

    Parts without a valid pixel in them or beside them are not mapped.
    """
    reader, plan, stretch = run.reader, run.plan, run.stretch
    for columns in cut(reader.grid.width, 1, plan.tile, plan.halo, plan.stride):
        left, own = columns.read_column, columns.crop[1]
        read = _read_strips(reader, stretch.around_px, left, columns.read_width)
        for is_seen, group in groupby(_flag_near_valid(read), key=lambda pair: pair[1]):
            strips = (strip for strip, _ in group)
            if is_seen:
                drawn = _draw_run(run, strips, left, again=plan.looks_again(reader.grid))
            else:
                drawn = ((strip, np.full((run.classes, *strip.valid.shape), NODATA, np.uint8)) for strip in strips)
            for strip, steps in drawn:
                yield StepBlock(steps[:, : strip.height, own], columns.own_column, strip.row)


def _read_strips(reader: BandReader, around: int, left: int, width: int) -> Iterator[Strip]:
    """Read parts of `PART_ROWS`, each with rows around it as far as the scene has them."""
    height = reader.grid.height
    for row in range(0, height, PART_ROWS):
        above, own = min(around, row), min(PART_ROWS, height - row)
        below = min(around, height - row - own)
        yield Strip(row, own, *reader.read(left, row - above, width, above + own + below), above)


def _flag_near_valid(strips: Iterable[Strip]) -> Iterator[tuple[Strip, bool]]:
    """Yield each strip, and whether it or a strip beside it has a valid pixel."""
    before, waiting = False, None
    for strip in strips:
        here = bool(strip.valid.any())
        if waiting is not None:
            yield waiting[0], before or waiting[1] or here
            before = waiting[1]
        waiting = strip, here
    if waiting is not None:
        yield waiting[0], before or waiting[1]


def _draw_run(
    run: MappingRun, strips: Iterable[Strip], left: int, *, again: bool
) -> Iterator[tuple[Strip, NDArray[np.uint8]]]:
    shown: deque[tuple[Strip, NDArray[np.bool_]]] = deque()

    def prepare() -> Iterator[tuple[NDArray[np.float32], NDArray[np.bool_]]]:
        for strip in strips:
            values, valid, kept = _stretch(
                run.stretch, strip.values, strip.valid, left, strip.row - strip.above, own=True
            )
            shown.append((strip._replace(values=values[:0, :0].copy()), kept[strip.own]))  # the counts may go
            yield _add_optional(run.optional, values[:, strip.own], left, strip.row), valid[strip.own]

    for found in run.segmenter.stream(prepare(), again=again):
        strip, kept = shown.popleft()
        yield strip, _to_steps(found, kept)


def blend(run: MappingRun, region: tuple[int, int, int, int], shift: int = 0) -> Iterator["StepBlock"]:
    """Yield the steps of a region row by row, from tiles that overlap by half.

    Memory is bounded by two rows of tiles.
    """
    left, top, width, height = region
    grid, tile = run.reader.grid, run.plan.tile
    half, fade = tile // 2, compute_blend_weights(tile)
    sums = np.zeros((run.classes, tile, width), np.float32)
    weights, valid_here = np.zeros((tile, width), np.float32), np.zeros((tile, width), bool)
    origins = tile_origins(top, height, tile, shift)
    for origin in origins:
        for start in tile_origins(left, width, tile, shift):
            column, row = max(0, start), max(0, origin)
            wide, high = min(grid.width, start + tile) - column, min(grid.height, origin + tile) - row
            values, valid = run.reader.read(column, row, wide, high)
            if not valid.any():
                continue
            values, valid, shown = _stretch(run.stretch, values, valid, column, row)
            values = _add_optional(run.optional, values, column, row)
            first, last = max(column, left), min(column + wide, left + width)
            inner = slice(first - column, last - column)
            rows, columns = slice(row - origin, row - origin + high), slice(first - left, last - left)
            valid_here[rows, columns] |= shown[:, inner]
            weight = fade[rows, first - start : last - start]
            sums[:, rows, columns] += run.segmenter.class_probabilities(values, valid)[:, :, inner] * weight
            weights[rows, columns] += weight
        first_row, last_row = max(origin, top), min(origin + half, top + height)
        if origin == origins[-1]:
            last_row = top + height
        ready = slice(first_row - origin, last_row - origin)
        if last_row > first_row:
            share = sums[:, ready] / np.maximum(weights[ready], 1e-12)
            yield StepBlock(_to_steps(share, valid_here[ready]), left, first_row)
        for buffer in (weights, valid_here, *sums):
            buffer[:half] = buffer[half:]
            buffer[half:] = 0


def measure_flips(run: MappingRun, read: Any, least: int) -> tuple[float, int]:
    """Compare a blended map with a second one of shifted tiles.

    Args:
        run: the run that wrote the map.
        read: reads the map: column, row, width, height.
        least: smallest step that counts as landslide.

    Returns:
        The share of pixels that are landslide on one map only, and how many pixels of the middle of the scene were
        compared.
    """
    grid = run.reader.grid
    width, height = min(grid.width, FLIP_SIDE_PX), min(grid.height, FLIP_SIDE_PX)
    left, top = (grid.width - width) // 2, (grid.height - height) // 2
    region = left, top, width, height
    flips = pixels = 0
    for steps, _, row in blend(run, region, run.plan.tile // 4):
        mapped = read(left, row, width, steps.shape[1])
        both = (mapped != NODATA) & (steps[0] != NODATA)
        flips += int(np.count_nonzero(((mapped >= least) != (steps[0] >= least)) & both))
        pixels += int(np.count_nonzero(both))
    return round(flips / pixels, 6) if pixels else 0.0, pixels


def bring_back(drawn: ByteRaster, steps: ByteRaster, reader: BandReader) -> int:
    """Resample probabilities from the grid of the network to that of the scene; return how many pixels are valid.

    Args:
        drawn: steps of 1/200 on the grid of the network.
        steps: raster on the grid of the scene, which is written.
        reader: the scene; pixels that are not valid become nodata.
    """
    grid, pixels = reader.grid, 0
    with drawn.reading() as read, steps.writing() as write:

        def read_steps(*window: int) -> Pixels:
            bands = np.stack([read(*window, band) for band in range(1, drawn.count + 1)])
            return bands.astype(np.float32), bands[0] != NODATA

        for tile in cut(grid.width, grid.height, BACK_PX, 0):
            window = tile.own_column, tile.own_row, tile.own_width, tile.own_height
            values, valid = resample(read_steps, drawn.grid, grid, window)
            valid &= reader.read(*window)[1]
            write(np.where(valid, np.rint(values).clip(0, STEPS), NODATA).astype(np.uint8), *window[:2])
            pixels += int(np.count_nonzero(valid))
    return pixels


def tile_origins(start: int, length: int, tile: int, shift: int) -> list[int]:
    """Return the origins of the tiles over start..start+length, half a tile apart and moved by `shift`.

    The first tile contains `start`.
    """
    half = tile // 2
    first = (start + shift) // half * half - shift
    # Two tiles lie over each place: the one before also reaches it, unless it would begin before the scene does.
    if first - half >= -shift:
        first -= half
    count = max(1, -(-(start + length - first - half) // half))
    return [first + number * half for number in range(count)]


def _stretch(
    stretch: RadiometricStretch,
    values: NDArray[np.float32],
    valid: NDArray[np.bool_],
    column: int,
    row: int,
    *,
    own: bool = False,
) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.bool_]]:
    """Return model values, where they are plausible, and where the probabilities of the network are used.

    Args:
        own: the caller does not need the counts any more, so their memory may be reused.
    """
    counts, values = values, stretch.apply(values, column, row, own=own)
    plausible = stretch.find_plausible(values)
    valid = valid if plausible is None else valid & plausible
    clouds = stretch.find_clouds(values, counts, column, row)
    return values, valid, valid if clouds is None else valid & ~clouds


def _add_optional(
    reader: OptionalBandReader | None, values: NDArray[np.float32], column: int, row: int
) -> NDArray[np.float32]:
    """Add the channels of optional bands behind the bands of a part whose first pixel is (column, row)."""
    if reader is None:
        return values
    height, width = values.shape[1:]
    return np.concatenate([values, reader.read(column, row, width, height)])


def _to_steps(probabilities: NDArray[np.floating], valid: NDArray[np.bool_]) -> NDArray[np.uint8]:
    steps: NDArray[np.uint8] = np.rint(probabilities * np.float32(STEPS)).astype(np.uint8)
    steps[:, ~valid] = NODATA
    return steps
