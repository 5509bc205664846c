"""The narrow write path: acknowledge, verify, report what was seen. Each act carries a name and a reason."""

import threading
from datetime import timedelta
from typing import Annotated, Final, Literal

from fastapi import APIRouter, Form
from fastapi.responses import JSONResponse, Response
from pydantic import AfterValidator
from sqlalchemy import Connection

from forecasting.message import NameList, Template
from monitor.alerting.acts.answer_acts import share_taking_back, withdraw_answer
from monitor.alerting.acts.operator_acts import find_signature, measure_stake, step_of_alert, verify
from monitor.alerting.acts.stakes import needs_two_people
from monitor.alerting.audit.recompute import RecomputationRequest, RecomputationResult, gather_decisions
from monitor.alerting.evaluate import evaluate_site
from monitor.domain.alert import Actor
from monitor.domain.observation import ObserverReport
from monitor.domain.site import Site
from monitor.errors import JobError, NeedsSecondError, NotFoundError, RefusedError
from monitor.ingest.references import answer_reference, share_answer
from monitor.jobs.worker import run_in_worker
from monitor.store.alerting import alerts
from monitor.store.alerting.alerts import acknowledge, add_note, find_alert
from monitor.store.alerting.events import confirm_event
from monitor.store.alerting.offsets import confirm_offset
from monitor.store.pages import load_cards
from monitor.store.people.countersign import TwoPersonAct, do_by_two
from monitor.store.readings.messages import add_report, find_report
from monitor.store.readings.photos import NO_ALERT
from monitor.web.access.acting import Acting
from monitor.web.context import NO_NUL, AlertId, Context, Reason, Why, require_words, take_turn
from monitor.web.parts.collect import find_card, require_declared
from monitor.worker.records import WorkerTask

router = APIRouter(include_in_schema=False)
RECOMPUTE: Final = WorkerTask(
    "monitor.alerting.audit.recompute:recompute_all", RecomputationRequest, RecomputationResult
)
RECOMPUTE_LIMIT_S: Final = 60.0
_recomputing: Final = threading.Semaphore(1)  # one worker at a time: alarms need the processor too
_ACKNOWLEDGED: Final = Template("act.acknowledged", "acknowledged")
_NOTED: Final = Template("act.noted", "noted")
_ANSWERED: Final = Template("act.answered", "answered")
_RECOMPUTING: Final = Template("recompute.busy", "another alert is being decided again; try again in a minute")
_EQUAL: Final = Template("recompute.equal", "recomputed: equal bit for bit")
_DIFFERS: Final = Template("recompute.differs", "recomputed, and it differs: {text}")
_NOT_RECOMPUTED: Final = Template("recompute.failed", "not recomputed: {problem}")
_SIGNED_ANSWER: Final = Template("act.signed_answer", "signed; a second person must sign the same answer")
_TAKEN_BACK: Final = Template("act.taken_back", "the {text} is withdrawn")
_SIGNED_BACK: Final = Template(
    "act.signed_back", "signed, not done yet; within four hours a second person must withdraw it as well"
)
_SIGNED_REFERENCE: Final = Template(
    "act.signed_reference", "signed, not done yet; within four hours a second person must give the same answer"
)
_ASKS_NOTHING: Final = Template("act.asks_nothing", "alert {alert} asks for no verification")
_ODD_REPORT: Final = Template("act.odd_report", "kind '{kind}' is unknown; one of {names}")
_REPORT_STORED: Final = Template("act.report_stored", "report stored")
_EVENT_CONFIRMED: Final = Template("act.event_confirmed", "event confirmed")
_EVENT_WAITS: Final = Template(
    "act.event_waits", "event confirmed; for the two highest levels a second person must confirm it as well"
)
_OFFSET_CONFIRMED: Final = Template("act.offset_confirmed", "offset {number} is confirmed")
REPORT_KINDS: Final = ("crack", "rockfall", "road_damage", "water", "sound", "verification", "other")
Words = Annotated[str, Form(max_length=1000, pattern=NO_NUL), AfterValidator(require_words)]


@router.post("/alerts/{alert_id}/acknowledge")
def acknowledge_alert(
    act: Acting, alert_id: AlertId, reason: Reason, seen: Annotated[int | None, Form()] = None
) -> Response:
    """Sign an alert: who, when, why; escalation ends by it. `seen` is the level that the form was shown with."""
    with act.db.write(urgent=True) as c:
        acknowledge(c, alert_id, act.actor, reason, act.now, seen=seen)
    return act.back(f"/alerts/{alert_id}", _ACKNOWLEDGED())


