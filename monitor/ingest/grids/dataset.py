"""Open netCDF and HDF5 files with xarray: h5netcdf reads netCDF-4 and HDF5, SciPy reads classic netCDF."""

from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any, Final

import xarray as xr

from monitor.errors import ConfigError

CHUNK_BYTES: Final = 256 << 20  # memory that one chunk needs when it is unpacked
_COORDINATE_LIMIT: Final = 10_000_000  # xarray loads the coordinates of all dimensions when it opens a file
_CLASSIC: Final = b"CDF"
# Errors that xarray, h5netcdf, h5py and SciPy raise for damaged files and for files of another form.
READ_ERRORS: Final = (
    OSError,
    KeyError,
    ValueError,
    TypeError,
    IndexError,
    AttributeError,
    RuntimeError,
    MemoryError,
)


@contextmanager
def open_dataset(path: Path, group: str | None = None) -> Iterator[xr.Dataset]:
    """Open the variables of a file as they are stored: packed, and loaded when they are indexed.

    Dimensions without a name, as in files of MintPy and LiCSBAS, are named `phony_dim_0` and so on.

    Args:
        group: Group of an HDF5 file. None is the root group.

    Raises:
        ConfigError: a chunk or a coordinate of the file is too large.
        OSError: the file cannot be read, or one of the other `READ_ERRORS`.
    """
    with path.open("rb") as stream:
        is_classic = stream.read(len(_CLASSIC)) == _CLASSIC
    if is_classic:
        with xr.open_dataset(path, engine="scipy", decode_cf=False, cache=False) as dataset:
            yield dataset
        return
    import h5netcdf

    with h5netcdf.File(path, "r", phony_dims="access") as file:
        node = file if group is None else file[group]
        _check_sizes(path, node)
        with xr.open_dataset(xr.backends.H5NetCDFStore(node), decode_cf=False, cache=False) as dataset:
            yield dataset


def _check_sizes(path: Path, group: Any) -> None:
    """Raise ConfigError if reading a part of a variable would need too much memory."""
    for name, variable in group.variables.items():
        size = prod(variable.chunks or ()) * variable.dtype.itemsize
        if size > CHUNK_BYTES:
            raise ConfigError(f"{path}: {name}: pieces of {size >> 20} MiB are too large")
        if variable.dimensions == (name,) and variable.shape[0] > _COORDINATE_LIMIT:
            raise ConfigError(f"{path}: {name}: {variable.shape[0]} coordinates; at most {_COORDINATE_LIMIT} are read")


def make_read_error(path: Path, form: str, error: BaseException) -> ConfigError:
    """Return the error for a file that a library could not read."""
    return ConfigError(f"{path}: cannot be read as {form}: {' '.join(str(error).split())[:200]}")


def read_text(attributes: Any, name: str) -> str:
    """Return an attribute as text; empty if the attribute is absent."""
    value = attributes.get(name, "")
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def find_chunk_rows(variable: xr.Variable, dimension: str) -> int:
    """Return how many rows of a variable the file stores in one chunk."""
    chunks = variable.encoding.get("chunksizes")
    return int(chunks[variable.dims.index(dimension)]) if chunks else 1
