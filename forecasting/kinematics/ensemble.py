"""Inverse velocity (Fukuzono 1985; Voight 1988): onset, lines by filter and exponent, and how far they agree."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import exp, fsum, inf, log, sqrt
from typing import Final

from forecasting.kinematics.cells import Speed
from forecasting.kinematics.noise import median, quantile
from forecasting.kinematics.velocity import DAY_S
from forecasting.reasons import Reason

UNUSUAL = 0.9  # quantile of the past that the present must exceed
TIMES_USUAL = 2.0  # times the median of the past
FEWEST_PAST = 4


def find_onset(speeds: Iterable[Speed]) -> Speed | None:
    """The last onset: the lowest velocity after which it only grew.

    Going back from the newest, the velocity falls; where it stands two standard errors (of the difference) and a tenth
    above the lowest met so far, an earlier motion begins, and that lowest is the onset. A velocity that cannot be told
    from nothing ends the motion too: the onset is the one after it. `speeds`: velocities, the newest first; read only
    as far back as the answer needs.

    >>> from forecasting.kinematics.cells import Speed
    >>> find_onset(Speed(v, 0.1, float(i)) for i, v in enumerate([4.0, 2.0, 1.0, 3.0, 5.0])).rate
    1.0
    """
    lowest = newer = None
    for here in speeds:
        if here.rate <= here.error:
            return newer or here
        if lowest is None or here.rate < lowest.rate:
            lowest = here
        elif here.rate > 1.1 * lowest.rate + 2.0 * (here.error**2 + lowest.error**2) ** 0.5:
            return lowest
        newer = here
    return lowest


def is_unusual(rate: float, past: Sequence[float]) -> Reason | None:
    """Return why a velocity is not beyond what the past has shown; None if it is.

    The past ends at the onset: a quantile that knows the acceleration, or what came after, would leak. `past`:
    velocities before the onset, any order.

    >>> print(is_unusual(9.0, [1.0, 2.0, 1.5, 1.2]), is_unusual(2.5, [1.0, 2.0, 1.5, 1.2]))
    None failure.usual: velocity=2.5, times=2.0, median=1.35
    """
    if len(past) < FEWEST_PAST:
        return Reason("failure.short_past")
    middle = median(past)
    if rate <= TIMES_USUAL * middle:
        return Reason("failure.usual", {"velocity": rate, "times": TIMES_USUAL, "median": middle})
    edge = quantile(sorted(past), UNUSUAL)
    if rate <= edge:
        return Reason("failure.not_rare", {"velocity": rate, "percent": 100 * UNUSUAL, "quantile": edge})
    return None


FINE = 0.03  # share of a velocity that no law is held to
RELATIVE = 0.1  # how far real velocities stray from any law, as a share: keeps single fast points from ruling the fit


@dataclass(frozen=True, slots=True)
class InverseFit:
    """A line through v^-(alpha - 1)."""

    failure_s: float  # where it reaches nothing, epoch seconds; infinite where it does not fall
    error_s: float  # one standard error of that instant from the scatter about the line, seconds; infinite likewise
    r2: float  # weighted coefficient of determination
    slope: float  # per day; negative where the motion accelerates
    misfit: float  # mean squared residual in standard errors
    n: int  # points


def fit_inverse(
    stamps_s: Sequence[float], velocities: Sequence[float], errors: Sequence[float], alpha: float = 2.0
) -> InverseFit | None:
    """Fit dv/dt = A v^alpha in its linear form: v^-(alpha - 1) falls straight to nothing at failure.

    Each point weighs by the error of v carried through the power, (alpha - 1) v^-alpha se(v), with a tenth of v added:
    1/v of a slow point is mostly noise.

    Args:
        velocities: Positive velocities, shape (n,); others must be left out before.
        alpha: Exponent, above 1; 2 is the classical straight line of 1/v.

    Returns:
        The fit; None for fewer than 4 points.

    >>> lead = [40.0, 30.0, 20.0, 10.0]
    >>> fit = fit_inverse([-x * 86400.0 for x in lead], [50.0 / x for x in lead], [0.1] * 4)
    >>> round(fit.failure_s, 3) + 0.0, round(fit.r2, 6)
    (0.0, 1.0)
    """
    n = len(stamps_s)
    if n < 4:
        return None
    power = 1.0 - alpha
    origin = stamps_s[-1]
    total = sum_t = sum_y = 0.0
    points = []
    for stamp, v, error in zip(stamps_s, velocities, errors, strict=True):
        y = v**power
        bound = -power * y * ((error / v) ** 2 + RELATIVE * RELATIVE) ** 0.5
        w = 1.0 / (bound * bound)
        t = (stamp - origin) / DAY_S
        points.append((w, t, y))
        total += w
        sum_t += w * t
        sum_y += w * y
    mean_t, mean_y = sum_t / total, sum_y / total
    spread = product = square = 0.0
    for w, t, y in points:
        spread += w * (t - mean_t) * (t - mean_t)
        product += w * (t - mean_t) * (y - mean_y)
        square += w * (y - mean_y) * (y - mean_y)
    if spread <= 0.0 or square <= 0.0:
        return None
    slope = product / spread
    misfit = max(0.0, square - product * slope) / (n - 2)
    r2 = product * slope / square
    if slope >= 0.0:
        return InverseFit(float("inf"), float("inf"), r2, slope, misfit, n)
    ahead = -mean_y / slope  # days from the middle of the data to failure
    error = sqrt(misfit * (1.0 / total + ahead * ahead / spread)) / -slope
    return InverseFit(origin + (mean_t + ahead) * DAY_S, error * DAY_S, r2, slope, misfit, n)


ALPHAS = ((1.5, 0.02), (1.75, 0.03), (2.0, 0.9), (2.25, 0.03), (2.5, 0.02))  # exponent of Voight's law, belief in it
STRAIGHT = 2  # place of exponent 2: 1/v is a straight line
FLOOR = 0.01  # of the stated scatter, added to every misfit: perfect data decide no more than they can
UNSETTLED = 0.15  # of the likelihood of the best exponent: above it another is left open
DISTURBED = (0.67, 0.82)  # scatter times late over early estimate: from where the law is not what moves the slope
STRETCH = 2.0  # then: how much sooner and later it may be
Fits = Sequence[InverseFit | None]  # one per exponent
PASSED: Final = Reason("failure.passed")


def middle_lead_s(filters: Sequence[Fits], now_s: float) -> float:
    """Middle lead time of the straight lines that fall."""
    leads = [f.failure_s - now_s for fits in filters if (f := fits[STRAIGHT]) is not None and f.slope < 0.0]
    return median(leads) if leads else 0.0


def compute_exponent_weights(filters: Sequence[Fits]) -> list[float]:
    """Belief in each exponent after the data: profile likelihood of the scatter, alike for all filters.

    Velocities of overlapping windows are fewer facts than points, so half of them count.
    """
    surprise = [0.0] * len(ALPHAS)
    for fits in filters:
        best = min(f.misfit for f in fits if f is not None)
        for a, fit in enumerate(fits):
            if fit is None:
                surprise[a] = float("inf")
            else:
                surprise[a] += fit.n / len(filters) * log((fit.misfit + FLOOR) / (best + FLOOR))
    least = min(surprise)
    return [belief * exp(-0.5 * (s - least)) for (_, belief), s in zip(ALPHAS, surprise, strict=True)]


def scatter_of_best(fits: Fits, stamps_s: Sequence[float], rates: Sequence[float], errors: Sequence[float]) -> float:
    """Scatter about the law of a filter's best exponent; none is told where that does not fall towards failure."""
    best = min((a for a, f in enumerate(fits) if f is not None), key=lambda a: fits[a].misfit)  # type: ignore[union-attr]
    fit = fits[best]
    if fit is None or fit.slope >= 0.0:
        return inf
    # mean square of how far the velocities lie off a fitted law, in their own standard errors
    power = 1.0 - ALPHAS[best][0]
    square = 0.0
    for stamp, v, error in zip(stamps_s, rates, errors, strict=True):
        y = v**power
        off = (y - fit.slope * (stamp - fit.failure_s) / DAY_S) / (power * y)
        square += off * off / ((error / v) ** 2 + FINE * FINE)
    return square / (fit.n - 2)


