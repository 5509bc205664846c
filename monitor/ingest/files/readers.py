"""The readers of files that exist: name for `slopeward ingest --format`, to the reader."""

from importlib import import_module
from typing import Any, Final

from monitor.domain.errors import ConfigError
from monitor.domain.extension import load_declared
from monitor.ingest.files.reader import Content, FileReader, OpenPoints, OpenReadings
from monitor.ingest.files.tables import SUFFIXES, WIDE_SUFFIXES

LONG: Final = "long"
WIDE: Final = "wide"
ROOM: Final = "monitor.ingest.files"
GRIDS: Final = "monitor.ingest.grids.read"

GRID_SUFFIXES: Final = (".nc", ".nc4", ".cdf", ".tif", ".tiff", ".vrt")

READERS: Final[dict[str, FileReader]] = {
    LONG: FileReader(f"{ROOM}.lines:open_long", "time, station, quantity, value"),
    WIDE: FileReader(
        f"{ROOM}.lines:open_wide", "any table, explained by a mapping", suffixes=WIDE_SUFFIXES, needs=("--mapping",)
    ),
    "gnss": FileReader(
        f"{ROOM}.gnss:open_gnss",
        "positions of stations: Nevada tenv3, tenv and kenv, PBO .pos and .csv, SIO .neu",
        suffixes=(".tenv3", ".tenv", ".kenv", ".pos", ".neu", ".csv", ".txt"),
    ),
    "rtklib": FileReader(
        f"{ROOM}.rtklib:open_rtklib",
        "solutions of RTKLIB for one station with an origin in the site file",
        suffixes=(".pos", ".dat", ".txt"),
        takes=("--station", "--time"),
    ),
    "egms": FileReader(
        f"{ROOM}.egms:open_egms",
        "InSAR points of the European Ground Motion Service, in mm",
        Content.POINTS,
        suffixes=(*SUFFIXES, ".zip"),
        takes=("--set", "--direction"),
    ),
    "insar-wide": FileReader(
        f"{ROOM}.egms:open_wide_points",
        "InSAR points with a column a date, as SqueeSAR and StaMPS export them",
        Content.POINTS,
        suffixes=(*SUFFIXES, ".zip"),
        needs=("--set", "--direction", "--unit"),
    ),
    "insar-points": FileReader(
        f"{ROOM}.point_rows:open_points",
        "InSAR points as time, point, latitude, longitude, value",
        Content.POINTS,
        suffixes=(*SUFFIXES, ".zip"),
        needs=("--set", "--direction", "--unit"),
    ),
    "grid": FileReader(
        f"{GRIDS}:open_grid",
        "a grid in netCDF or GeoTIFF, such as radar rain, read at the stations of the site",
        suffixes=GRID_SUFFIXES,
        needs=("--quantity",),
        takes=("--unit", "--variable", "--mask", "--window", "--stamp"),
        in_worker=True,
    ),
    "insar-grid": FileReader(
        f"{GRIDS}:open_pixels",
        "displacement by satellite radar as a stack in netCDF or GeoTIFF, every pixel a point",
        Content.POINTS,
        suffixes=GRID_SUFFIXES,
        needs=("--set", "--direction"),
        takes=("--unit", "--variable", "--mask", "--within"),
        in_worker=True,
    ),
    "mintpy": FileReader(
        f"{GRIDS}:open_mintpy_points",
        "displacement of MintPy, a geocoded time series in HDF5 or HDF-EOS5, every pixel a point",
        Content.POINTS,
        suffixes=(".h5", ".he5", ".hdf5"),
        takes=("--set", "--direction", "--unit", "--mask", "--within"),
        in_worker=True,
    ),
}
for _more in load_declared("functions", "ingest.readers"):
    READERS.update(_more)


def open_readings(form: str) -> OpenReadings:
    """What opens a file of readings of a form; raises ConfigError where there is none."""
    found: OpenReadings = _load(form, Content.READINGS)
    return found


def open_points(form: str) -> OpenPoints:
    """What opens a file of points of a form; raises ConfigError where there is none."""
    found: OpenPoints = _load(form, Content.POINTS)
    return found


def _load(form: str, content: Content) -> Any:
    reader = READERS.get(form)
    if reader is None or reader.content is not content:
        known = ", ".join(name for name, r in READERS.items() if r.content is content)
        raise ConfigError(f"form {form!r} holds no {content.value}; expected one of {known}")
    module, _, function = reader.opens.partition(":")
    return getattr(import_module(module), function)
