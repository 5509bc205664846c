"""Browsers that receive messages for people, until the push service reports that they no longer exist."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, select, update

from monitor.api.database import (
    SERVICE_ACTOR,
    Actor,
    add_audit,
    add_if_absent,
    find_heartbeat,
    load_records,
    match_given,
    write_heartbeat,
)
from monitor.api.errors import NotFoundError, RefusedError
from monitor.api.queries.people import find_account, load_users
from monitor.api.text import Template, digest_text, message_columns
from monitor.features.telephony.tables import push_subscription

# Devices of one person.
MOST_OF_ONE: Final = 20
_STAMP: Final = "push"
_REMOVED: Final = Template("device.removed", "removed by the person")


@dataclass(frozen=True, slots=True)
class Device:
    """A browser that receives messages. `p256dh` and `auth` encrypt a message to it (RFC 8291)."""

    id: int
    user: str
    endpoint: str
    p256dh: str
    auth: str
    name: str
    added_at: datetime
    sent_at: datetime | None
    ended_at: datetime | None
    ended_why: str | None


def add_device(c: Connection, actor: Actor, endpoint: str, p256dh: str, auth: str, name: str, now: datetime) -> int:
    """Store a browser for the person who is signed in there, and return its number.

    A browser of another person now belongs to this one.

    Raises:
        RefusedError: The person has too many devices.
    """
    t = push_subscription
    digest = digest_text(endpoint)
    row: dict[str, Any] = {"user_name": actor.name, "device": name, "added_at": now, "ended_at": None}
    row |= {"endpoint": endpoint, "p256dh": p256dh, "auth": auth} | message_columns("ended_why", None)
    devices = load_devices(c, actor.name)
    others = [device for device in devices if device.ended_at is None and device.endpoint != endpoint]
    if len(others) >= MOST_OF_ONE:
        raise RefusedError(f"{actor.name} has {MOST_OF_ONE} devices already; remove one first")
    if not add_if_absent(c, t, {**row, "endpoint_sha256": digest}):
        c.execute(update(t).where(t.c.endpoint_sha256 == digest).values(**row))
    number = int(c.execute(select(t.c.id).where(t.c.endpoint_sha256 == digest)).scalar_one())
    add_audit(c, actor, "push.add", f"device:{number}", {"device": name}, now)
    return number


def load_devices(c: Connection, user: str | None = None) -> list[Device]:
    """Load the devices of a person or of everybody, including those that ended, by person and oldest first."""
    t = push_subscription
    query = select(t, t.c.user_name.label("user"), t.c.device.label("name")).where(*match_given(t.c.user_name, user))
    return load_records(c, Device, query.order_by(t.c.user_name, t.c.id))


def load_open_devices(c: Connection, user: str) -> list[Device]:
    """Load the devices that receive messages now; none if the account is locked or does not exist."""
    # The site file may spell the name in another way.
    account = find_account(load_users(c), user)
    if account is None or account.disabled_at is not None:
        return []
    return [device for device in load_devices(c, account.name) if device.ended_at is None]


def remove_device(c: Connection, number: int, actor: Actor, now: datetime) -> None:
    """Remove a device of the person; raise NotFoundError if there is none with this number."""
    t = push_subscription
    mine = update(t).where(t.c.id == number, t.c.user_name == actor.name, t.c.ended_at.is_(None))
    if c.execute(mine.values(**_over(_REMOVED(), now))).rowcount != 1:
        raise NotFoundError(f"you have no device {number} that receives messages")
    add_audit(c, actor, "push.remove", f"device:{number}", {}, now)


def end_device(c: Connection, number: int, why: str, now: datetime) -> None:
    """End a device that no longer exists. The person sees the reason."""
    t = push_subscription
    found = update(t).where(t.c.id == number, t.c.ended_at.is_(None))
    if c.execute(found.values(**_over(why, now))).rowcount == 1:
        add_audit(c, SERVICE_ACTOR, "push.gone", f"device:{number}", {"why": why}, now)


def note_sent(c: Connection, number: int, now: datetime) -> None:
    """Store that the push service took a message for a device."""
    c.execute(update(push_subscription).where(push_subscription.c.id == number).values(sent_at=now))


def publish_push_key(c: Connection, public: str, now: datetime) -> None:
    """Store the public key for the page, which does not need the private one."""
    write_heartbeat(c, _STAMP, {"public_key": public}, now)


def find_push_key(c: Connection) -> str:
    """Return the public key of push messages; empty if there is none."""
    heartbeat = find_heartbeat(c, _STAMP)
    return "" if heartbeat is None else str(heartbeat[1].get("public_key", ""))


def _over(why: str, now: datetime) -> dict[str, object]:
    return {"ended_at": now, "endpoint": "", "p256dh": "", "auth": "", **message_columns("ended_why", why)}
