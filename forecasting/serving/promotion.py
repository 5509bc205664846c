"""Judges a network at one horizon by what its stored forecasts were worth: out of the shadow, or back into it."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from forecasting.kinematics.velocity import DAY_S  # the core reads this file, and starts without numpy
from forecasting.reasons import Reason, Value, reason_from_json
from forecasting.registry import name_blend
from forecasting.serving.records import not_shown

COVERAGE_80: Final = 0.74  # narrower is refused; a wider interval costs in the score, and the next errors narrow it
WORST_STATION_80: Final = 0.65
COVERAGE_95: Final = 0.90
SHADOW_S: Final = 14 * DAY_S
SHADOW_ISSUES: Final = 30
MINIMUM_ISSUES: Final = 10
"""Below this many scored issue times nothing is said of a horizon: 14 days at a month ahead hold none at all."""
ROLLING_ISSUES: Final = 30
JUDGED_ISSUES: Final = 60
"""The way out of the shadow looks at so many: more would hold a bad month against it for a year."""
DEMOTION_COVERAGE_80: Final = 0.70
STATION_ISSUES: Final = 20
"""A station with fewer scores is no worst station: of ten values a sound interval misses four every eighth time."""

HorizonState = Literal["shadow", "active"]


def explain_own(network: str, weight: float) -> Reason:
    """Return the reason of a network's own forecast: the gate uses a share of it in the blend that is shown."""
    return Reason("forecast.own", {"blend": name_blend(network), "share": weight})


@dataclass(frozen=True, slots=True)
class Scored:
    """One stored forecast whose target was observed; errors are observed minus forecast, in the series' unit.

    `baseline_crps` is the score of `auto` of the same issue, None where it was not issued.
    """

    issued_s: float
    station: str
    error: float
    baseline_error: float
    inside_80: bool
    inside_95: bool
    latency_ms: float | None = None
    winkler_80: float | None = None
    stage: str | None = None
    unit: str = "mm"
    pinball: float | None = None
    crps: float | None = None
    pit: float | None = None
    situation: str | None = None
    baseline_crps: float | None = None


@dataclass(frozen=True, slots=True)
class RollingRecord:
    """What scored forecasts add up to; None where there are too few."""

    issues: int  # distinct issue times
    n: int  # forecasts, all stations together
    mae: float | None
    baseline_mae: float | None  # that of the best simple forecast named at each issue
    skill: float | None
    coverage_80: float | None
    worst_80: float | None  # the same at the worst station that has 20 scores
    worst_station: str | None  # which one
    coverage_95: float | None
    # mean score of the whole fan, error and interval in one, of the forecasts that `auto` was scored beside; None where
    # these are fewer than half
    crps: float | None = None
    baseline_crps: float | None = None  # that of `auto`
    unit: str = ""  # what the errors are in; of several series in several units all of them

    @property
    def gain(self) -> float | None:
        """What it is judged by: 1 - its score / that of `auto`; by the mean error where `auto` was not scored."""
        if self.crps is None or not self.baseline_crps:
            return self.skill
        return 1.0 - self.crps / self.baseline_crps

    def explain_worse(self, horizon_s: float) -> Reason:
        """Return the reason that it is no better than the simple forecast, with what it is judged by."""
        if self.crps is not None and self.baseline_crps:
            figures = {"score": self._with_unit(self.crps), "other": self._with_unit(self.baseline_crps)}
            cause = Reason("promotion.high_score", figures)
        else:
            figures = {"error": self._with_unit(self.mae), "other": self._with_unit(self.baseline_mae)}
            cause = Reason("promotion.high_error", figures)
        return Reason("promotion.worse", {"n": self.issues, "horizon": horizon_s, "text": cause})

    def _with_unit(self, error: float | None) -> Value:
        return "unknown" if error is None else (error, self.unit)


@dataclass(frozen=True, slots=True)
class Verdict:
    """The state a horizon should have now, the reason, the rolling record it rests on, and what is lacking."""

    state: HorizonState
    reason: Reason
    record: RollingRecord
    lacking: Reason | None = None


