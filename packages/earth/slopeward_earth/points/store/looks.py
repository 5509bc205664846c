"""Looks at satellite points by detectors, and forecasts of them: what was found or forecast, and what is due."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, delete, func, insert, select, update

from monitor.api.database import add_row, insert_rows, load_view, message_to_cells, record_to_dict, row_to_record
from monitor.api.database import insert as upsert
from monitor.api.queries.readings import PointSetRequest, list_newest_deliveries
from monitor.api.tables import point as point_table
from monitor.api.tables import point_set
from monitor.api.text import message_columns
from slopeward_earth.points.tables import (
    earth_anomaly,
    earth_forecast,
    earth_happening,
    earth_issue,
    earth_issue_horizon,
    earth_look,
)
from slopeward_earth.points.views import PointForecastRow, PointIssueRow


@dataclass(frozen=True, slots=True)
class ScanRequest(PointSetRequest):
    """What a look looks at: with this alone it can be made again."""

    after_point_id: int  # points up to this one were looked at before; 0: none
    from_at: datetime | None  # acquisitions after it are new to those; None: there was no look


@dataclass(frozen=True, slots=True)
class PointAnomaly:
    """Where an alarm of a point begins."""

    point_id: int
    at: datetime
    detector: str
    part: str
    kind: str
    score: float
    threshold: float
    size_mm: float
    compared_with: str


@dataclass(frozen=True, slots=True)
class PointEvent:
    """One cause, and the strongest of its points."""

    number: int
    kind: str
    common: bool
    first_at: datetime
    last_at: datetime
    points: int
    judged: int
    size_mm: float
    score: float | None
    latitude: float | None
    longitude: float | None
    radius_m: float | None
    station: str | None
    distance_m: float | None
    compared_with: str
    members: tuple[PointAnomaly, ...] = ()


@dataclass(frozen=True, slots=True)
class ScanResult:
    """What a look found; `reason` says why nothing was looked at, and is empty where it was."""

    newest_at: datetime | None
    acquisitions: int
    points: int
    withheld: int
    alarms: int
    going_on: int
    left_out: int
    budget: float
    thresholds: Mapping[str, Mapping[str, float]]
    digest: str
    reason: str
    happenings: tuple[PointEvent, ...] = ()


class StoredScan(NamedTuple):
    """A stored look: what it looked at, and what it found."""

    id: int
    request: ScanRequest
    found: ScanResult


def list_due(c: Connection, site: str) -> list[ScanRequest]:
    """The sets of a site of which something came in since they were looked at."""
    k = earth_look.c
    looked = select(k.point_set_id, func.max(k.delivery_id).label("id")).where(k.site == site).group_by(k.point_set_id)
    due = []
    for one in list_newest_deliveries(c, site, looked):
        # the newest point and acquisition of the last look that looked at something
        query = select(k.last_point_id, k.newest_at).where(k.point_set_id == one.point_set_id, k.reason == "")
        before = c.execute(query.order_by(k.delivery_id.desc()).limit(1)).first() or (0, None)
        due.append(ScanRequest(**asdict(one), after_point_id=before[0], from_at=before[1]))
    return due


def add_scan(c: Connection, request: ScanRequest, found: ScanResult, now: datetime) -> bool:
    """Keep a look; False where another process has looked at the same delivery meanwhile."""
    row = record_to_dict(found) | record_to_dict(request) | {"looked_at": now, "happenings": len(found.happenings)}
    row = {name: value for name, value in row.items() if name in earth_look.c}
    kept = c.execute(upsert(c, earth_look).values(row).on_conflict_do_nothing().returning(earth_look.c.id)).first()
    if kept is None:
        return False
    anomalies = []
    for one in found.happenings:
        values = {n: v for n, v in record_to_dict(one).items() if n != "members"}
        made = add_row(c, earth_happening, **values, earth_look_id=kept.id)
        anomalies += [record_to_dict(member) | {"earth_happening_id": made} for member in one.members]
    if anomalies:
        c.execute(insert(earth_anomaly), anomalies)
    return True


def load_looks(c: Connection, site: str, most: int = 20) -> list[StoredScan]:
    """The newest looks at the sets of a site, newest first."""
    k, s = earth_look.c, point_set.c
    query = select(earth_look, s.name, s.unit).join(point_set, s.id == k.point_set_id).where(k.site == site)
    looks = c.execute(query.order_by(k.id.desc()).limit(most)).all()
    happenings = _load_happenings(c, [r.id for r in looks])
    return [
        StoredScan(
            r.id,
            row_to_record(ScanRequest, r),
            row_to_record(ScanResult, r, happenings=tuple(happenings.get(r.id, ()))),
        )
        for r in looks
    ]


def _load_happenings(c: Connection, looks: list[int]) -> dict[int, list[PointEvent]]:
    h, a = earth_happening.c, earth_anomaly.c
    rows = c.execute(select(earth_happening).where(h.earth_look_id.in_(looks)).order_by(h.earth_look_id, h.number))
    members: dict[int, list[PointAnomaly]] = {}
    joined = select(earth_anomaly).join(earth_happening, h.id == a.earth_happening_id)
    for row in c.execute(joined.where(h.earth_look_id.in_(looks)).order_by(a.at, a.point_id)):
        members.setdefault(row.earth_happening_id, []).append(row_to_record(PointAnomaly, row))
    found: dict[int, list[PointEvent]] = {}
    for row in rows:
        one = row_to_record(PointEvent, row, members=tuple(members.get(row.id, ())))
        found.setdefault(row.earth_look_id, []).append(one)
    return found


@dataclass(frozen=True, slots=True)
class IssueHorizon:
    """The rule at one horizon, and what it did on dates that were held out; columns of the table."""

    number: int
    steps: int
    target_at: datetime
    model: str
    level_rows: int
    slope_rows: int
    damping: float
    forecasts: int
    inside: float | None
    error_mm: float | None
    persistence_mm: float | None
    trend_mm: float | None
    reason: str


@dataclass(frozen=True, slots=True)
class PointIssue:
    """The rules of an issue before a point is forecast, or in `reason` why none is."""

    newest_at: datetime | None
    step_s: float
    horizons: tuple[IssueHorizon, ...] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True)
class IssueTotals:
    """What came of an issue: points with and without a forecast, and the digest of its rules and of every number."""

    points: int
    withheld: int
    digest: str


def list_unforecast(c: Connection, site: str) -> list[PointSetRequest]:
    """The sets of a site of which something came in since they were forecast to the end."""
    i = earth_issue.c
    ended = select(i.point_set_id, func.max(i.delivery_id).label("id")).where(i.site == site, i.ended_at.is_not(None))
    return list_newest_deliveries(c, site, ended.group_by(i.point_set_id))


def open_issue(c: Connection, request: PointSetRequest, found: PointIssue, now: datetime) -> int:
    """Begin an issue, or go on with one of the same delivery that did not end; returns its id."""
    i, h = earth_issue.c, earth_issue_horizon
    row = {
        **{name: value for name, value in record_to_dict(request).items() if name in earth_issue.c},
        "issued_at": now,
        "newest_at": found.newest_at,
        "step_s": found.step_s,
        "points": 0,
        "withheld": 0,
        "digest": "",
        **message_columns("reason", found.reason),
    }
    kept = ("issued_at", "last_point_id", "newest_at", "step_s", "reason", "reason_id", "reason_values")
    changed = {name: row[name] for name in kept}
    added = upsert(c, earth_issue).values(row)
    issue_id = c.execute(
        added.on_conflict_do_update(index_elements=[i.point_set_id, i.delivery_id], set_=changed).returning(i.id)
    ).scalar_one()
    c.execute(delete(h).where(h.c.earth_issue_id == issue_id))
    if found.horizons:
        c.execute(insert(h), [asdict(one) | {"earth_issue_id": issue_id} for one in found.horizons])
    return int(issue_id)


def save_forecasts(
    c: Connection, set_id: int, issue_id: int, ids: Sequence[int], rows: Sequence[tuple[Any, ...]]
) -> None:
    """Put the forecasts of some points in the place of the earlier ones.

    Args:
        ids: the points, rising; all points of the set between the first and the last.
        rows: value, middles, halves, horizons on a line and reason of each.
    """
    clear_forecasts(c, set_id, ids)
    cells = [(point, issue_id, *row[:-1], *message_to_cells(row[-1])) for point, row in zip(ids, rows, strict=True)]
    insert_rows(c, earth_forecast, cells)


def clear_forecasts(c: Connection, set_id: int, ids: Sequence[int]) -> None:
    """Take away what is known of all points of a set between the first and the last of these."""
    p = point_table.c
    mine = select(p.id).where(p.point_set_id == set_id, p.id.between(ids[0], ids[-1]))
    c.execute(delete(earth_forecast).where(earth_forecast.c.point_id.in_(mine)))


def end_issue(c: Connection, issue_id: int, found: IssueTotals, now: datetime) -> None:
    """Every point is through."""
    c.execute(update(earth_issue).where(earth_issue.c.id == issue_id).values(**record_to_dict(found), ended_at=now))


def load_newest_issues(c: Connection, site: str) -> list[PointIssueRow]:
    """Rows of `point_forecast_issues`: of each set of a site the newest issue that ended, by name and horizon."""
    i = earth_issue.c
    newest = select(func.max(i.id)).where(i.site == site, i.ended_at.is_not(None)).group_by(i.point_set_id)
    ids = frozenset(c.execute(newest).scalars())
    return (
        load_view(c, "point_forecast_issues", PointIssueRow, order_by=("point_set", "horizon"), issue_id=ids)
        if ids
        else []
    )


def load_largest(c: Connection, site: str, most: int) -> list[PointForecastRow]:
    """Rows of `point_forecasts` at the farthest horizon that is served: the largest movements to come first."""
    i, h, f, p = earth_issue.c, earth_issue_horizon.c, earth_forecast.c, point_table.c
    found: list[PointForecastRow] = []
    for one in load_newest_issues(c, site):
        served = select(func.max(h.number)).where(h.earth_issue_id == one["issue_id"], h.reason == "")
        number = c.execute(served).scalar()
        if one["horizon"] is None or one["horizon"] != number:
            continue
        moves = func.abs(f[f"middle_{number}_mm"] - f.value_mm)
        names = (
            select(p.pid)
            .join(earth_forecast, f.point_id == p.id)
            .join(earth_issue, i.id == f.earth_issue_id)
            .where(i.id == one["issue_id"], moves.is_not(None))
            .order_by(moves.desc(), p.id)
            .limit(most)
        )
        pids = frozenset(c.execute(names).scalars())
        which = {"site": site, "point_set": one["point_set"], "horizon": number, "pid": pids}
        rows = load_view(c, "point_forecasts", PointForecastRow, **which) if pids else []
        found += sorted(rows, key=lambda row: (-abs((row["q50"] or 0.0) - row["value_mm"]), row["pid"]))
    return found
