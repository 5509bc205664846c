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
    Column("notification_id", BigInteger, comment="number"),
    Column("alert_id", BigInteger, comment="number of the alert"),
    Column("site", Text, comment="site id"),
    Column("ledger", Text, comment="hazard, health or advice"),
    Column("level", Integer, comment="number of the level, 0 = lowest"),
    Column("level_name", Text, comment="name of the level: hazard by the site file; else clear, notice, urgent"),
    Column("recipient", Text, comment="who"),
    Column("channel", Text, comment="`kind:address`"),
    Column("exercise", Boolean, comment="a drill"),
    Column("state", Text, comment="queued, claimed, delivered, confirmed, failed_retry, failed_final, superseded"),
    Column("attempts", Integer, comment="tries so far"),
    Column("queued_at", Text, comment="written in the transaction of the decision", info={"unit": "time"}),
    Column("sent_at", Text, comment="taken by the channel", info={"unit": "time"}),
    Column(
        "confirmed_at",
        Text,
        comment=(
            "the recipient of this message acted on its alert after the delivery; another person's act "
            "confirms nothing here"
        ),
        info={"unit": "time"},
    ),
    Column("confirmed_by", Text, comment="who did: the recipient, or one of the `people` of its table"),
    Column("confirmed_via", Text, comment="by which way: `command`, `page`, `token`, `sms` or `voice`"),
    Column("next_attempt_at", Text, comment="next try", info={"unit": "time"}),
    Column("superseded_by", BigInteger, comment="`notification_id` of the newer one"),
    Column("last_error", Text, comment="of the last try"),
    Column("last_error_id", Text, comment="id of the message in `last_error`"),
    Column("last_error_values", Text, comment="values of that message, JSON"),
    Column("subject", Text, comment="first line of the message"),
    Column("subject_id", Text, comment="id of the message in `subject`"),
    Column("subject_values", Text, comment="values of that message, JSON"),
    Column("idempotency_key", Text, comment="the same at every try"),
    comment="The outbox: one row per event, recipient and channel.",
    info={"question": "Who was notified, did it arrive, and who answered?", "row": MessageRow},
)

deliveries = Table(
    "deliveries",
    view_metadata,
    Column("notification_id", BigInteger, comment="number, as in `notification_status`"),
    Column("alert_id", BigInteger, comment="number of the alert"),
    Column("site", Text, comment="site id"),
    Column("ledger", Text, comment="hazard, health or advice"),
    Column("level", Integer, comment="number of the level, 0 = lowest"),
    Column("level_name", Text, comment="name of the level"),
    Column("recipient", Text, comment="who"),
    Column("channel", Text, comment="`kind:address`"),
    Column("kind", Text, comment="of the channel: log, email, webhook, apprise, mqtt, push, sms, voice, siren"),
    Column("exercise", Boolean, comment="a drill"),
    Column(
        "state",
        Text,
        comment=(
            "queued, sending, retrying, sent (the channel took it), delivered (the other side says that the "
            "device has it), confirmed (its recipient acted on the alert), failed (for good), superseded"
        ),
    ),
    Column("attempts", Integer, comment="tries so far"),
    Column("queued_at", Text, comment="written in the transaction of the decision", info={"unit": "time"}),
    Column("sent_at", Text, comment="taken by the channel", info={"unit": "time"}),
    Column(
        "received_at",
        Text,
        comment="on the device, as provider, modem or siren says; null where the channel does not report it",
        info={"unit": "time"},
    ),
    Column("confirmed_at", Text, comment="the recipient acted on the alert", info={"unit": "time"}),
    Column("confirmed_by", Text, comment="who did"),
    Column("confirmed_via", Text, comment="`command`, `page`, `token`, `sms` or `voice`"),
    Column("next_attempt_at", Text, comment="next try", info={"unit": "time"}),
    Column("superseded_by", BigInteger, comment="`notification_id` of the newer one"),
    Column("provider_said", Text, comment="last status of the other side, in its own terms"),
    Column("why", Text, comment="why it waits or failed"),
    Column("why_id", Text, comment="id of the message in `why`"),
    Column("why_values", Text, comment="values of that message, JSON"),
    Column("subject", Text, comment="first line of the message"),
    Column("subject_id", Text, comment="id of the message in `subject`"),
    Column("subject_values", Text, comment="values of that message, JSON"),
    comment=("The same messages by what became of them, in words for people: one row per recipient and channel."),
    info={"question": "Who was notified, did it arrive, and who answered?", "row": DeliveryRow},
)

digests = Table(
    "digests",
    view_metadata,
    Column("site", Text, comment="site id"),
    Column("recipient", Text, comment="to whom"),
    Column("day", Text, comment="date of the site's own clock"),
    Column("channel", Text, comment="by which channel, at the newest try"),
    Column("at", Text, comment="of the newest try", info={"unit": "time"}),
    Column("state", Text, comment="sent, or failed"),
    Column("attempts", Integer, comment="how often it was tried"),
    Column("error", Text, comment="why the newest try failed"),
    Column("error_id", Text, comment="id of the message in `error`"),
    Column("error_values", Text, comment="values of that message, JSON"),
    comment="To whom the daily digest was sent; one row for each recipient and local day.",
    info={"question": "Who was notified, did it arrive, and who answered?"},
)

channel_tests = Table(
    "channel_tests",
    view_metadata,
    Column("test_id", BigInteger, comment="number"),
    Column("channel", Text, comment="that was tested"),
    Column("target", Text, comment="where the message went"),
    Column("at", Text, comment="when", info={"unit": "time"}),
    Column("good", Boolean, comment="taken, and not reported as undelivered since"),
    Column("found", Text, comment="what came back"),
    Column("received_at", Text, comment="on the device, where the other side says so", info={"unit": "time"}),
    comment="Exercise messages by which each channel is tested.",
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
