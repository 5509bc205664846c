"""What is told besides the level: conditions of health and advice as they open and close, and the sentence of why."""

from bisect import bisect_right
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from math import inf
from typing import Any, Final

from monitor.canonical import canonical_json
from monitor.decision.alert_texts import GROWN, OF_LEVEL
from monitor.decision.changes import OVER, AlertCategory, AlertChange
from monitor.decision.common_silence import SILENT_SLOPE
from monitor.decision.criteria.kinds.earthquake import list_inspections
from monitor.decision.headline import StationRate
from monitor.decision.incomplete_series import AND_MORE
from monitor.decision.keys import RuleKey, StepKey, StepVote, read_supporter
from monitor.decision.ladder import BY_PERSON, LevelState
from monitor.decision.late_crossings import find_late_crossings
from monitor.decision.lost_levels import describe_lost
from monitor.decision.orphaned_votes import ORPHANED
from monitor.decision.proof import list_unproven
from monitor.decision.records import Condition, Memory, Steps, instant, seconds
from monitor.decision.series.assessment import RARE, Assessments, DecisionContext, rare_key
from monitor.decision.series.coseismic_steps import VERIFY, list_reminders
from monitor.decision.series.offset_answers import SUFFIX, find_offsets
from monitor.decision.series.station_health import NEVER_RECEIVED
from monitor.decision.series.step_deadlines import find_answer_time_s
from monitor.decision.series.steps import ACTIVE, BEFORE, DOUBTFUL, EVENT, MOVEMENT, RETURNED, denies_movement
from monitor.decision.situation import Observability, Situation
from monitor.decision.unsigned import list_open_corrections, list_waiting_offsets
from monitor.sites.parents import (
    DEFAULT_SILENCE_INTERVALS,
    FALL_TOGETHER_S,
    find_silence_causes,
    list_children,
    stale_key,
)
from monitor.sites.records import Criterion, Site
from monitor.text.figures import find_form
from monitor.text.instants import parse_time
from monitor.text.message import (
    LABELLED_TEXT,
    Duration,
    Figure,
    Message,
    NameList,
    Template,
    Term,
    Timestamp,
    Value,
    join,
    list_parts,
)

