"""The failure window: when the slope would fail if its acceleration went on, and every reason for distrust."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from math import exp

from forecasting.kinematics.cells import Grains, Speed, Window
from forecasting.kinematics.inverse_velocity import InverseFit, fit_inverse
from forecasting.kinematics.onset import FEWEST_PAST, find_onset, is_unusual
from forecasting.kinematics.velocity import DAY_S

ALPHAS = ((1.5, 0.02), (1.75, 0.03), (2.0, 0.9), (2.25, 0.03), (2.5, 0.02))  # exponent and belief in it
SURE = 4.0  # standard errors above nothing
CLEAR = 8.0  # standard errors that choose the window
MOST_WINDOWS = 6  # velocity windows that a fit may reach back
STRIDE = 4  # velocities per window: closer ones say nothing new
GOOD_R2 = 0.8
AGREE = 0.5
IN_A_ROW = 3
HELD = 3  # issues that a standing window outlives a look which finds no fit
SLOWED = 0.7
PAST = 48  # velocities that the past year is judged by
NEVER = float("inf")


@dataclass(frozen=True, slots=True)
class FailureSpec:
    """How a series is watched.

    Attributes:
        interval_s: Nominal sampling interval, seconds.
        sigma: Stated noise of one epoch, unit of the values; a floor under what is measured.
        history_s: How far back the usual velocity is taken from.
        longest_s: Longest velocity window that may lead.
    """

    interval_s: float
    sigma: float
    history_s: float = 365.0 * DAY_S
    longest_s: float = 30.0 * DAY_S


@dataclass(frozen=True, slots=True)
class FailureIssue:
    """What is believed once a datum is known; times in epoch seconds, velocities per day.

    Attributes:
        data_until_s: That datum.
        onset_s: Since when the motion accelerates; None where it does not.
        from_s: Early edge of the window, never before `data_until_s`; None where there is no window.
        mid_s: Middle estimate.
        to_s: Late edge.
        trusted: All gates hold, three issues in a row.
        reasons: Why not, or what to know.
        velocity: Velocity now; None where it could not be fitted.
        velocity_error: One standard error.
        r2: Median over the filters that agree.
        n_filters: Filters that could be judged.
        n_agree: Those that see a failure to come.
        withdrawn: Why the window that stood at the issue before no longer does.
    """

    data_until_s: float
    onset_s: float | None
    from_s: float | None
    mid_s: float | None
    to_s: float | None
    trusted: bool
    reasons: tuple[str, ...]
    velocity: float | None
    velocity_error: float | None
    r2: float | None
    n_filters: int
    n_agree: int
    withdrawn: str | None


@dataclass(frozen=True, slots=True)
class _Look:
    """One look before persistence: a window where `why` is None."""

    why: str | None
    cell_s: float
    speed: Speed | None = None
    onset_s: float | None = None
    from_s: float = NEVER
    mid_s: float = NEVER
    to_s: float = NEVER
    r2: float | None = None
    n_filters: int = 0
    n_agree: int = 0
    doubts: tuple[str, ...] = ()
    ended: str | None = None  # what withdraws a window that stands


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

    Args:
        times_s: Rising epoch seconds, shape (n,).
        values: Displacement along the movement, shape (n,).
        sigmas: One standard deviation each, shape (n,); zero where unknown.
        spec: How to watch.
        from_s: Only data after this are issued for.
    """
    watch = _Watch(times_s, values, sigmas, spec)
    first = bisect_right(times_s, from_s)
    return [watch.issue(i) for i in range(first, len(times_s))]


