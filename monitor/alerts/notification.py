"""A message to one recipient by one channel, and the states of its delivery."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final


class DeliveryState(StrEnum):
    """State of a message in the outbox."""

    QUEUED = "queued"
    CLAIMED = "claimed"
    DELIVERED = "delivered"
    CONFIRMED = "confirmed"
    FAILED_RETRY = "failed_retry"
    FAILED_FINAL = "failed_final"
    SUPERSEDED = "superseded"


# States of a message that its channel has accepted.
TAKEN: Final = (DeliveryState.DELIVERED, DeliveryState.CONFIRMED)


@dataclass(frozen=True, slots=True)
class Notification:
    """One message to one recipient by one channel, leased from the outbox.

    Attributes:
        channel: Kind and address, `kind:address`.
        document: Document that the channel sends in place of subject and body, such as a CAP message; empty for other
            channels (`Channel.write_document`).
        link: Address of the alert on the page; empty if the page has no public address.
        action: The action that the site file requires at the level, set when the message is rendered.
        others: Number of other alerts whose messages are not sent, because this body lists them.
        code: Code with which the recipient acknowledges the alert by reply; empty if the channel takes no replies.
        sounds_from: For a siren, the lowest level at which any recipient of the site has it sound; None if unknown.
        sounds_in_exercise: For a siren, whether it also sounds in an exercise.
    """

    id: int
    alert_id: int
    event_id: int
    site: str
    ledger: str
    level: int
    level_name: str
    recipient: str
    channel: str
    exercise: bool
    subject: str
    body: str
    idempotency_key: str
    attempts: int
    queued_at: datetime
    document: str = ""
    link: str = ""
    action: str = ""
    others: int = 0
    code: str = ""
    sounds_from: int | None = None
    sounds_in_exercise: bool = False
