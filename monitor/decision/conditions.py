"""List the open conditions of health and advice, with the question or the notice that each means for people."""

from bisect import bisect_right
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf
from operator import attrgetter
from typing import Final

from monitor.decision.alert_texts import name_series
from monitor.decision.changes import VERIFY_NOW, get_first_fact
from monitor.decision.common_silence import SILENT_SLOPE
from monitor.decision.criteria.kinds.earthquake import list_inspections
from monitor.decision.keys import StepKey
from monitor.decision.late_crossings import find_late_crossings
from monitor.decision.level_sentence import label_witness, name_supporter
from monitor.decision.lost_levels import describe_lost
from monitor.decision.proof import list_unproven
from monitor.decision.records import Condition, Step, Steps
from monitor.decision.series.assessment import RARE_SUFFIX, Assessments, DecisionContext, rare_key
from monitor.decision.series.coseismic_steps import list_reminders
from monitor.decision.series.offset_answers import OFFSET_SUFFIX, find_offsets
from monitor.decision.series.station_health import NEVER_RECEIVED, SeriesHealthMap
from monitor.decision.series.step_deadlines import find_answer_time_s
from monitor.decision.series.step_states import (
    ACTIVE,
    BEFORE,
    COUNTED,
    DOUBTFUL,
    EVENT,
    MOVEMENT,
    PENDING,
    RETURNED,
    denies_movement,
)
from monitor.decision.situation import Situation
from monitor.decision.unsigned import list_open_corrections, list_waiting_offsets
from monitor.sites.parents import (
    DEFAULT_SILENCE_INTERVALS,
    FALL_TOGETHER_S,
    Parent,
    Place,
    find_silence_causes,
    stale_key,
)
from monitor.sites.records import Criterion, Site
from monitor.text.instants import epoch_s, from_epoch_s, parse_time
from monitor.text.message import Duration, Message, NameList, Template, Term, Timestamp, join

