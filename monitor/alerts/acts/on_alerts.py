"""Acts of people on alerts.

The docstrings are the help of the commands. Their first phrases are the titles of the forms.
"""

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Annotated, Any, Final

from sqlalchemy import Connection

from monitor.alerts.acts.answer_acts import make_shared_withdrawal, withdraw_answer
from monitor.alerts.acts.call import ActCall
from monitor.alerts.acts.operator_acts import (
    ANSWERS,
    asks_verification,
    find_signature,
    load_memory,
    measure_stake,
    require_answer,
    set_level_in_transaction,
    step_of_alert,
)
from monitor.alerts.acts.operator_acts import verify as verify_step
from monitor.alerts.acts.table import ActResult, Argument
from monitor.alerts.evaluate import evaluate_site
from monitor.alerts.queries import alerts as store
from monitor.alerts.queries.alerts import Alert
from monitor.alerts.queries.signatures import TwoPersonAct
from monitor.alerts.states import AlertStep
from monitor.decision.series.step_states import MOVEMENT, denies_movement
from monitor.errors import NotFoundError
from monitor.sites.queries.sites import load_sites_summary
from monitor.sites.records import Site
from monitor.storage.actor import Actor
from monitor.text.catalogue import N_
from monitor.text.instants import record_to_json
from monitor.text.message import Message, Template, Term

LARGEST_ID: Final = 2**63 - 1
_STATE: Final = Template("act.alert_state", "alert {number} is {state}")
_NOTED: Final = Template("act.alert_noted", "noted at alert {number}")
_OUTCOME: Final = Template("act.alert_outcome", "alert {number} was: {outcome}")
_ANSWERED: Final = Template("act.answered_level", 'the answer "{answer}" is stored; {site} is at {level}')
_ANSWERED_ALONE: Final = Template(
    "act.answered_alone", "{text}; signed by {name} alone: it counts once a second person signs it as well"
)
_OTHERWISE: Final = Template("act.answered_otherwise", "{text}; {name} had answered otherwise: {answer}")
_WITHDRAWN: Final = Template("act.answer_withdrawn", "{question}: the {answer} is withdrawn; {site} is at {level}")
_ASKS_NOTHING: Final = Template("act.asks_nothing", "alert {alert} asks for no verification")
AlertId = Annotated[
    int, Argument("Number of the alert, see `slopeward alerts list`", metavar="ALERT_ID", least=1, most=LARGEST_ID)
]
Reason = Annotated[str, Argument(N_("Why, or what was seen"), "--reason")]


def acknowledge(
    call: ActCall,
    alert_id: AlertId,
    reason: Reason,
    seen: Annotated[
        int | None,
        Argument(
            "Number of the level that you saw; refused if it is higher by now. Default: the level at the call",
            "--seen",
            least=0,
            most=LARGEST_ID,
        ),
    ] = None,
) -> ActResult:
    """Acknowledge an alert: somebody has read it and acts. Escalation ends; the level stays.

    Example: slopeward ack 12 --seen 2 --by "R. Mori" --reason "on the way to the toe"
    """
    # The level is loaded before the write transaction. If it rises in between, the alert is not acknowledged.
    seen_level = call.db.run_read(store.require_alert, alert_id).level if seen is None else seen
    return _do(
        call,
        alert_id,
        lambda connection: store.acknowledge(connection, alert_id, call.actor, reason, call.now, seen=seen_level),
    )


def add_note(
    call: ActCall,
    alert_id: AlertId,
    note: Annotated[str, Argument(N_("What was seen, or done"), "--note", longest=1000)],
) -> ActResult:
    """Add a note to an alert; its state does not change.

    Example: slopeward alerts note 12 --by "R. Mori" --note "fresh rockfall below the crack"
    """
    return _do(
        call,
        alert_id,
        lambda connection: store.add_note(connection, alert_id, call.actor, note, call.now),
        _NOTED(number=alert_id),
    )


def close(call: ActCall, alert_id: AlertId, reason: Reason) -> ActResult:
    """Close an alert that is over; only `slopeward level set` ends a hazard level that is in force.

    An urgent alarm whose condition continues needs a second person. With accounts, another person does the same within
    four hours, and the first command ends with exit status 3. Without accounts, name the person with --second.

    Example: slopeward alerts close 12 --reason "gauge was replaced"
    """

    def do(connection: Connection, second: Actor | None) -> None:
        store.close_alert(connection, alert_id, call.actor, reason, call.now, second=second)

    return _do_by_two(call, alert_id, "alert.close", reason, {}, do)


