"""Which criteria judge each series of a site, which levels they can raise, and the fastest motion that they miss.

`judge_series` answers for one series at one interval between readings, `list_judgements` for all series of a site at
the intervals that its file declares. `slopeward check`, the evaluation, `slopeward status`, the page and the import of
tables use these answers.

The figures assume readings at even intervals whose errors are not larger than the declared `noise_floor`. Readings with
larger errors, or fewer of them, show only faster motion.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, floor, inf, isinf, sqrt
from typing import Final

from forecasting.kinematics.direction import add_noise
from monitor.decision.criteria.fits import MIN_LINE_EPOCHS, MIN_WINDOW_SHARE
from monitor.decision.criteria.kinds.survey_rate import MIN_SHARE_OF_INTERVAL, SURVEYS, find_longest_gap
from monitor.decision.criteria.kinds.tangential_angle import to_velocities
from monitor.decision.criteria.values import MIN_VALUE_EPOCHS
from monitor.decision.keys import VoteKey
from monitor.decision.series.assessment import find_bound
from monitor.decision.series.step_detector import STEP_SIGMAS
from monitor.decision.series.tracks import verify_step
from monitor.sites.fusion import Clause, list_affirmative_leaves
from monitor.sites.parents import Place
from monitor.sites.quantities import GROUND_MOTION_PREFIXES, QUANTITIES, measures_motion
from monitor.sites.records import Criterion, SeriesSpec, Site, Station, Threshold, once_per_record
from monitor.sites.witnesses import (
    BlockedLevels,
    compute_reachable_level,
    find_groups,
    find_voting_series,
    list_voting_witnesses,
)
from monitor.text.message import Duration, Figure, Message, MessageList, NameList, Template, Term, join

# A level that motion of so many times its bound cannot raise counts as one that cannot be reached.
MANY: Final = 10.0
_NAMED: Final = 3  # series or stations in one sentence
_SLACK: Final = 1e-9
_DAY_S: Final = 86400.0

_FEW: Final = Template(
    "reachable.few", "a reading comes every {every}, so its window of {window} holds {n}, and {least} are needed"
)
_DWELL: Final = Template(
    "reachable.dwell", "a reading comes every {every}, and its dwell asks for {n} of them within {within}"
)
_NOISE: Final = Template(
    "reachable.noise",
    "noise_floor = {noise} leaves what is measured in {window} uncertain by {error}: it counts from {least} on, and "
    "the bound is {bound}",
)
_RANGE: Final = Template("reachable.range", "its values would leave their range, {low} to {high}, before that")
_CANNOT: Final = Template("reachable.not", "{series} cannot reach {level} by {criterion}: {text}")
_LATE: Final = Template("reachable.late", "{level} of {criterion} is reached by {series} late: {text}")
_ABOVE: Final = Template("judgement.above", "{level} above {missed} (within {duration})")
_BELOW: Final = Template("judgement.below", "{level} below {missed} (within {duration})")
_JUDGED: Final = Template("judgement.series", "{series}: by its most sensitive rule in each direction {levels}; {ways}")
_JUDGED_WITHOUT_NOISE: Final = Template(
    "judgement.series_without_noise",
    "{series}: by its most sensitive rule in each direction {levels}; noise may hide faster changes, because no "
    "noise_floor is declared; {ways}",
)
_RELATIVE: Final = Template(
    "judgement.relative",
    "{rules} can raise a level by {series}; the bounds are relative, so it is not known which motion is missed",
)
_WAYS: Final = Template("judgement.ways", "criteria that can raise a level: {rules}")
_JUMPS_ASKED: Final = Template("judgement.jumps", "and a jump that nobody explains")

_LIMITED: Final = Template("judgement.limited", "motion at {series} raises at most {level}")
_RAISES_NOTHING: Final = Template("judgement.nothing", "motion at {series} raises no level")


@dataclass(frozen=True, slots=True)
class Barrier:
    """Why a level cannot be reached. With `is_shut` = False motion far beyond the bound still reaches it."""

    reason: Message
    is_shut: bool = True


Barriers = Mapping[VoteKey, Mapping[int, Barrier]]  # by level


@dataclass(frozen=True, slots=True)
class DetectionLimit:
    """The fastest motion that one criterion misses at one level.

    Attributes:
        level: Number of the level.
        is_over: True for a bound that is crossed by rising values, False for one that is crossed by falling values.
        missed: The fastest steady motion that never raises the level, in `unit`. Steady motion beyond it, in the
            direction of the bound, raises the level within `decides_within_s`; motion that does not exceed it raises
            nothing. It is a rate for velocities and rates, an acceleration for accelerations, and a value for criteria
            on values. A station without a declared direction of movement is judged horizontally and vertically, and the
            figure holds for each of the two (of a `survey_rate`, for the horizontal speed; vertical motion raises a
            level from the bound on). None where no motion raises the level, and where the bound is not on the
            motion of the series itself (rain, factor of safety, a rate that is compared with earlier years).
        bound: The bound as it is compared, in `unit`. None where `missed` is None.
        unit: Unit of `missed` and `bound`.
        error: One standard error of what is compared with the bound, as `noise_floor` implies it, in `unit`. Errors of
            measurement shift the limit by a few times this value in either direction.
        decides_within_s: Longest time, in seconds, from the start of motion just beyond `missed` to the reading that
            raises the level, for a series that has been read at this interval before. For a value: from the time at
            which it exceeds the bound. Faster motion is detected earlier. None where `missed` is None.
        window_s: Time over which a rate or an acceleration is measured, in seconds. Between two surveys it is the
            interval, or several if they come at less than half the declared interval. None for a bound on values and
            where `missed` is None.
        longest_gap_s: Longest time between two readings, in seconds, after which the change between them still counts
            as a rate. A change during a longer gap does not raise the level. None for a bound on values and where
            `missed` is None.
        is_between_readings: Whether the rate is that between two readings, instead of a line through several.
        is_any_direction: Whether motion in every direction counts, because the length of a vector is compared, or the
            size of the change between two readings.
        least_readings: Readings after the start of the motion before which no motion, however fast, raises the level.
        missed_jump: The largest jump between two readings, at rest before and after it, that does not raise the level
            by itself, in the unit of the series. `inf`: no jump does. A bound on values is not about jumps: 0.
        barrier: Why the level cannot be reached, or only by motion far beyond the bound; None where neither holds.
    """

    level: int
    is_over: bool = True
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
    def is_shut(self) -> bool:
        """Whether the level counts as one that cannot be reached."""
        return self.barrier is not None and self.barrier.is_shut


@dataclass(frozen=True, slots=True)
class JudgingCriterion:
    """A criterion that reads a series.

    Attributes:
        kind: Name of the kind of criterion.
        has_vote: Whether a level can rest on it, by itself or as part of a rule. Advice has no vote.
        limits: One for each level that it has a bound for, the lowest level first.
        asks_from: The jump between two readings from about which on people are asked what it was, in the unit of the
            series. `inf`: the criterion asks about no jump.
    """

    id: str
    kind: str
    role: str
    has_vote: bool
    limits: tuple[DetectionLimit, ...]
    asks_from: float = inf


@dataclass(frozen=True, slots=True)
class SeriesJudgement:
    """What judges one series at one interval between readings.

    Attributes:
        interval_s: Time between two readings for which the figures hold, in seconds.
        is_moving: Whether the series shows how the slope moves: displacement and its components, cracks, tilt, strain
            and zones of velocity maps, at a station on the slope.
        is_exempt: Whether it is left unjudged on purpose: its station stands on stable ground (`on_slope = false`, or
            the reference of a `[[relative]]`).
        read_by: The calculated series that are computed from it, as `STATION.quantity`. What judges them judges it.
        criteria: All criteria that read it, in the order of the site file.
        highest_level: The highest level that a vote on this series, or on one in `read_by`, can request. The top level
            still needs as many independent witnesses as `fusion.top_needs` says.
    """

    station: str
    quantity: str
    unit: str
    interval_s: float
    is_moving: bool
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
        """Whether the series can raise a level, or need not."""
        return self.is_exempt or self.highest_level > 0

    @property
    def has_voter(self) -> bool:
        """Whether a criterion with a vote reads the series itself."""
        return any(criterion.has_vote for criterion in self.criteria)

    def list_limits(self, level: int) -> list[DetectionLimit]:
        """List the tightest limit in each unit and direction by which motion can raise a level or a higher one."""
        tightest: dict[tuple[str, bool], DetectionLimit] = {}
        for criterion in self.criteria:
            for limit in criterion.limits if criterion.has_vote else ():
                if limit.level < level or limit.missed is None or limit.is_shut:
                    continue
                known = tightest.get((limit.unit, limit.is_over))
                if known is None or known.missed is None or _extent(limit) < _extent(known):
                    tightest[limit.unit, limit.is_over] = limit
        return list(tightest.values())


def _extent(limit: DetectionLimit) -> float:
    missed = limit.missed or 0.0
    return missed if limit.is_over else -missed


# ---- one series ------------------------------------------------------------------------------------------------
def judge_series(site: Site, spec: SeriesSpec, interval_s: float) -> SeriesJudgement:
    """Return what judges a declared series of a site whose readings come at an interval.

    Args:
        interval_s: Seconds between two readings; `spec.interval_s` is the declared value.
    """
    place = (spec.station, spec.quantity)
    station = site.station(spec.station)
    voters = {criterion.id for criterion, _ in _find_voters(site).get(place, ())}
    criteria: list[JudgingCriterion] = []
    closed: dict[tuple[str, str], frozenset[int]] = {}
    for criterion, witness in _find_readers(site).get(place, ()):
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
        closed[criterion.id, witness] = frozenset(limit.level for limit in limits if limit.is_shut)
    readers = _find_calculated(site).get(place, ())
    highest = max(
        [
            find_highest_level(site, place, closed),
            *(find_highest_level(site, reader, find_closed_levels(list_barriers(site))) for reader in readers),
        ]
    )
    is_on_slope = station is not None and station.on_slope
    is_moving = is_on_slope and measures_motion(spec.quantity)
    return SeriesJudgement(
        station=spec.station,
        quantity=spec.quantity,
        unit=spec.unit,
        interval_s=interval_s,
        is_moving=is_moving,
        is_exempt=not is_on_slope,
        read_by=tuple(".".join(reader) for reader in readers),
        criteria=tuple(criteria),
        highest_level=highest,
    )


def find_limits(
    criterion: Criterion, station: Station, spec: SeriesSpec, interval_s: float
) -> tuple[DetectionLimit, ...]:
    """Return the detection limit of a criterion at each of its levels, for one series.

    Where an earthquake has lowered the bounds, the declared ones count: with lower bounds a level is reached earlier.
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
    """Return the limit of a bound on the values of a series: the bound itself, once enough readings exceed it.

    Args:
        is_length: Whether the value is the length of a vector without a declared direction, from which the length that
            noise alone makes is subtracted.
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
        is_over=sign > 0.0,
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

    Motion just beyond the limit fills the whole window before the fit exceeds the bound in `dwell.hits` readings.

    Args:
        is_length: Whether the rate is the length of a vector without a declared direction, from which the length that
            noise alone makes is subtracted. This does not apply to accelerations.
    """
    bound, sign = find_bound(threshold)
    least = criterion.kind.epochs
    unit = criterion.kind.unit_of(spec.unit)
    window_s = threshold.effective_window_s
    every = Duration(interval_s)
    longest_gap_s = window_s
    step_s = interval_s  # between two readings that are compared, or follow each other in a line
    if least == SURVEYS:
        longest_gap_s = window_s = find_longest_gap(criterion)
        step_s *= max(1, ceil(MIN_SHARE_OF_INTERVAL * spec.interval_s / interval_s - _SLACK))
    count = ceil(window_s / step_s - _SLACK)  # the reading at the beginning of the window lies outside
    if least == SURVEYS and step_s <= window_s:
        count = SURVEYS
        window_s = step_s
    if count < least:
        few = _FEW(every=every, window=Duration(window_s), n=count, least=least)
        return DetectionLimit(threshold.level, sign > 0.0, unit=unit, barrier=Barrier(few))
    barrier = _find_range_barrier(spec, _least_motion(bound, window_s, step_s, least), 0.0)
    if barrier is not None:
        return DetectionLimit(threshold.level, sign > 0.0, unit=unit, barrier=barrier)

    hits = criterion.dwell.hits
    asks_for_motion = sign * bound > 0.0
    waived_from = criterion.fast_track if asks_for_motion else None
    needed = sign * bound
    dwell_s = criterion.dwell.within_s
    if dwell_s is not None and floor(dwell_s / interval_s + _SLACK) + 1 < hits:
        reason = _DWELL(every=every, n=hits, within=Duration(dwell_s))
        if waived_from is None:
            return DetectionLimit(threshold.level, sign > 0.0, unit=unit, barrier=Barrier(reason))
        if waived_from > MANY:
            barrier = Barrier(reason)
        needed *= waived_from
        hits = 1

    error = find_error(spec.noise_floor, count, step_s, least)
    sure = criterion.min_sigma * error
    if asks_for_motion:
        if sure > sign * bound and barrier is None:
            barrier = Barrier(
                _describe_noise(criterion, spec, window_s, sure, error, bound), is_shut=sure > MANY * abs(bound)
            )
        needed = max(needed, sure)
    # Several readings are compared with the one before a jump if readings come more often than declared.
    repeats = round(step_s / interval_s)
    missed_jump = _find_missed_jump(needed, count, step_s, least, ceil(hits / repeats))
    if asks_for_motion and is_length and least <= MIN_LINE_EPOCHS:
        needed = add_noise(needed, error, criterion.min_sigma)
    filled_s = (count - 1) * step_s + interval_s
    if asks_for_motion and is_length and least > MIN_LINE_EPOCHS:
        # An acceleration counts only while the velocity stands out as well, which grows with time.
        velocity_error = find_error(spec.noise_floor, count, interval_s, MIN_LINE_EPOCHS)
        velocity = add_noise(criterion.min_sigma * velocity_error, velocity_error, criterion.min_sigma)
        filled_s += velocity / needed * _DAY_S
    is_between_readings = least == SURVEYS
    return DetectionLimit(
        level=threshold.level,
        is_over=sign > 0.0,
        missed=sign * needed,
        bound=bound,
        unit=unit,
        error=error,
        decides_within_s=filled_s + (hits - 1) * interval_s,
        window_s=window_s,
        longest_gap_s=longest_gap_s,
        is_between_readings=is_between_readings,
        is_any_direction=is_between_readings or is_length,
        # A line has to cross its bound whichever single reading is left out, so one moved reading is not enough.
        least_readings=hits if is_between_readings else (hits if waived_from is None else 1) + 1,
        missed_jump=missed_jump,
        barrier=barrier,
    )


