"""What scored forecasts add up to: errors, and how often their intervals held."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

STATION_ISSUES: Final = 20
"""A station with fewer scores is no worst station: of ten values a sound interval misses four every eighth time."""


@dataclass(frozen=True, slots=True)
class Scored:
    """One stored forecast whose target was observed; errors are observed minus forecast, in the series' unit."""

    issued_s: float
    station: str
    error: float
    baseline_error: float
    inside_80: bool
    inside_95: bool
    latency_ms: float | None = None
    stage: str | None = None
    unit: str = "mm"
    crps: float | None = None
    situation: str | None = None


@dataclass(frozen=True, slots=True)
class ScoreSummary:
    """What scored forecasts add up to; None where there are too few."""

    issues: int  # distinct issue times
    n: int  # forecasts, all stations together
    mae: float | None
    baseline_mae: float | None  # that of the best simple forecast named at each issue
    skill: float | None  # 1 - mae / baseline_mae
    coverage_80: float | None
    worst_80: float | None  # the same at the worst station that has 20 scores
    worst_station: str | None
    coverage_95: float | None
    crps: float | None  # mean score of the whole fan
    unit: str = ""  # what the errors are in; of several series in several units all of them


def summarise(rows: Sequence[Scored]) -> ScoreSummary:
    """Add up scored forecasts.

    >>> one = summarise([Scored(0.0, "A", 1.0, 2.0, True, True), Scored(1.0, "A", -1.0, 2.0, False, True)])
    >>> one.issues, one.skill, one.coverage_80, one.worst_80
    (2, 0.5, 0.5, None)
    """
    if not rows:
        return ScoreSummary(0, 0, None, None, None, None, None, None, None, None)
    n = len(rows)
    mae = math.fsum(abs(r.error) for r in rows) / n
    baseline_mae = math.fsum(abs(r.baseline_error) for r in rows) / n
    held: dict[str, list[bool]] = {}
    for r in rows:
        held.setdefault(r.station, []).append(r.inside_80)
    shares = [(sum(inside) / len(inside), name) for name, inside in held.items() if len(inside) >= STATION_ISSUES]
    worst_80, worst_station = min(shares) if shares else (None, None)
    crps = [r.crps for r in rows if r.crps is not None]
    return ScoreSummary(
        issues=len({r.issued_s for r in rows}),
        n=n,
        mae=mae,
        baseline_mae=baseline_mae,
        skill=1.0 - mae / baseline_mae if baseline_mae > 0 else None,
        coverage_80=sum(r.inside_80 for r in rows) / n,
        worst_80=worst_80,
        worst_station=worst_station,
        coverage_95=sum(r.inside_95 for r in rows) / n,
        crps=math.fsum(crps) / len(crps) if crps else None,
        unit=" or ".join(sorted({r.unit for r in rows})),
    )


def take_newest(rows: Iterable[Scored], issues: int) -> list[Scored]:
    """Return the forecasts of the newest issue times that have a score."""
    known = list(rows)
    newest = set(sorted({r.issued_s for r in known})[-issues:])
    return [r for r in known if r.issued_s in newest]


def pair_up(rows: Sequence[Scored], others: Sequence[Scored]) -> tuple[list[Scored], list[Scored]]:
    """Return of two forecasters the forecasts of the stations and issue times that both have, in the same order."""
    other = {(r.issued_s, r.station): r for r in others}
    both = [r for r in rows if (r.issued_s, r.station) in other]
    return both, [other[r.issued_s, r.station] for r in both]
