"""Import of a file of readings, with the units, flags, revisions and quarantine of messages."""

from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar, cast

from monitor.errors import PayloadError, StoreBusyError, UnitDoubtError
from monitor.ingest.decoders.rows import EPOCH0, FRAME, join_bad_rows, read_row
from monitor.ingest.files.file_frames import FileFrames, has_frames
from monitor.ingest.files.mapping import TableMapping
from monitor.ingest.files.reader import CheckedRow, ImportOptions, ReadingLine, add_places
from monitor.ingest.files.readers import LONG, WIDE, open_readings
from monitor.ingest.files.tables import Row
from monitor.ingest.files.units import ScaleCheck, find_header_doubts
from monitor.ingest.files.value_ranges import RangeCheck
from monitor.ingest.message import FILE_TOPIC
from monitor.ingest.pipeline import UNKNOWN_SITE, Clock, Pipeline
from monitor.ingest.queries.messages import RejectedMessage
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
from monitor.text.instants import from_epoch_s
from monitor.text.message import Message, Template, join

CHUNK_ROWS: Final = 5000
ATTEMPTS: Final = 12  # each waits as long as the busy timeout of the database: a minute in total on SQLite
_DOUBT: Final = Template("file.unit", "{file}: is the unit right? {details}")
_DOUBTED: Final = Template(
    "file.unit.refused",
    "{doubt}. Nothing of the file was stored: correct the unit, or say --accept-units when it is right",
)
_DOUBT_TIMES: Final = Template("file.times", "{file}: can the times be right? {details}")
_DOUBTED_TIMES: Final = Template(
    "file.times.refused",
    "{doubt}. Nothing of the file was stored: correct them, or confirm them: --accept-times (slopeward ingest), "
    "--accept-units (slopeward import)",
)
_DOUBT_SUMS: Final = Template("file.sums", "{file}: is its rain what the site file says? {details}")
_DOUBTED_SUMS: Final = Template(
    "file.sums.refused", "{doubt}. Nothing of the file was stored: correct `stamp` in the site file"
)
_NO_SITE: Final = Template("file.site", "the row names no site; give --site")
Result = TypeVar("Result")
OpenLines = Callable[[], AbstractContextManager[Iterator[ReadingLine]]]
"""Opens the lines of a file; called more than once."""


@dataclass(slots=True)
class FileResult:
    """Result of the import of a file.

    Attributes:
        file: The name of the file.
        rows: Lines of the file. A line of a wide table contains a value for each of its columns.
        valid: Values that were accepted.
        stored: Values that were stored.
        duplicates: Values that were stored before.
        revisions: Values that replace stored ones.
        rejected: Values that were rejected.
        joined: Tips that were added to another tip of their instant.
        missing: Cells without a measurement.
        masked: Number of missing cells that a quality layer removed.
        mask: The quality layers.
        fills: Numbers that stand for "no value", with their count.
        reasons: The number of rejected values by reason.
        first_reason: The message of the first rejected value.
        from_at: The first instant.
        to_at: The last instant.
        sites: The sites of the values.
        points: The points of a file of InSAR points.
        flags: The number of values by flag.
        undeclared: Series that the site file does not contain, as STATION.quantity.
        unknown: Stations among them that the site file does not contain.
    """

    file: str
    rows: int = 0
    valid: int = 0
    stored: int = 0
    duplicates: int = 0
    revisions: int = 0
    rejected: int = 0
    joined: int = 0
    missing: int = 0
    masked: int = 0
    mask: str = ""
    fills: dict[float, int] = field(default_factory=dict)
    reasons: dict[str, int] = field(default_factory=dict)
    first_reason: str = ""
    from_at: datetime | None = None
    to_at: datetime | None = None
    sites: set[str] = field(default_factory=set)
    points: int = 0
    flags: dict[str, int] = field(default_factory=dict)
    undeclared: set[str] = field(default_factory=set)
    unknown: set[str] = field(default_factory=set)

    def add_stored(self, added: AddResult | PointsAdded) -> None:
        """Count what was stored."""
        self.stored += added.stored
        self.duplicates += added.duplicates
        self.revisions += added.revisions

    def reject(self, code: str, reason: str, count: int) -> None:
        """Count values that are rejected for one reason."""
        self.rejected += count
        self.reasons[code] = self.reasons.get(code, 0) + count
        self.first_reason = self.first_reason or reason

    def reach(self, at: datetime) -> None:
        """Extend the time span to the instant of a value."""
        self.from_at = min(self.from_at or at, at)
        self.to_at = max(self.to_at or at, at)