_LONE_TOP: Final = Template(
    "witness.lone_top",
    "only {stations} (one group of instruments) asks for {level}, which needs {n} independent witnesses",
)
_ASIDE: Final = Template("question.set_aside", "set aside as {word}: {text}")
_ALL_SILENT: Final = Template(
    "health.all_silent", "{parent} is silent, and with it all that hangs on it ({names}): {text}"
)
NOTHING_NEWER: Final = Template("health.nothing_newer", "nothing newer than {at} has come")
_BEFORE_WATCH: Final = Template(
    "question.step_before_monitoring", "{step}, before its monitoring began: it counts for nothing"
)
_RETURNED: Final = Template(
    "question.step_returned",
    "the step at {at} counts no more, and a level that it raised stands until a person lowers it",
)
_ANSWER_WHAT: Final = Template("question.say_what", "answer what it was if you know")
_COUNTS_AT: Final = Template("question.counts_at", "counts as movement at {at} unless a person answers before")
_COUNTS: Final = Template("question.counts", "counts as movement until a person says no")
_BOTH_COUNT: Final = Template(
    "question.both_count",
    "{stations}, which is independent, jumped as well: both count as movement unless the next two epochs of each show "
    "that they came back or only scatter, at the latest at {at}",
)
_WAITS: Final = Template("question.waits", "waits for a person's word")
_WAITS_ONE: Final = Template(
    "question.waits_for_second",
    "waits for a person's word; one person confirmed the event, and what an independent station shows for one of the "
    "two highest levels counts until a second one does",
)
_DOUBTED: Final = Template(
    "question.doubted", "counts for nothing until a person says movement, or later epochs show it"
)
_BY_OFFSET: Final = Template(
    "offset.answers_step",
    "the step of {station} no longer counts: {name} declared it as offset {numbers}, and nobody has countersigned it",
)
_REVIEW: Final = Template("health.review_due", "review due: the bounds of {criterion} were valid until {day}")
_REVIEW_BY: Final = Template(
    "health.review_due_by", "review due: the bounds of {criterion} (set by {name}) were valid until {day}"
)
_UNREACHABLE: Final = Template(
    "health.unreachable",
    "{level} cannot be raised now: it needs {n2} independent witnesses and {n} can vote; the highest that can "
    "be raised is {level2}",
)
_LOST: Final = Template("health.lost", "{level} cannot be raised, at most {level2}: {text}")
_CANNOT_SEE: Final = Template(
    "health.cannot_see",
    "cannot see: decide. {level} stays, but what it rests on has given no data since {at}, longer than {duration}",
)
_CANNOT_SEE_WHOLE: Final = Template(
    "health.cannot_see_whole",
    "cannot see: decide. {level} stays only because readings that it rests on have been missing or set aside since "
    "{at}, longer than {duration}",
)
_UNHEARD: Final = Template("health.unheard", "no criterion of the site file reads these any more: {keys}")
_UNDECIDED: Final = Template("question.undecided", "decide: {station}: {text}")
_INSPECT: Final = Template("question.look", "look whether the slope moves, and at the instrument")
_INSPECT_POWER: Final = Template("health.look_at_power", "look at its power and radio")
_INSPECT_AND_SET: Final = Template("health.look_and_set", "look by other means, then set the level")
_LONE_LEVEL: Final = Template("level.lone", "too few independent witnesses ask for {level}")
_ALL_BACK: Final = Template(
    "level.all_back", "all that asked for {level} is clearly back within its bounds, by fresh readings"
)
_STANDS: Final = Template("level.stands", "{level} stays: {text}")
_STANDS_BY: Final = Template("level.stands_by_person", "{level} stays, set by a person: no witness asks for it now")
_STANDS_ALONE: Final = Template("level.stands_alone", "{level} stays: no witness asks for it now")
_HOLDS: Final = Template("level.holds", "{level} stays: {text}")
_NOTHING: Final = Template("level.nothing", "nothing asks for more")
_NOT_BACK: Final = Template("level.not_back", "not clearly back within the bounds: {text}")
_SUPPORT: Final = Template("level.support", "{station} ({rule})")
_STEP_AT: Final = Template("level.step_at", "{station} at {at}")
_BY_PERSON: Final = Template("level.person_must_lower", "a person must lower it")
_OF_RULE: Final = Template("level.rule", "rule {rule}, {station}")
_WITNESSES: Final = frozenset({"scene", "observers", "earthquake"})  # that have no station
HAZARD_KEY = "hazard"
GROWTH: Final = 2.0  # of a rate, since people were last notified of it
HOLDING_NAMED: Final = 5
UNDECIDED = ":undecided_"
REACHABLE, CANNOT_SEE = "health:site:reachable", "health:site:cannot_see"
_LOUD: Final = (REACHABLE, CANNOT_SEE, SILENT_SLOPE)


