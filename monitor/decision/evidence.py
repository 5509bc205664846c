"""Describe the reasons of a decision, as JSON-ready values that are stored with it.

`describe_evidence` gets the situation of the site and the memory after the decision. It returns the assessments of all
criteria, the votes, steps, rules and events, and what keeps the level from falling. Alerts, `slopeward alerts explain`
and the page read this evidence.

The keys of the evidence are published, so some are older than the terms of the code: `asked` is the requested level,
`words` are the assessments, and `heard` is whether an assessment has data. `pended` contains the reason why a vote or
step does not count, and `capped` the reason why a vote counts for a lower level.
"""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, Final

from monitor.decision.criteria.kinds.earthquake import list_lowering_earthquakes
from monitor.decision.keys import Supporter, VoteKey
from monitor.decision.level_sentence import explain_level
from monitor.decision.proof import find_unproven
from monitor.decision.records import Memory, Step, Steps, Vote
from monitor.decision.series.assessment import Assessment, DecisionContext
from monitor.decision.series.offset_answers import OFFSET_SUFFIX
from monitor.decision.series.step_states import EVENT
from monitor.decision.series.steps import is_earthquake, list_events_at, requested_level
from monitor.decision.situation import Situation
from monitor.decision.unsigned import WAITING_OFFSET
from monitor.decision.vote_status import VoteStatus
from monitor.text.instants import epoch_s
from monitor.text.message import Message, Template

# Entry of `held_by` if the site file requires a person to lower the level.
BY_PERSON: Final = "a person must lower it"
_LOWERED: Final = Template(
    "bounds.lowered", "bounds are lowered to {n} times those in the site file, because an earthquake was declared"
)
_ONLY_IN_RULES: Final = Template("vote.only_in_rules", "counts only in fusion rules")
_EXPLAINS: Final = Template("event.explains_step", "explains the step {step}")
_LOWERS: Final = Template("event.lowers_bounds", "lowers bounds to {n} times those in the site file")


def describe_evidence(situation: Situation, after: Memory, now: datetime) -> dict[str, Any]:
    """Return the evidence of a decision. A key is missing if there is nothing to report under it.

    Args:
        after: The memory after the decision.
    """
    site = situation.site
    level_state = situation.level_state
    partial_criteria = {criterion.id for criterion in site.criteria if criterion.role == "part"}
    votes = {
        key: _describe_vote(key, vote, situation.vote_statuses[key], situation.requested_levels, partial_criteria)
        for key, vote in sorted(after.votes.items())
    }
    evidence: dict[str, Any] = {
        "site": site.id,
        "at": epoch_s(now),
        "level_before": situation.before.level,
        "level": after.level,
        "asked": situation.requested.level,
        "lone_top": list(situation.requested.lone_top),
        "words": [_describe_assessment(assessment) for assessment in situation.assessments],
        "votes": votes,
        "steps": {key: _describe_step(step, situation.covered.get(key)) for key, step in after.steps.items()},
        "common": dict(situation.common.sentences),
        "held_by": [*level_state.held_by, *([BY_PERSON] if level_state.needs_person else [])],
        "sentence": explain_level(situation),
    }
    unproven = find_unproven(situation.context.inputs.proofs, situation.context.now_s)
    if unproven:
        evidence["unproven"] = unproven
    if situation.observability.reasons:
        evidence["incomplete"] = dict(situation.observability.reasons)
    silence = situation.observability.silence
    if silence is not None:
        evidence["common_silence"] = {
            "stations": list(silence.stations),
            "outside": list(silence.outside),
            "since_s": silence.since_s,
            "reason": silence.condition.reason,
        }
    if situation.rule_statuses:
        evidence["rules"] = {status.rule.id: status.describe() for status in situation.rule_statuses}
    offsets = {
        alert_key: condition.reason
        for alert_key, condition in after.conditions.items()
        if alert_key.endswith(OFFSET_SUFFIX) or WAITING_OFFSET in alert_key
    }
    if offsets:
        evidence["offsets"] = offsets
    events = _describe_events(situation.context, situation.steps)
    if events:
        evidence["events"] = events
    if situation.factor < 1.0:
        evidence["bounds"] = _LOWERED(n=situation.factor)
    return evidence


def _describe_assessment(assessment: Assessment) -> dict[str, Any]:
    values = {
        "criterion": assessment.criterion,
        "station": assessment.station,
        "raise_level": assessment.raise_level,
        "hold_level": assessment.hold_level,
        "heard": assessment.has_data,
        "fresh": assessment.fresh,
        "newest_s": assessment.newest_s,
        "reason": assessment.reason,
        "facts": dict(assessment.facts),
    }
    if not assessment.coverage.is_whole:
        values["coverage"] = assessment.coverage.to_json()
    return values


def _describe_vote(
    key: VoteKey,
    vote: Vote,
    status: VoteStatus,
    counted: Mapping[Supporter, int],
    partial_criteria: Collection[str],
) -> dict[str, Any]:
    values = {
        "level": vote.level,
        "newest_s": vote.newest_s,
        "valid_until_s": vote.valid_until_s,
        "counted": key in counted,
        "pended": status.set_aside_reason,
    }
    if status.cap_reason is not None and status.set_aside_reason is None:
        values["capped"] = status.cap_reason
    if key.criterion in partial_criteria:
        values["part"] = _ONLY_IN_RULES()
    return values


def _describe_step(step: Step, maintenance_reason: Message | None) -> dict[str, Any]:
    values = {"level": requested_level(step), "state": step.state, "reason": step.reason}
    if maintenance_reason is not None:
        values["pended"] = maintenance_reason
    return values


def _describe_events(context: DecisionContext, steps: Steps) -> list[dict[str, Any]]:
    """Return the declared events that affect this decision, with the people who confirmed them.

    These are confirmed earthquakes that explain a step, and earthquakes that lower bounds.
    """
    events = {}
    effects: dict[int, list[Message]] = {}
    for key, step in steps.items():
        if step.state != EVENT:
            continue
        for event in list_events_at(context, key, step):
            if is_earthquake(event.kind) and event.confirmations:
                events[event.id] = event
                effects.setdefault(event.id, []).append(_EXPLAINS(step=str(key)))
    for event, factor in list_lowering_earthquakes(context.site, context.inputs, context.now_s):
        events[event.id] = event
        effects.setdefault(event.id, []).append(_LOWERS(n=factor))
    return [
        {
            "event": event_id,
            "kind": event.kind,
            "from_s": event.from_s,
            "by": event.by,
            "via": event.via,
            "confirmed_by": list(event.confirmed_by),
            "effects": effects[event_id],
        }
        for event_id, event in sorted(events.items())
    ]
