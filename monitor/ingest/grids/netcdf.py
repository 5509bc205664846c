"""netCDF files as stacks: netCDF-4 by h5netcdf, the classic form by SciPy, both with CF times and grids."""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from math import prod
from pathlib import Path
from typing import Any, Final

import numpy as np
from pyproj import CRS
from pyproj.exceptions import CRSError

from monitor.errors import ConfigError
from monitor.ingest.grids.cf import find_no_rain, may_add_up, read_times
from monitor.ingest.grids.quality import (
    NONE,
    Footing,
    ListBeside,
    QualityLayer,
    choose_mask,
    find_rule,
    is_quality_name,
)
from monitor.ingest.grids.stack import MOST_SIDE, MOST_TIMES, Array, GridStack, leave_fills

CHUNK_BYTES: Final = 256 << 20  # what one value takes to be unpacked
_X: Final = ("projection_x_coordinate", "longitude")
_Y: Final = ("projection_y_coordinate", "latitude")
_NAMES: Final = {"x": ("x", "easting", "lon", "longitude"), "y": ("y", "northing", "lat", "latitude")}
_REFERENCES: Final = ("reference_time", "reference_date", "ref_date", "reference_datetime")
_LENGTHS: Final = frozenset({"m", "cm", "mm", "meter", "meters", "metre", "metres", "millimeter", "millimeters"})
_SCALES: Final = {"km": 1000.0, "kilometre": 1000.0, "kilometer": 1000.0, "kilometers": 1000.0}


@dataclass(frozen=True, slots=True)
class Variable:
    """One variable of a file, of either library."""

    dims: tuple[str, ...]
    shape: tuple[int, ...]
    attrs: Mapping[str, Any]
    get: Callable[[Any], Any]
    chunks: tuple[int, ...] | None = None

    def text(self, name: str) -> str:
        """A text of its attributes, "" where there is none."""
        value = self.attrs.get(name, "")
        return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


@contextmanager
def open_netcdf(
    path: Path, variable: str | None, *, ends: bool, mask: str | None = NONE, beside: ListBeside | None = None
) -> Iterator[GridStack]:
    """Open one variable of a file.

    Args:
        variable: its name, where the file holds several grids.
        ends: where times have bounds, the later one counts: values are sums of an interval.
        mask: the value of `--mask`; None: apply the quality layers whose good values the file names.
        beside: opens the masks and quality layers that lie as files beside it; None: there are none.

    Raises:
        ConfigError: it is no netCDF file with such a grid; one line.
    """
    try:
        with ExitStack() as opened:
            variables = opened.enter_context(_open(path))
            yield _read_stack(path, variables, variable, opened, ends=ends, mask=mask, beside=beside)
    except (OSError, KeyError, ValueError, TypeError, IndexError, AttributeError, RuntimeError, MemoryError) as error:
        raise ConfigError(f"{path}: cannot be read as netCDF: {' '.join(str(error).split())[:200]}") from None


@contextmanager
def _open(path: Path) -> Iterator[dict[str, Variable]]:
    with path.open("rb") as file:
        classic = file.read(3) == b"CDF"
    if classic:
        from scipy.io import netcdf_file

        found = netcdf_file(str(path), "r", mmap=True, maskandscale=False)
        try:
            yield {
                name: Variable(v.dimensions, v.shape, dict(v._attributes), v.data.__getitem__)  # noqa: SLF001
                for name, v in found.variables.items()
            }
        finally:
            with warnings.catch_warnings():  # parts of the mapped file may still be looked at; it ends with them
                warnings.simplefilter("ignore", RuntimeWarning)
                found.close()
        return
    import h5netcdf

    with h5netcdf.File(path, "r") as found:
        for name, v in found.variables.items():
            size = prod(v.chunks or ()) * v.dtype.itemsize
            if size > CHUNK_BYTES:
                raise ConfigError(f"{path}: {name}: pieces of {size >> 20} MiB are too large")
        yield {
            name: Variable(v.dimensions, v.shape, dict(v.attrs), v.__getitem__, v.chunks)
            for name, v in found.variables.items()
        }


