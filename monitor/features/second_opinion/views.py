"""Public view on the alarms of another system."""

from sqlalchemy import BigInteger, Column, Table, Text

from monitor.api.store import Dialect, view_metadata

other_alarms = Table(
    "other_alarms",
    view_metadata,
    Column("alarm_id", BigInteger, comment="number of the alarm"),
    Column("site", Text, comment="site id"),
    Column("at", Text, comment="when the other system raised it", info={"unit": "time"}),
    Column("to_at", Text, comment="its end; equal to `at` if the table has no end", info={"unit": "time"}),
    Column("station", Text, comment="station, as the other system names it; empty: none"),
    Column("level", Text, comment="level, as the other system names it; empty: unknown"),
    Column("text", Text, comment="text of the other system"),
    Column("outcome", Text, comment="true, false_instrument, false_weather, false_work, unknown; null: not recorded"),
    Column("received_at", Text, comment="when it was imported", info={"unit": "time"}),
    Column("by", Text, comment="who imported it"),
    comment="Alarms of another system that watches the same slope. No decision reads them.",
    info={"question": "Which alerts are open, what happened to them, and were they right?"},
)


def select_views(_dialect: Dialect) -> dict[str, str]:
    """Return the SELECT statements of these views by name."""
    return {
        "other_alarms": """SELECT id AS alarm_id, site, at, to_at, station, level, text, outcome, received_at, "by"
FROM other_alarm""",
    }