_LONE_TOP: Final = Template("witness.only_one", "{level} is requested only by {stations}")
_LONE_TOP_STAYS_LOWER: Final = Template(
    "witness.needs_more", "{level} needs {n} independent witnesses, so the present level stays below {level}"
)
_SET_ASIDE: Final = Template("question.answered", 'This does not count as movement: somebody answered "{word}"')
_ALL_SILENT: Final = Template(
    "health.parent_silent", "{parent} is silent, and so is everything that depends on it: {names}"
)
NEWEST_READING: Final = Template("health.newest_reading", "the newest reading is from {at}")
_BEFORE_MONITORING: Final = Template(
    "question.jump_before_monitoring",
    "{step}, before its monitoring started. It is not counted as movement, and the site does not see everything until "
    "somebody answers what it was",
)
_RETURNED: Final = Template(
    "question.jump_returned",
    "The jump does not count any more. A level that it raised falls by itself, unless the site file requires a person "
    "to lower it",
)
_ANSWER_IF_KNOWN: Final = Template("question.answer_if_known", "Answer what it was, if you know")
_COUNTS_FROM: Final = Template(
    "question.counts_from", "Answer what it was. Without an answer it counts for {level} from {at} on"
)
_COUNTS_UNANSWERED: Final = Template(
    "question.counts_unanswered", "It counts for {level}. Check the slope, and answer what it was"
)
_COUNTS_AS_MOVEMENT: Final = Template(
    "question.counts_now", "It counts as movement, for {level}. Check the slope, and answer if it was something else"
)
_BOTH_COUNT: Final = Template(
    "question.several_count",
    "Independent stations jumped as well: {stations}. The jumps count as movement no later than {at}, unless the next "
    "two readings show that the stations came back or only scatter. Check the slope",
)
_NEEDS_ANSWER: Final = Template(
    "question.needs_answer",
    "The jump does not count until somebody answers what it was, unless the station becomes silent. Bounds on values, "
    "such as a water level, apply to the measured values again after the time to answer",
)
_NEEDS_CONFIRMATION: Final = Template(
    "question.needs_confirmation",
    "It does not count until somebody answers what it was, unless the station becomes silent. Only one person has "
    "confirmed the event. Until a second person confirms it, a jump for one of the two highest levels counts if an "
    "independent station jumped as well",
)
_DOUBTED: Final = Template(
    "question.doubtful",
    "It does not count, unless later readings confirm it. Check the slope, and answer if it was movement",
)
_BY_OFFSET: Final = Template(
    "offset.explains_step",
    "the jump of {station} at {at} no longer counts: {name} declared offset {numbers} for it, and nobody has "
    "countersigned the offset. Check it: `slopeward offsets list`",
)
_REVIEW: Final = Template(
    "health.bounds_expired", "the bounds of {criterion} were valid until {day}. They still apply. Review them"
)
_REVIEW_BY: Final = Template(
    "health.bounds_expired_by",
    "the bounds of {criterion}, set by {name}, were valid until {day}. They still apply. Review them",
)
_UNREACHABLE: Final = Template(
    "health.too_few_witnesses",
    "{level} cannot be raised now: it needs {n2} independent witnesses, and {n} can request it. The highest level that "
    "can be raised is {level2}",
)
_LOST: Final = Template("health.level_lost", "{level} cannot be raised now, at most {level2}: {text}")
_SILENT_SERIES: Final = Template("health.series_silent", "{n} of {n2} series are silent: {names}")
_NO_DATA: Final = Template(
    "health.level_without_data",
    "no valid readings behind {level} since {at}, for more than {duration}. The level stays {level}",
)
_HELD_BY_GAPS: Final = Template(
    "health.level_held_by_gaps",
    "readings behind {level} have been missing or set aside since {at}, for more than {duration}. The other readings "
    "request a lower level, but the missing ones could confirm {level}, so the level stays",
)
_NO_CRITERION: Final = Template("health.no_criterion", "The site file has no criterion any more for {keys}")
_INSPECT: Final = Template("question.check_slope", "Check whether the slope moves, and check the instrument")
_MOVEMENT_SETS: Final = Template(
    "question.movement_sets", 'If the slope moves, answer "{word}": {level} is then set at once'
)
_INSPECT_POWER: Final = Template("health.inspect_power", "Check its power supply and its radio")
_INSPECT_SLOPE_FIRST: Final = Template(
    "health.inspect_slope_first",
    "Look at the slope from a safe place first. Then check its power supply and its radio",
)
_NO_EFFECT: Final = Template("health.silent_effect", "Until it reports again, it raises no level and lowers none")
_INSPECT_SILENT: Final = Template("health.inspect_silent", "Check the power supply and the radio of what is silent")
_INSPECT_AND_SET: Final = Template("health.inspect_and_set", "Check the slope by other means, then set the level")
# Separates the sentences of a text: what happened, what it means and what to do.
_SENTENCES: Final = ". "
UNDECIDED: Final = ":undecided_"
# Key of the alert that only one group of instruments requests the highest level.
LONE_TOP: Final = "health:site:lone_top"
REACHABLE: Final = "health:site:reachable"
CANNOT_SEE: Final = "health:site:cannot_see"
# Keys of urgent conditions whose text also contains which series are silent.
URGENT_WITH_SILENCE: Final = (REACHABLE, CANNOT_SEE, SILENT_SLOPE)


