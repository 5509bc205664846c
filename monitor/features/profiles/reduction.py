"""Compute displacement, rate and the depth of slip from the readings of an instrument in a borehole.

A *step* is the displacement of the end of one measured interval against its other end, which is nearer to the fixed end
of the profile. The displacement at a depth is the sum of the steps from the fixed end to this depth.

* The two faces of a probe are averaged, which removes the bias of the probe. Their sum, the checksum, shows errors that
  the average does not remove (Machan and Bennett 2008, TRB E-C129).
* A bias that shifts during a survey tilts the whole profile. The mean step of the depths in `stable_m`, which do not
  move, is subtracted (Mikkelsen 2003).
* Steps of a casing whose grooves spiral are rotated by the azimuth of the groove at each depth (Dunnicliff 1993).
* The depth of slip is the interval with the largest rate, if this rate exceeds the noise of the profile (Stark and Choi
  2008).
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import permutations, product
from math import hypot, inf, isnan, log, nan, sqrt
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from monitor.api.readings import INCOMPLETE
from monitor.api.sites import UNITS, convert
from monitor.api.text import Duration, Figure, Message, NameList, Template, canonical_json, message_columns
from monitor.features.profiles.declare import (
    DEPTH_COUNT,
    DISPLACEMENT,
    FACES,
    SLIP_RATE,
    STATE_KINDS,
    DerivedValue,
    Profile,
    list_quantities,
)

DAY_S: Final = 86400.0
MIN_STEPS: Final = 8  # with fewer steps the noise cannot be estimated
FALSE_SLIP_PROBABILITY: Final = 0.01  # that a profile at rest shows a slip
DECIMALS: Final = 4  # of stored values
SAME_MM: Final = 1e-6  # smaller differences come from rounding
# The noise is estimated from this share of the values, those nearest to the median. The root mean square of this part
# of a normal distribution is 0.6616 standard deviations.
CENTRAL_SHARE: Final = 0.8
CENTRAL_RMS: Final = 0.6616
# Columns were exchanged if the survey with exchanged columns is so many times nearer to the zero reading.
EXCHANGE_RATIO: Final = 5.0
MAX_NAMED_DEPTHS: Final = 5  # missing depths that a message names
# Largest scatter of the checksums of a probe, as a share of the length. Probes in order have a tenth of it.
MAX_CHECKSUM_SCATTER: Final = 2e-3
_NO_MOTION: Final = Template("profile.no_motion", "this instrument does not measure displacement")
_NO_RATE: Final = Template("profile.no_rate", "only one reading within {window}")
_FEW: Final = Template("profile.few", "{count} usable steps, {least} are needed to estimate the noise")
_AT_REST: Final = Template("profile.at_rest", "the largest rate, {rate} at {depth}, is within the noise of {sigma}")
_UNREAD: Final = Template(
    "profile.unread",
    "no usable reading of {count} of {total} depths ({depths}): slip there is unknown; read them again, or remove "
    "depths that are lost from the [[profile]]",
)
_CHECKSUM: Final = Template("profile.checksum", "the checksum at {depth} changed by {change}: read this depth again")
_EXCHANGED: Final = Template(
    "profile.exchanged",
    "{axis} equals {other} of the zero reading: faces or columns are exchanged in this survey or in the zero reading",
)
_UNEVEN: Final = Template(
    "profile.uneven",
    "checksums of {axis} scatter by {size} over the depths, in this survey or in the zero reading: check whether "
    "columns are exchanged or signs are wrong",
)
Array: TypeAlias = NDArray[np.float64]  # the last axis is the depth; NaN without a usable reading


class Survey(NamedTuple):
    """The readings of all depths at about one instant, in mm, or in the unit of the profile for `STATE_KINDS`."""

    at_s: float
    steps: Array  # by axis
    checksums: Array  # by axis; NaN except for a probe
    faces: Array  # readings, by face
    fault: Message | None = None  # why the survey cannot be used


class Slip(NamedTuple):
    """The depth of slip. Without a slip the depths are None, and `reason` explains it."""

    depth_m: float | None
    low_m: float | None
    high_m: float | None
    displacement_mm: float | None  # across the zone of slip, since the zero reading
    # Across the zone of slip; 0 if the largest rate is within the noise, None if it is unknown.
    rate_mm_per_day: float | None
    sigma_mm_per_day: float | None
    reason: Message | None
    # If depths are missing: the largest rate of the others. The true rate may be larger.
    known_rate_mm_per_day: float | None = None


def read_survey(profile: Profile, at_s: float, values: Mapping[str, float]) -> Survey:
    """Return a survey with its readings converted to steps.

    Args:
        profile: The profile.
        at_s: Instant of the survey, Unix time.
        values: Readings by quantity in the unit of the profile. Readings that are missing or NaN are unusable.
    """
    by_face = np.array([values.get(name, nan) for name in list_quantities(profile)])
    readings = _convert_readings(profile, by_face.reshape(len(profile.faces), len(profile.depths_m)))
    steps = readings
    checksums = np.full_like(readings, np.nan)
    if profile.is_paired:
        steps = (readings[::2] - readings[1::2]) / 2.0
        checksums = readings[::2] + readings[1::2]
    if profile.kind == "extensometer":
        # Each anchor is read against the head. The step is the difference to the neighbour at the fixed end.
        places = [*profile.places_from_fixed_end]
        steps = np.full_like(readings, np.nan)
        steps[:, places[1:]] = np.diff(readings[:, places])
    return Survey(at_s, steps, checksums, readings)


def _convert_readings(profile: Profile, readings: Array) -> Array:
    """Return readings (face, depth) in mm; those of `STATE_KINDS` stay in the unit of the profile."""
    lengths_mm = 1000.0 * np.array(profile.lengths_m)
    canonical_unit = UNITS.get(profile.unit, (profile.unit,))[0]
    if profile.kind in STATE_KINDS:
        return readings
    if profile.constant:
        return lengths_mm * readings / profile.constant
    if canonical_unit == "mrad":
        return lengths_mm * np.sin(readings * convert(1.0, profile.unit, "mrad") / 1000.0)
    if canonical_unit == "microstrain":
        return lengths_mm * readings * convert(1.0, profile.unit, "microstrain") * 1e-6
    return readings * convert(1.0, profile.unit, "mm")


def subtract_zero(profile: Profile, survey: Survey, zero: Survey) -> Survey:
    """Return the change of a survey since the zero reading.

    The bias that the stable depths show and the spiral of the casing are corrected. If the survey does not fit the zero
    reading, its steps are NaN and `fault` contains the reason.
    """
    steps = survey.steps - zero.steps
    checksums = survey.checksums - zero.checksums
    fault = next(_find_faults(profile, survey, zero), None)
    if fault is not None:
        steps = np.full_like(steps, np.nan)
    if profile.stable_m is not None:
        depths_m = np.array(profile.depths_m)
        lengths_m = np.array(profile.lengths_m)
        is_stable = (depths_m >= profile.stable_m[0]) & (depths_m <= profile.stable_m[1])
        totals_m = np.sum(lengths_m * (is_stable & ~np.isnan(steps)), axis=1)
        bias = np.nansum(np.where(is_stable, steps, 0.0), axis=1) / np.where(totals_m, totals_m, inf)
        steps = steps - bias[:, None] * lengths_m
    if profile.twist_deg:
        # Axis B is 90 deg clockwise of axis A.
        turn = np.radians(np.interp(profile.depths_m, *np.transpose(profile.twist_deg)))
        a, b = steps
        steps = np.array([a * np.cos(turn) - b * np.sin(turn), a * np.sin(turn) + b * np.cos(turn)])
    return Survey(survey.at_s, steps, checksums, survey.faces, fault)


def _find_faults(profile: Profile, survey: Survey, zero: Survey) -> Iterator[Message]:
    """Yield reasons why a survey does not fit the zero reading.

    The inclination of a casing hardly changes, and the checksums of a probe are nearly the same at all depths. If not,
    columns or signs are wrong.
    """
    if len(FACES[profile.kind]) < 2:
        return
    is_known = ~np.isnan([survey.steps, zero.steps]).any((0, 1))
    if is_known.sum() < MIN_STEPS:
        return
    now, first = survey.steps[:, is_known], zero.steps[:, is_known]
    if profile.is_paired:
        limit_mm = MAX_CHECKSUM_SCATTER * 1000.0 * np.median(profile.lengths_m)
        for tested in (survey, zero):
            sums = _find_scatter(tested.checksums[:, is_known])
            steps = _find_scatter(tested.steps[:, is_known])
            # With noise alone the checksums scatter twice as much as the steps. If columns of both axes are mixed, they
            # scatter as much as the inclination of the casing.
            is_wrong = (sums > np.maximum(steps, limit_mm)) | (sums > np.maximum(8.0 * steps, limit_mm / 10.0))
            if is_wrong.any():
                yield _UNEVEN(
                    axis="AB"[int(np.argmax(is_wrong))], size=Figure(float(1.48 * sums[is_wrong][0]), ".2g", "mm")
                )
    axes = range(profile.axes)
    # Median difference to the zero reading for each order and sign of the columns, the declared one first.
    differences = {
        (order, signs): sum(float(np.median(np.abs(now[i] - signs[i] * first[order[i]]))) for i in axes)
        for order in permutations(axes)
        for signs in product((1, -1), repeat=profile.axes)
    }
    declared = next(iter(differences))
    best = min(differences, key=differences.__getitem__)
    if differences[declared] > EXCHANGE_RATIO * differences[best] + SAME_MM:
        order, signs = best
        axis = next(i for i in axes if (order[i], signs[i]) != (i, 1))
        sign = "-" if signs[axis] < 0 else ""
        yield _EXCHANGED(axis="AB"[axis], other=f"{sign}{'AB'[order[axis]]}")


def _find_scatter(columns: Array) -> Array:
    """Return the median absolute deviation of each row."""
    return np.median(np.abs(columns - np.median(columns, axis=1)[:, None]), axis=1)


def accumulate(profile: Profile, column: Array) -> Array:
    """Return the sum of the steps of one axis from the fixed end to each depth; NaN beyond a missing depth."""
    places = [*profile.places_from_fixed_end]
    sums = column.copy()
    if profile.kind == "extensometer":
        sums[places[0]] = 0.0
    sums[places] = np.cumsum(sums[places])
    return sums


def fit_slopes(surveys: Sequence[Survey]) -> Array:
    """Return the rate of each step in mm/day, by axis and depth: the slope of a line through the surveys.

    A depth that fewer than two surveys contain has NaN.
    """
    steps = np.array([survey.steps for survey in surveys])
    at_day = np.array([survey.at_s / DAY_S for survey in surveys])
    is_known = ~np.isnan(steps)
    at_day = np.where(is_known, at_day[:, None, None], 0.0)
    deviations = np.where(is_known, at_day - at_day.sum(0) / np.maximum(is_known.sum(0), 1), 0.0)
    squares = (deviations**2).sum(0)
    slopes: Array = np.nansum(deviations * steps, axis=0) / np.where(squares, squares, np.nan)
    return slopes


def _drop_unread(newest: Survey, slopes: Array) -> Array:
    """Return the slopes with NaN for depths that the newest survey does not contain."""
    return np.where(np.isnan(newest.steps), np.nan, slopes)


def compute_noise(column: Array, least: float = 0.0) -> tuple[float, float]:
    """Return the median of the values and their standard deviation.

    The standard deviation is estimated from the values nearest to the median. Values far from it do not change it, and
    it is not zero if most values are equal because of rounding.

    Args:
        column: Values; NaN is ignored.
        least: Smallest standard deviation to return.

    Returns:
        Median and standard deviation; (0, infinity) if there are too few values.
    """
    known = column[~np.isnan(column)]
    if len(known) < MIN_STEPS:
        return 0.0, inf
    median = float(np.median(known))
    central = np.sort(np.abs(known - median))[: int(np.ceil(CENTRAL_SHARE * len(known)))]
    return median, max(float(np.sqrt(np.mean(central**2))) / CENTRAL_RMS, least)


def _compute_rounding_noise(profile: Profile, surveys: Sequence[Survey], axis: int) -> float:
    """Return the standard deviation of a rate in mm/day if rounding of the readings is the only noise.

    It is infinite if no reading changes.
    """
    count = 1 + profile.is_paired
    differences = np.abs(np.diff([survey.faces[axis * count : (axis + 1) * count] for survey in surveys], axis=0))
    digit_mm = float(np.min(differences, initial=inf, where=differences > SAME_MM))
    squares = np.var([survey.at_s / DAY_S for survey in surveys]) * len(surveys)
    # The variance of a rounded reading is a twelfth of the square of its last digit. The step of a probe is half the
    # difference of two readings, that of an extensometer the difference of two.
    divisor = 12.0
    if profile.is_paired:
        divisor = 24.0
    elif profile.kind == "extensometer":
        divisor = 6.0
    return digit_mm / sqrt(divisor * squares)


def find_slip(profile: Profile, surveys: Sequence[Survey], slopes: Array | None = None) -> Slip:
    """Return the depth of slip.

    A rate is significant if it exceeds the largest rate that pure noise shows at any depth of a profile with a
    probability of `FALSE_SLIP_PROBABILITY`. The noise is estimated from all depths. The zone of slip consists of the
    depth with the largest rate, the significant depths next to it, and all depths whose rate differs from the largest
    one by no more than the noise.

    Args:
        profile: The profile.
        surveys: Changes since the zero reading, the newest last.
        slopes: Result of `fit_slopes` for these surveys, if the caller has it already.
    """
    if profile.kind in STATE_KINDS:
        return _reject(_NO_MOTION())
    fault = surveys[-1].fault
    if fault is not None:
        return _reject(fault)
    slopes = fit_slopes(surveys) if slopes is None else slopes
    rates = _drop_unread(surveys[-1], slopes)
    if np.isnan(rates).all():
        return _reject(_NO_RATE(window=Duration(profile.window_s)))
    is_known: NDArray[np.bool_] = np.logical_not(np.isnan(rates).any(axis=0))
    missing = _list_missing(profile, is_known)
    count = int(is_known.sum())
    if count < MIN_STEPS:
        few = _reject(_FEW(count=count, least=MIN_STEPS))
        known_rate = float(np.nanmax(np.hypot.reduce(np.where(is_known, rates, 0.0))))
        return few._replace(known_rate_mm_per_day=known_rate) if missing else few
    noise = [
        compute_noise(column, _compute_rounding_noise(profile, surveys, axis)) for axis, column in enumerate(rates)
    ]
    medians, sigmas = np.array(noise).T[:, :, None]
    fitted_rates = np.hypot.reduce(slopes - medians)
    sizes = np.hypot.reduce((slopes - medians) / sigmas)  # in standard deviations
    peak = int(np.argmax(np.where(is_known, sizes, -1.0)))
    # The standard deviation of an axis whose readings never change is infinite: it shows no noise.
    sigma = float(np.max(sigmas, initial=0.0, where=sigmas < inf))
    low, high = profile.bounds_m(peak)
    depth = Figure(round((low + high) / 2.0, 3), "g", "m")
    rate = float(np.hypot.reduce((rates - medians)[:, peak]))
    # The noise is an estimate, and the fewer depths there are, the less precise it is. The factor 8 was found with
    # random profiles of 8 to 120 depths.
    bound = sqrt(-2.0 * log(FALSE_SLIP_PROBABILITY / count)) * (1.0 + 8.0 / count)
    unread = _describe_missing(profile, missing)
    if sizes[peak] <= bound:
        if missing:
            # The depths that were read are at rest. The motion of the others is unknown.
            return _reject(unread)._replace(known_rate_mm_per_day=rate)
        why = _AT_REST(rate=Figure(rate, ".2g", "mm/day"), depth=depth, sigma=Figure(sigma, ".2g", "mm/day"))
        return Slip(None, None, None, None, 0.0, sigma, why)
    span_day = (surveys[-1].at_s - surveys[0].at_s) / DAY_S
    change = _find_checksum_change(surveys, peak)
    if abs(change) >= rate * span_day > 0.0:
        # An error of one face changes the checksum twice as much as the step.
        return _reject(_CHECKSUM(depth=depth, change=Figure(change, ".2g", "mm")))
    is_significant = is_known & (sizes > bound)
    insignificant = [i for i in range(len(sizes)) if not is_significant[i]]
    start = max((i + 1 for i in insignificant if i < peak), default=0)
    end = min((i for i in insignificant if i > peak), default=len(sizes))
    run = range(start, end)
    similar = np.flatnonzero(is_significant & (sizes > sizes[peak] - sqrt(8.0)))
    edges = [edge for i in {*run, *similar} for edge in profile.bounds_m(int(i))]
    weights = sizes[run]
    slip_rate = float(np.hypot.reduce((rates - medians)[:, run].sum(1)))
    # A missing depth with a larger rate in earlier surveys may still have it. Then the slip found here is too small.
    slipped = [float(fitted_rates[i]) for i in missing if sizes[i] > bound]
    if max(slipped, default=0.0) > slip_rate:
        return _reject(unread)._replace(known_rate_mm_per_day=slip_rate)
    return Slip(
        float(np.average([sum(profile.bounds_m(i)) / 2.0 for i in run], weights=weights)),
        min(edges),
        max(edges),
        float(np.hypot.reduce(surveys[-1].steps[:, run].sum(1))),
        slip_rate,
        sigma * sqrt(len(run)),
        unread if missing else None,
    )


def _list_missing(profile: Profile, is_known: NDArray[np.bool_]) -> list[int]:
    """Return the places of declared depths without a rate. The fixed anchor of an extensometer never has one."""
    expected = profile.places_from_fixed_end[1:] if profile.kind == "extensometer" else profile.places_from_fixed_end
    return sorted(place for place in expected if not is_known[place])


def _describe_missing(profile: Profile, missing: Sequence[int]) -> Message:
    named = [f"{profile.depths_m[place]:g} m" for place in missing[:MAX_NAMED_DEPTHS]]
    depths = NameList((*named, "...") if len(missing) > MAX_NAMED_DEPTHS else tuple(named))
    return _UNREAD(count=len(missing), total=len(profile.depths_m), depths=depths)


def _reject(reason: Message) -> Slip:
    return Slip(None, None, None, None, None, None, reason)


def _find_checksum_change(surveys: Sequence[Survey], place: int) -> float:
    """Return the change of a checksum since the first survey in mm, relative to the median of all depths.

    With two axes it is the larger change.
    """
    changes = surveys[-1].checksums - surveys[0].checksums
    relative = [float(column[place] - np.nanmedian(column)) for column in changes if not np.isnan(column[place])]
    return max(relative, key=abs, default=0.0)


def list_parts(profile: Profile, surveys: Sequence[Survey], zero: Survey) -> Iterator[DerivedValue]:
    """Yield the values that are calculated from the newest of some surveys.

    Args:
        profile: The profile.
        surveys: Changes since the zero reading in the window of the rate, the newest last.
        zero: The zero reading.
    """
    newest = surveys[-1]
    slopes = fit_slopes(surveys)
    slip = find_slip(profile, surveys, slopes)
    is_state = profile.kind in STATE_KINDS
    nothing = np.full(len(profile.depths_m), nan)
    # Displacement and rate along A and B. The columns of an axis that the instrument does not have are empty.
    axis_columns = [*newest.steps, nothing][:2] + [*_drop_unread(newest, slopes), nothing][:2]
    columns = [nothing if is_state else accumulate(profile, column) for column in axis_columns]
    values = [newest.faces[0], newest.faces[0] - zero.faces[0]] if is_state else [nothing, nothing]
    table = zip(profile.depths_m, *columns, newest.checksums[0], *values, strict=True)
    extra = {"rows": [[_round(value) for value in row] for row in table], "slip": [_write_slip(slip)]}
    count = int((~np.isnan(newest.faces[: 1 + profile.is_paired])).all(0).sum())
    yield DerivedValue(DEPTH_COUNT, float(count), None, canonical_json(extra))
    if is_state:
        return
    ends = [column[profile.places_from_fixed_end[-1]] for column in columns[: profile.axes]]
    moved = ends[0] if profile.axes == 1 else hypot(*ends)
    noise = max(compute_noise(column)[1] for column in newest.steps) * sqrt(count)
    yield DerivedValue(DISPLACEMENT, _round(moved), _round(noise) if 0.0 < noise < 1e6 else None)
    if slip.known_rate_mm_per_day is not None:
        yield DerivedValue(SLIP_RATE, _round(slip.known_rate_mm_per_day), flags=(INCOMPLETE,))
    else:
        yield DerivedValue(SLIP_RATE, _round(slip.rate_mm_per_day), _round(slip.sigma_mm_per_day) or None)


def _round(value: float | None) -> float | None:
    return None if value is None or isnan(value) else round(float(value), DECIMALS) + 0.0


def _write_slip(slip: Slip) -> list[Any]:
    """Return a slip as the view `slip_depth` reads it: the numbers, then text, id and values of the reason."""
    reason, template_id, values = message_columns("reason", slip.reason).values()
    numbers = [_round(number) for number in slip[:6]]
    return [*numbers, reason, template_id, None if values is None else canonical_json(values)]
