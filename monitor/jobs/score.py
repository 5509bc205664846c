"""Score forecasts whose targets have been observed, and feed what was learnt back to the intervals."""

from bisect import bisect_left
from datetime import datetime, timedelta
from typing import Any

from monitor.config import ServiceConfig
from monitor.domain.instants import epoch_s
from monitor.domain.observation import Reading
from monitor.domain.site import Site
from monitor.jobs.samples import UNFIT
from monitor.store.engine import Database
from monitor.store.forecasts import (
    Score,
    Unscored,
    add_scores,
    load_conformal,
    load_unscored,
    save_conformal,
    score_forecast,
)
from monitor.store.observations import load_readings, load_series

LOOK_BACK_S = 90 * 86400.0  # a target observed later than this stays unscored


def run(db: Database, config: ServiceConfig, site: Site, now: datetime) -> str:  # noqa: ARG001 - the shape of a job
    """Add a score row for every target that has been observed by now; returns one line."""
    with db.read() as c:
        waiting = load_unscored(c, site.id, now, now - timedelta(seconds=LOOK_BACK_S))
        names = {row.id: row for row in load_series(c, site.id)}
        readings = {}
        for series_id in {u.series_id for u in waiting}:
            first = min(u.target_at for u in waiting if u.series_id == series_id) - timedelta(days=1)
            found = load_readings(c, series_id, first, now, now)
            readings[series_id] = [r for r in found if not UNFIT.intersection(r.flags)]
        states: dict[tuple[int, str, float, float], Any] = dict(load_conformal(c, sorted(readings)))
    scores: list[Score] = []
    for one in waiting:
        name = names[one.series_id]
        spec = site.series(name.station, name.quantity)
        if spec is None:
            continue
        nearest = nearest_reading(readings[one.series_id], one.target_at, spec.interval_s / 2.0)
        if nearest is not None:
            scores.append(score_forecast(one, nearest.observed_at, nearest.value))
            _feed_back(states, one, nearest.value)
    with db.write() as c:
        added = add_scores(c, scores, now)
        if added == len(scores):
            changed = {(u.series_id, u.model, u.horizon_s) for u in waiting}
            save_conformal(c, {k: v for k, v in states.items() if k[:3] in changed}, now)
    return f"{added} scored, {len(waiting) - len(scores)} targets not observed yet"


def nearest_reading(readings: list[Reading], target_at: datetime, within_s: float) -> Reading | None:
    """The reading closest to a target, at most `within_s` away; the earlier one of two equally close."""
    at = [r.observed_at for r in readings]
    i = bisect_left(at, target_at)
    near = readings[max(0, i - 1) : i + 1]
    best = min(near, key=lambda r: abs(epoch_s(r.observed_at) - epoch_s(target_at)), default=None)
    if best is None or abs(epoch_s(best.observed_at) - epoch_s(target_at)) > within_s:
        return None
    return best


def _feed_back(states: dict[tuple[int, str, float, float], Any], one: Unscored, observed: float) -> None:
    """Give the intervals of this series, model and horizon what they missed or held."""
    from forecasting.lane import conformal_key, feedback

    if one.margin_80 is None or one.margin_95 is None:
        return
    label = "x"
    keys = {n: (one.series_id, one.model, one.horizon_s, n) for n in (0.8, 0.95)}
    before = {conformal_key(label, one.horizon_s, n): states[k] for n, k in keys.items() if k in states}
    row = dict(zip(("q025", "q10", "q50", "q90", "q975"), one.quantiles, strict=True)) | {
        "station": label, "horizon_s": one.horizon_s, "margins": {"0.8": one.margin_80, "0.95": one.margin_95},
    }  # fmt: skip
    after = feedback(row, observed, before)
    for nominal, key in keys.items():
        states[key] = after[conformal_key(label, one.horizon_s, nominal)]