def open_layers(path: Path, footing: Footing, opened: ExitStack) -> Iterator[QualityLayer | None]:
    """Open the masks and quality layers of a file beside a grid; a single layer is named after its file.

    A file with a displacement or another length in it is a product of its own, whatever its name: nothing is opened.

    Returns:
        The layers; None for each that lies on other cells or at other times.
    """
    try:
        variables = opened.enter_context(_open(path))
        grids = _list_grids(variables)
        if any(values.text("units").lower() in _LENGTHS for values in grids.values()):
            return
        for name, values in grids.items():
            if len(grids) > 1 and not is_quality_name(name):
                continue
            x_dim, y_dim = (_find_axis(path.name, variables, values, which) for which in ("x", "y"))
            crs = _find_crs(path.name, variables, values, x_dim)
            x, y = (_read_axis(variables[d], crs) for d in (x_dim, y_dim))
            others = [n for d, n in zip(values.dims, values.shape, strict=True) if d not in {x_dim, y_dim} and n > 1]
            if not footing.has_cells(x, y) or others not in ([], [len(footing.times)]):
                yield None
                continue
            layer = _make_layer(name, values, x_dim, y_dim)
            yield layer if len(grids) > 1 else replace(layer, name=path.stem)
    except (OSError, KeyError, ValueError, TypeError, IndexError, AttributeError, RuntimeError) as error:
        raise ConfigError(f"{path}: cannot be read as netCDF: {' '.join(str(error).split())[:200]}") from None


def _read_stack(
    path: Path,
    variables: Mapping[str, Variable],
    wanted: str | None,
    opened: ExitStack,
    *,
    ends: bool,
    mask: str | None,
    beside: ListBeside | None,
) -> GridStack:
    name = path.name
    values = _choose(name, variables, wanted)
    x_dim, y_dim = (_find_axis(name, variables, values, which) for which in ("x", "y"))
    others = [d for d, n in zip(values.dims, values.shape, strict=True) if d not in {x_dim, y_dim} and n > 1]
    if len(others) > 1:
        raise ConfigError(f"{name}: dimensions {', '.join(others)} beside x and y; expected time alone")
    time = _find_time(name, variables, values, others)
    crs = _find_crs(name, variables, values, x_dim)
    x, y = (_read_axis(variables[d], crs) for d in (x_dim, y_dim))
    times = _read_instants(name, variables, time, ends=ends)
    kept = values.chunks[values.dims.index(y_dim)] if values.chunks else 1
    called = next((n for n, v in variables.items() if v is values), "")
    texts = [values.text(n) for n in ("long_name", "standard_name", "description", "comment")]
    quality = None
    if mask != NONE:
        layers = list(_list_quality_layers(variables, values, x_dim, y_dim))
        if beside is not None:
            layers += beside(Footing(times, x, y, crs), opened)
        quality = choose_mask(name, layers, mask)
    return GridStack(
        name,
        times,
        x,
        y,
        crs,
        values.text("units"),
        _make_read(values, x_dim, y_dim),
        kept,
        _find_sums(variables, time),
        may_add_up(called, texts),
        find_no_rain([called, *texts[:2]], " ".join(values.text(n) for n in ("cell_methods", "GRIB_stepType"))),
        _find_reference(name, variables),
        mask_name="" if quality is None else quality.name,
        read_good=None if quality is None else quality.read_good,
    )


def _list_quality_layers(
    variables: Mapping[str, Variable], values: Variable, x_dim: str, y_dim: str
) -> Iterator[QualityLayer]:
    """List the other variables on the grid of the values: of one time, or of the same times."""
    ancillary = values.text("ancillary_variables").split()
    sizes = dict(zip(values.dims, values.shape, strict=True))
    for name, variable in variables.items():
        if variable is values or not {x_dim, y_dim} <= set(variable.dims):
            continue
        other = [(d, n) for d, n in zip(variable.dims, variable.shape, strict=True) if d not in {x_dim, y_dim}]
        if any(n > 1 and sizes.get(d) != n for d, n in other):
            continue
        layer = _make_layer(name, variable, x_dim, y_dim)
        yield layer if name in ancillary or is_quality_name(name) else replace(layer, rule=None)


