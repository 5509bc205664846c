"""The page of first signatures: what one person signed, and a second one must sign before it is done."""

from datetime import datetime
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from sqlalchemy import Connection

from monitor.domain.decision import Memory
from monitor.errors import NotFoundError
from monitor.ingest.references import alarm_key
from monitor.series.step_clocks import station_of
from monitor.store.alerting.alerts import find_alert, load_alerts
from monitor.store.alerting.decisions import find_state
from monitor.store.pages import load_cards
from monitor.store.people import countersign
from monitor.store.people.countersign import Waiting, load_waiting
from monitor.web.access.callers import actor_of, caller_of
from monitor.web.context import NO_NUL, context_of
from monitor.web.parts.templating import render

router = APIRouter(include_in_schema=False)
SPOKEN = {"epoch0.accept": "take the new GNSS reference", "epoch0.keep": "keep the old GNSS reference"}


@router.get("/signatures", response_class=HTMLResponse)
def show_signatures(request: Request, told: str = "") -> HTMLResponse:
    """What waits for a second person, on the sites of who asks."""
    caller, context = caller_of(request), context_of(request)
    sites = None if caller is None else caller.sites
    with context.db.read() as c:
        found = [_describe(c, one) for one in load_waiting(c, context.clock())] + _list_words(c)
    waiting = [one for one in found if sites is None or one["site"] in sites]
    return render(request, "signatures.html", waiting=waiting, told=told[:200])


@router.post("/signatures/{number}/withdraw")
def withdraw_signature(
    request: Request, number: int, reason: Annotated[str, Form(max_length=500, pattern=NO_NUL)],
    csrf: Annotated[str, Form()],
) -> Response:  # fmt: skip
    """Take one's own signature back, as an admin anybody's; a second person finds nothing to sign any more."""
    actor, context = actor_of(request, csrf), context_of(request)
    if not 0 < number < 1 << 63:
        raise NotFoundError(f"no signature {number} of {actor.name} waits")
    with context.db.write(urgent=True) as c:
        countersign.withdraw_signature(c, number, actor, reason, context.clock())
    return RedirectResponse(f"/signatures?told={quote(f'signature {number} is withdrawn')}", status_code=303)


def _describe(c: Connection, one: Waiting) -> dict[str, Any]:
    """A signature under a command or a form: what is done to what, and where the second person looks."""
    kind, mark, rest = one.subject.partition(":")
    alert = find_alert(c, int(rest)) if kind == "alert" and rest.isdecimal() else None
    site = alert.site if alert is not None else (rest if mark else kind).partition("/")[0]
    is_reference = one.act in SPOKEN
    number = None if alert is None else alert.id
    if is_reference:
        number = _find_open(c, "status", alarm_key(one.subject))
    return _row(
        one.id, SPOKEN.get(one.act, one.act.replace(".", " ")), one.subject.replace(":", " "), one.by, site,
        terms="" if is_reference else ", ".join(f"{k} {v}" for k, v in one.terms.items()), reason=one.reason,
        until=one.lapses_at, where=f"/alerts/{number}" if number else f"/sites/{site}", on_page=is_reference,
    )  # fmt: skip


def _list_words(c: Connection) -> list[dict[str, Any]]:
    """First words on what a step was; they stand until the question is answered."""
    found = {}
    for card in load_cards(c, None):
        state = find_state(c, card.id)
        for key, word in ({} if state is None else Memory.read(state.state).signed).items():
            number = _find_open(c, card.id, f"health:{station_of(key)}:verify")
            found[card.id, station_of(key), word.by] = _row(
                None, "say what a step was", f"{card.id} {station_of(key)}", word.by, card.id,
                terms=f"answer: {word.answer}", where=f"/alerts/{number}" if number else f"/sites/{card.id}",
                on_page=True,
            )  # fmt: skip
    return list(found.values())


def _find_open(c: Connection, site: str, key: str) -> int | None:
    return next((a.id for a in load_alerts(c, site, open_only=True) if a.key == key), None)


def _row(
    number: int | None, what: str, subject: str, by: str, site: str, *, terms: str, where: str, on_page: bool,
    reason: str = "", until: datetime | None = None,
) -> dict[str, Any]:  # fmt: skip
    return {
        "id": number, "what": what, "subject": subject, "by": by, "site": site, "terms": terms, "reason": reason,
        "until": until, "where": where, "on_page": on_page,
    }  # fmt: skip
