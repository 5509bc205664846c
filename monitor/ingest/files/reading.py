"""A file of observations through the same gate as messages: same units, flags, revisions, quarantine."""

from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Final, TypeVar, cast

from sqlalchemy import Connection

from monitor.errors import ConfigError, PayloadError, StoreBusyError, UnitDoubtError
from monitor.ingest.decoders.rows import EPOCH0, FRAME, join_bad_rows, read_row
from monitor.ingest.files.mapping import TableMapping
from monitor.ingest.files.reader import CheckedRow, ImportOptions, ReadingLine, add_places
from monitor.ingest.files.readers import LONG, WIDE, open_readings
from monitor.ingest.files.tables import Row
from monitor.ingest.files.units import ScaleCheck, find_header_doubts
from monitor.ingest.files.value_ranges import RangeCheck
from monitor.ingest.message import FILE_TOPIC
from monitor.ingest.pipeline import UNKNOWN_SITE, Clock, Pipeline
from monitor.ingest.queries.messages import RejectedMessage
from monitor.ingest.references import PREFIX, Reference
from monitor.ingest.text.counts import SECONDS_PER_UNIT
from monitor.ingest.text.plausible_times import (
    CENTURY_MOST,
    doubt_century,
    doubt_count,
    doubt_span,
    doubt_unset,
    find_unset,
)
from monitor.ingest.tips import join_tips
from monitor.readings.no_value import FILL, is_no_value
from monitor.readings.queries.flags import UNDECLARED, renew_flags
from monitor.readings.queries.points import PointsAdded
from monitor.readings.queries.storing import AddResult
from monitor.readings.records import Observation
from monitor.sites.queries.sites import find_version
from monitor.sites.records import Site
from monitor.storage.actor import Actor
from monitor.storage.audit import add_audit
from monitor.storage.engine import Database
from monitor.storage.service_state import find_heartbeat, write_heartbeat
from monitor.text.instants import from_epoch_s, parse_time
from monitor.text.message import Message, Template, join

PEEKED: Final = 100  # rows: a file says with each of its positions what they count from, or with none
_TWO: Final = Template("frame.two", "{file}: positions of {station} in two frames: {one}; {other}. One file for each")
_OTHER: Final = Template(
    "frame.other",
    "{file}: {station} counts {kept}, the file {given}: nothing of it was stored. Give it another --station, or, where "
    "the new one holds from now on, say slopeward ingest --forget-epoch0 {place} before",
)


@dataclass(slots=True)
class FileFrames:
    """What a file says that its stations count from, by site and station."""

    file: str
    references: dict[tuple[str, str], Reference] = field(default_factory=dict)

    def add(self, item: Observation, frame: object, epoch0: object) -> None:
        """One position; raises ConfigError where the station has another frame in the same file."""
        place = (item.site, item.station)
        reference = Reference(str(frame), parse_time(epoch0) if isinstance(epoch0, str) else None)
        known = self.references.get(place, reference)
        joined = known.join(reference)
        if joined is None:
            raise ConfigError(
                _TWO(file=self.file, station=item.station, one=known.describe(), other=reference.describe())
            )
        self.references[place] = joined

    def check(self, c: Connection) -> None:
        """Raise ConfigError where a station counts from something else."""
        for (site, station), reference in self.references.items():
            row = find_heartbeat(c, f"{PREFIX}{site}/{station}")
            kept = reference if row is None else Reference.read(row[1])
            if kept.join(reference) is None:
                names = {"file": self.file, "station": station, "place": f"{site}/{station}"}
                raise ConfigError(_OTHER(**names, kept=kept.describe(), given=reference.describe()))

    def save(self, c: Connection, now: datetime) -> None:
        """Keep what stations count from now, in a write transaction."""
        for (site, station), reference in self.references.items():
            row = find_heartbeat(c, f"{PREFIX}{site}/{station}")
            joined = reference if row is None else Reference.read(row[1]).join(reference)
            if joined is not None:
                write_heartbeat(c, f"{PREFIX}{site}/{station}", {**(row[1] if row else {}), **joined.to_json()}, now)


def has_frames(rows: Iterable[tuple[object, object]]) -> bool:
    """Whether the first rows of a file say what their positions count from."""
    return any(isinstance(row, Mapping) and row.get(FRAME) for row, _ in islice(rows, PEEKED))


