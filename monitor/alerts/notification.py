"""A message to one recipient by one channel, and the states of its delivery."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class DeliveryState(StrEnum):
    """Where a notification stands in the outbox."""

    QUEUED = "queued"
    CLAIMED = "claimed"
    DELIVERED = "delivered"
    CONFIRMED = "confirmed"
    FAILED_RETRY = "failed_retry"
    FAILED_FINAL = "failed_final"
    SUPERSEDED = "superseded"


@dataclass(frozen=True, slots=True)
class Notification:
    """One message to one recipient by one channel, leased from the outbox."""

    id: int
    alert_id: int
    event_id: int
    site: str
    ledger: str
    level: int
    level_name: str
    recipient: str
    channel: str  # kind:address
    exercise: bool
    subject: str
    body: str
    idempotency_key: str
    attempts: int
    queued_at: datetime
    document: str = ""  # what a channel of documents sends in place of subject and body
    link: str = ""  # of its alert on the page; empty where people have no address of it
    others: int = 0  # so many messages of other alerts it stands for; they are listed in its body
    code: str = ""  # by which its recipient acknowledges in a reply; empty where the channel takes none
    sounds_from: int | None = None  # of a siren: the lowest level that anybody of its site asked for; None = not known
    sounds_in_exercise: bool = False  # of a siren: an exercise sounds as well