def _find_missed_jump(rate_per_day: float, count: int, interval_s: float, least: int, hits: int) -> float:
    """Return the largest jump between two readings that does not reach a rate, in the unit of the series.

    The least-squares slope of readings that rest before and after a jump is largest if the jump lies in their middle.

    >>> _find_missed_jump(3.0, 4, 86400.0, MIN_LINE_EPOCHS, 1)
    7.5
    """
    interval_days = interval_s / _DAY_S
    if least == SURVEYS:
        return rate_per_day * interval_days if hits <= 1 else inf
    if least > MIN_LINE_EPOCHS or rate_per_day <= 0.0:
        return 0.0
    return rate_per_day * interval_days * (count * count - 1.0) / (1.5 * count)


def find_least_step(criterion: Criterion, spec: SeriesSpec) -> float:
    """Return from about which jump on a criterion asks people what it was; `inf` if it asks about none.

    A jump must exceed the declared or derived limit and five standard errors of the difference of two readings.
    """
    limit = verify_step(spec, criterion) if criterion.kind.followed else None
    return inf if limit is None else max(limit, STEP_SIGMAS * sqrt(2.0) * spec.noise_floor)


def _least_motion(bound: float, window_s: float, interval_s: float, least: int) -> float:
    """Return how far a series moves at its bound during the shortest record that fills the window."""
    days = max(MIN_WINDOW_SHARE * window_s, (least - 1) * interval_s) / _DAY_S
    return abs(bound) * (days if least <= MIN_LINE_EPOCHS else days * days / 2.0)


