"""Describe a level in one sentence from the stored evidence of a decision, for the page and for messages."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NotRequired, TypedDict, TypeVar

from monitor.decision.keys import StepKey, VoteKey
from monitor.decision.subjects import find_first_fact
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

FailureWindow = TypeVar("FailureWindow", bound=Mapping[str, Any])
_NOTHING: Final[Mapping[str, Any]] = {}
OBSERVABILITY_TEXTS: Final[Mapping[str, Message]] = {
    "full": Template("sight.all_valid", "all series that can raise a level give valid data")(),
    "degraded": Template(
        "sight.some_incomplete", "data of some series that can raise a level are missing, in doubt or do not count"
    )(),
    "blind": Template(
        "sight.no_valid_data", "no valid data from the stations behind this level, or from those that can raise a level"
    )(),
}
_BACKLOG: Final = Template(
    "sight.storing", "older readings are still being stored; this level contains those stored so far"
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
_ONE_WITNESS: Final = Template(
    "sight.one_can_request", "1 independent witness can request the highest level, {n} needed"
)
_WITNESSES: Final = Template(
    "sight.can_request", "{n} independent witnesses can request the highest level, {n2} needed"
)
_POSSIBLE: Final = Template("outlook.possible", "failure possible {at} to {at2}")
_POSSIBLE_NOW: Final = Template("outlook.possible_now", "failure possible now, until {at}")
_WINDOW_PASSED: Final = Template(
    "outlook.window_passed",
    "the failure window {at} to {at2} has passed without a newer reading of the slope, so it may have failed",
)


class MeasuredBound(TypedDict, total=False):
    """A measured rate and the bound of a level that it is compared with.

    `low` and `high` are the smallest and the largest rate if any single reading is left out.
    """

    level: int
    bound: float
    rate: float | None
    error: float
    low: float
    high: float
    window_s: float | None


class StoredReason(TypedDict):
    """A reason in stored evidence: its English text, and the id and values of its template if it is a message."""

    reason: str
    reason_id: NotRequired[str]
    reason_values: NotRequired[Mapping[str, Any]]


class StoredAssessment(StoredReason):
    """The assessment of a station by a criterion. `heard` is true if the criterion had any data."""

    criterion: str
    station: str
    heard: bool
    fresh: bool
    raise_level: int
    hold_level: int
    newest_s: float
    facts: Mapping[str, Any]


class StoredStep(StoredReason):
    """A sudden step of a station."""

    level: int
    state: str
    pended: NotRequired[str]


class StoredVote(TypedDict):
    """A vote, and whether it counted."""

    level: int
    counted: bool
    pended: str | None
    newest_s: float | None
    valid_until_s: float | None
    reason: str
    part: NotRequired[str]
    capped: NotRequired[str]


class DecisionEvidence(TypedDict, total=False):
    """The evidence of a decision. `asked` is the requested level, and `words` are the assessments."""

    sentence: str
    level: int
    level_before: int
    asked: int
    words: Sequence[StoredAssessment]
    votes: Mapping[str, StoredVote]
    steps: Mapping[str, StoredStep]
    rules: Mapping[str, Any]
    bounds: str
    events: Sequence[Any]
    common: Mapping[str, str]
    held_by: Sequence[str]
    common_silence: Mapping[str, Any]


class StoredOutcome(TypedDict, total=False):
    """The outcome of a decision."""

    evidence: DecisionEvidence
    changes: Sequence[Any]
    health: Sequence[Any]
    witnesses_available: int
    observability: str


class FrozenDecision(TypedDict, total=False):
    """Stored inputs and outcome of a decision, of an act of a person, or of an alarm of the service."""

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
    """The most important reason of a level.

    Attributes:
        sentence: One sentence without a full stop, such as "Moving 302 mm/day over 6 h at 5 of 6 stations, red from 200
            mm/day".
        short: The same for a lock screen, such as "302 mm/day, 5 stations".
        stations: The stations that request the level, the fastest first.
    """

    sentence: str
    short: str
    stations: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StationRate:
    """The rate of a station by a criterion, compared with the bound of the level that its vote requests.

    Rates and bounds are in `unit`.

    Attributes:
        level: The level that the vote requests. At 0 the bound is the lowest one.
        counted: Whether the vote counts.
        error: Standard error of the rate.
        least: The smallest rate in the direction of the bound, if any single reading is left out.
        window_s: Time over which the rate is measured, in seconds.
        bound_level: The level of the bound.
        next_level: The next higher level, which the vote does not request, with its bound, and the rate in its window.
    """

    criterion: str
    station: str
    quantity: str
    unit: str
    level: int
    counted: bool
    newest_at: datetime
    rate: float
    error: float
    least: float
    window_s: float
    bound: float
    bound_level: int
    next_level: int | None = None
    next_bound: float | None = None
    next_rate: float | None = None
    next_window_s: float | None = None

    @property
    def share(self) -> float:
        """The rate in multiples of its bound; 0 without a bound."""
        return abs(self.rate / self.bound) if self.bound else 0.0


def get_evidence(frozen: FrozenDecision) -> DecisionEvidence:
    """Return the evidence of a decision; empty if a person or a program decided."""
    evidence = (frozen.get("outcome") or {}).get("evidence")
    return evidence if isinstance(evidence, dict) else {}


def name_site_level(site: Site, level: int) -> str:
    """Return the name of a level, or its number if the site has no such level."""
    return site.levels[level].name if level < len(site.levels) else str(level)


def rank_bound(bound: Mapping[str, Any]) -> tuple[bool, float]:
    """Return a key that orders the two bounds of a level: a crossed bound is largest, then the nearer one.

    Args:
        bound: Facts on one bound, as in `Assessment.facts`.
    """
    is_crossed = bound.get("hits", 0) >= bound.get("needs", 1) or "fast_track" in bound
    return is_crossed, bound.get("margin", 0.0)


def find_bound_of_vote(assessment: StoredAssessment, level: int) -> MeasuredBound | None:
    """Return the rate that an assessment measured against the bound of its vote; None if it measured none.

    Args:
        level: The level that the vote requests. It may be higher than the level of the site.
    """
    measured = [bound for bound in assessment["facts"].get("bounds", ()) if bound.get("rate") is not None]
    return max((bound for bound in measured if bound["level"] == level), key=rank_bound, default=None)


def get_window_s(bound: MeasuredBound) -> float:
    """Return the time over which the rate of a bound was measured, in seconds."""
    return bound["window_s"] or DEFAULT_WINDOW_S


def find_headline(frozen: FrozenDecision, site: Site | None, level: int) -> Headline | None:
    """Return the headline of a level; None if the evidence contains no reason besides its sentence.

    The first of these that requests the level: rates, other votes, jumps.

    Args:
        site: The site file of the decision; None if no installed version can read it.
    """
    evidence = get_evidence(frozen)
    if site is None or level <= 0 or not evidence:
        return None
    motion = find_motion_headline(list_rates(evidence, site), site, level)
    if motion is not None:
        return motion
    votes = evidence.get("votes", _NOTHING).items()
    requesting = [VoteKey.read(key) for key, vote in votes if vote["counted"] and vote["level"] >= level]
    for assessment in evidence.get("words", ()):
        station = assessment["station"]
        if VoteKey(assessment["criterion"], station) in requesting and assessment["reason"]:
            reason = _read_reason(assessment)
            return Headline(
                LABELLED_TEXT(name=station, text=reason),
                LABELLED_TEXT(name=station, text=find_first_fact(reason)),
                tuple(dict.fromkeys(key.station for key in requesting)),
            )
    for key, step in evidence.get("steps", _NOTHING).items():
        if step["level"] >= level and "pended" not in step:
            # The reason of a step names its station.
            reason = _read_reason(step)
            jump = reason.values.get("step") if isinstance(reason, Message) else None
            short = jump if isinstance(jump, Message) else reason
            return Headline(reason, short, (StepKey.read(key).station,))
    return None


def _read_reason(stored: StoredReason) -> str:
    return read_message(stored["reason"], stored.get("reason_id"), stored.get("reason_values"))


def list_rates(evidence: Mapping[str, Any], site: Site) -> list[StationRate]:
    """Return the rate behind every vote of a criterion on rates, from the evidence of a decision."""
    criteria = {criterion.id: criterion for criterion in site.criteria if criterion.kind.rate}
    units = {name: find_unit(site, name) for name in criteria}
    votes = evidence.get("votes", _NOTHING)
    rates = []
    for assessment in evidence.get("words", ()):
        criterion = criteria.get(assessment["criterion"])
        if criterion is None:
            continue
        vote = votes.get(VoteKey(criterion.id, assessment["station"]))
        measured = [bound for bound in assessment["facts"].get("bounds", ()) if bound.get("rate") is not None]
        if vote is None or not measured:
            continue
        level = int(vote["level"])
        shown_level = level if any(bound["level"] == level for bound in measured) else measured[0]["level"]
        requested = max((bound for bound in measured if bound["level"] == shown_level), key=rank_bound)
        higher = [bound for bound in measured if bound["level"] > level]
        next_level = min((bound["level"] for bound in higher), default=0)
        of_next_level = [bound for bound in higher if bound["level"] == next_level]
        following = max(of_next_level, key=rank_bound, default=MeasuredBound())
        rates.append(
            StationRate(
                criterion=criterion.id,
                station=assessment["station"],
                quantity=criterion.quantity,
                unit=units[criterion.id],
                level=level,
                counted=bool(vote["counted"]),
                newest_at=from_epoch_s(assessment["newest_s"]),
                rate=requested["rate"],
                error=requested.get("error", 0.0),
                least=requested.get("low" if requested["bound"] >= 0.0 else "high", requested["rate"]),
                window_s=get_window_s(requested),
                bound=requested["bound"],
                bound_level=requested["level"],
                next_level=following.get("level"),
                next_bound=following.get("bound"),
                next_rate=following.get("rate"),
                next_window_s=get_window_s(following) if following else None,
            )
        )
    return rates


def find_motion_headline(rates: Iterable[StationRate], site: Site, level: int) -> Headline | None:
    """Return a headline with the rates of the stations that request a level; None if no rate requests it.

    Stations that request the highest level come first, then the fastest. Other criteria may measure in other units, so
    the headline is about one criterion: the one whose rate exceeds its bound most.
    """
    requesting = [rate for rate in rates if rate.counted and rate.level >= level and rate.bound_level == rate.level]
    first = max(requesting, key=lambda rate: (rate.level, rate.share), default=None)
    if first is None:
        return None
    same_criterion = [rate for rate in requesting if rate.criterion == first.criterion]
    return _describe_rates(sorted(same_criterion, key=lambda rate: (-rate.level, -abs(rate.rate))), site)


def _describe_rates(rates: Sequence[StationRate], site: Site) -> Headline:
    first = rates[0]
    criterion = next(criterion for criterion in site.criteria if criterion.id == first.criterion)
    stations = [site.station(name) for name in criterion.stations]
    declared = sum(1 for station in stations if station is not None and station.on_slope)
    count = sum(rate.level == first.level for rate in rates)
    shown_rate = Figure(first.rate, find_form(first.rate), first.unit)
    values: dict[str, Value] = {
        "rate": shown_rate,
        "window": Duration(first.window_s, "span"),
        "place": first.station,
        "n2": count,
        "n3": declared,
        "level": Term(name_site_level(site, first.level)),
        "bound": Figure(first.bound, find_form(first.bound), first.unit),
    }
    if criterion.kind.velocity:
        only, single, several = _MOVING, _MOVING_ONE, _MOVING_MANY
    else:
        only, single, several = _RATE, _RATE_ONE, _RATE_MANY
        values["quantity"] = Term(criterion.quantity)
    is_single = declared <= 1 or count == 1
    if declared <= 1:
        template = only
    elif is_single:
        template = single
    else:
        template = several
    where = first.station if is_single else _STATIONS(n=count)
    return Headline(template(**values), join([shown_rate, where], ", "), tuple(rate.station for rate in rates))


def find_unit(site: Site, criterion_id: str) -> str:
    """Return the unit of the bounds of a criterion; empty if it has none."""
    for criterion in site.criteria:
        if criterion.id == criterion_id:
            declared = (site.series(station, criterion.quantity) for station in criterion.stations)
            spec = next((spec for spec in declared if spec is not None), None)
            return "" if spec is None else criterion.kind.unit_of(spec.unit)
    return ""


def describe_certainty(frozen: FrozenDecision, site: Site | None) -> list[Message]:
    """Return how sure a decision is: its witnesses for the highest level, those that it needs, and its observability.

    Empty if a person or a program decided.
    """
    outcome = frozen.get("outcome") or _NOTHING
    if site is None or "witnesses_available" not in outcome:
        return []
    count, needed = outcome["witnesses_available"], site.fusion.top_needs
    witnesses = _ONE_WITNESS(n=needed) if count == 1 else _WITNESSES(n=count, n2=needed)
    return [join([witnesses, _describe_observability(frozen)])]


def _describe_observability(frozen: FrozenDecision) -> str:
    """Return the text on the observability of a decision.

    While a backlog is stored, the observability is that from before the backlog. If readings raised the level of a
    blind site, the text contains the time of the newest of them.
    """
    if (frozen.get("view") or _NOTHING).get("draining"):
        return _BACKLOG()
    observability = str((frozen.get("outcome") or _NOTHING)["observability"])
    if observability == "blind":
        newest_s = [
            assessment["newest_s"]
            for assessment in get_evidence(frozen).get("words", ())
            if assessment["heard"] and assessment["raise_level"] and assessment["newest_s"]
        ]
        if newest_s:
            return _OLD_READINGS(at=Timestamp(max(newest_s), "minute"))
    return OBSERVABILITY_TEXTS.get(observability, observability)


def select_failure_window(windows: Iterable[FailureWindow], start: str, end: str, newest: Any) -> FailureWindow | None:
    """Return the failure window to report: the earliest whose end is not before the newest reading of the slope.

    A window that has passed without a newer reading is still reported. Later windows of other stations do not replace
    it, because they rest on readings from before its end. Only newer readings do.

    Args:
        windows: Valid windows that are trusted.
        start: Key of the start of a window.
        end: Key of the end of a window.
        newest: Instant of the newest reading of the motion of the slope, of the same type as the values of the windows.
    """
    open_windows = (window for window in windows if window[end] > newest)
    return min(open_windows, key=lambda window: (window[start], window[end]), default=None)


def describe_outlook(frozen: FrozenDecision, now: datetime) -> list[str]:
    """Return what was expected next: the next trusted failure window, and the first forecast."""
    now_s = epoch_s(now)
    assessments = get_evidence(frozen).get("words", ())
    motion_s = [
        assessment["newest_s"]
        for assessment in assessments
        if assessment["newest_s"] and any("rate" in bound for bound in assessment["facts"].get("bounds", ()))
    ]
    trusted = [window for window in (frozen.get("view") or _NOTHING).get("failures", ()) if window["trusted"]]
    texts = list[str]()
    window = select_failure_window(trusted, "from_s", "to_s", max(motion_s, default=now_s))
    if window is not None:
        start, end = Timestamp(window["from_s"], "minute"), Timestamp(window["to_s"], "minute")
        if window["to_s"] <= now_s:
            texts.append(_WINDOW_PASSED(at=start, at2=end))
        elif window["from_s"] > now_s:
            texts.append(_POSSIBLE(at=start, at2=end))
        else:
            texts.append(_POSSIBLE_NOW(at=end))
    forecasts = [
        _read_reason(assessment)
        for assessment in assessments
        if assessment["heard"] and "distribution" in assessment["facts"]
    ]
    return texts + forecasts[:1]
