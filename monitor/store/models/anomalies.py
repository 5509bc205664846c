"""Anomaly scores of every detector, kept beside the threshold and budget they were judged by."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection, func, select

from monitor.domain.instants import spell
from monitor.store.database.bulk import insert_rows, spell_message
from monitor.store.schema.tables import anomaly, series


@dataclass(frozen=True, slots=True)
class AnomalyRow:
    """The score of one detector at one epoch of one series.

    `alerted`: it is over its threshold, and no echo of what was alerted of the series before. An echo is held back.
    """

    series_id: int
    at: datetime
    detector: str
    score: float
    threshold: float
    budget: float  # false alarms per sensor-month the threshold was set for
    kind: str
    alerted: bool
    model_hash: str | None = None
    factor: float = 1.0  # by which the counted threshold was raised
    compared_with: str | None = None  # in words


@dataclass(frozen=True, slots=True)
class Held:
    """A series that is still strange and was not alerted of again: it is taken for the same happening.

    Attributes:
        station: of the series.
        quantity: of it.
        detector: that scored it.
        at: newest epoch that was held back.
        score: of it, in units of its threshold.
        kind: what it looked like.
        told_at: newest epoch before it that was alerted of; None: the sensor was stuck.
    """

    station: str
    quantity: str
    detector: str
    at: datetime
    score: float
    kind: str
    told_at: datetime | None


ECHO: Final = timedelta(days=90)  # longer than what was alerted of stays in any part
_COLUMNS: Final = {
    "series_id": "bigint", "at": "text", "detector": "text", "score": "float8", "threshold": "float8",
    "budget": "float8", "kind": "text", "alerted": "bool", "model_hash": "text", "factor": "float8",
    "compared_with": "text", "compared_with_id": "text", "compared_with_values": "text", "scored_at": "text",
}  # fmt: skip


def add_anomalies(c: Connection, rows: Sequence[AnomalyRow], now: datetime) -> int:
    """Add scores; an epoch is scored once per detector. Returns how many were new."""
    spelled, scored_at = {at: spell(at) for at in {row.at for row in rows}}, spell(now)  # most rows have the same
    values = [
        (
            r.series_id, spelled[r.at], r.detector, r.score, r.threshold, r.budget, r.kind, r.alerted, r.model_hash,
            r.factor, *spell_message(r.compared_with), scored_at,
        )
        for r in rows
    ]  # fmt: skip
    return insert_rows(c, "anomaly", _COLUMNS, values, unless_there=True)


def latest_by_series(
    c: Connection, site: str, detector: str, *, told: tuple[datetime, datetime] | None = None
) -> dict[int, datetime]:
    """The newest epoch that a detector has scored, by series; or that it alerted of in a time."""
    query = (
        select(anomaly.c.series_id, func.max(anomaly.c.at))
        .join(series, series.c.id == anomaly.c.series_id)
        .where(series.c.site == site, anomaly.c.detector == detector)
        .group_by(anomaly.c.series_id)
    )
    if told is not None:
        query = query.where(anomaly.c.alerted, anomaly.c.at > told[0], anomaly.c.at <= told[1])
    return {row[0]: row[1] for row in c.execute(query)}


def find_newest_alert(c: Connection, series_id: int, detector: str, until: datetime) -> datetime | None:
    """The newest epoch up to an instant at which a detector alerted of a series, or None."""
    a = anomaly.c
    query = select(a.at).where(a.series_id == series_id, a.at <= until, a.detector == detector, a.alerted)
    value: datetime | None = c.execute(query.order_by(a.at.desc()).limit(1)).scalar()
    return value


def latest_scored_at(c: Connection, site: str, detector: str) -> datetime | None:
    """The newest epoch of the site that this detector has scored, or None."""
    query = (
        select(func.max(anomaly.c.at))
        .join(series, series.c.id == anomaly.c.series_id)
        .where(series.c.site == site, anomaly.c.detector == detector)
    )
    value: datetime | None = c.execute(query).scalar()
    return value


def load_held(c: Connection, site: str, since: datetime, now: datetime) -> list[Held]:
    """What was held back since an instant of each series and detector, where no alert came after it; newest first."""
    a, told = anomaly.c, dict[str, dict[int, datetime]]()
    rows = c.execute(
        select(a.series_id, series.c.station, series.c.quantity, a.detector, a.at, a.score, a.threshold, a.kind)
        .join(series, series.c.id == a.series_id)
        .where(series.c.site == site, a.at > since, a.at <= now, a.score > a.threshold, a.alerted.is_(False))
        .order_by(a.at)
    )
    found = []
    for r in {(row.series_id, row.detector): row for row in rows}.values():
        if r.detector not in told:
            told[r.detector] = latest_by_series(c, site, r.detector, told=(since - ECHO, now))
        told_at = told[r.detector].get(r.series_id)
        if told_at is None or told_at < r.at:
            found.append(Held(r.station, r.quantity, r.detector, r.at, r.score / r.threshold, r.kind, told_at))
    return sorted(found, key=lambda one: (one.at, one.station, one.quantity), reverse=True)