def _describe_noise(
    criterion: Criterion, spec: SeriesSpec, window_s: float, sure: float, error: float, bound: float
) -> Message:
    unit = criterion.kind.unit_of(spec.unit)
    form = ".3g" if sure < 1e3 else ".0f"
    return _NOISE(
        noise=Figure(spec.noise_floor, "g", spec.unit),
        window=Duration(window_s),
        least=Figure(sure, form, unit),
        error=Figure(error, form, unit),
        bound=Figure(bound, "g", unit),
    )


def find_error(noise: float, count: int, interval_s: float, least: int) -> float:
    """Return one standard error of the rate that is fitted to readings at even intervals, in units per day.

    Where a parabola is fitted, it is the error of the acceleration, in units per day squared.

    Args:
        noise: Standard deviation of one reading.
        count: Readings in the window.
        least: Readings that the fit needs at least; more than those of a line mean a parabola.

    >>> round(find_error(1.0, 5, 86400.0, 4), 6)
    0.316228
    """
    interval_days = interval_s / _DAY_S
    spread = count * (count * count - 1.0) / 12.0
    if least <= MIN_LINE_EPOCHS:
        return noise / (interval_days * sqrt(spread))
    return 2.0 * noise / (interval_days * interval_days * sqrt(spread * (count * count - 4.0) / 15.0))


