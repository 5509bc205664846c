"""Public views on field reports and declared events."""

from sqlalchemy import BigInteger, Column, Double, Table, Text

from monitor.storage.dialect import Dialect
from monitor.storage.metadata import view_metadata

reports = Table(
    "reports",
    view_metadata,
    Column("report_id", BigInteger, comment="number"),
    Column("site", Text, comment="site id"),
    Column("at", Text, comment="when it was seen", info={"unit": "time"}),
    Column("received_at", Text, comment="when it reached the service", info={"unit": "time"}),
    Column("kind", Text, comment="crack, rockfall, road_damage, ..."),
    Column("text", Text, comment="description"),
    Column("by", Text, comment="name of the observer"),
    Column("station", Text, comment="station id"),
    Column("photo_url", Text, comment="picture"),
    Column("via", Text, comment="how it was sent: `mqtt`, `command`, `page`, `unknown`"),
    Column(
        "credential",
        Text,
        comment=(
            "proof of the sender: an account, a user of the machine, `mqtt` (no proof), `unknown`; "
            "observers are counted by it"
        ),
    ),
    comment="Reports of observers.",
    info={"question": "What did people see, declare or correct?"},
)

site_events = Table(
    "site_events",
    view_metadata,
    Column("event_id", BigInteger, comment="number"),
    Column("site", Text, comment="site id"),
    Column("from_at", Text, comment="start", info={"unit": "time"}),
    Column("to_at", Text, comment="end", info={"unit": "time"}),
    Column("received_at", Text, comment="when it reached the service", info={"unit": "time"}),
    Column("kind", Text, comment="kind"),
    Column("value", Double, comment="size, if any", info={"unit": "by kind"}),
    Column("text", Text, comment="description"),
    Column("by", Text, comment="name of the sender; not verified by MQTT"),
    Column("via", Text, comment="how it was sent: `mqtt`, `command`, `page`, or `unknown`"),
    Column("confirmations", BigInteger, comment="number of valid confirmations; without one it explains nothing"),
    Column("withdrawn_at", Text, comment="when it was withdrawn; empty if it was not", info={"unit": "time"}),
    Column("withdrawn_by", Text, comment="who withdrew it"),
    comment="Work, blasting, reservoir operation, earthquakes.",
    info={"question": "What did people see, declare or correct?"},
)


def select_views(_dialect: Dialect) -> dict[str, str]:
    """Return the SELECT statements of these views by name."""
    return {
        "reports": """SELECT id AS report_id, site, at, received_at, kind, text, "by", station, photo_url,
  coalesce(via, 'unknown') AS via, coalesce(credential, 'unknown') AS credential
FROM report""",
        "site_events": """SELECT id AS event_id, site, from_at, to_at, received_at, kind, value, text, "by",
  via, (SELECT count(*) FROM event_confirmation k
    WHERE k.event_id = site_event.id AND k.withdrawn_at IS NULL) AS confirmations,
  withdrawn_at, withdrawn_by
FROM site_event""",
    }
