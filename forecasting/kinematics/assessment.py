"""One look at a series: the velocities, accelerations and past that its stage is judged by."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

from forecasting.kinematics.acceleration import fit_acceleration
from forecasting.kinematics.noise import FEWEST, choose_window_s, measure_sigma, median, velocity_error
from forecasting.kinematics.stages import Exceeded, MovementFacts
from forecasting.kinematics.velocity import DAY_S, Velocity, fit_velocity

SHORTEST_S, LONGEST_S = 7.0 * DAY_S, 30.0 * DAY_S  # of a motion that stays as it is
LEAST_S, LEAST_EPOCHS = 3600.0, 8  # of a window that is made shorter because the motion changed
AGREE = 4.0  # standard errors within which velocities of two windows say the same
STALE_INTERVALS = 3.0
MOST_EPOCHS = 120  # of a window; denser data are thinned evenly, so that a look costs the same at any rate
PAST_WINDOWS = 26
SCATTER_WINDOWS, SCATTER_LEAST = 12, 5  # windows of the past that say how far velocities of one length differ anyway


@dataclass(frozen=True, slots=True)
class Bound:
    """A velocity that the site file warns of."""

    over: float  # units of the values per day, above nothing
    window_s: float  # window that it is asked in, seconds
    min_sigma: float  # standard errors of its own that a velocity must exceed


@dataclass(frozen=True, slots=True)
class _Series:
    times_s: Sequence[float]
    values: Sequence[float]
    sigmas: Sequence[float]
    last: int

    @property
    def newest_s(self) -> float:
        return self.times_s[self.last - 1]

    def fit(self, end_s: float, window_s: float, *, most: int = MOST_EPOCHS, extent: float = 0.4) -> Velocity | None:
        """The velocity of a window; None where a gap leaves less than `extent` of it: the rest would not be it."""
        high = bisect_right(self.times_s, end_s, 0, self.last)
        low = bisect_left(self.times_s, end_s - window_s, 0, high)
        picked = _pick(low, high, most)
        if not picked or self.times_s[picked[-1]] - self.times_s[picked[0]] < extent * window_s:
            return None
        return fit_velocity(*self.take(picked))

    def take(self, picked: Sequence[int]) -> tuple[list[float], list[float], list[float]]:
        """Times, values and errors of some epochs."""
        return ([self.times_s[i] for i in picked], [self.values[i] for i in picked], [self.sigmas[i] for i in picked])


def classify_movement(
    times_s: Sequence[float],
    values: Sequence[float],
    sigmas: Sequence[float],
    *,
    now_s: float,
    interval_s: float,
    v_eq: float | None = None,
    bounds: Sequence[Bound] = (),
    failing: bool = False,
    history_s: float = 365.0 * DAY_S,
) -> tuple[MovementFacts, Velocity | None]:
    """Gather what `classify_stage` needs from data up to now; data after `now_s` are not looked at.

    The velocity window is the shortest of 7 to 30 days in which the velocity stands four standard errors above nothing;
    where the motion changed within it, the longest with which all shorter ones agree (`_narrow`), down to eight epochs
    and an hour. Accelerations are fitted over 2, 3, 4 and 6 times the window. The velocities that the site file warns
    of are asked in their own windows. Stale is: no datum in the last three intervals, or fewer than 70 % of those
    expected in 7 to 30 days. Returns the facts, and the velocity they rest on with its error and stamp.
    """
    known = _Series(times_s, values, sigmas, bisect_right(times_s, now_s))
    if known.last == 0:
        return MovementFacts(now_s, None, None, v_eq=v_eq, stale=True, failing=failing), None
    # noise of one epoch: measured over the longest window, or what the instrument states where that is more
    longest_s = find_longest_window_s(interval_s)
    first = bisect_right(known.times_s, known.newest_s - longest_s, 0, known.last)
    tail = slice(max(first, known.last - MOST_EPOCHS), known.last)
    stated = median(known.sigmas[tail]) if known.last > first else 0.0
    sigma = max(measure_sigma(known.times_s[tail], known.values[tail]), stated)
    long_s = _window_s(known, sigma, interval_s)
    window_s, scatter = _narrow(known, sigma, long_s, interval_s)
    present = known.fit(known.newest_s, window_s)
    usual = _past(known, long_s, history_s)
    past = usual if window_s == long_s else _past(known, window_s, 6.0 * long_s)
    calm = 1.0
    if present is not None and present.error < scatter:
        # in a short window a daily cycle or noise that wanders bends the path as much as it moves it
        calm, present = present.error / scatter, present._replace(error=scatter)
    count = known.last - bisect_right(known.times_s, known.newest_s - long_s, 0, known.last)
    held_s = min(long_s / interval_s, (known.newest_s - known.times_s[0]) / interval_s + 1.0)
    facts = MovementFacts(
        known.newest_s,
        None if present is None else present.rate,
        None if present is None else present.error,
        tuple(z * calm for z in _bends(known, window_s)),
        window_s=None if present is None else window_s,
        rising=present is not None and bool(past) and present.rate > past[0],
        v_eq=v_eq,
        creep_most=min((b.over for b in bounds), default=None),
        exceeded=_find_exceeded_bound(known, bounds),
        usual_velocity=median(usual) if len(usual) >= 6 else None,
        recent_max=max(chain([present.rate], past if past is not usual else (), usual[:6])) if present else None,
        stale=known.newest_s < now_s - STALE_INTERVALS * interval_s or count < 0.7 * held_s,
        failing=failing,
    )
    return facts, present


def _past(known: _Series, window_s: float, history_s: float) -> list[float]:
    count = min(PAST_WINDOWS, int(history_s / window_s))
    fits = (known.fit(known.newest_s - k * window_s, window_s) for k in range(1, count + 1))
    return [fit.rate for fit in fits if fit is not None]


def _bends(known: _Series, window_s: float) -> list[float]:
    found = []
    for factor in (2.0, 3.0, 4.0, 6.0):
        first = bisect_right(known.times_s, known.newest_s - factor * window_s, 0, known.last)
        bend = fit_acceleration(*known.take(_pick(first, known.last)), factor * window_s * 2)
        if bend is not None:
            found.append(bend.z)
    return found


def _find_exceeded_bound(known: _Series, bounds: Sequence[Bound]) -> Exceeded | None:
    for bound in sorted(bounds, key=lambda b: -b.over):
        fit = known.fit(known.newest_s, bound.window_s, most=known.last, extent=0.5)
        if fit is not None and fit.low > bound.over and fit.rate > bound.min_sigma * fit.error:
            return Exceeded(fit.rate, fit.error, bound.over, bound.window_s)
    return None


def _window_s(known: _Series, sigma: float, interval_s: float) -> float:
    longest_s = find_longest_window_s(interval_s)
    shortest_s = find_shortest_window_s(interval_s)
    rough = known.fit(known.newest_s, shortest_s) or known.fit(known.newest_s, longest_s)
    if rough is None:
        return longest_s
    wanted = choose_window_s(sigma, interval_s, rough.rate, longest_s=longest_s)
    return min(longest_s, max(shortest_s, wanted))


def find_shortest_window_s(interval_s: float) -> float:
    """Return the shortest velocity window of a steady motion: 7 days, or four intervals of a slow instrument.

    >>> find_shortest_window_s(3600.0) / DAY_S, find_shortest_window_s(14.0 * DAY_S) / DAY_S
    (7.0, 56.0)
    """
    return max(SHORTEST_S, FEWEST * interval_s)


def find_longest_window_s(interval_s: float) -> float:
    """Return the longest velocity window of a steady motion: 30 days, or eight intervals of a slow instrument.

    >>> find_longest_window_s(3600.0) / DAY_S, find_longest_window_s(14.0 * DAY_S) / DAY_S
    (30.0, 112.0)
    """
    return max(LONGEST_S, LEAST_EPOCHS * interval_s)


def _narrow(known: _Series, sigma: float, long_s: float, interval_s: float) -> tuple[float, float]:
    """The longest window whose velocity agrees with those of all shorter ones, and one standard error from the past.

    Intersection of confidence intervals (Goldenshluger and Nemirovski 1997, Math. Methods Statist. 6, 135-170): a
    longer window errs less by noise and more by averaging over a motion that changed, so it grows as long as the
    velocities of all windows up to it lie within their errors. The error of a window shorter than 7 days is that of
    white noise, or how far the velocities of earlier windows of its length scatter where that is more: daily cycles
    and noise that wanders are no change of motion. A window of fewer than eight epochs, or of which no past is known,
    says nothing; so the window follows from sampling, noise and data up to the look alone.
    """
    low, high = float("-inf"), float("inf")
    chosen: tuple[float, float] = (long_s, 0.0)
    window_s = max(LEAST_S, LEAST_EPOCHS * interval_s)
    lengths = []
    while window_s < SHORTEST_S:
        lengths.append(window_s)
        window_s *= 2.0
    for length_s in (*lengths, long_s):
        fit = known.fit(known.newest_s, length_s)
        if fit is None or fit.n < LEAST_EPOCHS:
            continue
        scatter = 0.0
        if length_s < long_s:
            rates = _scattered(known, length_s)
            if len(rates) < SCATTER_LEAST:
                continue
            scatter = measure_sigma([float(k) for k in range(len(rates))], rates)
        span_s = 2.0 * (fit.newest_s - fit.mid_s)
        error = max(scatter, velocity_error(sigma, fit.n, span_s / (fit.n - 1)))
        low, high = max(low, fit.rate - AGREE * error), min(high, fit.rate + AGREE * error)
        if low > high:
            return chosen
        chosen = (length_s, scatter)
    return long_s, 0.0


def _scattered(known: _Series, window_s: float) -> list[float]:
    fits = (known.fit(known.newest_s - k * window_s, window_s) for k in range(1, SCATTER_WINDOWS + 1))
    return [fit.rate for fit in fits if fit is not None and fit.n >= LEAST_EPOCHS]


def _pick(low: int, high: int, most: int = MOST_EPOCHS) -> list[int]:
    step = max(1, -(-(high - low) // most))
    return list(range(high - 1, low - 1, -step))[::-1]
