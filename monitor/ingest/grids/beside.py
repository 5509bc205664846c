"""Masks and quality layers that are separate files, netCDF or GeoTIFF, in the folder of a grid of displacement."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import numpy as np
from pyproj import CRS
from rasterio.windows import Window

from detection.imagery.raster.untrusted import open_raster
from monitor.errors import ConfigError
from monitor.ingest.grids.dates import find_date
from monitor.ingest.grids.quality import GridGeometry, QualityLayer, find_rule
from monitor.ingest.grids.stack import Array

_NETCDF: Final = frozenset({".nc", ".nc4", ".cdf"})


def list_layers_beside(
    path: Path, geometry: GridGeometry, companions: Sequence[Path], stack: ExitStack
) -> list[QualityLayer]:
    """Open the masks and quality layers in the folder of a grid. A layer has the name of its file.

    A file with a date in its name belongs to the grid of that date only.

    Args:
        path: Path of the grid, for messages.
        stack: Closes the files.

    Raises:
        ConfigError: no layer of a file is on the cells of the grid.
    """
    days = {at.date() for at in geometry.times}
    layers: list[QualityLayer] = []
    for companion in companions:
        at = find_date(companion.stem)
        if at is not None and len(geometry.times) == 1 and at.date() not in days:
            continue
        opened = list(_open_companion(companion, geometry, stack))
        if opened and not any(opened):
            raise ConfigError(
                f"{path}: {companion.name} is a mask or a quality layer by its name and lies on another grid: "
                "resample it to the grid of the displacement, move it to another folder, or give --mask none"
            )
        layers += [layer for layer in opened if layer is not None]
    return layers


def _open_companion(companion: Path, geometry: GridGeometry, stack: ExitStack) -> Iterator[QualityLayer | None]:
    """Yield the layers of a file; None for a layer on other cells."""
    if companion.suffix.lower() in _NETCDF:
        from monitor.ingest.grids.netcdf import open_layers

        yield from open_layers(companion, geometry, stack)
        return
    source = stack.enter_context(open_raster(companion))
    transform = source.transform
    x, y = find_centres(source)
    has_same_crs = source.crs is not None and CRS.from_wkt(source.crs.to_wkt()).equals(
        geometry.crs, ignore_axis_order=True
    )
    has_layers = source.count in {1, len(geometry.times)}
    if transform.b or transform.d or not has_same_crs or not has_layers or not geometry.has_cells(x, y):
        yield None
        return

    def read(layers: slice, rows: slice, columns: slice) -> Array:
        bands = [1] if source.count == 1 else list(range(1, source.count + 1))[layers]
        return read_raster_layer(source, bands, rows, columns)

    yield QualityLayer(companion.stem, read, find_rule(companion.stem, describe_band(source, 1)))


def find_centres(source: Any) -> tuple[Array, Array]:
    """Return the centres of the columns and rows of a raster that is not rotated."""
    transform = source.transform
    x: Array = transform.c + transform.a * (np.arange(source.width) + 0.5)
    y: Array = transform.f + transform.e * (np.arange(source.height) + 0.5)
    return x, y


def read_window(source: Any, bands: Sequence[int], rows: slice, columns: slice) -> Array:
    """Read the stored numbers of bands, NaN where nodata or a mask excludes a pixel."""
    window = Window(columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start)
    numbers: Array = np.ma.filled(source.read(bands, window=window, masked=True).astype(float), np.nan)
    return numbers


def apply_scale(source: Any, bands: Sequence[int], numbers: Array) -> Array:
    """Return the values of stored numbers, by scale and offset of their bands."""
    scales = np.array([source.scales[band - 1] for band in bands])[:, None, None]
    offsets = np.array([source.offsets[band - 1] for band in bands])[:, None, None]
    values: Array = numbers * scales + offsets
    return values


def read_raster_layer(source: Any, bands: Sequence[int], rows: slice, columns: slice) -> Array:
    """Read the values of bands of a raster, NaN where there is no value."""
    return apply_scale(source, bands, read_window(source, bands, rows, columns))


def describe_band(source: Any, band: int) -> Mapping[str, Any]:
    """Return what the tags of a raster state about the values of a band, by the names of CF attributes."""
    tags = {key.lower(): value for key, value in (source.tags() | source.tags(band)).items()}
    texts = [tags.get("description", ""), source.descriptions[band - 1] or ""]
    flag_values = tags.get("flag_values", "").replace(",", " ").split()
    return {
        **tags,
        "description": ". ".join(text for text in texts if text),
        "flag_values": [float(value) for value in flag_values],
    }