class _Watch:
    """Looks of one call, each taken once."""

    def __init__(
        self, times_s: Sequence[float], values: Sequence[float], sigmas: Sequence[float], spec: FailureSpec
    ) -> None:
        self.times_s, self.spec = times_s, spec
        self.grains = Grains(times_s, values, sigmas, spec.interval_s, spec.sigma)
        # one octave beyond the longest that may lead, for the slower filters
        self.windows = self.grains.windows(2.0 * spec.longest_s)
        self.leads = [j for j, w in enumerate(self.windows) if w.length_s <= spec.longest_s * 1.001] or [0]
        self.looks: dict[int, _Look] = {}

    # ---- issues ---------------------------------------------------------------------------------------------
    def issue(self, i: int) -> FailureIssue:
        """Persistence over looks: stands after three in a row, and until something ends it."""
        look = self.look(i)
        base, row = self.standing(i)
        before = self.standing(i - 1)[0] if i > 0 else None
        withdrawn = None
        if before is not None and base is None:
            withdrawn = look.ended or look.why or "the fits no longer agree"
        shown = base if base is not None else (look if look.why is None else None)
        reasons = list(shown.doubts) if shown is not None else []
        if base is None and shown is not None:
            reasons.insert(0, f"{row} of {IN_A_ROW} looks in a row")
        if look.why is not None:
            reasons.insert(0, look.why)
        now_s = self.times_s[i]
        speed = look.speed
        window: tuple[float, float, float] | tuple[None, None, None] = (None, None, None)
        if shown is not None:
            window = (max(now_s, shown.from_s), max(now_s, shown.mid_s), max(now_s, shown.to_s))
        return FailureIssue(
            now_s, look.onset_s, *window, base is not None and not base.doubts, tuple(reasons),
            None if speed is None else speed.rate, None if speed is None else speed.error,
            look.r2, look.n_filters, look.n_agree, withdrawn,
        )  # fmt: skip

    def standing(self, i: int) -> tuple[_Look | None, int]:
        """The look whose window stands at datum i, and how many looks in a row have one."""
        look = self.look(i)
        if look.ended is not None:
            return None, 0
        chain = [look]
        at = i
        while len(chain) < IN_A_ROW + HELD - 1 and (at := self.earlier(at, look.cell_s)) >= 0:
            chain.append(self.look(at))
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

    def earlier(self, i: int, cell_s: float) -> int:
        """The datum that was newest one cell before datum i."""
        return min(i - 1, bisect_right(self.times_s, self.times_s[i] - cell_s, 0, i + 1) - 1)

    # ---- one look -------------------------------------------------------------------------------------------
    def look(self, i: int) -> _Look:
        if i not in self.looks:
            self.looks[i] = self._look(i)
        return self.looks[i]

    def _look(self, i: int) -> _Look:
        lead, speed = self._lead(i)
        window = self.windows[lead]
        if speed is None:
            return _Look("too few data for a velocity", window.cell_s)
        if speed.rate <= SURE * speed.error:
            why = f"velocity {speed.rate:.3g} <= {SURE:g} standard errors of {speed.error:.2g}"
            return _Look(why, window.cell_s, speed, ended=why if speed.rate <= 0.0 else None)
        k = self.grains.last_cell(window, i)
        reach = MOST_WINDOWS * window.cells
        trail = [s for j in range(k - reach, k + 1) if (s := self.grains.speed(window, j)) is not None]
        top = max(s.rate for s in trail)
        if speed.rate < SLOWED * top:
            why = f"velocity {speed.rate:.3g} < {SLOWED:g} of the recent maximum {top:.3g}"
            return _Look(why, window.cell_s, speed, ended=why)
        start = find_onset(trail)
        onset = trail[start]
        past = self._past(window, i, onset.stamp_s - window.length_s / 2.0)
        usual = is_unusual(speed.rate, past)
        if usual is not None:
            return _Look(usual, window.cell_s, speed)
        return self._judge(i, lead, speed, onset.stamp_s, len(past))

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
        """Velocities of the same window in the year before the onset, evenly thinned on the grid of time."""
        begin_s = max(self.times_s[0], self.times_s[i] - self.spec.history_s)
        low, high = int(begin_s // window.cell_s) + window.cells, int(until_s // window.cell_s)
        step = window.cells
        while (high - low) / step > PAST:
            step *= 2
        first = low + (-low) % step
        return [s.rate for j in range(first, high + 1, step) if (s := self.grains.speed(window, j)) is not None]

    def _judge(self, i: int, lead: int, speed: Speed, onset_s: float, n_past: int) -> _Look:
        now_s, window = self.times_s[i], self.windows[lead]
        fits = self._fits(i, lead, onset_s)
        n_filters = len(fits)
        good = [f for f in fits if f[2].r2 >= GOOD_R2 and f[2].slope < 0.0 and f[2].failure_s > now_s]
        turned = sum(f[2].slope >= 0.0 for f in fits)
        found = _Look(None, window.cell_s, speed, onset_s, n_filters=n_filters, n_agree=len(good))
        if n_filters < 3:
            return _with(found, why="too short since the onset for a fit")
        if len(good) < AGREE * n_filters:
            ended = None
            if turned > (1.0 - AGREE) * n_filters:
                ended = "the fit turned: 1/v no longer falls"
            elif sum(f[2].failure_s <= now_s for f in fits) > (1.0 - AGREE) * n_filters:
                ended = "the predicted time has passed"
            return _with(found, why=ended or f"{len(good)} of {n_filters} filters agree", ended=ended)
        estimates = _weigh(good, now_s)
        low, mid, high = (_weighted_quantile(estimates, q) for q in (0.1, 0.5, 0.9))
        margin = (high - low) / 2.0 + self.spec.interval_s + 0.1 * (mid - now_s)
        r2 = sorted(f[2].r2 for f in good)[len(good) // 2]
        doubts = []
        if n_past < FEWEST_PAST:
            doubts.append("the past is too short to compare with")
        if high - low > mid - now_s + 2.0 * self.spec.interval_s:
            doubts.append("the filters scatter more than the lead time")
        return _Look(
            None, window.cell_s, speed, onset_s, low - margin, mid, high + margin, r2, n_filters, len(good),
            tuple(doubts),
        )  # fmt: skip

    def _fits(
        self, i: int, lead: int, onset_s: float
    ) -> list[tuple[float, float, InverseFit, list[InverseFit | None]]]:
        """All filters: velocity windows from the leading one to an octave above, each with three smoothings."""
        fits = []
        for window in self.windows[lead : lead + 3]:
            k = self.grains.last_cell(window, i)
            for smooth in (1, max(2, window.cells // 4), max(3, window.cells // 2)):
                points = self._points(window, k, smooth, onset_s)
                stamps, rates, errors = [p.stamp_s for p in points], [p.rate for p in points], [p.error for p in points]
                fit = fit_inverse(stamps, rates, errors)
                if fit is not None:
                    every = [fit if a == 2.0 else fit_inverse(stamps, rates, errors, a) for a, _ in ALPHAS]
                    fits.append((window.length_s, float(smooth), fit, every))
        return fits

    def _points(self, window: Window, k: int, smooth: int, onset_s: float) -> list[Speed]:
        """Smoothed velocities since the onset, a quarter of a window apart, newest last."""
        step = max(1, window.cells // STRIDE)
        points: list[Speed] = []
        for j in range(k, k - MOST_WINDOWS * window.cells - 1, -step):
            some = [s for m in range(j - smooth + 1, j + 1) if (s := self.grains.speed(window, m)) is not None]
            if not some:
                continue
            rate = sum(s.rate for s in some) / len(some)
            error = sum(s.error for s in some) / len(some)
            stamp_s = sum(s.stamp_s for s in some) / len(some)
            if stamp_s < onset_s or rate <= error:
                break
            points.append(Speed(rate, error, stamp_s))
        return points[::-1]


def _with(look: _Look, *, why: str, ended: str | None = None) -> _Look:
    return _Look(
        why, look.cell_s, look.speed, look.onset_s, n_filters=look.n_filters, n_agree=look.n_agree, ended=ended
    )  # fmt: skip


def _weigh(
    good: Sequence[tuple[float, float, InverseFit, list[InverseFit | None]]], now_s: float
) -> list[tuple[float, float]]:
    """Failure times with weights: each exponent counts by belief times how well it fits, alike for all filters."""
    misfits = []
    for a in range(len(ALPHAS)):
        several = [f[3][a] for f in good]
        misfits.append(sum((x.misfit * (x.n - 2) / STRIDE if x is not None else 1e3) for x in several) / len(several))
    unit = max(1.0, min(misfits))
    estimates = []
    for a, (_, belief) in enumerate(ALPHAS):
        weight = belief * exp(-0.5 * (misfits[a] - min(misfits)) / unit)
        for f in good:
            fit = f[3][a]
            if fit is not None and now_s < fit.failure_s < NEVER:
                estimates.append((fit.failure_s, weight))
    return sorted(estimates)


def _weighted_quantile(ordered: Sequence[tuple[float, float]], share: float) -> float:
    total = sum(w for _, w in ordered)
    reached = 0.0
    for x, w in ordered:
        reached += w
        if reached >= share * total:
            return x
    return ordered[-1][0]
