"""Quiet hours of a recipient, in the local time of the site. Urgent messages are still sent."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from monitor.text.zones import local_day, read_minute, to_instant


@dataclass(frozen=True, slots=True)
class QuietHours:
    """A daily period in minutes after local midnight. If the end is before the start, it spans midnight."""

    from_minute: int
    to_minute: int
    zone: str

    def find_window(self, at: datetime) -> tuple[datetime, datetime]:
        """Return start and end of the latest quiet hours that started at or before an instant.

        >>> night = read_quiet("22:00-06:00", "Europe/Zurich")
        >>> [str(instant)[:16] for instant in night.find_window(datetime.fromisoformat("2026-03-01T03:00Z"))]
        ['2026-02-28 21:00', '2026-03-01 05:00']
        """
        day = local_day(at, self.zone)
        start = to_instant(day, self.from_minute, self.zone)
        if start > at:
            day -= timedelta(days=1)
            start = to_instant(day, self.from_minute, self.zone)
        last = day if self.to_minute > self.from_minute else day + timedelta(days=1)
        return start, to_instant(last, self.to_minute, self.zone)


def read_quiet(text: str, zone: str) -> QuietHours:
    """Parse quiet hours such as `22:00-06:00`.

    Raises:
        ValueError: the text has another form, or both times are equal.
    """
    first, mark, last = text.partition("-")
    if not mark:
        raise ValueError(f"expected two times of the day such as '22:00-06:00', got {text!r}")
    quiet_hours = QuietHours(read_minute(first.strip()), read_minute(last.strip()), zone)
    if quiet_hours.from_minute == quiet_hours.to_minute:
        raise ValueError(f"{text!r}: start and end are equal; expected two different times")
    return quiet_hours
