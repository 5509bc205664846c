"""Let go of what retention allows, in small steps that never hold ingest up, and never of what evidence cites."""

import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import groupby
from statistics import fmean, median
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Table, and_, delete, func, insert, not_, select

from monitor.domain.instants import Span, epoch_s, from_epoch_s, join_spans, parse
from monitor.store.database.engine import Database
from monitor.store.people.sessions import are_forgotten, is_strange
from monitor.store.readings.messages import prune_quarantine
from monitor.store.readings.observations import load_readings
from monitor.store.schema.alerts import alert
from monitor.store.schema.evaluations import decision, evaluation
from monitor.store.schema.forecasts import forecast, forecast_score, forecast_withheld
from monitor.store.schema.people import known_device, password_guess, web_session
from monitor.store.schema.photos import photo
from monitor.store.schema.readings import observation, observation_flag, observation_summary, series, series_latest
from monitor.store.schema.service import job_run
from monitor.store.schema.storage import retention_run
from monitor.store.score_sums import delete_scores, order_scores

AIM_S: Final = 0.03  # of a transaction: ingest waits for it at most once
FEWEST, FIRST, MOST = 20, 200, 4000  # rows of a step
KEYS: Final = 20_000  # looked up at once, without a lock
# instants in evidence, spelled or in seconds since 1970 (2001 to 2286); a number too many only keeps a row more
_SPELLED: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)")
_SECONDS: Final = re.compile(r"(?<![\w.\-+])\d{10}(?:\.\d+)?(?![\w.])")
_JOINED: Final = timedelta(days=1)  # instants of one evidence closer than this are one span
_TICK: Final = timedelta(microseconds=1)

Spans = tuple[Span, ...]
_BEGINNING: Final = from_epoch_s(0.0)  # no instrument reports from before
_EVER: Final = datetime(9999, 1, 1, tzinfo=UTC)
SPANS: Final = {"hourly": 3600, "daily": 86400}  # seconds; both begin with a day of UTC


@dataclass(frozen=True, slots=True)
class Thinning:
    """What becomes of the readings of one quantity: older ones go, and leave a row for each `span_s` (0: nothing)."""

    before_at: datetime
    span_s: int


@dataclass(frozen=True, slots=True)
class RetentionLimits:
    """What is older may go; None keeps all. Of a site in `needed_from` no reading goes that a decision may look at.

    `quantities` holds for the readings of these instead of `observations_before_at`.
    """

    observations_before_at: datetime | None
    forecasts_before_at: datetime | None  # scored ones stay; the same limit lets go of evaluations and job runs
    quarantine_before_at: datetime | None = None
    scores_before_at: datetime | None = None  # the forecasts that were scored then go by their own limit
    photos_before_at: datetime | None = None  # those of open alerts stay
    needed_from: Mapping[str, datetime] = field(default_factory=dict)
    quantities: Mapping[str, Thinning] = field(default_factory=dict)


@dataclass(slots=True)
class RetentionResult:
    """What a run did to one table, or to the readings of one quantity."""

    before_at: datetime | None
    removed: int = 0
    summaries: int = 0
    seconds: float = 0.0
    longest_s: float = 0.0


def load_cited(connection: Connection) -> Spans:
    """The spans of time that frozen evidence names, merged: rows within them stay, whoever's they are."""
    rows = connection.execute(select(decision.c.evidence).execution_options(yield_per=500)).scalars()
    return tuple(join_spans(span for evidence in rows for span in _spans(evidence)))


def _spans(evidence: str) -> list[tuple[datetime, datetime]]:
    named = {parse(found) for found in _SPELLED.findall(evidence)}
    named |= {from_epoch_s(float(found)) for found in _SECONDS.findall(evidence)}
    return join_spans(((at, at) for at in named), _JOINED)


