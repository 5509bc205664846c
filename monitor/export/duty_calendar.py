"""Who is on duty as a calendar (iCalendar, RFC 5545) that a phone or an office program shows."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from icalendar import Calendar, Event

from monitor.domain.duty.rota import Shift
from monitor.domain.site import Team


def write_duty(planned: Mapping[Team, Sequence[Shift]], name: str, now: datetime) -> bytes:
    """The calendar: an entry for each shift, whose name stays the same when the calendar is written again.

    Args:
        planned: the shifts of each team.
        name: the site in words.
        now: when the calendar is written.
    """
    found = Calendar()
    found.add("prodid", "-//Slopeward//duty//EN")
    found.add("version", "2.0")
    found.add("method", "PUBLISH")
    found.add("x-wr-calname", f"{name}: duty")
    for team, shifts in planned.items():
        for shift in shifts:
            entry = Event()
            entry.add("uid", f"duty-{shift.from_at:%Y%m%dT%H%M%S}-{team.name.replace(' ', '-')}@{team.site}.slopeward")
            entry.add("dtstamp", now.replace(microsecond=0))
            entry.add("dtstart", shift.from_at.replace(microsecond=0))
            entry.add("dtend", shift.to_at.replace(microsecond=0))
            first, second = (*shift.people, "", "")[:2]
            entry.add("summary", f"{team.name}: {first or 'nobody on duty'}")
            entry.add("description", f"Second: {second}. Site {name}." if second else f"Site {name}.")
            found.add_component(entry)
    text: bytes = found.to_ical()
    return text
