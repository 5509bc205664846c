"""Geocoded displacement time series and velocity of LiCSBAS: `cum.h5` and `cum_filt.h5` of a folder `TS_GEOCml*`.

Displacement is along the line of sight in mm, velocity in mm/year, positive towards the satellite. `corner_lat` and
`corner_lon` are the centre of the first cell. LiCSBAS writes its mask to `results/mask`, as float32 without a header: 1
is good, 0 is not.

Source: LiCSBAS wiki ("file_structure") and LiCSBAS13_sb_inv.py, LiCSBAS16_filt_ts.py (github.com/yumorishita/LiCSBAS).
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import numpy as np
import xarray as xr
from pyproj import CRS

from monitor.errors import ConfigError
from monitor.ingest.files.reader import list_companions
from monitor.ingest.grids.dataset import READ_ERRORS, find_chunk_rows, make_read_error, open_dataset
from monitor.ingest.grids.quality import NONE, QualityLayer, QualityRule, choose_mask
from monitor.ingest.grids.radar_stack import TOWARDS, make_layer, make_reader, make_velocity_reader, read_days
from monitor.ingest.grids.stack import Array, GridStack

_UNIT: Final = "mm"
_VELOCITY_UNIT: Final = "mm/yr"
_MASK: Final = "mask"
_PLACE_NAMES: Final = ("corner_lat", "corner_lon", "post_lat", "post_lon")
_REFERENCE_AREA: Final = re.compile(r"(\d+):(\d+)/(\d+):(\d+)")
_MASK_TYPE: Final = np.dtype("<f4")


@contextmanager
def open_licsbas(
    path: Path, mask: str | None = None, companions: Sequence[Path] | None = None, *, is_velocity: bool = False
) -> Iterator[GridStack]:
    """Open a time series. Acquisitions have no time of day: they count from the start of their date (UTC).

    Args:
        mask: Value of `--mask`. None: apply the mask of LiCSBAS.
        companions: The file `results/mask` beside the time series. None: look for it.
        is_velocity: Open the velocity. Its time is the last acquisition of the time series.

    Raises:
        ConfigError: it is no such file, or not geocoded.
    """
    try:
        with ExitStack() as stack:
            variables = stack.enter_context(open_dataset(path)).variables
            files = list_companions(path) if companions is None else companions
            by_name = {str(name): variable for name, variable in variables.items()}
            yield _read_stack(path, by_name, mask, files, is_velocity=is_velocity)
    except READ_ERRORS as error:
        raise make_read_error(path, "LiCSBAS", error) from None


def _read_stack(
    path: Path,
    variables: dict[str, xr.Variable],
    mask: str | None,
    companions: Sequence[Path],
    *,
    is_velocity: bool,
) -> GridStack:
    for name in ("cum", "imdates", *(["vel"] if is_velocity else [])):
        if name not in variables:
            hint = "; it is a time series of MintPy: give --format mintpy" if "timeseries" in variables else ""
            raise ConfigError(f"{path}: no LiCSBAS time series: the dataset {name} is missing{hint}")
    if any(name not in variables for name in _PLACE_NAMES):
        raise ConfigError(f"{path}: not geocoded: the dataset corner_lat is missing; process GEOC data with LiCSBAS")
    displacement = variables["cum"]
    days = read_days(path, displacement, variables["imdates"])
    values = variables["vel"] if is_velocity else displacement
    latitude, longitude, latitude_step, longitude_step = (float(variables[name].values.item()) for name in _PLACE_NAMES)
    rows, columns = values.shape[-2:]
    y: Array = latitude + latitude_step * np.arange(rows, dtype=np.float64)
    x: Array = longitude + longitude_step * np.arange(columns, dtype=np.float64)
    layers = _list_layers(path, variables, values, companions) if mask != NONE else []
    quality = choose_mask(path.name, layers, mask)
    # The filter of LiCSBAS leaves a remainder at the first date. Then displacements count from no date exactly.
    counts_from_first = not np.nan_to_num(np.asarray(displacement[0].values)).any()
    return GridStack(
        path.name,
        tuple(days[-1:] if is_velocity else days),
        x,
        y,
        CRS.from_epsg(4326),
        _VELOCITY_UNIT if is_velocity else _UNIT,
        make_velocity_reader(values) if is_velocity else make_reader(values),
        find_chunk_rows(values, str(values.dims[-2])),
        reference_at=days[0] if counts_from_first else None,
        reference_point=_find_reference_point(variables, x[0], y[0], longitude_step, latitude_step),
        mask_name="" if quality is None else quality.name,
        read_good=None if quality is None else quality.read_good,
        component=TOWARDS,
    )


def _list_layers(
    path: Path, variables: dict[str, xr.Variable], values: xr.Variable, companions: Sequence[Path]
) -> list[QualityLayer]:
    """Return the mask of LiCSBAS, and the noise indices that newer versions store in the time series."""
    shape = values.shape[-2:]
    layers = {
        name: make_layer(name, variable, QualityRule(_MASK) if name == _MASK else None)
        for name, variable in variables.items()
        if variable.shape == shape
    }
    mask_file = next((file for file in companions if file.name == _MASK), None)
    if mask_file is not None:
        if mask_file.stat().st_size != shape[0] * shape[1] * _MASK_TYPE.itemsize:
            raise ConfigError(
                f"{path}: results/mask has another number of cells than the displacement: run LiCSBAS15_mask_ts.py "
                "again, or give --mask none"
            )
        cells = np.fromfile(mask_file, _MASK_TYPE).reshape(shape)
        layers[_MASK] = make_layer(_MASK, xr.Variable(("y", "x"), cells), QualityRule(_MASK))
    return list(layers.values())


def _find_reference_point(
    variables: dict[str, xr.Variable], x: float, y: float, x_step: float, y_step: float
) -> str | None:
    """Return the centre of the reference area, which is given as columns and rows `x1:x2/y1:y2` without the ends."""
    if "refarea" not in variables:
        return None
    stored = variables["refarea"].values.item()
    match = _REFERENCE_AREA.fullmatch(stored.decode("ascii") if isinstance(stored, bytes) else str(stored))
    if match is None:
        return None
    column_start, column_end, row_start, row_end = (int(number) for number in match.groups())
    latitude = y + y_step * (row_start + row_end - 1) / 2.0
    longitude = x + x_step * (column_start + column_end - 1) / 2.0
    return f"{latitude:.6f}, {longitude:.6f}"
