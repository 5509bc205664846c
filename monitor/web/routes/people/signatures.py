"""The page of actions that one person has signed and that wait for a second person."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from sqlalchemy import Connection

from monitor.alerts.acts.answer_acts import TAKEN_BACK, WaitingAnswer, list_first_answers
from monitor.alerts.acts.table import list_acts
from monitor.alerts.queries.alerts import load_alerts
from monitor.alerts.queries.offsets import WaitingOffset, load_waiting_offsets
from monitor.alerts.queries.signatures import PendingSignature, load_waiting
from monitor.decision.changes import AlertCategory
from monitor.ingest.references import alarm_key
from monitor.people.queries.users import explain_second_person
from monitor.sites.queries.sites import Proposal, load_proposals
from monitor.text.catalogue import gettext
from monitor.text.message import Message, Template, Term, join, plain_to_messages
from monitor.web.access.callers import SERVICE_ALERTS, caller_of
from monitor.web.context import context_of
from monitor.web.parts.templating import render

router = APIRouter(include_in_schema=False)
# Actions on the GNSS reference of a station, which have no entry in the table of actions.
REFERENCE_ACTIONS: Final = {
    "epoch0.accept": Template("signature.new_reference", "use the new GNSS reference"),
    "epoch0.network": Template("signature.network_reference", "treat all base stations of the stream as one network"),
    "epoch0.keep": Template("signature.old_reference", "keep the old GNSS reference"),
}
_STEP: Final = Template("signature.step", "state the cause of a sudden step")
_OFFSET: Final = Template("signature.offset", "confirm an offset")
_CHANGE: Final = Template("signature.change", "change the site file")
_ANSWER: Final = Template("signature.answer", "answer: {answer}")
_LOOSENS: Final = Template("signature.loosens", "change No. {number} loosens one of the two highest levels: {text}")
_LOOSENS_SOMETHING: Final = Template(
    "signature.loosens_something", "change No. {number} loosens one of the two highest levels"
)
MOST_LOOSENED: Final = 3  # settings that are listed


@router.get("/signatures", response_class=HTMLResponse)
def show_signatures(request: Request) -> HTMLResponse:
    """Show what waits for a second person on the sites of the caller."""
    caller, context = caller_of(request), context_of(request)
    sites = None if caller is None else caller.sites
    now = context.clock()
    with context.db.read() as c:
        rows = [_describe_signature(c, signature) for signature in load_waiting(c, now)]
        rows += [_describe_answer(answer) for answer in list_first_answers(c)]
        rows += [_describe_offset(offset) for offset in load_waiting_offsets(c, now)]
        rows += [_describe_change(proposal) for proposal in load_proposals(c) if proposal.loosens_high]
        waiting = [
            {"row": row, "who": explain_second_person(c, None if row.site == SERVICE_ALERTS else row.site, row.by, now)}
            for row in rows
            if sites is None or row.site in sites
        ]
    return render(request, "signatures.html", waiting=waiting)


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingRow:
    """An action that waits for a second person.

    Attributes:
        action: what is done.
        subject: what it is done to.
        by: the first person.
        site: id of the site; `status` for the service itself, None if the thing no longer exists.
        terms: details that both people agree on, such as a level.
        link: page on which the second person finds the facts.
        is_on_page: whether the second person can act on that page. Otherwise they give the same command.
        reason: reason of the first person.
        until: when the first signature expires; None if it does not.
        withdraw: address of the form that withdraws the first signature.
        confirm: address of the form with which the second person confirms.
    """

    action: Message | str
    subject: str
    by: str
    site: str | None
    terms: Message | str
    link: str
    is_on_page: bool = True
    reason: str = ""
    until: datetime | None = None
    withdraw: str | None = None
    confirm: str | None = None


def _describe_signature(c: Connection, signature: PendingSignature) -> WaitingRow:
    acts = {act.name: act for act in list_acts()}
    act = acts.get(signature.act)
    kind, _, number = signature.subject.partition(":")
    alert_id = int(number) if kind == "alert" else None
    terms = ", ".join(f"{name} {value}" for name, value in signature.terms.items())
    action: Message | str
    if signature.act in REFERENCE_ACTIONS:
        action = REFERENCE_ACTIONS[signature.act]()
        terms = ""
        alert_id = _find_newest_alert(c, SERVICE_ALERTS, alarm_key(signature.subject))
    else:
        action = signature.act.replace(".", " ") if act is None else gettext(act.title)
        if signature.act == TAKEN_BACK:
            question = f"health:{signature.terms['question']}:verify"
            alert_id = _find_newest_alert(c, str(signature.site), question)
    site_page = f"/sites/{signature.site}" if act is None else f"/sites/{signature.site}/acts"
    return WaitingRow(
        action=action,
        subject=signature.subject.replace(":", " "),
        by=signature.by,
        site=signature.site,
        withdraw=f"/signatures/{signature.id}/withdraw",
        reason=signature.reason,
        until=signature.lapses_at,
        is_on_page=signature.act in REFERENCE_ACTIONS or act is not None,
        terms=terms,
        link=f"/alerts/{alert_id}" if alert_id else site_page,
    )


def _describe_answer(answer: WaitingAnswer) -> WaitingRow:
    alert_page = f"/alerts/{answer.alert_id}" if answer.alert_id else None
    return WaitingRow(
        action=_STEP(),
        subject=f"{answer.site} {answer.question}",
        by=answer.by,
        site=answer.site,
        terms=_ANSWER(answer=Term(answer.answer)),
        link=alert_page or f"/sites/{answer.site}",
        withdraw=alert_page and f"{alert_page}/verify/withdraw",
    )


def _describe_offset(waiting: WaitingOffset) -> WaitingRow:
    offset, site = waiting.offset, waiting.site
    return WaitingRow(
        action=_OFFSET(),
        subject=f"{site} {waiting.station} {waiting.quantity}",
        by=offset.author,
        site=site,
        terms=waiting.text,
        link=f"/sites/{site}",
        reason=offset.reason,
        confirm=f"/sites/{site}/offsets/{offset.id}/confirm",
    )


def _describe_change(proposal: Proposal) -> WaitingRow:
    """Return the row of a changed site file that loosens one of the two highest levels."""
    loosens = plain_to_messages(list((proposal.effect or {}).get("loosens", ())))[:MOST_LOOSENED]
    return WaitingRow(
        action=_CHANGE(),
        subject=proposal.site,
        by=proposal.author,
        site=proposal.site,
        terms=(_LOOSENS(number=proposal.id, text=join(loosens)) if loosens else _LOOSENS_SOMETHING(number=proposal.id)),
        link=f"/sites/{proposal.site}/proposals",
        reason=proposal.reason,
    )


def _find_newest_alert(c: Connection, site: str, key: str) -> int | None:
    alerts = load_alerts(c, site, ledger=str(AlertCategory.HEALTH))
    return next((alert.id for alert in alerts if alert.key == key), None)
