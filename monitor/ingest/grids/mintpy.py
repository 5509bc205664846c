"""Geocoded displacement time series of MintPy (`timeseries*.h5`, or HDF-EOS5 `*.he5`) and velocities (`velocity.h5`).

Displacement and velocity are along the line of sight, positive towards the satellite. Masks and quality layers are
separate files in the same folder. In HDF-EOS5 they are in the group `quality`.

Source: mintpy.readthedocs.io, pages "Attributes", "HDF5 file structure" and "HDF-EOS5".
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import numpy as np
import xarray as xr
from pyproj import CRS
from pyproj.exceptions import CRSError

from monitor.errors import ConfigError
from monitor.ingest.files.reader import list_companions
from monitor.ingest.grids.dataset import READ_ERRORS, find_chunk_rows, make_read_error, open_dataset, read_text
from monitor.ingest.grids.quality import NONE, QualityLayer, QualityRule, choose_mask
from monitor.ingest.grids.radar_stack import TOWARDS, make_layer, make_reader, make_velocity_reader, read_day, read_days
from monitor.ingest.grids.stack import Array, GridStack, name_reference

_EOS_GROUP: Final = "HDFEOS/GRIDS/timeseries"
# The mask of MintPy's own plots and estimates. Other masks (water, connected components) are applied only with --mask.
_COHERENCE_MASK: Final = "maskTempCoh"
_EOS_MASK: Final = "mask"
_VELOCITY: Final = "velocity"
_PLACE_KEYS: Final = ("X_FIRST", "Y_FIRST", "X_STEP", "Y_STEP")
_UTM_ZONE: Final = re.compile(r"(\d{1,2})([NS])")
_UTM_EPSG: Final = {"N": 32600, "S": 32700}


@contextmanager
def open_mintpy(
    path: Path, mask: str | None = None, companions: Sequence[Path] | None = None, *, is_velocity: bool = False
) -> Iterator[GridStack]:
    """Open a time series or a velocity. The time of an acquisition is its date at `CENTER_LINE_UTC`.

    Args:
        mask: Value of `--mask`. None: apply the mask of temporal coherence.
        companions: Masks and quality layers in the same folder. None: list the folder.
        is_velocity: Open the velocity. Its time is the last acquisition of the time series.

    Raises:
        ConfigError: it is no such file, or not geocoded.
    """
    try:
        with ExitStack() as stack:
            files = list_companions(path) if companions is None else companions
            yield _read_stack(path, stack, mask, files, is_velocity=is_velocity)
    except READ_ERRORS as error:
        raise make_read_error(path, "MintPy", error) from None


def _read_stack(
    path: Path, stack: ExitStack, mask: str | None, companions: Sequence[Path], *, is_velocity: bool
) -> GridStack:
    root = stack.enter_context(open_dataset(path))
    attributes = {str(key): read_text(root.attrs, key) for key in root.attrs}
    is_eos = False
    if is_velocity:
        values, days = _find_velocity(path, root, attributes)
    else:
        is_eos = "timeseries" not in root.variables
        values, dates = _find_variables(path, root, stack, is_eos=is_eos)
        days = read_days(path, values, dates)
    if "Y_FIRST" not in attributes:
        raise ConfigError(f"{path}: in radar coordinates; geocode it first (geocode.py of MintPy)")
    time_of_day = timedelta(seconds=float(attributes.get("CENTER_LINE_UTC", 0.0)))
    rows, columns = values.shape[-2:]
    layers: list[QualityLayer] = []
    if mask != NONE and is_eos:
        layers = _list_eos_layers(path, values, stack)
    elif mask != NONE:
        layers = _open_companions(path, companions, attributes, values, stack)
    quality = choose_mask(path.name, layers, mask)
    return GridStack(
        path.name,
        tuple(day + time_of_day for day in days),
        _find_centres(attributes, "X", columns),
        _find_centres(attributes, "Y", rows),
        _find_crs(path, attributes),
        attributes.get("UNIT", "m"),
        make_velocity_reader(values) if is_velocity else make_reader(values),
        find_chunk_rows(values, str(values.dims[-2])),
        reference_at=_find_reference_date(attributes, time_of_day),
        reference_point=name_reference(attributes),
        mask_name="" if quality is None else quality.name,
        read_good=None if quality is None else quality.read_good,
        component=TOWARDS,
    )


def _find_velocity(path: Path, root: xr.Dataset, attributes: Mapping[str, str]) -> tuple[xr.Variable, list[datetime]]:
    """Return the velocity and the date of the last acquisition."""
    if _VELOCITY not in root.variables or root.variables[_VELOCITY].ndim != 2:
        raise ConfigError(f"{path}: no velocity of MintPy: the dataset {_VELOCITY} is missing")
    return root.variables[_VELOCITY], [read_day(attributes["END_DATE"])]


def _find_centres(attributes: Mapping[str, str], axis: str, count: int) -> Array:
    """Return the centres of rows or columns. `Y_FIRST` and `X_FIRST` are the outer edges of the first cell."""
    first, step = float(attributes[f"{axis}_FIRST"]), float(attributes[f"{axis}_STEP"])
    centres: Array = first + step * (np.arange(count, dtype=np.float64) + 0.5)
    return centres


def _find_variables(path: Path, root: xr.Dataset, stack: ExitStack, *, is_eos: bool) -> tuple[xr.Variable, xr.Variable]:
    """Return displacements and dates."""
    names = ("displacement", "date") if is_eos else ("timeseries", "date")
    dataset = root
    if is_eos:
        group = f"{_EOS_GROUP}/observation"
        try:
            dataset = stack.enter_context(open_dataset(path, group))
        except KeyError:
            hint = ""
            if "imdates" in root.variables:
                hint = "; it is a time series of LiCSBAS: give --format licsbas"
            elif _VELOCITY in root.variables:
                hint = "; it is a velocity: give --format grid --quantity velocity"
            raise ConfigError(
                f"{path}: no MintPy time series: expected the dataset timeseries, or the group {group}{hint}"
            ) from None
    for name in names:
        if name not in dataset.variables:
            raise ConfigError(f"{path}: no MintPy time series: the dataset {name} is missing")
    return dataset.variables[names[0]], dataset.variables[names[1]]


def _find_reference_date(attributes: Mapping[str, str], time_of_day: timedelta) -> datetime | None:
    text = attributes.get("REF_DATE", "").strip()
    return read_day(text) + time_of_day if re.fullmatch(r"\d{8}", text) else None


def _list_eos_layers(path: Path, values: xr.Variable, stack: ExitStack) -> list[QualityLayer]:
    """Return the layers of the group `quality`."""
    try:
        variables = stack.enter_context(open_dataset(path, f"{_EOS_GROUP}/quality")).variables
    except KeyError:
        return []
    shape = values.shape[-2:]
    if _EOS_MASK in variables and variables[_EOS_MASK].shape != shape:
        raise ConfigError(
            f"{path}: its mask has {variables[_EOS_MASK].shape} cells, the displacement {shape}: give --mask none to "
            "use every cell"
        )
    return [
        make_layer(str(name), variable, QualityRule(_EOS_MASK) if name == _EOS_MASK else None)
        for name, variable in variables.items()
        if variable.shape == shape
    ]


def _open_companions(
    path: Path, companions: Sequence[Path], attributes: Mapping[str, str], values: xr.Variable, stack: ExitStack
) -> list[QualityLayer]:
    """Return the layers of other files. A layer has the name of its file without `geo_`.

    Raises:
        ConfigError: the mask of temporal coherence is on another grid.
    """
    layers: dict[str, QualityLayer] = {}
    on_other_grid: set[str] = set()
    for companion in companions:
        name = companion.stem.removeprefix("geo_")
        if name in layers:
            continue
        dataset = stack.enter_context(open_dataset(companion))
        variable = next((v for v in dataset.variables.values() if v.shape == values.shape[-2:]), None)
        is_same_place = all(
            float(read_text(dataset.attrs, key) or "nan") == float(attributes[key]) for key in _PLACE_KEYS
        )
        if variable is None or not is_same_place:
            on_other_grid.add(name)
            continue
        rule = QualityRule(name) if name.startswith(_COHERENCE_MASK) else None
        layers[name] = make_layer(name, variable, rule)
    unusable = sorted(name for name in on_other_grid - layers.keys() if name.startswith(_COHERENCE_MASK))
    if unusable and not any(name.startswith(_COHERENCE_MASK) for name in layers):
        raise ConfigError(
            f"{path}: {unusable[0]}.h5 beside it lies on another grid: geocode it as the time series, or give "
            "--mask none"
        )
    return list(layers.values())


def _find_crs(path: Path, attributes: Mapping[str, str]) -> CRS:
    try:
        if "EPSG" in attributes:
            return CRS.from_epsg(int(float(attributes["EPSG"])))
    except (CRSError, ValueError) as error:
        raise ConfigError(f"{path}: its coordinates cannot be used: {error}") from None
    if zone := _UTM_ZONE.fullmatch(attributes.get("UTM_ZONE", "").strip()):
        return CRS.from_epsg(_UTM_EPSG[zone[2]] + int(zone[1]))
    unit = attributes.get("Y_UNIT", "degrees")
    if unit.startswith("deg"):
        return CRS.from_epsg(4326)
    raise ConfigError(f"{path}: coordinates in {unit!r} without the attributes EPSG or UTM_ZONE")
