"""Failure window from an ensemble: inverse velocity with several velocity filters and several exponents of the law.

A velocity filter is a window length with or without smoothing. Each filter gives one fit per exponent. The window is
the range of the failure times of all filters that agree, weighted by how well each exponent fits.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, fsum, inf, log
from typing import Final

from forecasting.kinematics.inverse_velocity import InverseVelocityFit, fit_exponents, measure_scatter
from forecasting.kinematics.noise import median
from forecasting.kinematics.onset import ENDS_PER_WINDOW, RECENT_WINDOWS, find_onset_s
from forecasting.kinematics.velocity import DAY_S
from forecasting.kinematics.velocity_windows import VelocityWindow, WindowVelocities, WindowVelocity
from forecasting.reasons import Reason

# Exponents of Voight's law with the prior belief in each.
EXPONENTS: Final = ((1.5, 0.02), (1.75, 0.03), (2.0, 0.9), (2.25, 0.03), (2.5, 0.02))
ALPHAS: Final = tuple(alpha for alpha, _ in EXPONENTS)
CLASSICAL: Final = 2  # index of exponent 2, where the inverse velocity is a straight line
# Share of the scatter that the errors imply, added to every misfit, so that perfect data decide nothing more.
MISFIT_FLOOR: Final = 0.01
# The exponent is open if another one has at least this share of the likelihood of the best one.
OPEN_LIKELIHOOD: Final = 0.15

# The ensemble has this many lengths of windows, and longer ones up to the lead time, because the motion of hours does
# not predict a failure weeks ahead.
WINDOW_LENGTHS: Final = 4
MAX_WINDOW_LENGTHS: Final = 10

# Conditions of a window.
MIN_FILTERS: Final = 3
MIN_AGREEING_SHARE: Final = 0.5
MIN_R2: Final = 0.8
# Quantiles of the failure times that give the edges and the middle.
EDGE_QUANTILES: Final = (0.1, 0.5, 0.9)
LEAD_MARGIN: Final = 0.05
# Scatter times late over early lead: from the first value on, something else than the law moves the slope, and from the
# second value on the window is stretched in full.
DISTURBED_FROM: Final = 0.67
DISTURBED_TO: Final = 0.82
LARGEST_STRETCH: Final = 2.0

PASSED: Final = Reason("failure.passed")
ExponentFits = Sequence[InverseVelocityFit | None]  # one per exponent


@dataclass(frozen=True, slots=True)
class FilterFits:
    """The fits of one velocity filter."""

    fits: ExponentFits
    scatter: float  # see `measure_scatter`, of the exponent that fits best


@dataclass(frozen=True, slots=True)
class EnsembleEstimate:
    """Failure window of the ensemble; times in epoch seconds."""

    n_filters: int  # filters with a fit
    n_agree: int = 0  # of these, filters that predict a failure
    reason: Reason | None = None  # why there is no window; None if there is one
    ended: Reason | None = None  # why a window that stands is withdrawn
    from_s: float = inf
    mid_s: float = inf
    to_s: float = inf
    r2: float | None = None  # median of the filters that agree
    doubts: tuple[Reason, ...] = ()  # why the window is not trusted
    notes: tuple[Reason, ...] = ()  # other remarks


def fit_filters(series: WindowVelocities, windows: Sequence[VelocityWindow], index: int) -> list[FilterFits]:
    """Fit every exponent to the velocities of every filter, since the onset that the filter shows.

    Args:
        series: The series.
        windows: Windows from the shortest one that may be used to the longest one.
        index: Newest reading that is known.

    Returns:
        The filters with enough velocities for a fit.
    """
    now_s = series.times_s[index]
    filters: list[FilterFits] = []
    for number, window in enumerate(windows[:MAX_WINDOW_LENGTHS]):
        if number >= WINDOW_LENGTHS and window.length_s > _find_median_lead_s(filters, now_s):
            break
        last_cell = series.find_last_cell(window, index)
        onset_s = find_onset_s(series, window, last_cell)
        if onset_s is None:
            continue
        for smoothed in (1, max(2, window.cells // 2)):
            velocities = _list_velocities(series, window, last_cell, smoothed, onset_s)
            fits = fit_exponents(velocities, ALPHAS)
            if fits[CLASSICAL] is not None:
                filters.append(FilterFits(fits, _measure_scatter_of_best(fits, velocities)))
    return filters


def combine_filters(filters: Sequence[FilterFits], now_s: float, interval_s: float) -> EnsembleEstimate:
    """Combine the fits of all filters into one window.

    The edges are the 10 % and 90 % quantiles of the failure times of the agreeing filters, weighted by exponent. They
    are widened by half their span, or by one standard error of a line if that is more, by one sampling interval, and by
    a twentieth of the lead.
    """
    n_filters = len(filters)
    if n_filters < MIN_FILTERS:
        return EnsembleEstimate(n_filters, reason=Reason("failure.too_short"))
    weights = weight_exponents([one.fits for one in filters])
    best = _find_largest(weights)
    agreeing = [one.fits for one in filters if _predicts_failure(one.fits[best], now_s)]
    n_agree = len(agreeing)
    if n_agree < max(MIN_FILTERS, MIN_AGREEING_SHARE * n_filters):
        ended = _explain_end([one.fits[best] for one in filters], now_s)
        few = Reason("failure.few_agree", {"n": n_agree, "count": n_filters})
        return EnsembleEstimate(n_filters, n_agree, reason=ended or few, ended=ended)
    low_s, mid_s, high_s = _find_failure_quantiles(agreeing, weights, now_s)
    best_fits = [fit for fits in agreeing if (fit := fits[best]) is not None]
    half_span_s = max((high_s - low_s) / 2.0, median([fit.error_s for fit in best_fits]))
    margin_s = half_span_s + interval_s + LEAD_MARGIN * (mid_s - now_s)
    doubts: tuple[Reason, ...] = ()
    if high_s - low_s > mid_s - now_s + 2.0 * interval_s:
        doubts = (Reason("failure.scattered"),)
    notes = _describe_exponents(agreeing, weights, now_s)
    stretch = compute_stretch(median([one.scatter for one in filters]), low_s - now_s, high_s - now_s)
    if stretch > 1.0:
        notes += (Reason("failure.disturbed", {"times": stretch}),)
    return EnsembleEstimate(
        n_filters,
        n_agree,
        from_s=now_s + max(0.0, low_s - margin_s - now_s) / stretch,
        mid_s=mid_s,
        to_s=now_s + (high_s + margin_s - now_s) * stretch,
        r2=median([fit.r2 for fit in best_fits]),
        doubts=doubts,
        notes=notes,
    )


def weight_exponents(filters: Sequence[ExponentFits]) -> list[float]:
    """Return the belief in each exponent after the data, from the likelihood of the misfits of all filters.

    The velocities of overlapping windows are not independent, so each filter counts with half of them.
    """
    surprises = [0.0] * len(EXPONENTS)
    for fits in filters:
        smallest = min(fit.misfit for fit in fits if fit is not None)
        for number, fit in enumerate(fits):
            if fit is None:
                surprises[number] = inf
            else:
                ratio = (fit.misfit + MISFIT_FLOOR) / (smallest + MISFIT_FLOOR)
                surprises[number] += fit.n / len(filters) * log(ratio)
    least = min(surprises)
    return [belief * exp(-0.5 * (surprise - least)) for (_, belief), surprise in zip(EXPONENTS, surprises, strict=True)]


def compute_stretch(scatter: float, early_s: float, late_s: float) -> float:
    """Return by how much the lead of the early edge is divided and that of the late edge multiplied, 1 to 2.

    If the velocities scatter beyond their noise and the filters disagree, something else than the law moves the slope:
    rain, snow melt, or the steps of an interpolated record. Then neither the exponent nor the end is known as well as
    the fits suggest.

    Args:
        scatter: Mean squared deviation of the velocities from the law, in their own standard errors.
        early_s: Lead of the early failure times in seconds.
        late_s: Lead of the late failure times in seconds.

    >>> compute_stretch(0.4, 10.0, 12.0), compute_stretch(1.5, 10.0, 20.0)
    (1.0, 2.0)
    """
    if early_s <= 0.0 or scatter * late_s / early_s >= DISTURBED_TO:
        return LARGEST_STRETCH
    share = scatter * late_s / early_s / DISTURBED_FROM
    return LARGEST_STRETCH ** (log(share) / log(DISTURBED_TO / DISTURBED_FROM)) if share > 1.0 else 1.0


# ---- filters ----------------------------------------------------------------------------------------------------
def _list_velocities(
    series: WindowVelocities, window: VelocityWindow, last_cell: int, smoothed: int, onset_s: float
) -> list[WindowVelocity]:
    """Return the velocities since the onset, oldest first, each the mean of `smoothed` windows a cell apart.

    A velocity that cannot be distinguished from zero ends the list.
    """
    stride = max(1, window.cells // ENDS_PER_WINDOW)
    means: list[WindowVelocity] = []
    for end in range(last_cell, last_cell - RECENT_WINDOWS * window.cells - 1, -stride):
        mean = series.find_mean_velocity(window, end, smoothed)
        if mean is None:
            continue
        if mean.stamp_s < onset_s or mean.rate <= mean.error:
            break
        means.append(mean)
    return means[::-1]


def _find_median_lead_s(filters: Sequence[FilterFits], now_s: float) -> float:
    """Return the median time to failure of the filters whose inverse velocity falls; 0 if there are none."""
    classical = [one.fits[CLASSICAL] for one in filters]
    leads_s = [fit.failure_s - now_s for fit in classical if fit is not None and fit.slope < 0.0]
    return median(leads_s) if leads_s else 0.0


def _measure_scatter_of_best(fits: ExponentFits, velocities: Sequence[WindowVelocity]) -> float:
    best = min([fit for fit in fits if fit is not None], key=lambda fit: fit.misfit)
    return measure_scatter(best, velocities)


def _predicts_failure(fit: InverseVelocityFit | None, now_s: float) -> bool:
    return fit is not None and fit.r2 >= MIN_R2 and fit.slope < 0.0 and fit.failure_s > now_s


def _explain_end(fits: ExponentFits, now_s: float) -> Reason | None:
    """Return why a window that stands is withdrawn: most lines rise, or end in the past; else None."""
    existing = [fit for fit in fits if fit is not None]
    limit = (1.0 - MIN_AGREEING_SHARE) * len(existing)
    if sum(fit.slope >= 0.0 for fit in existing) > limit:
        return Reason("failure.turned")
    if sum(fit.failure_s <= now_s for fit in existing) > limit:
        return PASSED
    return None


# ---- combination ------------------------------------------------------------------------------------------------
def _find_failure_quantiles(
    filters: Sequence[ExponentFits], weights: Sequence[float], now_s: float
) -> tuple[float, float, float]:
    """Return the weighted quantiles of the failure times that are still ahead."""
    estimates = sorted(
        (fit.failure_s, weight)
        for fits in filters
        for fit, weight in zip(fits, weights, strict=True)
        if fit is not None and now_s < fit.failure_s < inf
    )
    low, mid, high = (_find_weighted_quantile(estimates, share) for share in EDGE_QUANTILES)
    return low, mid, high


def _find_weighted_quantile(ordered: Sequence[tuple[float, float]], share: float) -> float:
    """Return a quantile of (value, weight) in ascending order of the values."""
    total = fsum(weight for _, weight in ordered)
    reached = 0.0
    for value, weight in ordered:
        reached += weight
        if reached >= share * total:
            return value
    return ordered[-1][0]


def _find_largest(weights: Sequence[float]) -> int:
    return max(range(len(weights)), key=weights.__getitem__)


def _describe_exponents(filters: Sequence[ExponentFits], weights: Sequence[float], now_s: float) -> tuple[Reason, ...]:
    """Return remarks on the exponent: another one than 2 fits best, or the data do not settle it."""
    notes = []
    best = _find_largest(weights)
    if best != CLASSICAL:
        notes.append(Reason("failure.curved", {"exponent": EXPONENTS[best][0]}))
    likelihoods = [weight / belief for weight, (_, belief) in zip(weights, EXPONENTS, strict=True)]
    open_leads = []
    for number in (0, len(EXPONENTS) - 1):
        fits = [one[number] for one in filters]
        leads_s = [fit.failure_s - now_s for fit in fits if fit is not None and fit.slope < 0.0]
        if leads_s and likelihoods[number] > OPEN_LIKELIHOOD * max(likelihoods):
            lead_days = max(0.0, median(leads_s)) / DAY_S
            open_leads.append(Reason("failure.lead", {"days": lead_days, "exponent": EXPONENTS[number][0]}))
    if open_leads:
        notes.append(Reason("failure.open", {"leads": tuple(open_leads)}))
    return tuple(notes)
