"""Draw a scene at its own resolution, and its probabilities, as tiles of web maps."""

import io
import logging
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from PIL import Image
from pmtiles.tile import zxy_to_tileid
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.warp import reproject, transform
from rasterio.windows import Window

from detection.imagery.errors import ImageryError, NoValidPixelsError, TruncatedRasterError
from detection.imagery.footprints.outputs import make_files
from detection.imagery.footprints.polygons import STEPS
from detection.imagery.footprints.preview import measure_stretch, show_bands
from detection.imagery.footprints.records import SceneFilesRequest, note_failure
from detection.imagery.raster.components import NODATA
from detection.imagery.raster.grid import Grid, apply_affine
from detection.imagery.raster.local_grid import placing
from detection.imagery.raster.raster import grid_of
from detection.imagery.raster.untrusted import NO_LIMITS, open_raster
from detection.imagery.scene.reader import BandReader, ReaderOptions, read_block
from detection.imagery.scene.scene import read_scene
from detection.imagery.tiles.archive import ArchiveFacts, write_archive
from detection.imagery.tiles.records import RAMP, SCENE_FILES, SHOWN_FROM, SceneTilesRequest, Tiles
from detection.imagery.tiles.web_grid import (
    OFF_GRID,
    SIDE_PX,
    WEB,
    WebMapExtent,
    choose_zooms,
    find_extent,
    span_tiles,
    transform_of_tile,
)
from detection.reasons import Reason, explain_error, explain_file

log = logging.getLogger(__name__)

