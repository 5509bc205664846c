"""Look at the newest acquisitions of satellite points when a file of them has come in; all that is said is advice.

A look is a function of stored rows: what had come in when a delivery was through.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from hashlib import sha256
from math import ceil
from typing import Final, TypeVar

import numpy as np

from detection.anomaly.stages import Array
from monitor.api.database import IDLE, Database
from monitor.api.errors import JobError
from monitor.api.queries.readings import PointSetRequest, find_nearest, list_point_ids, load_places
from monitor.api.settings import ComputeSection, ServiceConfig
from monitor.api.sites import Site, convert
from monitor.api.text import Template, canonical_json, epoch_s, format_iso, parse_time
from monitor.api.worker import WorkerTask, is_stopping, run_all_in_workers, run_in_worker
from slopeward_earth.points.detection.alarms import BUDGET, compared_with
from slopeward_earth.points.detection.gather import CommonShift, LocatedAlarm, belongs, find_common, gather, join_shared
from slopeward_earth.points.detection.records import (
    AcquisitionCounts,
    PointAlarm,
    PointAlarmRequest,
    PointAlarmResult,
    PointTable,
    PointThresholdRequest,
    PointThresholds,
)
from slopeward_earth.points.store import looks as point_looks
from slopeward_earth.points.store.values import load_point_table
from slopeward_earth.points.texts import describe

_TOO_FEW: Final = Template("points.two", "fewer than two acquisitions")()
_NOTHING_NEW: Final = Template("points.nothing_new", "no acquisition is newer than those looked at before")()
PointSet = TypeVar("PointSet", bound=PointSetRequest)
Question = TypeVar("Question")
COUNT: Final = WorkerTask(
    "slopeward_earth.points.detection.alarms:count_thresholds", PointThresholdRequest, PointThresholds, describe
)
FIND_ALARMS: Final = WorkerTask(
    "slopeward_earth.points.detection.alarms:find_point_alarms", PointAlarmRequest, PointAlarmResult, describe
)
LEARN_FROM: Final = 1000  # points that thresholds are counted on, as in the bench
AT_ONCE: Final = 4000  # points of one table
TABLES: Final = 8  # that are in memory while a cluster works on them
LEARNT: Final = 0.67  # of the record: what thresholds are counted on is not news
FIRST: Final = 60  # acquisitions that a first look scores at most
HAPPENINGS: Final = 500  # that are stored of a look,
STORED: Final = 1000  # and points
DIGEST: Final = 1  # raised when the same rows give another look


def run(db: Database, config: ServiceConfig, site: Site, now: datetime) -> str:
    """Look at every set of which something came in; returns one line that says what was done.

    Raises JobError: workers failed at some sets, once the others were looked at.
    """
    due = db.run_read(point_looks.list_due, site.id)

    def detect(request: point_looks.ScanRequest) -> str:
        found = detect_alarms(db, config.compute, site, request)
        with db.write() as c:
            return describe_alarms(found) if point_looks.add_scan(c, request, found, now) else ""

    return go_through(due, detect)


def go_through(due: Sequence[PointSet], act: Callable[[PointSet], str]) -> str:
    """Do the same with every set; returns one line of what was said of each that has something to say.

    Raises JobError: it failed at some sets, once it was done with the others.
    """
    lines, failed, kinds = [], [], set()
    for point_set in due:
        try:
            if text := act(point_set):
                lines.append(f"{point_set.name}: {text}")
        except JobError as error:
            if is_stopping():
                raise
            failed.append(f"{point_set.name}: {error}")
            kinds.add(type(error))
    if failed:
        raise (kinds.pop() if len(kinds) == 1 else JobError)("; ".join([*failed, *lines]))
    return "; ".join(lines) or IDLE


def describe_alarms(found: point_looks.ScanResult) -> str:
    """A look in one line."""
    if found.reason:
        return f"not looked at: {found.reason}"
    until = "" if found.newest_at is None else f" until {format_iso(found.newest_at)[:10]}"
    seen = f"{found.points} points looked at in {found.acquisitions} new acquisitions{until}"
    common = sum(one.common for one in found.happenings)
    text = f"{seen}: {found.alarms} alarms, {len(found.happenings)} happenings, {common} of them common to all"
    more = [f"{found.withheld} points with too short a past"] if found.withheld else []
    more += [f"{found.left_out} alarms are not stored"] if found.left_out else []
    return "; ".join([text, *more])


def detect_alarms(
    db: Database, plan: ComputeSection, site: Site, request: point_looks.ScanRequest
) -> point_looks.ScanResult:
    """Count thresholds on a thousand points, score all of them table by table, and name what happened."""
    ids = db.run_read(list_point_ids, request.point_set_id, request.last_point_id)
    learnt = ids[:: max(1, len(ids) // LEARN_FROM)]
    dates, values = read_table(db, request.unit, request.known_at, learnt)
    empty = point_looks.ScanResult(None, 0, 0, 0, 0, 0, 0, BUDGET, {}, "", "")
    if len(dates) < 2:
        return replace(empty, digest=_digest(request, empty), reason=_TOO_FEW)
    step_s = float(np.median(np.diff([epoch_s(parse_time(at)) for at in dates])))
    first_at = dates[max(int(len(dates) * LEARNT), len(dates) - FIRST) - 1]
    from_at = first_at if request.from_at is None else format_iso(request.from_at)
    counted = run_in_worker(plan, COUNT, PointThresholdRequest(PointTable(values, step_s), BUDGET))
    if counted.reason:
        return replace(empty, digest=_digest(request, empty), reason=describe(counted.reason))
    blocks = ceil(len(ids) / AT_ONCE)
    shares = [ids[k::blocks] for k in range(blocks)]  # each is spread over the whole set, so that all have one middle
    found, dates_of = _TableTotals(), dict[int, list[str]]()

    def make(share: list[int], dates: list[str], values: Array) -> PointAlarmRequest:
        dates_of[share[0]] = dates
        known, fresh = (int(np.searchsorted(np.array(dates), at, side="right")) for at in (from_at, first_at))
        since = np.where(np.array(share) <= request.after_point_id, known, fresh)
        return PointAlarmRequest(PointTable(values, step_s), counted.thresholds, since, request.jump_mm)

    for begin in range(0, blocks, TABLES):
        some = shares[begin : begin + TABLES]
        for share, answer in zip(
            some, run_all_in_workers(plan, FIND_ALARMS, Tables(db, request, some, make)), strict=True
        ):
            found.add(share, dates_of.pop(share[0]), answer)
    happenings, left_out = _name(db, site, request, found, from_at, step_s)
    is_any_point_new = bool(ids) and ids[-1] > request.after_point_id
    at = sorted({d for d in found.dates if d > (min(from_at, first_at) if is_any_point_new else from_at)})
    found_now = point_looks.ScanResult(
        parse_time(at[-1]) if at else request.from_at,
        len(at),
        found.scored,
        found.withheld,
        len(found.alarms) + found.left_out,
        found.going_on,
        left_out + found.left_out,
        BUDGET,
        counted.thresholds,
        "",
        "" if at else _NOTHING_NEW,
        happenings,
    )
    return replace(found_now, digest=_digest(request, found_now))


def _digest(request: point_looks.ScanRequest, found: point_looks.ScanResult) -> str:
    """Of what decided: the detectors, their thresholds and what a jump is."""
    what = [DIGEST, found.thresholds, found.budget, request.jump_mm]
    return sha256(canonical_json(what).encode()).hexdigest()


def read_table(db: Database, unit: str, known_at: datetime, ids: Sequence[int]) -> tuple[list[str], Array]:
    """Acquisitions and values in mm, as they were known at an instant."""
    dates, values = db.run_read(load_point_table, ids, known_at)
    return dates, values * convert(1.0, unit, "mm")


class Tables(Sequence[Question]):
    """Questions to workers, each read from the database when it is asked for: a million points fit into no memory."""

    def __init__(
        self,
        db: Database,
        point_set: PointSetRequest,
        shares: list[list[int]],
        make: Callable[[list[int], list[str], Array], Question],
    ) -> None:
        """Of each share of points `make` makes the question, of the points, their dates and values in mm."""
        self._db, self._point_set, self._shares, self._make = db, point_set, shares, make

    def __len__(self) -> int:
        return len(self._shares)

    def __getitem__(self, index: int) -> Question:  # type: ignore[override]  # nobody takes a slice
        share = self._shares[index]
        return self._make(share, *read_table(self._db, self._point_set.unit, self._point_set.known_at, share))


class _TableTotals:
    """What the answers of workers add up to."""

    def __init__(self) -> None:
        self.alarms: list[tuple[int, str, PointAlarm]] = []  # point, acquisition
        self.shared: list[tuple[list[str], tuple[AcquisitionCounts, ...]]] = []
        self.dates: set[str] = set()
        self.scored = self.withheld = self.going_on = self.left_out = 0

    def add(self, share: Sequence[int], dates: list[str], answer: PointAlarmResult) -> None:
        try:
            self.alarms += [(share[one.row], dates[one.column], one) for one in answer.alarms]
            self.shared.append((dates, answer.shared))
            self.dates.update(dates)
        except IndexError:
            raise JobError("the answer of the worker names a point that was not requested") from None
        self.scored += answer.scored
        self.withheld += answer.withheld
        self.going_on += answer.going_on
        self.left_out += answer.left_out


def _name(
    db: Database, site: Site, request: point_looks.ScanRequest, found: _TableTotals, after: str, step_s: float
) -> tuple[tuple[point_looks.PointEvent, ...], int]:
    """The happenings of a look, and how many alarms are not stored."""
    dates = sorted(found.dates)
    place = {at: k for k, at in enumerate(dates)}
    shared = join_shared(
        [[replace(one, column=place[mine[one.column]]) for one in some] for mine, some in found.shared]
    )
    common = [one for one in find_common(shared, request.jump_mm) if dates[one.first] > after]
    ordered = sorted(found.alarms, key=lambda one: (one[1], one[0]))
    owner = [
        next((k for k, one in enumerate(common) if belongs(one, place[at], alarm.size_mm)), -1)
        for _, at, alarm in ordered
    ]
    rows = [
        point_looks.PointAnomaly(
            point,
            parse_time(at),
            one.detector,
            one.part,
            one.kind,
            one.score,
            one.threshold,
            one.size_mm,
            describe(compared_with(one.part, step_s, one.others)),
        )
        for point, at, one in ordered
    ]
    happenings = [
        _describe_common(one, dates, step_s, tuple(row for row, of in zip(rows, owner, strict=True) if of == k))
        for k, one in enumerate(common)
    ]
    alone = [row for row, of in zip(rows, owner, strict=True) if of < 0]
    happenings += _describe_lines(db, site, alone, place)
    kept, room = [], STORED
    for number, one in enumerate(happenings[:HAPPENINGS], 1):
        strongest = sorted(one.members, key=lambda m: -m.score / m.threshold)[:room]
        room -= len(strongest)
        kept.append(replace(one, number=number, members=tuple(sorted(strongest, key=lambda m: (m.at, m.point_id)))))
    return tuple(kept), len(rows) - sum(len(one.members) for one in kept)


def _describe_common(
    one: CommonShift, dates: Sequence[str], step_s: float, members: tuple[point_looks.PointAnomaly, ...]
) -> point_looks.PointEvent:
    return point_looks.PointEvent(
        number=0,
        kind=one.kind,
        common=True,
        first_at=parse_time(dates[one.first]),
        last_at=parse_time(dates[one.last]),
        points=one.points,
        judged=one.judged,
        size_mm=one.size_mm,
        score=None,
        latitude=None,
        longitude=None,
        radius_m=None,
        station=None,
        distance_m=None,
        compared_with=describe(compared_with("level", step_s, 0)),
        members=members,
    )


def _describe_lines(
    db: Database, site: Site, rows: Sequence[point_looks.PointAnomaly], place: dict[str, int]
) -> list[point_looks.PointEvent]:
    places = db.run_read(load_places, sorted({row.point_id for row in rows}))
    placed = [
        LocatedAlarm(*places[row.point_id], place[format_iso(row.at)], row.kind, row.size_mm, row.score / row.threshold)
        for row in rows
    ]
    stations = [one for one in site.stations if one.latitude is not None]
    found = []
    for line in gather(placed):
        mine = [rows[k] for k in line.members]
        count = len({row.point_id for row in mine})
        station, distance_m = find_nearest(stations, line.latitude, line.longitude) or (None, None)
        found.append(
            point_looks.PointEvent(
                number=0,
                kind=line.kind,
                common=False,
                first_at=min(row.at for row in mine),
                last_at=max(row.at for row in mine),
                points=count,
                judged=count,
                size_mm=line.size_mm,
                score=placed[line.members[0]].ratio,
                latitude=line.latitude,
                longitude=line.longitude,
                radius_m=line.radius_m,
                station=station,
                distance_m=distance_m,
                compared_with=mine[0].compared_with,
                members=tuple(mine),
            )
        )
    return found
