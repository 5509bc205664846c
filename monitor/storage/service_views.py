"""Public views on the state of the service."""

from sqlalchemy import Column, Double, Table, Text

from monitor.storage.dialect import Dialect
from monitor.storage.metadata import view_metadata

service_checks = Table(
    "service_checks",
    view_metadata,
    Column("name", Text, comment="subject, such as `backup` or `broker.queue`"),
    Column("state", Text, comment="`ok`, `warn`, `bad`"),
    Column("since", Text, comment="since when the subject is in this state", info={"unit": "time"}),
    Column("checked_at", Text, comment="when the subject was checked last", info={"unit": "time"}),
    Column("value", Double, comment="measured value; empty if the check has none", info={"unit": "`unit`"}),
    Column("unit", Text, comment="unit of the value"),
    Column("found", Text, comment="what was found"),
    Column("found_id", Text, comment="id of the message in `found`"),
    Column("found_values", Text, comment="values of that message, JSON"),
    Column("remedy", Text, comment="what to do; empty if nothing has to be done"),
    Column("remedy_id", Text, comment="id of the message in `remedy`"),
    Column("remedy_values", Text, comment="values of that message, JSON"),
    comment="Newest result of each check of the service.",
    info={"question": "Is the service well, and who did what?"},
)


def select_views(_dialect: Dialect) -> dict[str, str]:
    """Return the SELECT statements of these views by name."""
    return {
        "service_checks": """SELECT name, state, since, checked_at, "value", unit, found, found_id, found_values, remedy, remedy_id, remedy_values
FROM service_check""",
    }