def _find_range_barrier(spec: SeriesSpec, value: float, sign: float) -> Barrier | None:
    """Return a barrier if a value lies beyond the range of a series. With sign 0 the value is a change."""
    known = QUANTITIES.get(spec.quantity)
    low = spec.low if spec.low is not None else known.low if known else None
    high = spec.high if spec.high is not None else known.high if known else None
    if low is None or high is None:
        return None
    most = {1.0: high, -1.0: -low, 0.0: high - low}[sign]
    if spec.quantity == "displacement":
        most *= sqrt(3.0)  # each of its three components may go so far
    if value < most:
        return None
    return Barrier(_RANGE(low=Figure(low, "g", spec.unit), high=Figure(high, "g", spec.unit)))


# ---- all series of a site --------------------------------------------------------------------------------------
@once_per_record
def list_judgements(site: Site) -> Sequence[SeriesJudgement]:
    """List what judges each series of a site while readings come at the declared intervals."""
    return [judge_series(site, spec, spec.interval_s) for station in site.stations for spec in station.series]


@once_per_record
def find_unjudged(site: Site) -> Sequence[str]:
    """List the series of the slope's motion that no criterion with a vote reads, as `STATION.quantity`, sorted."""
    return sorted(
        judgement.name
        for judgement in list_judgements(site)
        if judgement.is_moving and not judgement.is_judged and not judgement.has_voter
    )


