"""Explain the level of a site in one sentence: what changed it, what requests it or what keeps it from falling."""

from collections.abc import Sequence
from typing import Final

from monitor.decision.alert_texts import OF_LEVEL
from monitor.decision.incomplete_series import AND_MORE
from monitor.decision.keys import RuleKey, StepVote, Supporter, read_supporter
from monitor.decision.observability import list_series_behind
from monitor.decision.orphaned_votes import ORPHANED
from monitor.decision.series.assessment import Assessment
from monitor.decision.series.step_states import MOVEMENT, NOT_BLOCKING
from monitor.decision.situation import Situation
from monitor.text.message import LABELLED_TEXT, Message, Template, Term, Timestamp, Value, join

_LONE_LEVEL: Final = Template("level.too_few", "too few independent witnesses request {level}")
_NOT_REQUESTED: Final = Template("level.no_longer_requested", "nothing that raised {level} requests it any more")
_STAYS: Final = Template("level.stays", "{level} stays: {text}")
_SET_BY_PERSON: Final = Template("level.set_by_person", "{level} stays because a person set it: no witness requests it")
_STAYS_UNREQUESTED: Final = Template("level.not_requested", "{level} stays: no witness requests it")
_NOTHING: Final = Template("level.no_request", "nothing requests a higher level")
_NOT_BACK: Final = Template("level.not_back", "not clearly back within the bounds: {text}")
_NO_READINGS: Final = Template("level.no_readings", "no new readings from {text}")
_VOTE_STAYS: Final = Template("level.vote_stays", "{name} still counts for {level} because {reason}: {text}")
_BACKLOG: Final = Template("level.backlog", "older readings are still being stored")()
_HAS_GAPS: Final = Template("level.has_gaps", "readings are missing or set aside")()
_NO_FRESH: Final = Template("level.no_fresh", "it has no new readings")()
_UNANSWERED_JUMP: Final = Template("level.jump_open", "nobody has answered what its jump was")()
_JUMP_IS_MOVEMENT: Final = Template("level.jump_is_movement", "its jump counts as movement")()
_NOT_CLEAR: Final = Template("level.not_clear", "it is not clearly back within the bounds")()
_SUPPORT: Final = Template("level.support", "{station} ({rule})")
_STEP_AT: Final = Template("level.jump_at", "jump of {station} at {at}")
_PERSON_MUST_LOWER: Final = Template("level.person_must_lower", "a person must lower it")
_OF_RULE: Final = Template("level.rule", "rule {rule}, {station}")
# Witnesses that are no stations. Their names are translated.
_WITNESSES_WITHOUT_STATION: Final = frozenset({"scene", "observers", "earthquake"})
# A sentence contains at most this many supporters of a level.
_MAX_NAMES: Final = 5
# A sentence contains at most this many votes with their reasons.
_MAX_REASONS: Final = 3


def explain_level(situation: Situation) -> Message:
    """Return one sentence: the level, and what changed it, what requests it or what keeps it from falling."""
    site, requested = situation.site, situation.requested
    held_by, needs_person = situation.level_state.held_by, situation.level_state.needs_person
    before, level = situation.before.level, situation.level_state.level
    name = Term(site.levels[level].name)
    if level > before:
        lone = [_LONE_LEVEL(level=Term(site.levels[-1].name))] if requested.lone_top else []
        return OF_LEVEL(level=name, text=join([_describe_requests(situation), *lone]))
    if level < before:
        return OF_LEVEL(level=name, text=_NOT_REQUESTED(level=Term(site.levels[before].name)))
    if 0 < level <= requested.level:
        return _STAYS(level=name, text=_describe_requests(situation))
    if held_by or needs_person:
        parts: list[Message] = []
        silent = [key for key in held_by if _is_silent(situation, key)]
        if silent:
            parts.append(_NO_READINGS(text=_list_first([name_supporter(key) for key in silent])))
        others = [key for key in held_by if key not in silent]
        if others:
            parts.append(_NOT_BACK(text=_list_first([name_supporter(key) for key in others])))
        if needs_person:
            parts.append(_PERSON_MUST_LOWER())
        return _STAYS(level=name, text=join(parts))
    if level > 0:
        return _SET_BY_PERSON(level=name) if situation.before.floor >= level else _STAYS_UNREQUESTED(level=name)
    return OF_LEVEL(level=name, text=_NOTHING())


