"""Types of the readers of files: options, lines, and the description of a reader."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Any, Final

from monitor.errors import PayloadError
from monitor.ingest.files.mapping import TableMapping
from monitor.ingest.files.tables import SUFFIXES, Row
from monitor.ingest.text.plausible_times import doubt_span
from monitor.readings.queries.points import Point, PointValue
from monitor.sites.records import Origin, Site, TotalStation
from monitor.text.message import LABELLED_TEXT

DIRECTIONS: Final = ("los-towards", "los-away", "east", "north", "up")
UNITS: Final = ("mm", "cm", "m")
LARGEST_MM: Final = 100_000.0  # radar does not recognise ground that moved 100 m
NAME_LIMIT: Final = 64
_IN_MM: Final = {"mm": 1.0, "cm": 10.0, "m": 1000.0}
CheckedRow = tuple[Row, PayloadError | None]
"""A row in the neutral long form, and the error for which it is rejected, or None."""


class Content(Enum):
    """What a file contains."""

    READINGS = "readings of stations"
    POINTS = "InSAR points"


@dataclass(frozen=True, slots=True)
class StationPlace:
    """Place of a station.

    Attributes:
        station: The id of the station.
        latitude: Degrees.
        longitude: Degrees.
        height_m: Metres; None if the site file does not contain it.
        rain: How its rain is declared: interval_end, counter or event; "" if it has no rain.
    """

    station: str
    latitude: float
    longitude: float
    height_m: float | None = None
    rain: str = ""


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """Options of the import of a file, and what the site file contains about its stations.

    Attributes:
        mapping: The meaning of the columns of a wide table.
        point_set: The name of a set of points.
        direction: The meaning of a positive value of a point.
        unit: The unit of points, or of a grid that does not contain it.
        station: The station whose positions a file contains.
        quantity: The quantity of a grid.
        variable: The variable to read from a file of several grids.
        mask: The quality layer that masks a grid: NAME, NAME=VALUE, NAME>=VALUE or none.
        window_m: Cells within so many metres of a station are averaged; None: the nearest cell.
        within_m: Pixels farther from every station are left out; None: no pixel is left out.
        time: `gpst` or `utc`, for a file of solutions that does not contain it.
        places: Places of stations, from the site file or from the file itself.
        origins: The stations of the site whose positions count from an origin.
        total_stations: The instruments of the site that send distances and angles.
        name: The name that the owner gave to the file, if it is stored under another name.
        site_file: The text of the site file, for readers of plugins.
        stamp: `interval_end` or `counter`: the meaning of rain in a grid that leaves it open.
        companions: The files of `list_companions`; None: list the folder.
    """

    mapping: TableMapping | None = None
    point_set: str | None = None
    direction: str | None = None
    unit: str | None = None
    station: str | None = None
    quantity: str | None = None
    variable: str | None = None
    mask: str | None = None
    window_m: float | None = None
    within_m: float | None = None
    time: str | None = None
    places: tuple[StationPlace, ...] = ()
    origins: tuple[tuple[str, Origin], ...] = ()
    total_stations: tuple[TotalStation, ...] = ()
    name: str = ""
    site_file: str = ""
    stamp: str | None = None
    companions: tuple[Path, ...] | None = None

    @property
    def is_motion(self) -> bool:
        """Return whether a grid contains displacement or velocity; points always do."""
        return self.quantity is None or self.quantity.startswith(("displacement", "velocity"))

    def restore_name(self, path: Path) -> Path:
        """Return the path with the name that its owner gave the file. Some forms have the station in it."""
        return path.with_name(self.name) if self.name else path


@dataclass(frozen=True, slots=True)
class ReadingLine:
    """Content of one line of a file of readings.

    Attributes:
        rows: The rows of the line.
        missing: The number of cells without a measurement.
        mask: The quality layers that were applied.
        masked: How many of the missing values the quality layers removed.
    """

    rows: tuple[CheckedRow, ...] = ()
    missing: int = 0
    mask: str = ""
    masked: int = 0


@dataclass(frozen=True, slots=True)
class ValueMeaning:
    """Meaning of the values of a set of points. It is never guessed.

    Attributes:
        name: The name of the set.
        direction: One of `DIRECTIONS`: the meaning of a positive value.
        unit: One of `UNITS`.
        wavelength_mm: The wavelength of the radar, if the file contains it.
        reference_at: The instant from which displacements count, if the file contains it.
        reference_point: The point against which they count, if the file contains it.
        mask: The quality layers that were applied to the values.
    """

    name: str
    direction: str
    unit: str
    wavelength_mm: float | None = None
    reference_at: datetime | None = None
    reference_point: str | None = None
    mask: str = ""

    def check(self, value: PointValue, now: datetime) -> PayloadError | None:
        """Return why a value is rejected, or None. A person cannot be asked about one of many points."""
        if (doubt := doubt_span(value.observed_at, value.observed_at, now)) is not None:
            return PayloadError("bad_time", LABELLED_TEXT(name=f"point {value.pid}", text=doubt))
        if abs(value.value) * _IN_MM[self.unit] > LARGEST_MM:
            return PayloadError("out_of_range", f"{value.value:g} {self.unit} of point {value.pid}: is the unit right?")
        return None


@dataclass(frozen=True, slots=True)
class BadRow:
    """A rejected row, or cell with its name; `count` values are lost with it."""

    row: Mapping[str, Any]
    error: PayloadError
    count: int = 1


@dataclass(frozen=True, slots=True)
class PointLine:
    """Content of one line of a file of points.

    Attributes:
        point: The point; None if it is rejected.
        values: Its values.
        missing: The number of missing values.
        bad: What is rejected.
        masked: How many of the missing values a quality layer removed.
    """

    point: Point | None
    values: tuple[PointValue, ...] = ()
    missing: int = 0
    bad: tuple[BadRow, ...] = ()
    masked: int = 0


OpenReadings = Callable[[Path, ImportOptions], AbstractContextManager[Iterator[ReadingLine]]]
"""Opens a file of readings; raises ConfigError if it does not have this form."""
OpenPoints = Callable[[Path, ImportOptions, datetime], AbstractContextManager[tuple[ValueMeaning, Iterator[PointLine]]]]
"""Opens a file of points, with the present instant; raises ConfigError if it does not have this form."""


@dataclass(frozen=True, slots=True)
class FileReader:
    """Description of one form of files.

    Attributes:
        open: Opens a file: an `OpenReadings` or an `OpenPoints`, by the content.
        help: What a file of this form contains, for `slopeward ingest --help` and docs/reference/file-formats.md.
        content: Readings or points.
        suffixes: The suffixes of its files in a folder. Whether a file has the form is checked when it is opened.
        needs: Options that must be given.
        takes: Options that may be given.
        recognises: Returns whether a file that starts with this text has the form.
        in_worker: Whether a large library written in C reads the file, which runs only in a sandboxed worker.
    """

    open: OpenReadings | OpenPoints
    help: str
    content: Content = Content.READINGS
    suffixes: tuple[str, ...] = SUFFIXES
    needs: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()
    recognises: Callable[[str], bool] | None = None
    in_worker: bool = False


_COMPANION_OF_MINTPY: Final = re.compile(r"mask|temporal_?coh|quality", re.IGNORECASE)
_COMPANION: Final = re.compile(
    r"(?<!un)mask(?!ed)|coh(?:erence)?(?![a-z])|(?<![A-Za-z])cc(?![A-Za-z])|quality|conn\w*comp|reliab|layover|shadow",
    re.IGNORECASE,
)
_HDF5: Final = frozenset({".h5", ".he5", ".hdf5"})
_GRIDS: Final = frozenset({".nc", ".nc4", ".cdf", ".tif", ".tiff"})


def list_companions(path: Path) -> tuple[Path, ...]:
    """Return the masks and quality layers in the folder of a grid: of MintPy and LiCSBAS, netCDF files and GeoTIFFs."""
    if is_licsbas(path):
        mask = path.parent / "results" / "mask"
        return (mask,) if mask.is_file() else ()
    is_hdf5 = path.suffix.lower() in _HDF5
    siblings = (file for file in path.parent.iterdir() if file.name != path.name and file.is_file())
    return tuple(sorted(f for f in siblings if is_companion(f) and (f.suffix.lower() in _HDF5) == is_hdf5))


def is_licsbas(path: Path) -> bool:
    """Return whether a file has the name of a LiCSBAS time series.

    >>> [is_licsbas(Path(name)) for name in ("cum.h5", "cum_filt.h5", "timeseries.h5", "cum.nc")]
    [True, True, False, False]
    """
    return path.suffix.lower() in _HDF5 and re.match(r"cum(?![a-z])", path.stem) is not None


def is_companion(path: Path) -> bool:
    """Return whether a grid is a mask or quality layer by its name.

    >>> [is_companion(Path(name)) for name in ("mask.geo.tif", "20240105_cc.tif", "maskTempCoh.h5", "masked_stack.tif")]
    [True, True, True, False]
    """
    suffix = path.suffix.lower()
    if suffix == ".h5":
        return bool(_COMPANION_OF_MINTPY.search(path.stem))
    return suffix in _GRIDS and bool(_COMPANION.search(path.stem))


def find_by_name(file: str, names: Iterable[str]) -> str | None:
    """Return the longest of the names with which the name of a file begins; G1 does not fit G10_x.csv.

    >>> [find_by_name(f, ("G1", "G1_a")) for f in ("G1_2026.pos", "G1_a.csv", "G1", "G10_2026.pos", "G1-b.pos")]
    ['G1', 'G1_a', 'G1', None, None]
    """
    fitting = (n for n in names if file.startswith(n) and not re.match(r"[^\W_]|-", file[len(n) :]))
    return max(fitting, key=len, default=None)


def add_places(options: ImportOptions, site: Site | None) -> ImportOptions:
    """Return the options with everything that the site file states; without a site they are unchanged.

    The site file states places, origins, total stations, the current id of the station, and its own text. Places and
    origins that the options have for other stations are kept, because a file may state them for a new station, and so
    are total stations if the site file has none.
    """
    if site is None:
        return options
    places = [place for place in options.places if site.station(place.station) is None]
    origins = [(name, origin) for name, origin in options.origins if site.station(name) is None]
    for station in site.stations:
        if station.latitude is not None and station.longitude is not None:
            rain = station.find_series("rain")
            stamp = "" if rain is None else rain.stamp
            place = StationPlace(station.id, station.latitude, station.longitude, station.height_m, stamp)
            places.append(place)
        if station.origin is not None:
            origins.append((station.id, station.origin))
    return replace(
        options,
        places=tuple(places),
        origins=tuple(origins),
        station=None if options.station is None else site.find_current_id(options.station),
        site_file=site.source,
        total_stations=site.total_stations or options.total_stations,
    )