def _make_layer(name: str, variable: Variable, x_dim: str, y_dim: str) -> QualityLayer:
    texts = {key: variable.text(key) for key in ("flag_meanings", "description", "long_name", "comment")}
    rule = find_rule(name, {**texts, "flag_values": variable.attrs.get("flag_values", ())})
    return QualityLayer(name, _make_read(variable, x_dim, y_dim, has_fills=False), rule)


def _find_sums(variables: Mapping[str, Variable], time: Variable) -> bool | None:
    """Whether the bounds of several times say that sums add up; None where there are none, or they say neither."""
    bounds = variables.get(time.text("bounds"))
    if bounds is None or bounds.shape != (*time.shape, 2) or prod(time.shape) < 2:
        return None
    first, last = np.asarray(bounds.get(...), float).reshape(-1, 2).T
    if (first == first[0]).all():
        return True
    return False if (first[1:] >= last[:-1] - 0.01 * (last[:-1] - first[:-1])).all() else None


def _find_reference(name: str, variables: Mapping[str, Variable]) -> datetime | None:
    variable = next((v for n, v in variables.items() if n.lower() in _REFERENCES and _is_time(v)), None)
    found = set() if variable is None else set(_read_instants(name, {}, variable, ends=False))
    if len(found) > 1:
        raise ConfigError(f"{name}: its layers count from {len(found)} reference dates; give each a file of its own")
    return found.pop() if found else None


def _choose(name: str, variables: Mapping[str, Variable], wanted: str | None) -> Variable:
    grids = _list_grids(variables)
    if wanted is not None:
        if wanted not in grids:
            raise ConfigError(f"{name}: no grid {wanted!r}; there are: {', '.join(sorted(grids)) or 'none'}")
        return grids[wanted]
    if len(grids) != 1:
        there = ", ".join(sorted(grids)) or "none (rows and columns need coordinates of one dimension)"
        raise ConfigError(f"{name}: expected one grid, or --variable; there are: {there}")
    return next(iter(grids.values()))


def _list_grids(variables: Mapping[str, Variable]) -> dict[str, Variable]:
    return {
        n: v
        for n, v in variables.items()
        if len(v.dims) >= 2
        and n not in v.dims
        and any(_is_axis(variables.get(d), d, "x") for d in v.dims)
        and any(_is_axis(variables.get(d), d, "y") for d in v.dims)
    }


def _is_axis(variable: Variable | None, name: str, which: str) -> bool:
    if variable is None or len(variable.dims) != 1:
        return False
    standard = variable.text("standard_name")
    if standard in (_X if which == "x" else _Y) or variable.text("axis").lower() == which:
        return True
    return not standard and name.lower() in _NAMES[which]


def _find_axis(name: str, variables: Mapping[str, Variable], values: Variable, which: str) -> str:
    found = [d for d in values.dims if _is_axis(variables.get(d), d, which)]
    if len(found) != 1 or variables[found[0]].shape[0] > MOST_SIDE:
        raise ConfigError(f"{name}: expected one dimension {which} of at most {MOST_SIDE} cells")
    return found[0]


def _find_time(name: str, variables: Mapping[str, Variable], values: Variable, others: Sequence[str]) -> Variable:
    if others:
        if others[0] not in variables or not _is_time(variables[others[0]]):
            raise ConfigError(f"{name}: dimension {others[0]!r} has no times")
        return variables[others[0]]
    named = [variables[n] for n in (*values.dims, *values.text("coordinates").split()) if n in variables]
    found = [v for v in named if _is_time(v)] or [
        v
        for n, v in variables.items()
        if _is_time(v) and prod(v.shape) == 1 and (n == "time" or v.text("standard_name") == "time")
    ]
    if len(found) != 1:
        like = "" if found else "; a time has units such as 'hours since 2026-01-01' (CF conventions)"
        raise ConfigError(f"{name}: expected one time of the grid, found {len(found)}{like}")
    return found[0]


def _is_time(variable: Variable) -> bool:
    return " since " in variable.text("units").lower()


