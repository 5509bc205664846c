"""Alerts put aside and brought back: shelved for a time, taken out of service; urgent ones by two people."""

from collections.abc import Callable
from datetime import timedelta
from typing import Annotated, Final

from fastapi import APIRouter, Form, Request
from fastapi.responses import Response
from sqlalchemy import Connection

from forecasting.message import Message, Template
from monitor.domain.alert import Actor
from monitor.errors import NeedsSecondError, NotFoundError
from monitor.store.alerting import alerts
from monitor.store.pages import load_cards
from monitor.store.people.countersign import SharedAct, do_by_two
from monitor.store.readings.photos import NO_ALERT
from monitor.web.access.callers import actor_of
from monitor.web.access.told import go_back
from monitor.web.context import AlertId, Why, context_of

router = APIRouter(include_in_schema=False)
Csrf = Annotated[str, Form()]
_WAITS: Final = Template("shelf.waits", "signed, not done yet; within four hours a second person must do the same")
_SHELVED: Final = Template("shelf.shelved", "shelved")
_BACK_FROM_SHELF: Final = Template("shelf.back", "back from the shelf")
_OUT: Final = Template("shelf.out", "out of service")
_BACK_IN_SERVICE: Final = Template("shelf.back_in_service", "back in service")


@router.post("/alerts/{alert_id}/shelve")
def shelve_alert(
    request: Request, alert_id: AlertId, hours: Annotated[float, Form(gt=0.0, le=720.0)], reason: Why, csrf: Csrf
) -> Response:
    """Put an alert aside for a time, at most as long as its level allows."""
    until, top = context_of(request).clock() + timedelta(hours=hours), _top(request, alert_id)

    def do(c: Connection, actor: Actor, second: Actor | None) -> None:
        now = context_of(request).clock()
        alerts.shelve(c, alert_id, actor, reason, until, now, second=second, top_level=top)

    return _act_by_two(request, alert_id, csrf, "shelve", {"for_s": hours * 3600.0}, reason, do, _SHELVED())


@router.post("/alerts/{alert_id}/unshelve")
def unshelve_alert(request: Request, alert_id: AlertId, reason: Why, csrf: Csrf) -> Response:
    """Bring an alert back from the shelf."""
    actor, context = actor_of(request, csrf), context_of(request)
    with context.db.write(urgent=True) as c:
        alerts.unshelve(c, alert_id, actor, reason, context.clock())
    return _back(request, alert_id, _BACK_FROM_SHELF())


@router.post("/alerts/{alert_id}/take-out")
def take_alert_out(request: Request, alert_id: AlertId, reason: Why, csrf: Csrf) -> Response:
    """Take an alert out of service until a person puts it back."""

    def do(c: Connection, actor: Actor, second: Actor | None) -> None:
        alerts.take_out(c, alert_id, actor, reason, context_of(request).clock(), second=second)

    return _act_by_two(request, alert_id, csrf, "take-out", {}, reason, do, _OUT())


@router.post("/alerts/{alert_id}/put-back")
def put_alert_back(request: Request, alert_id: AlertId, reason: Why, csrf: Csrf) -> Response:
    """Put an alert back in service."""
    actor, context = actor_of(request, csrf), context_of(request)
    with context.db.write(urgent=True) as c:
        alerts.put_back(c, alert_id, actor, reason, context.clock())
    return _back(request, alert_id, _BACK_IN_SERVICE())


def _act_by_two(
    request: Request, alert_id: int, csrf: str, verb: str, terms: dict[str, float], reason: str,
    do: Callable[[Connection, Actor, Actor | None], None], said: Message,
) -> Response:  # fmt: skip
    """The same act and terms as at the command line, so that one may sign here and the other there."""
    actor, context = actor_of(request, csrf), context_of(request)
    act = SharedAct(f"alert.{verb}", f"alert:{alert_id}", terms)
    try:
        do_by_two(
            context.db, act, actor, reason, lambda c, second: do(c, actor, second), lambda c: _level(c, alert_id),
            context.clock(),
        )  # fmt: skip
    except NeedsSecondError:
        said = _WAITS()
    return _back(request, alert_id, said)


def _level(c: Connection, alert_id: int) -> int:
    found = alerts.find_alert(c, alert_id)
    if found is None:
        raise NotFoundError(NO_ALERT(n=alert_id))
    return found.level


def _top(request: Request, alert_id: int) -> int:
    """The number of the highest level of the alert's site."""
    with context_of(request).db.read() as c:
        found = alerts.find_alert(c, alert_id)
        cards = load_cards(c, found.site) if found is not None else []
    return cards[0].top_level if cards else 3


def _back(request: Request, alert_id: int, said: Message) -> Response:
    return go_back(request, f"/alerts/{alert_id}", said)