CHUNK: Final = 5000
ATTEMPTS: Final = 12  # each waits as long as the database's own limit: a minute on SQLite
_DOUBT: Final = Template("file.unit", "{file}: is the unit right? {details}")
_DOUBTED: Final = Template(
    "file.unit.refused",
    "{doubt}. Nothing of the file was stored: correct the unit, or say --accept-units when it is right",
)
_DOUBT_TIMES: Final = Template("file.times", "{file}: can the times be right? {details}")
_DOUBTED_TIMES: Final = Template(
    "file.times.refused",
    "{doubt}. Nothing of the file was stored: correct them, or say --accept-times when they are right",
)
_DOUBT_SUMS: Final = Template("file.sums", "{file}: is its rain what the site file says? {details}")
_DOUBTED_SUMS: Final = Template(
    "file.sums.refused", "{doubt}. Nothing of the file was stored: correct `stamp` in the site file"
)
_NO_SITE: Final = Template("file.site", "the row names no site; give --site")
Added = TypeVar("Added")
OpenLines = Callable[[], AbstractContextManager[Iterator[ReadingLine]]]


@dataclass(slots=True)
class FileResult:
    """What became of a file."""

    file: str
    rows: int = 0
    valid: int = 0
    stored: int = 0
    duplicates: int = 0
    revisions: int = 0
    rejected: int = 0
    joined: int = 0  # tips that were added to another tip of their instant
    missing: int = 0  # cells that say "no measurement"
    masked: int = 0  # how many of them a quality layer took away
    mask: str = ""  # that quality layer
    fills: dict[float, int] = field(default_factory=dict)  # numbers that stand for "no value", with their count
    reasons: dict[str, int] = field(default_factory=dict)
    first_reason: str = ""  # a message
    from_at: datetime | None = None
    to_at: datetime | None = None
    sites: set[str] = field(default_factory=set)
    points: int = 0  # of a file of InSAR points
    flags: dict[str, int] = field(default_factory=dict)  # values that bear each flag
    undeclared: set[str] = field(default_factory=set)  # series that the site file does not name, STATION.quantity

    unknown: set[str] = field(default_factory=set)  # stations among them that the site file does not name at all

    def add_stored(self, added: AddResult | PointsAdded) -> None:
        """Count what was stored."""
        self.stored += added.stored
        self.duplicates += added.duplicates
        self.revisions += added.revisions

    def reject(self, code: str, reason: str, count: int) -> None:
        """Count values that are refused for one reason."""
        self.rejected += count
        self.reasons[code] = self.reasons.get(code, 0) + count
        self.first_reason = self.first_reason or reason

    def reach(self, at: datetime) -> None:
        """Note the instant of a value."""
        self.from_at = min(self.from_at or at, at)
        self.to_at = max(self.to_at or at, at)


def find_doubted(error: UnitDoubtError) -> str:
    """What is doubtful of a file, without what to do about it on the command line."""
    text = error.message
    return text if not isinstance(text, Message) else cast("str", text.values["doubt"])


