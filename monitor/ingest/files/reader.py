"""What a reader of files is: which files it takes, what must be said of them, and what a line of one says."""

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
LARGEST_MM: Final = 100_000.0  # 100 m: no ground that radar still recognises
NAME_LIMIT: Final = 64
_IN_MM: Final = {"mm": 1.0, "cm": 10.0, "m": 1000.0}
CheckedRow = tuple[Row, PayloadError | None]
"""A row in the neutral long form, and why it is refused where that is known already."""


class Content(Enum):
    """What a file holds."""

    READINGS = "readings of stations"
    POINTS = "InSAR points"


@dataclass(frozen=True, slots=True)
class StationPlace:
    """Where the site file says that a station stands."""

    station: str
    latitude: float
    longitude: float
    height_m: float | None = None
    rain: str = ""  # what its rain is declared as: interval_end, counter or event; "" where it has none


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """What a person says of a file beside its name; the options of `slopeward ingest`, and places of the site file."""

    mapping: TableMapping | None = None  # what the columns of a wide table mean
    point_set: str | None = None  # name of a set of points
    direction: str | None = None  # what a positive value of a point means
    unit: str | None = None  # of points, or of the values of a grid that does not say it
    station: str | None = None  # whose positions a file holds
    quantity: str | None = None  # what the values of a grid are
    variable: str | None = None  # which one of a file of several grids
    mask: str | None = None  # which quality layer masks a grid: NAME, NAME=VALUE, NAME>=VALUE or none
    window_m: float | None = None  # cells within so many metres of a station are averaged; None: the nearest cell
    within_m: float | None = None  # pixels farther from every station are left out; None: none is
    time: str | None = None  # gpst or utc, where a file of solutions does not say it
    places: tuple[StationPlace, ...] = ()  # stations of the site that have a place
    origins: tuple[tuple[str, Origin], ...] = ()  # stations of the site whose positions count from somewhere
    total_stations: tuple[TotalStation, ...] = ()  # instruments of the site that send distances and angles
    name: str = ""  # what its owner calls the file, where it lies under another name
    site_file: str = ""  # the text of that of the site, for readers of plugins
    stamp: str | None = None  # interval_end or counter: what the rain of a grid is, where its values leave it open
    companions: tuple[Path, ...] | None = None  # files of `list_companions`; None: list the folder

    @property
    def is_motion(self) -> bool:
        """Whether a grid holds displacement or velocity: points always do."""
        return self.quantity is None or self.quantity.startswith(("displacement", "velocity"))

    def call(self, path: Path) -> Path:
        """The file by the name that its owner gave it: some forms say there what their values are."""
        return path.with_name(self.name) if self.name else path


@dataclass(frozen=True, slots=True)
class ReadingLine:
    """What one line of a file of readings says: its rows, and how many cells say "no measurement"."""

    rows: tuple[CheckedRow, ...] = ()
    missing: int = 0
    mask: str = ""  # the quality layers that were applied
    masked: int = 0  # how many of the missing values they took away


