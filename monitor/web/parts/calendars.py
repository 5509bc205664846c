"""Calendars (iCalendar, RFC 5545) that a phone or an office program shows: duty, and what others write."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from icalendar import Calendar, Event

from monitor.domain.duty.rota import DutyShift
from monitor.domain.site import Team


def write_duty(planned: Mapping[Team, Sequence[DutyShift]], name: str, now: datetime) -> bytes:
    """Who is on duty: an entry for each shift, whose name stays the same when the calendar is written again.

    `planned`: the shifts of each team; `name`: the site in words; `now`: when the calendar is written.
    """
    entries = []
    for team, shifts in planned.items():
        for shift in shifts:
            first, second = (*shift.people, "", "")[:2]
            own = f"{shift.from_at:%Y%m%dT%H%M%S}-{team.name.replace(' ', '-')}"
            entries.append(
                {
                    "uid": f"duty-{own}@{team.site}.slopeward",
                    "dtstart": shift.from_at,
                    "dtend": shift.to_at,
                    "summary": f"{team.name}: {first or 'nobody on duty'}",
                    "description": f"Second: {second}. Site {name}." if second else f"Site {name}.",
                }
            )
    return write_calendar(entries, "duty", name, now)


def write_calendar(entries: Iterable[Mapping[str, Any]], kind: str, name: str, now: datetime) -> bytes:
    """A calendar of entries, whose keys are those of iCalendar."""
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
