"""Let go of what retention allows, in small steps that never hold ingest up, and never of what evidence cites."""

import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import groupby
from statistics import fmean, median
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Table, and_, delete, func, insert, not_, select

from monitor.domain.instants import Span, epoch_s, from_epoch_s, join_spans, parse
from monitor.domain.observation import Reading
from monitor.store.database.engine import Database
from monitor.store.people.sessions import are_forgotten, is_strange
from monitor.store.readings.messages import prune_quarantine
from monitor.store.readings.observations import load_readings
from monitor.store.schema import tables as t
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


@dataclass(frozen=True, slots=True)
class Thinning:
    """What becomes of the readings of one quantity: older ones go, and leave a row for each `span_s` (0: nothing)."""

    before_at: datetime
    span_s: int


@dataclass(frozen=True, slots=True)
class RetentionLimits:
    """What is older may go; None keeps all.

    `quantities` holds for the readings of these instead of `observations_before_at`. Of a site in `needed_from` no
    reading goes that a decision may still look at.
    """

    observations_before_at: datetime | None
    forecasts_before_at: datetime | None  # scored ones stay; the same limit lets go of evaluations and job runs
    quarantine_before_at: datetime | None = None
    scores_before_at: datetime | None = None  # the forecasts that were scored then go by their own limit
    quantities: Mapping[str, Thinning] = field(default_factory=dict)
    needed_from: Mapping[str, datetime] = field(default_factory=dict)
    photos_before_at: datetime | None = None  # those of open alerts stay

    @classmethod
    def of(
        cls,
        observations_s: float | None,
        forecasts_s: float | None,
        quarantine_s: float | None,
        now: datetime,
        *,
        scores_s: float | None = None,
        quantities: Mapping[str, tuple[float, int]] | None = None,
        reaches_s: Mapping[str, float] | None = None,
        photos_s: float | None = None,
    ) -> "RetentionLimits":
        """From the seconds of the configuration.

        Args:
            observations_s: age of readings; None keeps them, and so do the others.
            forecasts_s: of forecasts without a score.
            quarantine_s: of messages that could not be read.
            scores_s: of scores.
            quantities: by quantity, its age and the seconds of its summaries.
            reaches_s: by site, how far back its decisions look.
            photos_s: of photos of the field.
        """

        def ago(seconds: float | None) -> datetime | None:
            return None if seconds is None else now - timedelta(seconds=seconds)

        return cls(
            ago(observations_s),
            ago(forecasts_s),
            ago(quarantine_s),
            ago(scores_s),
            {q: Thinning(now - timedelta(seconds=age_s), span_s) for q, (age_s, span_s) in (quantities or {}).items()},
            {site: now - timedelta(seconds=reach_s) for site, reach_s in (reaches_s or {}).items()},
            ago(photos_s),
        )

    def of_series(self, site: str, quantity: str) -> Thinning | None:
        """What may become of the readings of a series; None keeps them."""
        found = self.quantities.get(quantity)
        if found is None and self.observations_before_at is not None:
            found = Thinning(self.observations_before_at, 0)
        if found is None or site not in self.needed_from:
            return found
        return Thinning(min(found.before_at, self.needed_from[site]), found.span_s)


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
    rows = connection.execute(select(t.decision.c.evidence).execution_options(yield_per=500)).scalars()
    return tuple(join_spans(span for evidence in rows for span in _spans(evidence)))


def _spans(evidence: str) -> list[tuple[datetime, datetime]]:
    named = {parse(found) for found in _SPELLED.findall(evidence)}
    named |= {from_epoch_s(float(found)) for found in _SECONDS.findall(evidence)}
    return join_spans(((at, at) for at in named), _JOINED)