@dataclass(frozen=True, slots=True)
class ValueMeaning:
    """What the values of a set mean; never guessed."""

    name: str
    direction: str  # one of DIRECTIONS: what a positive value means
    unit: str  # one of UNITS
    wavelength_mm: float | None = None  # of the radar, where the form of the file says it
    reference_at: datetime | None = None  # from which displacements count, where the file says it
    reference_point: str | None = None  # against which they count, where the file says it
    mask: str = ""  # the quality layers that were applied to them

    def check(self, value: PointValue, now: datetime) -> PayloadError | None:
        """Why a value cannot be one, or None; nobody can be asked about one of many points."""
        if (doubt := doubt_span(value.observed_at, value.observed_at, now)) is not None:
            return PayloadError("bad_time", LABELLED_TEXT(name=f"point {value.pid}", text=doubt))
        if abs(value.value) * _IN_MM[self.unit] > LARGEST_MM:
            return PayloadError("out_of_range", f"{value.value:g} {self.unit} of point {value.pid}: is the unit right?")
        return None


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row, or a cell with what names it, and why it was refused; `count` values are lost with it."""

    row: Mapping[str, Any]
    error: PayloadError
    count: int = 1


@dataclass(frozen=True, slots=True)
class PointLine:
    """What one line says: a point with values, or what is wrong."""

    point: Point | None
    values: tuple[PointValue, ...] = ()
    missing: int = 0
    bad: tuple[BadRow, ...] = ()
    masked: int = 0  # how many of the missing values a quality layer took away


OpenReadings = Callable[[Path, ImportOptions], AbstractContextManager[Iterator[ReadingLine]]]
"""Opens a file of readings; raises ConfigError where it is none of this form."""
OpenPoints = Callable[[Path, ImportOptions, datetime], AbstractContextManager[tuple[ValueMeaning, Iterator[PointLine]]]]
"""Opens a file of points, with the present instant; raises ConfigError where it is none of this form."""


@dataclass(frozen=True, slots=True)
class FileReader:
    """One form of files."""

    open: OpenReadings | OpenPoints  # by its content
    help: str  # what a file of this form holds, for `slopeward ingest --help` and docs/how-to/import-files.md
    content: Content = Content.READINGS  # readings or points
    # which files of a folder are its own. Whether a file has the form, its columns say when it is opened.
    suffixes: tuple[str, ...] = SUFFIXES
    needs: tuple[str, ...] = ()  # options that must be given
    takes: tuple[str, ...] = ()  # options that may be given
    recognises: Callable[[str], bool] | None = None  # whether a text that begins like this has the format
    in_worker: bool = False  # read by a large library written in C: never here (`sandboxed_conversion`)


_COMPANION_OF_MINTPY: Final = re.compile(r"mask|temporal_?coh|quality", re.IGNORECASE)
_COMPANION: Final = re.compile(
    r"(?<!un)mask(?!ed)|coh(?:erence)?(?![a-z])|(?<![A-Za-z])cc(?![A-Za-z])|quality|conn\w*comp|reliab|layover|shadow",
    re.IGNORECASE,
)
_HDF5: Final = frozenset({".h5", ".he5", ".hdf5"})
_GRIDS: Final = frozenset({".nc", ".nc4", ".cdf", ".tif", ".tiff"})


def list_companions(path: Path) -> tuple[Path, ...]:
    """List the masks and quality layers in the folder of a grid: of MintPy and LiCSBAS, netCDF files and GeoTIFFs."""
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
    """Which of the names a file's name begins with, the longest where several fit; G1 is none of G10_x.csv.

    >>> [find_by_name(f, ("G1", "G1_a")) for f in ("G1_2026.pos", "G1_a.csv", "G1", "G10_2026.pos", "G1-b.pos")]
    ['G1', 'G1_a', 'G1', None, None]
    """
    fitting = (n for n in names if file.startswith(n) and not re.match(r"[^\W_]|-", file[len(n) :]))
    return max(fitting, key=len, default=None)


def add_places(options: ImportOptions, site: Site | None) -> ImportOptions:
    """With what the site file says of the places of its stations."""
    stations = () if site is None else site.stations
    places = tuple(
        StationPlace(
            one.id, one.latitude, one.longitude, one.height_m, rain.stamp if (rain := one.find_series("rain")) else ""
        )
        for one in stations
        if one.latitude is not None and one.longitude is not None
    )
    origins = tuple((one.id, one.origin) for one in stations if one.origin is not None)
    station = options.station if site is None or options.station is None else site.find_current_id(options.station)
    text = "" if site is None else site.source
    total_stations = () if site is None else site.total_stations
    return replace(
        options,
        places=places,
        origins=origins,
        station=station,
        site_file=text,
        total_stations=total_stations,
    )
