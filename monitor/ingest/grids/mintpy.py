"""Displacement of MintPy (`timeseries*.h5`, geocoded): metres along the line of sight, positive towards the satellite.

Source: the attributes and datasets that MintPy documents (mintpy.readthedocs.io, "Metadata" and "HDF5 file structure").
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from pyproj import CRS
from pyproj.exceptions import CRSError

from monitor.domain.errors import ConfigError
from monitor.ingest.grids.netcdf import CHUNK_BYTES
from monitor.ingest.grids.stack import MOST_TIMES, Array, GridStack, name_reference


@contextmanager
def open_mintpy(path: Path) -> Iterator[GridStack]:
    """Open a time series; the instant of an acquisition is its date and `CENTER_LINE_UTC`.

    Raises:
        ConfigError: it is no such file, or in radar coordinates; one line.
    """
    import h5py

    try:
        with h5py.File(path, "r") as file:
            yield _read_stack(path, file)
    except (OSError, KeyError, ValueError, TypeError, RuntimeError, AttributeError, MemoryError) as error:
        raise ConfigError(f"{path}: cannot be read as MintPy: {' '.join(str(error).split())[:200]}") from None


def _read_stack(path: Path, file: Any) -> GridStack:
    attrs = {k: v.decode("utf-8", "replace") if isinstance(v, bytes) else str(v) for k, v in file.attrs.items()}
    if "timeseries" not in file or "date" not in file:
        raise ConfigError(f"{path}: no MintPy time series: expected the datasets timeseries and date")
    values, dates = file["timeseries"], file["date"]
    if values.ndim != 3 or dates.shape != values.shape[:1] or len(dates) > MOST_TIMES:
        raise ConfigError(f"{path}: {values.shape} values and {dates.shape} dates do not fit")
    if values.chunks and np.prod(values.chunks) * values.dtype.itemsize > CHUNK_BYTES:
        raise ConfigError(f"{path}: pieces of {np.prod(values.chunks) * values.dtype.itemsize >> 20} MiB are too large")
    if "Y_FIRST" not in attrs:
        raise ConfigError(f"{path}: in radar coordinates; geocode it first (geocode.py of MintPy)")
    at = timedelta(seconds=float(attrs.get("CENTER_LINE_UTC", 0.0)))
    times = tuple(_read_day(d.decode("ascii") if isinstance(d, bytes) else str(d)) + at for d in dates[...])
    reference = attrs.get("REF_DATE", "").strip()
    x, y = (
        float(attrs[f"{k}_FIRST"]) + float(attrs[f"{k}_STEP"]) * (np.arange(n) + 0.5)
        for k, n in (("X", values.shape[2]), ("Y", values.shape[1]))
    )

    def read(layers: slice, rows: slice, columns: slice) -> Array:
        found: Array = values[layers, rows, columns].astype(float)
        return found

    kept = values.chunks[1] if values.chunks else 1
    return GridStack(
        path.name,
        times,
        x,
        y,
        _find_crs(path, attrs),
        attrs.get("UNIT", "m"),
        read,
        kept,
        reference_at=_read_day(reference) + at if re.fullmatch(r"\d{8}", reference) else None,
        reference_point=name_reference(attrs),
    )


def _read_day(text: str) -> datetime:
    return datetime.strptime(text, "%Y%m%d").replace(tzinfo=UTC)


def _find_crs(path: Path, attrs: dict[str, str]) -> CRS:
    try:
        if "EPSG" in attrs:
            return CRS.from_epsg(int(float(attrs["EPSG"])))
    except (CRSError, ValueError) as error:
        raise ConfigError(f"{path}: its coordinates cannot be used: {error}") from None
    if attrs.get("Y_UNIT", "degrees").startswith("deg"):
        return CRS.from_epsg(4326)
    raise ConfigError(f"{path}: coordinates in {attrs['Y_UNIT']!r} without EPSG")
