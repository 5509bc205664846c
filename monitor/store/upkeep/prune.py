"""Let go of what retention allows, in small steps that never hold ingest up, and never of what evidence cites."""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Table, and_, delete, not_, select, tuple_

from monitor.domain.instants import from_epoch_s, parse
from monitor.store.people.devices import is_strange
from monitor.store.people.guesses import are_forgotten
from monitor.store.people.sessions import is_over
from monitor.store.readings.quarantine import prune_quarantine
from monitor.store.schema import tables as t

STEP_ROWS: Final = 2000
# instants in evidence, spelled or in seconds since 1970 (2001 to 2286); a number too many only keeps a row more
_SPELLED: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)")
_SECONDS: Final = re.compile(r"(?<![\w.\-+])\d{10}(?:\.\d+)?(?![\w.])")
_JOINED_S: Final = 86400.0  # instants of one evidence closer than this are one span

Spans = tuple[tuple[datetime, datetime], ...]


@dataclass(frozen=True, slots=True)
class Limits:
    """What is older may go; None keeps all."""

    observations_before_at: datetime | None
    forecasts_before_at: datetime | None  # scored ones stay; the same limit lets go of evaluations and job runs
    quarantine_before_at: datetime | None = None

    @classmethod
    def of(
        cls, observations_s: float | None, forecasts_s: float | None, quarantine_s: float | None, now: datetime
    ) -> "Limits":
        """From the seconds of the configuration."""
        return cls(
            None if observations_s is None else now - timedelta(seconds=observations_s),
            None if forecasts_s is None else now - timedelta(seconds=forecasts_s),
            None if quarantine_s is None else now - timedelta(seconds=quarantine_s),
        )


def load_cited(connection: Connection) -> Spans:
    """The spans of time that frozen evidence names, merged: rows within them stay, whoever's they are."""
    rows = connection.execute(select(t.decision.c.evidence).execution_options(yield_per=500)).scalars()
    spans = sorted(span for evidence in rows for span in _spans(evidence))
    merged: list[tuple[datetime, datetime]] = []
    for start, end in spans:
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return tuple(merged)


def _spans(evidence: str) -> list[tuple[datetime, datetime]]:
    named = {parse(found) for found in _SPELLED.findall(evidence)}
    named |= {from_epoch_s(float(found)) for found in _SECONDS.findall(evidence)}
    spans: list[tuple[datetime, datetime]] = []
    for at in sorted(named):
        if spans and (at - spans[-1][1]).total_seconds() <= _JOINED_S:
            spans[-1] = (spans[-1][0], at)
        else:
            spans.append((at, at))
    return spans


def prune_step(
    connection: Connection, limits: Limits, cited: Spans, now: datetime, rows: int = STEP_ROWS
) -> dict[str, int]:
    """Delete at most `rows` rows of each kind; call in one write transaction each until all counts are zero.

    Args:
        connection: a write transaction.
        limits: what is old.
        cited: from `load_cited`, at most minutes old: evidence only ever cites newer rows.
        now: expired web sessions go.
        rows: size of a step.

    Returns:
        Deleted rows by table.
    """
    removed = {"web_session": _remove(connection, t.web_session, is_over(now), rows)}
    removed["known_device"] = _remove(connection, t.known_device, is_strange(now), rows)
    removed["password_guess"] = _remove(connection, t.password_guess, are_forgotten(now), rows)
    if (limit := limits.forecasts_before_at) is not None:
        f, scored = t.forecast.c, t.forecast_score.c.forecast_id
        removed |= {
            "forecast": _remove(
                connection, t.forecast,
                and_(
                    f.issued_at < limit, f.target_at < limit,
                    ~select(scored).where(scored == f.id).exists(), *_uncited(cited, f.issued_at, limit),
                ),
                rows,
            ),
            "forecast_withheld": _remove(
                connection, t.forecast_withheld, t.forecast_withheld.c.issued_at < limit, rows
            ),
            "evaluation": _remove(
                connection, t.evaluation,
                and_(t.evaluation.c.at < limit, *_uncited(cited, t.evaluation.c.at, limit), ~_decided()), rows,
            ),
            "job_run": _remove(
                connection, t.job_run, and_(t.job_run.c.started_at < limit, t.job_run.c.state != "running"), rows
            ),
        }  # fmt: skip
    if (limit := limits.quarantine_before_at) is not None:
        removed["rejected_message"] = prune_quarantine(connection, limit, rows)
    if (limit := limits.observations_before_at) is not None:
        removed["observation"] = _remove_observations(connection, limit, cited, rows)
    return removed


def _decided() -> ColumnElement[bool]:
    d = t.decision.c
    return select(d.id).where(d.site == t.evaluation.c.site, d.at == t.evaluation.c.at).exists()


def _uncited(cited: Spans, column: Any, limit: datetime) -> list[ColumnElement[bool]]:
    return [not_(column.between(start, end)) for start, end in cited if start < limit]


def _remove(connection: Connection, table: Table, condition: ColumnElement[bool], rows: int) -> int:
    key = next(iter(table.primary_key.columns))
    doomed = select(key).where(condition).limit(rows)
    return int(connection.execute(delete(table).where(key.in_(doomed))).rowcount)


def _remove_observations(connection: Connection, limit: datetime, cited: Spans, rows: int) -> int:
    """Series by series, for the key starts with the series; the newest epoch of a series always stays."""
    o, latest, flag = t.observation.c, t.series_latest.c, t.observation_flag.c
    removed = 0
    for series_id in connection.execute(select(t.series.c.id).order_by(t.series.c.id)).scalars().all():
        newest = select(latest.observed_at).where(latest.series_id == series_id).scalar_subquery()
        doomed = connection.execute(
            select(o.series_id, o.observed_at, o.revision)
            .where(o.series_id == series_id, o.observed_at < limit, o.observed_at < newest)
            .where(*_uncited(cited, o.observed_at, limit))
            .limit(rows - removed)
        ).all()
        for i in range(0, len(doomed), 300):
            keys = [tuple(row) for row in doomed[i : i + 300]]
            connection.execute(delete(t.observation).where(tuple_(o.series_id, o.observed_at, o.revision).in_(keys)))
            connection.execute(
                delete(t.observation_flag).where(tuple_(flag.series_id, flag.observed_at, flag.revision).in_(keys))
            )
        removed += len(doomed)
        if removed >= rows:
            break
    return removed