def is_judged(site: Site, station_id: str, quantity: str) -> bool:
    """Return whether a series can raise a level, or is left unjudged on purpose; False for unknown series."""
    station = site.station(station_id)
    if station is None:
        return False
    if not station.on_slope:
        return True
    spec = station.find_series(quantity)
    if spec is None:
        return False
    return _index_judgements(site)[spec.station, spec.quantity].is_judged


def can_change_level(site: Site, station_id: str, quantity: str) -> bool:
    """Return whether a reading can change the level: by a vote, as motion of the ground, or as one of a control."""
    if quantity.startswith(GROUND_MOTION_PREFIXES):
        return True
    station = site.station(station_id)
    if station is None:
        return False
    spec = station.find_series(quantity)
    return not station.on_slope or (spec is not None and (station_id, spec.quantity) in find_voting_series(site))


@once_per_record
def _index_judgements(site: Site) -> Mapping[Place, SeriesJudgement]:
    return {(judgement.station, judgement.quantity): judgement for judgement in list_judgements(site)}


def find_highest_level(site: Site, place: Place, closed: BlockedLevels) -> int:
    """Return the highest level that a vote on a series can request, by a criterion or by a rule that it is part of.

    Args:
        closed: Levels that cannot be reached, by criterion and witness.
    """
    highest = 0
    for criterion, witness in _find_voters(site).get(place, ()):
        unreached = closed.get((criterion.id, witness), ())
        own = max((t.level for t in criterion.thresholds if t.level not in unreached), default=0)
        if criterion.role == "witness":
            highest = max(highest, own)
        for leaf, level in _find_leaves(site).get(criterion.id, ()):
            if witness in leaf.witnesses and own >= leaf.level:
                highest = max(highest, level)
    return highest


