"""Public views on notifications, digests and channel tests."""

from typing import TypedDict

from sqlalchemy import BigInteger, Boolean, Column, Integer, Table, Text

from monitor.storage.dialect import Dialect
from monitor.storage.metadata import view_metadata


class MessageRow(TypedDict):
    """Columns that `notification_status` and `deliveries` have in common."""

    notification_id: int
    alert_id: int
    site: str
    recipient: str
    channel: str
    state: str
    queued_at: str
    sent_at: str | None
    confirmed_at: str | None
    confirmed_by: str | None


class DeliveryRow(MessageRow):
    """A row of `deliveries`."""

    kind: str
    received_at: str | None
    why: str | None


notification_status = Table(
    "notification_status",
    view_metadata,
    Column("notification_id", BigInteger, comment="number of the message"),
    Column("alert_id", BigInteger, comment="number of the alert"),
    Column("site", Text, comment="site id"),
    Column("ledger", Text, comment="hazard, health or advice"),
    Column("level", Integer, comment="number of the level, 0 = lowest"),
    Column("level_name", Text, comment="name of the level: hazard by the site file; else clear, notice, urgent"),
    Column("recipient", Text, comment="name of the recipient in the site file"),
    Column("channel", Text, comment="`kind:address`"),
    Column("exercise", Boolean, comment="true if it belongs to a drill"),
    Column("state", Text, comment="queued, claimed, delivered, confirmed, failed_retry, failed_final, superseded"),
    Column("attempts", Integer, comment="number of attempts so far"),
    Column(
        "queued_at",
        Text,
        comment="when it was added to the outbox, in the transaction of its alert or escalation",
        info={"unit": "time"},
    ),
    Column("sent_at", Text, comment="when the channel accepted it", info={"unit": "time"}),
    Column(
        "confirmed_at",
        Text,
        comment=(
            "when its recipient acted on the alert after the channel accepted it; acts of other people do not "
            "confirm it"
        ),
        info={"unit": "time"},
    ),
    Column("confirmed_by", Text, comment="who acted: the recipient, or one of its `people` in the site file"),
    Column("confirmed_via", Text, comment="how the person acted: `command`, `page`, `token`, `sms` or `voice`"),
    Column("next_attempt_at", Text, comment="when it is tried again", info={"unit": "time"}),
    Column(
        "superseded_by",
        BigInteger,
        comment="`notification_id` of the message that contains it; its own if it was dropped",
    ),
    Column("last_error", Text, comment="error of the last attempt, or why it waits"),
    Column("last_error_id", Text, comment="id of the message in `last_error`"),
    Column("last_error_values", Text, comment="values of that message, JSON"),
    Column("subject", Text, comment="subject of the message"),
    Column("subject_id", Text, comment="id of the message in `subject`"),
    Column("subject_values", Text, comment="values of that message, JSON"),
    Column("idempotency_key", Text, comment="key that is the same at each attempt"),
    comment="The outbox: one row per event, recipient and channel.",
    info={"question": "Who was notified, did it arrive, and who answered?", "row": MessageRow},
)

