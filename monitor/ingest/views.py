"""Public views on rejected messages, outages and sequence numbers."""

from sqlalchemy import BigInteger, Boolean, Column, Integer, Table, Text

from monitor.storage.dialect import Dialect
from monitor.storage.metadata import view_metadata

rejected_messages = Table(
    "rejected_messages",
    view_metadata,
    Column("rejected_id", BigInteger, comment="number, for `slopeward ingest --rejected`"),
    Column("received_at", Text, comment="when it reached the service", info={"unit": "time"}),
    Column("topic", Text, comment="MQTT topic or file"),
    Column("code", Text, comment="stable code of the cause"),
    Column("reason", Text, comment="the reason in one sentence"),
    Column("reason_id", Text, comment="id of the message in `reason`"),
    Column("reason_values", Text, comment="values of that message, JSON"),
    Column(
        "client",
        Text,
        comment="session by which it was received, `file:` and a name, or `login:` and the name of the login if the "
        "managed broker refused it",
    ),
    Column("payload_bytes", BigInteger, comment="true size of the payload", info={"unit": "B"}),
    Column("payload_start_hex", Text, comment="first 256 bytes of the payload", info={"unit": "hex"}),
    Column(
        "digest", Text, comment="SHA-256 of topic and payload; a message with a stored digest is counted in `times`"
    ),
    Column("times", Integer, comment="how often it was received"),
    Column("replayed_at", Text, comment="when it was read again", info={"unit": "time"}),
    Column("replay_result", Text, comment="result of reading it again"),
    Column("retained", Boolean, comment="the broker had retained it, so the time of its publication is unknown"),
    Column(
        "cut",
        Boolean,
        comment="only the first 64 KiB of the payload are stored, or nothing if the broker refused the message; it "
        "cannot be read again",
    ),
    comment="Messages that were not stored as readings, and why.",
    info={"question": "What could not be read, or came late?"},
)

quarantine_sources = Table(
    "quarantine_sources",
    view_metadata,
    Column(
        "source",
        Text,
        comment="first four parts of the topic, `file/SITE`, or `login:` and a name; `(all others)` for senders beyond "
        "1,000",
    ),
    Column(
        "kept_bytes",
        BigInteger,
        comment="space that its messages take in `rejected_messages`, with 512 bytes for each row",
        info={"unit": "B"},
    ),
    Column("kept_rows", BigInteger, comment="number of its rows there"),
    Column(
        "unkept",
        BigInteger,
        comment="messages that were counted without storing their payload, because its share was used up",
    ),
    Column("unkept_at", Text, comment="when the last of these was received", info={"unit": "time"}),
    comment="Space of each sender in the quarantine, and messages that were only counted.",
    info={"question": "What could not be read, or came late?"},
)

outages = Table(
    "outages",
    view_metadata,
    Column("outage_id", BigInteger, comment="number"),
    Column("cause", Text, comment="`service` (it did not run), `broker` (no connection), `database` (took no rows)"),
    Column("from_at", Text, comment="last instant at which all messages were read", info={"unit": "time"}),
    Column("back_at", Text, comment="when messages were read again", info={"unit": "time"}),
    Column("drained_at", Text, comment="when the messages that had waited were read", info={"unit": "time"}),
    Column("counted_at", Text, comment="when the readings were last counted; null if never", info={"unit": "time"}),
    Column("counts_until", Text, comment="late readings are counted until then", info={"unit": "time"}),
    Column("stations", BigInteger, comment="stations that were expected to report"),
    Column("late", BigInteger, comment="epochs that were received after `back_at`"),
    Column("missing", BigInteger, comment="epochs that were not received, by the interval of each station"),
    comment="Times in which messages were not read, and the readings that were late or missing.",
    info={"question": "What could not be read, or came late?"},
)

outage_stations = Table(
    "outage_stations",
    view_metadata,
    Column("outage_id", BigInteger, comment="number of the outage"),
    Column("site", Text, comment="site id"),
    Column("station", Text, comment="station id"),
    Column("from_at", Text, comment="start of the outage", info={"unit": "time"}),
    Column("back_at", Text, comment="when readings came in again", info={"unit": "time"}),
    Column("expected", Integer, comment="epochs by the interval of the station; null if it has none"),
    Column("received", Integer, comment="epochs that are stored"),
    Column("late", Integer, comment="stored epochs that were received after `back_at`"),
    Column("missing", Integer, comment="expected epochs that are not stored"),
    Column("last_late_at", Text, comment="when the last late one was received", info={"unit": "time"}),
    comment="Outages by station.",
    info={"question": "What could not be read, or came late?"},
)


def select_views(dialect: Dialect) -> dict[str, str]:
    """Return the SELECT statements of these views by name."""
    return {
        "rejected_messages": f"""SELECT id AS rejected_id, received_at, topic, code, reason, reason_id, reason_values, client, payload_bytes,
  {dialect.hexadecimal("substr(payload, 1, 256)")} AS payload_start_hex, digest, times, replayed_at, replay_result,
  retained, payload_bytes > length(payload) AS cut
FROM rejected_message""",
        "quarantine_sources": "SELECT source, kept_bytes, kept_rows, unkept, unkept_at FROM quarantine_source",
        "outages": """SELECT o.id AS outage_id, o.cause, o.from_at, o.back_at, o.drained_at, o.counted_at, o.counts_until,
  (SELECT count(*) FROM outage_station k WHERE k.outage_id = o.id) AS stations,
  (SELECT coalesce(sum(k.late), 0) FROM outage_station k WHERE k.outage_id = o.id) AS late,
  (SELECT coalesce(sum(k.missing), 0) FROM outage_station k WHERE k.outage_id = o.id) AS missing
FROM outage o""",
        "outage_stations": """SELECT k.outage_id, k.site, k.station, o.from_at, o.back_at, k.expected, k.received, k.late, k.missing, k.last_late_at
FROM outage_station k JOIN outage o ON o.id = k.outage_id""",
    }
