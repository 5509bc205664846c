"""Why a decision came out as it did: who said what, who counted, who was set aside, JSON-ready and in sentences."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from monitor.decision.conditions import explain_level
from monitor.decision.criteria.kinds.earthquake import list_lowering
from monitor.decision.keys import StepKey, Support, VoteKey
from monitor.decision.proof import find_unproven
from monitor.decision.records import Memory, Step, Vote, seconds
from monitor.decision.series.assessment import DecisionContext
from monitor.decision.series.offset_answers import SUFFIX
from monitor.decision.series.steps import EVENT, is_earthquake, list_events_at, requested_level
from monitor.decision.situation import Situation
from monitor.decision.unsigned import WAITS
from monitor.decision.vote_status import VoteStatus
from monitor.text.message import Message, Template

_LOWERED: Final = Template(
    "bounds.lowered", "bounds are lowered to {n} of what the site file says: an earthquake was declared"
)
_ONLY_IN_RULES: Final = Template("vote.only_in_rules", "speaks only inside rules")
_EXPLAINS: Final = Template("event.explains_step", "explains the step {step}")
_LOWERS: Final = Template("event.lowers_bounds", "lowers bounds to {n} of what the site file says")


def describe(situation: Situation, after: Memory, now: datetime) -> dict[str, Any]:
    """Who said what, who counted, who was set aside and why; what did not happen leaves no key."""
    site, counted, standings = situation.site, situation.counted, situation.vote_statuses
    parts = {c.id for c in site.criteria if c.role == "part"}
    found: dict[str, Any] = {
        "site": site.id,
        "at": seconds(now),
        "level_before": situation.before.level,
        "level": after.level,
        "asked": situation.requested.level,
        "lone_top": list(situation.requested.lone_top),
        "words": [
            {
                "criterion": w.criterion,
                "station": w.station,
                "raise_level": w.raise_level,
                "hold_level": w.hold_level,
                "heard": w.has_data,
                "fresh": w.fresh,
                "newest_s": w.newest_s,
                "reason": w.reason,
                "facts": dict(w.facts),
                **({} if w.coverage.is_whole else {"coverage": w.coverage.to_json()}),
            }
            for w in situation.assessments
        ],
        "votes": {k: _describe_vote(k, v, standings[k], counted, parts) for k, v in sorted(after.votes.items())},
        "steps": {k: _describe_step(s, situation.covered.get(k)) for k, s in after.steps.items()},
        "common": dict(situation.common.sentences),
        "held_by": list(situation.level_state.held_by),
        "sentence": explain_level(situation),
    }
    if unproven := find_unproven(situation.context.inputs.proofs, situation.context.now_s):
        found["unproven"] = unproven
    if situation.observability.reasons:
        found["incomplete"] = dict(situation.observability.reasons)
    if situation.rule_statuses:
        found["rules"] = {r.rule.id: r.describe() for r in situation.rule_statuses}
    if offsets := {k: c.reason for k, c in after.conditions.items() if k.endswith(SUFFIX) or WAITS in k}:
        found["offsets"] = offsets
    if events := describe_events(situation.context, situation.steps):
        found["events"] = [dict(e) for e in events]
    if situation.factor < 1.0:
        found["bounds"] = _LOWERED(n=situation.factor)
    return found


def _describe_vote(
    key: VoteKey, vote: Vote, standing: VoteStatus, counted: Mapping[Support, int], parts: set[str]
) -> dict[str, Any]:
    found = {
        "level": vote.level,
        "newest_s": vote.newest_s,
        "valid_until_s": vote.valid_until_s,
        "counted": key in counted,
        "pended": standing.pended,
    }
    if standing.capped is not None and standing.pended is None:
        found["capped"] = standing.capped
    if key.criterion in parts:
        found["part"] = _ONLY_IN_RULES()
    return found


def _describe_step(step: Step, covered: Message | None) -> dict[str, Any]:
    found = {"level": requested_level(step), "state": step.state, "reason": step.reason}
    return found if covered is None else {**found, "pended": covered}


def describe_events(context: DecisionContext, steps: dict[StepKey, Step]) -> list[dict[str, Any]]:
    """Events that change this decision, with who said so: those that explain a step, and those that lower bounds."""
    found = {}
    effects: dict[int, list[Message]] = {}
    for key, step in steps.items():
        for event in list_events_at(context, key, step) if step.state == EVENT else ():
            if is_earthquake(event.kind) and event.words:
                found[event.id] = event
                effects.setdefault(event.id, []).append(_EXPLAINS(step=str(key)))
    for event, factor in list_lowering(context.site, context.inputs, context.now_s):
        found[event.id] = event
        effects.setdefault(event.id, []).append(_LOWERS(n=factor))
    return [
        {
            "event": number,
            "kind": event.kind,
            "from_s": event.from_s,
            "by": event.by,
            "via": event.via,
            "confirmed_by": list(event.confirmed_by),
            "effects": effects[number],
        }
        for number, event in sorted(found.items())
    ]
