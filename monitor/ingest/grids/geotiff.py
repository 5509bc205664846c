"""GeoTIFF and VRT files as stacks: a band per instant, with its date in its name, or in that of the file."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
from pyproj import CRS
from rasterio.errors import RasterioError
from rasterio.windows import Window

from detection.imagery.errors import ImageryError
from detection.imagery.raster.untrusted import open_raster
from monitor.domain.errors import ConfigError
from monitor.ingest.grids.cf import find_date, may_add_up
from monitor.ingest.grids.stack import Array, GridStack, leave_fills, name_reference

TAGGED: Final = 8  # bands whose tags are read


@contextmanager
def open_geotiff(path: Path, *, ends: bool) -> Iterator[GridStack]:
    """Open a raster; values are nothing where its mask or nodata says so; `ends` as `find_date` has it.

    Raises:
        ConfigError: it is no such raster, lies in no place, or a band has no date; one line.
    """
    try:
        with open_raster(path) as source:
            yield _read_stack(path, source, ends=ends)
    except (ImageryError, RasterioError, OSError, ValueError, MemoryError) as error:
        raise ConfigError(f"{path}: {' '.join(str(error).split()).removeprefix(f'{path}: ')[:300]}") from None


def _read_stack(path: Path, source: Any, *, ends: bool) -> GridStack:
    t = source.transform
    if source.crs is None or t.b or t.d:
        raise ConfigError(f"{path}: expected a raster with coordinates whose rows run east to west")
    x = t.c + t.a * (np.arange(source.width) + 0.5)
    y = t.f + t.e * (np.arange(source.height) + 0.5)
    times = _find_times(path, source, ends=ends)
    units = {unit or "" for unit in source.units}
    if len(units) > 1:
        raise ConfigError(f"{path}: bands in different units: {', '.join(sorted(units))}")

    def read(layers: slice, rows: slice, columns: slice) -> Array:
        window = Window(columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start)
        bands = list(range(1, source.count + 1))[layers]
        found = source.read(bands, window=window, masked=True).astype(float)
        scales, offsets = (
            np.array([each[b - 1] for b in bands])[:, None, None] for each in (source.scales, source.offsets)
        )
        plain: Array = leave_fills(np.ma.filled(found, np.nan), zero=False) * scales + offsets
        return plain

    tags = [source.tags(), *(source.tags(band) for band in range(1, min(source.count, TAGGED) + 1))]
    texts = [str(text) for each in tags for text in each.values()]
    called = {text for each in tags for key, text in each.items() if key.upper() in {"GRIB_ELEMENT", "VARIABLE"}}
    return GridStack(
        path.name,
        times,
        x,
        y,
        CRS.from_wkt(source.crs.to_wkt()),
        units.pop(),
        read,
        source.block_shapes[0][0],
        may_add_up=any(may_add_up(name, texts) for name in called or {""}),
        reference_at=_find_reference(source.tags()),
        reference_point=name_reference(source.tags()),
    )


def _find_times(path: Path, source: Any, *, ends: bool) -> tuple[datetime, ...]:
    named = [find_date(text or "", ends=ends) for text in source.descriptions]
    if all(named):
        return tuple(at for at in named if at is not None)
    if source.count == 1:
        tags = source.tags()
        for text in (tags.get("ACQUIRED_AT"), path.name):
            if text and (at := _read_tag(text, ends=ends)):
                return (at,)
    raise ConfigError(f"{path}: band {named.index(None) + 1} has no date (YYYYMMDD) in its name")


def _find_reference(tags: dict[str, str]) -> datetime | None:
    upper = {key.upper(): value for key, value in tags.items()}
    text = next((upper[key] for key in ("REF_DATE", "REFERENCE_DATE", "REFERENCE_TIME") if key in upper), None)
    return None if text is None else _read_tag(text, ends=False)


def _read_tag(text: str, *, ends: bool) -> datetime | None:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return find_date(text, ends=ends)
    return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
