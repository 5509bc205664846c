"""Optional packages: which extra installs a module, and messages for a module that is missing."""

from importlib.util import find_spec
from typing import Final

from monitor.errors import SlopewardError
from monitor.text.message import LABELLED_TEXT, Message, Template

_INSTALL: Final = Template("extra.install", "pip install 'slopeward[{extra}]' (/help/how-to/install on the page)")
_PACKAGE: Final = Template("extra.package", "{what} needs {distribution}, which is not installed")
# Packages of Slopeward with a distribution of their own: module -> (distribution, extra that installs it).
PACKAGES: Final[dict[str, tuple[str, str]]] = {
    "slopeward_earth": ("slopeward-earth", "earth"),
    "slopeward_lab": ("slopeward-lab", "lab"),
}
# Module -> (text about what needs it, extra of pyproject.toml that installs it).
EXTRAS: Final[dict[str, tuple[str, str]]] = {
    "torch": ("PyTorch is not installed; networks, autoencoders and scenes need it", "models"),
    "statsmodels": ("statsmodels is not installed; seasons need it", "models"),
    "statsforecast": (
        "statsforecast is not installed; comparisons with its forecasts need it, and pandas below 3",
        "compare",
    ),
    "h5py": ("h5py is not installed; HDF5 files need it", "grids"),
    "asyncssh": ("asyncssh is not installed; sources by SFTP need it", "sources"),
    "pymysql": ("PyMySQL is not installed; a source that reads MySQL or MariaDB needs it", "sources"),
    "signxml": ("signxml is not installed; signed CAP messages need it", "cap"),
    "lxml": ("lxml is not installed; signed CAP messages need it", "cap"),
    "pillow_heif": ("pillow-heif is not installed; photos of iPhones (HEIC) need it", "photos"),
    "weasyprint": ("WeasyPrint is not installed; reports as PDF need it", "reports"),
    "h5netcdf": ("h5netcdf is not installed; netCDF-4 files need it", "grids"),
    "xarray": ("xarray is not installed; netCDF and HDF5 files need it", "grids"),
    "pyarrow": ("pyarrow is not installed; Parquet files need it", "parquet"),
    "psycopg": ("psycopg is not installed; PostgreSQL needs it", "postgresql"),
    "amqtt": ("amqtt is not installed; a demonstration without Mosquitto needs it", "demo"),
    "distributed": ("Dask is not installed; compute.dask needs it", "dask"),
}


def is_installed(module: str) -> bool:
    """Return whether a module can be imported, without importing it."""
    return find_spec(module) is not None


def find_install(module: str) -> Message:
    """Return the command that installs an optional module."""
    return _INSTALL(extra=EXTRAS[module][1])


def describe_missing(module: str) -> Message:
    """Return one line: which module is missing, what needs it, and the command that installs it."""
    return LABELLED_TEXT(name=EXTRAS[module][0], text=find_install(module))


def describe_package(module: str, what: str) -> Message:
    """Return one line: what needs a missing package of `PACKAGES`, and the command that installs it."""
    distribution, extra = PACKAGES[module]
    return LABELLED_TEXT(name=_PACKAGE(what=what, distribution=distribution), text=_INSTALL(extra=extra))


def require(module: str, error: type[SlopewardError]) -> None:
    """Raise `error` with the line of `describe_missing` if a module is not installed."""
    if not is_installed(module):
        raise error(describe_missing(module))


def explain_missing(error: BaseException) -> Message | None:
    """Return the line of `describe_missing` for a failed import of an optional module. None for any other error."""
    if not isinstance(error, ModuleNotFoundError) or error.name is None:
        return None
    module = error.name.partition(".")[0]
    return describe_missing(module) if module in EXTRAS else None
