"""Forecast rows, why some were withheld, and their scores."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import numpy as np
from sqlalchemy import Boolean, Connection, Text, and_, column, func, or_, select, table

from forecasting.evaluation.distribution import crps, pit
from forecasting.kinematics.chance import QUANTILES
from forecasting.kinematics.stages import RANK, name_situation
from monitor.api.database import add_all_absent, has_view, insert, record_to_dict, row_to_record
from monitor.api.store import Instant
from monitor.api.tables import series
from monitor.features.forecasts.queries.score_sums import find_spans, sum_up
from monitor.features.forecasts.tables import forecast, forecast_score, forecast_withheld

# Public views of movement, with the columns that are read here.
_MOVEMENT: Final = table(
    "movement_history",
    *(column(name, Text) for name in ("site", "station", "quantity", "stage")),
    column("at", Instant),
)
_FAILURE_WINDOW: Final = table(
    "failure_windows",
    *(column(name, Text) for name in ("site", "station", "method")),
    *(column(name, Instant) for name in ("issued_at", "window_to", "withdrawn_at")),
    column("trusted", Boolean),
)
BY_FORECAST: Final = "forecast"  # method of a window that follows from the quantiles of a forecast


@dataclass(frozen=True, slots=True)
class ForecastRow:
    """One target of one issue; quantiles and baseline are absolute values at `target_at`, in the series' unit."""

    series_id: int
    issued_at: datetime
    data_until: datetime
    as_of_received_at: datetime
    target_at: datetime
    horizon_s: float
    q025: float
    q10: float
    q50: float
    q90: float
    q975: float
    model: str
    model_hash: str
    baseline: str
    baseline_q50: float
    data_value: float  # value at `data_until`, so that persistence can be scored
    shown: bool
    reason: str
    latency_ms: float | None = None
    stage: str | None = None  # how the station moved as known at the issue; None before its first update
    novelty: float | None = None  # above 1 the motion is outside experience
    weight: float | None = None  # share of the model in the combined forecast
    hindcast: bool = False  # made afterwards, from what was known when it says that it was issued


@dataclass(frozen=True, slots=True)
class UnscoredForecast:
    """A forecast whose target has passed and that has no score yet."""

    id: int
    series_id: int
    model: str
    model_hash: str
    horizon_s: float
    target_at: datetime
    quantiles: tuple[float, float, float, float, float]
    baseline_q50: float
    data_value: float
    issued_at: datetime
    data_until: datetime
    stage: str | None


@dataclass(frozen=True, slots=True)
class ForecastScore:
    """What a forecast was worth once its target was observed; errors are observed minus forecast."""

    forecast_id: int
    observed_at: datetime
    observed: float
    error: float
    baseline_error: float
    persistence_error: float
    inside_80: bool
    inside_95: bool
    pinball: float
    winkler_80: float
    crps: float | None = None
    pit: float | None = None
    situation: str | None = None


def add_forecasts(c: Connection, rows: Sequence[ForecastRow]) -> int:
    """Add forecast rows; a row that is there already is left as it is. Returns how many were new."""
    return add_all_absent(c, forecast, [record_to_dict(row) for row in rows])


def find_forecast(c: Connection, numbers: Sequence[int]) -> set[int]:
    """Return those of these series that have been forecast."""
    f = forecast.c
    any_of = select(f.id).where(f.series_id == series.c.id, f.hindcast.is_(False)).exists()
    return set(c.execute(select(series.c.id).where(series.c.id.in_(numbers), any_of)).scalars())


def load_stages(c: Connection, site: str, now: datetime) -> dict[str, str]:
    """Return how each station of a site moved as of `now`. Of several series of a station, the most urgent counts."""
    if not has_view(_MOVEMENT.name):
        return {}
    m = _MOVEMENT.c
    is_known = and_(m.site == site, m.at <= now)
    newest = (
        select(m.station, m.quantity, func.max(m.at).label("at"))
        .where(is_known)
        .group_by(m.station, m.quantity)
        .subquery()
    )
    n = newest.c
    is_newest = and_(n.station == m.station, n.quantity == m.quantity, n.at == m.at)
    stages: dict[str, str] = {}
    for station, stage in c.execute(select(m.station, m.stage).join(newest, is_newest).where(is_known)):
        if station not in stages or RANK.get(stage, -1) > RANK.get(stages[station], -1):
            stages[station] = stage
    return stages


@dataclass(frozen=True, slots=True)
class WithheldRow:
    """Why a model has no forecast of a series, what is lacking, and the earliest instant at which it can have one."""

    series_id: int
    model: str
    reason: str
    horizon_s: float | None = None  # the horizon without a forecast; None: every horizon
    lacking: str | None = None
    earliest_at: datetime | None = None


def add_withheld(c: Connection, entries: Sequence[WithheldRow], issued_at: datetime) -> None:
    """Record why forecasts were not given, or not shown."""
    if entries:
        c.execute(insert(c, forecast_withheld), [record_to_dict(one) | {"issued_at": issued_at} for one in entries])