@dataclass(frozen=True, slots=True)
class FileImport:
    """A file that is read in chunks through the gate and stored, or only looked at."""

    path: Path  # `-` is CSV from stdin
    pipeline: Pipeline  # that of a dry run may have no database
    site: Site | None  # where rows without a `site` column belong
    clock: Clock  # when the rows come in: a file read now was not known before
    form: str | None = None  # a name in `list_readers()`; None: the neutral long form, or wide where there is a mapping
    mapping: TableMapping | None = None  # what the columns of a wide table mean
    dry_run: bool = False
    accept_units: bool = False  # a person has said that they are right, however doubtful they look
    accept_times: bool = False  # the same of times ahead of now or before 1950
    # Live data: values out of range are stored and flagged, and the evaluation raises an urgent alert.
    accept_ranges: bool = False
    on_progress: Callable[[FileResult], None] = lambda _: None  # called after each chunk
    by: str | None = None  # who reads it in; it stands with the values that it changes
    name: str = ""  # what people call the file; else its path
    open_lines: OpenLines | None = None  # opens what was read of the file elsewhere, in place of the file
    before_storing: Callable[[], None] = lambda: None  # called once, when nothing of it is doubtful

    def run(self) -> FileResult:
        """Read the file.

        Raises:
            ConfigError: it is no such table.
            UnitDoubtError: its units or its times are doubtful; nothing of it was stored.
            StoreBusyError: the database did not answer; what came before is stored, reading again is harmless.
        """
        result = FileResult(self._title)
        who = None if self.by is None else f"{self.by} ({self.name or self.path.name})"
        if not (self.accept_units and self.accept_times):
            self._check()
        frames = self._read_frames()
        self.before_storing()
        if frames.references and not self.dry_run:
            insist(partial(self.pipeline.database.do, frames.save, self.clock()))
        with self._open() as lines:
            judged = _check_lines(lines, result)
            for chunk in _split_rows(judged):
                observations, rejected = self._sort(chunk)
                _count(result, observations, rejected, self.pipeline.sites)
                if not self.dry_run:
                    joined = join_tips(observations, self.pipeline.sites)
                    result.joined += len(observations) - len(joined)
                    added = insist(partial(self.pipeline.store_rows, joined, [r for r, _ in rejected], who))
                    result.add_stored(added)
                self.on_progress(result)
        if result.stored:
            insist(self.pipeline.complete)
        return result

    @property
    def _title(self) -> str:
        return self.name or str(self.path)

    def _open(self) -> AbstractContextManager[Iterator[ReadingLine]]:
        if self.open_lines is not None:
            return self.open_lines()
        form = self.form or (LONG if self.mapping is None else WIDE)
        return open_readings(form)(self.path, add_places(ImportOptions(self.mapping), self.site))

    def _read_frames(self) -> FileFrames:
        seen = FileFrames(self._title)
        with self._open() as lines:
            if not has_frames(_check_lines(lines, FileResult(self._title))):
                return seen
        with self._open() as lines:
            for row, error in _check_lines(lines, FileResult(self._title)):
                if error is None and row.get(FRAME):
                    with suppress(PayloadError):  # it goes to the quarantine
                        place = _find_site(row, self.pipeline.sites, self.site)
                        item = read_row(row, place, self.pipeline.vocabulary, self.clock())
                        seen.add(item, row[FRAME], row.get(EPOCH0))
        if not self.dry_run:
            self.pipeline.database.run_read(seen.check)
        return seen

    def _check(self) -> None:
        """Look at the whole file before anything of it is stored.

        Raises:
            UnitDoubtError: what is doubtful of its units and times, all of it.
        """
        title, database = self._title, None if self.dry_run else self.pipeline.database
        scales, looked, read_at_s = ScaleCheck(), FileResult(title), array("d")
        ranges = RangeCheck()
        with self._open() as lines:
            judged = _check_lines(lines, looked)
            for chunk in _split_rows(judged):
                good = self._sort(chunk)[0]
                measured = [one for one in good if FILL not in one.flags]
                scales.add(measured)
                ranges.add(measured)
                read_at_s.extend(item.observed_at.timestamp() for item in good)
                placed = (row.get("time") for row, error in chunk if error is None)
                placed_at = (at for at in placed if isinstance(at, datetime) and at.tzinfo is not None)
                for at in (*(item.observed_at for item in good), *placed_at):
                    looked.reach(at)
        units = [
            *(find_header_doubts(self.mapping.columns) if self.mapping else ()),
            *scales.find_doubts(self.pipeline.sites, database),
            *(() if self.accept_ranges else ranges.find_doubts(self.pipeline.sites)),
        ]
        times = [] if self.accept_times else _doubt_times(looked, read_at_s, self.mapping, self.clock())
        sums = [text for text, is_sure in scales.find_sums(self.pipeline.sites) if is_sure or not self.accept_units]
        doubts = [_DOUBT_TIMES(file=title, details=join(times))] if times else []
        doubts += [_DOUBT(file=title, details=join(units))] if units and not self.accept_units else []
        doubts += [_DOUBT_SUMS(file=title, details=join(sums))] if sums else []
        if doubts:
            refused = _DOUBTED_TIMES if times else _DOUBTED if units or not sums else _DOUBTED_SUMS
            raise UnitDoubtError(refused(doubt=join(doubts)))

    def _sort(self, chunk: list[CheckedRow]) -> tuple[list[Observation], list[tuple[RejectedMessage, int]]]:
        received_at, source = self.clock(), f"file:{self.name or self.path.name}"
        good: list[Observation] = []
        bad: dict[str, list[tuple[Any, PayloadError]]] = {}
        for row, known_error in chunk:
            place = self.site
            try:
                if known_error is not None:
                    raise known_error
                place = _find_site(row, self.pipeline.sites, self.site)
                good.append(read_row(row, place, self.pipeline.vocabulary, received_at))
            except PayloadError as error:
                bad.setdefault(place.id if place else str(row.get("site", "")), []).append((row, error))
        rejected: list[tuple[RejectedMessage, int]] = []
        for site_id, rows in bad.items():
            counts = Counter(cause.code for _, cause in rows)
            rejected += [
                (
                    RejectedMessage(received_at, FILE_TOPIC + site_id, f.payload, f.code, f.reason, source),
                    counts[f.code],
                )
                for f in join_bad_rows(rows)
            ]
        return list(self.pipeline.flag(good)), rejected


def store_rows(rows: Iterable[Row], pipeline: Pipeline, site: Site, now: datetime, by: str, name: str) -> FileResult:
    """Store rows that are no file: a person typed them, or a map gave them; raises StoreBusyError."""
    lines = [ReadingLine(((row, None),)) for row in rows]
    return FileImport(
        Path(name),
        pipeline,
        site,
        lambda: now,
        accept_units=True,
        accept_times=True,
        by=by,
        name=name,
        open_lines=lambda: nullcontext(iter(lines)),
    ).run()