@router.post("/alerts/{alert_id}/note")
def note_on_alert(act: Acting, alert_id: AlertId, note: Words) -> Response:
    """Write into the story of an alert what somebody saw; the alert stays as it is."""
    with act.db.write(urgent=True) as c:
        add_note(c, alert_id, act.actor, note, act.now)
    return act.back(f"/alerts/{alert_id}#h-chain", _NOTED())


@router.post("/alerts/{alert_id}/recompute")
def recompute_alert(act: Acting, alert_id: AlertId) -> Response:
    """Decide again from the frozen evidence of an alert, in a worker, and say whether it comes out bit for bit."""
    plan = act.context.config.compute.model_copy(update={"dask": "", "job_limit_s": RECOMPUTE_LIMIT_S})
    with take_turn(_recomputing, _RECOMPUTING()):
        with act.db.read() as c:
            alert = find_alert(c, alert_id)
            if alert is None:
                raise NotFoundError(NO_ALERT(n=alert_id))
            decisions = gather_decisions(c, alert)
        try:
            found = run_in_worker(plan, RECOMPUTE, decisions).differences
            text = _DIFFERS(text=found[0][:120]) if found else _EQUAL()
        except JobError as error:
            text = _NOT_RECOMPUTED(problem=error.message)
    return act.back(f"/alerts/{alert_id}#h-evidence", text)


@router.post("/alerts/{alert_id}/verify")
def verify_step(
    act: Acting, alert_id: AlertId, answer: Annotated[str, Form(max_length=32)], reason: Reason
) -> Response:
    """Say what a sudden step or a common motion was; the site is decided again at once."""
    site, key = _find_question(act.context, alert_id)
    verify(act.db, site, key, answer, act.actor, reason, act.now)
    waits = find_signature(act.db, site.id, key) is not None
    return act.back(f"/alerts/{alert_id}", _SIGNED_ANSWER() if waits else _ANSWERED())


@router.post("/alerts/{alert_id}/verify/withdraw")
def withdraw_step_answer(act: Acting, alert_id: AlertId, reason: Reason) -> Response:
    """Take back the first answer to a question, or the answer that counts; the site is decided again at once."""
    site, key = _find_question(act.context, alert_id)
    with act.db.read() as c:
        shared = share_taking_back(c, site, key)
    try:
        described = do_by_two(
            act.db,
            shared,
            act.actor,
            reason,
            lambda c, second: withdraw_answer(c, site, key, act.actor, reason, act.now, second=second),
            lambda c: measure_stake(c, site),
            act.now,
        )
        text = _TAKEN_BACK(text=described)
        evaluate_site(act.db, site, act.now, "person")
    except NeedsSecondError:
        text = _SIGNED_BACK()
    return act.back(f"/alerts/{alert_id}", text)


def _find_question(context: Context, alert_id: int) -> tuple[Site, str]:
    """What an alert asks people to verify, with the declaration of its site in force."""
    with context.db.read() as c:
        alert = find_alert(c, alert_id)
        key = None if alert is None else step_of_alert(alert.key)
        if alert is None or key is None:
            raise NotFoundError(_ASKS_NOTHING(alert=alert_id))
        return require_declared(context, c, alert.site), key


@router.post("/sites/{site}/report")
def report_seen(
    act: Acting,
    site: str,
    kind: Annotated[str, Form(max_length=32)],
    text: Words,
    station: Annotated[str, Form(max_length=64, pattern=NO_NUL)] = "",
) -> Response:
    """Enter what was seen on the slope, verification of a step included; rules that use it look within a minute."""
    if kind not in REPORT_KINDS:
        raise RefusedError(_ODD_REPORT(kind=kind, names=NameList(REPORT_KINDS)))
    with act.db.write() as c:
        find_card(c, site)
        item = ObserverReport(site, act.now, kind, text, act.actor.name, station or None)
        add_report(c, item, act.now, actor=act.actor, credential=f"account {act.actor.name}")
        number = find_report(c, item)
    if "application/json" in act.request.headers.get("accept", ""):  # the script that sends a photo of it next
        return JSONResponse({"report": number}, status_code=201)
    return act.back(f"/sites/{site}#reports", _REPORT_STORED())