deliveries = Table(
    "deliveries",
    view_metadata,
    Column("notification_id", BigInteger, comment="number of the message, as in `notification_status`"),
    Column("alert_id", BigInteger, comment="number of the alert"),
    Column("site", Text, comment="site id"),
    Column("ledger", Text, comment="hazard, health or advice"),
    Column("level", Integer, comment="number of the level, 0 = lowest"),
    Column("level_name", Text, comment="name of the level, as in `notification_status`"),
    Column("recipient", Text, comment="name of the recipient in the site file"),
    Column("channel", Text, comment="`kind:address`"),
    Column("kind", Text, comment="kind of the channel: log, email, webhook, apprise, mqtt, push, sms, voice, siren"),
    Column("exercise", Boolean, comment="true if it belongs to a drill"),
    Column(
        "state",
        Text,
        comment=(
            "queued, sending, retrying, sent (the channel accepted it), delivered (the device has it, as the provider "
            "reports), confirmed (its recipient acted on the alert), failed (for good), superseded"
        ),
    ),
    Column("attempts", Integer, comment="number of attempts so far"),
    Column(
        "queued_at",
        Text,
        comment="when it was added to the outbox, in the transaction of its alert or escalation",
        info={"unit": "time"},
    ),
    Column("sent_at", Text, comment="when the channel accepted it", info={"unit": "time"}),
    Column(
        "received_at",
        Text,
        comment="when the device received it, as provider or siren report; null if the channel does not report it",
        info={"unit": "time"},
    ),
    Column("confirmed_at", Text, comment="when its recipient acted on the alert", info={"unit": "time"}),
    Column("confirmed_by", Text, comment="who acted"),
    Column("confirmed_via", Text, comment="how the person acted: `command`, `page`, `token`, `sms` or `voice`"),
    Column("next_attempt_at", Text, comment="when it is tried again", info={"unit": "time"}),
    Column(
        "superseded_by",
        BigInteger,
        comment="`notification_id` of the message that contains it; its own if it was dropped",
    ),
    Column("provider_said", Text, comment="last status that the provider reported, in its own terms"),
    Column("why", Text, comment="why it waits or failed"),
    Column("why_id", Text, comment="id of the message in `why`"),
    Column("why_values", Text, comment="values of that message, JSON"),
    Column("subject", Text, comment="subject of the message"),
    Column("subject_id", Text, comment="id of the message in `subject`"),
    Column("subject_values", Text, comment="values of that message, JSON"),
    comment="The messages of `notification_status`, with states in words for people.",
    info={"question": "Who was notified, did it arrive, and who answered?", "row": DeliveryRow},
)

digests = Table(
    "digests",
    view_metadata,
    Column("site", Text, comment="site id"),
    Column("recipient", Text, comment="name of the recipient in the site file"),
    Column("day", Text, comment="local date of the site"),
    Column("channel", Text, comment="channel of the newest attempt"),
    Column("at", Text, comment="when it was last tried", info={"unit": "time"}),
    Column("state", Text, comment="sent or failed"),
    Column("attempts", Integer, comment="number of attempts so far"),
    Column("error", Text, comment="error of the newest attempt"),
    Column("error_id", Text, comment="id of the message in `error`"),
    Column("error_values", Text, comment="values of that message, JSON"),
    comment="Daily digests that were sent or failed: one row per recipient and local day.",
    info={"question": "Who was notified, did it arrive, and who answered?"},
)

channel_tests = Table(
    "channel_tests",
    view_metadata,
    Column("test_id", BigInteger, comment="number of the test"),
    Column("channel", Text, comment="channel that was tested"),
    Column("target", Text, comment="channel to which the message was sent, see `[channels.test_to]`"),
    Column("at", Text, comment="when it was tested", info={"unit": "time"}),
    Column("good", Boolean, comment="true if the message was accepted, and not reported as undelivered later"),
    Column("found", Text, comment="result: an error, or the status that the provider reported"),
    Column(
        "received_at", Text, comment="when the device received it, if the provider reports that", info={"unit": "time"}
    ),
    comment="Tests of channels by exercise messages, and their results.",
    info={"question": "Who was notified, did it arrive, and who answered?"},
)


def select_views(dialect: Dialect) -> dict[str, str]:
    """Return the SELECT statements of these views by name."""
    return {
        "digests": "SELECT site, recipient, day, channel, at, state, attempts, error, error_id, error_values FROM digest",
        "notification_status": """SELECT id AS notification_id, alert_id, site, ledger, level, level_name, recipient, channel, exercise,
  state, attempts, queued_at, sent_at, confirmed_at, confirmed_by, confirmed_via, next_attempt_at, superseded_by,
  last_error, last_error_id, last_error_values, subject, subject_id, subject_values, idempotency_key
FROM notification""",
        "deliveries": f"""SELECT id AS notification_id, alert_id, site, ledger, level, level_name, recipient, channel,
  {dialect.before("channel", ":")} AS kind, exercise,
  CASE state WHEN 'claimed' THEN 'sending' WHEN 'failed_retry' THEN 'retrying' WHEN 'failed_final' THEN 'failed'
    WHEN 'delivered' THEN CASE WHEN received_at IS NULL THEN 'sent' ELSE 'delivered' END ELSE state END AS state,
  attempts, queued_at, sent_at, received_at, confirmed_at, confirmed_by, confirmed_via, next_attempt_at, superseded_by,
  provider_said, last_error AS why, last_error_id AS why_id, last_error_values AS why_values, subject, subject_id, subject_values
FROM notification""",
        "channel_tests": "SELECT id AS test_id, channel, target, at, good, found, received_at FROM channel_test",
    }