class RetentionRun:
    """One run over all that may go. What goes is looked up without a lock; a transaction deletes for some 30 ms.

    Args:
        pause: sleeps, so that other processes get the lock between two transactions.
    """

    def __init__(
        self, db: Database, limits: RetentionLimits, now: datetime, pause: Callable[[float], object] = time.sleep
    ) -> None:
        self._db, self._limits, self._now, self._pause = db, limits, now, pause
        self._rows = FIRST
        self.done: dict[str, RetentionResult] = {}

    def run(self) -> dict[str, RetentionResult]:
        """Delete until nothing is left that may go; what was done is noted in `retention_run`."""
        with self._db.read() as c:
            cited = load_cited(c)
        for table, what, before_at in self._list_tables(cited):
            self._sweep_table(table, what, before_at)
        if (limit := self._limits.quarantine_before_at) is not None:
            while self._step("rejected_message", limit, lambda c: prune_quarantine(c, limit, self._rows)):
                pass
        self._sweep_observations(cited)
        results = [
            {
                "at": self._now,
                "what": what,
                "before_at": one.before_at,
                "removed": one.removed,
                "summaries": one.summaries,
                "seconds": one.seconds,
                "longest_ms": one.longest_s * 1000,
            }
            for what, one in self.done.items()
            if one.removed
        ]
        if results:
            with self._db.write() as c:
                c.execute(insert(retention_run), results)
        return self.done

    def removed(self) -> dict[str, int]:
        """Rows that went, by table or quantity; summaries that were made stand with them."""
        made = sum(one.summaries for one in self.done.values())
        return {what: one.removed for what, one in self.done.items()} | ({"summaries made": made} if made else {})

    def _step(self, what: str, before_at: datetime | None, act: Callable[[Connection], int]) -> int:
        """One transaction; returns how many rows went, and learns how many fit."""
        done = self.done.setdefault(what, RetentionResult(before_at))
        with self._db.write() as c:
            start = time.monotonic()
            removed = act(c)
            held_s = time.monotonic() - start
        whole_s = time.monotonic() - start
        done.removed, done.seconds = done.removed + removed, done.seconds + whole_s
        done.longest_s = max(done.longest_s, whole_s)
        self._rows = round(min(max(self._rows * min(2.0, max(0.25, AIM_S / max(held_s, 1e-4))), FEWEST), MOST))
        if removed:
            self._pause(whole_s)
        return removed

    def _list_tables(self, cited: Spans) -> Iterator[tuple[Table, ColumnElement[bool], datetime | None]]:
        limits, now = self._limits, self._now
        yield web_session, web_session.c.expires_at <= now, now
        yield known_device, is_strange(now), now
        yield password_guess, are_forgotten(now), now
        if (limit := limits.photos_before_at) is not None:
            p, a = photo.c, alert.c
            is_open = select(a.id).where(a.id == p.alert_id, a.closed_at.is_(None)).exists()
            yield photo, and_(p.added_at < limit, ~is_open), limit
        f, s = forecast.c, forecast_score.c
        if (limit := limits.scores_before_at) is not None:
            issued = select(f.issued_at).where(f.id == s.forecast_id).scalar_subquery()
            yield forecast_score, and_(s.observed_at < limit, *_uncited(cited, issued, limit)), limit
        if (limit := limits.forecasts_before_at) is not None:
            is_unscored = and_(
                f.issued_at < limit, f.target_at < limit, ~select(s.forecast_id).where(s.forecast_id == f.id).exists()
            )
            yield forecast, and_(is_unscored, *_uncited(cited, f.issued_at, limit)), limit
            yield forecast_withheld, forecast_withheld.c.issued_at < limit, limit
            e, d = evaluation.c, decision.c
            decided = select(d.id).where(d.site == e.site, d.at == e.at).exists()
            yield evaluation, and_(e.at < limit, *_uncited(cited, e.at, limit), ~decided), limit
            yield job_run, and_(job_run.c.started_at < limit, job_run.c.state != "running"), limit

    def _sweep_table(self, table: Table, may_go: ColumnElement[bool], before_at: datetime | None) -> None:
        key, are_scores = next(iter(table.primary_key.columns)), table is forecast_score
        while True:
            found = select(key).where(may_go).limit(KEYS)
            with self._db.read() as c:
                keys = list(c.execute(order_scores(found) if are_scores else found).scalars())
            at = 0
            while at < len(keys):
                some = keys[at : at + self._rows]
                at += len(some)

                def act(c: Connection, some: list[Any] = some) -> int:
                    which = and_(key.in_(some), may_go)
                    return (
                        delete_scores(c, which) if are_scores else int(c.execute(delete(table).where(which)).rowcount)
                    )

                self._step(table.name, before_at, act)
            if len(keys) < KEYS:
                return

    # ---- readings --------------------------------------------------------------------------------------------------
    def _sweep_observations(self, cited: Spans) -> None:
        """Series by series, for the key starts with the series; the newest epoch of a series always stays."""
        s, latest, limit = series.c, series_latest.c, self._limits.observations_before_at
        default = None if limit is None else Thinning(limit, 0)
        query = select(s.id, s.site, s.quantity, latest.observed_at).join(series_latest, latest.series_id == s.id)
        with self._db.read() as c:
            every = c.execute(query.order_by(s.id)).all()
        for one in every:
            rule = self._limits.quantities.get(one.quantity, default)
            if rule is None:
                continue
            before_at = min(rule.before_at, one.observed_at, self._limits.needed_from.get(one.site, rule.before_at))
            what = f"observation {one.quantity}" if rule.span_s else "observation"
            start = _BEGINNING
            for cited_from, cited_to in (*cited, (before_at, before_at)):  # summaries are of whole spans
                end = _floor_at(min(cited_from, before_at), rule.span_s)
                self._sweep_span(one.id, what, rule, _ceil_at(start, rule.span_s), end)
                start = max(start, cited_to + _TICK)

    def _sweep_span(self, series_id: int, what: str, rule: Thinning, start: datetime, end: datetime) -> None:
        while start < end:
            with self._db.read() as c:
                until = _find_end(c, series_id, start, end, self._rows, rule.span_s)
                if until is None:
                    return
                summaries = _make_summaries(c, series_id, start, until, rule.span_s) if rule.span_s else None
            self._step(what, rule.before_at, partial(self._delete_span, what, series_id, start, until, summaries))
            start = until

    def _delete_span(
        self, what: str, series_id: int, start: datetime, until: datetime, summaries: "_Summaries | None", c: Connection
    ) -> int:
        if summaries is not None:
            count, rows = summaries
            if count != _count(c, series_id, start, until):
                return 0  # a late one came between: the next run takes them together
            made = {"series_id": series_id, "made_at": self._now}
            c.execute(insert(observation_summary), [{**row, **made} for row in rows])
            self.done[what].summaries += len(rows)
        for table in (observation_flag, observation):
            removed = int(c.execute(delete(table).where(_lies(table, series_id, start, until))).rowcount)
        return removed


