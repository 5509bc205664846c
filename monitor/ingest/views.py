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
    Column("reason", Text, comment="why, in one sentence"),
    Column("reason_id", Text, comment="id of the message in `reason`"),
    Column("reason_values", Text, comment="values of that message, JSON"),
    Column(
        "client", Text, comment="session it came by; of what our own broker refused `login:` and the name of the login"
    ),
    Column("payload_bytes", BigInteger, comment="true size", info={"unit": "B"}),
    Column("payload_start_hex", Text, comment="its first 256 bytes", info={"unit": "hex"}),
    Column("digest", Text, comment="SHA-256 that makes repeats one row"),
    Column("times", Integer, comment="how often it came"),
    Column("replayed_at", Text, comment="when it was read again", info={"unit": "time"}),
    Column("replay_result", Text, comment="what became of it"),
    Column("retained", Boolean, comment="the broker had kept it: when it was sent nobody knows"),
    Column(
        "cut",
        Boolean,
        comment="only its first 64 KiB are kept, of what the broker refused nothing; so it is not read again",
    ),
    comment="What could not be read, and why.",
    info={"question": "What could not be read, or came late?"},
)

quarantine_sources = Table(
    "quarantine_sources",
    view_metadata,
    Column(
        "source",
        Text,
        comment="first four parts of the topic, or the file's site; `(all others)` behind a thousand senders",
    ),
    Column(
        "kept_bytes",
        BigInteger,
        comment="room that its messages take in `rejected_messages`, 512 bytes for each row included",
        info={"unit": "B"},
    ),
    Column("kept_rows", BigInteger, comment="its rows there"),
    Column("unkept", BigInteger, comment="messages beyond its share: counted, not kept"),
    Column("unkept_at", Text, comment="when the last of those came", info={"unit": "time"}),
    comment="How much of the quarantine each sender takes, and what was only counted.",
    info={"question": "What could not be read, or came late?"},
)

outages = Table(
    "outages",
    view_metadata,
    Column("outage_id", BigInteger, comment="number"),
    Column("cause", Text, comment="`service` (it did not run), `broker` (no connection), `database` (took no rows)"),
    Column("from_at", Text, comment="the last instant at which all was read", info={"unit": "time"}),
    Column("back_at", Text, comment="when readings came in again", info={"unit": "time"}),
    Column("drained_at", Text, comment="when what had waited was read", info={"unit": "time"}),
    Column("counted_at", Text, comment="when the rows were counted last; null: not yet", info={"unit": "time"}),
    Column("counts_until", Text, comment="late readings are counted until then", info={"unit": "time"}),
    Column("stations", BigInteger, comment="stations that should have reported"),
    Column("late", BigInteger, comment="epochs that came late"),
    Column("missing", BigInteger, comment="epochs that never came, by the cadence of each station"),
    comment="Times in which readings did not come in, and what came of them.",
    info={"question": "What could not be read, or came late?"},
)

outage_stations = Table(
    "outage_stations",
    view_metadata,
    Column("outage_id", BigInteger, comment="number of the outage"),
    Column("site", Text, comment="site id"),
    Column("station", Text, comment="station id"),
    Column("from_at", Text, comment="beginning of the outage", info={"unit": "time"}),
    Column("back_at", Text, comment="when readings came in again", info={"unit": "time"}),
    Column("expected", Integer, comment="epochs by the cadence of the station; null: it has none"),
    Column("received", Integer, comment="epochs there are"),
    Column("late", Integer, comment="of them: received after `back_at`"),
    Column("missing", Integer, comment="expected and not there"),
    Column("last_late_at", Text, comment="when the last late one was received", info={"unit": "time"}),
    comment="The same by station.",
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
