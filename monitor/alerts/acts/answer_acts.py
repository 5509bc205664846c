"""Withdraw answers of people to questions, and find the level that is at stake on a site."""

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
    require_two_at_stake,
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
_NONE: Final = Template("answer.none", "there is no answer to '{question}' that could be withdrawn")
_ALONE: Final = Template(
    "answer.alone", '{question}: one person may not take "movement" back while {level} is at stake'
)
_NOT_YOURS: Final = Template(
    "answer.not_yours", "the {what} is not yours; only who gave it or an admin of {site} withdraws it"
)
# Names of acts in the audit log: withdraw the first of two equal answers, or an answer that counts.
UNSIGNED: Final = "step.unsign"
TAKEN_BACK: Final = "step.withdraw"


@dataclass(frozen=True, slots=True)
class QuestionAnswers:
    """Answers of people to a question.

    Attributes:
        first_answers: Who gave each first answer that waits for a second person, by jump or question.
        answers: The answers that count, by jump or question.
    """

    first_answers: Mapping[str, str]
    answers: Mapping[str, str]

    @property
    def description(self) -> Message:
        """Description of the answer that a withdrawal would take back."""
        if self.first_answers:
            return _FIRST(names=NameList(tuple(sorted(set(self.first_answers.values()))), conjunction=True))
        return _ANSWER(words=MessageList(tuple(map(Term, sorted(set(self.answers.values())))), ", "))


def find_question_answers(memory: Memory, key: str) -> QuestionAnswers | None:
    """Return the answers to a question (`G1`, `alone:G1`, `reference:BASE`); None if there are none.

    The answer to a jump that is over cannot be withdrawn, so it is left out.
    """
    first_answers = {k: s.by for k, s in memory.signed.items() if key in {k, find_station_of_question(k)}}
    answers = {
        k: a
        for k, a in memory.answers.items()
        if k == key or (key == find_station_of_question(k) and k in memory.steps)
    }
    return QuestionAnswers(first_answers, answers) if first_answers or answers else None


@dataclass(frozen=True, slots=True)
class WaitingAnswer:
    """A first answer that waits for a second person; `alert_id` is the open alert of its question."""

    site: str
    question: str
    by: str
    answer: str
    alert_id: int | None


def list_first_answers(connection: Connection) -> list[WaitingAnswer]:
    """Return the first answers that wait for a second person, of all active sites."""
    waiting = {}
    for site in load_sites_summary(connection):
        state = find_state(connection, site.id)
        signed = {} if state is None else Memory.read(state.state).signed
        alerts = load_alerts(connection, site.id, open_only=True) if signed else []
        alert_ids = {step_of_alert(alert.key): alert.id for alert in alerts}
        for key, signature in signed.items():
            question = key if key in alert_ids else find_station_of_question(key) or key
            waiting[site.id, question, signature.by] = WaitingAnswer(
                site.id, question, signature.by, signature.answer, alert_ids.get(question)
            )
    return list(waiting.values())


def make_shared_withdrawal(connection: Connection, site: Site, key: str) -> TwoPersonAct:
    """Return the withdrawal as an act of two people. A signature is valid only for the same answer."""
    question_answers = _require_answer(load_memory(connection, site), key)
    return TwoPersonAct(TAKEN_BACK, f"site:{site.id}", {"question": key, "said": str(question_answers.description)})


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
    """Withdraw a first answer, or else the answer that counts. The caller evaluates the site afterwards.

    A first answer changes nothing, so the person who gave it withdraws it alone. An admin can withdraw first answers of
    others. Without the answer the question is open again, with a new deadline. A level may depend on the answer
    "movement": if accounts exist and one of the two highest levels is in force or requested, two people must withdraw
    it.

    Returns:
        Description of the answer that was withdrawn.

    Raises:
        NotFoundError: There is no answer to withdraw.
        RefusedError: Person or reason are missing, the person has no open account although accounts exist, or the first
            answer belongs to somebody else.
        NeedsSecondError: A second person is needed.
    """
    require_person(actor, reason)
    require_account(connection, actor.name, site=site.id)
    memory = load_memory(connection, site)
    question_answers = _require_answer(memory, key)
    who = actor.name
    if question_answers.first_answers:
        of_actor = {k: by for k, by in question_answers.first_answers.items() if is_same_person(by, actor.name)}
        if not of_actor and not is_admin_of(connection, actor.name, site.id):
            raise RefusedError(_NOT_YOURS(what=question_answers.description, site=site.id))
        question_answers = replace(question_answers, first_answers=of_actor or question_answers.first_answers)
        act = UNSIGNED
        signed = {k: signature for k, signature in memory.signed.items() if k not in question_answers.first_answers}
        after = replace(memory, signed=signed)
    else:
        if MOVEMENT in question_answers.answers.values():
            refuse = partial(_ALONE, question=key)
            stake = measure_stake(connection, site)
            if require_two_at_stake(connection, site, stake, actor, second, now, refuse) and second is not None:
                who = f"{second.name} and {actor.name}"
        act = TAKEN_BACK
        after = reopen_questions(memory, question_answers.answers, epoch_s(now))
        if key.startswith(CORRECTED_PREFIX):
            station, until_s = read_question(key)
            reopen_corrections(connection, site.id, station, from_epoch_s(until_s), who, now)
    sentence = _WITHDRAWN(question=key, what=question_answers.description, name=who, reason=reason)
    decision_id = freeze_act(connection, site, memory, after, actor, act, sentence, now)
    save_memory(connection, site.id, after, site.version, now)
    detail = {"key": key, "said": question_answers.description, "reason": reason, "decision": decision_id}
    detail |= {"second_by": second.name} if second is not None and who != actor.name else {}
    add_audit(connection, actor, act, f"site:{site.id}", detail, now)
    note_questions(connection, site.id, {key}, actor, sentence, now)
    seal_decision(connection, decision_id, actor, now)
    return question_answers.description


def reopen_questions(memory: Memory, keys: Collection[str], now_s: float) -> Memory:
    """Return the memory without some answers. Their questions are open again, and the deadline of each jump starts now.

    A jump that was in doubt before its answer becomes an ordinary question: one question too many is safer.
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


def _require_answer(memory: Memory, key: str) -> QuestionAnswers:
    question_answers = find_question_answers(memory, key)
    if question_answers is None:
        raise NotFoundError(_NONE(question=key))
    return question_answers


def find_stake(connection: Connection, site_id: str) -> tuple[int, bool]:
    """Return the highest level that is in force or requested, and whether acts that could lower it need two people.

    Without accounts one person is enough. A site whose file this version cannot read needs two.
    """
    site = find_in_force(connection, site_id)
    if site is None:
        return 0, find_version(connection, site_id) is not None and bool(load_users(connection))
    height = measure_stake(connection, site)
    return height, needs_second_signature(site, height) and bool(load_users(connection))
