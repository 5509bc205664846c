"""Compute which levels the criteria can raise by each series of a site, and the fastest motion that they miss.

`judge_series` does this for one series at one sampling interval, `list_judgements` for all series of a site at their
declared intervals. `slopeward check`, the evaluation, `slopeward status`, the page and the import of tables use the
results.

The figures hold for readings at even intervals with errors up to the declared `noise_floor`. With larger errors or
fewer readings, only faster motion is detected.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil, floor, inf, isinf, sqrt
from typing import TYPE_CHECKING, Final

from forecasting.kinematics.direction import add_noise
from monitor.decision.criteria.fits import MIN_LINE_EPOCHS, MIN_WINDOW_SHARE
from monitor.decision.criteria.kinds.survey_rate import MIN_SHARE_OF_INTERVAL, SURVEYS, find_longest_gap
from monitor.decision.criteria.kinds.tangential_angle import to_velocities
from monitor.decision.criteria.values import MIN_VALUE_EPOCHS
from monitor.decision.keys import VoteKey
from monitor.readings.cleaned.step_detector import STEP_SIGMAS
from monitor.readings.cleaned.tracks import find_verification_limit
from monitor.sites.parents import Place
from monitor.sites.quantities import GROUND_MOTION_PREFIXES, QUANTITIES, measures_motion
from monitor.sites.records import Criterion, SeriesSpec, Site, Station, Threshold, find_bound
from monitor.sites.witnesses import (
    BlockedLevels,
    list_voting_witnesses,
)
from monitor.text.message import Duration, Figure, Message, MessageList, NameList, Template, Term, join

if TYPE_CHECKING:
    from monitor.decision.prepared_site import PreparedSite

# If motion of this many times the bound cannot raise a level, the level counts as unreachable.
FAR_BEYOND_BOUND: Final = 10.0
# Number of series or stations that a sentence names.
_MAX_NAMES: Final = 3
# Relative rounding error of a quotient of two durations.
_ROUNDING: Final = 1e-9
_DAY_S: Final = 86400.0

_FEW: Final = Template(
    "reachable.few",
    "a reading is received every {every}, so the window of {window} contains {n} readings, and {least} are needed",
)
_DWELL: Final = Template(
    "reachable.dwell", "a reading is received every {every}, but the dwell needs {n} readings within {within}"
)
_NOISE: Final = Template(
    "reachable.noise",
    "noise_floor = {noise} causes a standard error of {error} in a window of {window}, so only values above {least} "
    "count, and the bound is {bound}",
)
_RANGE: Final = Template("reachable.range", "the values would leave their valid range, {low} to {high}, first")
_CANNOT: Final = Template("reachable.not", "{criterion} cannot raise {level} at {series}: {text}")
_LATE: Final = Template("reachable.late", "{criterion} raises {level} late at {series}: {text}")
_ABOVE: Final = Template("judgement.above", "{level} above {missed} (within {duration})")
_BELOW: Final = Template("judgement.below", "{level} below {missed} (within {duration})")
_JUDGED: Final = Template(
    "judgement.series", "{series}: by the most sensitive criterion in each direction {levels}; {ways}"
)
_JUDGED_WITHOUT_NOISE: Final = Template(
    "judgement.series_without_noise",
    "{series}: by the most sensitive criterion in each direction {levels}; noise may hide faster changes, because no "
    "noise_floor is declared; {ways}",
)
_RELATIVE: Final = Template(
    "judgement.relative",
    "{rules} can raise a level by {series}; the bounds are relative, so the slowest detected motion is unknown",
)
_WAYS: Final = Template("judgement.ways", "criteria that can raise a level: {rules}")
_JUMPS_ASKED: Final = Template("judgement.jumps", "and a jump that nobody explains")
_LIMITED: Final = Template("judgement.limited", "motion at {series} raises at most {level}")
_RAISES_NOTHING: Final = Template("judgement.nothing", "motion at {series} raises no level")


@dataclass(frozen=True, slots=True)
class Barrier:
    """The reason why motion just beyond a bound does not raise its level.

    Attributes:
        reason: The reason, for people.
        is_absolute: Whether motion of `FAR_BEYOND_BOUND` times the bound does not raise the level either. Otherwise
            the level is raised late.
    """

    reason: Message
    is_absolute: bool = True


# By vote and level.
Barriers = Mapping[VoteKey, Mapping[int, Barrier]]


@dataclass(frozen=True, slots=True)
class DetectionLimit:
    """The fastest motion that one criterion misses at one level.

    Attributes:
        level: Number of the level.
        is_upper: Whether rising values cross the bound. Falling values cross it otherwise.
        missed: The fastest steady motion that never raises the level, in `unit`. Faster steady motion in the direction
            of the bound raises the level within `decides_within_s`. This is a rate for velocities and rates, an
            acceleration for accelerations, and a value for criteria on values. At a station without a declared
            direction of movement, horizontal and vertical motion are assessed, and the figure holds for each of them.
            For `survey_rate` it holds for the horizontal speed; vertical motion beyond the bound raises the level.
            None if no motion raises the level, or if the bound is not on the motion of the series itself (rain, factor
            of safety, a rate that is compared with earlier years).
        bound: The bound in `unit`. None if `missed` is None.
        unit: Unit of `missed` and `bound`.
        error: Standard error of the quantity that is compared with the bound, in `unit`, as it follows from
            `noise_floor`. Measurement errors shift the limit by a few times this value in either direction.
        decides_within_s: Longest time, in seconds, from the start of motion just beyond `missed` to the reading that
            raises the level, if the series was read at this interval before. For criteria on values, the time starts
            when the value exceeds the bound. Faster motion is detected earlier. None if `missed` is None.
        window_s: Time over which a rate or an acceleration is measured, in seconds. Between two surveys it is the
            interval, or several intervals if these are shorter than half the declared interval. None for a bound on
            values, and if `missed` is None.
        longest_gap_s: Longest time between two readings, in seconds, over which their difference counts as a rate. A
            change during a longer gap does not raise the level. None for a bound on values, and if `missed` is None.
        is_between_readings: Whether the rate is the difference of two readings. Otherwise a line is fitted to several.
        is_any_direction: Whether motion in every direction counts, because the length of a vector or the size of the
            change between two readings is compared.
        least_readings: Number of readings after the start of the motion that a level needs, however fast the motion.
        missed_jump: The largest jump between two readings, at rest before and after it, that does not raise the level
            by itself, in the unit of the series. `inf` if no jump raises it; 0 for a bound on values.
        barrier: Why the level cannot be reached, or only by motion far beyond the bound. None if it can be reached.
    """

    level: int
    is_upper: bool = True
    missed: float | None = None
    bound: float | None = None
    unit: str = ""
    error: float = 0.0
    decides_within_s: float | None = None
    window_s: float | None = None
    longest_gap_s: float | None = None
    is_between_readings: bool = False
    is_any_direction: bool = False
    least_readings: int = 0
    missed_jump: float = 0.0
    barrier: Barrier | None = None

    @property
    def is_unreachable(self) -> bool:
        """Whether the level counts as unreachable."""
        return self.barrier is not None and self.barrier.is_absolute


@dataclass(frozen=True, slots=True)
class JudgingCriterion:
    """A criterion that reads a series.

    Attributes:
        kind: Name of the kind of criterion.
        has_vote: Whether the criterion can raise a level, by itself or as part of a fusion rule. Advice has no vote.
        limits: One for each level with a bound, the lowest level first.
        asks_from: Size of a jump between two readings above which an operator is asked for its cause, in the unit of
            the series. `inf` if the criterion opens no question about a jump.
    """

    id: str
    kind: str
    role: str
    has_vote: bool
    limits: tuple[DetectionLimit, ...]
    asks_from: float = inf


@dataclass(frozen=True, slots=True)
class SeriesJudgement:
    """The criteria that read one series, and the levels that they can raise, at one sampling interval.

    Attributes:
        interval_s: Time between two readings, in seconds. The figures hold for this interval.
        measures_motion: Whether the series measures motion of the slope: displacement and its components, cracks, tilt,
            strain and zones of velocity maps, at a station on the slope.
        is_exempt: Whether the series needs no criterion, because its station is on stable ground (`on_slope = false`,
            or the reference of a `[[relative]]`).
        read_by: The series that are calculated from this series, as `STATION.quantity`. Criteria on them count for
            this series too.
        criteria: All criteria that read the series, in the order of the site file.
        highest_level: The highest level that a vote on this series, or on a series in `read_by`, can request. The top
            level also needs `fusion.top_needs` independent witnesses.
    """

    station: str
    quantity: str
    unit: str
    interval_s: float
    measures_motion: bool
    is_exempt: bool
    read_by: tuple[str, ...]
    criteria: tuple[JudgingCriterion, ...]
    highest_level: int

    @property
    def name(self) -> str:
        """`STATION.quantity`."""
        return f"{self.station}.{self.quantity}"

    @property
    def is_judged(self) -> bool:
        """Whether the series can raise a level or needs no criterion."""
        return self.is_exempt or self.highest_level > 0

    @property
    def has_voter(self) -> bool:
        """Whether a criterion with a vote reads the series itself."""
        return any(criterion.has_vote for criterion in self.criteria)

    def list_limits(self, level: int) -> list[DetectionLimit]:
        """Return the most sensitive limit in each unit and direction by which motion can raise at least a level."""
        most_sensitive: dict[tuple[str, bool], DetectionLimit] = {}
        for criterion in self.criteria:
            if not criterion.has_vote:
                continue
            for limit in criterion.limits:
                if limit.level < level or limit.missed is None or limit.is_unreachable:
                    continue
                key = (limit.unit, limit.is_upper)
                if key not in most_sensitive or _get_missed_size(limit) < _get_missed_size(most_sensitive[key]):
                    most_sensitive[key] = limit
        return list(most_sensitive.values())


def _get_missed_size(limit: DetectionLimit) -> float:
    missed = limit.missed or 0.0
    return missed if limit.is_upper else -missed


# ---- one series ------------------------------------------------------------------------------------------------
def judge_series(prepared: "PreparedSite", spec: SeriesSpec, interval_s: float) -> SeriesJudgement:
    """Return which levels the criteria can raise by a series with a sampling interval.

    Args:
        prepared: The site.
        spec: The declared series.
        interval_s: Seconds between two readings. It may differ from the declared `spec.interval_s`.
    """
    place = (spec.station, spec.quantity)
    station = prepared.site.station(spec.station)
    voters = {criterion.id for criterion, _ in prepared.series_voters.get(place, ())}
    criteria: list[JudgingCriterion] = []
    unreachable: dict[tuple[str, str], frozenset[int]] = {}
    for criterion, witness in prepared.readers.get(place, ()):
        limits = () if station is None else find_limits(criterion, station, spec, interval_s)
        criteria.append(
            JudgingCriterion(
                id=criterion.id,
                kind=criterion.kind.id,
                role=criterion.role,
                has_vote=criterion.id in voters,
                limits=limits,
                asks_from=find_least_step(criterion, spec),
            )
        )
        unreachable[criterion.id, witness] = frozenset(limit.level for limit in limits if limit.is_unreachable)
    calculated = prepared.calculated_series.get(place, ())
    highest_levels = [find_highest_level(prepared, place, unreachable)]
    highest_levels += [find_highest_level(prepared, series, prepared.closed_levels) for series in calculated]
    is_on_slope = station is not None and station.on_slope
    return SeriesJudgement(
        station=spec.station,
        quantity=spec.quantity,
        unit=spec.unit,
        interval_s=interval_s,
        measures_motion=is_on_slope and measures_motion(spec.quantity),
        is_exempt=not is_on_slope,
        read_by=tuple(".".join(series) for series in calculated),
        criteria=tuple(criteria),
        highest_level=max(highest_levels),
    )


def find_limits(
    criterion: Criterion, station: Station, spec: SeriesSpec, interval_s: float
) -> tuple[DetectionLimit, ...]:
    """Return the detection limit of a criterion at each of its levels, for one series.

    While an earthquake lowers the bounds, the declared bounds are used: the limits then hold in any case.
    """
    thresholds = criterion.declared or criterion.thresholds
    kind = criterion.kind
    if kind.per is None or kind.relative or not kind.followed or kind.source != "instruments":
        return tuple(DetectionLimit(threshold.level) for threshold in thresholds)
    if kind.unit == "degrees":
        thresholds = to_velocities(thresholds, station.v_eq_mm_per_day or 0.0)
    has_direction = station.azimuth_deg is not None and criterion.direction != "norm"
    is_length = criterion.quantity == "displacement" and not has_direction
    limit = _limit_rate if kind.epochs else _limit_value
    return tuple(limit(criterion, threshold, spec, interval_s, is_length=is_length) for threshold in thresholds)


def _limit_value(
    criterion: Criterion, threshold: Threshold, spec: SeriesSpec, interval_s: float, *, is_length: bool
) -> DetectionLimit:
    """Return the limit of a bound on values: the bound itself, which enough readings must exceed.

    Args:
        is_length: Whether the value is the length of a vector without a declared direction. The length that noise
            alone causes is subtracted from it.
    """
    bound, sign = find_bound(threshold)
    unit = criterion.kind.unit_of(spec.unit)
    barrier = _find_range_barrier(spec, sign * bound, sign)
    if barrier is not None:
        return DetectionLimit(threshold.level, sign > 0.0, unit=unit, barrier=barrier)
    needed = max(criterion.dwell.hits, MIN_VALUE_EPOCHS)
    missed = add_noise(bound, spec.noise_floor, 0.0) if is_length and bound > 0.0 else bound
    return DetectionLimit(
        level=threshold.level,
        is_upper=sign > 0.0,
        missed=missed,
        bound=bound,
        unit=unit,
        error=spec.noise_floor,
        decides_within_s=needed * interval_s,
        least_readings=needed,
    )


def _limit_rate(
    criterion: Criterion, threshold: Threshold, spec: SeriesSpec, interval_s: float, *, is_length: bool
) -> DetectionLimit:
    """Return the limit of a bound on a rate or an acceleration that is fitted in a window.

    Motion just beyond the limit must fill the whole window before the fit exceeds the bound in `dwell.hits` readings.

    Args:
        is_length: Whether the rate is the length of a vector without a declared direction. The length that noise alone
            causes is subtracted from it, except for accelerations.
    """
    bound, sign = find_bound(threshold)
    min_epochs = criterion.kind.epochs
    is_between_readings = min_epochs == SURVEYS
    unit = criterion.kind.unit_of(spec.unit)
    window_s = threshold.effective_window_s
    every = Duration(interval_s)
    longest_gap_s = window_s
    # Time between two readings that are compared, or that follow each other in a fit.
    step_s = interval_s
    if is_between_readings:
        longest_gap_s = find_longest_gap(criterion)
        window_s = longest_gap_s
        step_s *= max(1, ceil(MIN_SHARE_OF_INTERVAL * spec.interval_s / interval_s - _ROUNDING))
    # The reading at the beginning of the window is not part of it.
    count = ceil(window_s / step_s - _ROUNDING)
    if is_between_readings and step_s <= window_s:
        count = SURVEYS
        window_s = step_s
    if count < min_epochs:
        reason = _FEW(every=every, window=Duration(window_s), n=count, least=min_epochs)
        return DetectionLimit(threshold.level, sign > 0.0, unit=unit, barrier=Barrier(reason))
    barrier = _find_range_barrier(spec, _compute_least_motion(bound, window_s, step_s, min_epochs), 0.0)
    if barrier is not None:
        return DetectionLimit(threshold.level, sign > 0.0, unit=unit, barrier=barrier)

    # `needed` is the motion that raises the level, multiplied by the sign of the bound.
    needed = sign * bound
    is_exceeded_by_motion = needed > 0.0
    fast_track = criterion.fast_track if is_exceeded_by_motion else None
    hits = criterion.dwell.hits
    dwell_s = criterion.dwell.within_s
    if dwell_s is not None and floor(dwell_s / interval_s + _ROUNDING) + 1 < hits:
        # Only motion beyond the fast track, which needs no dwell, can raise the level.
        reason = _DWELL(every=every, n=hits, within=Duration(dwell_s))
        if fast_track is None:
            return DetectionLimit(threshold.level, sign > 0.0, unit=unit, barrier=Barrier(reason))
        if fast_track > FAR_BEYOND_BOUND:
            barrier = Barrier(reason)
        needed *= fast_track
        hits = 1

    error = find_error(spec.noise_floor, count, step_s, min_epochs)
    significant = criterion.min_sigma * error
    if is_exceeded_by_motion:
        if significant > sign * bound and barrier is None:
            reason = _describe_noise(criterion, spec, window_s, significant, error, bound)
            barrier = Barrier(reason, is_absolute=significant > FAR_BEYOND_BOUND * abs(bound))
        needed = max(needed, significant)
    # With readings more often than declared, several of them are compared with the same reading before a jump.
    repeats = round(step_s / interval_s)
    missed_jump = _find_missed_jump(needed, count, step_s, min_epochs, ceil(hits / repeats))
    is_acceleration = min_epochs > MIN_LINE_EPOCHS
    if is_exceeded_by_motion and is_length and not is_acceleration:
        needed = add_noise(needed, error, criterion.min_sigma)
    filled_s = (count - 1) * step_s + interval_s
    if is_exceeded_by_motion and is_length and is_acceleration:
        # An acceleration counts only while the velocity exceeds its error too. The velocity needs time to grow.
        velocity_error = find_error(spec.noise_floor, count, interval_s, MIN_LINE_EPOCHS)
        velocity = add_noise(criterion.min_sigma * velocity_error, velocity_error, criterion.min_sigma)
        filled_s += velocity / needed * _DAY_S
    min_readings = hits
    if not is_between_readings:
        # A line must exceed its bound whichever single reading is left out, so one wrong reading is not enough.
        min_readings = 1 + (hits if fast_track is None else 1)
    return DetectionLimit(
        level=threshold.level,
        is_upper=sign > 0.0,
        missed=sign * needed,
        bound=bound,
        unit=unit,
        error=error,
        decides_within_s=filled_s + (hits - 1) * interval_s,
        window_s=window_s,
        longest_gap_s=longest_gap_s,
        is_between_readings=is_between_readings,
        is_any_direction=is_between_readings or is_length,
        least_readings=min_readings,
        missed_jump=missed_jump,
        barrier=barrier,
    )


def _find_missed_jump(rate_per_day: float, count: int, interval_s: float, min_epochs: int, hits: int) -> float:
    """Return the largest jump between two readings that does not reach a rate, in the unit of the series.

    The least-squares slope of readings that rest before and after a jump is largest if the jump lies in their middle.

    >>> _find_missed_jump(3.0, 4, 86400.0, MIN_LINE_EPOCHS, 1)
    7.5
    """
    interval_days = interval_s / _DAY_S
    if min_epochs == SURVEYS:
        return rate_per_day * interval_days if hits <= 1 else inf
    if min_epochs > MIN_LINE_EPOCHS or rate_per_day <= 0.0:
        return 0.0
    return rate_per_day * interval_days * (count * count - 1.0) / (1.5 * count)


def find_least_step(criterion: Criterion, spec: SeriesSpec) -> float:
    """Return the size of a jump above which a criterion opens a question to an operator; `inf` if it opens none.

    A jump must exceed the declared or derived limit, and five standard errors of the difference of two readings.
    """
    limit = find_verification_limit(spec, criterion) if criterion.kind.followed else None
    return inf if limit is None else max(limit, STEP_SIGMAS * sqrt(2.0) * spec.noise_floor)


def _compute_least_motion(bound: float, window_s: float, interval_s: float, min_epochs: int) -> float:
    """Return how far a series moves at its bound during the shortest record that is enough for the window."""
    days = max(MIN_WINDOW_SHARE * window_s, (min_epochs - 1) * interval_s) / _DAY_S
    if min_epochs <= MIN_LINE_EPOCHS:
        return abs(bound) * days
    return abs(bound) * (days * days / 2.0)


def _describe_noise(
    criterion: Criterion, spec: SeriesSpec, window_s: float, significant: float, error: float, bound: float
) -> Message:
    unit = criterion.kind.unit_of(spec.unit)
    form = ".3g" if significant < 1e3 else ".0f"
    return _NOISE(
        noise=Figure(spec.noise_floor, "g", spec.unit),
        window=Duration(window_s),
        least=Figure(significant, form, unit),
        error=Figure(error, form, unit),
        bound=Figure(bound, "g", unit),
    )


def find_error(noise: float, count: int, interval_s: float, min_epochs: int) -> float:
    """Return the standard error of a rate that is fitted to readings at even intervals, in units per day.

    For the fit of a parabola, return the standard error of the acceleration, in units per day squared.

    Args:
        noise: Standard deviation of one reading.
        count: Number of readings in the window.
        min_epochs: Number of readings that the fit needs. More than `MIN_LINE_EPOCHS` means a parabola.

    >>> round(find_error(1.0, 5, 86400.0, 4), 6)
    0.316228
    """
    interval_days = interval_s / _DAY_S
    spread = count * (count * count - 1.0) / 12.0
    if min_epochs <= MIN_LINE_EPOCHS:
        return noise / (interval_days * sqrt(spread))
    return 2.0 * noise / (interval_days * interval_days * sqrt(spread * (count * count - 4.0) / 15.0))


def _find_range_barrier(spec: SeriesSpec, value: float, sign: float) -> Barrier | None:
    """Return a barrier if a value is outside the valid range of a series.

    Args:
        spec: The series.
        value: An upper bound (`sign` = 1), a lower bound multiplied by -1 (`sign` = -1), or a change (`sign` = 0).
        sign: Meaning of the value.
    """
    standard = QUANTITIES.get(spec.quantity)
    low = spec.low
    high = spec.high
    if standard is not None:
        low = standard.low if low is None else low
        high = standard.high if high is None else high
    if low is None or high is None:
        return None
    highest = {1.0: high, -1.0: -low, 0.0: high - low}[sign]
    if spec.quantity == "displacement":
        # The range applies to each of the three components.
        highest *= sqrt(3.0)
    if value < highest:
        return None
    return Barrier(_RANGE(low=Figure(low, "g", spec.unit), high=Figure(high, "g", spec.unit)))


# ---- all series of a site --------------------------------------------------------------------------------------
def list_judgements(prepared: "PreparedSite") -> list[SeriesJudgement]:
    """Return the judgement of each series of a site at its declared interval."""
    return [
        judge_series(prepared, spec, spec.interval_s) for station in prepared.site.stations for spec in station.series
    ]


def find_unjudged(judgements: Iterable[SeriesJudgement]) -> list[str]:
    """Return the names of the motion series that no criterion with a vote reads, sorted."""
    return sorted(
        judgement.name
        for judgement in judgements
        if judgement.measures_motion and not judgement.is_judged and not judgement.has_voter
    )


def is_judged(prepared: "PreparedSite", station_id: str, quantity: str) -> bool:
    """Return whether a series can raise a level or needs no criterion. The result is False for unknown series."""
    station = prepared.site.station(station_id)
    if station is None:
        return False
    if not station.on_slope:
        return True
    spec = station.find_series(quantity)
    if spec is None:
        return False
    return prepared.judgements_by_series[spec.station, spec.quantity].is_judged


def can_change_level(prepared: "PreparedSite", station_id: str, quantity: str) -> bool:
    """Return whether a reading can change the level.

    Readings that votes depend on can do so, and readings of ground motion and of control stations.
    """
    if quantity.startswith(GROUND_MOTION_PREFIXES):
        return True
    station = prepared.site.station(station_id)
    if station is None:
        return False
    spec = station.find_series(quantity)
    return not station.on_slope or (spec is not None and (station_id, spec.quantity) in prepared.voting_series)


def find_highest_level(prepared: "PreparedSite", place: Place, unreachable: BlockedLevels) -> int:
    """Return the highest level that votes on a series can request, by themselves or as part of a fusion rule.

    Args:
        prepared: The site.
        place: Station and declared quantity of the series.
        unreachable: Levels that cannot be reached, by criterion and witness.
    """
    highest = 0
    for criterion, witness in prepared.series_voters.get(place, ()):
        unreachable_levels = unreachable.get((criterion.id, witness), ())
        levels = [threshold.level for threshold in criterion.thresholds if threshold.level not in unreachable_levels]
        highest_vote = max(levels, default=0)
        if criterion.role == "witness":
            highest = max(highest, highest_vote)
        for leaf, rule_level in prepared.rule_leaves.get(criterion.id, ()):
            if witness in leaf.witnesses and highest_vote >= leaf.level:
                highest = max(highest, rule_level)
    return highest


def find_highest_levels(prepared: "PreparedSite", unreachable: BlockedLevels) -> dict[Place, int]:
    """Return the highest level that each motion series can request, by itself or by series calculated from it.

    Args:
        prepared: The site.
        unreachable: Levels that cannot be reached, by criterion and witness.
    """
    highest_levels: dict[Place, int] = {}
    for place in prepared.motion_series:
        series = (place, *prepared.calculated_series.get(place, ()))
        highest_levels[place] = max(find_highest_level(prepared, member, unreachable) for member in series)
    return highest_levels


# ---- levels that cannot be reached -----------------------------------------------------------------------------
def find_barriers(criterion: Criterion, station: Station, spec: SeriesSpec, interval_s: float) -> dict[int, Barrier]:
    """Return why a criterion cannot reach its levels, by level. Levels that it can reach are left out.

    If a level is bounded in both directions and only one of them has a barrier, the other one still reaches the level,
    so the barrier is not absolute.
    """
    barriers: dict[int, list[Barrier | None]] = {}
    for limit in find_limits(criterion, station, spec, interval_s):
        barriers.setdefault(limit.level, []).append(limit.barrier)
    found = {}
    for level, of_level in barriers.items():
        blocked = [barrier for barrier in of_level if barrier is not None]
        if blocked:
            is_absolute = len(blocked) == len(of_level) and all(barrier.is_absolute for barrier in blocked)
            found[level] = replace(blocked[0], is_absolute=is_absolute)
    return found


def find_closed_levels(barriers: Barriers) -> dict[tuple[str, str], frozenset[int]]:
    """Return the levels that cannot be reached, by criterion and witness."""
    return {
        (key.criterion, key.station): frozenset(level for level, barrier in levels.items() if barrier.is_absolute)
        for key, levels in barriers.items()
    }


def find_unreached(prepared: "PreparedSite") -> frozenset[int]:
    """Return the levels that have bounds and that no vote can raise at the declared intervals."""
    unreachable = prepared.closed_levels
    with_bounds: set[int] = set()
    reachable: set[int] = set()
    for criterion in prepared.site.criteria:
        if criterion.role != "witness":
            continue
        for witness in list_voting_witnesses(prepared.site, criterion):
            levels = {threshold.level for threshold in criterion.thresholds}
            with_bounds |= levels
            reachable |= levels - {*unreachable.get((criterion.id, witness.name), ())}
    highest = prepared.compute_reachable_level(prepared.voting_series, unreachable).level
    highest_without_barriers = prepared.compute_reachable_level(prepared.voting_series).level
    return frozenset({*(with_bounds - reachable), *range(highest + 1, highest_without_barriers + 1)})


# ---- text ------------------------------------------------------------------------------------------------------
def describe_barriers(site: Site, barriers: Barriers) -> Iterator[tuple[int, Barrier, Message]]:
    """Yield level, barrier and sentence of each barrier. Stations with the same barrier share a sentence."""
    groups: dict[tuple[str, int, str, bool], list[tuple[str, Barrier]]] = {}
    for key, levels in barriers.items():
        for level, barrier in levels.items():
            group = (key.criterion, level, str(barrier.reason), barrier.is_absolute)
            groups.setdefault(group, []).append((key.station, barrier))
    for (criterion, level, _, _), members in groups.items():
        barrier = members[0][1]
        stations = [station for station, _ in members]
        yield level, barrier, describe_unreachable(site, criterion, stations, level, barrier)


def describe_unreachable(site: Site, criterion: str, stations: Sequence[str], level: int, barrier: Barrier) -> Message:
    """Return the sentence that a criterion cannot raise a level, or raises it late, with the reason."""
    template = _CANNOT if barrier.is_absolute else _LATE
    return template(
        series=_list_names(stations),
        level=Term(site.levels[level].name),
        criterion=criterion,
        text=barrier.reason,
    )


def describe_limits(site: Site, judgements: Sequence[SeriesJudgement]) -> list[Message]:
    """Return sentences on which motion raises which level, how quickly, and which motion is missed.

    Series with the same limits share a sentence.
    """
    groups: dict[tuple[tuple[Message, ...], bool, Message], list[str]] = {}
    for judgement in judgements:
        limits = [
            limit
            for level in range(1, site.top_level + 1)
            for limit in judgement.list_limits(level)
            if limit.level == level
        ]
        if not limits:
            continue
        levels = tuple(_describe_limit(site, limit) for limit in limits)
        # Values are compared directly. Only rates must exceed their errors.
        has_noise = all(limit.error > 0.0 or limit.unit == judgement.unit for limit in limits)
        groups.setdefault((levels, has_noise, _describe_voters(judgement)), []).append(judgement.name)
    sentences = []
    for (levels, has_noise, voters), names in groups.items():
        template = _JUDGED if has_noise else _JUDGED_WITHOUT_NOISE
        sentences.append(template(series=_list_names(names), levels=MessageList(levels, ", "), ways=voters))
    return [*sentences, *_describe_relative(site, judgements)]


def _describe_relative(site: Site, judgements: Iterable[SeriesJudgement]) -> Iterator[Message]:
    """Yield sentences on criteria with relative bounds. Series with the same criteria share a sentence."""
    relative = {criterion.id for criterion in site.criteria if criterion.kind.relative}
    groups: dict[tuple[str, ...], list[str]] = {}
    for judgement in judgements:
        criteria = [criterion for criterion in judgement.criteria if criterion.has_vote and criterion.id in relative]
        if criteria:
            groups.setdefault(tuple(criterion.id for criterion in criteria), []).append(judgement.name)
    for names, series in groups.items():
        yield _RELATIVE(rules=_list_names(names), series=_list_names(series))


def _describe_voters(judgement: SeriesJudgement) -> Message:
    """Return the criteria that can raise a level by a series, and whether a jump can."""
    voters = [
        criterion
        for criterion in judgement.criteria
        if criterion.has_vote and not all(limit.is_unreachable for limit in criterion.limits)
    ]
    parts: list[Message] = [_WAYS(rules=_list_names([criterion.id for criterion in voters]))]
    if any(not isinf(criterion.asks_from) for criterion in voters):
        parts.append(_JUMPS_ASKED())
    return join(parts, ", ")


def _describe_limit(site: Site, limit: DetectionLimit) -> Message:
    template = _ABOVE if limit.is_upper else _BELOW
    return template(
        level=Term(site.levels[limit.level].name),
        missed=Figure(limit.missed or 0.0, ".3g", limit.unit),
        duration=Duration(limit.decides_within_s or 0.0, "about"),
    )


def describe_limited(prepared: "PreparedSite") -> list[Message]:
    """Return sentences on the motion series that cannot raise the top level, the lowest levels first.

    Series that no criterion reads are left out. `PreparedSite.unjudged_series` contains them.
    """
    site = prepared.site
    by_level: dict[int, list[str]] = {}
    for judgement in prepared.judgements:
        is_limited = judgement.measures_motion and judgement.highest_level < site.top_level
        if is_limited and judgement.name not in prepared.unjudged_series:
            by_level.setdefault(judgement.highest_level, []).append(judgement.name)
    sentences = []
    for level, names in sorted(by_level.items()):
        if level == 0:
            sentences.append(_RAISES_NOTHING(series=_list_names(names)))
        else:
            sentences.append(_LIMITED(series=_list_names(names), level=Term(site.levels[level].name)))
    return sentences


def describe_reach(prepared: "PreparedSite") -> Message | None:
    """Return which motion series cannot raise the top level, or None if all of them can."""
    sentences = describe_limited(prepared)
    if prepared.unjudged_series:
        sentences.insert(0, _RAISES_NOTHING(series=_list_names(prepared.unjudged_series)))
    return join(sentences) if sentences else None


def _list_names(names: Sequence[str]) -> NameList:
    return NameList(tuple(names[:_MAX_NAMES]), more=max(0, len(names) - _MAX_NAMES))