def list_conditions(situation: Situation) -> dict[str, Condition]:
    """All conditions that are open now, by alert key."""
    context, steps, requested, assessments = (
        situation.context,
        situation.steps,
        situation.requested,
        situation.assessments,
    )
    site, now_s, before = context.site, context.now_s, context.memory.conditions
    found = dict(situation.sick)
    if not context.inputs.draining:
        found = _gather_silent(situation)
    else:
        # silence is not judged while a backlog drains: what was known stays
        found |= {k: c for k, c in before.items() if k.endswith((":stale", RARE)) or k in _LOUD}
    found |= _list_steps(context, steps, situation.disturbed.partners)
    found |= situation.disturbed.conditions
    found |= situation.moving_references
    found |= list_reminders(context, steps)
    found |= _list_offsets(context, context.memory)
    found |= list_waiting_offsets(situation)
    found |= list_open_corrections(situation)
    for reference in situation.common.stations:
        text = situation.common.sentences[reference]
        found |= _list_question(context, f"reference:{reference}", situation.common.since_s[reference], text)
    for question, since_s in situation.neighbours.open_since_s.items():
        found |= _list_question(context, question, since_s, situation.neighbours.reasons[question])
    found |= list_inspections(site, context.memory, context.inputs, now_s)
    found |= _list_reviews(site, now_s)
    found |= list_unproven(site, context.inputs.proofs, now_s)
    if requested.lone_top:
        top = sorted({k.station for k, level in requested.by_supporter.items() if level >= site.top_level})
        text = _LONE_TOP(stations=NameList(tuple(top)), level=Term(site.levels[-1].name), n=site.fusion.top_needs)
        found["health:site:lone_top"] = Condition("health", 2, now_s, VERIFY(text=join([text, _INSPECT()])))
    if not context.inputs.draining:
        stale = [c.reason for k, c in sorted(found.items()) if k.endswith(":stale")]
        found |= _list_sight(site, now_s, situation.observability, situation.level_state, stale)
        rare = situation.observability.rare.items()
        found |= {rare_key(place): Condition("health", 1, now_s, text) for place, text in rare}
        if situation.observability.silence is not None:
            found[SILENT_SLOPE] = situation.observability.silence.describe()
    found |= find_late_crossings(context, situation.level_state.level)
    found |= _list_undecided(context, assessments)
    found |= _list_advice(context, assessments)
    return {k: _keep_since(c, before.get(k)) for k, c in sorted(found.items())}


def _keep_since(condition: Condition, known: Condition | None) -> Condition:
    if known is None or known.level != condition.level or known.since_s == condition.since_s:
        return condition
    return replace(condition, since_s=known.since_s)


def _gather_silent(situation: Situation) -> dict[str, Condition]:
    """Conditions of instruments, those that are silent by one cause as one: a dead base, logger, gateway or supply."""
    context, series_health, sick = situation.context, situation.series_health, dict(situation.sick)
    silent = {
        place: sick[stale_key(place)].since_s for place, sense in series_health.items() if sense.state == "silent"
    }
    if not silent:
        return sick
    site, now_s = context.site, context.now_s

    def has_missed(place: tuple[str, str], intervals: float) -> bool:
        newest_s, spec = series_health[place].newest_s, site.series(*place)
        return newest_s is None or spec is None or now_s - newest_s > intervals * spec.interval_s

    def waited_until_s(place: tuple[str, str], back: Collection[tuple[str, str]]) -> float:
        """As long after the first of the others as its own interval, and a quarter of an hour at least."""
        newest_s, spec = series_health[place].newest_s, site.series(*place)
        first_s = _find_first_back(context, back, newest_s)
        interval_s = 0.0 if spec is None else spec.interval_s
        return -inf if first_s is None else first_s + max(FALL_TOGETHER_S, 1.5 * interval_s)

    def spoke_since(place: tuple[str, str], quiet: Collection[tuple[str, str]]) -> bool:
        """Whether it spoke after the first of the silent ones missed an epoch."""
        newest_s = series_health[place].newest_s
        ends = [
            at_s + 1.5 * spec.interval_s
            for p in quiet
            if (at_s := series_health[p].newest_s) is not None and (spec := site.series(*p)) is not None
        ]
        return newest_s is None or not ends or newest_s > min(ends)

    roots = find_silence_causes(
        list_children(site),
        silent,
        lambda place: has_missed(place, 1.5),
        lambda place: has_missed(place, DEFAULT_SILENCE_INTERVALS),
        waited_until_s,
        context.memory.conditions,
        now_s,
        spoke_since,
    )
    for place in (*roots.waiting, *roots.notified, *(p for places in roots.pages.values() for p in places)):
        del sick[stale_key(place)]
    for parent, places in roots.pages.items():
        if parent.kind == "station":
            names = [
                quantity if station == parent.name else f"{station}.{quantity}" for station, quantity in sorted(places)
            ]
        else:
            names = list(dict.fromkeys(station for station, _ in sorted(places)))
        newest_s = max((s for p in places if (s := series_health[p].newest_s) is not None), default=None)
        last = NEVER_RECEIVED() if newest_s is None else NOTHING_NEWER(at=Timestamp(newest_s))
        text = join([_ALL_SILENT(parent=parent.text, names=NameList(tuple(names)), text=last), _INSPECT_POWER()])
        sick[parent.key] = Condition("health", 1, min(silent[p] for p in places), text)
    return sick


