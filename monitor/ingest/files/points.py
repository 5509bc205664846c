"""Store a file of InSAR points in short transactions. A repeated value is a duplicate, another value a revision."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import datetime
from math import cos, hypot, radians
from pathlib import Path
from typing import Final

from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from monitor.errors import PayloadError, RefusedError, StoreBusyError
from monitor.ingest.decoders.rows import describe_first
from monitor.ingest.files.reader import BadRow, PointLine, ValueMeaning
from monitor.ingest.files.reading import FileResult, retry_while_busy
from monitor.ingest.message import POINTS_TOPIC
from monitor.ingest.pipeline import Clock
from monitor.ingest.queries.messages import RejectedMessage, add_rejected
from monitor.readings.no_value import find_fills
from monitor.readings.queries.points import (
    METRES_PER_DEGREE,
    PlacedPoint,
    Point,
    PointsAdded,
    PointValue,
    add_delivery,
    add_point_values,
    load_day_values,
    load_reference,
    open_point_set,
    place_points,
)
from monitor.sites.records import Site
from monitor.storage.engine import Database
from monitor.text.message import Figure, Template

CHUNK: Final = 4000  # values of one transaction, which then takes a fraction of a second
MOVED_M: Final = 100.0  # a point with the same id farther away is another point
PAUSE_MOST_S: Final = 1.0
_MOVED: Final = Template(
    "point.moved", "point {point} is more than {distance} from its stored place: another point, or another --set"
)
_TWICE: Final = Template("point.twice", "the file has different values of point {point} at {at}")
_OTHER_POINT: Final = Template(
    "point.other_reference", "point set {name} counts against the point {own}, this file against {new}: another --set"
)
_UNTIED: Final = Template(
    "point.untied",
    "the file counts from {day}, on which point {point} has no value here: read the file of that day first, or give "
    "another --set",
)
Opened = AbstractContextManager[tuple[ValueMeaning, Iterator[PointLine]]]


@dataclass(slots=True)
class _Chunk:
    points: dict[str, Point] = field(default_factory=dict)
    values: dict[tuple[str, datetime], PointValue] = field(default_factory=dict)
    bad: list[BadRow] = field(default_factory=list)
    size: int = 0  # includes missing and bad values: a file without good values ends chunks too


@dataclass(frozen=True, slots=True)
class PointsFile:
    """A file of points and where it is stored.

    Attributes:
        clock: Time of import: values were not known before.
        database: None only checks the file.
        pause: Called after each transaction with its duration (s), so that other processes can write.
    """

    path: Path
    site: Site
    clock: Clock
    database: Database | None
    pause: Callable[[float], None] = lambda held_s: time.sleep(min(held_s, PAUSE_MOST_S))


def read_points(file: PointsFile, opened: Opened) -> FileResult:
    """Store an opened file of points, or only check it.

    Raises:
        ConfigError: the file is damaged.
        RefusedError: the set exists with another direction or unit.
        StoreBusyError: the database is busy. Chunks before are stored; a repeated import is harmless.
    """
    result = FileResult(str(file.path), sites={file.site.id})
    began_at = file.clock()
    with opened as (declared, pieces):
        names: set[str] = set()
        result.mask = declared.mask
        try:
            for chunk in _gather(pieces, declared, result, began_at):
                names |= chunk.points.keys()
                result.points = len(names)
                if file.database is not None:
                    result.add_stored(_store(file, file.database, declared, chunk, began_at))
                result.valid += len(chunk.values)
                for bad in chunk.bad:
                    result.reject(bad.error.code, bad.error.message, bad.count)
                for _, at in chunk.values:
                    result.reach(at)
        finally:  # values before an error are stored and belong to the delivery
            if file.database is not None and result.stored and result.to_at is not None:
                _add_delivery(file, file.database, declared, result, result.to_at)
    return result


def _gather(pieces: Iterator[PointLine], declared: ValueMeaning, result: FileResult, now: datetime) -> Iterator[_Chunk]:
    chunk = _Chunk()
    for piece in pieces:
        result.rows += 1
        result.missing += piece.missing
        result.masked += piece.masked
        chunk.size += len(piece.values) + piece.missing + len(piece.bad) + 1
        chunk.bad += piece.bad
        if piece.point is not None:
            _add_point(chunk, piece.point, piece.values, declared, result, now)
        if chunk.size >= CHUNK:
            _remove_fills(chunk, result)
            yield chunk
            chunk = _Chunk()
    _remove_fills(chunk, result)
    yield chunk


def _remove_fills(chunk: _Chunk, result: FileResult) -> None:
    """Remove numbers that mean "no value": they are far from all other values of the chunk."""
    fills = find_fills([value.value for value in chunk.values.values()], whole=True)
    for key in [key for key, value in chunk.values.items() if value.value in fills]:
        fill = chunk.values.pop(key).value
        result.missing += 1
        result.fills[fill] = result.fills.get(fill, 0) + 1


def _add_point(
    chunk: _Chunk,
    point: Point,
    values: tuple[PointValue, ...],
    declared: ValueMeaning,
    result: FileResult,
    now: datetime,
) -> None:
    first = chunk.points.setdefault(point.pid, point)
    if _measure_distance_m(first.latitude, first.longitude, point) > MOVED_M:
        chunk.bad += [_moved(v) for v in values]
        return
    for value in values:
        if error := declared.check(value, now):
            chunk.bad.append(BadRow(_to_document(value), error))
            continue
        before = chunk.values.setdefault((value.pid, value.observed_at), value)
        if before.value != value.value:
            chunk.bad.append(_contradict(value))
        elif before is not value:
            result.duplicates += 1
            result.valid += 1


def _store(
    file: PointsFile, database: Database, declared: ValueMeaning, chunk: _Chunk, began_at: datetime
) -> PointsAdded:
    def store() -> PointsAdded:
        began_s = time.monotonic()
        added = database.run_write(_add, file, declared, chunk, began_at)
        file.pause(time.monotonic() - began_s)
        return added

    # another process may have stored the same keys
    return retry_while_busy(store, (StoreBusyError, IntegrityError))


def _open_set(c: Connection, file: PointsFile, declared: ValueMeaning) -> int:
    meaning = {
        "wavelength_mm": declared.wavelength_mm,
        "reference_point": declared.reference_point,
        "reference_at": None if declared.reference_at is None else declared.reference_at.isoformat(),
    }
    meta = {key: value for key, value in meaning.items() if value is not None}
    return open_point_set(c, file.site.id, declared.name, declared.direction, declared.unit, meta or None)


def _add(c: Connection, file: PointsFile, declared: ValueMeaning, chunk: _Chunk, began_at: datetime) -> PointsAdded:
    received_at = file.clock()
    set_id = _open_set(c, file, declared)
    placed = place_points(c, set_id, list(chunk.points.values()))
    moved = {
        pid
        for pid, place in placed.items()
        if _measure_distance_m(place.latitude, place.longitude, chunk.points[pid]) > MOVED_M
    }
    values = [v for v in chunk.values.values() if v.pid not in moved]
    values, untied = _tie(c, set_id, placed, values, declared)
    added = add_point_values(c, placed, values, received_at, began_at)
    refused = [_moved(v) for v in chunk.values.values() if v.pid in moved] + untied
    refused += [_contradict(v) for v in added.contradicted]
    for bad in refused:  # a transaction that is repeated must not count them again
        chunk.values.pop((str(bad.row["point"]), bad.row["time"]))
    chunk.bad += refused
    add_rejected(c, _quarantine(file, received_at, chunk.bad))
    return added


def _tie(
    c: Connection, set_id: int, placed: Mapping[str, PlacedPoint], values: list[PointValue], declared: ValueMeaning
) -> tuple[list[PointValue], list[BadRow]]:
    """Return values relative to the reference date of the set, and those that cannot be converted.

    Values of a file with another reference date are increased by the stored value of their point at that date.

    Raises:
        RefusedError: values are relative to another reference point.
    """
    reference_at, point = load_reference(c, set_id)
    if declared.reference_point and point and declared.reference_point != point:
        raise RefusedError(_OTHER_POINT(name=declared.name, own=point, new=declared.reference_point))
    new_at = declared.reference_at
    if new_at is None or reference_at is None or new_at.date() == reference_at.date():
        return values, []
    pids = {value.pid for value in values}
    base = load_day_values(c, {pid: place.id for pid, place in placed.items() if pid in pids}, new_at)
    tied = [replace(value, value=value.value + base[value.pid]) for value in values if value.pid in base]
    day = new_at.date().isoformat()
    untied = [value for value in values if value.pid not in base]
    return tied, [BadRow(_to_document(v), PayloadError("untied", _UNTIED(point=v.pid, day=day))) for v in untied]


def _quarantine(file: PointsFile, received_at: datetime, bad: list[BadRow]) -> list[RejectedMessage]:
    by_code: dict[str, list[BadRow]] = {}
    for item in bad:
        by_code.setdefault(item.error.code, []).append(item)
    return [
        RejectedMessage(
            received_at,
            POINTS_TOPIC + file.site.id,
            json.dumps({"rows": [b.row for b in rows]}, default=str).encode(),
            code,
            describe_first(len(rows), rows[0].error),
            f"file:{file.path.name}",
        )
        for code, rows in by_code.items()
    ]


def _add_delivery(
    file: PointsFile, database: Database, declared: ValueMeaning, result: FileResult, newest_at: datetime
) -> None:
    with database.write() as c:
        set_id = _open_set(c, file, declared)
        added = PointsAdded(result.stored, result.duplicates, result.revisions)
        name = file.path.name.encode("utf-8", "replace").decode()
        add_delivery(c, file.site.id, set_id, name, file.clock(), newest_at, added)


def _measure_distance_m(latitude: float, longitude: float, point: Point) -> float:
    north_m = (point.latitude - latitude) * METRES_PER_DEGREE
    east_m = (point.longitude - longitude) * METRES_PER_DEGREE * cos(radians(latitude))
    return hypot(north_m, east_m)


def _to_document(value: PointValue) -> dict[str, object]:
    return {"time": value.observed_at, "point": value.pid, "value": value.value, "sigma": value.sigma}


def _moved(value: PointValue) -> BadRow:
    reason = _MOVED(point=value.pid, distance=Figure(MOVED_M, "g", "m"))
    return BadRow(_to_document(value), PayloadError("point_moved", reason))


def _contradict(value: PointValue) -> BadRow:
    reason = _TWICE(point=value.pid, at=value.observed_at.isoformat())
    return BadRow(_to_document(value), PayloadError("contradiction", reason))
