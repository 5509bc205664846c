"""What a person decides, alone or with a second one: to set a level, or to say what a step was; frozen and audited."""

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
from monitor.decision.records import Memory, Signature, Vote
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
    "{site} is not lowered to {level}: {count} still ask for more ({texts}); who lowers it all the same says so "
    "(--yes), and only newer data raise it again",
)
_SET_ALONE: Final = Template("level.set_alone", "{site}: one person may not set {level} aside")
_AT: Final = Template("level.asks_at", "{criterion} at {station}")
_ASKS: Final = Template("level.asks", "{who} asks for {level}: {reason}")
_REQUESTED: Final = Template("level.asked", "{who} asked for {level} and has given no data since {at}: {reason}")
_STEP_ASKS: Final = Template("level.step_asks", "step of {step} asks for {level}")
_STEP_WAITS: Final = Template("level.step_waits", "step of {step} waits for verification and may ask for {level}")
_ODD_ANSWER: Final = Template("answer.odd", "answer '{answer}': expected one of: {names}")
_NOT_OPEN: Final = Template("answer.not_asked", "'{key}' does not wait for verification; waiting: {names}")
_NONE_OPEN: Final = Template("answer.none_asked", "'{key}' does not wait for verification; waiting: nothing")
_COUNTS: Final = Template("answer.counts_already", "{question}: an answer counts already; take that back first")
ANSWERS: Final = (MOVEMENT, *CAUSES)
VERIFIED: Final = "step.verify"
SIGNED: Final = "step.sign"  # the first of two words


def set_level(db: Database, site: Site, level: int, actor: Actor, reason: str, now: datetime) -> int:
    """Set the hazard level by hand; `order_level_of` in a transaction of its own."""
    with db.write() as connection:
        return order_level_of(connection, site, level, actor, reason, now)


def order_level_of(
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
    """Set the hazard level by hand and tell everybody who is told of it; returns the level before.

    Raised, it stands until a person lowers it. Lowered, it rises again only on data newer than what was known now.

    Args:
        sure: False refuses to lower while something asks for more than `level`.
        second: another person; needed, where accounts exist, for a level below one of the two highest that stands or
            is asked for.

    Raises:
        RefusedError: no person, no reason, no such level, or something asks for more and nobody is sure.
        NeedsSecondError: one person alone may not set it so low.
    """
    require_person(actor, reason)
    if not 0 <= level < len(site.levels):
        raise RefusedError(_NO_LEVEL(number=level, names=NameList(tuple(k.name for k in site.levels))))
    memory = load_memory(connection, site)
    asking = _list_asking(site, memory, level, epoch_s(now)) if level < memory.level else []
    if asking and not sure:
        name = site.levels[level].name
        texts = MessageList(tuple(asking))
        raise RefusedError(_NOT_LOWERED(site=site.id, level=Term(name), count=len(asking), texts=texts))
    stake = _measure_stake(memory)
    if stake > level:
        require_shared(connection, site, stake, actor, second, now, partial(_SET_ALONE, site=site.id))
    who = actor.name if second is None else f"{second.name} and {actor.name}"
    after = order_level(memory, level, epoch_s(now))
    name = site.levels[level].name
    before = Term(site.levels[memory.level].name)
    sentence = OF_LEVEL(level=Term(name), text=_SET(name=who, level=before, reason=reason))
    basis = freeze_act(connection, site, memory, after, actor, "level.set", sentence, now)
    save_memory(connection, site.id, after, site.version, now)
    if level != memory.level:
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
            connection, [change], ChangeContext(site.id, site, site.recipients, actor, now, rule_version(site), basis)
        )
    detail = {"from": memory.level, "to": level, "reason": reason, "decision": basis}
    detail |= {} if second is None else {"second_by": second.name}
    add_audit(connection, actor, "level.set", f"site:{site.id}", detail, now)
    seal_decision(connection, basis, actor, now)
    return memory.level


def measure_stake(connection: Connection, site: Site) -> int:
    """The highest level that stands or is asked for: what setting a lower one puts aside."""
    return _measure_stake(load_memory(connection, site))


def _measure_stake(memory: Memory) -> int:
    requested = [v.level for v in memory.votes.values()] + [requested_level(s) for s in memory.steps.values()]
    return max([memory.level, *requested])


def find_asking(db: Database, site: Site, level: int, now: datetime) -> list[Message]:
    """What asks for more than a level at an instant, one line each, the highest first; what fell silent included."""
    with db.read() as connection:
        return _list_asking(site, load_memory(connection, site), level, epoch_s(now))