def find_highest_levels(site: Site, closed: BlockedLevels) -> Mapping[Place, int]:
    """Return the highest level that motion at each moving series can request.

    A series from which others are calculated counts for the best of these and itself.
    """
    calculated = _find_calculated(site)
    return {
        place: max(find_highest_level(site, one, closed) for one in (place, *calculated.get(place, ())))
        for place in _list_moving(site)
    }


@once_per_record
def _list_moving(site: Site) -> Sequence[Place]:
    return [
        (spec.station, spec.quantity)
        for station in site.stations
        if station.on_slope
        for spec in station.series
        if measures_motion(spec.quantity)
    ]


@once_per_record
def _find_readers(site: Site) -> Mapping[Place, Sequence[tuple[Criterion, str]]]:
    """Return the criteria that read each series, with the name of its witness."""
    readers: dict[Place, list[tuple[Criterion, str]]] = {}
    for criterion in site.criteria:
        for voice in list_voting_witnesses(site, criterion):
            if voice.series is not None:
                readers.setdefault(voice.series, []).append((criterion, voice.witness))
    return readers


@once_per_record
def _find_voters(site: Site) -> Mapping[Place, Sequence[tuple[Criterion, str]]]:
    """Return the criteria with a vote on each series, with the name of its witness."""
    leaves = _find_leaves(site)
    voters = {
        place: [
            (criterion, witness)
            for criterion, witness in readers
            if criterion.kind.source == "instruments"
            and (criterion.role == "witness" or (criterion.role == "part" and criterion.id in leaves))
        ]
        for place, readers in _find_readers(site).items()
    }
    return {place: found for place, found in voters.items() if found}


@once_per_record
def _find_leaves(site: Site) -> Mapping[str, Sequence[tuple[Clause, int]]]:
    """Return by criterion the leaves of rules that its votes can support, with the level of the rule."""
    leaves: dict[str, list[tuple[Clause, int]]] = {}
    for rule in site.fusion.rules:
        for leaf in list_affirmative_leaves(rule.when):
            leaves.setdefault(leaf.criterion, []).append((leaf, rule.level))
    return leaves


@once_per_record
def _find_calculated(site: Site) -> Mapping[Place, Sequence[Place]]:
    """Return the series that are calculated from each series, directly or through others."""
    direct: dict[Place, list[Place]] = {}
    for station in site.stations:
        for spec in station.series:
            for name, quantity in spec.calculation.places if spec.calculation is not None else ():
                source = site.series(name, quantity)
                if source is not None:
                    direct.setdefault((source.station, source.quantity), []).append((spec.station, spec.quantity))
    return {place: _follow(place, direct) for place in direct}


