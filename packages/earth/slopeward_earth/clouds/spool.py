"""Points sorted into squares on the disk, so that a cloud of any size is worked on in the memory of one square."""

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
import pyproj
from affine import Affine
from numpy.typing import NDArray

from detection.imagery.raster.areas import spacing_m
from detection.imagery.raster.grid import Grid
from slopeward_earth.clouds.header import CloudError, NoPlaceError, NoPointsError, read_header
from slopeward_earth.clouds.reader import GROUND, CloudPlace, read_parts, read_place

POINT: Final = np.dtype([("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("kind", "u1")])
POINTS_MOST: Final = 2_000_000_000
# Points that a square should hold, and may: of more only every n-th is used.
SQUARE_POINTS: Final = 400_000
SQUARE_MOST: Final = 4_000_000
SQUARE_CELLS: Final = (32, 1024)
CELLS_MOST: Final = 1_000_000_000
# Points around a square that lie in memory at once.
HALO_MOST: Final = 12_000_000
# A map whose metre differs by more from a metre on the ground makes every distance and volume wrong.
OFF_MOST: Final = 0.01
# A cloud with fewer points of class 2 than this share was not classified.
CLASSIFIED: Final = 0.01
Progress = Callable[[str, float], None]
"""Takes a stage and the share of it that is done."""
Points = NDArray[np.float64]
"""n x 3: columns and rows of the grid, fractional, and heights in metres."""


class Spool:
    """The points of one date on one grid.

    `side`: of a square, cells.
    """

    def __init__(self, folder: Path, grid: Grid, side: int) -> None:
        self.grid, self.side = grid, side
        self.folder = folder
        self._counts: dict[tuple[int, int], int] = {}
        self.points = self.ground = 0
        self.thinned: set[tuple[int, int]] = set()
        self.step_m = 0.0  # of the whole numbers that heights are stored in
        self.low_m = 0.0  # what heights are kept above, so that 32 bits tell 0.1 mm

    @property
    def is_classified(self) -> bool:
        """Whether somebody marked which points are ground."""
        return self.ground >= CLASSIFIED * self.points

    def add(self, columns: NDArray[np.float64], rows: NDArray[np.float64], z: Points, kind: NDArray[np.uint8]) -> None:
        """Sort points into their squares; those outside of the grid are left out."""
        inside = (columns >= 0) & (rows >= 0) & (columns < self.grid.width) & (rows < self.grid.height)
        columns, rows, z, kind = columns[inside], rows[inside], z[inside], kind[inside]
        if not len(z):
            return
        across, down = (columns // self.side).astype(np.int64), (rows // self.side).astype(np.int64)
        record = np.empty(len(z), POINT)
        record["x"], record["y"] = columns - across * self.side, rows - down * self.side
        record["z"], record["kind"] = z - self.low_m, kind
        key = down << 32 | across
        order = np.argsort(key, kind="stable")
        key, record = key[order], record[order]
        begins = np.flatnonzero(np.r_[True, key[1:] != key[:-1]])
        for begin, end in zip(begins, np.r_[begins[1:], len(key)], strict=True):
            square = int(key[begin] & 0xFFFFFFFF), int(key[begin] >> 32)
            with self._file(square).open("ab") as file:
                record[begin:end].tofile(file)
            self._counts[square] = self._counts.get(square, 0) + int(end - begin)
        self.points += len(record)
        self.ground += int(np.count_nonzero(kind == GROUND))

    def squares(self) -> list[tuple[int, int]]:
        """The squares with points (column, row), row by row."""
        return sorted(self._counts, key=lambda square: (square[1], square[0]))

    def read(self, square: tuple[int, int], halo: float) -> tuple[Points, NDArray[np.uint8]]:
        """Return the points of a square and around it, in columns and rows of the grid; and their classes.

        `halo`: how far around it, cells.

        Raises CloudError: more points than memory is taken for.
        """
        column, row = square
        reach = int(np.ceil(halo / self.side))
        most = sum(
            min(self._counts.get((across, down), 0), SQUARE_MOST)
            * self._share(across - column, halo)
            * self._share(down - row, halo)
            for down in range(row - reach, row + reach + 1)
            for across in range(column - reach, column + reach + 1)
        )
        if most > HALO_MOST:
            raise CloudError(
                f"about {most / 1e6:,.0f} million points lie within {halo:,.0f} cells of a square, at most "
                f"{HALO_MOST / 1e6:,.0f} are worked on at once: take smaller radii or depth, or thin the cloud"
            )
        parts, kinds = [], []
        for down in range(row - reach, row + reach + 1):
            for across in range(column - reach, column + reach + 1):
                count = self._counts.get((across, down), 0)
                if not count:
                    continue
                step = -(-count // SQUARE_MOST)
                if step > 1 and (across, down) == square:
                    self.thinned.add(square)
                stored = np.asarray(np.memmap(self._file((across, down)), POINT, "r"))[::step]
                points = np.column_stack([stored[axis].astype(np.float64) for axis in "xyz"])
                points += np.array([across * self.side, down * self.side, self.low_m])
                low, high = (np.array([column + by, row + by]) * self.side for by in (0, 1))
                low, high = low - halo, high + halo
                near = ((points[:, :2] >= low) & (points[:, :2] < high)).all(axis=1)
                parts.append(points[near])
                kinds.append(np.asarray(stored["kind"])[near])
        if not parts:
            return np.empty((0, 3)), np.empty(0, np.uint8)
        return np.concatenate(parts), np.concatenate(kinds)

    def _share(self, away: int, halo: float) -> float:
        """How much of a square so many squares away lies within the halo, along one axis."""
        return float(np.clip(halo / self.side - (abs(away) - 1), 0, 1)) if away else 1.0

    def _file(self, square: tuple[int, int]) -> Path:
        return self.folder / f"{square[0]}_{square[1]}"


def plan_grid(files: Sequence[Path], place: CloudPlace, cell_m: float) -> Grid:
    """Return the grid over some clouds, its corner at a whole number of cells: two dates then fit onto each other.

    Raises CloudError: more cells than can be worked on, or metres of the map are none on the ground.
    """
    if not 0 < cell_m < np.inf:
        raise CloudError(f"cells of {cell_m:g} m are not possible")
    step = cell_m / place.unit_m
    headers = [read_header(file) for file in files]
    left, bottom = (np.floor(min(h.low[axis] for h in headers) / step) for axis in (0, 1))
    right, top = (np.floor(max(h.high[axis] for h in headers) / step) + 1 for axis in (0, 1))
    width, height = int(right - left), int(top - bottom)
    if width * height > CELLS_MOST:
        raise CloudError(f"{files[0]}: {width:,} x {height:,} cells of {cell_m:g} m are too many; take larger ones")
    grid = Grid(Affine(step, 0, left * step, 0, -step, top * step), place.crs_wkt, width, height)
    check_metres(files[0], grid)
    return grid


def cell_of(grid: Grid) -> float:
    """The side of a cell of a projected grid, metres by its map."""
    return abs(float(grid.transform[0])) * float(grid.crs.axis_info[0].unit_conversion_factor)


def check_metres(path: Path, grid: Grid) -> None:
    """Refuse a map whose metres are none on the ground, such as Web Mercator; raises NoPlaceError."""
    cell_m = cell_of(grid)
    off = max((cell_m / side_m - 1 for side_m in spacing_m(grid, grid.width / 2, grid.height / 2)), key=abs)
    if not abs(off) <= OFF_MOST:
        raise NoPlaceError(
            f"{path}: a metre of {grid.crs_name} is {1 / (1 + off):.3f} m on the ground here: bring it into another "
            "system, such as UTM, first"
        )


def find_place(files: Sequence[Path], crs: str | None, height_unit: str | None) -> CloudPlace:
    """Return where the files of one date lie; raises NoPlaceError: not all in one system."""
    places = [read_place(file, crs, height_unit) for file in files]
    for file, place in zip(files, places, strict=True):
        if not pyproj.CRS(place.crs_wkt).equals(pyproj.CRS(places[0].crs_wkt), ignore_axis_order=True):
            raise NoPlaceError(f"{file}: in another coordinate reference system than {files[0]}")
    by_vertical = {place.vertical: (file, place) for file, place in zip(files, places, strict=True) if place.vertical}
    if len(by_vertical) > 1:
        (one, (first, _)), (other, (second, _)) = list(by_vertical.items())[:2]
        raise NoPlaceError(f"{second}: its heights are {other}, those of {first} are {one}")
    known = next((place for _, place in by_vertical.values()), places[0])
    return replace(places[0], vertical=known.vertical, vertical_wkt=known.vertical_wkt)


@contextmanager
def spooling(
    files: Sequence[Path],
    grid: Grid,
    parent: Path | None,
    crs: str | None,
    height_unit: str | None,
    progress: Progress = lambda *_: None,
) -> Iterator[Spool]:
    """Sort the points of some files into squares, in a hidden folder beside what is written; it is gone at the end.

    Where nothing is written (`parent` is None) it lies where temporary files of the system do.

    Raises CloudError: too many points, no room, or a damaged file.
    """
    headers = [read_header(file) for file in files]
    count = sum(header.points for header in headers)
    if count > POINTS_MOST:
        raise CloudError(f"{files[0]}: {count:,} points, the limit is {POINTS_MOST:,}; cut out the slope")
    parent = parent or Path(tempfile.gettempdir())
    parent.mkdir(parents=True, exist_ok=True)
    if (free := shutil.disk_usage(parent).free) < 1.1 * count * POINT.itemsize:
        raise CloudError(
            f"{parent}: {count * POINT.itemsize / 1e9:.1f} GB are needed for the points, {free / 1e9:.1f} are free"
        )
    with tempfile.TemporaryDirectory(prefix=".slopeward-points-", dir=parent, ignore_cleanup_errors=True) as folder:
        side = int(np.sqrt(SQUARE_POINTS * grid.width * grid.height / count))
        spool = Spool(Path(folder), grid, int(np.clip(side, *SQUARE_CELLS)))
        read = 0
        for file, header in zip(files, headers, strict=True):
            place = read_place(file, crs, height_unit)
            spool.step_m = max(spool.step_m, header.scale[2] * place.height_m)
            if file == files[0]:
                spool.low_m = header.low[2] * place.height_m
            a, _, left, _, e, top = grid.transform[:6]
            turn = None
            if not pyproj.CRS(place.crs_wkt).equals(grid.crs, ignore_axis_order=True):
                turn = pyproj.Transformer.from_crs(pyproj.CRS(place.crs_wkt), grid.crs, always_xy=True)
            for part in read_parts(file, place.height_m):
                x, y = (part.x, part.y) if turn is None else turn.transform(part.x, part.y)
                spool.add((np.asarray(x) - left) / a, (np.asarray(y) - top) / e, part.z, part.kind)
                read += part.read
                progress("points", read / count)
        if not spool.points:
            raise NoPointsError(f"{files[0]}: no point on the grid")
        yield spool
