"""How good failure windows were: error and width by lead time before known collapses, false windows where none came."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import fsum
from typing import Any

from forecasting.kinematics.failure import FailureIssue, FailureSpec, watch_failure
from forecasting.kinematics.noise import median, quantile
from forecasting.kinematics.velocity import DAY_S

Marks = Sequence["Mark | None"]


@dataclass(frozen=True, slots=True)
class Mark:
    """One trusted window against the truth, in days."""

    error: float  # middle minus truth; positive is late, which is the unsafe side
    inside: bool  # the truth lies in the window
    width: float  # late edge minus early edge


def mark_issues(issues: Sequence[FailureIssue], failure_s: float, leads_days: Sequence[float]) -> list[Mark | None]:
    """What was trusted at each lead time: the newest issue that far before the failure; None where none was."""
    marks: list[Mark | None] = []
    for lead in leads_days:
        known = [x for x in issues if x.data_until_s <= failure_s - lead * DAY_S]
        last = known[-1] if known else None
        if last is None or not last.trusted or last.from_s is None or last.mid_s is None or last.to_s is None:
            marks.append(None)
            continue
        inside = last.from_s <= failure_s <= last.to_s
        marks.append(Mark((last.mid_s - failure_s) / DAY_S, inside, (last.to_s - last.from_s) / DAY_S))
    return marks


def watch_curve(
    times_s: Sequence[float], values: Sequence[float], spec: FailureSpec, *, from_s: float = float("-inf")
) -> list[FailureIssue]:
    """The issues of a curve whose epochs have no stated sigma."""
    return watch_failure(times_s, values, [0.0] * len(times_s), spec, from_s=from_s)


def sum_up(marks: Iterable[Marks], leads_days: Sequence[float]) -> dict[str, dict[str, Any]]:
    """By lead time: share issued, error (median, mean, standard deviation, absolute), share inside, median width."""
    columns = list(zip(*marks, strict=True))
    table: dict[str, dict[str, Any]] = {}
    for lead, column in zip(leads_days, columns, strict=True):
        found = [m for m in column if m is not None]
        row: dict[str, Any] = {"curves": len(column), "issued": round(len(found) / len(column), 3)}
        if found:
            errors = [m.error for m in found]
            mean = fsum(errors) / len(errors)
            row |= {
                "median_error_days": round(median(errors), 3),
                "mean_error_days": round(mean, 3),
                "sd_error_days": round((fsum((e - mean) ** 2 for e in errors) / len(errors)) ** 0.5, 3),
                "median_abs_error_days": round(median([abs(e) for e in errors]), 3),
                "p90_abs_error_days": round(quantile(sorted(abs(e) for e in errors), 0.9), 3),
                "inside": round(sum(1 for m in found if m.inside) / len(found), 3),
                "median_width_days": round(median([m.width for m in found]), 3),
            }
        table[f"{lead:g}d"] = row
    return table


def count_false(issues: Sequence[FailureIssue]) -> dict[str, Any]:
    """Windows over a curve that never failed: issues with one, trusted ones, runs of trusted ones, withdrawals."""
    trusted = [x.trusted for x in issues]
    return {
        "issues": len(issues),
        "windows": sum(x.from_s is not None for x in issues),
        "trusted": trusted.count(True),
        "trusted_share": round(trusted.count(True) / max(1, len(trusted)), 4),
        "runs": sum(1 for before, now in zip([False, *trusted], trusted, strict=False) if now and not before),
        "withdrawn": sum(x.withdrawn is not None for x in issues),
    }


def pool_false(counts: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The counts of several series as one."""
    total = {k: sum(int(c[k]) for c in counts.values()) for k in ("issues", "windows", "trusted", "runs", "withdrawn")}
    return {"series": len(counts)} | total | {"trusted_share": round(total["trusted"] / max(1, total["issues"]), 4)}
