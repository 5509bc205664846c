"""What the subjects contribute to storage: rules of retention.

Storage knows no table of a subject. It calls these functions for everything that only the owner of a table can tell.
The modules of the subjects are imported when they are needed, because they import storage.
"""

from importlib import import_module
from typing import Final

from sqlalchemy import Connection

from monitor.domain.instants import Span
from monitor.store.upkeep.retention import RetentionRule

# Modules with `RETENTION_RULES`, in the order in which the rules are applied.
_RETENTION: Final = (
    "monitor.store.people.retention",
    "monitor.store.readings.photos",
    "monitor.store.models.retention",
    "monitor.store.alerting.retention",
    "monitor.store.service_state",
    "monitor.store.readings.messages",
    "monitor.store.readings.retention",
)
_CITED_SPANS: Final = "monitor.store.alerting.cited_spans"


def retention_rules() -> tuple[RetentionRule, ...]:
    """Return the rules of retention of all subjects, in the order in which they are applied."""
    return tuple(rule for name in _RETENTION for rule in import_module(name).RETENTION_RULES)


def load_cited_spans(connection: Connection) -> tuple[Span, ...]:
    """Return the spans of time that evidence names. Retention keeps all rows within them."""
    spans: tuple[Span, ...] = import_module(_CITED_SPANS).load_cited_spans(connection)
    return spans
