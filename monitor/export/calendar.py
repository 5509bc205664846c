"""Maintenance and duty as calendars (iCalendar, RFC 5545) that a phone or an office program shows."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from icalendar import Calendar, Event

from monitor.domain.duty.rota import DutyShift
from monitor.domain.site import Team
from monitor.store.alerting.maintenance import Maintenance


def write_maintenance(windows: Iterable[Maintenance], site: str, name: str, now: datetime) -> bytes:
    """Maintenance of a site; a window that was ended early is shown as long as it lasted.

    Args:
        windows: maintenance of the site.
        site: its id; with the number of a window it names an entry for good, so that a renewed calendar replaces it.
        name: the site in words.
        now: when the calendar is written.
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
    return _write(entries, "maintenance", name, now)


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
    return _write(entries, "duty", name, now)


def _write(entries: Iterable[Mapping[str, Any]], kind: str, name: str, now: datetime) -> bytes:
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