def label_witness(witness: Value, reason: Value) -> Message:
    """Return a reason with the name of its witness. The names of witnesses that are no stations are translated."""
    is_term = isinstance(witness, str) and witness in _WITNESSES_WITHOUT_STATION
    return LABELLED_TEXT(name=Term(str(witness)) if is_term else witness, text=reason)


def _is_silent(situation: Situation, key: str) -> bool:
    """Return whether all series behind a supporter of the level are silent."""
    series = list_series_behind(situation.context.prepared, read_supporter(key), situation.steps)
    return bool(series) and all(situation.series_health[place].state == "silent" for place in series)


def name_supporter(key: str) -> Message:
    """Return the name of a vote, rule or step that a level depends on."""
    supporter = read_supporter(key)
    if isinstance(supporter, StepVote):
        return _STEP_AT(station=supporter.station, at=Timestamp(supporter.step.at_s, "minute"))
    rule = supporter.rule if isinstance(supporter, RuleKey) else supporter.criterion
    return _SUPPORT(station=supporter.station, rule=rule.removesuffix(ORPHANED))


def _describe_requests(situation: Situation) -> Message:
    """Describe the votes that request the level or a higher one, the highest first."""
    level = situation.level_state.level
    requests = sorted((-requested, key) for key, requested in situation.requested_levels.items() if requested >= level)
    reasons = [_explain_supporter(situation, key, -negative) for negative, key in requests[:_MAX_REASONS]]
    listed = join(reasons)
    count = len(requests) - len(reasons)
    return AND_MORE(text=listed, n=count) if count else listed


def _explain_supporter(situation: Situation, key: Supporter, requested: int) -> Message:
    """Return why a vote, rule or jump requests a level.

    A vote may request a higher level than its newest readings do. Then the text contains why it has not fallen.
    """
    if isinstance(key, StepVote):
        step = situation.steps.get(key.step)
        # The reason of a step names its station and its time.
        return name_supporter(key) if step is None else step.reason
    if isinstance(key, RuleKey):
        vote = situation.votes.get(key.vote)
        name = _OF_RULE(rule=key.rule, station=key.station)
        return label_witness(name, vote.reason if vote else "")
    vote = situation.votes.get(key)
    labelled = label_witness(key.station, vote.reason if vote else "")
    assessment = next((assessment for assessment in situation.assessments if assessment.key == key), None)
    if vote is None or assessment is None or assessment.raise_level >= requested:
        return labelled
    return _VOTE_STAYS(
        name=labelled.values["name"],
        level=Term(situation.site.levels[requested].name),
        reason=_explain_unfallen_vote(situation, assessment),
        text=vote.reason,
    )


def _explain_unfallen_vote(situation: Situation, assessment: Assessment) -> Message:
    """Return why a vote has not fallen although its newest readings request less."""
    if situation.context.inputs.draining:
        return _BACKLOG
    if assessment.has_data and not assessment.coverage.may_lower:
        return _HAS_GAPS
    if not (assessment.has_data and assessment.fresh):
        return _NO_FRESH
    states = {step.state for key, step in situation.steps.items() if key.station == assessment.station} - NOT_BLOCKING
    if states:
        return _JUMP_IS_MOVEMENT if states == {MOVEMENT} else _UNANSWERED_JUMP
    return _NOT_CLEAR


def _list_first(texts: Sequence[Message]) -> Message:
    """Join the first texts, and add the number of those that are left out."""
    listed = join(texts[:_MAX_NAMES], ", ")
    return AND_MORE(text=listed, n=len(texts) - _MAX_NAMES) if len(texts) > _MAX_NAMES else listed