def list_conditions(situation: Situation) -> dict[str, Condition]:
    """Return all conditions that are open now, by alert key.

    A condition that was open before with the same level keeps its start.
    """
    context = situation.context
    site, now_s = context.site, context.now_s
    previous_conditions = context.memory.conditions
    conditions = _list_instrument_conditions(situation)
    conditions |= _list_steps(context, situation.steps, situation.disturbed.partners)
    conditions |= situation.disturbed.conditions
    conditions |= situation.moving_references
    conditions |= list_reminders(context, situation.steps)
    conditions |= _list_offsets(context)
    conditions |= list_waiting_offsets(situation)
    conditions |= list_open_corrections(situation)
    for reference in situation.common.stations:
        text = situation.common.sentences[reference]
        conditions |= _list_question(context, f"reference:{reference}", situation.common.since_s[reference], text)
    for question, since_s in situation.neighbours.open_since_s.items():
        conditions |= _list_question(context, question, since_s, situation.neighbours.reasons[question])
    conditions |= list_inspections(site, context.memory, context.inputs, now_s)
    conditions |= _list_reviews(site, now_s)
    conditions |= list_unproven(site, context.inputs.proofs, now_s)
    if situation.requested.lone_top:
        conditions[LONE_TOP] = _describe_lone_top(situation)
    if not context.inputs.draining:
        conditions |= _list_observability(situation, _describe_silence(situation, conditions))
        if _is_slope_silent(situation) and REACHABLE not in previous_conditions:
            # Common silence is the reason why the level cannot be raised, and it is more urgent.
            conditions.pop(REACHABLE, None)
        for place, text in situation.observability.rare.items():
            conditions[rare_key(place)] = Condition("health", 1, now_s, text)
        if situation.observability.silence is not None:
            conditions[SILENT_SLOPE] = situation.observability.silence.condition
    conditions |= find_late_crossings(context, situation.level_state.level)
    conditions |= _list_undecided(context, situation.assessments)
    conditions |= _list_advice(context, situation.assessments)
    return {key: _keep_since(condition, previous_conditions.get(key)) for key, condition in sorted(conditions.items())}


def _keep_since(condition: Condition, previous: Condition | None) -> Condition:
    if previous is None or previous.level != condition.level or previous.since_s == condition.since_s:
        return condition
    return replace(condition, since_s=previous.since_s)


def _describe_lone_top(situation: Situation) -> Condition:
    site = situation.site
    requested = situation.requested.levels.items()
    stations = sorted({key.station for key, level in requested if level >= site.top_level})
    parts = [
        _LONE_TOP(stations=NameList(tuple(stations)), level=Term(site.levels[-1].name)),
        _LONE_TOP_STAYS_LOWER(level=Term(site.levels[-1].name), n=site.fusion.top_needs),
        _INSPECT(),
        _MOVEMENT_SETS(word=Term(MOVEMENT), level=Term(site.levels[-1].name)),
    ]
    return Condition("health", 2, situation.context.now_s, VERIFY_NOW(text=join(parts, _SENTENCES)))


@dataclass(frozen=True, slots=True)
class _Receptions:
    """When the series of a site were received, compared with their declared intervals."""

    context: DecisionContext
    series_health: SeriesHealthMap

    def has_missed_epoch(self, place: Place) -> bool:
        """Return whether the newest epoch of a series is older than one and a half intervals, or missing."""
        return self._has_missed(place, 1.5)

    def has_missed_several_epochs(self, place: Place) -> bool:
        """Return whether the newest epoch of a series is older than the default of the allowed silence, or missing."""
        return self._has_missed(place, DEFAULT_SILENCE_INTERVALS)

    def find_return_deadline_s(self, place: Place, received: Collection[Place]) -> float:
        """Return until when a silent series may still return after other series of its parent have returned.

        It is one and a half of its intervals after the first of the others, and at least `FALL_TOGETHER_S`.
        """
        first_received_s = _find_first_received(self.context, received, self.series_health[place].newest_s)
        if first_received_s is None:
            return -inf
        spec = self.context.site.series(*place)
        interval_s = 0.0 if spec is None else spec.interval_s
        return first_received_s + max(FALL_TOGETHER_S, 1.5 * interval_s)

    def was_received_since(self, place: Place, silent: Collection[Place]) -> bool:
        """Return whether a series was received after the first of the silent series missed an epoch."""
        newest_s = self.series_health[place].newest_s
        first_missed_s = inf
        for silent_place in silent:
            silent_newest_s = self.series_health[silent_place].newest_s
            spec = self.context.site.series(*silent_place)
            if silent_newest_s is not None and spec is not None:
                first_missed_s = min(first_missed_s, silent_newest_s + 1.5 * spec.interval_s)
        return newest_s is None or first_missed_s == inf or newest_s > first_missed_s

    def _has_missed(self, place: Place, intervals: float) -> bool:
        newest_s = self.series_health[place].newest_s
        spec = self.context.site.series(*place)
        return newest_s is None or spec is None or self.context.now_s - newest_s > intervals * spec.interval_s


