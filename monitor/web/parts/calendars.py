"""Calendars (iCalendar, RFC 5545) that a phone or an office program shows."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any


def write_calendar(entries: Iterable[Mapping[str, Any]], kind: str, name: str, now: datetime) -> bytes:
    """A calendar of entries, whose keys are those of iCalendar."""
    from icalendar import Calendar, Event  # 15 MiB that most pages never need

    found = Calendar()
    found.add("prodid", f"-//Slopeward//{kind}//EN")
    found.add("version", "2.0")
    found.add("method", "PUBLISH")
    found.add("x-wr-calname", f"{name}: {kind}")
    for one in entries:
        entry = Event()
        for key, value in {"dtstamp": now, **one}.items():
            entry.add(key, value.replace(microsecond=0) if isinstance(value, datetime) else value)
        found.add_component(entry)
    text: bytes = found.to_ical()
    return text