def _doubt_times(
    looked: FileResult, read_at_s: Iterable[float], mapping: TableMapping | None, now: datetime
) -> list[Message]:
    if looked.from_at is None or looked.to_at is None:
        return []
    span = looked.from_at, looked.to_at
    found = [doubt_span(*span, now)]
    if find_unset(span[0]) is not None:
        found.append(doubt_unset([from_epoch_s(at_s) for at_s in sorted(read_at_s)]))
    if mapping is not None and now - looked.to_at >= CENTURY_MOST:
        found.append(doubt_century(mapping.time.format, looked.to_at))
    if mapping is not None and mapping.time.format in SECONDS_PER_UNIT:
        found.append(doubt_count(mapping.time.column, mapping.time.since, *span, now))
    return [one for one in found if one is not None]


def _split_rows(rows: Iterable[CheckedRow]) -> Iterator[list[CheckedRow]]:
    """Split rows into chunks, if possible not between rows of one instant: tips of one instant are added up."""
    chunk: list[CheckedRow] = []
    for row in rows:
        is_full = len(chunk) >= CHUNK and row[0].get("time") != chunk[-1][0].get("time")
        if is_full or len(chunk) >= 2 * CHUNK:
            yield chunk
            chunk = []
        chunk.append(row)
    if chunk:
        yield chunk


def _check_lines(lines: Iterable[ReadingLine], result: FileResult) -> Iterator[CheckedRow]:
    for line in lines:
        result.rows += 1
        result.missing += line.missing
        result.mask = result.mask or line.mask
        result.masked += line.masked
        for row, error in line.rows:
            if error is None and "value" in row and is_no_value(row["value"]):
                result.missing += 1
            else:
                yield row, error


def _find_site(row: Mapping[str, Any], sites: Mapping[str, Site], default: Site | None) -> Site:
    name = row.get("site")
    if name is None:
        if default is None:
            raise PayloadError("no_site", _NO_SITE())
        return default
    if default is not None and default.id == name:
        return default
    if name not in sites:
        raise PayloadError("unknown_site", UNKNOWN_SITE(site=str(name)[:64]))
    return sites[str(name)]


def insist(act: Callable[[], Added], refusals: tuple[type[Exception], ...] = (StoreBusyError,)) -> Added:
    """Do it until the database takes it; raises what stood in the way the last time."""
    for _ in range(ATTEMPTS - 1):
        with suppress(*refusals):
            return act()
    return act()


def _count(
    result: FileResult,
    observations: list[Observation],
    rejected: list[tuple[RejectedMessage, int]],
    sites: Mapping[str, Site],
) -> None:
    result.valid += len(observations)
    for row, count in rejected:
        result.reject(row.code, row.reason, count)
    for item in observations:
        result.sites.add(item.site)
        for flag in item.flags:
            result.flags[flag] = result.flags.get(flag, 0) + 1
        if UNDECLARED in item.flags:
            result.undeclared.add(f"{item.station}.{item.quantity}")
            if item.site in sites and sites[item.site].station(item.station) is None:
                result.unknown.add(item.station)
        result.reach(item.observed_at)


# ---- what follows a file that was read in ---------------------------------------------------------------------------
def record_file(database: Database, who: Actor, result: FileResult, now: datetime) -> None:
    """Who brought readings in; a file that brought nothing leaves no entry."""
    if result.stored:
        _record(database, who, "ingest.file", result.file, result, now)


def record_units(database: Database, who: Actor, file: str, result: FileResult, now: datetime) -> None:
    """Who said that the units of a file are right; what follows from it can be traced back."""
    _record(database, who, "ingest.accept_units", file, result, now)


def _record(database: Database, who: Actor, action: str, file: str, result: FileResult, now: datetime) -> None:
    detail = {"file": file, "rows": result.rows, "stored": result.stored}
    with database.write() as connection:
        add_audit(connection, who, action, ",".join(sorted(result.sites)), detail, now)


def renew_known_flags(
    database: Database, sites: Mapping[str, Site], touched: Iterable[str], now: datetime
) -> list[str]:
    """Judge again what is stored already: a station may have been declared since it was read.

    Returns the sites whose file is not in force yet: their flags follow it from then on.
    """
    waiting = []
    for site in (sites[name] for name in sorted(touched) if name in sites):
        with database.write() as connection:
            if find_version(connection, site.id) in {None, site.version}:
                renew_flags(connection, site, now, changed=False)
            else:
                waiting.append(site.id)
    return waiting