def _list_instrument_conditions(situation: Situation) -> dict[str, Condition]:
    """Return the conditions of the instruments. Series that are silent by one cause share one condition.

    Such a cause is a base station, a logger, a gateway or a power supply that failed.
    """
    context = situation.context
    conditions = dict(situation.instrument_conditions)
    if context.inputs.draining:
        # Silence is not assessed while a backlog is stored. Conditions that were open before stay open.
        return conditions | {
            key: condition
            for key, condition in context.memory.conditions.items()
            if key.endswith((":stale", RARE_SUFFIX)) or key in URGENT_WITH_SILENCE
        }
    silent_since_s = {
        place: conditions[stale_key(place)].since_s
        for place, health in situation.series_health.items()
        if health.state == "silent"
    }
    common_silence = situation.observability.silence
    covered_stations = frozenset[str]() if common_silence is None else common_silence.covered
    covered = {place for place in situation.series_health if place[0] in covered_stations}
    pages: Mapping[Parent, Collection[Place]] = {}
    if silent_since_s:
        receptions = _Receptions(context, situation.series_health)
        causes = find_silence_causes(
            context.prepared.children,
            silent_since_s,
            is_late=receptions.has_missed_epoch,
            is_gone=receptions.has_missed_several_epochs,
            waited_until_s=receptions.find_return_deadline_s,
            paged=context.memory.conditions,
            now_s=context.now_s,
            was_received_since=receptions.was_received_since,
        )
        pages = causes.pages
        explained = [place for places in pages.values() for place in places]
        for place in (*causes.waiting, *causes.notified, *explained):
            del conditions[stale_key(place)]
    _withhold_covered(conditions, context.memory.conditions, covered, silent_since_s)
    for place in silent_since_s:
        key = stale_key(place)
        if key in conditions:
            conditions[key] = replace(conditions[key], reason=_advise(situation, place, conditions[key].reason))
    for parent, places in pages.items():
        if covered.issuperset(places) and parent.key not in context.memory.conditions:
            continue
        text = _describe_silent_parent(situation, parent, places)
        conditions[parent.key] = Condition("health", 1, min(silent_since_s[place] for place in places), text)
    return conditions


def _withhold_covered(
    conditions: dict[str, Condition],
    previous_conditions: Mapping[str, Condition],
    covered: Collection[Place],
    silent: Collection[Place],
) -> None:
    """Remove the new notices on instruments whose silence is part of a common silence.

    Notices that were open before stay open, so that nobody is told that such an instrument works again.

    Args:
        conditions: The conditions, which are changed.
        previous_conditions: Conditions that were open before.
        covered: Series of the stations in the common silence.
        silent: Silent series.
    """
    for place in covered:
        unusable_key = f"health:{'.'.join(place)}:flagged"
        for key in (stale_key(place), unusable_key):
            if key not in previous_conditions:
                conditions.pop(key, None)
        if place in silent and unusable_key in previous_conditions:
            conditions[unusable_key] = previous_conditions[unusable_key]


def _advise(situation: Situation, place: Place, silence: Message) -> Message:
    """Return the text about a silent series with what its silence means and what to do."""
    # The slope may have taken the instrument along, so nobody is sent there before the slope was inspected.
    is_on_slope = place[0] in situation.context.prepared.slope_instruments
    inspection = _INSPECT_SLOPE_FIRST() if is_on_slope else _INSPECT_POWER()
    return join([silence, _NO_EFFECT(), inspection], _SENTENCES)


