"""Fits in the windows of a track, and their comparison with a bound.

The kinds of criteria on rates and accelerations share these functions. A track with a declared direction has one fit in
each window. Without a declared azimuth or plunge a window has one fit for each component of the motion (see
`monitor.decision.criteria.motion_components`), and the component that exceeds the bound with the most certainty counts.
"""

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import fsum, sqrt
from typing import Any, Final, TypeVar

from forecasting.kinematics.acceleration import Acceleration
from forecasting.kinematics.velocity import Velocity, fit_rates, fit_velocities, fit_velocity
from monitor.decision.criteria.motion_components import list_component_names, list_components
from monitor.decision.series.assessment import Assessment, DecisionContext, Measured, find_levels, measure_nothing
from monitor.readings.cleaned.tracks import Track
from monitor.sites.records import Criterion, SeriesSpec, Threshold, find_bound
from monitor.text.message import Message

# Share of the window that must lie between its first and its last epoch.
MIN_WINDOW_SHARE: Final = 0.5
# Epochs that the fit of a line needs.
MIN_LINE_EPOCHS: Final = 4
# Stations with the same epochs are fitted together if there are at least this many.
MIN_JOINT_STATIONS: Final = 3
# Fits that a track caches for each kind of fit and window.
MAX_CACHED_FITS: Final = 256
# The displacement, its components and its single series (`displacement_*`) have a declared direction.
DISPLACEMENT: Final = "displacement"
Fit = TypeVar("Fit")
Fits = Sequence[Velocity] | Sequence[Acceleration]
FactExplainer = Callable[[Criterion, SeriesSpec, Sequence[dict[str, Any]], int], Message]


def list_dwell_epochs(criterion: Criterion, times_s: Sequence[float], answered_s: float) -> tuple[float, ...]:
    """Return the epochs that can count for the dwell of a criterion.

    Of the last `dwell.of` epochs these are the ones that are newer than `answered_s` and, if `dwell.within` is
    declared, at most that much older than the newest epoch.

    Args:
        times_s: Epochs of the track, in rising time.
        answered_s: Instant up to which a person who lowered the level has answered for the readings of this vote.
    """
    within_s = criterion.dwell.within_s
    latest = times_s[-max(criterion.dwell.of, criterion.dwell.hits) :]
    return tuple([e for e in latest if e > answered_s and (within_s is None or times_s[-1] - e <= within_s)])


def find_window(track: Track, end_s: float, window_s: float, min_epochs: int) -> slice | None:
    """Return the rows of the window that ends at an epoch.

    Return None if the window has fewer epochs than `min_epochs`, or if its epochs cover less than `MIN_WINDOW_SHARE`
    of it.
    """
    times_s = track.times_s
    stop = len(times_s) if times_s and times_s[-1] == end_s else bisect_right(times_s, end_s)
    start = bisect_right(times_s, end_s - window_s, 0, stop)
    if stop - start < min_epochs or times_s[stop - 1] - times_s[start] < MIN_WINDOW_SHARE * window_s:
        return None
    return slice(start, stop)


def get_or_fit(track: Track, end_s: float, key: tuple[Any, ...], fit: Callable[..., Fit]) -> Fit:
    """Return the cached fit of the window that ends at an epoch, or compute and cache it.

    Args:
        key: The length of the window in seconds, and everything else that the fit depends on.
        fit: Called as `fit(track, end_s, *key)`. Fits of different functions are cached separately.
    """
    cached_fits = track.fits.setdefault((*key, fit), {})
    cached: Fit | None = cached_fits.get(end_s)
    if cached is not None:
        return cached
    computed = fit(track, end_s, *key)
    _store_fit(cached_fits, end_s, computed)
    return computed