def find_earliest_s(
    horizon_s: float, *, begin_s: float, every_s: float, issues: int = 0, now_s: float = -math.inf
) -> float:
    """When a network can be shown at the earliest, epoch seconds: its time in the shadow is never shorter.

        begin_s: When it came into the shadow, or when it can come.
        now_s: Of the question; nothing is shown before the next issue after it.

    >>> find_earliest_s(86400.0, begin_s=0.0, every_s=86400.0) / 86400.0  # fourteen days hold more than ten
    14.0
    >>> find_earliest_s(86400.0, begin_s=0.0, every_s=21600.0) / 86400.0  # thirty issues of six hours come sooner
    8.25
    """

    def scored_s(needed: int) -> float:
        return max(begin_s + (needed - 1) * every_s + horizon_s, now_s + (needed - issues) * every_s)

    sooner = min(scored_s(SHADOW_ISSUES), max(begin_s + SHADOW_S, scored_s(MINIMUM_ISSUES)))
    return max(sooner, now_s + every_s)


def summarise(rows: Sequence[Scored]) -> RollingRecord:
    """Add up scored forecasts.

    >>> one = summarise([Scored(0.0, "A", 1.0, 2.0, True, True), Scored(1.0, "A", -1.0, 2.0, False, True)])
    >>> one.issues, one.skill, one.coverage_80, one.worst_80
    (2, 0.5, 0.5, None)
    """
    if not rows:
        return RollingRecord(0, 0, None, None, None, None, None, None, None)
    n = len(rows)
    own = math.fsum(abs(r.error) for r in rows) / n
    other = math.fsum(abs(r.baseline_error) for r in rows) / n
    held: dict[str, list[bool]] = {}
    for r in rows:
        held.setdefault(r.station, []).append(r.inside_80)
    shares = [(sum(inside) / len(inside), name) for name, inside in held.items() if len(inside) >= STATION_ISSUES]
    worst_80, worst_station = min(shares) if shares else (None, None)
    return RollingRecord(
        len({r.issued_s for r in rows}),
        n,
        own,
        other,
        1.0 - own / other if other > 0 else None,
        sum(r.inside_80 for r in rows) / n,
        worst_80,
        worst_station,
        sum(r.inside_95 for r in rows) / n,
        *_mean_crps(rows),
        " or ".join(sorted({r.unit for r in rows})),
    )


def _mean_crps(rows: Sequence[Scored]) -> tuple[float | None, float | None]:
    """Mean score of the fans and of those of `auto`, of what has both; None where that is less than half."""
    pairs = [(r.crps, r.baseline_crps) for r in rows if r.crps is not None and r.baseline_crps is not None]
    if 2 * len(pairs) < len(rows):
        return None, None
    return math.fsum(own for own, _ in pairs) / len(pairs), math.fsum(other for _, other in pairs) / len(pairs)


def take_newest(rows: Iterable[Scored], issues: int = ROLLING_ISSUES) -> list[Scored]:
    """The forecasts of the newest issue times that have a score."""
    found = list(rows)
    kept = set(sorted({r.issued_s for r in found})[-issues:])
    return [r for r in found if r.issued_s in kept]


def check_shown(horizon_s: float, rows: Sequence[Scored]) -> Verdict:
    """Whether a network that is shown at a horizon stays so.

    It goes into the shadow when over the newest 30 scored issue times it did not beat the best simple forecast or its
    80 % interval held less than 70 %; fewer than 10 issue times decide nothing. `horizon_s`: seconds.
    """
    record = summarise(take_newest(rows))
    if record.issues < MINIMUM_ISSUES or record.coverage_80 is None:
        undecided = Reason("promotion.undecided", {"n": record.issues, "horizon": horizon_s})
        return Verdict("active", Reason("promotion.shown", {"text": undecided}), record)
    if record.gain is None or record.gain <= 0:
        return Verdict("shadow", not_shown(record.explain_worse(horizon_s)), record, Reason("lack.score"))
    coverage: dict[str, Value] = {"n": record.issues, "horizon": horizon_s, "share": record.coverage_80}
    if record.coverage_80 < DEMOTION_COVERAGE_80:
        return Verdict("shadow", not_shown(Reason("promotion.narrow", coverage)), record, Reason("lack.width"))
    better = Reason("promotion.better", {**coverage, "gain": record.gain})
    return Verdict("active", Reason("promotion.shown", {"text": better}), record)