_Summaries = tuple[int, list[dict[str, object]]]


def _find_end(c: Connection, series_id: int, start: datetime, end: datetime, rows: int, span_s: int) -> datetime | None:
    """Up to where so many rows of a span of time reach, whole spans of summaries; None where it has none."""
    found = select(observation.c.observed_at).where(_lies(observation, series_id, start, end))
    found = found.order_by(observation.c.observed_at)
    first = c.execute(found.limit(1)).scalar()
    if first is None:
        return None
    beyond = c.execute(found.offset(rows).limit(1)).scalar()
    return end if beyond is None else max(_floor_at(beyond, span_s), _ceil_at(first + _TICK, span_s))


def _make_summaries(c: Connection, series_id: int, start: datetime, until: datetime, span_s: int) -> _Summaries:
    """The rows to be deleted, counted, and what stays of them; figures are of the readings without a flag."""
    summaries: list[dict[str, object]] = []
    readings = load_readings(c, series_id, start - _TICK, until - _TICK, _EVER)
    for starts_at, some in groupby(readings, lambda one: _floor_at(one.observed_at, span_s)):
        every = list(some)
        values = [one.value_raw for one in every if not one.flags]
        figures = [of(values) if values else None for of in (median, min, max, fmean)]
        row = dict(zip(("median", "minimum", "maximum", "mean"), figures, strict=True))
        counts = {"count": len(values), "flagged": len(every) - len(values)}
        summaries.append({"starts_at": starts_at, "span_s": span_s, **counts, **row})
    return _count(c, series_id, start, until), summaries


def _count(c: Connection, series_id: int, start: datetime, until: datetime) -> int:
    lies = _lies(observation, series_id, start, until)
    return int(c.execute(select(func.count()).select_from(observation).where(lies)).scalar_one())


def _floor_at(at: datetime, span_s: int) -> datetime:
    return from_epoch_s(epoch_s(at) // span_s * span_s) if span_s else at


def _ceil_at(at: datetime, span_s: int) -> datetime:
    start = _floor_at(at, span_s)
    return start if start == at else start + timedelta(seconds=span_s)


def _lies(table: Table, series_id: int, start: datetime, end: datetime) -> ColumnElement[bool]:
    return and_(table.c.series_id == series_id, table.c.observed_at >= start, table.c.observed_at < end)


def _uncited(cited: Spans, column: Any, limit: datetime) -> list[ColumnElement[bool]]:
    return [not_(column.between(start, end)) for start, end in cited if start < limit]
