"""Maintenance as a calendar."""

from collections.abc import Iterable
from datetime import datetime

from monitor.api.queries.alerts import Maintenance
from monitor.api.web import write_calendar


def write_maintenance(windows: Iterable[Maintenance], site: str, name: str, now: datetime) -> bytes:
    """Maintenance of a site; a window that was ended early is shown as long as it lasted.

    Args:
        site: its id; with the number of a window it names an entry for good, so that a renewed calendar replaces it.
    """
    entries = []
    for one in windows:
        people = one.by if one.second_by is None else f"{one.by} with {one.second_by}"
        ended = "" if one.ended_by is None else f" Ended by {one.ended_by}."
        entries.append(
            {
                "uid": f"maintenance-{one.id}@{site}.slopeward",
                "created": one.added_at,
                "dtstart": one.from_at,
                "dtend": max(one.from_at, min(one.to_at, one.ended_at or one.to_at)),
                "summary": f"{one.station}: {one.reason}",
                "description": f"Votes of {one.station} wait meanwhile. Declared by {people}.{ended}",
                "transp": "TRANSPARENT",
            }
        )
    return write_calendar(entries, "maintenance", name, now)
