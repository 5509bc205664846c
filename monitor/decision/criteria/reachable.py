"""Which levels a criterion can reach for a series whose readings come so often, and why not the others."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, floor, sqrt
from typing import Final

from forecasting.message import Duration, Figure, Message, NameList, Template, Term
from monitor.decision.criteria.kinds.tangential import to_velocities
from monitor.decision.criteria.kinds.velocity import LEAST_EPOCHS, MIN_EXTENT
from monitor.decision.series.assessment import bound_of
from monitor.domain.keys import VoteKey
from monitor.domain.quantities import QUANTITIES
from monitor.domain.site import Criterion, SeriesSpec, Site, Station, Threshold, once_per_record
from monitor.domain.witnesses import compute_reachable_level, find_groups, find_voting_series, list_voting_witnesses

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
MANY: Final = 10.0  # times its bound: a level that such motion cannot raise is one that cannot be reached
_SLACK: Final = 1e-9
_DAY_S: Final = 86400.0


@dataclass(frozen=True, slots=True)
class Barrier:
    """What keeps a level from being reached, in words; one that is not shut lets motion far beyond the bound pass."""

    reason: Message
    is_shut: bool = True


Barriers = Mapping[VoteKey, Mapping[int, Barrier]]  # by level


def find_barriers(criterion: Criterion, station: Station, spec: SeriesSpec, interval_s: float) -> dict[int, Barrier]:
    """What keeps a criterion from reaching its levels, by level; a level that is not named can be reached."""
    bounds = criterion.declared or criterion.thresholds  # those that an earthquake lowered are reached the sooner
    if criterion.kind.unit == "degrees":
        bounds = to_velocities(bounds, station.v_eq_mm_per_day or 0.0)
    found = {t.level: _find(criterion, t, spec, interval_s) for t in bounds}
    return {level: barrier for level, barrier in found.items() if barrier is not None}


def _find(criterion: Criterion, threshold: Threshold, spec: SeriesSpec, interval_s: float) -> Barrier | None:
    bound, sign = bound_of(threshold)
    least = criterion.kind.epochs
    if not least:  # a value as it stands
        return _leave_range(spec, sign * bound, sign)
    window_s, dwell, every = threshold.window_s or _DAY_S, criterion.dwell, Duration(interval_s)
    n = ceil(window_s / interval_s - _SLACK)  # the epoch at its beginning lies outside
    if n < least:
        return Barrier(_FEW(every=every, window=Duration(window_s), n=n, least=least))
    waived = criterion.fast_track is not None and criterion.fast_track <= MANY and sign * bound > 0.0
    within_s = dwell.within_s
    if within_s is not None and floor(within_s / interval_s + _SLACK) + 1 < dwell.hits and not waived:
        return Barrier(_DWELL(every=every, n=dwell.hits, within=Duration(within_s)))
    days = max(MIN_EXTENT * window_s, (least - 1) * interval_s) / _DAY_S
    moved = abs(bound) * (days if least <= LEAST_EPOCHS else days * days / 2.0)
    if (barrier := _leave_range(spec, moved, 0.0)) is not None:
        return barrier
    sure = criterion.min_sigma * find_error(spec.noise_floor, n, interval_s, least)
    if sign * bound <= 0.0 or sure <= sign * bound:
        return None
    unit, form = criterion.kind.unit_of(spec.unit), ".3g" if sure < 1e3 else ".0f"
    reason = _NOISE(
        noise=Figure(spec.noise_floor, "g", spec.unit),
        window=Duration(window_s),
        least=Figure(sure, form, unit),
        error=Figure(sure / criterion.min_sigma, form, unit),
        bound=Figure(bound, "g", unit),
    )
    return Barrier(reason, is_shut=sure > MANY * abs(bound))


def find_error(noise: float, n: int, interval_s: float, least: int) -> float:
    """One standard error of the rate (of the acceleration where a parabola is fitted) of n even epochs, per day.

    >>> round(find_error(1.0, 5, 86400.0, 4), 6)
    0.316228
    """
    day, spread = interval_s / _DAY_S, n * (n * n - 1.0) / 12.0
    if least <= LEAST_EPOCHS:
        return noise / (day * sqrt(spread))
    return 2.0 * noise / (day * day * sqrt(spread * (n * n - 4.0) / 15.0))


def _leave_range(spec: SeriesSpec, value: float, sign: float) -> Barrier | None:
    """Whether a value (of no sign: a change) lies beyond what counts of a series."""
    known = QUANTITIES.get(spec.quantity)
    low = spec.low if spec.low is not None else known.low if known else None
    high = spec.high if spec.high is not None else known.high if known else None
    if low is None or high is None:
        return None
    most = {1.0: high, -1.0: -low, 0.0: high - low}[sign]
    if value < (most * sqrt(3.0) if spec.quantity == "displacement" else most):  # each of its components may go so far
        return None
    return Barrier(_RANGE(low=Figure(low, "g", spec.unit), high=Figure(high, "g", spec.unit)))


@once_per_record
def list_followed(site: Site) -> Sequence[tuple[Criterion, Station, SeriesSpec]]:
    """The series on which votes rest, by criterion: those of which it is known when they reach a level."""
    stations = {s.id: s for s in site.stations}
    return [
        (criterion, station, spec)
        for criterion in site.criteria
        if criterion.role != "advice" and criterion.kind.followed and criterion.kind.per is not None
        for voice in list_voting_witnesses(site, criterion)
        if (station := stations.get(voice.witness)) is not None
        and (spec := station.find_series(criterion.quantity)) is not None
    ]


@once_per_record
def list_barriers(site: Site) -> Barriers:
    """What keeps the votes of a site from their levels while readings come as declared."""
    found = {
        VoteKey(criterion.id, station.id): find_barriers(criterion, station, spec, spec.interval_s)
        for criterion, station, spec in list_followed(site)
    }
    return {key: barriers for key, barriers in found.items() if barriers}


def shut(barriers: Barriers) -> dict[tuple[str, str], frozenset[int]]:
    """The levels that cannot be reached, by criterion and witness."""
    return {
        (key.criterion, key.station): frozenset(level for level, one in found.items() if one.is_shut)
        for key, found in barriers.items()
    }


def find_unreached(site: Site) -> frozenset[int]:
    """Levels that have bounds and that no vote can raise, as readings are declared to come."""
    closed = shut(list_barriers(site))
    votes = [
        (t.level, t.level in closed.get((c.id, voice.witness), ()))
        for c in site.criteria
        if c.role == "witness"
        for voice in list_voting_witnesses(site, c)
        for t in c.thresholds
    ]
    groups, voting = find_groups(site), find_voting_series(site)
    now, without = (
        compute_reachable_level(site, voting, groups, closed).level,
        compute_reachable_level(site, voting, groups).level,
    )
    lost = {level for level, _ in votes} - {level for level, is_shut in votes if not is_shut}
    return frozenset({*lost, *range(now + 1, without + 1)})


def describe_barriers(site: Site, barriers: Barriers) -> Iterator[tuple[int, Barrier, Message]]:
    """Level, barrier and sentence of what was found, series of which the same is said together."""
    alike: dict[tuple[str, int, str, bool], list[tuple[str, Barrier]]] = {}
    for key, found in barriers.items():
        for level, one in found.items():
            alike.setdefault((key.criterion, level, str(one.reason), one.is_shut), []).append((key.station, one))
    for (criterion, level, _, _), ones in alike.items():
        yield level, ones[0][1], describe_unreachable(site, criterion, [name for name, _ in ones], level, ones[0][1])


def describe_unreachable(site: Site, criterion: str, stations: Sequence[str], level: int, barrier: Barrier) -> Message:
    """The sentence on a level that cannot be reached, or late."""
    names = tuple(stations)
    return (_CANNOT if barrier.is_shut else _LATE)(
        series=NameList(names[:3], more=max(0, len(names) - 3)),
        level=Term(site.levels[level].name),
        criterion=criterion,
        text=barrier.reason,
    )