def find_doubted(error: UnitDoubtError) -> str:
    """Return what is doubtful in a file, without the remedy on the command line."""
    text = error.message
    return text if not isinstance(text, Message) else cast("str", text.values["doubt"])


@dataclass(frozen=True, slots=True)
class FileImport:
    """Import of one file of readings in chunks, or a check without storing.

    Attributes:
        path: The file; `-` is CSV from standard input.
        pipeline: The pipeline that stores the rows; that of a dry run may have no database.
        site: The site of rows without a `site` column.
        clock: Returns the instant at which the readings count as received.
        form: A name in `list_readers()`; None: the neutral long form, or wide if there is a mapping.
        mapping: The meaning of the columns of a wide table.
        dry_run: Whether nothing is stored.
        accept_units: Whether a person confirmed doubtful units, values out of range, and sums of rain that are not
            certainly wrong.
        accept_times: Whether a person confirmed times in the future or before 1950.
        accept_ranges: Whether values out of range are stored and flagged, as for live data: the evaluation then raises
            an urgent alert.
        on_progress: Called after each chunk that is stored.
        on_checked: Called after each chunk that is checked.
        by: The person who imports the file; stored with the values that it changes.
        name: The name of the file for people; "" for its path.
        open_lines: Opens the lines of the file; None: the reader of `form` or of `mapping` opens them.
        before_storing: Called once, when nothing of the file is doubtful.
        has_message_per_row: Whether each rejected row is a message of its own in the quarantine. A row that is read
            again is then counted, also if the rows around it differ.
    """

    path: Path
    pipeline: Pipeline
    site: Site | None
    clock: Clock
    form: str | None = None
    mapping: TableMapping | None = None
    dry_run: bool = False
    accept_units: bool = False
    accept_times: bool = False
    accept_ranges: bool = False
    on_progress: Callable[[FileResult], None] = lambda _: None
    on_checked: Callable[[FileResult], None] = lambda _: None
    by: str | None = None
    name: str = ""
    open_lines: OpenLines | None = None
    before_storing: Callable[[], None] = lambda: None
    has_message_per_row: bool = False

    def run(self) -> FileResult:
        """Import the file.

        Raises:
            ConfigError: The file does not have its form.
            UnitDoubtError: Its units, times, ranges or sums of rain are doubtful; nothing was stored.
            StoreBusyError: The database did not respond. Earlier chunks are stored; a second import is harmless.
        """
        result = FileResult(self._title)
        who = None if self.by is None else f"{self.by} ({self.name or self.path.name})"
        self.check()
        frames = self._read_frames()
        self.before_storing()
        if frames.references and not self.dry_run:
            retry_while_busy(partial(self.pipeline.database.run_write, frames.save, self.clock()))
        with self._open() as lines:
            for chunk in _split_rows(_list_rows(lines, result)):
                observations, rejected = self._sort(chunk)
                _count(result, observations, rejected, self.pipeline.sites)
                if not self.dry_run:
                    joined = join_tips(observations, self.pipeline.sites)
                    result.joined += len(observations) - len(joined)
                    messages = [message for message, _ in rejected]
                    added = retry_while_busy(partial(self.pipeline.store_rows, joined, messages, who))
                    result.add_stored(added)
                self.on_progress(result)
        if result.stored:
            retry_while_busy(self.pipeline.complete)
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
        """Return the reference frames of the file, after comparing them with the stored ones."""
        frames = FileFrames(self._title)
        with self._open() as lines:
            if not has_frames(_list_rows(lines, FileResult(self._title))):
                return frames
        with self._open() as lines:
            for row, error in _list_rows(lines, FileResult(self._title)):
                if error is not None or not row.get(FRAME):
                    continue
                with suppress(PayloadError):  # a bad row goes to the quarantine later
                    site = _find_site(row, self.pipeline.sites, self.site)
                    position = read_row(row, site, self.pipeline.vocabulary, self.clock())
                    frames.add(position, row[FRAME], row.get(EPOCH0))
        if not self.dry_run:
            self.pipeline.database.run_read(frames.check)
        return frames

    def check(self) -> None:
        """Check the whole file without storing any of it.

        Raises:
            UnitDoubtError: Units, times or sums are doubtful; the message contains all doubts.
        """
        title = self._title
        database = None if self.dry_run else self.pipeline.database
        scales = ScaleCheck()
        ranges = RangeCheck()
        span = FileResult(title)
        read_at_s = array("d")
        with self._open() as lines:
            for chunk in _split_rows(_list_rows(lines, span)):
                observations, rejected = self._sort(chunk)
                span.valid += len(observations)
                span.rejected += sum(count for _, count in rejected)
                measured = [item for item in observations if FILL not in item.flags]
                scales.add(measured)
                ranges.add(measured)
                read_at_s.extend(item.observed_at.timestamp() for item in observations)
                for item in observations:
                    span.reach(item.observed_at)
                # rows that are rejected for another reason have a time, too
                for row, error in chunk:
                    at = row.get("time")
                    if error is None and isinstance(at, datetime) and at.tzinfo is not None:
                        span.reach(at)
                self.on_checked(span)
        units = [
            *(find_header_doubts(self.mapping.columns) if self.mapping else ()),
            *scales.find_doubts(self.pipeline.sites, database),
            *(() if self.accept_ranges else ranges.find_doubts(self.pipeline.sites)),
        ]
        times = [] if self.accept_times else _doubt_times(span, read_at_s, self.mapping, self.clock())
        sums = [
            text for text, is_sure in scales.find_stamp_doubts(self.pipeline.sites) if is_sure or not self.accept_units
        ]
        doubts = [_DOUBT_TIMES(file=title, details=join(times))] if times else []
        doubts += [_DOUBT(file=title, details=join(units))] if units and not self.accept_units else []
        doubts += [_DOUBT_SUMS(file=title, details=join(sums))] if sums else []
        if doubts:
            template = _DOUBTED_TIMES if times else _DOUBTED if units or not sums else _DOUBTED_SUMS
            raise UnitDoubtError(template(doubt=join(doubts)))

    def _sort(self, chunk: list[CheckedRow]) -> tuple[list[Observation], list[tuple[RejectedMessage, int]]]:
        """Return the observations of a chunk, and messages for the quarantine with the number of rows of each."""
        received_at = self.clock()
        source = f"file:{self.name or self.path.name}"
        good: list[Observation] = []
        bad: dict[str, list[tuple[Any, PayloadError]]] = {}
        for row, row_error in chunk:
            site = self.site
            try:
                if row_error is not None:
                    raise row_error
                site = _find_site(row, self.pipeline.sites, self.site)
                good.append(read_row(row, site, self.pipeline.vocabulary, received_at))
            except PayloadError as error:
                bad.setdefault(site.id if site else str(row.get("site", "")), []).append((row, error))
        rejected: list[tuple[RejectedMessage, int]] = []
        for site_id, rows in bad.items():
            if self.has_message_per_row:
                faults = [fault for row in rows for fault in join_bad_rows([row])]
                counts = Counter({fault.code: 1 for fault in faults})
            else:
                faults = list(join_bad_rows(rows))
                counts = Counter(error.code for _, error in rows)
            for group in faults:
                message = RejectedMessage(
                    received_at, FILE_TOPIC + site_id, group.payload, group.code, group.reason, source
                )
                rejected.append((message, counts[group.code]))
        return list(self.pipeline.flag(good)), rejected