def _find_first_back(
    context: DecisionContext, back: Collection[tuple[str, str]], after_s: float | None
) -> float | None:
    """When the first reading was received of series that speak again, of those later than an epoch."""
    if after_s is None:
        return None
    found = []
    for key, readings in context.inputs.readings.items():
        station, _, quantity = key.partition(".")
        spec = context.site.series(station, quantity)
        if spec is None or (station, spec.quantity) not in back:
            continue
        later = readings[bisect_right(readings, instant(after_s), key=lambda r: r.observed_at) :]
        found += [seconds(r.received_at) for r in later]
    return min(found, default=None)


def _list_steps(
    context: DecisionContext, steps: Steps, partners: Mapping[StepKey, Sequence[StepKey]]
) -> dict[str, Condition]:
    """Steps that nobody has answered; one that a person called movement counts, and asks no more."""
    found: dict[str, Condition] = {}
    for key, step in steps.items():
        name = f"health:{key.station}:verify"
        if step.state in {BEFORE, RETURNED} and context.memory.answers.get(key) is None:
            # under a name of its own: it must not stand in the way of a question about today
            at = Timestamp(step.at_s)
            parts = [_BEFORE_WATCH(step=step.reason)]
            if step.state != BEFORE:
                parts = [step.reason, _RETURNED(at=at)]
            found[f"health:{key}:verify"] = Condition("health", 1, step.known_s, join([*parts, _ANSWER_WHAT()]))
            continue
        if context.memory.answers.get(key) is not None or step.state not in {"pending", DOUBTFUL, EVENT, *ACTIVE}:
            continue
        if name in found and step.state not in ACTIVE:
            continue
        until = Timestamp(step.known_s + find_answer_time_s(context.site, key.station))
        others = NameList(tuple(dict.fromkeys(k.station for k in partners.get(key, ()))))
        clock = {
            "pending": _BOTH_COUNT(stations=others, at=until) if others.names else _COUNTS_AT(at=until),
            EVENT: _WAITS_ONE() if step.words == 1 else _WAITS(),
            DOUBTFUL: _DOUBTED(),
        }.get(step.state, _COUNTS())
        found[name] = Condition("health", 2, step.known_s, VERIFY(text=join([step.reason, clock])))
    return found


def _list_offsets(context: DecisionContext, before: Memory) -> dict[str, Condition]:
    """Return a notice for each step that counted and that an offset explains without a second signature."""
    if not context.inputs.offsets:
        return {}
    waiting = {k for k, s in before.steps.items() if s.state in ACTIVE}
    waiting |= {
        StepKey.read(k.removeprefix("health:").removesuffix(SUFFIX)) for k in before.conditions if k.endswith(SUFFIX)
    }
    found = {}
    for key in sorted(waiting):
        open_offsets = [o for o in find_offsets(context, key.station, key.at_s) if o.counts and o.second_by is None]
        if not open_offsets:
            continue
        by = NameList(tuple(dict.fromkeys(o.by for o in open_offsets)))
        numbers = NameList(tuple(str(o.id) for o in open_offsets))
        text = _BY_OFFSET(station=key.station, name=by, numbers=numbers)
        found[f"health:{key}{SUFFIX}"] = Condition("health", 1, context.now_s, text)
    return found


