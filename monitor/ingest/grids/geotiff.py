"""Rasters with a date for each band as stacks. GDAL reads them (GeoTIFF and others)."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from pyproj import CRS
from rasterio.errors import RasterioError

from detection.imagery.errors import ImageryError
from detection.imagery.raster.untrusted import open_raster
from monitor.errors import ConfigError
from monitor.ingest.grids.beside import (
    apply_scale,
    describe_band,
    find_centres,
    list_layers_beside,
    read_raster_layer,
    read_window,
)
from monitor.ingest.grids.dates import find_date
from monitor.ingest.grids.quality import NONE, GridGeometry, QualityLayer, choose_mask, find_rule, is_quality_name
from monitor.ingest.grids.rain import may_be_accumulated
from monitor.ingest.grids.stack import Array, GridStack, mask_fills, name_reference
from monitor.ingest.grids.units import read_unit
from monitor.sites.units import UNITS
from monitor.text.reasons import describe_error

_TAGGED_BANDS: Final = 8  # bands whose tags are searched for the name of the variable
_UNIT_TAGS: Final = frozenset({"UNIT", "UNITS", "GRIB_UNIT"})
_VARIABLE_TAGS: Final = frozenset({"GRIB_ELEMENT", "VARIABLE"})
_REFERENCE_TAGS: Final = ("REF_DATE", "REFERENCE_DATE", "REFERENCE_TIME")


@contextmanager
def open_geotiff(
    path: Path, *, use_end: bool, mask: str | None = NONE, companions: Sequence[Path] = ()
) -> Iterator[GridStack]:
    """Open a raster.

    Args:
        use_end: As in `find_date`.
        mask: Value of `--mask`. None: apply the quality layers whose good values are stated.
        companions: Masks and quality layers in the same folder.

    Raises:
        ConfigError: it is no raster with coordinates, or a band has no date.
    """
    try:
        with ExitStack() as stack:
            source = stack.enter_context(open_raster(path))
            yield _read_stack(path, source, stack, use_end=use_end, mask=mask, companions=companions)
    except (ImageryError, RasterioError, OSError, ValueError, MemoryError) as error:
        text = " ".join(describe_error(error).split()).removeprefix(f"{path}: ")
        raise ConfigError(f"{path}: {text[:300]}") from None


def _read_stack(
    path: Path, source: Any, stack: ExitStack, *, use_end: bool, mask: str | None, companions: Sequence[Path]
) -> GridStack:
    transform = source.transform
    if source.crs is None or transform.b or transform.d:
        raise ConfigError(f"{path}: expected a raster with coordinates whose rows run east to west")
    x, y = find_centres(source)
    quality_bands = _find_quality_bands(source)
    dated_bands = [band for band in range(1, source.count + 1) if band not in quality_bands]
    times = _find_times(path, source, dated_bands, use_end=use_end)
    units = _find_units(source, dated_bands)
    if len(units) > 1:
        raise ConfigError(f"{path}: bands in different units: {', '.join(sorted(units))}")

    def read(layers: slice, rows: slice, columns: slice) -> Array:
        bands = dated_bands[layers]
        return apply_scale(source, bands, mask_fills(read_window(source, bands, rows, columns), zero=False))

    crs = CRS.from_wkt(source.crs.to_wkt())
    quality = None
    if mask != NONE:
        layers = [_make_band_layer(source, band, name) for band, name in quality_bands.items()]
        layers += list_layers_beside(path, GridGeometry(times, x, y, crs), companions, stack)
        quality = choose_mask(path.name, layers, mask)
    return GridStack(
        path.name,
        times,
        x,
        y,
        crs,
        units.pop(),
        read,
        source.block_shapes[0][0],
        may_be_accumulated=_may_be_accumulated(source),
        reference_at=_find_reference(source.tags()),
        reference_point=name_reference(source.tags()),
        mask_name="" if quality is None else quality.name,
        read_good=None if quality is None else quality.read_good,
    )


def _find_quality_bands(source: Any) -> dict[int, str]:
    """Return the bands of a stack that are masks or quality layers by their names: number and name of each."""
    if source.count == 1:
        return {}
    return {
        band: "_".join(text.split())
        for band, text in enumerate(source.descriptions, 1)
        if text and is_quality_name(text) and find_date(text) is None
    }


def _make_band_layer(source: Any, band: int, name: str) -> QualityLayer:
    def read(layers: slice, rows: slice, columns: slice) -> Array:  # noqa: ARG001  the layer holds for all dates
        return read_raster_layer(source, [band], rows, columns)

    return QualityLayer(name, read, find_rule(name, describe_band(source, band)))


def _find_units(source: Any, bands: Sequence[int]) -> set[str]:
    """Return the units of bands. If no band has one: a known unit in a tag of the file or of its first band."""
    if any(source.units[band - 1] for band in bands):
        return {source.units[band - 1] or "" for band in bands}
    tags = [*source.tags().items(), *source.tags(1).items()]
    named = {read_unit(str(value).strip(" []")) for key, value in tags if key.upper() in _UNIT_TAGS}
    return {unit for unit in named if unit in UNITS and unit != "1"} or {""}


def _find_times(path: Path, source: Any, bands: Sequence[int], *, use_end: bool) -> tuple[datetime, ...]:
    if not bands:
        raise ConfigError(f"{path}: every band is a mask or a quality layer by its name; expected displacement by date")
    dates = [find_date(source.descriptions[band - 1] or "", use_end=use_end) for band in bands]
    times = tuple(at for at in dates if at is not None)
    if len(times) == len(bands):
        return times
    if len(bands) == 1:
        for text in (source.tags().get("ACQUIRED_AT"), path.name):
            if text and (at := _read_date(text, use_end=use_end)):
                return (at,)
    raise ConfigError(f"{path}: band {bands[dates.index(None)]} has no date (YYYYMMDD) in its name")


def _may_be_accumulated(source: Any) -> bool:
    tags = [source.tags(), *(source.tags(band) for band in range(1, min(source.count, _TAGGED_BANDS) + 1))]
    texts = [str(text) for band_tags in tags for text in band_tags.values()]
    names = {text for band_tags in tags for key, text in band_tags.items() if key.upper() in _VARIABLE_TAGS}
    return any(may_be_accumulated(name, texts) for name in names or {""})


def _find_reference(tags: dict[str, str]) -> datetime | None:
    by_upper_key = {key.upper(): value for key, value in tags.items()}
    text = next((by_upper_key[key] for key in _REFERENCE_TAGS if key in by_upper_key), None)
    return None if text is None else _read_date(text, use_end=False)


def _read_date(text: str, *, use_end: bool) -> datetime | None:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return find_date(text, use_end=use_end)
    return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
