"""Drawn collapses that failure windows are judged on."""

from collections.abc import Iterator
from typing import Any

from forecasting.kinematics.failure import FailureSpec
from forecasting.kinematics.failure_scores import draw_collapse, mark_issues, sum_up, watch_curve

DAY_S = 86_400.0
LEADS = (30.0, 14.0, 7.0, 5.0, 3.0, 2.0, 1.0)
PUBLISHED = {"daily": "-1 +- 4 d", "high_rate": "-1 +- 17 h", "of": "14 failures, Leinauer and others 2023"}


def score_voight(
    seeds: range, noises_mm: list[float], *, alpha: tuple[float, float], rain: bool, gaps: bool, interval_s: float
) -> Iterator[dict[str, Any]]:
    """One line per noise, then all together: share issued, error, share inside and width by lead time."""
    every = []
    for sigma in noises_mm:
        marks = []
        for seed in seeds:
            c = draw_collapse(seed, sigma=sigma, interval_s=interval_s, alpha=alpha, rain=rain, gaps=gaps)
            # an issue depends on no earlier one, so only those that are marked are asked for
            from_s = c.failure_s - (max(LEADS) + 1.0) * DAY_S
            issues = watch_curve(c.times_s, c.values, FailureSpec(interval_s, sigma), from_s=from_s)
            marks.append(mark_issues(issues, c.failure_s, LEADS))
        every += marks
        yield {"curves": "voight", "noise_mm": sigma, "seeds": len(seeds), "leads": sum_up(marks, LEADS)}
    if len(noises_mm) > 1:
        yield {
            "curves": "voight",
            "noise_mm": "all",
            "seeds": len(seeds),
            "leads": sum_up(every, LEADS),
            "published": PUBLISHED,
        }