def _list_asking(site: Site, memory: Memory, level: int, now_s: float) -> list[Message]:
    found = []
    for key, vote in memory.votes.items():
        name = Term(site.levels[min(vote.level, site.top_level)].name)
        who = _AT(criterion=key.criterion, station=key.station) if key.station else key.criterion
        if vote.valid_until_s >= now_s:
            found.append((vote.level, _ASKS(who=who, level=name, reason=vote.reason)))
        else:
            since = Timestamp(vote.newest_s, "minute")
            found.append((vote.level, _REQUESTED(who=who, level=name, at=since, reason=vote.reason)))
    for name_of_step, step in memory.steps.items():
        requested = step.level if step.state == PENDING else requested_level(step)
        name = Term(site.levels[min(requested, site.top_level)].name)
        template = _STEP_WAITS if step.state == PENDING else _STEP_ASKS
        found.append((requested, template(step=str(name_of_step), level=name)))
    return [line for requested, line in sorted(found, key=lambda f: (-f[0], f[1])) if requested > level]


def order_level(memory: Memory, level: int, now_s: float) -> Memory:
    """The memory after a person set the level."""
    answered = dict(memory.answered) | {k: v.newest_s for k, v in memory.votes.items() if v.level > level}
    for key, requested in memory.supporters.items():  # a rule may ask for more than any vote behind it
        vote = memory.votes.get(key.vote) if isinstance(key, RuleKey) and requested > level else None
        answered |= {} if vote is None else {key: vote.newest_s}
    votes = {k: Vote(min(v.level, level), v.newest_s, v.valid_until_s, v.reason) for k, v in memory.votes.items()}
    # a step that asks for more than the person lets stand is answered by that
    answers = dict(memory.answers) | {k: INSTRUMENT for k, s in memory.steps.items() if requested_level(s) > level}
    steps = {k: replace(s, state=INSTRUMENT) if requested_level(s) > level else s for k, s in memory.steps.items()}
    return replace(
        memory,
        started_s=memory.started_s if memory.started_s is not None else now_s,
        level=level,
        level_source="person",
        since_s=now_s,
        floor=level if level >= memory.level else 0,
        votes=votes,
        supporters={k: min(v, level) for k, v in memory.supporters.items() if level > 0},
        answered=answered,
        steps=steps,
        answers=answers,
    )


def verify(
    db: Database, site: Site, key: str, answer: str, actor: Actor, reason: str, now: datetime
) -> EvaluationResult:
    """Answer a question: the steps of a station (`G1`), one step (`G1@...`), a common motion (`reference:BASE`).

    Also a station that moves alone (`alone:G1`), or the slope after an earthquake (`inspect:...`).
    `movement` confirms it; a cause (instrument, weather, work, earthquake, other) says that the slope did not move.
    Where one of the two highest levels is asked for, a cause counts only once a second person signs the same one:
    until then the first word is kept and told, the question stays open, its clock runs and its votes count.
    A cause for corrected values (`corrected:G1@...`) says that the values of before were wrong: from then on the
    corrected ones count. Where fewer than two people may act on the site, one person is enough for that.
    The site is decided again at once.

    Raises:
        NotFoundError: nothing of that name waits.
        RefusedError: no person, no reason, an answer that is neither movement nor a cause, or a second signature of
            the person who gave the first, or of one without an account where accounts exist. Or two would be needed
            to say otherwise than an answer that counts.
    """
    require_person(actor, reason)
    require_answer(answer)
    with db.write() as connection:
        memory = load_memory(connection, site)
        mine = _find_steps(memory, key)
        height = find_level_of_question(site, memory, key, mine, epoch_s(now))
        was = _WAS if answer in {MOVEMENT, CAUSES[0]} else _WAS_NONE
        is_correction = key.startswith(CORRECTED_PREFIX)
        alone = denies_movement(answer) and needs_second_signature(site, height)
        if is_correction and not can_countersign(connection, site.id):
            require_account(connection, actor.name.strip())
            alone = False
        if alone and mine:  # no first word is kept beside an answer that counts: it would never find its second
            mine = [k for k in mine if k not in memory.answers]
            if not mine:
                raise RefusedError(_COUNTS(question=key))
        names: list[str] = [*mine] or [key]
        given = {memory.signed.get(k) for k in names}
        first = given.pop() if len(given) == 1 else None
        if alone and not counts_with(connection, first, answer, height, actor, now):
            act, after = SIGNED, _sign(memory, names, Signature(answer, actor.name, height))
            sentence = _SIGN_THAT(text=was(question=key, word=Term(answer), name=actor.name, reason=reason))
        else:
            act, after = VERIFIED, _answer(memory, key, mine, answer, None if alone else height)
            who = f"{first.by} and {actor.name}" if alone and first is not None else actor.name
            sentence = was(question=key, word=Term(answer), name=who, reason=reason)
            if is_correction and denies_movement(answer):
                station, until_s = read_question(key)
                sign_corrections(connection, site.id, station, from_epoch_s(until_s), who, now, countersigned=alone)
        basis = freeze_act(connection, site, memory, after, actor, act, sentence, now)
        save_memory(connection, site.id, after, site.version, now)
        detail = {"key": key, "answer": answer, "reason": reason, "decision": basis}
        add_audit(connection, actor, act, f"site:{site.id}", detail, now)
        if act == SIGNED:
            note_questions(connection, site.id, {key, *(k.station for k in mine)}, actor, sentence, now)
        seal_decision(connection, basis, actor, now)
    return evaluate_site(db, site, now, "person")


