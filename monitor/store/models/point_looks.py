"""Looks of the detectors at satellite points: what was looked at, what was found, and what is due."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, func, insert, select

from monitor.errors import NotFoundError
from monitor.store.database.engine import insert as upsert
from monitor.store.database.rows import add_row, read_record, spell_record
from monitor.store.readings.points import AskedSet, list_newest_deliveries
from monitor.store.schema import tables as t


@dataclass(frozen=True, slots=True)
class AskedLook(AskedSet):
    """What a look looks at: with this alone it can be made again.

    Attributes:
        after_point_id: points up to this one were looked at before; 0: none.
        from_at: acquisitions after it are new to those; None: there was no look.
    """

    after_point_id: int
    from_at: datetime | None


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
class PointHappening:
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
class PointLook:
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
    happenings: tuple[PointHappening, ...] = ()


class KeptLook(NamedTuple):
    """A stored look: what it looked at, and what it found."""

    id: int
    asked: AskedLook
    found: PointLook


def list_due(c: Connection, site: str) -> list[AskedLook]:
    """The sets of a site of which something came in since they were looked at."""
    k = t.point_look.c
    looked = select(k.point_set_id, func.max(k.delivery_id).label("id")).where(k.site == site).group_by(k.point_set_id)
    due = []
    for one in list_newest_deliveries(c, site, looked):
        after_point_id, from_at = _find_before(c, one.point_set_id)
        due.append(AskedLook(**asdict(one), after_point_id=after_point_id, from_at=from_at))
    return due


def _find_before(c: Connection, set_id: int) -> tuple[int, datetime | None]:
    """The newest point and acquisition of the last look that looked at something."""
    k = t.point_look.c
    asked = select(k.last_point_id, k.newest_at).where(k.point_set_id == set_id, k.reason == "")
    row = c.execute(asked.order_by(k.delivery_id.desc()).limit(1)).first()
    return (0, None) if row is None else (row[0], row[1])


def add_look(c: Connection, asked: AskedLook, found: PointLook, now: datetime) -> bool:
    """Keep a look; False where another process has looked at the same delivery meanwhile."""
    row = spell_record(found) | spell_record(asked) | {"looked_at": now, "happenings": len(found.happenings)}
    row = {name: value for name, value in row.items() if name in t.point_look.c}
    kept = c.execute(upsert(c, t.point_look).values(row).on_conflict_do_nothing().returning(t.point_look.c.id)).first()
    if kept is None:
        return False
    anomalies = []
    for one in found.happenings:
        values = {n: v for n, v in spell_record(one).items() if n != "members"}
        made = add_row(c, t.point_happening, **values, point_look_id=kept.id)
        anomalies += [spell_record(member) | {"point_happening_id": made} for member in one.members]
    if anomalies:
        c.execute(insert(t.point_anomaly), anomalies)
    return True


def load_looks(c: Connection, site: str, most: int = 20) -> list[KeptLook]:
    """The newest looks at the sets of a site, newest first."""
    k = t.point_look.c
    return _load(c, _select_looks().where(k.site == site).order_by(k.id.desc()).limit(most))


def load_look(c: Connection, look_id: int) -> KeptLook:
    """One look.

    Raises:
        NotFoundError: there is none of this number.
    """
    found = _load(c, _select_looks().where(t.point_look.c.id == look_id))
    if not found:
        raise NotFoundError(f"there is no look at points with the number {look_id}")
    return found[0]


def _select_looks() -> Select[Any]:
    s = t.point_set.c
    return select(t.point_look, s.name, s.unit).join(t.point_set, s.id == t.point_look.c.point_set_id)


def _load(c: Connection, query: Select[Any]) -> list[KeptLook]:
    looks = c.execute(query).all()
    happenings = _load_happenings(c, [r.id for r in looks])
    return [
        KeptLook(r.id, read_record(AskedLook, r), read_record(PointLook, r, happenings=tuple(happenings.get(r.id, ()))))
        for r in looks
    ]


def _load_happenings(c: Connection, looks: list[int]) -> dict[int, list[PointHappening]]:
    h, a = t.point_happening.c, t.point_anomaly.c
    rows = c.execute(select(t.point_happening).where(h.point_look_id.in_(looks)).order_by(h.point_look_id, h.number))
    members: dict[int, list[PointAnomaly]] = {}
    joined = select(t.point_anomaly).join(t.point_happening, h.id == a.point_happening_id)
    for row in c.execute(joined.where(h.point_look_id.in_(looks)).order_by(a.at, a.point_id)):
        members.setdefault(row.point_happening_id, []).append(read_record(PointAnomaly, row))
    found: dict[int, list[PointHappening]] = {}
    for row in rows:
        one = read_record(PointHappening, row, members=tuple(members.get(row.id, ())))
        found.setdefault(row.point_look_id, []).append(one)
    return found
