"""Withdraw the answer of a person to a question, and what is at stake on a slope when one does."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Final

from sqlalchemy import Connection

from monitor.alerts.acts.operator_acts import (
    freeze_act,
    load_memory,
    measure_stake,
    note_questions,
    require_shared,
    step_of_alert,
)
from monitor.alerts.queries.alerts import load_alerts
from monitor.alerts.queries.decision_seals import seal_decision
from monitor.alerts.queries.evaluations import find_state, save_memory
from monitor.alerts.queries.signatures import TwoPersonAct
from monitor.decision.keys import find_station_of_question
from monitor.decision.records import Memory
from monitor.decision.series.corrections import CORRECTED_PREFIX, read_question
from monitor.decision.series.step_states import MOVEMENT, PENDING
from monitor.decision.series.steps import explain_reopened
from monitor.decision.votes import needs_second_signature
from monitor.errors import NotFoundError, RefusedError
from monitor.people.queries.users import is_admin_of, load_users, require_account, require_person
from monitor.readings.queries.corrections import reopen_corrections
from monitor.sites.queries.in_force import find_in_force
from monitor.sites.queries.sites import find_version, load_sites_summary
from monitor.sites.records import Site
from monitor.storage.actor import Actor
from monitor.storage.audit import add_audit
from monitor.text.instants import epoch_s, from_epoch_s
from monitor.text.message import Message, MessageList, NameList, Template, Term
from monitor.text.names import is_same_person

_WITHDRAWN: Final = Template("answer.withdrawn", "{question}: the {what} is withdrawn by {name}: {reason}")
_FIRST: Final = Template("answer.first", "first answer of {names}")
_ANSWER: Final = Template("answer.counting", "answer {words}")
_NONE: Final = Template("answer.none", "nobody said anything to '{question}' that could be withdrawn")
_ALONE: Final = Template(
    "answer.alone", '{question}: one person may not take "movement" back while {level} is at stake'
)
_NOT_YOURS: Final = Template(
    "answer.not_yours", "the {what} is not yours; only who gave it or an admin of {site} withdraws it"
)
UNSIGNED: Final = "step.unsign"  # the first of two words
TAKEN_BACK: Final = "step.withdraw"  # an answer that counts


@dataclass(frozen=True, slots=True)
class OperatorAnswer:
    """Answers of people to a question, which they may withdraw."""

    words: Mapping[str, str]  # first words that wait for a second person: step or question -> who gave it
    answers: Mapping[str, str]  # answers that count: step or question -> answer

    @property
    def description(self) -> Message:
        """What is taken back, in words."""
        if self.words:
            return _FIRST(names=NameList(tuple(sorted(set(self.words.values()))), conjunction=True))
        return _ANSWER(words=MessageList(tuple(map(Term, sorted(set(self.answers.values())))), ", "))


def find_operator_answer(memory: Memory, key: str) -> OperatorAnswer | None:
    """What stands of people's words under a question (`G1`, `alone:G1`, `reference:BASE`); None = nothing.

    The answer to a step that is over, and of which nothing is asked any more, cannot be taken back.
    """
    words = {k: s.by for k, s in memory.signed.items() if key in {k, find_station_of_question(k)}}
    answers = {
        k: a
        for k, a in memory.answers.items()
        if k == key or (key == find_station_of_question(k) and k in memory.steps)
    }
    return OperatorAnswer(words, answers) if words or answers else None


@dataclass(frozen=True, slots=True)
class WaitingAnswer:
    """A first answer to a question that waits for a second person."""

    site: str
    question: str
    by: str
    answer: str
    alert_id: int | None  # the open alert that asks it


def list_first_answers(connection: Connection) -> list[WaitingAnswer]:
    """First answers of all sites that are watched; each waits until its question is answered or it is withdrawn."""
    found = {}
    for site in load_sites_summary(connection):
        state = find_state(connection, site.id)
        signed = {} if state is None else Memory.read(state.state).signed
        alerts = load_alerts(connection, site.id, open_only=True) if signed else []
        alert_ids = {step_of_alert(alert.key): alert.id for alert in alerts}
        for key, signature in signed.items():
            question = key if key in alert_ids else find_station_of_question(key) or key
            found[site.id, question, signature.by] = WaitingAnswer(
                site.id, question, signature.by, signature.answer, alert_ids.get(question)
            )
    return list(found.values())


def share_taking_back(connection: Connection, site: Site, key: str) -> TwoPersonAct:
    """The act as two people do it: a signature holds for the very answer that it saw."""
    spoken = _require_spoken(load_memory(connection, site), key)
    return TwoPersonAct(TAKEN_BACK, f"site:{site.id}", {"question": key, "said": str(spoken.description)})


def withdraw_answer(
    connection: Connection,
    site: Site,
    key: str,
    actor: Actor,
    reason: str,
    now: datetime,
    *,
    second: Actor | None = None,
) -> Message:
    """Withdraw a first answer, or else the one that counts; the site is to be decided again behind it.

    A first word changes nothing, so its giver takes it back alone; an admin who gave none there takes back those of
    others. Without the answer the question is open
    again, a step with a new clock. "movement" may be what a level rests on: to take it back takes two people where
    accounts exist and one of the two highest levels stands or is asked for.

    Returns:
        What is taken back, in words.

    Raises:
        NotFoundError: nobody said anything to it that still stands.
        RefusedError: no person, no reason, no open account where accounts exist, or the first word of somebody else.
        NeedsSecondError: one person alone may not.
    """
    require_person(actor, reason)
    require_account(connection, actor.name, site=site.id)
    memory = load_memory(connection, site)
    spoken = _require_spoken(memory, key)
    who = actor.name
    if spoken.words:
        own = {k: by for k, by in spoken.words.items() if is_same_person(by, actor.name)}
        if not own and not is_admin_of(connection, actor.name, site.id):
            raise RefusedError(_NOT_YOURS(what=spoken.description, site=site.id))
        spoken = replace(spoken, words=own or spoken.words)
        act, after = UNSIGNED, replace(memory, signed={k: s for k, s in memory.signed.items() if k not in spoken.words})
    else:
        refuse, moved = partial(_ALONE, question=key), MOVEMENT in spoken.answers.values()
        shared = moved and require_shared(connection, site, measure_stake(connection, site), actor, second, now, refuse)
        if shared and second is not None:
            who = f"{second.name} and {actor.name}"
        act, after = TAKEN_BACK, reopen_questions(memory, spoken.answers, epoch_s(now))
        if key.startswith(CORRECTED_PREFIX):
            station, until_s = read_question(key)
            reopen_corrections(connection, site.id, station, from_epoch_s(until_s), who, now)
    sentence = _WITHDRAWN(question=key, what=spoken.description, name=who, reason=reason)
    basis = freeze_act(connection, site, memory, after, actor, act, sentence, now)
    save_memory(connection, site.id, after, site.version, now)
    detail = {"key": key, "said": spoken.description, "reason": reason, "decision": basis}
    detail |= {"second_by": second.name} if second is not None and who != actor.name else {}
    add_audit(connection, actor, act, f"site:{site.id}", detail, now)
    note_questions(connection, site.id, {key}, actor, sentence, now)
    seal_decision(connection, basis, actor, now)
    return spoken.description


def reopen_questions(memory: Memory, keys: Collection[str], now_s: float) -> Memory:
    """The memory without some answers: their questions are open, and the clock of each step begins now.

    What was doubted before it was answered is asked as any other step: rather one question too many.
    """
    steps = {
        k: replace(s, state=PENDING, known_s=now_s, words=None, reason=explain_reopened(s.reason)) if k in keys else s
        for k, s in memory.steps.items()
    }
    return replace(
        memory,
        steps=steps,
        answers={k: a for k, a in memory.answers.items() if k not in keys},
        heights={k: h for k, h in memory.heights.items() if k not in keys},
    )


def _require_spoken(memory: Memory, key: str) -> OperatorAnswer:
    found = find_operator_answer(memory, key)
    if found is None:
        raise NotFoundError(_NONE(question=key))
    return found


def find_stake(connection: Connection, site_id: str) -> tuple[int, bool]:
    """The highest level that stands or is asked for, and whether one person alone may not touch what it rests on.

    Before the first account one person is enough. A slope whose file this program cannot read takes two.
    """
    site = find_in_force(connection, site_id)
    if site is None:
        return 0, find_version(connection, site_id) is not None and bool(load_users(connection))
    height = measure_stake(connection, site)
    return height, needs_second_signature(site, height) and bool(load_users(connection))
