"""Decisions of people: set a level, or answer a question. Each is frozen as a decision and audited."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any, Final

from sqlalchemy import Connection

from monitor.alerts.evaluate import FORMAT, EvaluationResult, evaluate_site, rule_version
from monitor.alerts.queries.alerts import ChangeContext, add_note, apply_changes, load_alerts
from monitor.alerts.queries.decision_seals import seal_decision
from monitor.alerts.queries.evaluations import add_decision, find_state, save_memory
from monitor.canonical import canonical_json, code_version
from monitor.decision.alert_texts import OF_LEVEL
from monitor.decision.changes import AlertCategory, AlertChange
from monitor.decision.condition_changes import HAZARD_KEY
from monitor.decision.conditions import LONE_TOP
from monitor.decision.keys import RuleKey, StepKey, find_station_of_question
from monitor.decision.records import Memory, Signature
from monitor.decision.series.corrections import CORRECTED_PREFIX, read_question
from monitor.decision.series.step_states import CAUSES, INSTRUMENT, MOVEMENT, PENDING, denies_movement, find_state_after
from monitor.decision.series.steps import requested_level
from monitor.decision.votes import find_level_of_question, needs_second_signature
from monitor.errors import NeedsSecondError, NotFoundError, RefusedError
from monitor.people.queries.users import can_countersign, load_users, require_account, require_person, require_two
from monitor.readings.queries.corrections import sign_corrections
from monitor.sites.records import Site
from monitor.storage.actor import Actor
from monitor.storage.audit import add_audit
from monitor.storage.engine import Database
from monitor.text.instants import epoch_s, format_iso, from_epoch_s
from monitor.text.message import Message, MessageList, NameList, Template, Term, Timestamp
from monitor.text.names import is_same_person

_SET: Final = Template("level.set", "set by {name} (was {level}): {reason}")
_WAS: Final = Template("answer.was", "{question} was {word}, says {name}: {reason}")
_WAS_NONE: Final = Template("answer.was_none", "{question} was no movement ({word}), says {name}: {reason}")
_SIGN_THAT: Final = Template("answer.sign_that", "{text}; a second person must sign that")
_NO_LEVEL: Final = Template("level.no_such", "level {number} does not exist; expected one of: {names}")
_NOT_LOWERED: Final = Template(
    "level.not_lowered",
    "{site} was not lowered to {level}, because requests for a higher level remain ({texts}). Confirm to "
    "lower it nevertheless (--yes); then only newer data raise it again",
)
_SET_ALONE: Final = Template(
    "level.set_alone", "{site}: one person may not lower the level while {level} is in force or requested"
)
_AT: Final = Template("level.asks_at", "{criterion} at {station}")
_ASKS: Final = Template("level.asks", "{who} requests {level}: {reason}")
_REQUESTED: Final = Template("level.asked", "{who} requested {level} and has had no data since {at}: {reason}")
_STEP_ASKS: Final = Template("level.step_asks", "the jump {step} requests {level}")
_STEP_WAITS: Final = Template("level.step_waits", "the jump {step} waits for an answer and may request {level}")
_ODD_ANSWER: Final = Template("answer.odd", "answer '{answer}': expected one of: {names}")
_NOT_OPEN: Final = Template("answer.not_asked", "'{key}' does not wait for verification; waiting: {names}")
_NONE_OPEN: Final = Template("answer.none_asked", "'{key}' does not wait for verification; waiting: nothing")
_COUNTS: Final = Template("answer.counts_already", "{question}: an answer counts already; withdraw it first")
ANSWERS: Final = (MOVEMENT, *CAUSES)
# Names of acts in the audit log: an answer that counts, and the first of two equal answers.
VERIFIED: Final = "step.verify"
SIGNED: Final = "step.sign"


def set_level(db: Database, site: Site, level: int, actor: Actor, reason: str, now: datetime) -> int:
    """Set the hazard level by hand, see `set_level_in_transaction`. Return the level before."""
    with db.write() as connection:
        return set_level_in_transaction(connection, site, level, actor, reason, now)


def set_level_in_transaction(
    connection: Connection,
    site: Site,
    level: int,
    actor: Actor,
    reason: str,
    now: datetime,
    *,
    sure: bool = True,
    second: Actor | None = None,
) -> int:
    """Set the hazard level by hand in an open write transaction, and notify the recipients. Return the level before.

    A raised level stays until a person lowers it. After a level was lowered, only newer data can raise it again.

    Args:
        sure: Whether to lower the level although votes or jumps request more than `level`.
        second: Another person. Needed if accounts exist, one of the two highest levels is in force or requested, and
            `level` is below it.

    Raises:
        RefusedError: Person or reason are missing, the level does not exist, or more is requested and `sure` is False.
        NeedsSecondError: A second person is needed.
    """
    require_person(actor, reason)
    if not 0 <= level < len(site.levels):
        raise RefusedError(_NO_LEVEL(number=level, names=NameList(tuple(k.name for k in site.levels))))
    stored = _load_stored_memory(connection, site.id)
    memory = stored.limit_levels(site.top_level)
    requests = _list_requests_above(site, memory, level, epoch_s(now)) if level < memory.level else []
    if requests and not sure:
        name = site.levels[level].name
        texts = MessageList(tuple(requests))
        raise RefusedError(_NOT_LOWERED(site=site.id, level=Term(name), texts=texts))
    stake = _measure_stake(memory)
    if stake > level:
        require_two_at_stake(connection, site, stake, actor, second, now, partial(_SET_ALONE, site=site.id))
    who = actor.name if second is None else f"{second.name} and {actor.name}"
    after = set_level_in_memory(memory, level, epoch_s(now))
    name = site.levels[level].name
    before = Term(site.levels[memory.level].name)
    sentence = OF_LEVEL(level=Term(name), text=_SET(name=who, level=before, reason=reason))
    decision_id = freeze_act(connection, site, memory, after, actor, "level.set", sentence, now)
    save_memory(connection, site.id, after, site.version, now)
    # The open alert has the stored level, which the site file may no longer have.
    if level != stored.level:
        data_time = None if memory.newest_s is None else from_epoch_s(memory.newest_s)
        change = AlertChange(
            ledger=AlertCategory.HAZARD,
            key=HAZARD_KEY,
            level=level,
            open=level > 0,
            reason=sentence,
            data_time=data_time,
            evidence="{}",
        )
        apply_changes(
            connection,
            [change],
            ChangeContext(site.id, site, site.recipients, actor, now, rule_version(site), decision_id),
        )
    detail = {"from": memory.level, "to": level, "reason": reason, "decision": decision_id}
    detail |= {} if second is None else {"second_by": second.name}
    add_audit(connection, actor, "level.set", f"site:{site.id}", detail, now)
    seal_decision(connection, decision_id, actor, now)
    return memory.level


def measure_stake(connection: Connection, site: Site) -> int:
    """Return the highest level that is in force or requested, which decides whether two people are needed."""
    return _measure_stake(load_memory(connection, site))


def _measure_stake(memory: Memory) -> int:
    levels_of_votes = [vote.level for vote in memory.votes.values()]
    levels_of_steps = [requested_level(step) for step in memory.steps.values()]
    return max([memory.level, *levels_of_votes, *levels_of_steps])


def find_requests_above(db: Database, site: Site, level: int, now: datetime) -> list[Message]:
    """Return the votes and jumps that request more than `level`, one line each, the highest first.

    Votes whose data became silent are included.
    """
    with db.read() as connection:
        return _list_requests_above(site, load_memory(connection, site), level, epoch_s(now))


def _list_requests_above(site: Site, memory: Memory, level: int, now_s: float) -> list[Message]:
    requests = []
    for key, vote in memory.votes.items():
        name = Term(site.levels[vote.level].name)
        who = _AT(criterion=key.criterion, station=key.station) if key.station else key.criterion
        if vote.valid_until_s >= now_s:
            requests.append((vote.level, _ASKS(who=who, level=name, reason=vote.reason)))
        else:
            since = Timestamp(vote.newest_s, "minute")
            requests.append((vote.level, _REQUESTED(who=who, level=name, at=since, reason=vote.reason)))
    for name_of_step, step in memory.steps.items():
        requested = step.level if step.state == PENDING else requested_level(step)
        name = Term(site.levels[requested].name)
        template = _STEP_WAITS if step.state == PENDING else _STEP_ASKS
        requests.append((requested, template(step=str(name_of_step), level=name)))
    return [line for requested, line in sorted(requests, key=lambda item: (-item[0], item[1])) if requested > level]


def set_level_in_memory(memory: Memory, level: int, now_s: float) -> Memory:
    """Return the memory after a person set the level.

    Votes and jumps that request more than this level count as answered: only newer data can raise the level again.
    """
    answered = dict(memory.answered) | {key: vote.newest_s for key, vote in memory.votes.items() if vote.level > level}
    # A rule may request more than any vote behind it.
    for key, requested in memory.supporters.items():
        vote = memory.votes.get(key.vote) if isinstance(key, RuleKey) and requested > level else None
        answered |= {} if vote is None else {key: vote.newest_s}
    votes = {key: replace(vote, level=min(vote.level, level)) for key, vote in memory.votes.items()}
    # Setting a lower level also answers the jumps that request more.
    answered_steps = {key for key, step in memory.steps.items() if requested_level(step) > level}
    answers = dict(memory.answers) | {key: INSTRUMENT for key in memory.steps if key in answered_steps}
    steps = {
        key: replace(step, state=INSTRUMENT) if key in answered_steps else step for key, step in memory.steps.items()
    }
    return replace(
        memory,
        started_s=memory.started_s if memory.started_s is not None else now_s,
        level=level,
        level_source="person",
        since_s=now_s,
        floor=level if level >= memory.level else 0,
        votes=votes,
        supporters={key: min(requested, level) for key, requested in memory.supporters.items() if level > 0},
        answered=answered,
        steps=steps,
        answers=answers,
    )


def verify(
    db: Database, site: Site, key: str, answer: str, actor: Actor, reason: str, now: datetime
) -> EvaluationResult:
    """Answer a question, and evaluate the site.

    | key | question |
    |---|---|
    | `G1`, `G1@...` | the jumps of a station, or one of them |
    | `reference:BASE` | a common motion of the stations of a reference |
    | `alone:G1` | a station that moves alone |
    | `inspect:...` | the slope after an earthquake |
    | `corrected:G1@...` | corrected values of a station |

    The answer `movement` means that the slope moved. A cause (instrument, weather, work, earthquake, other) means that
    it did not. If one of the two highest levels is requested, a cause counts only after a second person gives the same
    answer. Until then the first answer is stored, the question stays open, and its votes count.

    A cause for corrected values means that the earlier values were wrong, so that the corrected values count. If fewer
    than two people may act on the site, one person is enough for this.

    Raises:
        NotFoundError: There is no open question with this key.
        RefusedError: Person or reason are missing; the answer is not valid; the same person gave the first answer; the
            person has no account although accounts exist; or another answer already counts and two people would be
            needed to change it.
    """
    require_person(actor, reason)
    require_answer(answer)
    with db.write() as connection:
        memory = load_memory(connection, site)
        steps = _require_steps(memory, key)
        height = find_level_of_question(site, memory, key, steps, epoch_s(now))
        template = _WAS if answer in {MOVEMENT, CAUSES[0]} else _WAS_NONE
        is_correction = key.startswith(CORRECTED_PREFIX)
        needs_two = denies_movement(answer) and needs_second_signature(site, height)
        if is_correction and not can_countersign(connection, site.id):
            require_account(connection, actor.name.strip())
            needs_two = False
        if needs_two and steps:
            # A jump whose answer counts takes no first answer: no second one could follow.
            steps = [step for step in steps if step not in memory.answers]
            if not steps:
                raise RefusedError(_COUNTS(question=key))
        questions: list[str] = [*steps] or [key]
        signatures = {memory.signed.get(question) for question in questions}
        first = signatures.pop() if len(signatures) == 1 else None
        if needs_two and not completes_first_answer(connection, first, answer, height, actor, now):
            act = SIGNED
            after = _add_first_answer(memory, questions, Signature(answer, actor.name, height))
            sentence = _SIGN_THAT(text=template(question=key, word=Term(answer), name=actor.name, reason=reason))
        else:
            act = VERIFIED
            after = _add_answer(memory, key, steps, answer, None if needs_two else height)
            who = f"{first.by} and {actor.name}" if needs_two and first is not None else actor.name
            sentence = template(question=key, word=Term(answer), name=who, reason=reason)
            if is_correction and denies_movement(answer):
                station, until_s = read_question(key)
                sign_corrections(connection, site.id, station, from_epoch_s(until_s), who, now, countersigned=needs_two)
        decision_id = freeze_act(connection, site, memory, after, actor, act, sentence, now)
        save_memory(connection, site.id, after, site.version, now)
        detail = {"key": key, "answer": answer, "reason": reason, "decision": decision_id}
        add_audit(connection, actor, act, f"site:{site.id}", detail, now)
        if act == SIGNED:
            note_questions(connection, site.id, {key, *(step.station for step in steps)}, actor, sentence, now)
        seal_decision(connection, decision_id, actor, now)
    return evaluate_site(db, site, now, "person")


def asks_verification(alert_key: str) -> bool:
    """Return whether an alert is a question that a person can answer."""
    return alert_key == LONE_TOP or step_of_alert(alert_key) is not None


def require_answer(answer: str) -> None:
    """Require one of `ANSWERS`.

    Raises:
        RefusedError: The answer is not valid.
    """
    if answer not in ANSWERS:
        raise RefusedError(_ODD_ANSWER(answer=answer, names=NameList(ANSWERS)))


def note_questions(
    connection: Connection, site_id: str, keys: Collection[str], actor: Actor, sentence: Message, now: datetime
) -> None:
    """Add a note to the open alerts of these questions."""
    for alert in load_alerts(connection, site_id, open_only=True, ledger=str(AlertCategory.HEALTH)):
        if step_of_alert(alert.key) in keys:
            add_note(connection, alert.id, actor, sentence, now)


def find_signature(db: Database, site_id: str, key: str) -> Signature | None:
    """Return the first answer to a question that waits for a second person; None if there is none."""
    with db.read() as connection:
        row = find_state(connection, site_id)
    signed = {} if row is None else Memory.read(row.state).signed
    return next(
        (signature for question, signature in signed.items() if key in {question, find_station_of_question(question)}),
        None,
    )


def _add_first_answer(memory: Memory, questions: Sequence[str], signature: Signature) -> Memory:
    """Return the memory with a first answer that waits for a second person."""
    return replace(memory, signed={**memory.signed, **dict.fromkeys(questions, signature)})


def _add_answer(memory: Memory, key: str, questions: Sequence[str], answer: str, height: int | None) -> Memory:
    """Return the memory with an answer that counts.

    Args:
        height: The level that one person set aside alone; None if two people answered.
    """
    steps = {
        name: replace(step, state=find_state_after(answer)) if name in questions else step
        for name, step in memory.steps.items()
    }
    heights = {} if height is None or not denies_movement(answer) else dict.fromkeys(questions, height)
    return replace(
        memory,
        answers={**memory.answers, **dict.fromkeys(questions or [key], answer)},
        steps=steps,
        heights={name: level for name, level in memory.heights.items() if name not in questions} | heights,
        signed={name: signature for name, signature in memory.signed.items() if name not in {key, *questions}},
    )


def _require_steps(memory: Memory, key: str) -> list[StepKey]:
    """Return the jumps that a question is about; empty for a question about something else.

    Raises:
        NotFoundError: No question with this key is open.
    """
    steps = [step for step in memory.steps if key in {step, step.station}]
    waiting = _list_waiting(memory)
    if not steps and key not in waiting:
        names = NameList(tuple(map(str, waiting)))
        raise NotFoundError(_NOT_OPEN(key=key, names=names) if waiting else _NONE_OPEN(key=key))
    return steps


def _list_waiting(memory: Memory) -> list[str]:
    """Return the keys of all questions that wait for an answer."""
    # Questions about jumps are answered by the keys of the jumps, which contain their time.
    questions = [step_of_alert(alert_key) for alert_key in memory.conditions]
    others = [question for question in questions if question is not None and ":" in question]
    references = [f"reference:{reference}" for reference in memory.common]
    return list(dict.fromkeys([*memory.steps, *references, *memory.asked, *others]))


def step_of_alert(alert_key: str) -> str | None:
    """Return the key of the question of an alert; None if the alert is no question about jumps or references.

    >>> step_of_alert("health:reference:BASE:verify"), step_of_alert("health:G1:verify")
    ('reference:BASE', 'G1')
    """
    if not alert_key.startswith("health:") or not alert_key.endswith(":verify"):
        return None
    return alert_key.removeprefix("health:").removesuffix(":verify")


def load_memory(connection: Connection, site: Site) -> Memory:
    """Return the stored memory of a site, with no level above the highest one of the site file."""
    return _load_stored_memory(connection, site.id).limit_levels(site.top_level)


def _load_stored_memory(connection: Connection, site_id: str) -> Memory:
    row = find_state(connection, site_id)
    return Memory.read(row.state) if row is not None else Memory()


def freeze_act(
    connection: Connection,
    site: Site,
    before: Memory,
    after: Memory,
    actor: Actor,
    act: str,
    sentence: str,
    now: datetime,
) -> int:
    """Store the memory before and after the act of a person as a decision, and return its id."""
    frozen: Mapping[str, Any] = {
        "format": FORMAT,
        "act": act,
        "site": site.id,
        "config_sha256": site.version,
        "code_version": code_version(),
        "now": format_iso(now),
        "actor": actor.name,
        "memory": before.to_json(),
        "after": after.to_json(),
        "sentence": sentence,
    }
    return add_decision(connection, site.id, now, site.version, canonical_json(frozen))


def require_two_at_stake(
    connection: Connection,
    site: Site,
    stake: int,
    actor: Actor,
    second: Actor | None,
    now: datetime,
    refuse: Callable[..., Message],
) -> bool:
    """Return whether an act needs two people, and check that they are two. Without accounts, one person is enough.

    Args:
        stake: The highest level that is in force or requested.
        refuse: Makes the message of the error from a `level`.

    Raises:
        NeedsSecondError: A second person is needed.
    """
    if not needs_second_signature(site, stake) or not load_users(connection):
        return False
    if second is None:
        raise NeedsSecondError(refuse(level=Term(site.levels[min(stake, site.top_level)].name)))
    require_two(connection, actor, second, now)
    return True


def completes_first_answer(
    connection: Connection, first: Signature | None, answer: str, height: int, actor: Actor, now: datetime
) -> bool:
    """Return whether another person gave the same first answer, for no lower level than is at stake now.

    Raises:
        RefusedError: The same person gave the first answer, or a person has no account although accounts exist.
    """
    if first is None or first.answer != answer or first.height < height:
        # A second person could not join a person without an account.
        require_account(connection, actor.name.strip())
        return False
    if is_same_person(first.by, actor.name):
        raise RefusedError(f"{first.by} has signed {answer!r} already; a second person must sign the same answer")
    require_two(connection, Actor(first.by), actor, now)
    return True
