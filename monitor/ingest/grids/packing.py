"""Values of packed variables by the CF conventions (chapters 2.5.1 and 8.1): scale, offset, fills and valid range."""

import warnings
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import xarray as xr

from monitor.ingest.grids.dataset import read_text
from monitor.ingest.grids.stack import Array, mask_fills

_FILLS: Final = ("_FillValue", "missing_value")


def unpack(variable: xr.Variable) -> Array:
    """Return all values of a variable in float64, NaN where a value is missing or outside the valid range."""
    return _unpack(variable, np.asarray(variable.values), has_undeclared_fills=False)


def make_reader(
    variable: xr.Variable, x_dimension: str, y_dimension: str, *, has_undeclared_fills: bool = True
) -> Callable[[slice, slice, slice], Array]:
    """Return a function that reads layers, rows and columns of a variable, shape (layers, rows, columns).

    Args:
        has_undeclared_fills: Numbers such as -9999 that are far from all others are missing values, although the file
            does not declare them. False for masks, whose numbers are codes.
    """
    plane = (y_dimension, x_dimension)

    def read(layers: slice, rows: slice, columns: slice) -> Array:
        indexers: dict[str, Any] = {}
        for dimension, size in variable.sizes.items():
            indexers[str(dimension)] = layers if size > 1 else 0
        indexers |= {y_dimension: rows, x_dimension: columns}
        part = variable.isel(indexers).transpose(..., *plane)
        raw = np.asarray(part.values)
        values = _unpack(part, raw, has_undeclared_fills=has_undeclared_fills)
        return values.reshape((-1, *values.shape[-2:]))

    return read


def _unpack(variable: xr.Variable, raw: Any, *, has_undeclared_fills: bool) -> Array:
    """Decode the stored numbers `raw` of a variable."""
    scale = _read_number(variable, "scale_factor", 1.0)
    offset = _read_number(variable, "add_offset", 0.0)
    # xarray computes in float64 if both are given as float64
    attributes: dict[str, Any] = {"scale_factor": np.float64(scale), "add_offset": np.float64(offset)}
    is_unsigned = read_text(variable.attrs, "_Unsigned").lower() == "true"
    if is_unsigned:
        attributes["_Unsigned"] = "true"
    for name in _FILLS:
        fills = _read_fills(variable.attrs.get(name, ()), raw.dtype)
        if fills.size:
            attributes[name] = fills if fills.size > 1 else fills[0]
    packed = xr.Dataset({"values": xr.Variable(variable.dims, raw, attributes)})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", xr.SerializationWarning)  # several fill values are allowed
        decoded = xr.decode_cf(packed, decode_times=False, decode_coords=False)
    values: Array = np.array(decoded["values"].values, np.float64)
    numbers = _to_unsigned(raw) if is_unsigned else raw
    values[_is_out_of_range(variable, numbers, values, is_unsigned=is_unsigned)] = np.nan
    if has_undeclared_fills:
        declared = np.where(np.isnan(values), np.nan, numbers.astype(np.float64))
        values[np.isnan(mask_fills(declared, zero=False))] = np.nan
    return values


def _read_number(variable: xr.Variable, name: str, default: float) -> float:
    return float(np.ravel(variable.attrs.get(name, default))[0])


def _read_fills(stated: Any, dtype: Any) -> Any:
    """Return the declared fill values in the type of the variable. Some programs write them as text."""
    fills = np.ravel(stated)
    if fills.dtype.kind in "SUO":
        try:
            numbers = fills.astype(str).astype(np.float64)
        except ValueError:
            return np.array([], dtype)
        fills = numbers.astype(dtype)
        return fills[fills == numbers]
    return fills


def _to_unsigned(raw: Any) -> Any:
    """Return the numbers of a classic file that declares `_Unsigned`: the format has no unsigned types."""
    return raw.view(raw.dtype.str.replace("i", "u")) if raw.dtype.kind == "i" else raw


def _is_out_of_range(variable: xr.Variable, numbers: Any, values: Array, *, is_unsigned: bool) -> Any:
    """Return where numbers are outside `valid_range`, or outside `valid_min` and `valid_max`.

    The limits refer to packed numbers, unless their type is wider than that of the packed numbers (NetCDF Users Guide,
    attribute conventions).
    """
    attributes = variable.attrs
    limits = attributes.get("valid_range")
    if limits is None:
        limits = (attributes.get("valid_min", -np.inf), attributes.get("valid_max", np.inf))
    declared = [np.asarray(limit) for limit in limits]
    if is_unsigned:
        declared = [_to_unsigned(limit) for limit in declared]
    low, high = (float(limit.ravel()[0]) for limit in declared)
    if (low, high) == (-np.inf, np.inf):
        return np.zeros(values.shape, bool)
    is_unpacked = numbers.dtype.kind in "iu" and any(
        limit.dtype.kind == "f" and np.isfinite(limit).all() for limit in declared
    )
    compared = values if is_unpacked else numbers
    return (compared < low) | (compared > high)
