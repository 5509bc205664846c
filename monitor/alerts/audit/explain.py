"""Describe an alert and its decision as lines for people, from stored rows and frozen inputs alone.

* `describe_alert`: the whole alert. Its level, its events, its newest decision, who was notified, and who acknowledged.
* `describe_decision`: what a decision changed, which votes counted and which were set aside.
* `describe_inputs`: the readings that a decision used, and the assessment of every criterion.

Times are in the zone in use. Figures are rounded; exact values are in the frozen inputs.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from monitor.alerts.audit.queries import SentMessage
from monitor.alerts.notification import DeliveryState
from monitor.alerts.queries.alerts import Alert, AlertEvent
from monitor.decision.alert_texts import name_level, unwrap_reason
from monitor.decision.changes import AlertCategory
from monitor.decision.criteria.bound_units import find_bound_units
from monitor.decision.criteria.kinds.forecast import describe_chance, describe_quantiles
from monitor.decision.headline import DecisionEvidence, FrozenDecision, StoredAssessment, StoredStep, StoredVote
from monitor.decision.keys import StepKey, VoteKey
from monitor.decision.level_sentence import name_supporter
from monitor.errors import ConfigError
from monitor.sites.parsing import parse_site
from monitor.sites.quantities import QUANTITIES
from monitor.text.figures import find_form, format_number
from monitor.text.instants import from_epoch_s, parse_time
from monitor.text.local_time import format_instant
from monitor.text.message import Term, plain_to_messages
from monitor.text.rendering import translate

# Positions in a frozen reading, see `monitor.decision.records.DecisionInputs.to_json`.
_OBSERVED, _RECEIVED, _REVISION, _OFFSET, _VALUE, _FLAGS = 0, 1, 2, 4, 5, 7
# Inputs besides readings, offsets and proofs.
OTHER_INPUTS: Final = ("forecasts", "anomalies", "footprints", "reports", "events", "failures", "maintenance", "points")
# Names of one and of several inputs.
_INPUT_NAMES: Final[Mapping[str, tuple[str, str]]] = {
    "forecasts": ("forecast", "forecasts"),
    "anomalies": ("anomaly score", "anomaly scores"),
    "footprints": ("outline of an image", "outlines of images"),
    "reports": ("report of an observer", "reports of observers"),
    "events": ("declared event", "declared events"),
    "failures": ("failure window", "failure windows"),
    "maintenance": ("announcement of maintenance", "announcements of maintenance"),
    "points": ("InSAR point", "InSAR points"),
}
# Messages that `describe_alert` lists, the newest first.
_MAX_MESSAGES: Final = 20
_DIGITS: Final = 4


@dataclass(frozen=True, slots=True)
class DecisionNames:
    """Names that the site file of a decision gives to levels and bounds.

    Attributes:
        levels: Names of the levels, the lowest first. Without names, levels are shown as numbers.
        units: Unit of the bounds of each criterion, by its id.
    """

    levels: tuple[str, ...] = ()
    units: Mapping[str, str] = field(default_factory=dict)

    def level(self, number: int) -> str:
        """Return the name of a level, such as "orange", or "level 2" if the site file names no such level."""
        return self.levels[number] if 0 <= number < len(self.levels) else f"level {number}"


@dataclass(frozen=True, slots=True)
class SeriesInput:
    """The readings of one series that a decision used."""

    series: str
    count: int
    from_at: str
    to_at: str
    last_received_at: str
    first_value: float
    last_value: float
    revised: int
    offsets: tuple[float, ...]
    flags: Mapping[str, int]

    def __str__(self) -> str:
        quantity = QUANTITIES.get(self.series.partition(".")[2])
        unit = "" if quantity is None else quantity.unit
        first_value, last_value = (format_number(value, _DIGITS, unit) for value in (self.first_value, self.last_value))
        text = (
            f"{self.series}: {_count(self.count, 'reading')} from {_format_time(self.from_at)} "
            f"to {_format_time(self.to_at)}, {first_value} to {_with_unit(last_value, unit)}, "
            f"the last received {_format_time(self.last_received_at)}"
        )
        remarks = [f"{self.revised} revised"] if self.revised else []
        if any(self.offsets):
            offsets = ", ".join(format_number(offset, _DIGITS, unit) for offset in self.offsets)
            remarks.append(f"offsets {_with_unit(offsets, unit)}")
        remarks += [f"{count} flagged {flag}" for flag, count in self.flags.items()]
        return f"{text}; {'; '.join(remarks)}" if remarks else text


def list_inputs(frozen: FrozenDecision) -> tuple[SeriesInput, ...]:
    """Return the series that a decision used, each with its span, revisions, offsets and flags."""
    inputs = []
    for name, rows in frozen.get("view", {}).get("readings", {}).items():
        if not rows:
            continue
        flags = Counter(flag for row in rows for flag in row[_FLAGS])
        inputs.append(
            SeriesInput(
                series=name,
                count=len(rows),
                from_at=rows[0][_OBSERVED],
                to_at=rows[-1][_OBSERVED],
                last_received_at=max(row[_RECEIVED] for row in rows),
                first_value=rows[0][_VALUE],
                last_value=rows[-1][_VALUE],
                revised=sum(row[_REVISION] > 0 for row in rows),
                offsets=tuple(sorted({row[_OFFSET] for row in rows})),
                flags=dict(sorted(flags.items())),
            )
        )
    return tuple(inputs)


def read_names(source: str) -> DecisionNames:
    """Return the names in a stored site file; none if the file is missing or this version cannot read it."""
    try:
        site = parse_site(source, "stored site file") if source else None
    except ConfigError:
        site = None
    if site is None:
        return DecisionNames()
    return DecisionNames(tuple(level.name for level in site.levels), find_bound_units(site))


# ---- the alert -------------------------------------------------------------------------------------------------
def describe_alert(
    alert: Alert,
    events: Sequence[AlertEvent],
    messages: Sequence[SentMessage],
    frozen: FrozenDecision,
    names: DecisionNames,
) -> list[str]:
    """Return the level of an alert, what happened to it, its newest decision, who was notified and who acknowledged.

    Args:
        events: All events of the alert, the oldest first.
        messages: All messages of the alert, the newest first.
        frozen: The newest decision; empty if no inputs were frozen.
    """
    level = name_level(names.levels, alert.ledger, alert.level)
    mark = "EXERCISE: " if alert.exercise else ""
    reason = translate(unwrap_reason(alert.reason))
    # The documentation lists the remedy of each health alert by its key.
    key = f" [{alert.key}]" if alert.ledger == AlertCategory.HEALTH else ""
    return [
        f"{mark}Alert {alert.id} of {alert.site}, {alert.ledger}: {level}, {Term(alert.state).english()}{key}",
        f"Reason: {reason}",
        "What happened:",
        *(f"  {line}" for line in _describe_events_of_alert(alert, events, names)),
        *describe_decision(frozen, names),
        "Notified:",
        *(f"  {line}" for line in _describe_messages(messages)),
        f"Acknowledged: {_describe_acknowledgement(alert, events)}",
    ]


def _describe_events_of_alert(alert: Alert, events: Sequence[AlertEvent], names: DecisionNames) -> Iterator[str]:
    for event in events:
        level = name_level(names.levels, alert.ledger, event.to_level)
        actor = "the service" if event.actor_kind == "service" else event.actor
        state = Term(event.to_state).english()
        yield f"{format_instant(event.at)} {level}, {state}, by {actor}: {translate(unwrap_reason(event.reason))}"


def _describe_messages(messages: Sequence[SentMessage]) -> Iterator[str]:
    if not messages:
        yield "nobody"
    for message in messages[:_MAX_MESSAGES]:
        channel_kind = message.channel.partition(":")[0]
        head = f"{format_instant(message.queued_at)} {message.recipient} by {channel_kind}, {message.level_name}"
        yield f"{head}: {_describe_delivery(message)}"
    if len(messages) > _MAX_MESSAGES:
        yield f"and {len(messages) - _MAX_MESSAGES} earlier messages (--json lists all)"


def _describe_delivery(message: SentMessage) -> str:
    error = f": {translate(message.last_error)}" if message.last_error else ""
    if message.state == DeliveryState.CONFIRMED:
        confirmed_by = message.confirmed_by or message.recipient
        at = "" if message.confirmed_at is None else f" {format_instant(message.confirmed_at)}"
        return f"confirmed{at} by {confirmed_by}"
    if message.state == DeliveryState.DELIVERED:
        return "delivered" if message.sent_at is None else f"delivered {format_instant(message.sent_at)}"
    if message.state == DeliveryState.FAILED_FINAL:
        return f"not delivered{error}"
    if message.state == DeliveryState.FAILED_RETRY:
        return f"not delivered yet, will be tried again{error}"
    if message.state == DeliveryState.SUPERSEDED:
        return "not sent, because a newer message or event replaced it"
    return "waits to be sent"


def _describe_acknowledgement(alert: Alert, events: Sequence[AlertEvent]) -> str:
    if alert.acknowledged_at is None:
        if alert.closed_at is not None:
            return "nobody"
        return f"nobody yet; to acknowledge: slopeward ack {alert.id} --by NAME --reason TEXT"
    reasons = [event.reason for event in events if event.at == alert.acknowledged_at and event.actor_kind == "person"]
    reason = f": {translate(reasons[-1])}" if reasons else ""
    return f"{alert.acknowledged_by} at {format_instant(alert.acknowledged_at)}{reason}"


# ---- the decision ----------------------------------------------------------------------------------------------
def explain(frozen: FrozenDecision, names: DecisionNames | None = None) -> list[str]:
    """Return the sentence of a decision, what counted, and its inputs."""
    names = names or DecisionNames()
    messages = plain_to_messages(frozen)
    sentence = messages.get("sentence") or messages.get("reason")
    reason = translate(unwrap_reason(sentence)) if sentence else "the stored decision contains no reason"
    return [f"Reason: {reason}", *describe_decision(frozen, names), *describe_inputs(frozen, names)]


def describe_decision(frozen: FrozenDecision, names: DecisionNames) -> list[str]:
    """Return what a decision changed, which votes counted, which were set aside, and what else affected the level.

    A decision of a person has fewer lines, and an alarm of the service has none.
    """
    frozen = plain_to_messages(frozen)
    if "act" in frozen:
        return _describe_act(frozen, names)
    evidence = frozen.get("outcome", {}).get("evidence")
    if evidence is None:
        return []
    assessments = {VoteKey(item["criterion"], item["station"]): item for item in evidence["words"]}
    votes = {key: vote for key, vote in evidence["votes"].items() if vote["level"] > 0}
    counted = [_describe_vote(key, vote, assessments, names) for key, vote in votes.items() if vote["counted"]]
    set_aside = [_describe_vote(key, vote, assessments, names) for key, vote in votes.items() if not vote["counted"]]
    change = _describe_change(evidence["level_before"], evidence["level"], names)
    lines = [
        f"Decided {_format_time(frozen['now'])}: {change}{_describe_request(evidence, names)}",
        *([translate(evidence["common_silence"]["reason"])] if "common_silence" in evidence else []),
        *_list_under("Counted", counted),
        *_list_under("Set aside", set_aside),
    ]
    for rule in evidence.get("rules", {}).values():
        support = ", ".join(_name_support(key) for key in rule["behind"]) or "no vote"
        lines.append(f"{translate(rule['sentence'])}; supported by {support}")
    if "bounds" in evidence:
        lines.append(translate(evidence["bounds"]))
    lines += [*_describe_declared_events(evidence), *_describe_steps(evidence["steps"], names)]
    lines += [translate(text) for text in evidence["common"].values()]
    if evidence["held_by"]:
        lines.append(f"Keeps the level from falling: {', '.join(map(_name_support, evidence['held_by']))}")
    return lines


def _describe_act(frozen: FrozenDecision, names: DecisionNames) -> list[str]:
    before, after = frozen["memory"], frozen["after"]
    votes = [
        f"{names.level(vote['level'])}: {_name_support(key)}: {translate(vote['reason'])}; reading of "
        f"{_format_epoch(vote['newest_s'])}"
        for key, vote in sorted(before["votes"].items())
        if vote["level"] > 0
    ]
    change = _describe_change(before["level"], after["level"], names)
    floor = f"; data cannot lower it below {names.level(after['floor'])}" if after["floor"] > 0 else ""
    return [
        f"Decided {_format_time(frozen['now'])} by {frozen['actor']} ({frozen['act']}): {change}{floor}",
        f"Newest reading: {_format_epoch(before['newest_s'])}",
        *_list_under("Votes at that time", votes),
    ]


def _describe_change(before: int, after: int, names: DecisionNames) -> str:
    if after == before:
        return f"the level stays {names.level(after)}"
    verb = "rises" if after > before else "falls"
    return f"the level {verb} from {names.level(before)} to {names.level(after)}"


def _describe_request(evidence: DecisionEvidence, names: DecisionNames) -> str:
    if evidence["asked"] == evidence["level"]:
        return ""
    return f"; the votes that count request {names.level(evidence['asked'])}"


def _describe_vote(
    key: str, vote: StoredVote, assessments: Mapping[VoteKey, StoredAssessment], names: DecisionNames
) -> str:
    vote_key = VoteKey.read(key)
    assessment = assessments.get(vote_key)
    text = f"{names.level(vote['level'])}: {_name_support(key)}"
    if assessment is not None and assessment["heard"]:
        text += f": {translate(assessment['reason'])}"
    if not vote["counted"]:
        text += f"; set aside: {_explain_set_aside(vote)}"
    if "capped" in vote:
        text += f"; counts for less than it requests: {translate(vote['capped'])}"
    times = f"reading of {_format_epoch(vote['newest_s'])}, valid until {_format_epoch(vote['valid_until_s'])}"
    return f"{text}; {times}"


def _explain_set_aside(vote: StoredVote) -> str:
    if vote["pended"]:
        return str(translate(vote["pended"]))
    if "part" in vote:
        return str(translate(vote["part"]))
    return "it has expired"


def _describe_declared_events(evidence: DecisionEvidence) -> Iterator[str]:
    for event in evidence.get("events", ()):
        confirmed = f", confirmed by {' and '.join(event['confirmed_by'])}" if event["confirmed_by"] else ""
        effects = "; ".join(translate(effect) for effect in event["effects"])
        declared = f"declared by {event['by']} by {event['via']}{confirmed}"
        yield f"Event {event['event']} ({event['kind']}), {declared}: {effects}"


def _describe_steps(steps: Mapping[str, StoredStep], names: DecisionNames) -> Iterator[str]:
    for key, step in steps.items():
        set_aside = f"; set aside: {translate(step['pended'])}" if "pended" in step else ""
        level = names.level(step["level"])
        yield f"Jump at {StepKey.read(key).station}, {step['state']}: {translate(step['reason'])}; {level}{set_aside}"


def _name_support(key: str) -> str:
    """Return the name of a vote, rule or jump, such as "G1 (velocity-1)". Other texts are returned unchanged."""
    return str(translate(name_supporter(key))) if "|" in key else key


# ---- the inputs ------------------------------------------------------------------------------------------------
def _count_inputs(name: str, count: int) -> str:
    singular, plural = _INPUT_NAMES[name]
    return f"{count} {singular if count == 1 else plural}"


def describe_inputs(frozen: FrozenDecision, names: DecisionNames | None = None) -> list[str]:
    """Return the inputs of a decision and the assessment of every criterion; nothing if it used no reading."""
    frozen = plain_to_messages(frozen)
    names = names or DecisionNames()
    evidence = frozen.get("outcome", {}).get("evidence")
    if evidence is None or "view" not in frozen:
        return []
    view = frozen["view"]
    series = list_inputs(frozen)
    others = [name for name in OTHER_INPUTS if view[name]]
    lines = [
        "Inputs:",
        *(f"  {item}" for item in series),
        *(f"  {_count_inputs(name, len(view[name]))}" for name in others),
        *([] if series or others else ["  none"]),
    ]
    if view["draining"]:
        lines.append("  older readings were still being stored, so no level could fall and silence was not judged")
    faulty = [health for health in frozen["outcome"]["health"] if health["state"] != "ok"]
    if faulty:
        lines.append("Instruments that are not ok:")
        lines += [
            f"  {health['station']}, {Term(health['state']).english()}: {translate(health['reason'])}"
            for health in faulty
        ]
    return [*lines, "Criteria:", *(f"  {line}" for line in _describe_assessments(evidence["words"], names))]


def _describe_assessments(assessments: Sequence[StoredAssessment], names: DecisionNames) -> Iterator[str]:
    for assessment in assessments:
        name = f"{assessment['criterion']} {assessment['station']}"
        if not assessment["heard"]:
            yield f"{name}: no data: {translate(assessment['reason'])}"
            continue
        requested, held = names.level(assessment["raise_level"]), names.level(assessment["hold_level"])
        yield f"{name}: requests {requested}, keeps up to {held}; {translate(assessment['reason'])}"
        unit = names.units.get(assessment["criterion"], "")
        yield from (f"  {line}" for line in _describe_bounds(assessment["facts"], unit, names))


def _describe_bounds(facts: Mapping[str, Any], unit: str, names: DecisionNames) -> Iterator[str]:
    """Yield the distance from each bound: the margin if the criterion states one, else the share of the bound."""
    for bound in facts.get("bounds", ()):
        level = names.level(bound["level"])
        if "chance_from" in bound:
            chance = f"{describe_chance(bound)}; {describe_quantiles(bound)} by {bound['model']}"
            yield f"{level}: {chance}; {facts['distribution']}"
        if "margin" in bound:
            limit = _with_unit(format_number(bound["bound"], _DIGITS), unit)
            margin = _with_unit(format(bound["margin"], f"+{find_form(bound['margin'])}"), unit)
            hits = (
                f", {_count(bound['hits'], 'reading')} beyond it, {bound['needs']} needed" if "needs" in bound else ""
            )
            yield f"{level}: bound {limit}, margin {margin}{hits}"
    for fact in facts.get("levels", ()):
        if isinstance(fact, Mapping) and "ratio" in fact:
            yield f"{names.level(fact['level'])}: {fact['ratio']:.0%} of its bound"


def _list_under(heading: str, items: Sequence[str]) -> list[str]:
    return [f"{heading}:", *(f"  {item}" for item in items)] if items else [f"{heading}: none"]


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _with_unit(text: str, unit: str) -> str:
    return f"{text} {unit}" if unit else text


def _format_epoch(at_s: float | None) -> str:
    return "none" if at_s is None else format_instant(from_epoch_s(at_s))


def _format_time(text: str) -> str:
    return format_instant(parse_time(text))
