"""Public views on drills."""

from sqlalchemy import BigInteger, Column, Table, Text

from monitor.api.store import Dialect, view_metadata

drills = Table(
    "drills",
    view_metadata,
    Column("drill_id", BigInteger, comment="key"),
    Column("site", Text, comment="site id"),
    Column("started_at", Text, comment="start", info={"unit": "time"}),
    Column("ended_at", Text, comment="end, or null", info={"unit": "time"}),
    Column("by", Text, comment="who ordered it"),
    Column("scenario", Text, comment="what was played"),
    Column("state", Text, comment="running, ended, or abandoned (its process died)"),
    Column(
        "outcome",
        Text,
        comment=(
            "what came of it: peak level, messages by state, seconds to the first message and to each acknowledgement"
        ),
        info={"unit": "JSON"},
    ),
    comment="Exercises: they never mix with the real state.",
    info={"question": "Who is on duty, and what was handed over or exercised?"},
)


def select_views(_dialect: Dialect) -> dict[str, str]:
    """Return the SELECT statements of these views by name."""
    return {
        "drills": """SELECT id AS drill_id, site, started_at, ended_at, "by", scenario, state, outcome FROM drill""",
    }
