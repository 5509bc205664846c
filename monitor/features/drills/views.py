"""Public views on drills."""

from sqlalchemy import BigInteger, Column, Table, Text

from monitor.api.store import Dialect, view_metadata

drills = Table(
    "drills",
    view_metadata,
    Column("drill_id", BigInteger, comment="number of the drill"),
    Column("site", Text, comment="site id"),
    Column("started_at", Text, comment="start", info={"unit": "time"}),
    Column("ended_at", Text, comment="end; null = running", info={"unit": "time"}),
    Column("by", Text, comment="person who held the drill"),
    Column("scenario", Text, comment="`collapse`, or the file of readings"),
    Column("state", Text, comment="running, ended, abandoned (its process died) or refused (no message was sent)"),
    Column(
        "outcome",
        Text,
        comment=("outcome: peak level, messages by state, seconds to the first message and to each acknowledgement"),
        info={"unit": "JSON"},
    ),
    comment="Drills. They do not change real levels, readings or alerts.",
    info={"question": "Who is on duty, and which hand-overs and drills took place?"},
)


def select_views(_dialect: Dialect) -> dict[str, str]:
    """Return the SELECT statements of these views by name."""
    return {
        "drills": """SELECT id AS drill_id, site, started_at, ended_at, "by", scenario, state, outcome FROM drill""",
    }
