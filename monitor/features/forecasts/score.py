"""Scores forecasts whose targets have been observed, and feeds what was learnt back to the intervals."""

from bisect import bisect_left
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection

from forecasting.serving.conformal import ConformalState, feedback
from monitor.api.database import Database
from monitor.api.queries.readings import load_series, stream_readings
from monitor.api.readings import Reading, is_fit
from monitor.api.sites import Site
from monitor.api.text import epoch_s
from monitor.features.forecasts.drivers import find_wet
from monitor.features.forecasts.queries import forecasts

Key = tuple[int, str, float, float]
SCORED_WITHIN_S = 90 * 86400.0  # a target observed later than this stays unscored


def score_targets(db: Database, site: Site, now: datetime, *, hindcast: bool = False) -> str:
    """Add a score row for every target that has been observed by now; returns one line.

    Of a `hindcast` the whole past is scored, and no interval learns from it: those of the service are of now.

    Scores and the intervals that learn from them are one transaction: what is killed in between is done again, and
    nothing is fed back twice.
    """
    with db.read() as c:
        since = datetime.min.replace(tzinfo=UTC) if hindcast else now - timedelta(seconds=SCORED_WITHIN_S)
        waiting = forecasts.load_unscored(c, site.id, now, since, hindcast=hindcast)
        names = {row.id: row for row in load_series(c, site.id)}
        specs = {i: site.series(names[i].station, names[i].quantity) for i in {u.series_id for u in waiting}}
        readings = {
            i: _load_near(c, i, [u.target_at for u in waiting if u.series_id == i], spec.interval_s / 2.0, now)
            for i, spec in specs.items()
            if spec is not None
        }
        wet = find_wet(c, site, (u.issued_at for u in waiting), now)
        situations = forecasts.load_situations(c, waiting, wet)
    scores: dict[int, forecasts.ForecastScore] = {}
    for one in waiting:
        spec = specs[one.series_id]
        if spec is None:
            continue
        nearest = nearest_reading(readings[one.series_id], one.target_at, spec.interval_s / 2.0)
        if nearest is not None:
            scores[one.id] = forecasts.score_forecast(one, nearest.observed_at, nearest.value, situations[one.id])
    with db.write() as c:
        added = forecasts.add_scores(c, list(scores.values()), now)
        learning = [one for one in waiting if one.id in added and not hindcast]
        # read behind the new scores: whoever wrote some of them at the same time has been waited for
        states = forecasts.load_conformal(c, sorted({one.series_id for one in learning}))
        changed: set[Key] = set()
        for one in learning:
            spec = specs[one.series_id]
            steps = 1 if spec is None else max(1, round(one.horizon_s / spec.interval_s))
            changed |= _feed_back(states, one, scores[one.id].observed, steps)
        forecasts.save_conformal(c, {key: states[key] for key in sorted(changed)}, now)
    return f"{len(added)} scored, {len(waiting) - len(scores)} targets not observed yet"


def _load_near(
    c: Connection, series_id: int, targets: Sequence[datetime], within_s: float, now: datetime
) -> list[Reading]:
    """Fit readings at most `within_s` from a target: what lies between targets is passed over as it is read."""
    within = timedelta(seconds=within_s)
    at = sorted(set(targets))
    near = []
    for r in stream_readings(c, series_id, at[0] - within - timedelta(seconds=1), now, now):
        i = bisect_left(at, r.observed_at - within)  # the first target that this reading is not too late for
        if i < len(at) and at[i] - within <= r.observed_at and is_fit(r):
            near.append(r)
    return near


def nearest_reading(readings: list[Reading], target_at: datetime, within_s: float) -> Reading | None:
    """The reading closest to a target, at most `within_s` away; the earlier one of two equally close."""
    at = [r.observed_at for r in readings]
    i = bisect_left(at, target_at)
    near = readings[max(0, i - 1) : i + 1]
    best = min(near, key=lambda r: abs(epoch_s(r.observed_at) - epoch_s(target_at)), default=None)
    if best is None or abs(epoch_s(best.observed_at) - epoch_s(target_at)) > within_s:
        return None
    return best


def _feed_back(
    states: dict[Key, ConformalState], one: forecasts.UnscoredForecast, observed: float, steps: int
) -> set[Key]:
    if one.margin_80 is None or one.margin_95 is None:
        return set()
    name = forecasts.name_intervals(one.model, one.model_hash)
    keys = {n: (one.series_id, name, one.horizon_s, n) for n in (0.8, 0.95)}
    before = {n: states.get(key) or ConformalState.fresh(n, steps) for n, key in keys.items()}
    q025, q10, _, q90, q975 = one.quantiles
    issued = {0.8: (q10, q90, one.margin_80), 0.95: (q025, q975, one.margin_95)}
    after = feedback(issued, observed, before, one.stretch or 1.0)
    states.update({keys[n]: state for n, state in after.items()})
    return set(keys.values())
