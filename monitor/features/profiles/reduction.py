"""Displacement by depth from what instruments in a borehole read, its rate, and the depth of slip.

Both faces of a probe are averaged: that takes its bias away, and their sum, the checksum, shows what it leaves (Machan
and Bennett 2008, TRB E-C129). A bias that shifts during a survey tilts the whole profile: what the stable length shows
of it is taken off (Mikkelsen 2003). Grooves that spiral are turned back by their azimuth at each depth (Dunnicliff
1993). Slip is where the rate steps most between neighbours (Stark and Choi 2008), beyond the noise of the profile.
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
    DEPTHS,
    DISPLACEMENT,
    FACES,
    OF_STATE,
    SLIP_RATE,
    DerivedValue,
    Profile,
    list_names,
)

DAY_S: Final = 86400.0
LEAST: Final = 8  # steps: of fewer the noise is not known
CHANCE: Final = 0.01  # of a profile at rest to show a slip
PLACES: Final = 4  # decimals of what is stored
SAME_MM: Final = 1e-6  # a smaller difference comes from rounding
CENTRAL, OF_CENTRAL = 0.8, 0.6616  # share of depths that make the noise, and their rms in standard deviations
EXCHANGED: Final = 5.0  # so many times nearer to the zero reading is a survey whose columns were exchanged
NAMED: Final = 5  # missing depths that a message names
UNEVEN: Final = 2e-3  # scatter of checksums by length: that of a probe in order is a tenth
_NO_MOTION: Final = Template("profile.no_motion", "what it reads is no displacement")
_NO_RATE: Final = Template("profile.no_rate", "no second reading within {window}")
_FEW: Final = Template("profile.few", "{count} of {least} steps that are needed to know its noise")
_AT_REST: Final = Template("profile.at_rest", "the largest step, {rate} at {depth}, lies within its noise of {sigma}")
_UNREAD: Final = Template(
    "profile.unread",
    "no usable reading of {count} of {total} depths ({depths}): slip there is unknown; read them again, or remove "
    "depths that are lost from the [[profile]]",
)
_CHECKSUM: Final = Template("profile.checksum", "the checksum at {depth} changed by {change}: read it again")
_EXCHANGED: Final = Template(
    "profile.exchanged",
    "{axis} reads as {other} does in the zero reading: faces or columns are exchanged in one of the two",
)
_UNEVEN: Final = Template(
    "profile.uneven",
    "checksums of {axis} scatter by {size} over the depths, in it or in the zero reading: are columns exchanged or "
    "signs turned?",
)
Array: TypeAlias = NDArray[np.float64]  # the last axis by depth; nan where nothing usable came


class Survey(NamedTuple):
    """All depths at about one instant, in mm: steps and checksums by axis, and what was read by face."""

    at_s: float
    steps: Array
    checksums: Array
    faces: Array
    fault: Message | None = None  # why it counts for nothing


class Slip(NamedTuple):
    """The depth of slip; None throughout, with the reason, where none is real."""

    depth_m: float | None
    low_m: float | None
    high_m: float | None
    displacement_mm: float | None  # across it, since the zero reading
    rate_mm_per_day: float | None  # across it; 0 if the largest step is noise, None if it is unknown
    sigma_mm_per_day: float | None
    reason: Message | None
    # the largest rate of the depths that were read, where others are missing: the true one may be larger
    known_rate_mm_per_day: float | None = None


def read_survey(profile: Profile, at_s: float, values: Mapping[str, float]) -> Survey:
    """What was read at each depth, in mm across its length; of an extensometer from its neighbour at the fixed end.

    `values`: by quantity in the unit of the profile, nan or none where nothing usable came.
    """
    by_face = np.array([values.get(name, nan) for name in list_names(profile)])
    steps = read = _find_mm(profile, by_face.reshape(len(profile.faces), len(profile.depths_m)))
    checksums = np.full_like(read, np.nan)
    if profile.is_paired:
        steps, checksums = (read[::2] - read[1::2]) / 2.0, read[::2] + read[1::2]
    if profile.kind == "extensometer":
        places, steps = [*profile.outwards], np.full_like(read, np.nan)
        steps[:, places[1:]] = np.diff(read[:, places])
    return Survey(at_s, steps, checksums, read)


def _find_mm(profile: Profile, read: Array) -> Array:
    lengths_mm, canonical = 1000.0 * np.array(profile.lengths_m), UNITS.get(profile.unit, (profile.unit,))[0]
    if profile.kind in OF_STATE:
        return read
    if profile.constant:
        return lengths_mm * read / profile.constant
    if canonical == "mrad":
        return lengths_mm * np.sin(read * convert(1.0, profile.unit, "mrad") / 1000.0)
    if canonical == "microstrain":
        return lengths_mm * read * convert(1.0, profile.unit, "microstrain") * 1e-6
    return read * convert(1.0, profile.unit, "mm")


def subtract_zero(profile: Profile, survey: Survey, zero: Survey) -> Survey:
    """The change since the zero reading, freed of the shift of bias that the stable length shows, and of the spiral."""
    steps, checksums = survey.steps - zero.steps, survey.checksums - zero.checksums
    fault = next(_find_faults(profile, survey, zero), None)
    if fault is not None:
        steps = np.full_like(steps, np.nan)
    if profile.stable_m is not None:
        depths_m, lengths_m = np.array(profile.depths_m), np.array(profile.lengths_m)
        is_stable = (depths_m >= profile.stable_m[0]) & (depths_m <= profile.stable_m[1])
        totals_m = np.sum(lengths_m * (is_stable & ~np.isnan(steps)), axis=1)
        bias = np.nansum(np.where(is_stable, steps, 0.0), axis=1) / np.where(totals_m, totals_m, inf)
        steps = steps - bias[:, None] * lengths_m
    if profile.twist_deg:  # B lies 90 deg clockwise of A
        turn = np.radians(np.interp(profile.depths_m, *np.transpose(profile.twist_deg)))
        a, b = steps
        steps = np.array([a * np.cos(turn) - b * np.sin(turn), a * np.sin(turn) + b * np.cos(turn)])
    return Survey(survey.at_s, steps, checksums, survey.faces, fault)


def _find_faults(profile: Profile, survey: Survey, zero: Survey) -> Iterator[Message]:
    """Why a survey does not go with the zero reading: a casing leans as it did, and its checksums are even."""
    if len(FACES[profile.kind]) < 2:
        return
    is_known = ~np.isnan([survey.steps, zero.steps]).any((0, 1))
    if is_known.sum() < LEAST:
        return
    now, first = survey.steps[:, is_known], zero.steps[:, is_known]
    if profile.is_paired:
        even_mm = UNEVEN * 1000.0 * np.median(profile.lengths_m)
        for one in (survey, zero):
            sums, steps = (_find_scatter(column[:, is_known]) for column in (one.checksums, one.steps))
            # noise alone makes sums scatter twice as much as steps; columns of two axes as much as a casing leans
            wrong = (sums > np.maximum(steps, even_mm)) | (sums > np.maximum(8.0 * steps, even_mm / 10.0))
            if wrong.any():
                yield _UNEVEN(axis="AB"[int(np.argmax(wrong))], size=Figure(float(1.48 * sums[wrong][0]), ".2g", "mm"))
    axes = range(profile.axes)
    off = {
        (order, signs): sum(float(np.median(np.abs(now[i] - signs[i] * first[order[i]]))) for i in axes)
        for order in permutations(axes)
        for signs in product((1, -1), repeat=profile.axes)
    }
    as_is, best = next(iter(off)), min(off, key=off.__getitem__)
    if off[as_is] > EXCHANGED * off[best] + SAME_MM:
        axis = next(i for i in axes if (best[0][i], best[1][i]) != (i, 1))
        yield _EXCHANGED(axis="AB"[axis], other="-" * (best[1][axis] < 0) + "AB"[best[0][axis]])


def _find_scatter(columns: Array) -> Array:
    return np.median(np.abs(columns - np.median(columns, axis=1)[:, None]), axis=1)


def accumulate(profile: Profile, column: Array) -> Array:
    """The sum of steps from the fixed end to each depth; nan beyond a depth that is missing."""
    places, found = [*profile.outwards], column.copy()
    if profile.kind == "extensometer":
        found[places[0]] = 0.0
    found[places] = np.cumsum(found[places])
    return found


def fit_slopes(surveys: Sequence[Survey]) -> Array:
    """Return by axis and depth the slope of a line through the steps of surveys, in mm/day.

    It is NaN where fewer than two surveys read a depth.
    """
    steps, at_day = np.array([one.steps for one in surveys]), np.array([one.at_s / DAY_S for one in surveys])
    is_known = ~np.isnan(steps)
    at_day = np.where(is_known, at_day[:, None, None], 0.0)
    off = np.where(is_known, at_day - at_day.sum(0) / np.maximum(is_known.sum(0), 1), 0.0)
    spread = (off**2).sum(0)
    slopes: Array = np.nansum(off * steps, axis=0) / np.where(spread, spread, np.nan)
    return slopes


def _drop_unread(newest: Survey, slopes: Array) -> Array:
    """Leave out the slopes of depths that the newest survey lacks."""
    return np.where(np.isnan(newest.steps), np.nan, slopes)


def compute_noise(column: Array, least: float = 0.0) -> tuple[float, float]:
    """The middle of values and their standard deviation, at least `least`; inf where unknown.

    It is that of the central ones: a few that differ are no part of it, and it sees rounding where most are equal.
    """
    known = column[~np.isnan(column)]
    if len(known) < LEAST:
        return 0.0, inf
    middle = float(np.median(known))
    off = np.sort(np.abs(known - middle))[: int(np.ceil(CENTRAL * len(known)))]
    return middle, max(float(np.sqrt(np.mean(off**2))) / OF_CENTRAL, least)


def _find_rounding(profile: Profile, surveys: Sequence[Survey], axis: int) -> float:
    """The standard deviation of a rate of which one last digit of the readings is all the noise; inf: none changes."""
    count = 1 + profile.is_paired
    sizes = np.abs(np.diff([one.faces[axis * count : (axis + 1) * count] for one in surveys], axis=0))
    digit = float(np.min(sizes, initial=inf, where=sizes > SAME_MM))
    spread = np.var([one.at_s / DAY_S for one in surveys]) * len(surveys)
    shares = 24.0 if profile.is_paired else 6.0 if profile.kind == "extensometer" else 12.0
    return digit / sqrt(shares * spread)


def find_slip(profile: Profile, surveys: Sequence[Survey], slopes: Array | None = None) -> Slip:
    """The depth of slip by surveys since the zero reading, the newest last; `slopes`: what `fit_slopes` gives for them.

    A step is real beyond what the largest of as many of pure noise reaches once in a hundred profiles; the noise is
    that of all depths. Slip reaches over neighbours that are real as well, and over all as large within the noise.
    """
    if profile.kind in OF_STATE:
        return _reject(_NO_MOTION())
    if (fault := surveys[-1].fault) is not None:
        return _reject(fault)
    slopes = fit_slopes(surveys) if slopes is None else slopes
    rates = _drop_unread(surveys[-1], slopes)
    if np.isnan(rates).all():
        return _reject(_NO_RATE(window=Duration(profile.window_s)))
    is_known: NDArray[np.bool_] = np.logical_not(np.isnan(rates).any(axis=0))
    missing = _list_missing(profile, is_known)
    count = int(is_known.sum())
    if count < LEAST:
        few = _reject(_FEW(count=count, least=LEAST))
        known_rate = float(np.nanmax(np.hypot.reduce(np.where(is_known, rates, 0.0))))
        return few._replace(known_rate_mm_per_day=known_rate) if missing else few
    noise = [compute_noise(column, _find_rounding(profile, surveys, axis)) for axis, column in enumerate(rates)]
    middles, sigmas = np.array(noise).T[:, :, None]
    fitted_rates = np.hypot.reduce(slopes - middles)
    sizes = np.hypot.reduce((slopes - middles) / sigmas)  # in standard deviations
    peak = int(np.argmax(np.where(is_known, sizes, -1.0)))
    sigma = float(np.max(sigmas, initial=0.0, where=sigmas < inf))  # depths that all read alike show none
    low, high = profile.bounds_m(peak)
    depth = Figure(round((low + high) / 2.0, 3), "g", "m")
    rate = float(np.hypot.reduce((rates - middles)[:, peak]))
    # the noise is itself estimated, from few depths the less well: 8 by drawn profiles of 8 to 120 depths
    bound = sqrt(-2.0 * log(CHANCE / count)) * (1.0 + 8.0 / count)
    unread = _describe_missing(profile, missing)
    if sizes[peak] <= bound:
        if missing:  # the depths that were read are at rest; nothing is known of the others
            return _reject(unread)._replace(known_rate_mm_per_day=rate)
        why = _AT_REST(rate=Figure(rate, ".2g", "mm/day"), depth=depth, sigma=Figure(sigma, ".2g", "mm/day"))
        return Slip(None, None, None, None, 0.0, sigma, why)
    span_day = (surveys[-1].at_s - surveys[0].at_s) / DAY_S
    change = _find_checksum_change(surveys, peak)
    if abs(change) >= rate * span_day > 0.0:  # one face alone differs: it moves the checksum twice as much as the step
        return _reject(_CHECKSUM(depth=depth, change=Figure(change, ".2g", "mm")))
    is_real = is_known & (sizes > bound)
    beyond = [i for i in range(len(sizes)) if not is_real[i]]
    run = range(
        max((i + 1 for i in beyond if i < peak), default=0), min((i for i in beyond if i > peak), default=len(sizes))
    )
    near = np.flatnonzero(is_real & (sizes > sizes[peak] - sqrt(8.0)))
    edges = [edge for i in {*run, *near} for edge in profile.bounds_m(int(i))]
    weights = sizes[run]
    slip_rate = float(np.hypot.reduce((rates - middles)[:, run].sum(1)))
    # A depth that slipped faster before and was not read now may still do so: the slip elsewhere says too little.
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
    """List the places of declared depths without a rate; the fixed anchor of an extensometer never has one."""
    expected = profile.outwards[1:] if profile.kind == "extensometer" else profile.outwards
    return sorted(place for place in expected if not is_known[place])


def _describe_missing(profile: Profile, missing: Sequence[int]) -> Message:
    named = [f"{profile.depths_m[place]:g} m" for place in missing[:NAMED]]
    depths = NameList((*named, "...") if len(missing) > NAMED else tuple(named))
    return _UNREAD(count=len(missing), total=len(profile.depths_m), depths=depths)


def _reject(reason: Message) -> Slip:
    return Slip(None, None, None, None, None, None, reason)


def _find_checksum_change(surveys: Sequence[Survey], place: int) -> float:
    """How much more than that of other depths a checksum differs from the first survey, mm; that of the worse axis."""
    changes = surveys[-1].checksums - surveys[0].checksums
    each = [float(column[place] - np.nanmedian(column)) for column in changes if not np.isnan(column[place])]
    return max(each, key=abs, default=0.0)


def list_parts(profile: Profile, surveys: Sequence[Survey], zero: Survey) -> Iterator[DerivedValue]:
    """What follows from the newest of surveys."""
    newest, slopes = surveys[-1], fit_slopes(surveys)
    slip = find_slip(profile, surveys, slopes)
    is_state = profile.kind in OF_STATE
    nothing = np.full(len(profile.depths_m), nan)
    both = [*newest.steps, nothing][:2] + [*_drop_unread(newest, slopes), nothing][:2]
    columns = [nothing if is_state else accumulate(profile, one) for one in both]
    values = [newest.faces[0], newest.faces[0] - zero.faces[0]] if is_state else [nothing, nothing]
    table = zip(profile.depths_m, *columns, newest.checksums[0], *values, strict=True)
    extra = {"rows": [[_round(one) for one in row] for row in table], "slip": [_write_slip(slip)]}
    count = int((~np.isnan(newest.faces[: 1 + profile.is_paired])).all(0).sum())
    yield DerivedValue(DEPTHS, float(count), None, canonical_json(extra))
    if is_state:
        return
    ends = [column[profile.outwards[-1]] for column in columns[: profile.axes]]
    moved = ends[0] if profile.axes == 1 else hypot(*ends)
    noise = max(compute_noise(column)[1] for column in newest.steps) * sqrt(count)
    yield DerivedValue(DISPLACEMENT, _round(moved), _round(noise) if 0.0 < noise < 1e6 else None)
    if slip.known_rate_mm_per_day is not None:
        yield DerivedValue(SLIP_RATE, _round(slip.known_rate_mm_per_day), flags=(INCOMPLETE,))
    else:
        yield DerivedValue(SLIP_RATE, _round(slip.rate_mm_per_day), _round(slip.sigma_mm_per_day) or None)


def _round(value: float | None) -> float | None:
    return None if value is None or isnan(value) else round(float(value), PLACES) + 0.0


def _write_slip(slip: Slip) -> list[Any]:
    """As the view reads it: the numbers, then text, id and values of the reason."""
    reason, template_id, values = message_columns("reason", slip.reason).values()
    numbers = [_round(one) for one in slip[:6]]
    return [*numbers, reason, template_id, None if values is None else canonical_json(values)]