def record_outcome(
    call: ActCall,
    alert_id: AlertId,
    outcome: Annotated[
        str,
        Argument(
            f"One of {', '.join(store.OUTCOMES)}", label=N_("Outcome"), metavar="CLASS", choices=tuple(store.OUTCOMES)
        ),
    ],
    note: Annotated[str, Argument(N_("What was found"), "--note")],
) -> ActResult:
    """Record the outcome of an alert.

    Example: slopeward alerts outcome 12 false_instrument --note "antenna was hit by a snow plough"
    """
    return _do(
        call,
        alert_id,
        lambda connection: store.set_outcome(connection, alert_id, outcome, call.actor, note, call.now),
        _OUTCOME(number=alert_id, outcome=Term(outcome)),
    )


def shelve(
    call: ActCall,
    alert_id: AlertId,
    reason: Reason,
    for_: Annotated[timedelta, Argument(N_("How long, such as 4h"), "--for")] = timedelta(hours=4),
) -> ActResult:
    """Shelve an alert for a time. The second highest level needs a second person; the highest cannot be shelved.

    Example: slopeward alerts shelve 12 --for 2h --reason "blasting until noon" --second "A. Rossi"
    """

    def do(connection: Connection, second: Actor | None) -> None:
        site = store.require_alert(connection, alert_id).site
        level_counts = {s.id: len(s.levels) for s in load_sites_summary(connection, active_only=False)}
        # Alerts of the service itself belong to no site.
        top_level = level_counts.get(site, 4) - 1
        until = call.now + for_
        store.shelve(connection, alert_id, call.actor, reason, until, call.now, second=second, top_level=top_level)

    return _do_by_two(call, alert_id, "alert.shelve", reason, {"for_s": for_.total_seconds()}, do)


def unshelve(call: ActCall, alert_id: AlertId, reason: Reason) -> ActResult:
    """Unshelve an alert before its time.

    Example: slopeward alerts unshelve 12 --reason "blasting is over"
    """
    return _do(
        call,
        alert_id,
        lambda connection: store.return_alert(connection, alert_id, AlertStep.UNSHELVE, call.actor, reason, call.now),
    )


def take_out(call: ActCall, alert_id: AlertId, reason: Reason) -> ActResult:
    """Take a health or advice alert out of service until it is put back; an urgent alert needs two people.

    Example: slopeward alerts take-out 12 --reason "the gauge is dismantled until May"
    """

    def do(connection: Connection, second: Actor | None) -> None:
        store.take_out(connection, alert_id, call.actor, reason, call.now, second=second)

    return _do_by_two(call, alert_id, "alert.take-out", reason, {}, do)


def put_back(call: ActCall, alert_id: AlertId, reason: Reason) -> ActResult:
    """Put an alert back in service; it must be acknowledged again.

    Example: slopeward alerts put-back 12 --reason "the gauge is installed again"
    """
    return _do(
        call,
        alert_id,
        lambda connection: store.return_alert(connection, alert_id, AlertStep.PUT_BACK, call.actor, reason, call.now),
    )


