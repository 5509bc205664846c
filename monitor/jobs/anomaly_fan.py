"""The detector beside stored forecasts: readings and their 95 % fans lie in the store, so no model runs for it."""

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from sqlalchemy import Connection

from monitor.domain.quantities import MOVING
from monitor.domain.site import ForecastPlan, Site
from monitor.store.models.anomalies import AnomalyRow, latest_by_series
from monitor.store.models.proofs import digest_forecasters
from monitor.store.models.scores import ScoredFan, load_scored_fans, load_series_names

LIMIT: Final = 1.0  # the edge of the fan: four of six readings outside are an alarm
FIRST_READINGS: Final = 60  # of a series on which the detector has never run


def find_horizon_s(plan: ForecastPlan, step_s: float) -> float:
    """The shortest horizon in which all readings that are judged together lie, else the longest one.

    A fan of the next reading follows what moves at once. The one that was issued before all six does not.

    >>> find_horizon_s(ForecastPlan(horizons_s=(86400.0, 604800.0, 2592000.0), every_s=21600.0), 3600.0) / 86400.0
    7.0
    """
    from detection.anomaly.running.fan import OF

    horizons = sorted(plan.horizons_s)
    return next((h for h in horizons if h >= OF * max(step_s, plan.every_s)), horizons[-1])


def score_fans(
    c: Connection, site: Site, detector: str, budget: float, factor: float, now: datetime
) -> list[AnomalyRow]:
    """What is new of every series of displacement that has forecasts.

    Args:
        c: a read transaction.
        site: the declaration.
        detector: its name.
        budget: false alarms per sensor-month that it may spend.
        factor: by which labels raised its threshold.
        now: what was scored later does not count.
    """
    step_s = site.slowest_motion_s
    if step_s is None:
        return []
    horizon_s, done = find_horizon_s(site.forecast, step_s), latest_by_series(c, site.id, detector)
    weights, limit = digest_forecasters(c, site.id, now) or None, LIMIT * factor
    rows: list[AnomalyRow] = []
    for series_id in list_moving(c, site):
        fans = load_scored_fans(c, series_id, horizon_s, now, FIRST_READINGS)
        since = done.get(series_id)
        for at, score, kind, text in judge_fans(fans):
            if since is None or at > since:
                told = text if score > limit else None
                rows.append(
                    AnomalyRow(
                        series_id, at, detector, score, limit, budget, kind, score > limit, weights, factor, told
                    )
                )
    return rows


def list_moving(c: Connection, site: Site) -> list[int]:
    """Series of a site that may have forecasts of movement."""
    return [i for i, name in load_series_names(c, site.id).items() if name.partition(".")[2].startswith(MOVING)]


def judge_fans(fans: list[ScoredFan]) -> Iterator[tuple[datetime, float, str, str]]:
    """Instant, score, kind and what it was compared with, of each reading that six known ones stand behind."""
    import numpy as np

    from detection.anomaly.running.fan import count_outside, describe, exceed, name_kind, score_fan

    if not fans:
        return
    columns = np.array([(f.observed, f.low, f.middle, f.high) for f in fans], dtype=float).T
    exceeds = exceed(*columns)
    for place, score in enumerate(score_fan(exceeds)):
        if np.isfinite(score):
            so_far = exceeds[: place + 1]
            told = describe(count_outside(so_far), fans[place].issued_at)
            yield fans[place].observed_at, float(score), name_kind(so_far), told