def store_rows(rows: Iterable[Row], pipeline: Pipeline, site: Site, now: datetime, by: str, name: str) -> FileResult:
    """Store rows that do not come from a file, such as readings that a person typed.

    Raises:
        StoreBusyError: The database did not respond.
    """
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
    span: FileResult, read_at_s: Iterable[float], mapping: TableMapping | None, now: datetime
) -> list[Message]:
    """Return why the times of a file are doubtful."""
    if span.from_at is None or span.to_at is None:
        return []
    doubts = [doubt_span(span.from_at, span.to_at, now)]
    if find_unset(span.from_at) is not None:
        doubts.append(doubt_unset([from_epoch_s(at_s) for at_s in sorted(read_at_s)]))
    if mapping is not None and now - span.to_at >= CENTURY_MOST:
        doubts.append(doubt_century(mapping.time.format, span.to_at))
    if mapping is not None and mapping.time.format in SECONDS_PER_UNIT:
        doubts.append(doubt_count(mapping.time.column, mapping.time.since, span.from_at, span.to_at, now))
    return [doubt for doubt in doubts if doubt is not None]


def _split_rows(rows: Iterable[CheckedRow]) -> Iterator[list[CheckedRow]]:
    """Split rows into chunks, if possible not between rows of one instant, because tips of one instant are added up."""
    chunk: list[CheckedRow] = []
    for row in rows:
        is_full = len(chunk) >= CHUNK_ROWS and row[0].get("time") != chunk[-1][0].get("time")
        if is_full or len(chunk) >= 2 * CHUNK_ROWS:
            yield chunk
            chunk = []
        chunk.append(row)
    if chunk:
        yield chunk


