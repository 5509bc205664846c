"""Readers of file formats by their names in `slopeward ingest --format`."""

from collections.abc import Mapping
from functools import cache
from typing import Final, cast

from monitor.errors import ConfigError
from monitor.ingest.files import egms, gnss, lines, point_rows, rtklib
from monitor.ingest.files.reader import Content, FileReader, OpenPoints, OpenReadings
from monitor.ingest.files.tables import SUFFIXES, WIDE_SUFFIXES
from monitor.plugins import hooks

LONG: Final = "long"
WIDE: Final = "wide"

_TABLES_AND_POINTS: Final[Mapping[str, FileReader]] = {
    LONG: FileReader(lines.open_long, "time, station, quantity, value"),
    WIDE: FileReader(
        lines.open_wide, "any table, explained by a mapping", suffixes=WIDE_SUFFIXES, needs=("--mapping",)
    ),
    "gnss": FileReader(
        gnss.open_gnss,
        "positions of stations: Nevada tenv3, tenv and kenv, PBO .pos and .csv, SIO .neu",
        suffixes=(".tenv3", ".tenv", ".kenv", ".pos", ".neu", ".csv", ".txt"),
    ),
    "rtklib": FileReader(
        rtklib.open_rtklib,
        "solutions of RTKLIB for one station with an origin in the site file",
        suffixes=(".pos", ".dat", ".txt"),
        takes=("--station", "--time"),
    ),
    "egms": FileReader(
        egms.open_egms,
        "InSAR points of the European Ground Motion Service, in mm",
        Content.POINTS,
        suffixes=(*SUFFIXES, ".zip"),
        takes=("--set", "--direction"),
    ),
    "insar-wide": FileReader(
        egms.open_wide_points,
        "InSAR points with a column a date, as SqueeSAR and StaMPS export them",
        Content.POINTS,
        suffixes=(*SUFFIXES, ".zip"),
        needs=("--set", "--direction", "--unit"),
    ),
    "insar-points": FileReader(
        point_rows.open_points,
        "InSAR points as time, point, latitude, longitude, value",
        Content.POINTS,
        suffixes=(*SUFFIXES, ".zip"),
        needs=("--set", "--direction", "--unit"),
    ),
}


@cache
def list_readers() -> Mapping[str, FileReader]:
    """Return all readers by name: those of this package, then those of plugins whose names are not taken."""
    readers = dict(_TABLES_AND_POINTS)
    for registered in hooks().register_file_readers():
        for name, reader in registered.items():
            readers.setdefault(name, reader)
    return readers


def open_readings(form: str) -> OpenReadings:
    """Return the function that opens a file of readings; raises ConfigError for an unknown format."""
    return cast(OpenReadings, _find(form, Content.READINGS).open)


def open_points(form: str) -> OpenPoints:
    """Return the function that opens a file of points; raises ConfigError for an unknown format."""
    return cast(OpenPoints, _find(form, Content.POINTS).open)


def _find(form: str, content: Content) -> FileReader:
    reader = list_readers().get(form)
    if reader is None or reader.content is not content:
        names = ", ".join(name for name, r in list_readers().items() if r.content is content)
        raise ConfigError(f"format {form!r} contains no {content.value}; expected one of {names}")
    return reader
