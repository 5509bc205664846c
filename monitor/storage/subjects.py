"""What the subjects contribute to storage: rules of retention, verification, and repairs of their tables.

Storage knows no table of a subject. It calls these functions for everything that only the owner of a table can tell.
The modules of the subjects are imported when they are needed, because they import storage.
"""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from importlib import import_module
from typing import Final

from sqlalchemy import Connection

from monitor.storage.retention import RetentionRule
from monitor.text.instants import Span

# Modules with `RETENTION_RULES`, in the order in which the rules are applied.
_RETENTION: Final = (
    "monitor.people.queries.retention",
    "monitor.features.photos.queries",
    "monitor.features.forecasts.queries.retention",
    "monitor.alerts.queries.retention",
    "monitor.storage.service_state",
    "monitor.ingest.queries.messages",
    "monitor.readings.queries.retention",
)
_CITED_SPANS: Final = "monitor.alerts.queries.cited_spans"
_VERIFICATION: Final = "monitor.alerts.queries.verification"
_CLOCK_STEPS: Final = "monitor.readings.queries.clock_steps"
_SCORE_SUMS: Final = "monitor.features.forecasts.queries.score_sums"


def retention_rules() -> tuple[RetentionRule, ...]:
    """Return the rules of retention of all subjects, in the order in which they are applied."""
    return tuple(rule for name in _RETENTION for rule in import_module(name).RETENTION_RULES)


def load_cited_spans(connection: Connection) -> tuple[Span, ...]:
    """Return the spans of time that evidence names. Retention keeps all rows within them."""
    spans: tuple[Span, ...] = import_module(_CITED_SPANS).load_cited_spans(connection)
    return spans


def verify_database(connection: Connection, report_progress: Callable[[int, int], None]) -> Iterator[str]:
    """Yield one line for each row that is not as it was written, as far as only its subject can tell.

    Args:
        connection: an open connection.
        report_progress: called with how many decisions were compared with their readings, and of how many.
    """
    yield from import_module(_VERIFICATION).verify_decisions(connection, report_progress)


def move_instants_back(connection: Connection, back: timedelta, limit: datetime) -> dict[str, int]:
    """Move instants later than a limit back after the clock was set back, and return how many rows by table.

    This is for tables that are too large to search. It is called before columns with `own_clock` in their `info` are
    changed.
    """
    changed: int = import_module(_CLOCK_STEPS).move_receptions_back(connection, back, limit)
    return {"observation": changed} if changed else {}


def series_joined(connection: Connection, kept_id: int, removed_id: int) -> None:
    """Compute again what follows from the rows of two series, after one took over the rows of the other."""
    import_module(_SCORE_SUMS).sum_up_joined(connection, kept_id, removed_id)