@router.post("/sites/{site}/stations/{station}/reference")
def choose_reference(
    act: Acting,
    site: str,
    station: str,
    holds: Annotated[Literal["asked", "kept"], Form()],
    reason: Reason,
    alert: Annotated[int, Form(ge=1, lt=1 << 63)],
) -> Response:
    """Say which GNSS reference of a station holds; two people where one of the two highest levels is at stake."""
    place, accept = f"{site}/{station}", holds == "asked"
    with act.db.read() as c:
        shared = share_answer(c, place, accept=accept)

    def do(c: Connection, second: Actor | None) -> None:
        takes_two = needs_two_people(c, site)[1]
        answer_reference(c, place, act.actor, reason, act.now, accept=accept, takes_two=takes_two, second=second)

    text = act.by_two(shared, reason, do, lambda c: needs_two_people(c, site)[0], _ANSWERED(), _SIGNED_REFERENCE())
    return act.back(f"/alerts/{alert}", text)


@router.post("/sites/{site}/events/{event_id}/confirm")
def confirm_earthquake(act: Acting, site: str, event_id: AlertId, reason: Reason) -> Response:
    """Stand behind an earthquake that was declared, so that it may explain steps; the site is looked at at once."""
    with act.db.write(urgent=True) as c:
        names = confirm_event(c, event_id, act.actor, reason, act.now, site=site)
    return act.back(f"/sites/{site}#reports", _EVENT_CONFIRMED() if len(names) > 1 else _EVENT_WAITS())


@router.post("/sites/{site}/offsets/{offset_id}/confirm")
def confirm_declared(act: Acting, site: str, offset_id: AlertId, reason: Reason) -> Response:
    """Stand behind an offset of somebody else, so that it counts for the two highest levels as well."""
    with act.db.write(urgent=True) as c:
        confirm_offset(c, offset_id, act.actor, reason, act.now, site=site)
    return act.back("/signatures", _OFFSET_CONFIRMED(number=offset_id))


_WAITS: Final = Template("shelf.waits", "signed, not done yet; within four hours a second person must do the same")
_SHELVED: Final = Template("shelf.shelved", "shelved")
_BACK_FROM_SHELF: Final = Template("shelf.back", "back from the shelf")
_OUT: Final = Template("shelf.out", "out of service")
_BACK_IN_SERVICE: Final = Template("shelf.back_in_service", "back in service")


@router.post("/alerts/{alert_id}/shelve")
def shelve_alert(
    act: Acting, alert_id: AlertId, hours: Annotated[float, Form(gt=0.0, le=720.0)], reason: Why
) -> Response:
    """Put an alert aside for a time, at most as long as its level allows."""
    until = act.now + timedelta(hours=hours)
    with act.db.read() as c:
        top = _find_top(c, alert_id)

    def do(c: Connection, second: Actor | None) -> None:
        alerts.shelve(c, alert_id, act.actor, reason, until, act.now, second=second, top_level=top)

    shared = TwoPersonAct("alert.shelve", f"alert:{alert_id}", {"for_s": hours * 3600.0})
    text = act.by_two(shared, reason, do, lambda c: _find_level(c, alert_id), _SHELVED(), _WAITS())
    return act.back(f"/alerts/{alert_id}", text)


@router.post("/alerts/{alert_id}/unshelve")
def unshelve_alert(act: Acting, alert_id: AlertId, reason: Why) -> Response:
    """Bring an alert back from the shelf."""
    with act.db.write(urgent=True) as c:
        alerts.unshelve(c, alert_id, act.actor, reason, act.now)
    return act.back(f"/alerts/{alert_id}", _BACK_FROM_SHELF())


@router.post("/alerts/{alert_id}/take-out")
def take_alert_out(act: Acting, alert_id: AlertId, reason: Why) -> Response:
    """Take an alert out of service until a person puts it back."""

    def do(c: Connection, second: Actor | None) -> None:
        alerts.take_out(c, alert_id, act.actor, reason, act.now, second=second)

    shared = TwoPersonAct("alert.take-out", f"alert:{alert_id}", {})
    text = act.by_two(shared, reason, do, lambda c: _find_level(c, alert_id), _OUT(), _WAITS())
    return act.back(f"/alerts/{alert_id}", text)


@router.post("/alerts/{alert_id}/put-back")
def put_alert_back(act: Acting, alert_id: AlertId, reason: Why) -> Response:
    """Put an alert back in service."""
    with act.db.write(urgent=True) as c:
        alerts.put_back(c, alert_id, act.actor, reason, act.now)
    return act.back(f"/alerts/{alert_id}", _BACK_IN_SERVICE())


def _find_level(c: Connection, alert_id: int) -> int:
    found = alerts.find_alert(c, alert_id)
    if found is None:
        raise NotFoundError(NO_ALERT(n=alert_id))
    return found.level


def _find_top(c: Connection, alert_id: int) -> int:
    """The number of the highest level of the alert's site."""
    found = alerts.find_alert(c, alert_id)
    cards = load_cards(c, found.site) if found is not None else []
    return cards[0].top_level if cards else 3