def asks_verification(alert_key: str) -> bool:
    """Whether an alert asks people to verify something now."""
    return alert_key == LONE_TOP or step_of_alert(alert_key) is not None


def require_answer(answer: str) -> None:
    """Refuse what is no answer to "what was it?"; raises RefusedError."""
    if answer not in ANSWERS:
        raise RefusedError(_ODD_ANSWER(answer=answer, names=NameList(ANSWERS)))


def note_questions(
    connection: Connection, site_id: str, keys: Collection[str], actor: Actor, sentence: Message, now: datetime
) -> None:
    """Write what a person said into the chain of the open alerts that ask it."""
    for alert in load_alerts(connection, site_id, open_only=True, ledger=str(AlertCategory.HEALTH)):
        if step_of_alert(alert.key) in keys:
            add_note(connection, alert.id, actor, sentence, now)


def find_signature(db: Database, site_id: str, key: str) -> Signature | None:
    """The first word on a question that waits for the second person; None where none does."""
    with db.read() as connection:
        row = find_state(connection, site_id)
    signed = {} if row is None else Memory.read(row.state).signed
    return next((s for k, s in signed.items() if key in {k, find_station_of_question(k)}), None)


def _sign(memory: Memory, names: Sequence[str], signature: Signature) -> Memory:
    return replace(memory, signed={**memory.signed, **dict.fromkeys(names, signature)})


def _answer(memory: Memory, key: str, mine: Sequence[str], answer: str, height: int | None) -> Memory:
    """The memory with an answer that counts; `height` is what one person alone could set aside."""
    steps = {k: replace(s, state=find_state_after(answer)) if k in mine else s for k, s in memory.steps.items()}
    heights = {} if height is None or not denies_movement(answer) else dict.fromkeys(mine, height)
    return replace(
        memory,
        answers={**memory.answers, **dict.fromkeys(mine or [key], answer)},
        steps=steps,
        heights={k: h for k, h in memory.heights.items() if k not in mine} | heights,
        signed={k: s for k, s in memory.signed.items() if k not in {key, *mine}},
    )


def _find_steps(memory: Memory, key: str) -> list[StepKey]:
    mine = [k for k in memory.steps if key in {k, k.station}]
    waiting = _list_waiting(memory)
    if not mine and key not in waiting:
        open_ones = NameList(tuple(map(str, waiting)))
        raise NotFoundError(_NOT_OPEN(key=key, names=open_ones) if waiting else _NONE_OPEN(key=key))
    return mine


def _list_waiting(memory: Memory) -> list[str]:
    # a question about steps is answered by their own keys, which hold their instant
    waiting = [key for alert in memory.conditions if ":" in (key := step_of_alert(alert) or "")]
    return list(dict.fromkeys([*memory.steps, *(f"reference:{r}" for r in memory.common), *memory.asked, *waiting]))


def step_of_alert(alert_key: str) -> str | None:
    """The step or reference that a verify alarm asks about; None for other alerts.

    >>> step_of_alert("health:reference:BASE:verify"), step_of_alert("health:G1:verify")
    ('reference:BASE', 'G1')
    """
    if not alert_key.startswith("health:") or not alert_key.endswith(":verify"):
        return None
    return alert_key.removeprefix("health:").removesuffix(":verify")


def load_memory(connection: Connection, site: Site) -> Memory:
    """What the last decision on a site, or the last act of a person, left."""
    row = find_state(connection, site.id)
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
    """Keep what a person's act found and left, as a decision of its own; returns its number."""
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


def require_shared(
    connection: Connection,
    site: Site,
    stake: int,
    actor: Actor,
    second: Actor | None,
    now: datetime,
    refuse: Callable[..., Message],
) -> bool:
    """Whether an act takes two people, who are then required to be two; before the first account one is enough.

    Args:
        stake: the highest level that stands or is asked for.
        refuse: says that one person may not, of a `level`.

    Raises:
        NeedsSecondError: one person alone may not.
    """
    if not needs_second_signature(site, stake) or not load_users(connection):
        return False
    if second is None:
        raise NeedsSecondError(refuse(level=Term(site.levels[min(stake, site.top_level)].name)))
    require_two(connection, actor, second, now)
    return True


def counts_with(
    connection: Connection, first: Signature | None, answer: str, height: int, actor: Actor, now: datetime
) -> bool:
    """True when another person has signed the same answer, of no less than what is asked for now.

    Raises:
        RefusedError: this person has signed it already, or one of the two has no account where accounts exist.
    """
    if first is None or first.answer != answer or first.height < height:
        require_account(connection, actor.name.strip())  # nobody could sign it with them otherwise
        return False
    if is_same_person(first.by, actor.name):
        raise RefusedError(f"{first.by} has signed {answer!r} already; a second person must sign the same answer")
    require_two(connection, Actor(first.by), actor, now)
    return True
