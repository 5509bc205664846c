"""Scores of failure windows on simulated collapses, by time before the failure."""

from collections.abc import Iterator
from typing import Any

from forecasting.kinematics.failure import FailureSpec, watch_failure
from forecasting.kinematics.failure_record import WindowScore, score_issues, summarize_scores
from forecasting.kinematics.simulated_collapse import draw_collapse

DAY_S = 86_400.0
LEADS_DAYS = (30.0, 14.0, 7.0, 5.0, 3.0, 2.0, 1.0)
PUBLISHED = {"daily": "-1 +- 4 d", "high_rate": "-1 +- 17 h", "of": "14 failures, Leinauer and others 2023"}


def score_voight(
    seeds: range, noises_mm: list[float], *, alpha: tuple[float, float], rain: bool, gaps: bool, interval_s: float
) -> Iterator[dict[str, Any]]:
    """Score simulated collapses.

    Args:
        seeds: One collapse is drawn for each seed.
        noises_mm: White noise of the readings in mm. Each collapse is drawn with each noise.
        alpha: Lowest and highest exponent of Voight's law.
        rain: Whether rain accelerates the collapse.
        gaps: Whether readings are missing.
        interval_s: Sampling interval in seconds.

    Yields:
        The scores for each noise, then those of all collapses together.
    """
    all_scores: list[list[WindowScore | None]] = []
    for sigma in noises_mm:
        scores = []
        for seed in seeds:
            collapse = draw_collapse(seed, sigma=sigma, interval_s=interval_s, alpha=alpha, rain=rain, gaps=gaps)
            # No issue depends on an earlier one, so only those near the failure are computed.
            from_s = collapse.failure_s - (max(LEADS_DAYS) + 1.0) * DAY_S
            no_sigmas = [0.0] * len(collapse.times_s)
            spec = FailureSpec(interval_s, sigma)
            issues = watch_failure(collapse.times_s, collapse.values, no_sigmas, spec, from_s=from_s)
            scores.append(score_issues(issues, collapse.failure_s, LEADS_DAYS))
        all_scores += scores
        leads = summarize_scores(scores, LEADS_DAYS)
        yield {"curves": "voight", "noise_mm": sigma, "seeds": len(seeds), "leads": leads}
    if len(noises_mm) > 1:
        yield {
            "curves": "voight",
            "noise_mm": "all",
            "seeds": len(seeds),
            "leads": summarize_scores(all_scores, LEADS_DAYS),
            "published": PUBLISHED,
        }