class RetentionRun:
    """One run over all that may go. What goes is looked up without a lock; a transaction deletes for some 30 ms.

    Args:
        limits: what is old.
        now: the present; expired web sessions go.
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
            while self._step("rejected_message", limit, lambda c: (prune_quarantine(c, limit, self._rows), 0)):
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
                c.execute(insert(t.retention_run), results)
        return self.done

    def removed(self) -> dict[str, int]:
        """Rows that went, by table or quantity; summaries that were made stand beside them."""
        found = {what: one.removed for what, one in self.done.items()}
        made = sum(one.summaries for one in self.done.values())
        return {**found, "summaries made": made} if made else found

    def _step(self, what: str, before_at: datetime | None, act: Callable[[Connection], tuple[int, int]]) -> int:
        """One transaction; returns how many rows went, and learns how many fit."""
        done = self.done.setdefault(what, RetentionResult(before_at))
        with self._db.write() as c:
            start = time.monotonic()
            removed, summaries = act(c)
            held_s = time.monotonic() - start
        whole_s = time.monotonic() - start
        done.removed, done.summaries = done.removed + removed, done.summaries + summaries
        done.seconds, done.longest_s = done.seconds + whole_s, max(done.longest_s, whole_s)
        self._rows = round(min(max(self._rows * min(2.0, max(0.25, AIM_S / max(held_s, 1e-4))), FEWEST), MOST))
        if removed:
            self._pause(whole_s)
        return removed

    def _list_tables(self, cited: Spans) -> Iterator[tuple[Table, ColumnElement[bool], datetime | None]]:
        limits, now = self._limits, self._now
        yield t.web_session, t.web_session.c.expires_at <= now, now
        yield t.known_device, is_strange(now), now
        yield t.password_guess, are_forgotten(now), now
        if (limit := limits.photos_before_at) is not None:
            p, a = t.photo.c, t.alert.c
            is_open = select(a.id).where(a.id == p.alert_id, a.closed_at.is_(None)).exists()
            yield t.photo, and_(p.added_at < limit, ~is_open), limit
        f, s = t.forecast.c, t.forecast_score.c
        if (limit := limits.scores_before_at) is not None:
            issued = select(f.issued_at).where(f.id == s.forecast_id).scalar_subquery()
            yield t.forecast_score, and_(s.observed_at < limit, *_uncited(cited, issued, limit)), limit
        if (limit := limits.forecasts_before_at) is not None:
            yield t.forecast, and_(_is_unscored(limit), *_uncited(cited, f.issued_at, limit)), limit
            yield t.forecast_withheld, t.forecast_withheld.c.issued_at < limit, limit
            at = t.evaluation.c.at
            yield t.evaluation, and_(at < limit, *_uncited(cited, at, limit), ~_decided()), limit
            yield t.job_run, and_(t.job_run.c.started_at < limit, t.job_run.c.state != "running"), limit

    def _sweep_table(self, table: Table, may_go: ColumnElement[bool], before_at: datetime | None) -> None:
        key, are_scores = next(iter(table.primary_key.columns)), table is t.forecast_score
        while True:
            found = select(key).where(may_go).limit(KEYS)
            with self._db.read() as c:
                keys = list(c.execute(order_scores(found) if are_scores else found).scalars())
            at = 0
            while at < len(keys):
                some = keys[at : at + self._rows]
                at += len(some)

                def act(c: Connection, some: list[Any] = some) -> tuple[int, int]:
                    which = and_(key.in_(some), may_go)
                    if are_scores:
                        return delete_scores(c, which), 0
                    return int(c.execute(delete(table).where(which)).rowcount), 0

                self._step(table.name, before_at, act)
            if len(keys) < KEYS:
                return

    # ---- readings --------------------------------------------------------------------------------------------------
    def _sweep_observations(self, cited: Spans) -> None:
        """Series by series, for the key starts with the series; the newest epoch of a series always stays."""
        s, latest = t.series.c, t.series_latest.c
        with self._db.read() as c:
            every = c.execute(
                select(s.id, s.site, s.quantity, latest.observed_at)
                .join(t.series_latest, latest.series_id == s.id)
                .order_by(s.id)
            ).all()
        for one in every:
            rule = self._limits.of_series(one.site, one.quantity)
            if rule is not None:
                for start, end in _free(cited, min(rule.before_at, one.observed_at), rule.span_s):
                    self._sweep_span(one, rule, start, end)

    def _sweep_span(self, one: Any, rule: Thinning, start: datetime, end: datetime) -> None:
        what = f"observation {one.quantity}" if rule.span_s else "observation"
        while start < end:
            with self._db.read() as c:
                until = _find_end(c, one.id, start, end, self._rows, rule.span_s)
                if until is None:
                    return
                found = _make_summaries(c, one.id, start, until, rule.span_s) if rule.span_s else None

            def act(
                c: Connection, start: datetime = start, until: datetime = until, found: "_Summaries" = found
            ) -> tuple[int, int]:
                return _delete_span(c, one.id, start, until, found, {"span_s": rule.span_s, "made_at": self._now})

            self._step(what, rule.before_at, act)
            start = until


def _find_end(c: Connection, series_id: int, start: datetime, end: datetime, rows: int, span_s: int) -> datetime | None:
    """Up to where so many rows of a span of time reach, whole spans of summaries; None where it has none."""
    o, lies = t.observation.c, _lies(t.observation, series_id, start, end)
    first = c.execute(select(o.observed_at).where(lies).order_by(o.observed_at).limit(1)).scalar()
    if first is None:
        return None
    beyond = c.execute(select(o.observed_at).where(lies).order_by(o.observed_at).offset(rows).limit(1)).scalar()
    if beyond is None:
        return end
    until: datetime = max(beyond, first + _TICK)
    return max(floor_at(beyond, span_s), ceil_at(first + _TICK, span_s)) if span_s else until


def _make_summaries(
    c: Connection, series_id: int, start: datetime, until: datetime, span_s: int
) -> "tuple[int, list[ReadingSummary]]":
    """The rows to be deleted, counted, and what stays of them."""
    readings = load_readings(c, series_id, start - _TICK, until - _TICK, _EVER)
    return _count(c, series_id, start, until), summarise(readings, span_s)


def _delete_span(
    c: Connection,
    series_id: int,
    start: datetime,
    until: datetime,
    found: "_Summaries",
    made: Mapping[str, object],
) -> tuple[int, int]:
    """Delete the readings of a time; `made` is what all that stays of them has in common."""
    count, summaries = found or (None, [])
    if count is not None and count != _count(c, series_id, start, until):
        return 0, 0  # a late one came between: the next run takes them together
    if summaries:
        c.execute(insert(t.observation_summary), [{**asdict(one), "series_id": series_id, **made} for one in summaries])
    for table in (t.observation_flag, t.observation):
        removed = int(c.execute(delete(table).where(_lies(table, series_id, start, until))).rowcount)
    return removed, len(summaries)


def _count(c: Connection, series_id: int, start: datetime, until: datetime) -> int:
    lies = _lies(t.observation, series_id, start, until)
    return int(c.execute(select(func.count()).select_from(t.observation).where(lies)).scalar_one())


def _lies(table: Table, series_id: int, start: datetime, end: datetime) -> ColumnElement[bool]:
    return and_(table.c.series_id == series_id, table.c.observed_at >= start, table.c.observed_at < end)


def _free(cited: Spans, before_at: datetime, span_s: int) -> Iterator[Span]:
    """The stretches before an instant that no evidence names, cut to whole spans of summaries."""
    start = _BEGINNING
    for cited_from, cited_to in (*cited, (before_at, before_at)):
        end = min(cited_from, before_at)
        if span_s:
            start, end = ceil_at(start, span_s), floor_at(end, span_s)
        if start < end:
            yield start, end
        start = max(start, cited_to + _TICK)


def _is_unscored(limit: datetime) -> ColumnElement[bool]:
    f, scored = t.forecast.c, t.forecast_score.c.forecast_id
    return and_(f.issued_at < limit, f.target_at < limit, ~select(scored).where(scored == f.id).exists())


def _decided() -> ColumnElement[bool]:
    d = t.decision.c
    return select(d.id).where(d.site == t.evaluation.c.site, d.at == t.evaluation.c.at).exists()


def _uncited(cited: Spans, column: Any, limit: datetime) -> list[ColumnElement[bool]]:
    return [not_(column.between(start, end)) for start, end in cited if start < limit]


SPANS: Final = {"hourly": 3600, "daily": 86400}  # seconds; both begin with a day of UTC


@dataclass(frozen=True, slots=True)
class ReadingSummary:
    """One span of one series; figures are of the readings without a flag, None where there is none."""

    starts_at: datetime
    count: int
    flagged: int
    median: float | None
    minimum: float | None
    maximum: float | None
    mean: float | None


_Summaries = tuple[int, list[ReadingSummary]] | None


def floor_at(at: datetime, span_s: int) -> datetime:
    """The beginning of the span in which an instant lies.

    >>> from monitor.domain.instants import parse, format_iso
    >>> format_iso(floor_at(parse("2026-01-05T07:59:59.5Z"), 3600))
    '2026-01-05T07:00:00.000000Z'
    """
    return from_epoch_s(epoch_s(at) // span_s * span_s)


def ceil_at(at: datetime, span_s: int) -> datetime:
    """The first beginning of a span that does not lie before an instant."""
    start = floor_at(at, span_s)
    return start if start == at else start + timedelta(seconds=span_s)


def summarise(readings: Iterable[Reading], span_s: int) -> list[ReadingSummary]:
    """Raw values of readings in order of epoch, span by span."""
    return [
        _of(starts_at, list(some))
        for starts_at, some in groupby(readings, lambda one: floor_at(one.observed_at, span_s))
    ]


def _of(starts_at: datetime, some: Sequence[Reading]) -> ReadingSummary:
    values = [one.value_raw for one in some if not one.flags]
    flagged = len(some) - len(values)
    if not values:
        return ReadingSummary(starts_at, 0, flagged, None, None, None, None)
    return ReadingSummary(starts_at, len(values), flagged, median(values), min(values), max(values), fmean(values))