def stretch_window(scatter: float, early_s: float, late_s: float) -> float:
    """By how much to divide the lead of the early edge and to multiply that of the late one.

    Where the velocities scatter beyond their noise, and the filters disagree, something else than the law moves the
    slope (rain, snow, stairs of an interpolated record), and neither its exponent nor its end can be told as if it did.

    Args:
        scatter: Of the velocities about the law, in their own errors squared.
        early_s: Lead of the early estimates, seconds.

    >>> stretch_window(0.4, 10.0, 12.0), stretch_window(1.5, 10.0, 20.0)
    (1.0, 2.0)
    """
    if early_s <= 0.0 or scatter * late_s / early_s >= DISTURBED[1]:
        return STRETCH
    share = scatter * late_s / early_s / DISTURBED[0]
    return STRETCH ** (log(share) / log(DISTURBED[1] / DISTURBED[0])) if share > 1.0 else 1.0


def describe_exponents(filters: Sequence[Fits], weights: Sequence[float], now_s: float) -> tuple[Reason, ...]:
    """Return remarks on the exponent: another one than 2 fits best, or the data do not settle it."""
    notes = []
    likely = max(range(len(ALPHAS)), key=weights.__getitem__)
    if likely != STRAIGHT:
        notes.append(Reason("failure.curved", {"exponent": ALPHAS[likely][0]}))
    gain = [weight / belief for weight, (_, belief) in zip(weights, ALPHAS, strict=True)]
    open_ends = []
    for a in (0, len(ALPHAS) - 1):
        leads = [f.failure_s - now_s for fits in filters if (f := fits[a]) is not None and f.slope < 0.0]
        if leads and gain[a] > UNSETTLED * max(gain):
            days = max(0.0, median(leads)) / DAY_S
            open_ends.append(Reason("failure.lead", {"days": days, "exponent": ALPHAS[a][0]}))
    if open_ends:
        notes.append(Reason("failure.open", {"leads": tuple(open_ends)}))
    return tuple(notes)


def why_ended(fits: Fits, now_s: float, share: float) -> Reason | None:
    """Return why a window is withdrawn: more than `share` of the lines rise or end in the past; else None."""
    known = [f for f in fits if f is not None]
    if sum(f.slope >= 0.0 for f in known) > share * len(known):
        return Reason("failure.turned")
    if sum(f.failure_s <= now_s for f in known) > share * len(known):
        return PASSED
    return None


def weighted_quantile(ordered: Sequence[tuple[float, float]], share: float) -> float:
    """Quantile of ascending (value, weight)."""
    total = fsum(w for _, w in ordered)
    reached = 0.0
    for x, w in ordered:
        reached += w
        if reached >= share * total:
            return x
    return ordered[-1][0]