def _list_question(context: DecisionContext, question: str, since_s: float, text: Message) -> dict[str, Condition]:
    """A question as long as it is open; answered, a notice says what is set aside, and nobody is asked once more."""
    answer = context.memory.answers.get(question)
    if answer == MOVEMENT:
        return {}
    if denies_movement(answer):
        return {
            f"health:{question}:set_aside": Condition("health", 1, since_s, _ASIDE(word=Term(str(answer)), text=text))
        }
    return {f"health:{question}:verify": Condition("health", 2, since_s, VERIFY(text=join([text, _INSPECT()])))}


def review_due_s(criterion: Criterion) -> float | None:
    """When the bounds of a criterion ought to have been reviewed: the end of the day, UTC; None = never."""
    if criterion.valid_until is None:
        return None
    return seconds(parse_time(f"{criterion.valid_until}T00:00:00Z")) + 86400.0


def _list_reviews(site: Site, now_s: float) -> dict[str, Condition]:
    found = {}
    for criterion in site.criteria:
        due_s = review_due_s(criterion)
        if due_s is not None and now_s >= due_s:
            day = str(criterion.valid_until)
            by = criterion.author
            text = (
                _REVIEW_BY(criterion=criterion.id, name=by, day=day) if by else _REVIEW(criterion=criterion.id, day=day)
            )
            found[f"health:{criterion.id}:review_due"] = Condition("health", 1, due_s, text)
    return found


def _list_sight(
    site: Site, now_s: float, outlook: Observability, level_state: LevelState, stale: Sequence[Message]
) -> dict[str, Condition]:
    found = {}
    if outlook.highest_level < site.top_level:
        text = _UNREACHABLE(
            level=Term(site.levels[-1].name),
            n=outlook.witnesses,
            n2=site.fusion.top_needs,
            level2=Term(site.levels[outlook.highest_level].name),
        )
        if lost := describe_lost(site, outlook.barriers, outlook.highest_level):
            highest = Term(site.levels[outlook.highest_level].name)
            text = _LOST(level=Term(site.levels[-1].name), level2=highest, text=join(lost))
        found[REACHABLE] = Condition("health", 2, now_s, join([text, *stale]))
    unseen_s = outlook.unseen_since_s
    if unseen_s is not None and now_s - unseen_s >= site.fusion.hold_when_missing_s:
        is_held = outlook.held_reason is not None
        text = (_CANNOT_SEE_WHOLE if is_held else _CANNOT_SEE)(
            level=Term(site.levels[level_state.level].name),
            at=Timestamp(unseen_s),
            duration=Duration(site.fusion.hold_when_missing_s),
        )
        gone = [_UNHEARD(keys=join(map(_name_support, outlook.unheard), ", "))] if outlook.unheard else []
        missing = [] if outlook.held_reason is None else [outlook.held_reason]
        parts = [text, _INSPECT_AND_SET(), *gone, *missing, *stale]
        found[CANNOT_SEE] = Condition("health", 2, unseen_s, join(parts))
    return found


def _list_undecided(context: DecisionContext, assessments: Assessments) -> dict[str, Condition]:
    """What only its own error keeps from counting, bound by bound; silence does not end the question."""
    voters = {c.id for c in context.site.criteria if c.role in {"witness", "part"}}
    is_open = any(UNDECIDED in key for key in context.memory.conditions)
    found = {}
    for assessment in assessments:
        if assessment.criterion not in voters or not (is_open or assessment.undecided):
            continue
        for level in range(1, len(context.site.levels)):
            key = f"health:{assessment.key}{UNDECIDED}{context.site.levels[level].name}"
            known = context.memory.conditions.get(key)
            if level in assessment.undecided:
                why = assessment.undecided[level]
                text = join([_UNDECIDED(station=assessment.station, text=why), _INSPECT()])
                found[key] = Condition("health", 2, context.now_s, text)
            elif known is not None and not assessment.fresh:
                found[key] = known
    return found