def _list_rows(lines: Iterable[ReadingLine], result: FileResult) -> Iterator[CheckedRow]:
    """Yield the rows with a value; count the others."""
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


def retry_while_busy(action: Callable[[], Result], errors: tuple[type[Exception], ...] = (StoreBusyError,)) -> Result:
    """Return the result of an action; repeat it up to `ATTEMPTS` times while the database is busy.

    Raises:
        Exception: The error of the last attempt.
    """
    for _ in range(ATTEMPTS - 1):
        with suppress(*errors):
            return action()
    return action()


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


# ---- after the import ------------------------------------------------------------------------------------------------


def record_file(database: Database, who: Actor, result: FileResult, now: datetime) -> None:
    """Add an audit entry for an import that stored readings."""
    if result.stored:
        _record(database, who, "ingest.file", result.file, result, now)


def record_units(database: Database, who: Actor, file: str, result: FileResult, now: datetime) -> None:
    """Add an audit entry for the person who confirmed the units of a file."""
    _record(database, who, "ingest.accept_units", file, result, now)


def _record(database: Database, who: Actor, action: str, file: str, result: FileResult, now: datetime) -> None:
    detail = {"file": file, "rows": result.rows, "stored": result.stored}
    with database.write() as connection:
        add_audit(connection, who, action, ",".join(sorted(result.sites)), detail, now)


def renew_known_flags(
    database: Database, sites: Mapping[str, Site], touched: Iterable[str], now: datetime
) -> list[str]:
    """Renew the flags of stored readings, whose station may have been declared since they were stored.

    Returns:
        The sites whose file is not in force yet. Their flags are renewed when it comes into force.
    """
    waiting = []
    for site in (sites[name] for name in sorted(touched) if name in sites):
        with database.write() as connection:
            if find_version(connection, site.id) in {None, site.version}:
                renew_flags(connection, site, now, changed=False)
            else:
                waiting.append(site.id)
    return waiting
