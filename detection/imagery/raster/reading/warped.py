"""A raster on another grid, warped once into a file without a name, not anew for every window that is read."""

import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.dtypes import in_dtype_range
from rasterio.errors import RasterioError
from rasterio.vrt import WarpedVRT
from rasterio.warp import reproject

from detection.imagery.raster.grid import Grid
from detection.imagery.raster.raster import has_alpha, window_of
from detection.imagery.raster.tiling import cut

log = logging.getLogger(__name__)

# Pixels of a side that are warped at a time: whole blocks of the warper.
PIECE_PX: Final = 1024
# A warper holds all that lies below one of its blocks, two gigabytes for pixels a hundred times as wide. Where more
# than so many lie below a pixel it is asked for parts of a block that take so many MB.
MANY_BELOW: Final = 9
PART_MB: Final = 64
# What the files of one raster may take; a larger one is warped window by window. Of a disk that fills up no more than
# half of what is free.
KEPT_BYTES: Final = 4 << 30


@dataclass(frozen=True, slots=True)
class WarpStorage:
    """Where rasters on another grid are kept while a scene is read."""

    folder: Path  # on whose disk; the file has no name there, so it is gone with the process, however that ends
    progress: Callable[[float], None] = lambda _: None  # told the share of a raster that is warped


class WarpedOnce(ExitStack):
    """Bands of a warped raster and where they are valid, from a file that is filled at the first read.

    What is read is what the warper gives, pixel for pixel. Where a block of the raster cannot be read, or the disk has
    no room, each window is warped for itself.

    `keeping`: where they are kept.
    """

    def __init__(self, source: WarpedVRT, original: Any, indexes: Sequence[int], keeping: WarpStorage) -> None:
        super().__init__()
        self._source, self._original, self._indexes, self._keeping = source, original, list(indexes), keeping
        self.width, self.height, self.count = source.width, source.height, source.count
        self.dtypes, self.block_shapes = source.dtypes, source.block_shapes
        types = [np.dtype(source.dtypes[index - 1]) for index in self._indexes]
        masks = [np.dtype(np.uint8)] * (1 if has_added_alpha(source) else len(types))
        self._types = [*types, *masks]
        sizes = [one.itemsize * self.width * self.height for one in self._types]
        self._starts = [sum(sizes[:place]) for place in range(len(sizes))]
        self._bytes = sum(sizes)
        self._file: BinaryIO | None = None
        self._tried = False

    def read(self, index: int, window: Any) -> NDArray[Any]:
        """Read a window of a band."""
        if self._fill():
            return self._take(self._indexes.index(index), window)
        return np.asarray(self._source.read(index, window=window))

    def read_valid(self, index: int, window: Any) -> NDArray[np.bool_]:
        """Where a band says something in a window."""
        if self._fill():
            place = len(self._indexes) + (0 if has_added_alpha(self._source) else self._indexes.index(index))
            return np.asarray(self._take(place, window) > 0)
        return read_warped_valid(self._source, index, window)

    def _fill(self) -> bool:
        """Warp all of it, once; whether it is kept."""
        if not self._tried:
            self._tried = True
            try:
                if self._bytes <= min(KEPT_BYTES, shutil.disk_usage(self._keeping.folder).free // 2):
                    file = tempfile.TemporaryFile(dir=self._keeping.folder)  # noqa: SIM115 (it is entered)
                    self._file = self.enter_context(file)
                    self._warp(self._file)
            except (OSError, RasterioError) as error:
                log.info("warped window by window: %s", error)
                self._file = None
        return self._file is not None

    def _warp(self, file: BinaryIO) -> None:
        """Fill the file, piece by piece; memory is bounded however many pixels lie below one of the grid."""
        pieces = list(cut(self.width, self.height, PIECE_PX, 0))
        for number, piece in enumerate(pieces, start=1):
            column, row = piece.own_column, piece.own_row
            for place, plane in enumerate(self._warp_piece(column, row, piece.own_width, piece.own_height)):
                for line, values in enumerate(np.ascontiguousarray(plane), start=row):
                    _write_all(file.fileno(), values, self._offset(place, line, column))
            self._keeping.progress(number / len(pieces))

    def _warp_piece(self, column: int, row: int, width: int, height: int) -> list[NDArray[Any]]:
        """The bands of a window, and where they are valid."""
        source, original = self._source, self._original
        window, alpha, empty = window_of(column, row, width, height), has_added_alpha(source), source.src_nodata
        bands = list(range(1, original.count + 1 - has_alpha(original)))  # all: of some, the warper mixes up the alpha
        kind = {original.dtypes[index - 1] for index in bands}
        many = original.width * original.height > MANY_BELOW * self.width * self.height
        if not many or len(kind) > 1 or not (alpha or in_dtype_range(empty, *kind)):
            valid = [source.count] if alpha else self._indexes
            masks = [read_warped_valid(source, index, window).view(np.uint8) for index in valid]
            return [*source.read(self._indexes, window=window), *masks]
        warped = np.full((len(bands) + alpha, height, width), 0 if alpha else empty, *kind)
        reproject(
            rasterio.band(original, bands),
            warped,
            src_nodata=empty,
            dst_nodata=empty,
            src_alpha=original.count if has_alpha(original) else 0,
            dst_alpha=len(bands) + 1 if alpha else 0,
            dst_transform=Grid(source.transform, "", self.width, self.height).moved(column, row),
            dst_crs=source.crs,
            resampling=source.resampling,
            warp_mem_limit=PART_MB,
        )
        found = warped[[index - 1 for index in self._indexes]]
        known = warped[-1:] > 0 if alpha else ~(np.isnan(found) if np.isnan(empty) else found == empty)
        return [*found, *known.view(np.uint8)]

    def _offset(self, place: int, row: int, column: int) -> int:
        return int(self._starts[place] + (row * self.width + column) * self._types[place].itemsize)

    def _take(self, place: int, window: Any) -> NDArray[Any]:
        assert self._file is not None
        column, row, width, height = (int(n) for n in (window.col_off, window.row_off, window.width, window.height))
        values = np.empty((height, width), self._types[place])
        for number, line in enumerate(values, start=row):
            if os.preadv(self._file.fileno(), [line.view(np.uint8)], self._offset(place, number, column)) < line.nbytes:
                raise RasterioError("what was warped cannot be read back")
        return values


def has_added_alpha(source: WarpedVRT) -> bool:
    """Whether an alpha band says where a warped raster is valid: its source has no value that means nothing."""
    return source.src_nodata is None


def read_warped_valid(source: WarpedVRT, index: int, window: Any) -> NDArray[np.bool_]:
    """Where a band of a warped raster says something."""
    if has_added_alpha(source):
        # The alpha that the warp adds says where the file reaches; the mask flags claim that all is valid.
        return np.asarray(source.read(source.count, window=window) > 0)
    return np.asarray(source.read_masks(index, window=window) > 0)


def _write_all(file: int, values: NDArray[Any], offset: int) -> None:
    left = memoryview(values.view(np.uint8))  # type: ignore[arg-type,unused-ignore]
    while left:
        written = os.pwrite(file, left, offset)
        left, offset = left[written:], offset + written