def _list_advice(context: DecisionContext, assessments: Assessments) -> dict[str, Condition]:
    advice = {c.id: c for c in context.site.criteria if c.role != "witness"}
    return {
        f"advice:{w.criterion}:{w.station}": Condition("advice", 1, context.now_s, of_witness(w.station, w.reason))
        for w in assessments
        if w.criterion in advice
        and w.raise_level > 0
        and w.newest_s is not None
        and context.now_s - w.newest_s <= advice[w.criterion].valid_for_s
    }


def list_changes(
    site: Site,
    before: Memory,
    after: Memory,
    evidence: Mapping[str, Any],
    newest_s: float | None,
    growth: Message | None = None,
) -> tuple[AlertChange, ...]:
    """What opened, changed or closed between two memories; of a level that stands, why people are reminded of it."""
    data_time = None if newest_s is None else instant(newest_s)
    changes = []
    if after.level != before.level or growth is not None:
        summary = canonical_json({k: evidence[k] for k in ("sentence", "votes", "steps", "common", "held_by", "at")})
        changes.append(
            AlertChange(
                ledger=AlertCategory.HAZARD,
                key=HAZARD_KEY,
                level=after.level,
                open=after.level > 0,
                reason=growth or evidence["sentence"],
                data_time=data_time,
                evidence=summary,
                repeats=growth is not None,
            )
        )
    # one cause is one page: what an urgent one says already, no second one repeats
    is_notified = any(key in after.conditions and key not in before.conditions for key in _LOUD)
    for key in sorted({*before.conditions, *after.conditions}):
        old, new = before.conditions.get(key), after.conditions.get(key)
        if new is not None and (old is None or old.level != new.level):
            change = _change(key, new, new.reason, data_time, is_open=True)
            by_it = key.endswith(":stale") or (key == REACHABLE and SILENT_SLOPE in after.conditions)
            changes.append(replace(change, notify=not (is_notified and by_it)))
        elif new is None and old is not None:
            changes.append(_change(key, old, OVER(text=_find_fact(old.reason)), data_time, is_open=False))
    assert all(0 <= c.level < len(site.levels) for c in changes if c.ledger == AlertCategory.HAZARD)
    return tuple(changes)


def _find_fact(reason: Message) -> Value:
    """What a condition found, without what it asked people to do: that is over."""
    sentence = reason.values["text"] if reason.id == VERIFY.id else reason
    fact = list_parts(sentence)[0] if isinstance(sentence, str) else sentence
    if isinstance(fact, Message) and fact.id == _UNDECIDED.id:
        return of_witness(fact.values["station"], fact.values["text"])
    return fact


def follow_growth(
    before: Memory, level: int, rates: Sequence[StationRate]
) -> tuple[dict[str, float], StationRate | None]:
    """The largest rate by criterion that people were notified of, and the one that has doubled since.

    It has doubled where it is twice that rate and twice its bound, whichever single reading is left out: neither noise
    nor one reading makes a reminder. What falls and comes back makes none, so their number is bounded by the motion.

    Args:
        level: that stands now; with another one a message goes out anyway, and says the rates of now.
    """
    asking = [r for r in rates if r.counted and r.level >= level > 0 and r.bound]
    known = before.reported if level == before.level else {}
    grown = [r for r in asking if _along(r, r.least) >= GROWTH * max(known.get(r.criterion, 0.0), abs(r.bound))]
    if level == before.level and not grown:
        return {k: v for k, v in known.items() if level > 0}, None
    reported = dict(known)
    for r in asking:
        reported[r.criterion] = max(reported.get(r.criterion, 0.0), _along(r, r.rate))
    is_new = level != before.level
    return dict(sorted(reported.items())), None if is_new else max(grown, key=lambda r: (r.level, r.share))


