"""Write maintenance windows as an iCalendar file."""

from collections.abc import Iterable
from datetime import datetime

from monitor.api.queries.alerts import Maintenance
from monitor.api.web import write_calendar


def write_maintenance(windows: Iterable[Maintenance], site: str, name: str, now: datetime) -> bytes:
    """Return the maintenance windows of a site as iCalendar. A window that was ended early ends then.

    Each entry has a permanent id made of the site and the number of the window. A newer calendar therefore replaces
    the entries of an older window.
    """
    entries = []
    for window in windows:
        people = window.by if window.second_by is None else f"{window.by} with {window.second_by}"
        ended = "" if window.ended_by is None else f" Ended by {window.ended_by}."
        entries.append(
            {
                "uid": f"maintenance-{window.id}@{site}.slopeward",
                "created": window.added_at,
                "dtstart": window.from_at,
                "dtend": max(window.from_at, min(window.to_at, window.ended_at or window.to_at)),
                "summary": f"{window.station}: {window.reason}",
                "description": f"Readings of {window.station} raise no level meanwhile. Declared by {people}.{ended}",
                "transp": "TRANSPARENT",
            }
        )
    return write_calendar(entries, "maintenance", name, now)