def check_shadow(
    horizon_s: float,
    calibration: Mapping[str, Any],
    rows: Sequence[Scored],
    *,
    shadow_s: float,
    latency_limit_ms: float,
) -> Verdict:
    """Whether a network in the shadow may be shown at a horizon (seconds), or the first reason against it."""
    record = summarise(take_newest(rows))
    fault = _find_fault(horizon_s, calibration, rows, record, shadow_s, latency_limit_ms)
    if fault is not None:
        return Verdict("shadow", Reason("promotion.shadow", {"text": fault[0]}), record, fault[1])
    return check_shown(horizon_s, rows)


def is_waiting(calibration: Mapping[str, Any], rows: Sequence[Scored], *, shadow_s: float) -> bool:
    """Whether a horizon in the shadow has still to be given its time: only then does a successor wait for it."""
    return bool(calibration.get("shown")) and not _had_its_time(summarise(rows).issues, shadow_s)


def compare_same(rows: Sequence[Scored], others: Sequence[Scored]) -> tuple[float | None, float | None, int]:
    """Mean absolute errors of two forecasters over the stations and issue times that both have, and how many."""
    theirs = {(r.issued_s, r.station): abs(r.error) for r in others}
    pairs = [(abs(r.error), theirs[r.issued_s, r.station]) for r in rows if (r.issued_s, r.station) in theirs]
    if not pairs:
        return None, None, 0
    return math.fsum(a for a, _ in pairs) / len(pairs), math.fsum(b for _, b in pairs) / len(pairs), len(pairs)


def _had_its_time(issues: int, shadow_s: float) -> bool:
    return issues >= SHADOW_ISSUES or (shadow_s >= SHADOW_S and issues >= MINIMUM_ISSUES)


def _find_fault(
    horizon_s: float,
    calibration: Mapping[str, Any],
    rows: Sequence[Scored],
    recent: RollingRecord,
    shadow_s: float,
    latency_limit_ms: float,
) -> tuple[Reason, Reason] | None:
    """Return the first reason not to show it and what it lacks, or None."""
    whole = summarise(take_newest(rows, JUDGED_ISSUES))
    if not calibration.get("shown"):
        plain = calibration.get("reason")
        reason = reason_from_json(plain) if plain else Reason("promotion.no_verdict", {"horizon": horizon_s})
        return reason, Reason("lack.training")
    if not _had_its_time(whole.issues, shadow_s):
        issues: dict[str, Value] = {"n": whole.issues, "needed": SHADOW_ISSUES, "fewest": MINIMUM_ISSUES}
        days: dict[str, Value] = {"days": math.floor(shadow_s / DAY_S), "days_needed": SHADOW_S / DAY_S}
        young = Reason("promotion.too_young", {**issues, **days, "horizon": horizon_s})
        return young, Reason("lack.issues", issues)
    for record in (whole, recent):
        if record.gain is None or record.gain <= 0:
            return record.explain_worse(horizon_s), Reason("lack.score")
    if narrow := _find_coverage_fault(horizon_s, whole, recent):
        return narrow, Reason("lack.width")
    slow = _find_slowness(rows, latency_limit_ms)
    return None if slow is None else (slow, Reason("lack.speed"))


def _find_coverage_fault(horizon_s: float, whole: RollingRecord, recent: RollingRecord) -> Reason | None:
    cover, cover_95 = whole.coverage_80 or 0.0, whole.coverage_95 or 0.0
    if cover < COVERAGE_80:
        return Reason("promotion.held_80", {"share": cover, "horizon": horizon_s})
    if (newest := recent.coverage_80 or 0.0) < DEMOTION_COVERAGE_80:
        return Reason("promotion.held_newest", {"share": newest, "horizon": horizon_s})
    if whole.worst_80 is not None and whole.worst_80 < WORST_STATION_80:
        worst: dict[str, Value] = {"share": whole.worst_80, "station": whole.worst_station or ""}
        return Reason("promotion.held_worst", {**worst, "horizon": horizon_s})
    if cover_95 < COVERAGE_95:
        return Reason("promotion.held_95", {"share": cover_95, "horizon": horizon_s})
    return None


def _find_slowness(rows: Sequence[Scored], limit_ms: float) -> Reason | None:
    slowest = max((r.latency_ms for r in rows if r.latency_ms is not None), default=0.0)
    if slowest <= limit_ms:
        return None
    return Reason("promotion.slow", {"seconds": slowest / 1000, "limit": limit_ms / 1000})
