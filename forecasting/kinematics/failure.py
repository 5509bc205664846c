"""The failure window: when the slope would fail if its acceleration went on, and every reason for distrust."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import fsum
from typing import Final

from forecasting.kinematics.cells import Grains, Speed, Window
from forecasting.kinematics.ensemble import (
    ALPHAS,
    PASSED,
    STRAIGHT,
    Fits,
    InverseFit,
    compute_exponent_weights,
    describe_exponents,
    find_onset,
    fit_inverse,
    is_unusual,
    middle_lead_s,
    scatter_of_best,
    stretch_window,
    weighted_quantile,
    why_ended,
)
from forecasting.kinematics.noise import median
from forecasting.kinematics.stages import TOO_FEW
from forecasting.kinematics.velocity import DAY_S
from forecasting.reasons import Reason

# gates, each of which must hold
SURE = 4.0  # standard errors that the velocity stands above nothing
SLOWED = 0.7  # of the recent maximum: below it the acceleration is over
GOOD_R2 = 0.8
AGREE = 0.5  # of the filters
FEWEST_FILTERS = 3  # that can be judged, and that agree
IN_A_ROW = 3  # looks
HELD = 3  # looks with a window, the newest at most this many ago, for one to stand
# how the motion is looked at
CLEAR = 8.0  # standard errors that choose the leading window
MOST_WINDOWS = 6  # velocity windows that a fit may reach back
STRIDE = 4  # velocities per window: closer ones say nothing new
PAST = 48  # velocities that the past year is judged by
LENGTHS, MOST_LENGTHS = 4, 10  # of windows in the ensemble, a factor of 1.4 apart; longer ones join up to the lead time
NEVER = float("inf")
TOO_YOUNG: Final = Reason("failure.too_young")


@dataclass(frozen=True, slots=True)
class FailureSpec:
    """How a series is watched."""

    interval_s: float  # nominal sampling interval, seconds
    sigma: float  # stated noise of one epoch, unit of the values; a floor under what is measured
    history_s: float = 365.0 * DAY_S  # how far back the usual velocity is taken from
    longest_s: float = 30.0 * DAY_S  # longest velocity window that may lead


@dataclass(frozen=True, slots=True)
class FailureIssue:
    """What is believed once a datum is known; times in epoch seconds, velocities per day."""

    data_until_s: float  # that datum
    onset_s: float | None  # since when the motion accelerates; None where it does not
    from_s: float | None  # early edge of the window, never before `data_until_s`; None where there is no window
    mid_s: float | None  # middle estimate
    to_s: float | None  # late edge
    trusted: bool  # all gates hold, three issues in a row
    reasons: tuple[Reason, ...]  # why not, or what to know
    velocity: float | None  # velocity now; None where it could not be fitted
    velocity_error: float | None  # one standard error
    r2: float | None  # median over the filters that agree
    n_filters: int  # filters that could be judged
    n_agree: int  # those that see a failure to come
    withdrawn: Reason | None  # why the window that stood at the issue before no longer does
    slowed: bool = False  # the motion itself has slowed down or turned, so that what was foretold of it is out of date


@dataclass(frozen=True, slots=True)
class _WindowFinding:
    why: Reason | None
    cell_s: float
    speed: Speed | None = None
    onset_s: float | None = None
    from_s: float = NEVER
    mid_s: float = NEVER
    to_s: float = NEVER
    r2: float | None = None
    n_filters: int = 0
    n_agree: int = 0
    doubts: tuple[Reason, ...] = ()  # each takes the trust away
    notes: tuple[Reason, ...] = ()
    ended: Reason | None = None  # what withdraws a window that stands
    slowed: bool = False


def watch_failure(
    times_s: Sequence[float],
    values: Sequence[float],
    sigmas: Sequence[float],
    spec: FailureSpec,
    *,
    from_s: float = -NEVER,
) -> list[FailureIssue]:
    """One issue per datum after `from_s`, each from data up to that datum alone.

    Cells of the series are filled when they are first needed and kept for the call, so a backlog of n data costs
    O(n), and one issue with a year of hourly data before it a few milliseconds.
    """
    watch = Watch(times_s, values, sigmas, spec)
    first = bisect_right(times_s, from_s)
    return [watch.issue(i) for i in range(first, len(times_s))]


class Watch:
    """Looks at one series, each taken once and kept: `issue` costs by what is new to it."""

    def __init__(
        self, times_s: Sequence[float], values: Sequence[float], sigmas: Sequence[float], spec: FailureSpec
    ) -> None:
        self.times_s, self.spec = times_s, spec
        self.grains = Grains(times_s, values, sigmas, spec.interval_s, spec.sigma)
        # one octave beyond the longest that may lead, for the slower filters
        self.windows = self.grains.windows(2.0 * spec.longest_s)
        self.leads = [j for j, w in enumerate(self.windows) if w.length_s <= spec.longest_s * 1.001] or [0]
        self.looks: dict[int, _WindowFinding] = {}

    # ---- issues ---------------------------------------------------------------------------------------------
    def issue(self, i: int) -> FailureIssue:
        """A window stands after three looks in a row, and until something ends it."""
        finding = self.find(i)
        shown, row = self.standing(i)
        before = self.standing(i - 1)[0] if i > 0 else None
        withdrawn = None
        if before is not None and shown is None:
            withdrawn = finding.ended or finding.why or PASSED
        reasons = [] if finding.why is None else [finding.why]
        doubts: tuple[Reason, ...] = ()
        if shown is not None:
            doubts = shown.doubts + (() if self._seen_a_day_ago(i) else (TOO_YOUNG,))
            reasons += [*doubts, *shown.notes]
        elif finding.why is None:
            reasons.append(Reason("failure.in_a_row", {"n": row, "needed": IN_A_ROW}))
        now_s, speed = self.times_s[i], finding.speed
        edges = () if shown is None else (shown.from_s, shown.mid_s, shown.to_s)
        early, mid, late = (max(now_s, edge) for edge in edges) if edges else (None, None, None)
        return FailureIssue(
            now_s,
            finding.onset_s,
            early,
            mid,
            late,
            shown is not None and not doubts,
            tuple(reasons),
            None if speed is None else speed.rate,
            None if speed is None else speed.error,
            finding.r2,
            finding.n_filters,
            finding.n_agree,
            withdrawn,
            finding.slowed,
        )

    def _seen_a_day_ago(self, i: int) -> bool:
        """Within a day temperature, tide and melt speed up motion too, and three looks are soon over."""
        if self.spec.interval_s > DAY_S / 2.0:
            return True
        before = bisect_right(self.times_s, self.times_s[i] - DAY_S) - 1
        return before >= 0 and self.find(before).why is None

    def standing(self, i: int) -> tuple[_WindowFinding | None, int]:
        """The look whose window stands at datum i, and how many looks in a row have one.

        Looks count once per cell of the grain in use: between two cells nothing new was learnt.
        """
        finding = self.find(i)
        if finding.ended is not None:
            return None, 0
        chain: list[_WindowFinding] = []
        at = i
        while len(chain) < IN_A_ROW + HELD - 1 and at >= 0:
            at = self.grains.first_with(finding.cell_s, at)
            chain.append(self.find(at))
            at -= 1
        row = 0
        while row < len(chain) and chain[row].why is None:
            row += 1
        for start in range(HELD):
            three = chain[start : start + IN_A_ROW]
            if len(three) == IN_A_ROW and all(x.why is None for x in three):
                return three[0] if three[0].to_s > self.times_s[i] else None, row
            if start < len(chain) and chain[start].ended is not None:
                break
        return None, row

    # ---- one look -------------------------------------------------------------------------------------------
    def find(self, i: int) -> _WindowFinding:
        """What datum i shows, before persistence."""
        if i not in self.looks:
            self.looks[i] = self._inspect(i)
        return self.looks[i]

    def _inspect(self, i: int) -> _WindowFinding:
        lead, speed = self._lead(i)
        window = self.windows[lead]
        if speed is None:
            return _WindowFinding(TOO_FEW, window.cell_s)
        if speed.rate <= SURE * speed.error:
            why = Reason("failure.unsure", {"velocity": speed.rate, "errors": SURE, "error": speed.error})
            return _WindowFinding(
                why, window.cell_s, speed, ended=why if speed.rate <= 0.0 else None, slowed=speed.rate <= 0.0
            )
        k = self.grains.last_cell(window, i)
        top = max(v for j in _trail(window, k) if (v := self.grains.rate(window, j)) is not None)
        if speed.rate < SLOWED * top:
            why = Reason("failure.slowed", {"velocity": speed.rate, "share": SLOWED, "top": top})
            return _WindowFinding(why, window.cell_s, speed, ended=why, slowed=True)
        onset_s = self._onset_s(window, k)
        assert onset_s is not None, "the velocity of now is part of its own trail"
        past = self._past(window, i, onset_s - window.length_s / 2.0)
        usual = is_unusual(speed.rate, past)
        if usual is not None:
            return _WindowFinding(usual, window.cell_s, speed)
        return self._assess(i, lead, speed, onset_s)

    def _lead(self, i: int) -> tuple[int, Speed | None]:
        """The shortest window whose velocity is clear of the noise; else the one that is clearest."""
        best, best_speed, best_ratio = self.leads[-1], None, -NEVER
        for j in self.leads:
            speed = self.grains.speed(self.windows[j], self.grains.last_cell(self.windows[j], i))
            if speed is None:
                continue
            ratio = speed.rate / speed.error if speed.error > 0.0 else (NEVER if speed.rate > 0.0 else -NEVER)
            if ratio > CLEAR:
                return j, speed
            if ratio > best_ratio or best_speed is None:
                best, best_speed, best_ratio = j, speed, ratio
        return best, best_speed

    def _past(self, window: Window, i: int, until_s: float) -> list[float]:
        begin_s = max(self.times_s[0], self.times_s[i] - self.spec.history_s)
        low, high = int(begin_s // window.cell_s) + window.cells, int(until_s // window.cell_s)
        step = window.cells
        while (high - low) / step > PAST:
            step *= 2
        first = low + (-low) % step
        return [v for j in range(first, high + 1, step) if (v := self.grains.rate(window, j)) is not None]

    def _assess(self, i: int, lead: int, speed: Speed, onset_s: float) -> _WindowFinding:
        now_s, window = self.times_s[i], self.windows[lead]
        filters, scatters = self._filters(i, lead)
        found = _WindowFinding(None, window.cell_s, speed, onset_s, n_filters=len(filters))
        if len(filters) < FEWEST_FILTERS:
            return replace(found, why=Reason("failure.too_short"))
        weights = compute_exponent_weights(filters)
        likely = max(range(len(ALPHAS)), key=weights.__getitem__)
        good = [fits for fits in filters if _foresees(fits[likely], now_s)]
        found = replace(found, n_agree=len(good))
        if len(good) < max(FEWEST_FILTERS, AGREE * len(filters)):
            ended = why_ended([f[likely] for f in filters], now_s, 1.0 - AGREE)
            few = Reason("failure.few_agree", {"n": len(good), "count": len(filters)})
            return replace(found, why=ended or few, ended=ended)
        estimates = sorted(
            (fit.failure_s, weight)
            for fits in good
            for fit, weight in zip(fits, weights, strict=True)
            if fit is not None and now_s < fit.failure_s < NEVER
        )
        low, mid, high = (weighted_quantile(estimates, q) for q in (0.1, 0.5, 0.9))
        # half the span of the filters, or one standard error of a line where the points scatter more than that
        scatter_s = median([f.error_s for fits in good if (f := fits[likely]) is not None])
        margin = max((high - low) / 2.0, scatter_s) + self.spec.interval_s + 0.05 * (mid - now_s)
        doubts = []
        if high - low > mid - now_s + 2.0 * self.spec.interval_s:
            doubts.append(Reason("failure.scattered"))
        notes = describe_exponents(good, weights, now_s)
        stretch = stretch_window(median(scatters), low - now_s, high - now_s)
        if stretch > 1.0:
            notes += (Reason("failure.disturbed", {"times": stretch}),)
        r2 = median([f.r2 for fits in good if (f := fits[likely]) is not None])
        return replace(
            found,
            from_s=now_s + max(0.0, low - margin - now_s) / stretch,
            mid_s=mid,
            to_s=now_s + (high + margin - now_s) * stretch,
            r2=r2,
            doubts=tuple(doubts),
            notes=notes,
        )

    def _filters(self, i: int, lead: int) -> tuple[list[Fits], list[float]]:
        """Fits by exponent, for velocity windows from the leading one to longer ones, plain and smoothed.

        The longer the lead, the longer the windows that have a say: hours of motion do not foretell weeks.
        """
        filters: list[Fits] = []
        scatters: list[float] = []
        for j, window in enumerate(self.windows[lead:]):
            reach_s = middle_lead_s(filters, self.times_s[i]) if j >= LENGTHS else NEVER
            if j >= MOST_LENGTHS or window.length_s > reach_s:
                break
            k = self.grains.last_cell(window, i)
            onset_s = self._onset_s(window, k)
            for smooth in (1, max(2, window.cells // 2)):
                points = [] if onset_s is None else self._points(window, k, smooth, onset_s)
                stamps, rates, errors = [p.stamp_s for p in points], [p.rate for p in points], [p.error for p in points]
                fits = [fit_inverse(stamps, rates, errors, alpha) for alpha, _ in ALPHAS]
                if fits[STRAIGHT] is not None:
                    filters.append(fits)
                    scatters.append(scatter_of_best(fits, stamps, rates, errors))
        return filters, scatters

    def _onset_s(self, window: Window, k: int) -> float | None:
        onset = find_onset(s for j in _trail(window, k) if (s := self.grains.speed(window, j)) is not None)
        return None if onset is None else onset.stamp_s

    def _points(self, window: Window, k: int, smooth: int, onset_s: float) -> list[Speed]:
        step = max(1, window.cells // STRIDE)
        points: list[Speed] = []
        for j in range(k, k - MOST_WINDOWS * window.cells - 1, -step):
            some = [s for m in range(j - smooth + 1, j + 1) if (s := self.grains.speed(window, m)) is not None]
            if not some:
                continue
            rate = fsum(s.rate for s in some) / len(some)
            error = fsum(s.error for s in some) / len(some)
            stamp_s = fsum(s.stamp_s for s in some) / len(some)
            if stamp_s < onset_s or rate <= error:
                break
            points.append(Speed(rate, error, stamp_s))
        return points[::-1]


def _foresees(fit: InverseFit | None, now_s: float) -> bool:
    """Whether a filter shows a failure that is still to come."""
    return fit is not None and fit.r2 >= GOOD_R2 and fit.slope < 0.0 and fit.failure_s > now_s


def _trail(window: Window, k: int) -> range:
    step = max(1, window.cells // STRIDE)
    return range(k, k - MOST_WINDOWS * window.cells // step * step - 1, -step)
