"""The page of first signatures: what one person signed, and a second one must sign before it is done."""

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
from monitor.sites.queries.sites import Proposal, load_proposals
from monitor.text.catalogue import gettext
from monitor.text.message import Template, Term
from monitor.web.access.callers import caller_of
from monitor.web.context import context_of
from monitor.web.parts.templating import render

router = APIRouter(include_in_schema=False)
SPOKEN: Final = {
    "epoch0.accept": Template("signature.new_reference", "take the new GNSS reference"),
    "epoch0.network": Template("signature.network_reference", "take all base stations of the stream as one network"),
    "epoch0.keep": Template("signature.old_reference", "keep the old GNSS reference"),
}
_STEP: Final = Template("signature.step", "say what a step was")
_OFFSET: Final = Template("signature.offset", "confirm an offset")
_CHANGE: Final = Template("signature.change", "change the site file")
_ANSWER: Final = Template("signature.answer", "answer: {answer}")


@router.get("/signatures", response_class=HTMLResponse)
def show_signatures(request: Request) -> HTMLResponse:
    """What waits for a second person, on the sites of who asks."""
    caller, context = caller_of(request), context_of(request)
    sites = None if caller is None else caller.sites
    with context.db.read() as c:
        found = [_describe(c, one) for one in load_waiting(c, context.clock())]
        found += [_describe_answer(one) for one in list_first_answers(c)]
        found += [_describe_offset(one) for one in load_waiting_offsets(c, context.clock())]
        found += [_describe_change(one) for one in load_proposals(c) if one.loosens_high]
    waiting = [one for one in found if sites is None or one.site in sites]
    return render(request, "signatures.html", waiting=waiting)


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingRow:
    """What waits for a second person: what is done to what, by whom, and where the second one looks."""

    what: str
    subject: str
    by: str
    site: str | None
    terms: str
    where: str
    on_page: bool = True  # else by the same command
    reason: str = ""
    until: datetime | None = None
    withdraw: str | None = None  # addresses of the forms
    confirm: str | None = None


def _describe(c: Connection, one: PendingSignature) -> WaitingRow:
    kind, _, rest = one.subject.partition(":")
    number = int(rest) if kind == "alert" else None
    is_reference, known = one.act in SPOKEN, {act.name: act for act in list_acts()}.get(one.act)
    name = one.act.replace(".", " ") if known is None else gettext(known.title)
    if is_reference:
        number = _find_newest(c, "status", alarm_key(one.subject))
    elif one.act == TAKEN_BACK:
        number = _find_newest(c, str(one.site), f"health:{one.terms['question']}:verify")
    return WaitingRow(
        what=SPOKEN[one.act]() if is_reference else name,
        subject=one.subject.replace(":", " "),
        by=one.by,
        site=one.site,
        withdraw=f"/signatures/{one.id}/withdraw",
        reason=one.reason,
        until=one.lapses_at,
        on_page=is_reference or known is not None,
        terms="" if is_reference else ", ".join(f"{k} {v}" for k, v in one.terms.items()),
        where=f"/alerts/{number}" if number else f"/sites/{one.site}{'' if known is None else '/acts'}",
    )


def _describe_answer(answer: WaitingAnswer) -> WaitingRow:
    place = f"/alerts/{answer.alert_id}" if answer.alert_id else None
    return WaitingRow(
        what=_STEP(),
        subject=f"{answer.site} {answer.question}",
        by=answer.by,
        site=answer.site,
        terms=_ANSWER(answer=Term(answer.answer)),
        where=place or f"/sites/{answer.site}",
        withdraw=place and f"{place}/verify/withdraw",
    )


def _describe_offset(waiting: WaitingOffset) -> WaitingRow:
    """An offset; for the two highest levels it counts once a second person confirms it."""
    offset, site = waiting.offset, waiting.site
    return WaitingRow(
        what=_OFFSET(),
        subject=f"{site} {waiting.station} {waiting.quantity}",
        by=offset.author,
        site=site,
        terms=waiting.text,
        where=f"/sites/{site}",
        reason=offset.reason,
        confirm=f"/sites/{site}/offsets/{offset.id}/confirm",
    )


def _describe_change(change: Proposal) -> WaitingRow:
    """A site file that loosens a high level; it waits until somebody else approves it."""
    return WaitingRow(
        what=_CHANGE(),
        subject=change.site,
        by=change.author,
        site=change.site,
        terms=f"No. {change.id}",
        where=f"/sites/{change.site}/proposals",
        reason=change.reason,
    )


def _find_newest(c: Connection, site: str, key: str) -> int | None:
    return next((a.id for a in load_alerts(c, site, ledger=str(AlertCategory.HEALTH)) if a.key == key), None)