def explain_growth(sentence: Message, grown: StationRate, known: Mapping[str, float]) -> Message:
    """Why people hear of a level again: what asks for it now, and how much faster it is than what they know."""
    rate = max(known.get(grown.criterion, 0.0), abs(grown.bound))
    times = _along(grown, grown.rate) / rate
    return GROWN(text=sentence, n=Figure(times, ".1f"), rate=Figure(rate, find_form(rate), grown.unit))


def _along(rate: StationRate, value: float) -> float:
    return value if rate.bound > 0.0 else -value


def _change(key: str, condition: Condition, reason: Message, data_time: Any, *, is_open: bool) -> AlertChange:
    evidence = canonical_json({"key": key, "since_s": condition.since_s, "reason": condition.reason})
    return AlertChange(
        ledger=AlertCategory(condition.ledger),
        key=key,
        level=condition.level,
        open=is_open,
        reason=reason,
        data_time=data_time,
        evidence=evidence,
    )


def explain_level(situation: Situation) -> Message:
    """One sentence: the level, what moved it, what asks for it still, or what holds it."""
    site, requested, held_by = situation.site, situation.requested, situation.level_state.held_by
    before, level = situation.before.level, situation.level_state.level
    name = Term(site.levels[level].name)
    if level > before:
        lone = [_LONE_LEVEL(level=Term(site.levels[-1].name))] if requested.lone_top else []
        return OF_LEVEL(level=name, text=join([_name_asking(situation), *lone]))
    if level < before:
        return OF_LEVEL(level=name, text=_ALL_BACK(level=Term(site.levels[before].name)))
    if 0 < level <= requested.level:
        return _STANDS(level=name, text=_name_asking(situation))
    if held_by:
        names = [_name_support(key) for key in held_by if key != BY_PERSON]
        listed = join(names[:HOLDING_NAMED], ", ")
        if len(names) > HOLDING_NAMED:
            listed = AND_MORE(text=listed, n=len(names) - HOLDING_NAMED)
        found = [_NOT_BACK(text=listed)] if names else []
        return _HOLDS(level=name, text=join([*found, _BY_PERSON()] if BY_PERSON in held_by else found))
    if level > 0:
        return _STANDS_BY(level=name) if situation.before.floor >= level else _STANDS_ALONE(level=name)
    return OF_LEVEL(level=name, text=_NOTHING())


def of_witness(witness: Value, reason: Value) -> Message:
    """What a witness says, behind its name; `scene`, `observers` and `earthquake` are no stations, but words."""
    return LABELLED_TEXT(
        name=Term(witness) if isinstance(witness, str) and witness in _WITNESSES else witness, text=reason
    )


def _name_support(key: str) -> Message:
    support = read_supporter(key)
    if isinstance(support, StepVote):
        return _STEP_AT(station=support.station, at=Timestamp(support.step.at_s, "minute"))
    rule = support.rule if isinstance(support, RuleKey) else support.criterion
    return _SUPPORT(station=support.station, rule=rule.removesuffix(ORPHANED))


def _name_asking(situation: Situation) -> Message:
    level = situation.level_state.level
    asking = sorted((-requested, key) for key, requested in situation.counted.items() if requested >= level)
    who = []
    for _, key in asking[:3]:
        if isinstance(key, StepVote):
            step = situation.steps.get(key.step)
            name: Value = _STEP_AT(station=key.station, at=Timestamp(key.step.at_s, "minute"))
            who.append(LABELLED_TEXT(name=name, text=step.reason if step else ""))
        else:
            vote = situation.votes.get(key.vote if isinstance(key, RuleKey) else key)
            name = _OF_RULE(rule=key.rule, station=key.station) if isinstance(key, RuleKey) else key.station
            who.append(of_witness(name, vote.reason if vote else ""))
    listed = join(who)
    return AND_MORE(text=listed, n=len(asking) - 3) if len(asking) > 3 else listed