def verify(
    call: ActCall,
    alert_id: AlertId,
    answer: Annotated[
        str,
        Argument(
            N_("movement if the slope moved; else the cause: instrument, weather, work, earthquake or other"),
            choices=ANSWERS,
        ),
    ],
    reason: Annotated[str, Argument(N_("How you know"), "--reason")],
) -> ActResult:
    """Answer a question "verify now": did the slope move, or what else was it?

    If one of the two highest levels is requested, a cause counts once a second person gives the same answer.
    `slopeward alerts withdraw` withdraws an answer.

    Example: slopeward alerts verify 7 instrument --by "R. Mori" --reason "antenna was bumped, photo on file"
    """
    alert = call.db.run_read(store.require_alert, alert_id)
    if not asks_verification(alert.key):
        raise NotFoundError(_ASKS_NOTHING(alert=alert_id))
    site = call.find_site(alert.site)
    key = step_of_alert(alert.key)
    # First answers that wait for a second person, before and after this answer.
    signature_before = None
    signature_after = None
    if key is None:
        level = _answer_lone_top(call, site, alert_id, answer, reason)
    else:
        signature_before = find_signature(call.db, site.id, key)
        level = verify_step(call.db, site, key, answer, call.actor, reason, call.now).level
        signature_after = find_signature(call.db, site.id, key)
    text = _ANSWERED(answer=Term(answer), site=site.id, level=Term(site.levels[level].name))
    if signature_after is not None:
        text = _ANSWERED_ALONE(text=text, name=signature_after.by)
        if signature_before is not None and signature_before.answer != answer:
            text = _OTHERWISE(text=text, name=signature_before.by, answer=Term(signature_before.answer))
    counts = signature_after is None
    return ActResult(text, {"alert_id": alert_id, "answer": answer, "level": level, "counts": counts})


def _answer_lone_top(call: ActCall, site: Site, alert_id: int, answer: str, reason: str) -> int:
    """Answer the question whether the only group of witnesses that requests the highest level is right.

    "movement" sets the highest level. A cause acknowledges the alert. Return the level after the answer.
    """
    require_answer(answer)
    with call.write() as connection:
        # An answer to a question that is closed must not raise the level.
        if store.require_alert(connection, alert_id).closed_at is not None:
            raise NotFoundError(_ASKS_NOTHING(alert=alert_id))
        if answer == MOVEMENT:
            set_level_in_transaction(connection, site, site.top_level, call.actor, reason, call.now)
        elif denies_movement(answer):
            store.acknowledge(connection, alert_id, call.actor, f"the {answer}: {reason}", call.now)
        return load_memory(connection, site).level


def withdraw(
    call: ActCall, alert_id: AlertId, reason: Annotated[str, Argument(N_("Why the answer is wrong"), "--reason")]
) -> ActResult:
    """Withdraw an answer to "verify now": a first answer that waits, or else the answer that counts.

    The person who gave a first answer, or an admin of the site, can withdraw it. The question is then open again, with
    a new deadline. A level may depend on "movement": if accounts exist and one of the two highest levels is in force or
    requested, two people must each withdraw it.

    Example: slopeward alerts withdraw 7 --by "R. Mori" --reason "the photo was of another mast"
    """
    alert = call.db.run_read(store.require_alert, alert_id)
    key = step_of_alert(alert.key)
    if key is None:
        raise NotFoundError(_ASKS_NOTHING(alert=alert_id))
    site = call.find_site(alert.site)
    answer = call.by_two(
        call.db.run_read(make_shared_withdrawal, site, key),
        reason,
        lambda connection, second: withdraw_answer(connection, site, key, call.actor, reason, call.now, second=second),
        lambda connection: measure_stake(connection, site),
    )
    level = evaluate_site(call.db, site, call.now, "person").level
    text = _WITHDRAWN(question=key, answer=answer, site=site.id, level=Term(site.levels[level].name))
    return ActResult(text, {"alert_id": alert_id, "withdrawn": answer, "by": call.actor.name, "level": level})


def _do(call: ActCall, alert_id: int, act: Callable[[Connection], object], text: Message | None = None) -> ActResult:
    """Do an act on an alert in a write transaction. Return the text, or else the state of the alert, as its result."""
    with call.write() as connection:
        act(connection)
        return _describe(store.require_alert(connection, alert_id), text)


def _do_by_two(
    call: ActCall,
    alert_id: int,
    name: str,
    reason: str,
    terms: Mapping[str, Any],
    act: Callable[[Connection, Actor | None], None],
) -> ActResult:
    """Do an act on an alert that may need a second person, who signs for the level of the alert at that time."""

    def do(connection: Connection, second: Actor | None) -> Alert:
        act(connection, second)
        return store.require_alert(connection, alert_id)

    shared = TwoPersonAct(name, f"alert:{alert_id}", terms)
    return _describe(
        call.by_two(shared, reason, do, lambda connection: store.require_alert(connection, alert_id).level)
    )


def _describe(alert: Alert, text: Message | None = None) -> ActResult:
    return ActResult(text or _STATE(number=alert.id, state=Term(alert.state)), record_to_json(alert))