def _describe_silent_parent(situation: Situation, parent: Parent, places: Collection[Place]) -> Message:
    names: list[str] = []
    for station, quantity in sorted(places):
        if parent.kind != "station":
            name = station
        elif station == parent.name:
            name = quantity
        else:
            name = f"{station}.{quantity}"
        if name not in names:
            names.append(name)
    newest_s = [situation.series_health[place].newest_s for place in places]
    last_s = max((epoch_s for epoch_s in newest_s if epoch_s is not None), default=None)
    last = NEVER_RECEIVED() if last_s is None else NEWEST_READING(at=Timestamp(last_s, "minute"))
    silence = join([_ALL_SILENT(parent=parent.text, names=NameList(tuple(names))), last])
    slope_instruments = situation.context.prepared.slope_instruments
    is_whole_slope = bool(slope_instruments) and slope_instruments.keys() <= {station for station, _ in places}
    if is_whole_slope or _is_slope_silent(situation):
        return join([silence, _INSPECT_SLOPE_FIRST()], _SENTENCES)
    return join([silence, _INSPECT_POWER()], _SENTENCES)


def _find_first_received(context: DecisionContext, places: Collection[Place], after_s: float | None) -> float | None:
    """Return when the first reading of some series with an epoch after `after_s` was received, in epoch seconds."""
    if after_s is None:
        return None
    received_s = []
    for key, readings in context.inputs.readings.items():
        station, _, quantity = key.partition(".")
        spec = context.site.series(station, quantity)
        if spec is None or (station, spec.quantity) not in places:
            continue
        start = bisect_right(readings, from_epoch_s(after_s), key=attrgetter("observed_at"))
        received_s += [epoch_s(reading.received_at) for reading in readings[start:]]
    return min(received_s, default=None)


def _list_steps(
    context: DecisionContext, steps: Steps, partners: Mapping[StepKey, Sequence[StepKey]]
) -> dict[str, Condition]:
    """Return a condition for each step without an answer. A station has one open question at a time.

    Args:
        partners: Pending steps of independent stations at the same time, by step.
    """
    conditions: dict[str, Condition] = {}
    for key, step in steps.items():
        if context.memory.answers.get(key) is not None:
            continue
        if step.state in {BEFORE, RETURNED}:
            # The key contains the instant, so that this notice does not replace a question about a newer step.
            name = f"health:{key}:verify"
            if step.state == BEFORE:
                parts = [_BEFORE_MONITORING(step=step.reason)]
            else:
                parts = [step.reason, _RETURNED(), _ANSWER_IF_KNOWN()]
            conditions[name] = Condition("health", 1, step.known_s, join(parts, _SENTENCES))
            continue
        name = f"health:{key.station}:verify"
        if step.state not in {PENDING, DOUBTFUL, EVENT, *ACTIVE}:
            continue
        if name in conditions and step.state not in ACTIVE:
            continue
        text = join([step.reason, _describe_consequence(context, key, step, partners.get(key, ()))], _SENTENCES)
        conditions[name] = Condition("health", 2, step.known_s, VERIFY_NOW(text=text))
    return conditions


def _describe_consequence(context: DecisionContext, key: StepKey, step: Step, partners: Sequence[StepKey]) -> Message:
    """Return what an unanswered step means for the level, and what a person should do."""
    levels = context.site.levels
    if step.state == EVENT:
        return _NEEDS_CONFIRMATION() if step.words == 1 else _NEEDS_ANSWER()
    if step.state == DOUBTFUL:
        return _DOUBTED()
    if step.state == MOVEMENT:
        return _COUNTS_AS_MOVEMENT(level=Term(levels[step.level].name))
    lowest = Term(levels[1].name)
    if step.state == COUNTED:
        return _COUNTS_UNANSWERED(level=lowest)
    deadline = Timestamp(step.known_s + find_answer_time_s(context.site, key.station), "minute")
    stations = tuple(dict.fromkeys(partner.station for partner in partners))
    if stations:
        return _BOTH_COUNT(stations=NameList(stations), at=deadline)
    return _COUNTS_FROM(level=lowest, at=deadline)