def _follow(place: Place, direct: Mapping[Place, Sequence[Place]]) -> Sequence[Place]:
    reached: dict[Place, None] = {}
    waiting = list(direct.get(place, ()))
    while waiting:
        other = waiting.pop(0)
        if other not in reached:
            reached[other] = None
            waiting.extend(direct.get(other, ()))
    return list(reached)


# ---- levels that cannot be reached -----------------------------------------------------------------------------
@once_per_record
def list_followed(site: Site) -> Sequence[tuple[Criterion, Station, SeriesSpec]]:
    """List the votes whose detection limits are known: criteria on measured series, with station and series."""
    stations = {station.id: station for station in site.stations}
    return [
        (criterion, station, spec)
        for criterion in site.criteria
        if criterion.role != "advice" and criterion.kind.followed and criterion.kind.per is not None
        for voice in list_voting_witnesses(site, criterion)
        if (station := stations.get(voice.witness)) is not None
        and (spec := station.find_series(criterion.quantity)) is not None
    ]


def find_barriers(criterion: Criterion, station: Station, spec: SeriesSpec, interval_s: float) -> dict[int, Barrier]:
    """Return why a criterion cannot reach its levels, by level; levels that it can reach are left out."""
    limits = find_limits(criterion, station, spec, interval_s)
    return {limit.level: limit.barrier for limit in limits if limit.barrier is not None}


@once_per_record
def list_barriers(site: Site) -> Barriers:
    """List why votes of a site cannot reach levels while readings come at the declared intervals."""
    found = {
        VoteKey(criterion.id, station.id): find_barriers(criterion, station, spec, spec.interval_s)
        for criterion, station, spec in list_followed(site)
    }
    return {key: barriers for key, barriers in found.items() if barriers}


def find_closed_levels(barriers: Barriers) -> dict[tuple[str, str], frozenset[int]]:
    """Return the levels that cannot be reached, by criterion and witness."""
    return {
        (key.criterion, key.station): frozenset(level for level, barrier in levels.items() if barrier.is_shut)
        for key, levels in barriers.items()
    }


def find_unreached(site: Site) -> frozenset[int]:
    """Return the levels that have bounds and that no vote can raise at the declared intervals."""
    closed = find_closed_levels(list_barriers(site))
    votes = [
        (threshold.level, threshold.level in closed.get((criterion.id, voice.witness), ()))
        for criterion in site.criteria
        if criterion.role == "witness"
        for voice in list_voting_witnesses(site, criterion)
        for threshold in criterion.thresholds
    ]
    with_bounds = {level for level, _ in votes}
    reached = {level for level, is_closed in votes if not is_closed}
    groups, voting = find_groups(site), find_voting_series(site)
    highest = compute_reachable_level(site, voting, groups, closed).level
    highest_without_barriers = compute_reachable_level(site, voting, groups).level
    return frozenset({*(with_bounds - reached), *range(highest + 1, highest_without_barriers + 1)})


# ---- text ------------------------------------------------------------------------------------------------------
def describe_barriers(site: Site, barriers: Barriers) -> Iterator[tuple[int, Barrier, Message]]:
    """Yield level, barrier and sentence of each barrier; stations with the same barrier share a sentence."""
    alike: dict[tuple[str, int, str, bool], list[tuple[str, Barrier]]] = {}
    for key, levels in barriers.items():
        for level, barrier in levels.items():
            group = (key.criterion, level, str(barrier.reason), barrier.is_shut)
            alike.setdefault(group, []).append((key.station, barrier))
    for (criterion, level, _, _), members in alike.items():
        barrier = members[0][1]
        stations = [station for station, _ in members]
        yield level, barrier, describe_unreachable(site, criterion, stations, level, barrier)


def describe_unreachable(site: Site, criterion: str, stations: Sequence[str], level: int, barrier: Barrier) -> Message:
    """Say that a level cannot be reached by a criterion, or only late, and why."""
    return (_CANNOT if barrier.is_shut else _LATE)(
        series=_list_names(stations),
        level=Term(site.levels[level].name),
        criterion=criterion,
        text=barrier.reason,
    )


