"""What a level means in one plain sentence, read from the frozen evidence: the page and messages say the same."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import itemgetter
from typing import Any, Final, NotRequired, TypedDict, TypeVar, cast

from monitor.decision.keys import StepKey, VoteKey
from monitor.decision.subjects import find_first
from monitor.sites.records import DEFAULT_WINDOW_S, Site
from monitor.text.figures import find_form
from monitor.text.instants import epoch_s, from_epoch_s
from monitor.text.message import (
    LABELLED_TEXT,
    Duration,
    Figure,
    Message,
    Template,
    Term,
    Timestamp,
    Value,
    join,
    read_message,
)

SomeWindow = TypeVar("SomeWindow", bound=Mapping[str, Any])
_NOTHING: Final[Mapping[str, Any]] = {}
SIGHT_WORDS: Final[Mapping[str, Message]] = {
    "full": Template("sight.full", "every series that votes reports")(),
    "degraded": Template("sight.degraded", "some series that can vote give no valid data")(),
    "blind": Template("sight.blind", "no valid data from the stations behind this level")(),
}
_BACKLOG: Final = Template(
    "sight.backlog", "readings that waited are still being stored; this level rests on those stored so far"
)
_OLD_READINGS: Final = Template(
    "sight.old_readings", "the newest reading behind this level is from {at}; the motion since then is unknown"
)
_MOVING: Final = Template("headline.moving", "Moving {rate} over {window} at {place}, {level} from {bound}")
_MOVING_ONE: Final = Template(
    "headline.moving.one", "Moving {rate} over {window} at {place}, {n2} of {n3} stations, {level} from {bound}"
)
_MOVING_MANY: Final = Template(
    "headline.moving.many", "Moving {rate} over {window} at {n2} of {n3} stations, {level} from {bound}"
)
_RATE: Final = Template("headline.rate", "Rate of {quantity} is {rate} over {window} at {place}, {level} from {bound}")
_RATE_ONE: Final = Template(
    "headline.rate.one",
    "Rate of {quantity} is {rate} over {window} at {place}, {n2} of {n3} stations, {level} from {bound}",
)
_RATE_MANY: Final = Template(
    "headline.rate.many", "Rate of {quantity} is {rate} over {window} at {n2} of {n3} stations, {level} from {bound}"
)
_STATIONS: Final = Template("headline.stations", "{n} stations")
_ONE_CAN: Final = Template("sight.one_can", "1 independent witness can vote, {n} needed for the highest level")
_CAN: Final = Template("sight.can", "{n} independent witnesses can vote, {n2} needed for the highest level")
_POSSIBLE: Final = Template("outlook.possible", "failure possible {at} to {at2}")
_POSSIBLE_NOW: Final = Template("outlook.possible_now", "failure possible now, until {at}")
_ENDED: Final = Template(
    "outlook.ended",
    "the failure window {at} to {at2} is over, and no reading of the slope came since: nothing says that it held",
)


class MeasuredBound(TypedDict, total=False):
    """What an assessment measured against the bound of a level."""

    level: int
    bound: float
    rate: float | None
    error: float
    low: float  # whichever single reading is left out
    high: float
    window_s: float | None


class StoredReason(TypedDict):
    """A reason, with id and values beside it where it was not gathered yet."""

    reason: str
    reason_id: NotRequired[str]
    reason_values: NotRequired[Mapping[str, Any]]


class StoredAssessment(StoredReason):
    """What a criterion says of a station."""

    criterion: str
    station: str
    heard: bool  # there was a datum
    fresh: bool
    raise_level: int
    hold_level: int
    newest_s: float
    facts: Mapping[str, Any]


class StoredStep(StoredReason):
    """A sudden step of a reading."""

    level: int
    state: str
    pended: NotRequired[str]


class StoredVote(TypedDict):
    """A vote by its key, and what became of it."""

    level: int
    counted: bool
    pended: str | None
    newest_s: float | None
    valid_until_s: float | None
    reason: str
    part: NotRequired[str]
    capped: NotRequired[str]


class DecisionEvidence(TypedDict, total=False):
    """What a decision rests on."""

    sentence: str
    level: int
    level_before: int
    asked: int  # level that the votes ask for
    words: Sequence[StoredAssessment]
    votes: Mapping[str, StoredVote]
    steps: Mapping[str, StoredStep]
    rules: Mapping[str, Any]
    bounds: str
    events: Sequence[Any]
    common: Mapping[str, str]
    held_by: Sequence[str]


class StoredOutcome(TypedDict, total=False):
    """What was decided."""

    evidence: DecisionEvidence
    changes: Sequence[Any]
    health: Sequence[Any]
    witnesses_available: int
    observability: str


class FrozenDecision(TypedDict, total=False):
    """Frozen inputs and outcome of a decision, or an act of a person, or an alarm of the service."""

    format: int
    config_sha256: str
    now: str
    actor: str
    act: str
    sentence: str
    reason: str
    memory: Mapping[str, Any]
    after: Mapping[str, Any]
    view: Mapping[str, Any]
    outcome: StoredOutcome
    plugins: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Headline:
    """What is behind a level."""

    sentence: str  # one sentence without its full stop: `Moving 302 mm/day over 6 h at 5 of 6 stations, red from 200`
    short: str  # the same for a lock screen: `302 mm/day, 5 stations`
    stations: tuple[str, ...] = ()  # those that ask for the level, the fastest first


@dataclass(frozen=True, slots=True)
class StationRate:
    """How fast a station moves, or changes, by a criterion: against the bound of the level that it asks for."""

    criterion: str
    station: str
    quantity: str
    unit: str
    level: int  # that its vote asks for; at 0 the bound is the lowest one
    counted: bool  # its vote counts
    newest_at: datetime
    rate: float
    error: float
    least: float  # the rate, whichever single reading is left out
    window_s: float
    bound: float
    bound_level: int
    # the lowest one above that it does not ask for, with its bound and the rate in the window of that
    next_level: int | None = None
    next_bound: float | None = None
    next_rate: float | None = None
    next_window_s: float | None = None

    @property
    def share(self) -> float:
        """How many times its bound."""
        return abs(self.rate / self.bound) if self.bound else 0.0


def read_outcome(frozen: FrozenDecision) -> DecisionEvidence:
    """The evidence of a decision out of its frozen inputs; empty where a person or a program decided."""
    found = (frozen.get("outcome") or {}).get("evidence")
    return found if isinstance(found, dict) else {}


def name_of(site: Site, level: int) -> str:
    """The name of a level, or its number where the ladder has no such level."""
    return site.levels[level].name if level < len(site.levels) else str(level)


def find_own_bound(assessment: StoredAssessment, level: int) -> MeasuredBound | None:
    """What an assessment measured against the bound of its vote; None where it measured no rate against it.

    `assessment`: of one station by one criterion, as it is stored; `level`: of its vote: it may ask for more than what
    stands.
    """
    bounds = (b for b in assessment["facts"].get("bounds", ()) if b.get("rate") is not None)
    return next((b for b in bounds if b["level"] == level), None)


def window_of(bound: MeasuredBound) -> float:
    """Return the window in seconds in which the rate of a bound was measured."""
    return bound["window_s"] or DEFAULT_WINDOW_S


def find_headline(frozen: FrozenDecision, site: Site | None, level: int) -> Headline | None:
    """The headline of a level; None where the evidence says no more than its sentence.

    Args:
        site: the declaration that it was decided by; None where no program can read it any more.
    """
    outcome = read_outcome(frozen)
    if site is None or level <= 0 or not outcome:
        return None
    votes = outcome.get("votes", _NOTHING).items()
    asking = {VoteKey.read(k): int(v["level"]) for k, v in votes if v["counted"] and v["level"] >= level}
    if found := find_moving(list_rates(outcome, site), site, level):
        return found
    for assessment in outcome.get("words", ()):
        if VoteKey(assessment["criterion"], assessment["station"]) in asking and assessment["reason"]:
            station, reason = assessment["station"], _read_reason(assessment)
            return Headline(
                LABELLED_TEXT(name=station, text=reason),
                LABELLED_TEXT(name=station, text=find_first(reason)),
                tuple(dict.fromkeys(key.station for key in asking)),
            )
    for key, step in outcome.get("steps", _NOTHING).items():
        if step["level"] >= level and "pended" not in step:
            station, reason = StepKey.read(key).station, _read_reason(step)
            return Headline(
                LABELLED_TEXT(name=station, text=reason),
                LABELLED_TEXT(
                    name=station,
                    text=cast("str", reason.values["name"])
                    if isinstance(reason, Message) and reason.id == LABELLED_TEXT.id
                    else reason,
                ),
                (station,),
            )
    return None


def _read_reason(evidence: StoredReason) -> str:
    return read_message(evidence["reason"], evidence.get("reason_id"), evidence.get("reason_values"))


def list_rates(evidence: Mapping[str, Any], site: Site) -> list[StationRate]:
    """What every vote on a rate measured, out of the evidence of a decision."""
    criteria = {c.id: c for c in site.criteria if c.kind.rate}
    units = {name: find_unit(site, name) for name in criteria}
    votes, found = evidence.get("votes", _NOTHING), []
    for assessment in evidence.get("words", ()):
        if (criterion := criteria.get(assessment["criterion"])) is None:
            continue
        vote = votes.get(VoteKey(criterion.id, assessment["station"]))
        known = [b for b in assessment["facts"].get("bounds", ()) if b.get("rate") is not None]
        if vote is None or not known:
            continue
        level = int(vote["level"])
        own = next((b for b in known if b["level"] == level), known[0])
        higher = [b for b in known if b["level"] > level]
        above = min(higher, key=itemgetter("level"), default=MeasuredBound())
        found.append(
            StationRate(
                criterion.id,
                assessment["station"],
                criterion.quantity,
                units[criterion.id],
                level,
                bool(vote["counted"]),
                from_epoch_s(assessment["newest_s"]),
                own["rate"],
                own.get("error", 0.0),
                own.get("low" if own["bound"] >= 0.0 else "high", own["rate"]),
                window_of(own),
                own["bound"],
                own["level"],
                above.get("level"),
                above.get("bound"),
                above.get("rate"),
                window_of(above) if above else None,
            )
        )
    return found


def find_moving(rates: Iterable[StationRate], site: Site, level: int) -> Headline | None:
    """How fast those move that ask for a level, who ask for most first, then the largest; None where none measured it.

    Of one criterion alone, for others measure in other units: of the one that is farthest beyond its bound.
    """
    found = [one for one in rates if one.counted and one.level >= level and one.bound_level == one.level]
    first = max(found, key=lambda one: (one.level, one.share), default=None)
    if first is None:
        return None
    mine = [one for one in found if one.criterion == first.criterion]
    return _describe_rates(sorted(mine, key=lambda one: (-one.level, -abs(one.rate))), site)


def _describe_rates(rates: Sequence[StationRate], site: Site) -> Headline:
    first = rates[0]
    criterion = next(c for c in site.criteria if c.id == first.criterion)
    declared = sum(1 for name in criterion.stations if (s := site.station(name)) is not None and s.on_slope)
    count = sum(one.level == first.level for one in rates)
    rate, bound = (Figure(value, find_form(value), first.unit) for value in (first.rate, first.bound))
    values: dict[str, Value] = {
        "rate": rate,
        "window": Duration(first.window_s, "span"),
        "place": first.station,
        "n2": count,
        "n3": declared,
        "level": Term(name_of(site, first.level)),
        "bound": bound,
    }
    if not criterion.kind.velocity:
        values |= {"quantity": Term(criterion.quantity)}
    of_motion = (_MOVING, _MOVING_ONE, _MOVING_MANY)
    templates = (_RATE, _RATE_ONE, _RATE_MANY) if "quantity" in values else of_motion
    template = templates[0 if declared <= 1 else 1 if count == 1 else 2]
    who = first.station if declared <= 1 or count == 1 else _STATIONS(n=count)
    return Headline(template(**values), join([rate, who], ", "), tuple(one.station for one in rates))


def find_unit(site: Site, criterion_id: str) -> str:
    """The unit of the bounds of a criterion; empty where it has none."""
    for criterion in site.criteria:
        if criterion.id == criterion_id:
            specs = (site.series(station, criterion.quantity) for station in criterion.stations)
            spec = next((one for one in specs if one is not None), None)
            return "" if spec is None else criterion.kind.unit_of(spec.unit)
    return ""


def find_sight(frozen: FrozenDecision, site: Site | None) -> list[Message]:
    """How sure a decision is: who can vote, how many are needed, what could not be seen; nothing where no data did."""
    outcome = frozen.get("outcome") or _NOTHING
    if site is None or "witnesses_available" not in outcome:
        return []
    count = outcome["witnesses_available"]
    needs = site.fusion.top_needs
    return [join([_ONE_CAN(n=needs) if count == 1 else _CAN(n=count, n2=needs), _describe_observability(frozen)])]


def _describe_observability(frozen: FrozenDecision) -> str:
    """Return what a decision could see of the slope.

    While a backlog is stored, the observability is that from before the backlog. A blind site whose level was raised
    by readings has valid readings, but only old ones.
    """
    if (frozen.get("view") or _NOTHING).get("draining"):
        return _BACKLOG()
    observability = str((frozen.get("outcome") or _NOTHING)["observability"])
    if observability == "blind":
        assessments = read_outcome(frozen).get("words", ())
        newest = [one["newest_s"] for one in assessments if one["heard"] and one["raise_level"] and one["newest_s"]]
        if newest:
            return _OLD_READINGS(at=Timestamp(max(newest), "minute"))
    return SIGHT_WORDS.get(observability, observability)


def find_window(windows: Iterable[SomeWindow], begin: str, end: str, newest: Any) -> SomeWindow | None:
    """The failure window that is told: the first of those whose end no reading of the slope has passed.

    One that has ended without a word from the slope is told as ended: no other station's takes its place, for what
    was late by then rests on readings from before. Only newer readings bring another window.

    `windows`: that stand and are trusted; `begin`: the name of their begin; `end`: the name of their end; `newest`:
    instant of the newest reading of the slope's motion, spelled as those of the windows.
    """
    return min((w for w in windows if w[end] > newest), key=lambda w: (w[begin], w[end]), default=None)


def describe_expected(frozen: FrozenDecision, now: datetime) -> list[str]:
    """What comes next, as far as it was known: the next trusted failure window, and what the forecast says."""
    now_s = epoch_s(now)
    words = read_outcome(frozen).get("words", ())
    moved = [w["newest_s"] for w in words if w["newest_s"] and any("rate" in b for b in w["facts"].get("bounds", ()))]
    trusted = [w for w in (frozen.get("view") or _NOTHING).get("failures", ()) if w["trusted"]]
    found = list[str]()
    if (first := find_window(trusted, "from_s", "to_s", max(moved, default=now_s))) is not None:
        begin, end = (Timestamp(first[k], "minute") for k in ("from_s", "to_s"))
        ahead = _POSSIBLE(at=begin, at2=end) if first["from_s"] > now_s else _POSSIBLE_NOW(at=end)
        found.append(ahead if first["to_s"] > now_s else _ENDED(at=begin, at2=end))
    return found + [_read_reason(w) for w in words if w["heard"] and "distribution" in w["facts"]][:1]
