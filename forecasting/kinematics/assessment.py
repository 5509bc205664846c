"""One look at a series: the velocities, accelerations and past that its stage is judged by."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from forecasting.kinematics.acceleration import fit_acceleration
from forecasting.kinematics.noise import choose_window_s, measure_sigma, median
from forecasting.kinematics.stages import MovementFacts
from forecasting.kinematics.velocity import DAY_S, Velocity, fit_velocity

SHORTEST_S, LONGEST_S = 7.0 * DAY_S, 30.0 * DAY_S  # velocities of a stage are taken over 7 to 30 days
STALE_INTERVALS = 3.0
MOST_EPOCHS = 120  # of a window; denser data are thinned evenly, so that a look costs the same at any rate
PAST_WINDOWS = 26


def look_at_movement(
    times_s: Sequence[float],
    values: Sequence[float],
    sigmas: Sequence[float],
    *,
    now_s: float,
    interval_s: float,
    v_eq: float | None = None,
    creep_most: float | None = None,
    failing: bool = False,
    history_s: float = 365.0 * DAY_S,
) -> tuple[MovementFacts, Velocity | None]:
    """Gather what `judge_stage` needs from data up to now; data after `now_s` are not looked at.

    The velocity window is the shortest of 7 to 30 days in which the velocity stands four standard errors above
    nothing; accelerations are fitted over 2, 3, 4 and 6 times it. Stale is: no datum in the last three intervals, or
    fewer than 70 % of those expected in the window.

    Args:
        times_s: Rising epoch seconds, shape (n,).
        values: Displacement along the movement, shape (n,).
        sigmas: One standard deviation each, shape (n,); zero where unknown.
        now_s: Epoch seconds of the look.
        interval_s: Nominal sampling interval, seconds.
        v_eq: Reviewed steady velocity per day, or None.
        creep_most: Lowest velocity per day that the site file warns of, or None.
        failing: A trusted failure window stands.
        history_s: How far back velocities are compared.

    Returns:
        The facts, and the velocity they rest on with its error and stamp.
    """
    last = bisect_right(times_s, now_s)
    if last == 0:
        return MovementFacts(now_s, None, None, v_eq=v_eq, stale=True, failing=failing), None
    newest_s = times_s[last - 1]
    window_s = _window_s(times_s, values, sigmas, last, interval_s)
    present = _fit(times_s, values, sigmas, newest_s, window_s, last)
    count = last - bisect_right(times_s, newest_s - window_s, 0, last)
    stale = newest_s < now_s - STALE_INTERVALS * interval_s or count < 0.7 * min(
        window_s / interval_s, (newest_s - times_s[0]) / interval_s + 1.0
    )
    past = []
    for k in range(1, min(PAST_WINDOWS, int(history_s / window_s)) + 1):
        fit = _fit(times_s, values, sigmas, newest_s - k * window_s, window_s, last)
        if fit is not None:
            past.append(fit.rate)
    bends = []
    for factor in (2.0, 3.0, 4.0, 6.0):
        picked = _pick(bisect_right(times_s, newest_s - factor * window_s, 0, last), last)
        bend = fit_acceleration(
            [times_s[i] for i in picked],
            [values[i] for i in picked],
            [sigmas[i] for i in picked],
            factor * window_s * 2,
        )
        if bend is not None:
            bends.append(bend.z)
    facts = MovementFacts(
        newest_s,
        None if present is None else present.rate,
        None if present is None else present.error,
        tuple(bends),
        rising=present is not None and bool(past) and present.rate > past[0],
        v_eq=v_eq,
        creep_most=creep_most,
        usual_velocity=median(past) if len(past) >= 6 else None,
        recent_max=max([present.rate, *past[:6]]) if present is not None else None,
        stale=stale,
        failing=failing,
    )
    return facts, present


def _window_s(
    times_s: Sequence[float], values: Sequence[float], sigmas: Sequence[float], last: int, interval_s: float
) -> float:
    """The shortest of 7 to 30 days in which the present velocity can be told."""
    newest_s = times_s[last - 1]
    rough = _fit(times_s, values, sigmas, newest_s, SHORTEST_S, last) or _fit(
        times_s, values, sigmas, newest_s, LONGEST_S, last
    )
    first = bisect_right(times_s, newest_s - LONGEST_S, 0, last)
    tail = slice(max(first, last - MOST_EPOCHS), last)
    sigma = max(measure_sigma(times_s[tail], values[tail]), median(sigmas[tail]) if last > first else 0.0)
    if rough is None:
        return LONGEST_S
    wanted = choose_window_s(sigma, interval_s, rough.rate, longest_s=LONGEST_S)
    return min(LONGEST_S, max(SHORTEST_S, wanted))


def _fit(
    times_s: Sequence[float],
    values: Sequence[float],
    sigmas: Sequence[float],
    end_s: float,
    window_s: float,
    last: int,
) -> Velocity | None:
    high = bisect_right(times_s, end_s, 0, last)
    low = bisect_left(times_s, end_s - window_s, 0, high)
    picked = _pick(low, high)
    if not picked or times_s[picked[-1]] - times_s[picked[0]] < 0.4 * window_s:
        return None  # a gap: the rest of the window would not be the window
    return fit_velocity([times_s[i] for i in picked], [values[i] for i in picked], [sigmas[i] for i in picked])


def _pick(low: int, high: int) -> list[int]:
    """Indices low..high-1, thinned evenly to at most MOST_EPOCHS, the newest always among them."""
    step = max(1, -(-(high - low) // MOST_EPOCHS))
    return list(range(high - 1, low - 1, -step))[::-1]