def describe_limits(site: Site, judgements: Sequence[SeriesJudgement]) -> list[Message]:
    """Say which motion raises which level, how quickly, and what is missed; series that are judged alike together."""
    alike: dict[tuple[tuple[Message, ...], bool, Message], list[str]] = {}
    for judgement in judgements:
        limits = [
            limit
            for level in range(1, site.top_level + 1)
            for limit in judgement.list_limits(level)
            if limit.level == level
        ]
        if limits:
            parts = tuple(_describe_limit(site, limit) for limit in limits)
            # Values are compared as they are; only rates must stand out from the noise.
            has_noise = all(limit.error > 0.0 or limit.unit == judgement.unit for limit in limits)
            alike.setdefault((parts, has_noise, _describe_ways(judgement)), []).append(judgement.name)
    sentences = [
        (_JUDGED if has_noise else _JUDGED_WITHOUT_NOISE)(
            series=_list_names(names), levels=MessageList(parts, ", "), ways=ways
        )
        for (parts, has_noise, ways), names in alike.items()
    ]
    return [*sentences, *_describe_relative(site, judgements)]


def _describe_relative(site: Site, judgements: Iterable[SeriesJudgement]) -> Iterator[Message]:
    """Name the criteria whose bounds do not tell which motion they miss; series with the same criteria together."""
    relative = {criterion.id for criterion in site.criteria if criterion.kind.relative}
    alike: dict[tuple[str, ...], list[str]] = {}
    for judgement in judgements:
        names = tuple(one.id for one in judgement.criteria if one.has_vote and one.id in relative)
        if names:
            alike.setdefault(names, []).append(judgement.name)
    for names, series in alike.items():
        yield _RELATIVE(rules=_list_names(names), series=_list_names(series))


def _describe_ways(judgement: SeriesJudgement) -> Message:
    """Name all criteria that can raise a level by a series, and whether a jump can."""
    voters = [
        criterion
        for criterion in judgement.criteria
        if criterion.has_vote and not all(limit.is_shut for limit in criterion.limits)
    ]
    parts: list[Message] = [_WAYS(rules=_list_names([criterion.id for criterion in voters]))]
    if any(not isinf(criterion.asks_from) for criterion in voters):
        parts.append(_JUMPS_ASKED())
    return join(parts, ", ")


def _describe_limit(site: Site, limit: DetectionLimit) -> Message:
    return (_ABOVE if limit.is_over else _BELOW)(
        level=Term(site.levels[limit.level].name),
        missed=Figure(limit.missed or 0.0, ".3g", limit.unit),
        duration=Duration(limit.decides_within_s or 0.0, "about"),
    )


@once_per_record
def describe_limited(site: Site) -> Sequence[Message]:
    """Say which moving series raise none of the highest levels although criteria judge them; the lowest levels first.

    Series that no criterion judges are left out: `find_unjudged` lists them.
    """
    unjudged = find_unjudged(site)
    by_level: dict[int, list[str]] = {}
    for judgement in list_judgements(site):
        if judgement.name in unjudged:
            continue
        if judgement.is_moving and judgement.highest_level < site.top_level:
            by_level.setdefault(judgement.highest_level, []).append(judgement.name)
    return [
        _LIMITED(series=_list_names(names), level=Term(site.levels[level].name))
        if level
        else _RAISES_NOTHING(series=_list_names(names))
        for level, names in sorted(by_level.items())
    ]


def describe_reach(site: Site) -> Message | None:
    """Say which moving series keep a site from reaching its top level wherever it moves; None where none does."""
    unjudged = find_unjudged(site)
    nothing = [_RAISES_NOTHING(series=_list_names(unjudged))] if unjudged else []
    sentences = [*nothing, *describe_limited(site)]
    return join(sentences) if sentences else None


def _list_names(names: Sequence[str]) -> NameList:
    return NameList(tuple(names[:_NAMED]), more=max(0, len(names) - _NAMED))
