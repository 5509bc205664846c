"""Alerts put aside and brought back: shelved for a time, taken out of service; urgent ones by two people."""

from datetime import timedelta
from typing import Annotated, Final

from fastapi import APIRouter, Form
from fastapi.responses import Response
from sqlalchemy import Connection

from forecasting.message import Template
from monitor.domain.alert import Actor
from monitor.errors import NotFoundError
from monitor.store.alerting import alerts
from monitor.store.pages import load_cards
from monitor.store.people.countersign import SharedAct
from monitor.store.readings.photos import NO_ALERT
from monitor.web.access.acting import Acting
from monitor.web.context import AlertId, Why

router = APIRouter(include_in_schema=False)
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

    shared = SharedAct("alert.shelve", f"alert:{alert_id}", {"for_s": hours * 3600.0})
    told = act.by_two(shared, reason, do, lambda c: _find_level(c, alert_id), _SHELVED(), _WAITS())
    return act.back(f"/alerts/{alert_id}", told)


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

    shared = SharedAct("alert.take-out", f"alert:{alert_id}", {})
    told = act.by_two(shared, reason, do, lambda c: _find_level(c, alert_id), _OUT(), _WAITS())
    return act.back(f"/alerts/{alert_id}", told)


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
