"""Failure window: when a slope would fail if its acceleration continued, and why the window is or is not trusted.

`Watch` applies the conditions to one series: the velocity is clear of the noise, has not slowed down, and is unusual.
Then the ensemble of `failure_ensemble` gives a window, which is issued after three assessments in a row.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import Final

from forecasting.kinematics.failure_ensemble import PASSED, EnsembleEstimate, combine_filters, fit_filters
from forecasting.kinematics.onset import explain_usual, find_onset_s, list_recent_ends
from forecasting.kinematics.stages import TOO_FEW
from forecasting.kinematics.velocity import DAY_S
from forecasting.kinematics.velocity_windows import VelocityWindow, WindowVelocities, WindowVelocity
from forecasting.reasons import Reason

# Conditions of the velocity: it exceeds zero by so many standard errors, and is at least this share of the recent
# maximum.
MIN_ERRORS: Final = 4.0
MIN_SHARE_OF_MAXIMUM: Final = 0.7
# Assessments in a row with a window until one is issued, and how many assessments later it still stands without one.
MIN_IN_A_ROW: Final = 3
MAX_AGE: Final = 3
# The shortest window whose velocity exceeds zero by so many standard errors leads.
LEADING_ERRORS: Final = 8.0
# Velocities of the past that the present one is compared with, at most.
MAX_PAST: Final = 48
# Readings that come more often than this are trusted only if a window was found a day before.
DAILY_CYCLE_INTERVAL_S: Final = DAY_S / 2.0
TOO_YOUNG: Final = Reason("failure.too_young")
NO_ESTIMATE: Final = EnsembleEstimate(0)


@dataclass(frozen=True, slots=True)
class FailureSpec:
    """Settings for the failure windows of a series."""

    interval_s: float  # nominal sampling interval, seconds
    sigma: float  # stated noise of one reading, unit of the values: a lower bound of the measured noise
    history_s: float = 365.0 * DAY_S  # how far back the usual velocity is measured
    longest_s: float = 30.0 * DAY_S  # longest velocity window that may lead


@dataclass(frozen=True, slots=True)
class FailureIssue:
    """The result once a reading is known; times in epoch seconds, velocities per day."""

    data_until_s: float  # that reading
    onset_s: float | None  # since when the motion accelerates; None if it does not
    from_s: float | None  # early edge of the window, never before `data_until_s`; None if there is no window
    mid_s: float | None  # middle estimate
    to_s: float | None  # late edge
    trusted: bool  # whether all conditions hold
    reasons: tuple[Reason, ...]  # why there is no window, why it is not trusted, or other remarks
    velocity: float | None  # present velocity; None if it could not be fitted
    velocity_error: float | None  # one standard error
    r2: float | None  # median of the filters that agree
    n_filters: int  # velocity filters with a fit
    n_agree: int  # of these, filters that predict a failure
    withdrawn: Reason | None  # why the window of the previous issue does not stand any more
    slowed: bool = False  # whether the motion has slowed down or turned, so that earlier predictions are obsolete


@dataclass(frozen=True, slots=True)
class _Assessment:
    """The result of one reading alone, before the conditions on several assessments in a row."""

    reason: Reason | None  # why there is no window; None if there is one
    cell_s: float  # cells of the leading window: between two cells nothing changes
    velocity: WindowVelocity | None = None
    onset_s: float | None = None
    estimate: EnsembleEstimate = NO_ESTIMATE
    ended: Reason | None = None  # why a window that stands is withdrawn at once
    slowed: bool = False


def watch_failure(
    times_s: Sequence[float],
    values: Sequence[float],
    sigmas: Sequence[float],
    spec: FailureSpec,
    *,
    from_s: float = -inf,
) -> list[FailureIssue]:
    """Return one issue for each reading after `from_s`, each from the readings up to it alone.

    Averages are computed on demand and shared by all issues. So n issues take time in proportion to n, and a single
    issue after a year of hourly readings takes a few milliseconds.

    Args:
        times_s: Instants of the readings in epoch seconds, ascending, shape (n,).
        values: Readings along the movement, shape (n,).
        sigmas: Standard deviation of each reading, 0 = unknown, shape (n,).
        spec: Settings.
        from_s: Instant in epoch seconds.
    """
    watch = Watch(times_s, values, sigmas, spec)
    first = bisect_right(times_s, from_s)
    return [watch.issue(index) for index in range(first, len(times_s))]


class Watch:
    """Assess the readings of one series, each once.

    The arguments are those of `watch_failure`. Readings may be appended to the sequences later.
    """

    def __init__(
        self, times_s: Sequence[float], values: Sequence[float], sigmas: Sequence[float], spec: FailureSpec
    ) -> None:
        self.times_s = times_s
        self.spec = spec
        self.series = WindowVelocities(times_s, values, sigmas, spec.interval_s, spec.sigma)
        # The slower filters of the ensemble use windows up to twice as long as the longest one that may lead.
        self.windows = self.series.list_windows(2.0 * spec.longest_s)
        leading = [k for k, window in enumerate(self.windows) if window.length_s <= spec.longest_s * 1.001]
        self._leading = leading or [0]
        self._assessments: dict[int, _Assessment] = {}

    def issue(self, index: int) -> FailureIssue:
        """Return the issue once reading `index` is known."""
        now_s = self.times_s[index]
        assessment = self._assess(index)
        standing, in_a_row = self._find_standing(index)
        previous = self._find_standing(index - 1)[0] if index > 0 else None
        withdrawn = None
        if previous is not None and standing is None:
            withdrawn = assessment.ended or assessment.reason or PASSED
        reasons = [] if assessment.reason is None else [assessment.reason]
        doubts: tuple[Reason, ...] = ()
        early_s = mid_s = late_s = None
        if standing is not None:
            doubts = standing.doubts if self._was_found_a_day_before(index) else (*standing.doubts, TOO_YOUNG)
            reasons += [*doubts, *standing.notes]
            early_s, mid_s, late_s = (max(now_s, edge_s) for edge_s in (standing.from_s, standing.mid_s, standing.to_s))
        elif assessment.reason is None:
            reasons.append(Reason("failure.in_a_row", {"n": in_a_row, "needed": MIN_IN_A_ROW}))
        velocity = assessment.velocity
        return FailureIssue(
            data_until_s=now_s,
            onset_s=assessment.onset_s,
            from_s=early_s,
            mid_s=mid_s,
            to_s=late_s,
            trusted=standing is not None and not doubts,
            reasons=tuple(reasons),
            velocity=None if velocity is None else velocity.rate,
            velocity_error=None if velocity is None else velocity.error,
            r2=assessment.estimate.r2,
            n_filters=assessment.estimate.n_filters,
            n_agree=assessment.estimate.n_agree,
            withdrawn=withdrawn,
            slowed=assessment.slowed,
        )

    # ---- several assessments in a row -----------------------------------------------------------------------
    def _find_standing(self, index: int) -> tuple[EnsembleEstimate | None, int]:
        """Return the window that stands at a reading, and how many assessments in a row found one.

        A window stands after three assessments in a row, and for two more without one unless something ends it.
        Assessments count once per cell of the leading window, because nothing new is known between two cells.
        """
        assessment = self._assess(index)
        if assessment.ended is not None:
            return None, 0
        chain = self._list_newest_assessments(index, assessment.cell_s)
        in_a_row = 0
        while in_a_row < len(chain) and chain[in_a_row].reason is None:
            in_a_row += 1
        for age in range(MAX_AGE):
            row = chain[age : age + MIN_IN_A_ROW]
            if len(row) == MIN_IN_A_ROW and all(one.reason is None for one in row):
                estimate = row[0].estimate
                return (estimate if estimate.to_s > self.times_s[index] else None), in_a_row
            if age < len(chain) and chain[age].ended is not None:
                break
        return None, in_a_row

    def _list_newest_assessments(self, index: int, cell_s: float) -> list[_Assessment]:
        """Return the newest assessments, one per cell, the newest first."""
        chain: list[_Assessment] = []
        while len(chain) < MIN_IN_A_ROW + MAX_AGE - 1 and index >= 0:
            index = self.series.find_first_reading(cell_s, index)
            chain.append(self._assess(index))
            index -= 1
        return chain

    def _was_found_a_day_before(self, index: int) -> bool:
        """Return whether a window was found a day before, or readings come too seldom to show a daily cycle.

        Within a day temperature, tide and melt accelerate motion too, and three assessments may last only hours.
        """
        if self.spec.interval_s > DAILY_CYCLE_INTERVAL_S:
            return True
        before = bisect_right(self.times_s, self.times_s[index] - DAY_S) - 1
        return before >= 0 and self._assess(before).reason is None

    # ---- one assessment -------------------------------------------------------------------------------------
    def _assess(self, index: int) -> _Assessment:
        if index not in self._assessments:
            self._assessments[index] = self._apply_conditions(index)
        return self._assessments[index]

    def _apply_conditions(self, index: int) -> _Assessment:
        number, velocity = self._choose_leading(index)
        window = self.windows[number]
        if velocity is None:
            return _Assessment(TOO_FEW, window.cell_s)
        if velocity.rate <= MIN_ERRORS * velocity.error:
            values = {"velocity": velocity.rate, "errors": MIN_ERRORS, "error": velocity.error}
            reason = Reason("failure.unsure", values)
            is_backwards = velocity.rate <= 0.0
            ended = reason if is_backwards else None
            return _Assessment(reason, window.cell_s, velocity, ended=ended, slowed=is_backwards)
        last_cell = self.series.find_last_cell(window, index)
        rates = (self.series.find_rate(window, cell) for cell in list_recent_ends(window, last_cell))
        maximum = max(rate for rate in rates if rate is not None)
        if velocity.rate < MIN_SHARE_OF_MAXIMUM * maximum:
            values = {"velocity": velocity.rate, "share": MIN_SHARE_OF_MAXIMUM, "top": maximum}
            reason = Reason("failure.slowed", values)
            return _Assessment(reason, window.cell_s, velocity, ended=reason, slowed=True)
        onset_s = find_onset_s(self.series, window, last_cell)
        assert onset_s is not None, "the present velocity is one of the velocities of the onset"
        past = self._list_past(window, index, onset_s - window.length_s / 2.0)
        usual = explain_usual(velocity.rate, past)
        if usual is not None:
            return _Assessment(usual, window.cell_s, velocity)
        filters = fit_filters(self.series, self.windows[number:], index)
        estimate = combine_filters(filters, self.times_s[index], self.spec.interval_s)
        return _Assessment(estimate.reason, window.cell_s, velocity, onset_s, estimate, estimate.ended)

    def _choose_leading(self, index: int) -> tuple[int, WindowVelocity | None]:
        """Return the shortest window whose velocity is clear of the noise, or else the one whose velocity is clearest.

        Returns:
            Number of the window, and its velocity; None if no window has one.
        """
        clearest = self._leading[-1]
        clearest_velocity: WindowVelocity | None = None
        largest_ratio = -inf
        for number in self._leading:
            window = self.windows[number]
            velocity = self.series.find_velocity(window, self.series.find_last_cell(window, index))
            if velocity is None:
                continue
            ratio = _compute_ratio(velocity)
            if ratio > LEADING_ERRORS:
                return number, velocity
            if ratio > largest_ratio or clearest_velocity is None:
                clearest, clearest_velocity, largest_ratio = number, velocity, ratio
        return clearest, clearest_velocity

    def _list_past(self, window: VelocityWindow, index: int, until_s: float) -> list[float]:
        """Return velocities of windows of the past, evenly spaced and without overlap, up to an instant."""
        begin_s = max(self.times_s[0], self.times_s[index] - self.spec.history_s)
        low = int(begin_s // window.cell_s) + window.cells
        high = int(until_s // window.cell_s)
        stride = window.cells
        while (high - low) / stride > MAX_PAST:
            stride *= 2
        # Multiples of the stride, so that a later assessment uses the same windows again.
        first = low + (-low) % stride
        rates = (self.series.find_rate(window, cell) for cell in range(first, high + 1, stride))
        return [rate for rate in rates if rate is not None]


def _compute_ratio(velocity: WindowVelocity) -> float:
    """Return a velocity in its standard errors; infinite if it has none."""
    if velocity.error > 0.0:
        return velocity.rate / velocity.error
    return inf if velocity.rate > 0.0 else -inf
