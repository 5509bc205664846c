"""Optional Python packages: the extra of pyproject.toml that installs each, and messages if one is missing."""

from importlib.util import find_spec
from typing import Final, NamedTuple

from monitor.errors import SlopewardError
from monitor.text.message import LABELLED_TEXT, Message, Template

_INSTALL_COMMAND: Final = Template(
    "extra.install", "pip install 'slopeward[{extra}]' (/help/how-to/install on the page)"
)
_NOT_INSTALLED: Final = Template("extra.package", "{what} needs {distribution}, which is not installed")


class OwnPackage(NamedTuple):
    """A package of Slopeward that is a distribution of its own."""

    distribution: str
    extra: str  # extra of `slopeward` that installs it


class OptionalModule(NamedTuple):
    """A module of a third party that only some functions need."""

    message: str  # that it is missing, and what needs it
    extra: str  # extra of `slopeward` that installs it


PACKAGES: Final = {
    "slopeward_earth": OwnPackage("slopeward-earth", "earth"),
    "slopeward_lab": OwnPackage("slopeward-lab", "lab"),
}
OPTIONAL_MODULES: Final = {
    "torch": OptionalModule("PyTorch is not installed; networks, autoencoders and scenes need it", "models"),
    "statsmodels": OptionalModule("statsmodels is not installed; the analysis of seasons needs it", "models"),
    "statsforecast": OptionalModule(
        "statsforecast is not installed; comparisons with its forecasts need it and a version of pandas below 3",
        "compare",
    ),
    "h5py": OptionalModule("h5py is not installed; HDF5 files need it", "grids"),
    "asyncssh": OptionalModule("asyncssh is not installed; sources by SFTP need it", "sources"),
    "pymysql": OptionalModule("PyMySQL is not installed; a source that reads MySQL or MariaDB needs it", "sources"),
    "signxml": OptionalModule("signxml is not installed; signed CAP messages need it", "cap"),
    "lxml": OptionalModule("lxml is not installed; signed CAP messages need it", "cap"),
    "pillow_heif": OptionalModule("pillow-heif is not installed; photos of iPhones (HEIC) need it", "photos"),
    "weasyprint": OptionalModule("WeasyPrint is not installed; reports as PDF need it", "reports"),
    "h5netcdf": OptionalModule("h5netcdf is not installed; netCDF-4 files need it", "grids"),
    "xarray": OptionalModule("xarray is not installed; netCDF and HDF5 files need it", "grids"),
    "pyarrow": OptionalModule("pyarrow is not installed; Parquet files need it", "parquet"),
    "psycopg": OptionalModule("psycopg is not installed; a database in PostgreSQL needs it", "postgresql"),
    "amqtt": OptionalModule("amqtt is not installed; a demonstration without Mosquitto needs it", "demo"),
    "distributed": OptionalModule("Dask is not installed; compute.dask needs it", "dask"),
}


def is_installed(module: str) -> bool:
    """Return whether a module can be imported, without importing it."""
    return find_spec(module) is not None


def describe_install(module: str) -> Message:
    """Return the command that installs an optional module."""
    return _INSTALL_COMMAND(extra=OPTIONAL_MODULES[module].extra)


def describe_missing(module: str) -> Message:
    """Return one line: which module is missing, what needs it, and the command that installs it."""
    return LABELLED_TEXT(name=OPTIONAL_MODULES[module].message, text=describe_install(module))


def describe_package(module: str, what: str) -> Message:
    """Return one line: what needs a package of `PACKAGES` that is missing, and the command that installs it."""
    package = PACKAGES[module]
    missing = _NOT_INSTALLED(what=what, distribution=package.distribution)
    return LABELLED_TEXT(name=missing, text=_INSTALL_COMMAND(extra=package.extra))


def require(module: str, error: type[SlopewardError]) -> None:
    """Raise `error` with the line of `describe_missing` if a module is not installed."""
    if not is_installed(module):
        raise error(describe_missing(module))


def explain_missing(error: BaseException) -> Message | None:
    """Return the line of `describe_missing` if an import of an optional module failed; None for any other error."""
    if not isinstance(error, ModuleNotFoundError) or error.name is None:
        return None
    module = error.name.partition(".")[0]
    return describe_missing(module) if module in OPTIONAL_MODULES else None