FINEST_ZOOM: Final = 21
# Additional coarser zooms, at which the scene is smaller than the view. They are needed on telephones, for example.
ZOOMS_BELOW_VIEW: Final = 3
TILES_MOST: Final = 4096  # tiles of the highest zoom: a gigapixel
# The window of a tile in the scene is found by this many points on each side of the tile.
POINTS_PER_SIDE: Final = 21
WINDOW_MARGIN_PX: Final = 3
WEBP_QUALITY: Final = 80
# Colour of each stored step. Five steps share a colour, so that the tiles compress well.
_SHARES: Final = np.minimum(np.arange(256) // 5 * 5 / STEPS, 1.0)
_RAMP: Final = [np.interp(_SHARES, np.linspace(0, 1, len(RAMP)), band) for band in zip(*RAMP, strict=True)]
_STEP_COLOURS: Final = np.stack([*_RAMP, np.where(_SHARES >= SHOWN_FROM, 255, 0)], axis=1).astype(np.uint8)

Tile = NDArray[np.uint8]  # bands x 512 x 512
Draw = Callable[[int, int, int], Tile | None]
"""Returns the tile at a zoom, column and row, or None if it is empty."""
Read = Callable[[int, int, int, int], NDArray[np.uint8]]
"""Reads a window (column, row, width, height) as bands x height x width, with 0 for nodata."""


@dataclass(frozen=True, slots=True)
class TileEncoding:
    """File format of tiles, and how tiles are reduced and encoded."""

    kind: str  # kind of the files, see `archive.KINDS`
    fold: Callable[[Tile], Tile]  # returns a tile at half its size, for the next coarser zoom
    encode: Callable[[Tile], bytes | None]  # returns the content of a file, or None if the tile shows nothing


@dataclass(slots=True)
class _Pyramid:
    """Tiles while they are drawn: encoded tiles in a file, and tiles of coarser zooms that are not complete."""

    encoding: TileEncoding
    lowest_zoom: int
    data: IO[bytes]  # contents of the encoded tiles, in the order in which they were drawn
    positions: dict[int, tuple[int, int]] = field(default_factory=dict)  # tile number -> offset and length in `data`
    incomplete: dict[tuple[int, int], dict[int, Tile]] = field(default_factory=dict)  # zoom, row -> column -> tile

    def add(self, zoom: int, column: int, row: int, tile: Tile) -> None:
        """Store a tile, and draw it into the tile of the next coarser zoom."""
        content = self.encoding.encode(tile)
        if content is not None:
            self.positions[zxy_to_tileid(zoom, column, row)] = (self.data.tell(), len(content))
            self.data.write(content)
        if zoom == self.lowest_zoom:
            return
        half = SIDE_PX // 2
        coarser_row = self.incomplete.setdefault((zoom - 1, row // 2), {})
        if column // 2 not in coarser_row:
            coarser_row[column // 2] = np.zeros_like(tile)
        top, left = row % 2 * half, column % 2 * half
        coarser_row[column // 2][:, top : top + half, left : left + half] = self.encoding.fold(tile)

    def end_row(self, zoom: int, row: int, last: int) -> None:
        """Add the coarser tiles that are complete once all tiles of a row are added; `last` is the last row."""
        if zoom == self.lowest_zoom or not (row % 2 or row == last):
            return
        for column, tile in sorted(self.incomplete.pop((zoom - 1, row // 2), {}).items()):
            self.add(zoom - 1, column, row // 2, tile)
        self.end_row(zoom - 1, row // 2, last // 2)

    def read(self) -> Iterator[tuple[int, bytes]]:
        """Yield number and content of each tile, by number."""
        for number, (offset, length) in sorted(self.positions.items()):
            self.data.seek(offset)
            yield number, self.data.read(length)


def write_pyramid(
    out: Path,
    extent: WebMapExtent,
    zooms: tuple[int, int],
    draw: Draw,
    encoding: TileEncoding,
    metadata: Mapping[str, Any],
) -> Tiles:
    """Draw the tiles of the highest zoom, reduce them to those of the other zooms, and write all into one file.

    Args:
        zooms: lowest and highest zoom.
        draw: draws the tiles of the highest zoom; it is called row by row from west to east.
    """
    lowest_zoom, highest = zooms
    columns, rows = span_tiles(highest, extent)
    with tempfile.TemporaryFile(dir=out.parent) as data:
        pyramid = _Pyramid(encoding, lowest_zoom, data)
        for row in rows:
            for column in columns:
                if (tile := draw(highest, column, row)) is not None:
                    pyramid.add(highest, column, row, tile)
            pyramid.end_row(highest, row, rows[-1])
        facts = ArchiveFacts(encoding.kind, extent.lonlat, metadata=metadata)
        tiles = write_archive(out, pyramid.read(), facts)
    return Tiles(tiles, encoding.kind, zooms, extent.lonlat)


def make_tiles(request: SceneTilesRequest) -> Tiles:
    """Make the tiles of a scene and of its probabilities; a worker calls this.

    Files of the scene that were left for later (see `outputs.write_first`) are made first, so that these need no
    worker of their own.

    Returns:
        The tiles. Their error is the reason why none were made.
    """
    made = make_files(
        SceneFilesRequest(request.out_dir, request.scene, request.acquired_at, request.into, request.affine)
    )
    if made.error:
        log.warning("%s: files are not made: %s", request.out_dir, made.error)
        with suppress(OSError):  # on a full disk the job tries again later
            note_failure(request.out_dir, made.error)
    local = {"into": request.into, "affine": request.affine} if request.into else None
    try:
        with placing(local):
            probability = request.out_dir / SCENE_FILES["probability"]
            if request.prob is None:
                probability.unlink(missing_ok=True)
            else:
                draw_probability(request.prob, probability)
            return draw_scene(request)
    except (ImageryError, OSError) as error:
        return Tiles(error=explain_error(error))


def draw_scene(request: SceneTilesRequest) -> Tiles:
    """Write the tiles of a scene, in colours or grey, stretched like its preview, with transparent nodata.

    Clouds and shadows are shown, so that people can see why no landslides were found there.

    Raises:
        NoCrsError: the scene has no place on the grid of web maps.
        NoValidPixelsError: the scene has no valid pixel.
        TruncatedRasterError: a block of the scene cannot be read.
    """
    scene = read_scene(request.scene, request.acquired_at)
    names = show_bands(scene)
    with BandReader(scene.locate_bands(names), options=ReaderOptions(limits=NO_LIMITS)) as reader:
        stretch = measure_stretch(scene, reader.grid)
        lows = np.array([low for low, _ in stretch], np.float32)[:, None, None]
        steps = np.array([254 / max(high - low, 1e-9) for low, high in stretch], np.float32)[:, None, None]

        def read(column: int, row: int, width: int, height: int) -> NDArray[np.uint8]:
            values, valid = reader.read(column, row, width, height)
            shown = np.clip((values - lows) * steps, 0, 254).astype(np.uint8) + np.uint8(1)  # 0 stands for nodata
            return np.where(valid, shown, np.uint8(0))

        facts = {"name": "scene", "type": "overlay", "bands": names, "stretch": [list(pair) for pair in stretch]}
        encoding = TileEncoding("webp", _fold_picture, _encode_picture)
        tiles = _write_tiles(read, reader.grid, request.scene, request.out_dir / SCENE_FILES["scene"], encoding, facts)
        if not tiles.tiles:
            raise NoValidPixelsError(explain_file(request.scene, Reason("tiles.empty")))
        return tiles


def draw_probability(prob: Path, out: Path) -> Tiles:
    """Write the tiles of stored probabilities. Of several classes, the highest probability is shown.

    A pixel of a coarser tile is the maximum of four pixels, so that small landslides stay visible.
    """
    with open_raster(prob, NO_LIMITS) as raster:

        def read(column: int, row: int, width: int, height: int) -> NDArray[np.uint8]:
            window = Window(column, row, width, height)  # type: ignore[call-arg,unused-ignore]
            bands = [read_block(raster.read, index, window, prob) for index in raster.indexes]
            return np.asarray(np.where(np.stack(bands) == NODATA, 0, np.stack(bands)).max(axis=0)[None], np.uint8)

        facts = {"name": "probability", "type": "overlay", "steps_per_unit": STEPS}
        encoding = TileEncoding("webp", lambda tile: np.asarray(np.maximum.reduce(_quarter(tile))), _encode_probability)
        return _write_tiles(read, grid_of(raster, prob), prob, out, encoding, facts)


def _write_tiles(read: Read, grid: Grid, path: Path, out: Path, encoding: TileEncoding, facts: dict[str, Any]) -> Tiles:
    """Write the tiles of a raster that `read` reads; `path` names the raster in errors."""
    extent = find_extent(grid, path)
    zooms = choose_zooms(extent, TILES_MOST, finest=FINEST_ZOOM, around=ZOOMS_BELOW_VIEW)

    def draw(zoom: int, column: int, row: int) -> Tile | None:
        """Return a tile, bands x 512 x 512; None if the raster is empty there."""
        frame = transform_of_tile(zoom, column, row)
        window = _find_window(grid, frame)
        pixels = None if window is None else read(*window)
        if window is None or pixels is None or not pixels.any():
            return None
        tile = np.zeros((len(pixels), SIDE_PX, SIDE_PX), np.uint8)
        try:
            reproject(
                pixels,
                tile,
                src_transform=grid.transform_at(window[0], window[1]),
                src_crs=grid.crs_wkt,
                src_nodata=0,
                dst_transform=frame,
                dst_crs=WEB,
                dst_nodata=0,
                resampling=Resampling.average if frame.a > 2 * extent.step_m else Resampling.bilinear,
            )
        except RasterioError:
            raise TruncatedRasterError(explain_file(path, OFF_GRID)) from None
        return tile if tile.any() else None

    return write_pyramid(out, extent, zooms, draw, encoding, facts)


def _find_window(grid: Grid, frame: Affine) -> tuple[int, int, int, int] | None:
    """Return column, row, width and height of the pixels that a tile shows. Return None if it shows none.

    The window is found by points along the four sides of the tile.
    """
    along = np.linspace(0, SIDE_PX, POINTS_PER_SIDE)
    near, far = np.zeros(POINTS_PER_SIDE), np.full(POINTS_PER_SIDE, SIDE_PX)
    x, y = apply_affine(frame, np.concatenate([along, along, near, far]), np.concatenate([near, far, along, along]))
    try:
        crs_x, crs_y, *_ = transform(WEB, grid.crs_wkt, x.tolist(), y.tolist())
    except RasterioError:
        return None
    columns, rows = apply_affine(~grid.transform, np.asarray(crs_x), np.asarray(crs_y))
    if not (np.isfinite(columns).all() and np.isfinite(rows).all()):
        return None
    left, top = max(0, int(columns.min()) - WINDOW_MARGIN_PX), max(0, int(rows.min()) - WINDOW_MARGIN_PX)
    right = min(grid.width, int(columns.max()) + 1 + WINDOW_MARGIN_PX)
    bottom = min(grid.height, int(rows.max()) + 1 + WINDOW_MARGIN_PX)
    return (left, top, right - left, bottom - top) if left < right and top < bottom else None


def _quarter(tile: Tile) -> list[Tile]:
    return [tile[:, down::2, right::2] for down in (0, 1) for right in (0, 1)]


def _fold_picture(tile: Tile) -> Tile:
    """Return a tile at half its size: means of the valid pixels of each square of four."""
    sums = np.zeros((len(tile), SIDE_PX // 2, SIDE_PX // 2), np.uint16)
    counts = np.zeros_like(sums)
    for part in _quarter(tile):
        sums += part
        counts += part > 0
    return np.asarray(sums // np.maximum(counts, 1), np.uint8)


def _encode_picture(tile: Tile) -> bytes | None:
    colours = tile if len(tile) == 3 else np.repeat(tile, 3, axis=0)
    alpha = np.where(tile.any(axis=0), np.uint8(255), np.uint8(0))  # nodata is transparent
    picture, content = Image.fromarray(np.dstack([*colours, alpha]), "RGBA"), io.BytesIO()
    (picture.convert("RGB") if tile.all() else picture).save(content, "webp", quality=WEBP_QUALITY, method=1)
    return content.getvalue()


def _encode_probability(tile: Tile) -> bytes | None:
    """Encode a tile in the colours of `RAMP`; probabilities below `SHOWN_FROM` are transparent."""
    steps = tile[0]
    if not (steps >= SHOWN_FROM * STEPS).any():
        return None
    content = io.BytesIO()
    Image.fromarray(_STEP_COLOURS[steps], "RGBA").save(content, "webp", lossless=True, quality=0, method=0, exact=False)
    return content.getvalue()
