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
from detection.imagery.raster.tiling import compute_blend_weights, cut_tiles
from detection.imagery.scene.optional_reader import OptionalBandReader
from detection.imagery.scene.radiometry import RadiometricStretch
from detection.imagery.scene.reader import BandReader
from detection.imagery.scene.resized import Pixels, resample
from detection.imagery.weights_file import ModelCard

# Rows that are read at once for a network that maps rows. These are more than the network needs above a row, or below
# it, and a part of a block in most files; GDAL caches the rest of the block.
PART_ROWS: Final = 128
# A network maps at most this many columns at once, so that memory does not grow with the width of a scene.
COLUMNS: Final = 2048
TILE_PX: Final = 512  # side of the part of an exact tile whose probabilities are used
# Bands of terrain that are directions. If the image is rotated, their values would have to change as well.
DIRECTION_BANDS: Final = frozenset({"aspect", "northness", "eastness"})
# A scene with at most this many pixels is mapped twice, the second time moved by half a pooling cell. With few
# outlines, their position relative to these cells changes the total area by 5 to 10 %. With many outlines it averages
# out: from 640 x 640 px on, a second pass changes nothing that can be measured (Hokkaido 2018).
MAPPED_TWICE_PX: Final = 1 << 18
# Side of the training patches if a card does not state it.
PATCH_PX = 128
# The flip rate is measured in a square with this side, in the middle of the scene.
FLIP_SIDE_PX = 2048
# Side of the windows in which probabilities are resampled from the grid of the network to that of the scene.
RESAMPLED_WINDOW_PX = 512

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
        """Map parts of a scene, each directly below the one before.

        The classifier may read further parts before it yields the map of an earlier one.
        """


