"""Public views on replies by telephone and orders to sirens."""

from sqlalchemy import BigInteger, Boolean, Column, Integer, Table, Text

from monitor.api.store import Dialect, view_metadata

message_replies = Table(
    "message_replies",
    view_metadata,
    Column("reply_id", BigInteger, comment="number of the reply"),
    Column("at", Text, comment="when it was processed", info={"unit": "time"}),
    Column("way", Text, comment="sms or voice"),
    Column("outcome", Text, comment="acknowledged, repeated, wrong, late, risen, refused, limited"),
    Column("alert_id", BigInteger, comment="number of the alert, if the code was valid"),
    Column("site", Text, comment="site of the alert"),
    Column("person", Text, comment="person in whose name it acknowledges"),
    comment="Replies from telephones and their outcomes, without numbers and texts.",
    info={"question": "Who was notified, did it arrive, and who answered?"},
)

siren_orders = Table(
    "siren_orders",
    view_metadata,
    Column("order_id", BigInteger, comment="number of the order"),
    Column("site", Text, comment="site id"),
    Column("topic", Text, comment="topic of the siren"),
    Column("sequence", BigInteger, comment="number of the order on its topic; it increases with each order"),
    Column("notification_id", BigInteger, comment="message that caused it; null for a test of the channel"),
    Column("wanted", Text, comment="on, off or test"),
    Column("level", Integer, comment="number of the level"),
    Column("level_name", Text, comment="name of the level"),
    Column("exercise", Boolean, comment="true if it belongs to a drill"),
    Column(
        "state",
        Text,
        comment=(
            "ordered, confirmed (it sounds), off, test, refused, replaced (by a newer order before it was confirmed)"
        ),
    ),
    Column("ordered_at", Text, comment="when the order was made", info={"unit": "time"}),
    Column("sent_at", Text, comment="when it was last published", info={"unit": "time"}),
    Column("valid_until", Text, comment="end of its validity; devices ignore it later", info={"unit": "time"}),
    Column("times", Integer, comment="number of times that it was published"),
    Column("confirmed_at", Text, comment="when the device answered", info={"unit": "time"}),
    Column("confirmed_by", Text, comment="name of the device"),
    Column("said", Text, comment="what the device reported: on, off, test, or why it does not obey"),
    comment="Orders to sirens and signs by MQTT, and their confirmations.",
    info={"question": "Who was notified, did it arrive, and who answered?"},
)


def select_views(_dialect: Dialect) -> dict[str, str]:
    """Return the SELECT statements of these views by name."""
    return {
        "message_replies": """SELECT r.id AS reply_id, r.at, r.way, r.outcome, r.alert_id, a.site, r.person
FROM reply r LEFT JOIN alert a ON a.id = r.alert_id""",
        "siren_orders": """SELECT o.id AS order_id, o.site, o.topic, o.sequence, o.notification_id, o.wanted, o.level, o.level_name, o.exercise,
  CASE WHEN o.confirmed_at IS NOT NULL AND o.said = o.wanted THEN CASE o.wanted WHEN 'on' THEN 'confirmed' ELSE o.wanted END
    WHEN o.confirmed_at IS NOT NULL THEN 'refused'
    WHEN EXISTS (SELECT 1 FROM siren_order n WHERE n.topic = o.topic AND n.sequence > o.sequence) THEN 'replaced'
    ELSE 'ordered' END AS state,
  o.ordered_at, o.sent_at, o.valid_until, o.times, o.confirmed_at, o.confirmed_by, o.said FROM siren_order o""",
    }
