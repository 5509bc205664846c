"""Anomaly scores that the criteria of a site read."""

from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import Connection, Select, and_, bindparam, func, select

from monitor.api.database import row_to_record
from monitor.api.decision import AnomalyFact
from monitor.api.queries.alerts import ADVICE_LIMIT
from monitor.api.tables import series
from monitor.api.text import epoch_s, read_message
from monitor.features.anomalies.tables import anomaly


def load_anomaly_facts(
    c: Connection, site: str, since: datetime, until: datetime, known_at: datetime
) -> tuple[AnomalyFact, ...]:
    """Return the newest alerted score of each series, by detector and weights, in a range of time.

    Older scores decide nothing. `ADVICE_LIMIT` applies to each detector by itself, so that the scores of one detector
    do not displace those of another. Scores stored after `known_at` are left out, because a score may be late.
    """
    values = {"site_id": site, "since": since, "until": until, "known_at": known_at, "most": ADVICE_LIMIT}
    rows = c.execute(_select_newest(), values)
    return tuple(
        row_to_record(
            AnomalyFact,
            row,
            at_s=epoch_s(row.at),
            compared_with=read_message(row.compared_with or "", row.compared_with_id, row.compared_with_values),
            model_hash=row.model_hash or "",
        )
        for row in rows
    )


@cache  # built once, because every evaluation executes it
def _select_newest() -> Select[Any]:
    a, s = anomaly.c, series.c
    newest = (
        select(a.series_id, a.detector, func.max(a.at).label("at"))
        .join(series, s.id == a.series_id)
        .where(s.site == bindparam("site_id"), a.alerted, a.scored_at <= bindparam("known_at"))
        .where(a.at > bindparam("since"), a.at <= bindparam("until"))
        .group_by(a.series_id, a.detector, a.model_hash)
        .subquery()
    )
    n = newest.c
    place = func.row_number().over(
        partition_by=(a.detector, a.model_hash), order_by=(a.at.desc(), s.station, s.quantity)
    )
    numbered = (
        select(anomaly, s.station, s.quantity, place.label("place"))
        .join(newest, and_(n.series_id == a.series_id, n.detector == a.detector, n.at == a.at))
        .join(series, s.id == a.series_id)
        .subquery()
    )
    row = numbered.c
    return (
        select(numbered)
        .where(row.place <= bindparam("most"))
        .order_by(row.at.desc(), row.station, row.quantity, row.detector)
    )