def _read_instants(name: str, variables: Mapping[str, Variable], time: Variable, *, ends: bool) -> Any:
    if prod(time.shape) > MOST_TIMES:
        raise ConfigError(f"{name}: more than {MOST_TIMES} times")
    numbers = np.atleast_1d(_unpack(time)).ravel()
    bounds = variables.get(time.text("bounds"))
    if ends and bounds is not None and bounds.shape == (*time.shape, 2):
        numbers = _unpack(bounds).reshape(-1, 2).max(axis=1)
    return read_times(numbers.tolist(), time.text("units"), time.text("calendar"), name)


def _find_crs(name: str, variables: Mapping[str, Variable], values: Variable, x_dim: str) -> CRS:
    mapping = variables.get(values.text("grid_mapping").split(":")[0])
    if mapping is None:
        axis = variables[x_dim]
        if axis.text("standard_name") == "longitude" or axis.text("units").lower().startswith("degree"):
            return CRS.from_epsg(4326)
        raise ConfigError(f"{name}: no grid_mapping says what x and y are")
    plain = {k: v.tolist() if isinstance(v, np.ndarray | np.generic) else v for k, v in mapping.attrs.items()}
    plain = {k: v.decode("utf-8", "replace") if isinstance(v, bytes) else v for k, v in plain.items()}
    try:
        return CRS.from_cf(plain)
    except (CRSError, KeyError) as error:
        raise ConfigError(f"{name}: its grid_mapping cannot be used: {str(error)[:120]}") from None


def _read_axis(variable: Variable, crs: CRS) -> Array:
    numbers = _unpack(variable)
    return numbers if crs.is_geographic else numbers * _SCALES.get(variable.text("units").lower(), 1.0)


def _find_packing(variable: Variable) -> tuple[float, float]:
    scale, offset = (
        float(np.asarray(variable.attrs.get(n, usual)).ravel()[0])
        for n, usual in (("scale_factor", 1), ("add_offset", 0))
    )
    return scale, offset


def _unpack(variable: Variable) -> Array:
    scale, offset = _find_packing(variable)
    return np.asarray(variable.get(...), float) * scale + offset


def _list_missing(numbers: Array) -> list[Any]:
    """Numbers that mean nothing, one or several; written as text they are none of its type, and count all the same."""
    try:
        return list(numbers.ravel() if numbers.dtype.kind in "iuf" else numbers.ravel().astype(str).astype(float))
    except ValueError:
        return []


def _make_read(
    values: Variable, x_dim: str, y_dim: str, *, has_fills: bool = True
) -> Callable[[slice, slice, slice], Array]:
    """Make the function that reads a variable.

    Args:
        has_fills: numbers that stand out are fills which nobody declared. In a mask they are codes.
    """
    attrs = values.attrs
    unsigned = values.text("_Unsigned").lower() == "true"  # classic files have no other type for it

    def count(numbers: Any) -> Array:
        plain = np.asarray(numbers)
        return plain.view(plain.dtype.str.replace("i", "u")) if unsigned and plain.dtype.kind == "i" else plain

    missing = [v for n in ("_FillValue", "missing_value") if n in attrs for v in _list_missing(count(attrs[n]))]
    scale, offset = _find_packing(values)
    limits = attrs.get("valid_range", (attrs.get("valid_min", -np.inf), attrs.get("valid_max", np.inf)))
    low, high = (float(count(v).ravel()[0]) for v in limits)
    # limits of a wider type than packed numbers are those of values (NetCDF Users Guide, attribute conventions)
    are_wide = any(np.asarray(v).dtype.kind == "f" for v in limits)

    def read(layers: slice, rows: slice, columns: slice) -> Array:
        chosen = {y_dim: rows, x_dim: columns}
        raw = count(
            values.get(
                tuple(
                    chosen.get(d, layers if n > 1 else slice(0, 1))
                    for d, n in zip(values.dims, values.shape, strict=True)
                )
            )
        )
        order = [k for k, d in enumerate(values.dims) if d not in chosen]
        raw = raw.transpose([*order, values.dims.index(y_dim), values.dims.index(x_dim)])
        raw = raw.reshape((-1, *raw.shape[-2:]))
        found = raw.astype(float)
        limited = found * scale + offset if are_wide and raw.dtype.kind in "iu" else found
        found[(limited < low) | (limited > high)] = np.nan
        for value in missing:
            found[raw == value] = np.nan
        return (leave_fills(found, zero=False) if has_fills else found) * scale + offset

    return read
