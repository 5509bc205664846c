"""Masks and quality layers that lie as files beside a grid of displacement, in netCDF or GeoTIFF."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import numpy as np
from pyproj import CRS
from rasterio.windows import Window

from detection.imagery.raster.untrusted import open_raster
from monitor.errors import ConfigError
from monitor.ingest.grids.cf import find_date
from monitor.ingest.grids.quality import Footing, QualityLayer, find_rule
from monitor.ingest.grids.stack import Array

_NETCDF: Final = frozenset({".nc", ".nc4", ".cdf"})


def list_layers_beside(
    path: Path, footing: Footing, companions: Sequence[Path], opened: ExitStack
) -> list[QualityLayer]:
    """Open the masks and quality layers beside a grid, each named after its file.

    A file with a date in its name belongs to the grid of that date alone.

    Args:
        path: of the grid, for messages.
        opened: closes the files.

    Raises:
        ConfigError: a layer lies on another grid.
    """
    days = {at.date() for at in footing.times}
    layers: list[QualityLayer] = []
    for companion in companions:
        at = find_date(companion.stem)
        if at is not None and len(footing.times) == 1 and at.date() not in days:
            continue
        found = list(_open_companion(companion, footing, opened))
        if found and not any(found):
            raise ConfigError(
                f"{path}: {companion.name} beside it is a mask or a quality layer by its name and lies on another "
                "grid: bring it to the grid of the displacement, move it elsewhere, or give --mask none"
            )
        layers += [layer for layer in found if layer is not None]
    return layers


def _open_companion(companion: Path, footing: Footing, opened: ExitStack) -> Iterator[QualityLayer | None]:
    if companion.suffix.lower() in _NETCDF:
        from monitor.ingest.grids.netcdf import open_layers

        yield from open_layers(companion, footing, opened)
        return
    source = opened.enter_context(open_raster(companion))
    t = source.transform
    x = t.c + t.a * (np.arange(source.width) + 0.5)
    y = t.f + t.e * (np.arange(source.height) + 0.5)
    is_same_system = source.crs is not None and CRS.from_wkt(source.crs.to_wkt()).equals(
        footing.crs, ignore_axis_order=True
    )
    if t.b or t.d or not is_same_system or not footing.has_cells(x, y) or source.count not in {1, len(footing.times)}:
        yield None
        return

    def read(layers: slice, rows: slice, columns: slice) -> Array:
        bands = [1] if source.count == 1 else list(range(1, source.count + 1))[layers]
        return read_raster_layer(source, bands, rows, columns)

    yield QualityLayer(companion.stem, read, find_rule(companion.stem, describe_band(source, 1)))


def read_raster_layer(source: Any, bands: Sequence[int], rows: slice, columns: slice) -> Array:
    """Read bands of a raster with their scale and offset, NaN where there is no value."""
    window = Window(columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start)
    values = source.read(bands, window=window, masked=True).astype(float)
    scales = np.array([source.scales[band - 1] for band in bands])[:, None, None]
    offsets = np.array([source.offsets[band - 1] for band in bands])[:, None, None]
    plain: Array = np.ma.filled(values, np.nan) * scales + offsets
    return plain


def describe_band(source: Any, band: int) -> Mapping[str, Any]:
    """Return what a raster says about the values of a band, by the names that CF has for it."""
    tags = {key.lower(): value for key, value in (source.tags() | source.tags(band)).items()}
    texts = [tags.get("description", ""), source.descriptions[band - 1] or ""]
    values = tags.get("flag_values", "").replace(",", " ").split()
    return {**tags, "description": ". ".join(filter(None, texts)), "flag_values": [float(v) for v in values]}
