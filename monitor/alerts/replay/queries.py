"""Load the past of a site for a replay: readings page by page, site files, acts of people, alerts and outcomes."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, cast

from sqlalchemy import Column, Connection, Select, String, func, select, tuple_, type_coerce

from monitor.alerts.evaluation_tables import decision, evaluation
from monitor.alerts.event_tables import event_confirmation, report, site_event
from monitor.alerts.replay.failure_windows import IssuedWindow
from monitor.alerts.tables import alert, alert_event, alert_outcome
from monitor.plugins import hooks
from monitor.readings.point_tables import point_delivery
from monitor.readings.queries.flags import BY, OF_FILE
from monitor.readings.queries.observations import STORED_COLUMNS, SeriesRow
from monitor.readings.tables import observation, observation_flag, offset_entry, series, series_latest
from monitor.sites.quantities import convert_difference
from monitor.sites.tables import config_version, maintenance
from monitor.storage.views import ColumnSpan, load_optional_view
from monitor.text.instants import epoch_s, format_iso, parse_time
from monitor.text.message import plain_to_messages

PAGE: Final = 2000
# A newest reading that arrived within this time was not imported.
LIVE: Final = timedelta(days=2)
# observed_at, received_at, revision, value, sigma, solution, flags, extra; times as text.
PastRow = tuple[str, str, int, float, float | None, str | None, str, str | None]


@dataclass(frozen=True, slots=True)
class OffsetSpan:
    """An offset and the time in which it counted; `size` is in the unit of the series."""

    at: datetime
    size: float
    counts_from: datetime
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True)
class FlagSpan:
    """A flag that was added later to a revision; `-flag` withdraws a flag.

    Attributes:
        of_file: Whether the site file declares the flag, so that a replay uses it from the start.
    """

    observed_at: datetime
    revision: int
    flag: str
    known_from: datetime
    of_file: bool = False


@dataclass(frozen=True, slots=True)
class PastAct:
    """An act of a person (level.set, step.verify or step.withdraw), with the memory before and after it."""

    at: datetime
    act: str
    actor: str
    before: Mapping[str, Any]
    after: Mapping[str, Any]
    sentence: str


@dataclass(frozen=True, slots=True)
class AlertWithOutcome:
    """An alert that was no exercise, with its outcome; None if nobody recorded one."""

    id: int
    ledger: str
    key: str
    peak_level: int
    raised_at: datetime
    over_at: datetime | None
    outcome: str | None


def read_rows(
    connection: Connection, series_id: int, from_at: datetime | None, to_at: datetime, page: int = PAGE
) -> Iterator[PastRow]:
    """Yield every revision of a series observed in (from_at, to_at], in order of epoch and revision, page by page."""
    o = observation.c
    base = select(*STORED_COLUMNS).where(o.series_id == series_id, o.observed_at <= to_at)
    base = base.order_by(o.observed_at, o.revision).limit(page)
    query = base if from_at is None else base.where(o.observed_at > from_at)
    while True:
        rows = cast("Sequence[PastRow]", connection.execute(query).all())
        yield from rows
        if len(rows) < page:
            return
        last = (type_coerce(rows[-1][0], String), rows[-1][2])
        query = base.where(tuple_(type_coerce(o.observed_at, String), o.revision) > tuple_(*last))


def find_newest_before(connection: Connection, series_id: int, at: datetime) -> PastRow | None:
    """Return the last revision of the newest epoch up to an instant that is not stamped in the future."""
    o = observation.c
    row = connection.execute(
        select(*STORED_COLUMNS)
        .where(o.series_id == series_id, o.observed_at <= at, o.flags.not_like("%future%"))
        .order_by(o.observed_at.desc(), o.revision.desc())
        .limit(1)
    ).one_or_none()
    return None if row is None else tuple(row)


def load_past_offsets(connection: Connection, row: SeriesRow) -> list[OffsetSpan]:
    """Return every offset of a series that ever counted, by epoch."""
    e = offset_entry.c
    query = select(offset_entry).where(e.series_id == row.id, e.counts_from.is_not(None)).order_by(e.at, e.id)
    return [
        OffsetSpan(row.at, convert_difference(row.size, row.unit, row.unit), row.counts_from, row.revoked_at)
        for row in connection.execute(query)
    ]


def load_past_flags(connection: Connection, series_id: int) -> list[FlagSpan]:
    """Return every later flag of a series, in the order in which they became known."""
    f = observation_flag.c
    rows = connection.execute(select(observation_flag).where(f.series_id == series_id).order_by(f.known_from, f.id))
    return [
        FlagSpan(row.observed_at, row.revision, row.flag, row.known_from, row.by == BY and row.reason_id == OF_FILE.id)
        for row in rows
    ]


def load_past_acts(connection: Connection, site: str, from_at: datetime, to_at: datetime) -> list[PastAct]:
    """Return the acts of people on the memory of a site in [from_at, to_at], oldest first."""
    d = decision.c
    query = (
        select(d.at, d.evidence)
        .where(d.site == site, d.at >= from_at, d.at <= to_at, d.evidence.like('%"act":"%'))
        .order_by(d.at, d.id)
    )
    acts = []
    for row in connection.execute(query):
        frozen = plain_to_messages(json.loads(row.evidence))
        if frozen.get("act") in {"level.set", "step.verify", "step.withdraw"} and "after" in frozen:
            acts.append(
                PastAct(row.at, frozen["act"], frozen["actor"], frozen["memory"], frozen["after"], frozen["sentence"])
            )
    return acts


def load_past_configs(connection: Connection, site: str) -> list[tuple[datetime, str]]:
    """Return every version of the site file that was loaded: (loaded_at, text), oldest first."""
    v = config_version.c
    return [*connection.execute(select(v.loaded_at, v.source).where(v.site == site).order_by(v.loaded_at, v.id))]


def load_past_evaluations(
    connection: Connection, site: str, from_at: datetime, to_at: datetime
) -> list[tuple[datetime, str]]:
    """Return the stored instants of evaluation in [from_at, to_at] with their triggers."""
    e = evaluation.c
    query = select(e.at, e.trigger).where(e.site == site, e.at >= from_at, e.at <= to_at).order_by(e.at, e.id)
    return [*connection.execute(query)]


def load_past_alerts(connection: Connection, site: str, from_at: datetime, to_at: datetime) -> list[AlertWithOutcome]:
    """Return the alerts of a site that stood at some time in [from_at, to_at], without exercises."""
    a, e, u = alert.c, alert_event.c, alert_outcome.c
    query = select(alert).where(
        a.site == site, ~a.exercise, a.raised_at <= to_at, a.closed_at.is_(None) | (a.closed_at >= from_at)
    )
    alerts = []
    for row in connection.execute(query.order_by(a.raised_at, a.id)).all():
        over_at = connection.execute(
            select(e.at).where(e.alert_id == row.id, e.to_level == 0).order_by(e.sequence).limit(1)
        ).scalar()
        outcome = connection.execute(
            select(u["class"]).where(u.alert_id == row.id).order_by(u.id.desc()).limit(1)
        ).scalar()
        alerts.append(
            AlertWithOutcome(
                row.id, row.ledger, row.key, row.peak_level, row.raised_at, over_at or row.closed_at, outcome
            )
        )
    return alerts


def load_news_instants(connection: Connection, site: str, from_at: datetime, to_at: datetime) -> list[datetime]:
    """Return the instants in (from_at, to_at] at which something besides readings became known, began or ended.

    Instants at which facts of features changed come from the hook `evaluation_fact_instants`.
    """
    of_site = [
        (report, ("received_at", "at")),
        (site_event, ("received_at", "known_from", "from_at", "to_at", "withdrawn_at")),
        (event_confirmation, ("at", "withdrawn_at")),
        (maintenance, ("added_at", "from_at", "to_at", "ended_at")),
        (point_delivery, ("received_at",)),
    ]
    offsets, flags = offset_entry.c, observation_flag.c
    of_series = [offsets.known_from, offsets.confirmed_at, offsets.revoked_at, flags.known_from]
    instants = load_series_instants(connection, site, of_series, from_at, to_at)
    queries = [select(table.c[name]).where(table.c.site == site) for table, names in of_site for name in names]
    instants |= load_instants(connection, queries, from_at, to_at)
    for of_feature in hooks().evaluation_fact_instants(
        connection=connection, site_id=site, from_at=from_at, to_at=to_at
    ):
        instants.update(of_feature)
    return sorted(instants)


def load_series_instants(
    connection: Connection, site: str, columns: Sequence[Column[datetime]], from_at: datetime, to_at: datetime
) -> set[datetime]:
    """Return the distinct instants in (from_at, to_at] in some columns of tables with a `series_id`, of one site."""
    queries = [
        select(column).join(series, series.c.id == column.table.c.series_id).where(series.c.site == site)
        for column in columns
    ]
    return load_instants(connection, queries, from_at, to_at)


def load_instants(
    connection: Connection, queries: Sequence[Select[Any]], from_at: datetime, to_at: datetime
) -> set[datetime]:
    """Return the distinct instants in (from_at, to_at] that queries of one column each return."""
    instants: set[datetime] = set()
    for query in queries:
        column = query.selected_columns[0]
        instants.update(connection.execute(query.where(column > from_at, column <= to_at).distinct()).scalars())
    return instants


def load_stored_windows(connection: Connection, site: str, from_at: datetime, to_at: datetime) -> list[IssuedWindow]:
    """Return the windows by inverse velocity that the service issued in [from_at, to_at], as known at `to_at`.

    They are sorted by station, quantity and instant.
    """
    rows = load_optional_view(
        connection,
        "failure_windows",
        order_by=("station", "quantity", "issued_at", "data_until"),
        within=ColumnSpan("issued_at", until=format_iso(to_at)),
        site=site,
        method="inverse_velocity",
    )
    return [_read_window(row, to_at) for row in rows if row["issued_at"] >= format_iso(from_at)]


def _read_window(row: Mapping[str, Any], to_at: datetime) -> IssuedWindow:
    """Read a row of `failure_windows` as it was known at an instant."""
    instants_s = {
        name: epoch_s(parse_time(row[name]))
        for name in ("issued_at", "data_until", "window_from", "window_mid", "window_to")
    }
    withdrawn_at = None if row["withdrawn_at"] is None else parse_time(row["withdrawn_at"])
    is_withdrawn = withdrawn_at is not None and withdrawn_at <= to_at
    return IssuedWindow(
        row["station"],
        row["quantity"],
        instants_s["issued_at"],
        instants_s["data_until"],
        instants_s["window_from"],
        instants_s["window_mid"],
        instants_s["window_to"],
        row["trusted"],
        row["reasons"],
        epoch_s(withdrawn_at) if is_withdrawn and withdrawn_at is not None else None,
        row["withdrawn_reason"] if is_withdrawn else None,
    )


def was_movement_assessed(connection: Connection, site: str, from_at: datetime, to_at: datetime) -> bool:
    """Return whether the service assessed the movement of a site in [from_at, to_at]."""
    rows = load_optional_view(
        connection,
        "movement_history",
        order_by=("-at",),
        limit=1,
        within=ColumnSpan("at", until=format_iso(to_at)),
        site=site,
    )
    return any(row["at"] >= format_iso(from_at) for row in rows)


def count_rows(connection: Connection, site: str, from_at: datetime, to_at: datetime) -> int:
    """Return how many rows a replay of (from_at, to_at] will read."""
    o, s = observation.c, series.c
    in_range = (s.id == o.series_id, s.site == site, o.observed_at > from_at, o.observed_at <= to_at)
    return int(connection.execute(select(func.count(o.revision)).where(*in_range)).scalar_one())


def find_span(connection: Connection, site: str) -> tuple[datetime, datetime] | None:
    """Return the first epoch of a site and the instant from which its newest one was known; None without readings.

    If the newest reading was imported much later than it was made, its epoch is returned instead, because the silence
    after it is no silence of an instrument.
    """
    o, s = observation.c, series.c
    ids = connection.execute(select(s.id).where(s.site == site)).scalars().all()
    spans = [
        connection.execute(select(func.min(o.observed_at), func.max(o.observed_at)).where(o.series_id == i)).one()
        for i in ids
    ]
    known = [(a, b) for a, b in spans if a is not None]
    if not known:
        return None
    k = series_latest.c
    received_at = connection.execute(select(func.max(k.received_at)).where(k.series_id.in_(ids))).scalar()
    newest_at = max(b for _, b in known)
    if received_at is not None and newest_at < received_at <= newest_at + LIVE:
        newest_at = received_at
    return min(a for a, _ in known), newest_at
