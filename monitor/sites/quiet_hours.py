"""Hours in which a person wants to be left alone, in the local time of the site; what is urgent passes them."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from monitor.text.zones import local_day, read_minute, to_instant


@dataclass(frozen=True, slots=True)
class QuietHours:
    """From one time of the day to another, over midnight where the second is the earlier one."""

    from_minute: int
    to_minute: int
    zone: str

    def find_window(self, at: datetime) -> tuple[datetime, datetime]:
        """Begin and end of the quiet hours that began last.

        >>> night = read_quiet("22:00-06:00", "Europe/Zurich")
        >>> [str(one)[:16] for one in night.find_window(datetime.fromisoformat("2026-03-01T03:00Z"))]
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
    """Quiet hours out of `22:00-06:00`; raises ValueError."""
    first, mark, last = text.partition("-")
    if not mark:
        raise ValueError(f"expected two times of the day such as '22:00-06:00', got {text!r}")
    found = QuietHours(read_minute(first.strip()), read_minute(last.strip()), zone)
    if found.from_minute == found.to_minute:
        raise ValueError(f"{text!r} has no end; expected two different times")
    return found
