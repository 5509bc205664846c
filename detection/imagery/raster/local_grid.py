"""Rasters on another grid, pixel by pixel: turned north up, or in a system of a site's own, such as a mine's grid."""

import math
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final

import pyproj
from affine import Affine
from pyproj.exceptions import CRSError as ProjectionError
from rasterio.enums import ColorInterp, Resampling
from rasterio.errors import CRSError, RasterioError
from rasterio.vrt import WarpedVRT

from detection.imagery.errors import ImpossibleCrsError
from detection.imagery.raster.grid import Grid, apply_affine, turn_north_up

SAYS: Final = "[crs] local of the site file"


@dataclass(frozen=True, slots=True)
class LocalGridTransform:
    """How the coordinates of a local system become those of a known one."""

    into: str  # the known system, such as `EPSG:32654`
    # a, b, c, d, e, f of x' = a x + b y + c and y' = d x + e y + f
    affine: tuple[float, float, float, float, float, float]

    def to_text(self) -> str:
        """One line that differs where a place would."""
        return f"{self.into} {' '.join(map(repr, self.affine))}"


class PlacedSource(WarpedVRT):  # type: ignore[misc,unused-ignore]
    """An open raster on another grid; `src_dataset` is the raster as the file has it.

    Pixels are taken by nearest neighbour: counts, flags and fill values stay what they are.
    """

    def __init__(self, source: Any, **how: Any) -> None:
        alpha = source.colorinterp[-1] is ColorInterp.alpha
        super().__init__(
            source,
            resampling=Resampling.nearest,
            src_nodata=source.nodata,
            nodata=source.nodata,
            add_alpha=source.nodata is None and not alpha,
            **how,
        )


def original_of(source: Any) -> Any:
    """The raster as its file has it."""
    return source.src_dataset if isinstance(source, PlacedSource) else source


def turn_up(source: Any, stack: ExitStack) -> Any:
    """Return an open raster with rows from north to south and columns from west to east."""
    grid = Grid(source.transform, "", source.width, source.height)
    turned = turn_north_up(grid)
    if turned == grid or source.crs is None or source.transform.is_identity:
        return source
    size = {"transform": turned.transform, "width": grid.width, "height": grid.height}
    return stack.enter_context(PlacedSource(source, src_crs=source.crs, crs=source.crs, **size))


class LocalSource(PlacedSource):
    """An open raster on the grid that the site's affine gives it; `note` says so."""

    note = ""


_used: ContextVar[LocalGridTransform | None] = ContextVar("local_grid", default=None)


@contextmanager
def placing(local: Mapping[str, Any] | None) -> Iterator[None]:
    """Give files in a local system a place by `into` and `affine`, for as long as the block lasts; None: none.

    It stands beside the calls and not in them: every file of a scene, and of the dates that it is compared with, is
    opened through one door (`untrusted.open_raster`).

    Raises:
        ImpossibleCrsError: the system is not known, or the affine has no area.
    """
    grid = None if local is None else LocalGridTransform(str(local["into"]), tuple(local["affine"]))
    if grid is not None:
        try:
            pyproj.CRS.from_user_input(grid.into)
        except ProjectionError:
            raise ImpossibleCrsError(f"{SAYS}: {grid.into} is no coordinate reference system") from None
        a, b, _, d, e, _ = grid.affine
        if not all(map(math.isfinite, grid.affine)) or a * e == b * d:
            raise ImpossibleCrsError(f"{SAYS}: the affine brings everything onto one line")
    token = _used.set(grid)
    try:
        yield
    finally:
        _used.reset(token)


def place_locally(source: Any, stack: ExitStack) -> Any:
    """Return an open raster of a local system on the grid that the site's affine gives it; any other as it is."""
    local = _used.get()
    if local is None or not _is_local(source):
        return source
    # first a geotransform, then the affine of the site (the operator for it changed between versions of `affine`)
    a, b, _, d, e, _ = local.affine
    x, y = apply_affine(Affine(*local.affine), source.transform.c, source.transform.f)
    transform = Affine(
        a * source.transform.a + b * source.transform.d,
        a * source.transform.b + b * source.transform.e,
        x,
        d * source.transform.a + e * source.transform.d,
        d * source.transform.b + e * source.transform.e,
        y,
    )
    try:
        placed = LocalSource(  # pixel by pixel: nothing is moved
            source,
            src_crs=local.into,
            src_transform=transform,
            crs=local.into,
            transform=turn_north_up(Grid(transform, "", source.width, source.height)).transform,
            width=source.width,
            height=source.height,
        )
    except (RasterioError, CRSError, ValueError):
        return source
    placed.note = f"in the local system {_read_crs(source).name}, placed in {local.into} by {SAYS}"
    return stack.enter_context(placed)


def describe_local_grid(source: Any) -> str:
    """What the place of an open raster hangs on, for a hash; empty where it is not placed by a local grid."""
    local = _used.get()
    return local.to_text() if local is not None and isinstance(source, LocalSource) else ""


def _is_local(source: Any) -> bool:
    if source.crs is None or source.transform.is_identity:
        return False
    try:
        return bool(_read_crs(source).is_engineering)
    except (ProjectionError, CRSError):
        return False


def _read_crs(source: Any) -> pyproj.CRS:
    return pyproj.CRS.from_wkt(source.crs.to_wkt())
