"""Displacement of MintPy, geocoded: `timeseries*.h5`, or HDF-EOS5 (`*.he5`) as its archives have it.

Values are along the line of sight, positive towards the satellite. MintPy writes masks and quality layers as files
beside the time series, and as the group `quality` inside HDF-EOS5.

Source: the attributes and datasets that MintPy documents (mintpy.readthedocs.io, "Metadata", "HDF5 file structure" and
"HDF-EOS5").
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np
from pyproj import CRS
from pyproj.exceptions import CRSError

from monitor.errors import ConfigError
from monitor.ingest.files.reader import list_companions
from monitor.ingest.grids.netcdf import CHUNK_BYTES
from monitor.ingest.grids.quality import NONE, QualityLayer, QualityRule, choose_mask
from monitor.ingest.grids.stack import MOST_TIMES, Array, GridStack, name_reference

_EOS_GROUP: Final = "HDFEOS/GRIDS/timeseries"
# The mask that MintPy makes for its own plots and estimates. Others (water, connected components) are applied on
# request.
_COHERENCE_MASK: Final = "maskTempCoh"
_PLACE_KEYS: Final = ("X_FIRST", "Y_FIRST", "X_STEP", "Y_STEP")


@contextmanager
def open_mintpy(path: Path, mask: str | None = None, companions: Sequence[Path] | None = None) -> Iterator[GridStack]:
    """Open a time series; the instant of an acquisition is its date and `CENTER_LINE_UTC`.

    Args:
        mask: the value of `--mask`; None: apply the mask that comes with the time series.
        companions: the masks and quality layers beside it; None: list them.

    Raises:
        ConfigError: it is no such file, or in radar coordinates; one line.
    """
    import h5py

    try:
        with ExitStack() as stack:
            file = stack.enter_context(h5py.File(path, "r"))
            beside = list_companions(path) if companions is None else companions
            yield _read_stack(path, file, stack, mask, beside)
    except (OSError, KeyError, ValueError, TypeError, RuntimeError, AttributeError, MemoryError) as error:
        raise ConfigError(f"{path}: cannot be read as MintPy: {' '.join(str(error).split())[:200]}") from None


def _read_attributes(file: Any) -> dict[str, str]:
    return {k: v.decode("utf-8", "replace") if isinstance(v, bytes) else str(v) for k, v in file.attrs.items()}


def _check_chunks(path: Path, dataset: Any) -> None:
    if dataset.chunks and np.prod(dataset.chunks) * dataset.dtype.itemsize > CHUNK_BYTES:
        raise ConfigError(
            f"{path}: pieces of {np.prod(dataset.chunks) * dataset.dtype.itemsize >> 20} MiB are too large"
        )


def _read_stack(path: Path, file: Any, stack: ExitStack, mask: str | None, companions: Sequence[Path]) -> GridStack:
    attrs = _read_attributes(file)
    is_eos = _EOS_GROUP in file
    names = (f"{_EOS_GROUP}/observation/displacement", f"{_EOS_GROUP}/observation/date")
    values_name, dates_name = names if is_eos else ("timeseries", "date")
    if values_name not in file or dates_name not in file:
        raise ConfigError(f"{path}: no MintPy time series: expected the datasets {values_name} and {dates_name}")
    values, dates = file[values_name], file[dates_name]
    if values.ndim != 3 or dates.shape != values.shape[:1] or len(dates) > MOST_TIMES:
        raise ConfigError(f"{path}: {values.shape} values and {dates.shape} dates do not fit")
    _check_chunks(path, values)
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
    layers: list[QualityLayer] = []
    if mask != NONE and is_eos:
        layers = _list_eos_layers(path, file, values.shape)
    elif mask != NONE:
        layers = _open_companions(path, companions, attrs, values.shape, stack)
    quality = choose_mask(path.name, layers, mask)
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
        mask_name="" if quality is None else quality.name,
        read_good=None if quality is None else quality.read_good,
    )


def _list_eos_layers(path: Path, file: Any, shape: tuple[int, ...]) -> list[QualityLayer]:
    group = file.get(f"{_EOS_GROUP}/quality", {})
    if "mask" in group and group["mask"].shape != shape[1:]:
        raise ConfigError(
            f"{path}: its mask has {group['mask'].shape} cells, the displacement {shape[1:]}: give --mask none to use "
            "every cell"
        )
    return [
        _make_layer(path, name, dataset, QualityRule(name) if name == "mask" else None)
        for name, dataset in group.items()
        if dataset.shape == shape[1:]
    ]


def _open_companions(
    path: Path, companions: Sequence[Path], attrs: dict[str, str], shape: tuple[int, ...], stack: ExitStack
) -> list[QualityLayer]:
    """Open the masks and quality layers beside a time series, each named after its file without `geo_`.

    Raises:
        ConfigError: the mask of temporal coherence lies on another grid.
    """
    import h5py

    layers: dict[str, QualityLayer] = {}
    elsewhere: set[str] = set()
    for companion in companions:
        name = companion.stem.removeprefix("geo_")
        if name in layers:
            continue
        file = stack.enter_context(h5py.File(companion, "r"))
        dataset = next((d for d in file.values() if getattr(d, "shape", None) == shape[1:]), None)
        own = _read_attributes(file)
        is_same_place = all(float(own.get(key, "nan")) == float(attrs[key]) for key in _PLACE_KEYS)
        if dataset is None or not is_same_place:
            elsewhere.add(name)
            continue
        rule = QualityRule(name) if name.startswith(_COHERENCE_MASK) else None
        layers[name] = _make_layer(companion, name, dataset, rule)
    missing = sorted(name for name in elsewhere - layers.keys() if name.startswith(_COHERENCE_MASK))
    if missing and not any(name.startswith(_COHERENCE_MASK) for name in layers):
        raise ConfigError(
            f"{path}: {missing[0]}.h5 beside it lies on another grid: geocode it as the time series, or give "
            "--mask none"
        )
    return list(layers.values())


def _make_layer(path: Path, name: str, dataset: Any, rule: QualityRule | None) -> QualityLayer:
    _check_chunks(path, dataset)

    def read(layers: slice, rows: slice, columns: slice) -> Array:  # noqa: ARG001  one layer serves all dates
        found: Array = dataset[rows, columns].astype(float)[None]
        return found

    return QualityLayer(name, read, rule)


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