def load_hindcasts(c: Connection, numbers: Sequence[int]) -> dict[str, datetime]:
    """The models whose past has been scored of any of these series, each with the newest issue of it."""
    f = forecast.c
    query = (
        select(f.model, func.max(f.issued_at).label("newest"))
        .where(f.series_id.in_(numbers), f.hindcast)
        .group_by(f.model)
    )
    return {row.model: row.newest for row in c.execute(query)}


def load_unscored(
    c: Connection, site: str, until: datetime, since: datetime, *, hindcast: bool = False
) -> list[UnscoredForecast]:
    """Forecasts of a site with targets in (since, until] and no score yet, oldest target first."""
    f, k, s = forecast.c, forecast_score.c, series.c
    query = (
        select(forecast)
        .join(series, s.id == f.series_id)
        .outerjoin(forecast_score, k.forecast_id == f.id)
        .where(s.site == site, f.target_at > since, f.target_at <= until)
        .where(k.forecast_id.is_(None), f.hindcast.is_(hindcast))
        .order_by(f.target_at, f.id)
        .limit(20_000)
    )
    return [
        row_to_record(UnscoredForecast, r, quantiles=(r.q025, r.q10, r.q50, r.q90, r.q975)) for r in c.execute(query)
    ]


def load_situations(
    c: Connection, waiting: Sequence[UnscoredForecast], wet: Mapping[datetime, bool]
) -> dict[int, str | None]:
    """Return the situation of each forecast at its issue, by its id.

    `wet`: issue time -> whether much rain had fallen; a missing time was dry or is unknown.
    """
    found: dict[int, str | None] = {}
    known: dict[tuple[int, datetime], bool] = {}
    for one in waiting:
        key = one.series_id, one.issued_at
        if key not in known:
            known[key] = _is_failing(c, *key)
        found[one.id] = name_situation(one.stage, critical=known[key], wet=wet.get(one.issued_at, False))
    return found


def _is_failing(connection: Connection, series_id: int, at: datetime) -> bool:
    """Return whether a trusted failure window of the station of a series was ahead at an instant.

    A window of any series of the station counts, because the slope fails as a whole.
    """
    if not has_view(_FAILURE_WINDOW.name):
        return False
    w, s = _FAILURE_WINDOW.c, series.c
    query = select(w.issued_at).where(
        s.id == series_id,
        w.site == s.site,
        w.station == s.station,
        w.trusted,
        w.issued_at <= at,
        w.window_to > at,
        or_(w.withdrawn_at.is_(None), w.withdrawn_at > at),
    )
    return connection.execute(query.limit(1)).first() is not None


def load_window_ends(c: Connection, site: str, now: datetime) -> dict[str, datetime | None]:
    """Return the late edge of the failure window at each station, None if no window of the station is trusted.

    A window counts from its issue until its late edge, unless it is withdrawn. A station without a window is absent. A
    window that follows from a forecast does not count, because it would withhold the next forecast. Of several trusted
    windows of a station, the earliest late edge counts, because the slope fails as a whole.
    """
    if not has_view(_FAILURE_WINDOW.name):
        return {}
    w = _FAILURE_WINDOW.c
    query = select(w.station, w.window_to, w.trusted).where(
        w.site == site,
        w.method != BY_FORECAST,
        w.issued_at <= now,
        w.window_to > now,
        or_(w.withdrawn_at.is_(None), w.withdrawn_at > now),
    )
    edges: dict[str, datetime | None] = {}
    for station, latest_at, is_trusted in c.execute(query):
        earliest_at = edges.setdefault(station, None)
        if is_trusted and (earliest_at is None or latest_at < earliest_at):
            edges[station] = latest_at
    return edges


def score_forecast(
    unscored: UnscoredForecast, observed_at: datetime, observed: float, situation: str | None = None
) -> ForecastScore:
    """Score one forecast against what came: errors, coverage, mean pinball loss, Winkler score at 80 %, CRPS and PIT.

    Pinball: Koenker & Bassett 1978. Winkler: interval width plus 2/alpha times the miss (Winkler 1972), alpha 0.2.
    """
    q025, q10, q50, q90, q975 = unscored.quantiles
    losses = [
        max(level * (observed - q), (level - 1.0) * (observed - q))
        for (_, level), q in zip(QUANTILES, unscored.quantiles, strict=True)
    ]
    quantiles, came = np.array(unscored.quantiles), np.array(observed)
    miss = max(q10 - observed, 0.0) + max(observed - q90, 0.0)
    return ForecastScore(
        unscored.id,
        observed_at,
        observed,
        observed - q50,
        observed - unscored.baseline_q50,
        observed - unscored.data_value,
        q10 <= observed <= q90,
        q025 <= observed <= q975,
        sum(losses) / len(losses),
        (q90 - q10) + 10.0 * miss,
        float(crps(quantiles, came)),
        float(pit(quantiles, came)),
        situation,
    )


def add_scores(c: Connection, scores: Sequence[ForecastScore], now: datetime) -> set[int]:
    """Add score rows; a forecast is scored once. Returns the ids of the forecasts that had no score before."""
    values = [record_to_dict(score) | {"scored_at": now} for score in scores]
    new = insert(c, forecast_score).on_conflict_do_nothing().returning(forecast_score.c.forecast_id)
    added = set(c.execute(new, values).scalars()) if values else set()
    sum_up(c, find_spans(c, forecast_score.c.forecast_id.in_(added)))
    return added