def _store_fit(cached_fits: dict[float, Any], end_s: float, computed: Any) -> None:
    """Add a fit to the cached ones. If there are too many, delete those that were cached first."""
    cached_fits[end_s] = computed
    if len(cached_fits) > MAX_CACHED_FITS:
        for oldest in list(cached_fits)[: MAX_CACHED_FITS // 2]:
            del cached_fits[oldest]


def is_fitted_as_signed_value(track: Track) -> bool:
    """Return whether the direction of a track is declared completely, so that its signed value is fitted alone."""
    return track.unit_vector is not None and track.is_plunge_known


def fit_lines(track: Track, end_s: float, window_s: float, min_sigma: float) -> tuple[Velocity, ...]:
    """Return the fitted lines of the window that ends at an epoch, one for each component of the motion.

    Args:
        min_sigma: Standard errors by which a speed must be certain. It does not change the fit of a signed value.
    """
    key = (window_s, 0.0 if is_fitted_as_signed_value(track) else min_sigma)
    return get_or_fit(track, end_s, key, _fit_lines)


def _fit_lines(track: Track, end_s: float, window_s: float, min_sigma: float) -> tuple[Velocity, ...]:
    rows = find_window(track, end_s, window_s, MIN_LINE_EPOCHS)
    if rows is None:
        return ()
    if is_fitted_as_signed_value(track) and not track.digits:
        # The usual case. `list_components` would return the signed value alone.
        line = fit_velocity(track.times_s[rows], track.along[rows], track.along_sigma[rows])
        return () if line is None else (line,)
    lines = [component.fit_line(min_sigma) for component in list_components(track, rows)]
    return tuple([line for line in lines if line is not None])


def fit_lines_together(tracks: Sequence[Track], window_s: float) -> None:
    """Cache the fits of the newest window of tracks that share their epochs, for `fit_lines`.

    One fit of many stations is faster than one fit for each station. The results are the same.

    Args:
        tracks: Tracks that are fitted as a signed value, with epochs and without known digits.
    """
    cache_key = (window_s, 0.0, _fit_lines)
    groups: dict[tuple[float, ...], list[tuple[Track, slice]]] = {}
    for track in tracks:
        end_s = track.times_s[-1]
        if end_s in track.fits.get(cache_key, ()):
            continue
        rows = find_window(track, end_s, window_s, MIN_LINE_EPOCHS)
        if rows is None:
            continue
        sigmas = track.along_sigma[rows]
        has_equal_sigmas = sigmas.count(sigmas[0]) == len(sigmas)
        if has_equal_sigmas:
            groups.setdefault(track.times_s[rows], []).append((track, rows))
    for times_s, members in groups.items():
        if len(members) < MIN_JOINT_STATIONS:
            continue
        values = [track.along[rows] for track, rows in members]
        sigmas_of_members = [track.along_sigma[rows.start] for track, rows in members]
        lines = fit_velocities(times_s, values, sigmas_of_members)
        for (track, _), line in zip(members, lines, strict=True):
            fits = () if line is None else (line,)
            _store_fit(track.fits.setdefault(cache_key, {}), times_s[-1], fits)


def exceeds_bound(fits: Fits, bound: float, sign: float, min_sigma: float) -> bool:
    """Return whether a fit certainly exceeds a bound, whichever single epoch is left out.

    The change in the direction of the bound must be at least `min_sigma` standard errors. This does not apply to a
    bound on the other side of zero, for example a rate that must not rise above -1 mm/day.

    Args:
        sign: 1.0 for a bound that is crossed by larger values, -1.0 for one that is crossed by smaller values.
    """
    for fit in fits:
        least = fit.low if sign > 0 else -fit.high
        is_real = sign * bound < 0 or sign * fit.rate > min_sigma * fit.error
        if least > sign * bound and is_real:
            return True
    return False


def has_recovered(fits: Fits, sign: float, limit: float) -> bool:
    """Return whether every fit is below the recovery limit, whichever single epoch is left out.

    The rate plus one standard error must be below the limit as well. A negative rate does not make up for a large
    error: it counts as zero.

    Args:
        sign: As in `exceeds_bound`.
        limit: Recovery limit times the sign.
    """
    for fit in fits:
        rate = sign * fit.rate if limit <= 0.0 else max(0.0, sign * fit.rate)
        most = fit.high if sign > 0 else -fit.low
        if max(most, rate + fit.error) >= limit:
            return False
    return bool(fits)


def pick_fit(fits: Sequence[Fit], bound: float, sign: float, min_sigma: float) -> Fit | None:
    """Return the fit that exceeds the bound with the most certainty; None if there is no fit."""
    if len(fits) == 1:
        return fits[0]

    # Fits that exceed the bound come first. The second key is the smaller of two rates: the lowest rate with one epoch
    # left out, and the rate less `min_sigma` standard errors.
    def rank(fit: Any) -> tuple[bool, float]:
        least = fit.low if sign > 0 else -fit.high
        certain = sign * fit.rate - min_sigma * fit.error
        return exceeds_bound([fit], bound, sign, min_sigma), min(least, certain)

    return max(fits, key=rank, default=None)


def name_component(track: Track, fits: Sequence[Fit], picked: Fit | None) -> dict[str, str]:
    """Return the fact `way` that names the component of the picked fit; empty for the signed value and without a fit.

    Args:
        fits: Fits of one window, in the order of `list_components`.
    """
    for name, fit in zip(list_component_names(track), fits, strict=False):
        if fit is picked and name != "signed":
            return {"way": name}
    return {}


def make_fit_fact(
    threshold: Threshold, figure: str, fit: Velocity | Acceleration | None, hits: int, needs: int, *, recovered: bool
) -> dict[str, Any]:
    """Return the stored fact, JSON-ready, about a fit and the bound of one level.

    Args:
        figure: Key of the fitted value in the fact: `rate` or `acceleration`.
        fit: None if the window has too few epochs.
        hits: Epochs of the dwell that exceed the bound.
        needs: Epochs of the dwell that must exceed the bound.
        recovered: Whether the newest epochs are below the recovery limit.
    """
    bound, sign = find_bound(threshold)
    fact: dict[str, Any] = {
        "level": threshold.level,
        "bound": bound,
        "window_s": threshold.effective_window_s,
        "hits": hits,
        "needs": needs,
        "recovered": recovered,
    }
    if fit is not None:
        fact |= {
            figure: fit.rate,
            "error": fit.error,
            "low": fit.low,
            "high": fit.high,
            "n": fit.n,
            "mid_s": fit.mid_s,
            "margin": sign * (fit.rate - bound),
        }
    return fact


def can_be_opposite(track: Track, criterion: Criterion, bound: float) -> bool:
    """Return whether motion against the declared direction is a question for an operator.

    It is for the motion of a station with a declared direction. For other quantities (tilt, water) the author of the
    site file chose the side of the bound.
    """
    is_motion = criterion.kind.noise_steps or criterion.kind.velocity
    return is_motion and bound > 0.0 and track.unit_vector is not None and criterion.quantity.startswith(DISPLACEMENT)


def make_track_assessment(
    criterion: Criterion,
    track: Track,
    spec: SeriesSpec,
    context: DecisionContext,
    facts: list[dict[str, Any]],
    explain: FactExplainer,
    *,
    has_fit: bool,
    undecided: Mapping[int, Message],
) -> Assessment:
    """Return the assessment of a track from the facts about its bounds.

    Args:
        facts: Facts of `make_fit_fact`, one for each level.
        explain: Returns the reason, given the facts and the level that is raised.
        has_fit: Whether the newest window has a fit.
        undecided: Questions to an operator, by level.
    """
    newest_s = track.times_s[-1]
    raise_level, hold_level = find_levels(facts)
    return Assessment(
        criterion=criterion.id,
        station=track.station,
        raise_level=raise_level,
        hold_level=hold_level,
        has_data=has_fit,
        fresh=has_fit and context.is_fresh(newest_s, spec),
        newest_s=newest_s,
        reason=explain(criterion, spec, facts, raise_level),
        facts={"bounds": facts, "quantity": track.quantity, "epochs": len(track.times_s)},
        measure=partial(measure_motion, track, criterion) if has_fit else measure_nothing,
        undecided=undecided,
    )


def measure_motion(track: Track, criterion: Criterion) -> Measured:
    """Return the rate of each component in the window of the lowest bound, and the error of the whole motion.

    The error is the square root of the sum of the squared errors of the components.
    """
    key = (criterion.thresholds[0].effective_window_s,)
    return get_or_fit(track, track.times_s[-1], key, _fit_components)


def _fit_components(track: Track, end_s: float, window_s: float) -> Measured:
    start = bisect_right(track.times_s, end_s - window_s)
    values = list(zip(*track.values[start:], strict=True))
    sigmas = list(zip(*track.sigmas[start:], strict=True))
    rates = fit_rates(track.times_s[start:], values, sigmas)
    if rates is None:
        return None, 0.0
    return tuple(rate for rate, _ in rates), sqrt(fsum(error * error for _, error in rates))
