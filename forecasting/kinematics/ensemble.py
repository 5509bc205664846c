"""Many filters, many exponents, one window: how far the fits agree and what they leave open."""

from collections.abc import Sequence
from math import exp, log

from forecasting.kinematics.inverse_velocity import InverseFit
from forecasting.kinematics.noise import median

ALPHAS = ((1.5, 0.02), (1.75, 0.03), (2.0, 0.9), (2.25, 0.03), (2.5, 0.02))  # exponent of Voight's law, belief in it
STRAIGHT = 2  # place of exponent 2: 1/v is a straight line
FLOOR = 0.01  # of the stated scatter, added to every misfit: perfect data decide no more than they can
Fits = Sequence[InverseFit | None]  # one per exponent


def middle_lead_s(filters: Sequence[Fits], now_s: float) -> float:
    """Middle lead time of the straight lines that fall."""
    leads = [f.failure_s - now_s for fits in filters if (f := fits[STRAIGHT]) is not None and f.slope < 0.0]
    return median(leads) if leads else 0.0


def weigh_exponents(filters: Sequence[Fits]) -> list[float]:
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


def why_ended(fits: Fits, now_s: float, share: float) -> str | None:
    """What withdraws a window: more than `share` of the lines rise, or lie in the past; else None."""
    known = [f for f in fits if f is not None]
    if sum(f.slope >= 0.0 for f in known) > share * len(known):
        return "the fit turned: 1/v no longer falls"
    if sum(f.failure_s <= now_s for f in known) > share * len(known):
        return "the predicted time has passed"
    return None


def weighted_quantile(ordered: Sequence[tuple[float, float]], share: float) -> float:
    """Quantile of ascending (value, weight)."""
    total = sum(w for _, w in ordered)
    reached = 0.0
    for x, w in ordered:
        reached += w
        if reached >= share * total:
            return x
    return ordered[-1][0]
