"""Simulated collapses with a known end, and how good failure windows were before them."""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import exp, fsum
from typing import Any

from forecasting.kinematics.failure import FailureIssue, FailureSpec, watch_failure
from forecasting.kinematics.noise import median, quantile
from forecasting.kinematics.velocity import DAY_S


@dataclass(frozen=True, slots=True)
class Collapse:
    """A displacement record that ends before a known failure."""

    times_s: Sequence[float]  # seconds since the start, shape (n,)
    values: Sequence[float]  # displacement in mm, shape (n,)
    sigma: float  # white noise put on each value, mm
    failure_s: float  # true failure, seconds since the start
    alpha: float  # exponent of Voight's law


def draw_collapse(
    seed: int,
    *,
    sigma: float,
    interval_s: float = DAY_S,
    alpha: float | tuple[float, float] = 2.0,
    rain: bool = False,
    gaps: bool = False,
) -> Collapse:
    """Draw one record: creep, then dv/dt = A v^alpha to its end.

    Drawn: length 120-300 d, velocity one week before failure 4-40 mm/day (published orange bounds lie at 2-227 mm/day:
    Crosta and Agliardi 2003), steady creep of 0.02-0.2 mm/day beneath. Rain multiplies the velocity by up to 1.6,
    dying away in 1-4 days, about every 12 days. Gaps take away 5 % of the epochs singly and one block of 3-8 %.
    """
    rng = random.Random(seed)
    length = rng.uniform(120.0, 300.0)
    fast = 4.0 * 10.0 ** rng.uniform(0.0, 1.0)
    creep = rng.uniform(0.02, 0.2)
    exponent = rng.uniform(*alpha) if isinstance(alpha, tuple) else alpha
    pulses = []
    at = rng.expovariate(1.0 / 12.0)
    while rain and at < length:
        pulses.append((at, rng.uniform(0.1, 0.6), rng.uniform(1.0, 4.0)))
        at += rng.expovariate(1.0 / 12.0)
    step = interval_s / DAY_S
    inner = max(4, round(step * 24))  # integration steps per epoch
    n = int((length - 1e-9) / step)
    times, values, total = [], [], 0.0
    for i in range(n + 1):
        times.append(i * interval_s)
        values.append(total + rng.gauss(0.0, sigma))
        for j in range(inner):
            day = (i + (j + 0.5) / inner) * step
            lead = length - day
            if lead <= 0.0:
                break
            speed = creep + fast * (lead / 7.0) ** (-1.0 / (exponent - 1.0))
            wet = 1.0 + fsum(a * exp(-(day - t) / d) for t, a, d in pulses if 0.0 <= day - t < 8.0 * d)
            total += speed * wet * step / inner
    if gaps:
        block, width = rng.uniform(0.3, 0.9) * n, rng.uniform(0.03, 0.08) * n
        kept = [i for i in range(n + 1) if rng.random() > 0.05 and not block <= i < block + width]
        times, values = [times[i] for i in kept], [values[i] for i in kept]
    return Collapse(times, values, sigma, length * DAY_S, exponent)


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