def _list_offsets(context: DecisionContext) -> dict[str, Condition]:
    """Return a notice for each step that counted and that an offset explains without a second signature."""
    if not context.inputs.offsets:
        return {}
    memory = context.memory
    explained = {key for key, step in memory.steps.items() if step.state in ACTIVE}
    for alert_key in memory.conditions:
        if alert_key.endswith(OFFSET_SUFFIX):
            explained.add(StepKey.read(alert_key.removeprefix("health:").removesuffix(OFFSET_SUFFIX)))
    conditions = {}
    for key in sorted(explained):
        offsets = find_offsets(context, key.station, key.at_s)
        unsigned = [offset for offset in offsets if offset.counts and offset.second_by is None]
        if not unsigned:
            continue
        text = _BY_OFFSET(
            station=key.station,
            at=Timestamp(key.at_s, "minute"),
            name=NameList(tuple(dict.fromkeys(offset.by for offset in unsigned))),
            numbers=NameList(tuple(str(offset.id) for offset in unsigned)),
        )
        conditions[f"health:{key}{OFFSET_SUFFIX}"] = Condition("health", 1, context.now_s, text)
    return conditions


def _list_question(context: DecisionContext, question: str, since_s: float, text: Message) -> dict[str, Condition]:
    """Return a question while it is open. If a person denied movement, return a notice of what does not count."""
    answer = context.memory.answers.get(question)
    if answer == MOVEMENT:
        return {}
    if denies_movement(answer):
        parts = [text, _SET_ASIDE(word=Term(str(answer)))]
        return {f"health:{question}:set_aside": Condition("health", 1, since_s, join(parts, _SENTENCES))}
    parts = [text, _INSPECT()]
    return {f"health:{question}:verify": Condition("health", 2, since_s, VERIFY_NOW(text=join(parts, _SENTENCES)))}


def find_review_due_s(criterion: Criterion) -> float | None:
    """Return when the bounds of a criterion expire: at the end of the declared day (UTC), in epoch seconds.

    None if the site file declares no such day.
    """
    if criterion.valid_until is None:
        return None
    return epoch_s(parse_time(f"{criterion.valid_until}T00:00:00Z")) + 86400.0


def _list_reviews(site: Site, now_s: float) -> dict[str, Condition]:
    conditions = {}
    for criterion in site.criteria:
        due_s = find_review_due_s(criterion)
        if due_s is None or now_s < due_s:
            continue
        day = str(criterion.valid_until)
        if criterion.author:
            text = _REVIEW_BY(criterion=criterion.id, name=criterion.author, day=day)
        else:
            text = _REVIEW(criterion=criterion.id, day=day)
        conditions[f"health:{criterion.id}:review_due"] = Condition("health", 1, due_s, text)
    return conditions


def _is_slope_silent(situation: Situation) -> bool:
    """Return whether all instruments on the slope are silent together."""
    silence = situation.observability.silence
    return silence is not None and silence.on_slope


def _describe_silence(situation: Situation, conditions: Mapping[str, Condition]) -> list[Message]:
    """Return which instruments are silent: the failed parents, then the other series in one sentence.

    The text contains all of them, because their own messages are not sent together with an urgent one. Common silence
    of the slope replaces them.
    """
    common_silence = situation.observability.silence
    if common_silence is not None and common_silence.on_slope:
        return [get_first_fact(common_silence.condition.reason)]
    covered = frozenset[str]() if common_silence is None else common_silence.covered
    places = sorted(situation.series_health)
    silent = [
        place
        for place in places
        if stale_key(place) in conditions or (place[0] in covered and situation.series_health[place].state == "silent")
    ]
    series_keys = {stale_key(place) for place in places}
    parts = [
        get_first_fact(condition.reason)
        for key, condition in sorted(conditions.items())
        if key.endswith(":stale") and key not in series_keys
    ]
    if len(silent) == 1 and stale_key(silent[0]) in conditions:
        parts.append(get_first_fact(conditions[stale_key(silent[0])].reason))
    elif silent:
        names = join([name_series(".".join(place)) for place in silent], ", ")
        parts.append(_SILENT_SERIES(n=len(silent), n2=len(places), names=names))
    return parts