@dataclass(frozen=True, slots=True)
class TilingPlan:
    """How a scene is cut into parts that a network maps one after the other."""

    # `rows`: the network maps rows as they are read (exact); `crop`: the middle of each tile is used (exact); `hann`:
    # tiles of the size of the training patches overlap by half and are weighted by a Hann window
    blend: str
    tile: int  # columns mapped at once (`rows`), side of the used middle (`crop`) or of the whole tile (`hann`)
    halo: int  # pixels read around the used middle (`crop`) or beside the columns (`rows`); 0 for `hann`
    stride: int  # the origins of all parts are multiples of it

    def count(self, width: int, height: int) -> int:
        """Return into how many tiles a scene is cut."""
        if self.blend != "hann":
            return -(-width // self.tile) * (1 if self.blend == "rows" else -(-height // self.tile))
        return len(tile_origins(0, width, self.tile, 0)) * len(tile_origins(0, height, self.tile, 0))

    def maps_twice(self, grid: Grid) -> bool:
        """Return whether a scene is so small that it is mapped twice; a blend maps each pixel several times anyway."""
        return self.blend != "hann" and self.stride > 1 and grid.width * grid.height <= MAPPED_TWICE_PX


class EightViews:
    """A classifier that maps each tile in its eight flips and rotations and returns the mean probabilities.

    A network is trained on landslides of any direction, but its probabilities still depend a little on how the image is
    rotated. The mean over all eight views does not: if the image is rotated, the map is rotated and does not change.
    """

    def __init__(self, classifier: Classifier, stride: int) -> None:
        """Wrap a classifier.

        Args:
            classifier: maps one view.
            stride: factor of the deepest down-sampling of its network. Tiles are padded to a multiple of it, so that
                the pooling cells cover the same pixels in every view and in every tile of a scene.
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
    """Return how a scene is cut for a network: into rows, else into exact tiles with a halo, else into blended tiles.

    The registry states which of these a network allows. With quality `best` a scene is always cut into tiles, because
    rows that are read one after the other cannot be rotated.

    Args:
        card: card of the model; `tile_px` is the side of the training patches.
        entry: the network in the registry.
        tile: side of the tiles in pixels; None: the default of the plan.
        halo: pixels read around a tile; None: the receptive field of the network.
        quality: see `DetectionOptions`.

    Raises ModelError: `tile` has no side that the network can blend, or `best` would rotate bands that are directions.
    """
    if quality == "best" and DIRECTION_BANDS & {*card["bands"], *list_optional_bands(card)}:
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
    """Return the names of the classes from 1 on; class 0 is the background.

    Raises ModelError: the card does not name one class for each output of the network.
    """
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
    if run.plan.blend == "crop":
        return _map_tiles(run, write, progress)
    grid = run.reader.grid
    valid_px = 0
    written_px = 0
    whole = 0, 0, grid.width, grid.height
    for block in map_rows(run) if run.plan.blend == "rows" else map_blended(run, whole):
        write(*block)
        valid_px += int(np.count_nonzero(block.steps[0] != NODATA))
        written_px += block.steps[0].size
        progress(written_px / (grid.width * grid.height))
    return valid_px


def _map_tiles(run: MappingRun, write: Write, progress: Progress) -> int:
    """Write the probabilities of exact tiles and return how many pixels are valid."""
    valid_px = 0
    grid, plan = run.reader.grid, run.plan
    again = plan.maps_twice(grid)
    tiles = list(cut_tiles(grid.width, grid.height, plan.tile, plan.halo, plan.stride))
    for number, tile in enumerate(tiles, start=1):
        values, valid = run.reader.read(tile.read_column, tile.read_row, tile.read_width, tile.read_height)
        owned = valid[tile.crop]
        steps = np.full((run.classes, *owned.shape), NODATA, np.uint8)
        if owned.any():
            origin = tile.read_column, tile.read_row
            values, valid, used = _stretch(run.stretch, values, valid, *origin, may_overwrite=True)
            values = _add_optional(run.optional, values, *origin)
            owned = used[tile.crop]
            probabilities = run.segmenter.class_probabilities(values, valid, again=again)
            steps = _to_steps(probabilities[(slice(None), *tile.crop)], owned)
            valid_px += int(np.count_nonzero(owned))
        write(steps, tile.own_column, tile.own_row)
        progress(number / len(tiles))
    return valid_px


class StepBlock(NamedTuple):
    """Probability steps, classes x H x W, whose first pixel is (column, row) of the scene."""

    steps: NDArray[np.uint8]
    column: int
    row: int


class Strip(NamedTuple):
    """Counts and valid pixels of some rows of a scene. The arrays also contain further rows above and below these."""

    row: int  # first row of the strip, without the further rows
    height: int  # rows of the strip, without the further rows
    values: NDArray[np.float32]
    valid: NDArray[np.bool_]
    rows_above: int  # how many of the further rows are above the strip

    @property
    def own_rows(self) -> slice:
        """Position in the arrays of the rows of the strip, without the further rows."""
        return slice(self.rows_above, self.rows_above + self.height)


def map_rows(run: MappingRun) -> Iterator[StepBlock]:
    """Yield the map of a scene strip by strip, by a network that maps rows.

    A strip is not mapped if neither it nor a strip next to it has a valid pixel.
    """
    reader, plan, stretch = run.reader, run.plan, run.stretch
    for columns in cut_tiles(reader.grid.width, 1, plan.tile, plan.halo, plan.stride):
        left, own_columns = columns.read_column, columns.crop[1]
        all_strips = _read_strips(reader, stretch.cloud_margin_px, left, columns.read_width)
        for has_valid, group in groupby(_flag_near_valid(all_strips), key=lambda pair: pair[1]):
            strips = (strip for strip, _ in group)
            if has_valid:
                mapped = _map_strips(run, strips, left, again=plan.maps_twice(reader.grid))
            else:
                mapped = ((strip, np.full((run.classes, *strip.valid.shape), NODATA, np.uint8)) for strip in strips)
            for strip, steps in mapped:
                yield StepBlock(steps[:, : strip.height, own_columns], columns.own_column, strip.row)


def _read_strips(reader: BandReader, around: int, left: int, width: int) -> Iterator[Strip]:
    """Read strips of `PART_ROWS` rows, each with up to `around` further rows above and below it."""
    scene_height = reader.grid.height
    for row in range(0, scene_height, PART_ROWS):
        height = min(PART_ROWS, scene_height - row)
        above = min(around, row)
        below = min(around, scene_height - row - height)
        values, valid = reader.read(left, row - above, width, above + height + below)
        yield Strip(row, height, values, valid, above)


def _flag_near_valid(strips: Iterable[Strip]) -> Iterator[tuple[Strip, bool]]:
    """Yield each strip, and whether it or the strip above or below it has a valid pixel."""
    previous: Strip | None = None  # it is yielded when the strip below it is known
    is_previous_valid = False
    is_valid_above = False  # of the strip above `previous`
    for strip in strips:
        is_valid = bool(strip.valid.any())
        if previous is not None:
            yield previous, is_valid_above or is_previous_valid or is_valid
        is_valid_above = is_previous_valid
        previous = strip
        is_previous_valid = is_valid
    if previous is not None:
        yield previous, is_valid_above or is_previous_valid


def _map_strips(
    run: MappingRun, strips: Iterable[Strip], left: int, *, again: bool
) -> Iterator[tuple[Strip, NDArray[np.uint8]]]:
    # Strips that the network reads before it yields their maps, each with the pixels whose probabilities are used.
    prepared: deque[tuple[Strip, NDArray[np.bool_]]] = deque()

    def prepare() -> Iterator[tuple[NDArray[np.float32], NDArray[np.bool_]]]:
        for strip in strips:
            own_rows = strip.own_rows
            values, valid, used = _stretch(
                run.stretch, strip.values, strip.valid, left, strip.row - strip.rows_above, may_overwrite=True
            )
            # Without its counts, so that their memory is released.
            prepared.append((strip._replace(values=values[:0, :0].copy()), used[own_rows]))
            yield _add_optional(run.optional, values[:, own_rows], left, strip.row), valid[own_rows]

    for probabilities in run.segmenter.stream(prepare(), again=again):
        strip, used = prepared.popleft()
        yield strip, _to_steps(probabilities, used)


def map_blended(run: MappingRun, region: tuple[int, int, int, int], shift: int = 0) -> Iterator["StepBlock"]:
    """Yield the steps of a region from top to bottom, from tiles that overlap by half.

    Memory is bounded by two rows of tiles.

    Args:
        run: the run.
        region: left, top, width and height.
        shift: pixels by which all tiles are moved to the left and up.
    """
    left, top, width, height = region
    grid, tile = run.reader.grid, run.plan.tile
    half, blend_weights = tile // 2, compute_blend_weights(tile)
    # Buffers of one row of tiles, over the width of the region.
    sums = np.zeros((run.classes, tile, width), np.float32)
    weights, used_here = np.zeros((tile, width), np.float32), np.zeros((tile, width), bool)
    row_origins = tile_origins(top, height, tile, shift)
    for row_origin in row_origins:
        for column_origin in tile_origins(left, width, tile, shift):
            # The part of the tile inside of the scene.
            column, row = max(0, column_origin), max(0, row_origin)
            tile_width = min(grid.width, column_origin + tile) - column
            tile_height = min(grid.height, row_origin + tile) - row
            values, valid = run.reader.read(column, row, tile_width, tile_height)
            if not valid.any():
                continue
            values, valid, used = _stretch(run.stretch, values, valid, column, row)
            values = _add_optional(run.optional, values, column, row)
            # The columns of the tile inside of the region.
            first, last = max(column, left), min(column + tile_width, left + width)
            inner = slice(first - column, last - column)
            rows = slice(row - row_origin, row - row_origin + tile_height)
            columns = slice(first - left, last - left)
            used_here[rows, columns] |= used[:, inner]
            weight = blend_weights[rows, first - column_origin : last - column_origin]
            sums[:, rows, columns] += run.segmenter.class_probabilities(values, valid)[:, :, inner] * weight
            weights[rows, columns] += weight
        # The next row of tiles adds nothing to the upper half of this one.
        first_row, last_row = max(row_origin, top), min(row_origin + half, top + height)
        if row_origin == row_origins[-1]:
            last_row = top + height
        ready = slice(first_row - row_origin, last_row - row_origin)
        if last_row > first_row:
            probabilities = sums[:, ready] / np.maximum(weights[ready], 1e-12)
            yield StepBlock(_to_steps(probabilities, used_here[ready]), left, first_row)
        for buffer in (weights, used_here, *sums):
            buffer[:half] = buffer[half:]
            buffer[half:] = 0


def measure_flips(run: MappingRun, read: Any, least: int) -> tuple[float, int]:
    """Compare the middle of a blended map with a second map whose tiles are shifted.

    Args:
        run: the run that wrote the map.
        read: reads the map: column, row, width, height.
        least: smallest step that counts as landslide.

    Returns:
        The share of the compared pixels that are landslide on one map only, and the number of compared pixels.
    """
    grid = run.reader.grid
    width, height = min(grid.width, FLIP_SIDE_PX), min(grid.height, FLIP_SIDE_PX)
    left, top = (grid.width - width) // 2, (grid.height - height) // 2
    region = left, top, width, height
    flips = pixels = 0
    for steps, _, row in map_blended(run, region, run.plan.tile // 4):
        mapped = read(left, row, width, steps.shape[1])
        both = (mapped != NODATA) & (steps[0] != NODATA)
        flips += int(np.count_nonzero(((mapped >= least) != (steps[0] >= least)) & both))
        pixels += int(np.count_nonzero(both))
    return round(flips / pixels, 6) if pixels else 0.0, pixels


def resample_to_scene(mapped: ByteRaster, steps: ByteRaster, reader: BandReader) -> int:
    """Resample probabilities from the grid of the network to that of the scene; return how many pixels are valid.

    Args:
        mapped: raster of steps of 1/200 on the grid of the network, which is read.
        steps: raster of steps on the grid of the scene, which is written.
        reader: the scene; pixels that are not valid become nodata.
    """
    grid, pixels = reader.grid, 0
    with mapped.reading() as read, steps.writing() as write:

        def read_steps(*window: int) -> Pixels:
            bands = np.stack([read(*window, band) for band in range(1, mapped.count + 1)])
            return bands.astype(np.float32), bands[0] != NODATA

        for tile in cut_tiles(grid.width, grid.height, RESAMPLED_WINDOW_PX, 0):
            window = tile.own_column, tile.own_row, tile.own_width, tile.own_height
            values, valid = resample(read_steps, mapped.grid, grid, window)
            valid &= reader.read(*window)[1]
            write(np.where(valid, np.rint(values).clip(0, STEPS), NODATA).astype(np.uint8), *window[:2])
            pixels += int(np.count_nonzero(valid))
    return pixels


def tile_origins(start: int, length: int, tile: int, shift: int) -> list[int]:
    """Return the origins of the tiles over `start` to `start + length`, half a tile apart and moved by `-shift`.

    The first tile contains `start`.
    """
    half = tile // 2
    first = (start + shift) // half * half - shift
    # Two tiles cover each pixel: also the tile before contains `start`, unless it would begin before the scene.
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
    may_overwrite: bool = False,
) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.bool_]]:
    """Convert the counts of a part whose first pixel is (column, row) of the scene.

    Args:
        may_overwrite: the caller does not need the counts any more, so their memory may be reused.

    Returns:
        Model values; where they are valid and plausible; where the probabilities of the network are used.
    """
    stretched = stretch.apply(values, column, row, may_overwrite=may_overwrite)
    plausible = stretch.find_plausible(stretched)
    if plausible is not None:
        valid = valid & plausible
    clouds = stretch.find_clouds(stretched, values, column, row)
    return stretched, valid, valid if clouds is None else valid & ~clouds


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
