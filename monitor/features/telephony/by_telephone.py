"""Acts by telephone: a text message or a pressed key does what the table of acts lets it do, and for whom."""

from datetime import datetime
from functools import cache, partial

from sqlalchemy import Connection

from monitor.api.acts import Act
from monitor.api.alerts import list_acts
from monitor.api.database import Actor, Database
from monitor.api.errors import NotAllowedError, RefusedError
from monitor.api.queries.alerts import ActCall, find_site_of, require_in_force
from monitor.api.queries.people import find_account, load_users, require_account
from monitor.api.settings import ServiceConfig
from monitor.features.telephony.queries import replies
from monitor.features.telephony.queries.replies import ReplyResult


def take_reply(db: Database, way: str, sender: str, text: str, provider_id: str, now: datetime) -> ReplyResult:
    """A text message that came in, as `replies.take_reply` has it, in one transaction with what it does."""
    with db.write(urgent=True) as c:
        return replies.take_reply(c, way, sender, text, provider_id, now, partial(_act, db))


def take_digit(db: Database, notification_id: int, number: str, call_id: str, now: datetime) -> ReplyResult:
    """Somebody pressed the digit that acknowledges; in one transaction with what it does."""
    with db.write(urgent=True) as c:
        return replies.take_digit(c, notification_id, number, call_id, now, partial(_act, db))


@cache
def find_act() -> Act:
    """The one that a reply does: a code has no word for which of several."""
    [found] = (act for act in list_acts() if act.by_reply)
    return found


def _act(db: Database, c: Connection, actor: Actor, alert_id: int, seen: int, now: datetime) -> None:
    if (account := find_account(load_users(c), actor.name)) is not None:
        try:
            require_account(c, account.name, find_act().role, site=find_site_of("alert", c, alert_id))
        except RefusedError as error:
            raise NotAllowedError(error.message) from None
    call = ActCall(
        db=db,
        actor=actor,
        now=now,
        find_site=lambda site: require_in_force(c, site),
        check_site=require_in_force,
        config=ServiceConfig(),  # no reply reads it
        transaction=c,
    )
    find_act().load()(call, alert_id=alert_id, reason=f"acknowledged by {actor.via}", seen=seen)
