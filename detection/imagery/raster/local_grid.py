"""Turn rasters north up, and place rasters in a local system on the ground, without resampling."""

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

SITE_FILE_KEY: Final = "[crs] local of the site file"


@dataclass(frozen=True, slots=True)
class LocalGridTransform:
    """Transform from the coordinates of a local system to a known one."""

    into: str  # the known system, such as `EPSG:32654`
    # a, b, c, d, e, f of x' = a x + b y + c and y' = d x + e y + f
    affine: tuple[float, float, float, float, float, float]

    def to_text(self) -> str:
        """Return the transform as one line; different transforms have different lines."""
        return f"{self.into} {' '.join(map(repr, self.affine))}"


class PlacedSource(WarpedVRT):  # type: ignore[misc,unused-ignore]
    """An open raster on another grid; `src_dataset` is the raster on the grid of its file.

    Nearest neighbour keeps counts, flags and fill values as they are.
    """

    def __init__(self, source: Any, **options: Any) -> None:
        has_alpha = source.colorinterp[-1] is ColorInterp.alpha
        super().__init__(
            source,
            resampling=Resampling.nearest,
            src_nodata=source.nodata,
            nodata=source.nodata,
            add_alpha=source.nodata is None and not has_alpha,
            **options,
        )


class LocalSource(PlacedSource):
    """An open raster that the transform of a site has placed.

    Attributes:
        note: sentence for the user that names the local system and its transform.
    """

    note = ""


def unwrap_placed(source: Any) -> Any:
    """Return the raster that a placed raster was made from; any other raster unchanged."""
    return source.src_dataset if isinstance(source, PlacedSource) else source


def turn_source_north_up(source: Any, stack: ExitStack) -> Any:
    """Return an open raster with rows from north to south and columns from west to east."""
    grid = Grid(source.transform, "", source.width, source.height)
    turned = turn_north_up(grid)
    if turned == grid or source.crs is None or source.transform.is_identity:
        return source
    target = {"transform": turned.transform, "width": grid.width, "height": grid.height}
    return stack.enter_context(PlacedSource(source, src_crs=source.crs, crs=source.crs, **target))


# This is a context variable and no parameter, because many modules call `untrusted.open_raster`, for every file of a
# scene and of its earlier dates.
_local_grid: ContextVar[LocalGridTransform | None] = ContextVar("local_grid", default=None)


@contextmanager
def placing(local: Mapping[str, Any] | None) -> Iterator[None]:
    """Place rasters in a local system on the ground if they are opened within the block.

    Args:
        local: `into` and `affine` as in `LocalGridTransform`; None: rasters in a local system have no place.

    Raises:
        ImpossibleCrsError: the system is unknown, or the affine maps all ground onto a line.
    """
    transform = None if local is None else LocalGridTransform(str(local["into"]), tuple(local["affine"]))
    if transform is not None:
        try:
            pyproj.CRS.from_user_input(transform.into)
        except ProjectionError:
            raise ImpossibleCrsError(f"{SITE_FILE_KEY}: {transform.into} is no coordinate reference system") from None
        a, b, _, d, e, _ = transform.affine
        if not all(map(math.isfinite, transform.affine)) or a * e == b * d:
            raise ImpossibleCrsError(f"{SITE_FILE_KEY}: the affine maps all ground onto one line")
    token = _local_grid.set(transform)
    try:
        yield
    finally:
        _local_grid.reset(token)


def place_locally(source: Any, stack: ExitStack) -> Any:
    """Return an open raster of a local system on the grid that `placing` declares; any other raster unchanged."""
    local = _local_grid.get()
    if local is None or not _is_local(source):
        return source
    # The product applies the geotransform first, then the affine of the site. It is computed here because its operator
    # differs between versions of `affine`.
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
        placed = LocalSource(
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
    placed.note = f"in the local system {_read_crs(source).name}, placed in {local.into} by {SITE_FILE_KEY}"
    return stack.enter_context(placed)


def describe_local_grid(source: Any) -> str:
    """Return the transform that has placed an open raster as one line, for a hash; empty without such a transform."""
    local = _local_grid.get()
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