def _list_observability(situation: Situation, silence: Sequence[Message]) -> dict[str, Condition]:
    """Return urgent conditions: a level that cannot be raised, and a level without valid data.

    Args:
        silence: Texts that contain which instruments are silent.
    """
    site, now_s, observability = situation.site, situation.context.now_s, situation.observability
    inspections = [_INSPECT_SILENT()] if silence and not _is_slope_silent(situation) else []
    conditions = {}
    if observability.highest_level < site.top_level:
        top = Term(site.levels[-1].name)
        highest = Term(site.levels[observability.highest_level].name)
        lost = describe_lost(site, observability.barriers, observability.highest_level)
        if lost:
            text = _LOST(level=top, level2=highest, text=join(lost))
        else:
            text = _UNREACHABLE(level=top, n=observability.top_group_count, n2=site.fusion.top_needs, level2=highest)
        parts = [join([text, *silence]), *inspections]
        conditions[REACHABLE] = Condition("health", 2, now_s, join(parts, _SENTENCES))
    unseen_since_s = observability.unseen_since_s
    if unseen_since_s is not None and now_s - unseen_since_s >= site.fusion.hold_when_missing_s:
        template = _NO_DATA if observability.held_reason is None else _HELD_BY_GAPS
        level = Term(site.levels[situation.level_state.level].name)
        duration = Duration(site.fusion.hold_when_missing_s, "about")
        facts = [template(level=level, at=Timestamp(unseen_since_s, "minute"), duration=duration)]
        if observability.held_reason is not None:
            facts.append(observability.held_reason)
        parts = [join([*facts, *silence]), _INSPECT_AND_SET()]
        if observability.unheard:
            parts.append(_NO_CRITERION(keys=join(map(name_supporter, observability.unheard), ", ")))
        conditions[CANNOT_SEE] = Condition("health", 2, unseen_since_s, join([*parts, *inspections], _SENTENCES))
    return conditions


def _list_undecided(context: DecisionContext, assessments: Assessments) -> dict[str, Condition]:
    """Return a question for each bound that is exceeded by motion whose error or direction prevents a vote.

    Such a question stays open while its station is silent.
    """
    voters = {criterion.id for criterion in context.site.criteria if criterion.role in {"witness", "part"}}
    has_open_question = any(UNDECIDED in key for key in context.memory.conditions)
    conditions = {}
    for assessment in assessments:
        if assessment.criterion not in voters or not (has_open_question or assessment.undecided):
            continue
        for level in range(1, len(context.site.levels)):
            key = f"health:{assessment.key}{UNDECIDED}{context.site.levels[level].name}"
            previous = context.memory.conditions.get(key)
            if level in assessment.undecided:
                parts = [label_witness(assessment.station, assessment.undecided[level]), _INSPECT()]
                conditions[key] = Condition("health", 2, context.now_s, VERIFY_NOW(text=join(parts, _SENTENCES)))
            elif previous is not None and not assessment.fresh:
                conditions[key] = previous
    return conditions


def _list_advice(context: DecisionContext, assessments: Assessments) -> dict[str, Condition]:
    criteria = {criterion.id: criterion for criterion in context.site.criteria if criterion.role != "witness"}
    conditions = {}
    for assessment in assessments:
        criterion = criteria.get(assessment.criterion)
        if criterion is None or assessment.raise_level <= 0 or assessment.newest_s is None:
            continue
        if context.now_s - assessment.newest_s <= criterion.valid_for_s:
            text = label_witness(assessment.station, assessment.reason)
            key = f"advice:{assessment.criterion}:{assessment.station}"
            conditions[key] = Condition("advice", 1, context.now_s, text)
    return conditions
