"""How good failure windows were: against a known failure, and of a service that runs.

`score_issues` and `summarize_scores` compare windows with the known failure of a simulated or measured collapse.
`count_outcomes` counts what became of the windows that a service stored.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import fsum
from typing import Any

from forecasting.kinematics.failure import FailureIssue
from forecasting.kinematics.noise import median, quantile
from forecasting.kinematics.velocity import DAY_S


@dataclass(frozen=True, slots=True)
class WindowRun:
    """The windows of one series from the first one to their withdrawal; instants in epoch seconds."""

    is_trusted: bool  # whether at least one of them was trusted
    to_s: float  # latest late edge
    withdrawn_s: float | None  # None if the newest window stands


@dataclass(frozen=True, slots=True)
class WindowOutcomes:
    """What became of the runs with a trusted window."""

    count: int
    withdrawn: int  # before the late edge, because the readings did not support the window any more
    passed: int  # the late edge passed
    standing: int


def count_outcomes(runs: Iterable[WindowRun], now_s: float) -> WindowOutcomes:
    """Count what became of the windows that a service stored, as known at an instant.

    >>> day = 86400.0
    >>> runs = [WindowRun(True, 9 * day, 4 * day), WindowRun(True, 9 * day, 9 * day), WindowRun(False, day, None)]
    >>> count_outcomes(runs, 10 * day)
    WindowOutcomes(count=2, withdrawn=1, passed=1, standing=0)
    """
    withdrawn = passed = standing = 0
    for run in runs:
        if not run.is_trusted:
            continue
        if run.withdrawn_s is None or run.withdrawn_s > now_s:
            standing += 1
        elif run.withdrawn_s >= run.to_s:
            passed += 1
        else:
            withdrawn += 1
    return WindowOutcomes(withdrawn + passed + standing, withdrawn, passed, standing)


@dataclass(frozen=True, slots=True)
class WindowScore:
    """A trusted window compared with the known failure."""

    error_days: float  # middle minus failure; positive is late, which is the unsafe side
    contains_failure: bool
    width_days: float  # late edge minus early edge


def score_issues(
    issues: Sequence[FailureIssue], failure_s: float, leads_days: Sequence[float]
) -> list[WindowScore | None]:
    """Score the window that was known at each time before a failure.

    Args:
        issues: Issues of one record, oldest first.
        failure_s: Failure in epoch seconds.
        leads_days: Times before the failure in days.

    Returns:
        By time before the failure, the score of the newest issue up to then; None if it has no trusted window.
    """
    scores: list[WindowScore | None] = []
    for lead_days in leads_days:
        known = [issue for issue in issues if issue.data_until_s <= failure_s - lead_days * DAY_S]
        scores.append(_score(known[-1], failure_s) if known else None)
    return scores


def _score(issue: FailureIssue, failure_s: float) -> WindowScore | None:
    if not issue.trusted or issue.from_s is None or issue.mid_s is None or issue.to_s is None:
        return None
    contains_failure = issue.from_s <= failure_s <= issue.to_s
    return WindowScore((issue.mid_s - failure_s) / DAY_S, contains_failure, (issue.to_s - issue.from_s) / DAY_S)


def summarize_scores(
    scores: Iterable[Sequence[WindowScore | None]], leads_days: Sequence[float]
) -> dict[str, dict[str, Any]]:
    """Summarize the scores of several records by time before the failure.

    Args:
        scores: Scores of each record, as `score_issues` returns them.
        leads_days: Times before the failure in days.

    Returns:
        By time such as `14d`: number of `curves`, share `issued`, and of the issued windows the error (median, mean,
        standard deviation, absolute), the share `inside` that contains the failure, and the median width.
    """
    columns = list(zip(*scores, strict=True))
    table: dict[str, dict[str, Any]] = {}
    for lead_days, column in zip(leads_days, columns, strict=True):
        issued = [score for score in column if score is not None]
        row: dict[str, Any] = {"curves": len(column), "issued": round(len(issued) / len(column), 3)}
        if issued:
            errors = [score.error_days for score in issued]
            mean = fsum(errors) / len(errors)
            row |= {
                "median_error_days": round(median(errors), 3),
                "mean_error_days": round(mean, 3),
                "sd_error_days": round((fsum((error - mean) ** 2 for error in errors) / len(errors)) ** 0.5, 3),
                "median_abs_error_days": round(median([abs(error) for error in errors]), 3),
                "p90_abs_error_days": round(quantile(sorted(abs(error) for error in errors), 0.9), 3),
                "inside": round(sum(1 for score in issued if score.contains_failure) / len(issued), 3),
                "median_width_days": round(median([score.width_days for score in issued]), 3),
            }
        table[f"{lead_days:g}d"] = row
    return table
