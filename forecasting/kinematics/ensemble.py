"""Many filters, many exponents, one window: how far the fits agree and what they leave open."""

from collections.abc import Sequence
from math import exp, fsum, inf, log
from typing import Final

from forecasting.kinematics.inverse_velocity import InverseFit, measure_scatter
from forecasting.kinematics.noise import median
from forecasting.kinematics.velocity import DAY_S
from forecasting.message import Figure, Message, Template, join

ALPHAS = ((1.5, 0.02), (1.75, 0.03), (2.0, 0.9), (2.25, 0.03), (2.5, 0.02))  # exponent of Voight's law, belief in it
STRAIGHT = 2  # place of exponent 2: 1/v is a straight line
FLOOR = 0.01  # of the stated scatter, added to every misfit: perfect data decide no more than they can
UNSETTLED = 0.15  # of the likelihood of the best exponent: above it another is left open
DISTURBED = (0.67, 0.82)  # scatter times late over early estimate: from where the law is not what moves the slope
STRETCH = 2.0  # then: how much sooner and later it may be
Fits = Sequence[InverseFit | None]  # one per exponent
PASSED: Final = Template("failure.passed", "the predicted time has passed")()
_TURNED: Final = Template("failure.turned", "the fit turned: 1/v no longer falls")()
_CURVED: Final = Template("failure.curved", "1/v is curved: exponent {exponent} fits better than 2")
_OPEN: Final = Template("failure.open", "the exponent is not settled: failure would be {leads}")
_LEAD: Final = Template("failure.lead", "{days} days ahead with exponent {exponent}")


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
    return measure_scatter(fit, stamps_s, rates, errors, ALPHAS[best][0])


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


def describe_exponents(filters: Sequence[Fits], weights: Sequence[float], now_s: float) -> tuple[Message, ...]:
    """What to know of the exponent: another than 2 fits best, or the data leave it open and what that would mean."""
    notes = []
    likely = max(range(len(ALPHAS)), key=weights.__getitem__)
    if likely != STRAIGHT:
        notes.append(_CURVED(exponent=ALPHAS[likely][0]))
    gain = [weight / belief for weight, (_, belief) in zip(weights, ALPHAS, strict=True)]
    open_ends = []
    for a in (0, len(ALPHAS) - 1):
        leads = [f.failure_s - now_s for fits in filters if (f := fits[a]) is not None and f.slope < 0.0]
        if leads and gain[a] > UNSETTLED * max(gain):
            days = Figure(max(0.0, median(leads)) / DAY_S, ".2g")
            open_ends.append(_LEAD(days=days, exponent=ALPHAS[a][0]))
    if open_ends:
        notes.append(_OPEN(leads=join(open_ends, ", ")))
    return tuple(notes)


def why_ended(fits: Fits, now_s: float, share: float) -> Message | None:
    """What withdraws a window: more than `share` of the lines rise, or lie in the past; else None."""
    known = [f for f in fits if f is not None]
    if sum(f.slope >= 0.0 for f in known) > share * len(known):
        return _TURNED
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
