"""Maintenance of a site as a calendar (iCalendar, RFC 5545) that a phone or an office program shows."""

from collections.abc import Iterable
from datetime import datetime

from icalendar import Calendar, Event

from monitor.store.alerting.maintenance import Maintenance


def write_calendar(windows: Iterable[Maintenance], site: str, name: str, now: datetime) -> bytes:
    """The calendar; a window that was ended early is shown as long as it lasted.

    Args:
        windows: maintenance of the site.
        site: its id; with the number of a window it names an entry for good, so that a renewed calendar replaces it.
        name: the site in words.
        now: when the calendar is written.
    """
    found = Calendar()
    found.add("prodid", "-//Slopeward//maintenance//EN")
    found.add("version", "2.0")
    found.add("method", "PUBLISH")
    found.add("x-wr-calname", f"{name}: maintenance")
    for one in windows:
        entry = Event()
        entry.add("uid", f"maintenance-{one.id}@{site}.slopeward")
        entry.add("dtstamp", now.replace(microsecond=0))
        entry.add("created", one.added_at.replace(microsecond=0))
        entry.add("dtstart", one.from_at.replace(microsecond=0))
        entry.add("dtend", max(one.from_at, min(one.to_at, one.ended_at or one.to_at)).replace(microsecond=0))
        entry.add("summary", f"{one.station}: {one.reason}")
        people = one.by if one.second_by is None else f"{one.by} with {one.second_by}"
        ended = "" if one.ended_by is None else f" Ended by {one.ended_by}."
        entry.add("description", f"Votes of {one.station} wait meanwhile. Declared by {people}.{ended}")
        entry.add("transp", "TRANSPARENT")
        found.add_component(entry)
    text: bytes = found.to_ical()
    return text
