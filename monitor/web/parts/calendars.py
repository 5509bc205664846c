"""Write calendars (iCalendar, RFC 5545) for phones and office programs."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any


def write_calendar(entries: Iterable[Mapping[str, Any]], kind: str, name: str, now: datetime) -> bytes:
    """Return a calendar. The keys of the entries are those of iCalendar."""
    # Imported here, because it takes 15 MiB and most processes never need it.
    from icalendar import Calendar, Event

    calendar = Calendar()
    calendar.add("prodid", f"-//Slopeward//{kind}//EN")
    calendar.add("version", "2.0")
    calendar.add("method", "PUBLISH")
    calendar.add("x-wr-calname", f"{name}: {kind}")
    for entry in entries:
        event = Event()
        for key, value in {"dtstamp": now, **entry}.items():
            event.add(key, value.replace(microsecond=0) if isinstance(value, datetime) else value)
        calendar.add_component(event)
    text: bytes = calendar.to_ical()
    return text
