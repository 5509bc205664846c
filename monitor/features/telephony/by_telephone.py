"""Acknowledge alerts by a text message or a pressed key. The same checks apply as to other acts of people."""

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
    """Store a text message and acknowledge its alert in one transaction; see `replies.take_reply`."""
    with db.write(urgent=True) as c:
        return replies.take_reply(c, way, sender, text, provider_id, now, partial(_acknowledge, db))


def take_digit(db: Database, notification_id: int, number: str, call_id: str, now: datetime) -> ReplyResult:
    """Store a pressed digit and acknowledge its alert in one transaction; see `replies.take_digit`."""
    with db.write(urgent=True) as c:
        return replies.take_digit(c, notification_id, number, call_id, now, partial(_acknowledge, db))


@cache
def find_act() -> Act:
    """Return the act that a reply performs (`Act.by_reply`), which is `acknowledge`.

    Exactly one act is registered for replies, because the code in a reply does not name an act.
    """
    [reply_act] = (act for act in list_acts() if act.by_reply)
    return reply_act


def _acknowledge(db: Database, c: Connection, actor: Actor, alert_id: int, seen: int, now: datetime) -> None:
    """Acknowledge an alert at the level that the message named, if the account of the person may do so."""
    account = find_account(load_users(c), actor.name)
    if account is not None:
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
        # A reply does not use the configuration.
        config=ServiceConfig(),
        transaction=c,
    )
    find_act().load()(call, alert_id=alert_id, reason=f"acknowledged by {actor.via}", seen=seen)
