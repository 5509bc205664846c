"""Rasters that run from south to north or from east to west, read as if they ran as images do."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from detection.imagery.raster.integrity import Checker


class TurnedSource:
    """An open raster whose rows, columns or both run the other way; windows and arrays are those of the turned grid."""

    def __init__(self, original: Any, *, rows: bool, columns: bool) -> None:
        self.original = original
        self._rows, self._columns = rows, columns

    def __getattr__(self, name: str) -> Any:
        return getattr(self.original, name)

    def turn(self, column: int, row: int, width: int, height: int) -> tuple[int, int, int, int]:
        """The same window as the file counts it: column, row, width, height."""
        if self._columns:
            column = self.original.width - column - width
        if self._rows:
            row = self.original.height - row - height
        return column, row, width, height

    def read(self, index: int, window: Any) -> NDArray[Any]:
        """Read a window of a band."""
        return self._take(self.original.read, index, window)

    def read_masks(self, index: int, window: Any) -> NDArray[Any]:
        """Read a window of a band's mask."""
        return self._take(self.original.read_masks, index, window)

    def _take(self, method: Any, index: int, window: Any) -> NDArray[Any]:
        bounds = (int(value) for value in (window.col_off, window.row_off, window.width, window.height))
        values = method(index, window=Window(*self.turn(*bounds)))  # type: ignore[arg-type,unused-ignore]
        turned = values[:: -1 if self._rows else 1, :: -1 if self._columns else 1]
        return np.ascontiguousarray(turned)


class TurnedChecker:
    """Proves the blocks of a turned raster, asked in windows of the turned grid."""

    def __init__(self, checker: Checker, source: TurnedSource) -> None:
        self._checker, self._source = checker, source

    def check(self, index: int, column: int, row: int, width: int, height: int) -> None:
        """See `integrity.Checker`."""
        self._checker.check(index, *self._source.turn(column, row, width, height))

    def check_all(self, index: int) -> None:
        """See `integrity.Checker`."""
        self._checker.check_all(index)


def turn_file(source: Any, checker: Checker) -> tuple[Any, Checker]:
    """An open raster and its checker, turned where its rows run up or its columns run to the left."""
    a, b, _, d, e = source.transform[:5]
    columns, rows = a < 0, e > 0
    if b or d or source.transform.is_identity or not (rows or columns):
        return source, checker
    turned = TurnedSource(source, rows=rows, columns=columns)
    return turned, TurnedChecker(checker, turned)
