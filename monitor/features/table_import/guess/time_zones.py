"""Zones that a table names: in the heading of the time, above the table, or in a column of its own."""

import re
from collections.abc import Iterable
from typing import Final

from monitor.api.ingest import name_zone
from monitor.features.table_import.guess.time_forms import has_word

_UTC: Final = re.compile(
    r"(?<![A-Za-z])(?:TZ)?(?:UTC|GMT)(?![A-Za-z])"
    r"(?:\s*([+-])\s*(\d{1,2}(?::\d{2})?|\d{4})(?!\d)|(?!\s*[+-]\s*\d))"
)
_DASHES: Final = str.maketrans("\u2212\u2013", "--")  # a minus as word processors write it
_DATE: Final = re.compile(r"\d{1,4}[-./]\d{1,2}[-./]\d{2,4}")
_ZONE_CELL: Final = re.compile(r"(?:UTC|GMT) ?[+-]\d{1,2}(?::?\d\d)?|[+-]\d\d:\d\d")
_SHORT_ZONE_CELL: Final = re.compile(r"Z|[+-]\d{1,2}(?:\d\d)?|[A-Z]{3,4}")
_HOURS_MOST: Final = 14  # that a zone is ahead of UTC
_WINTER_TIME: Final = "Etc/GMT-1"


def find_zone(texts: Iterable[str]) -> str | None:
    """Return the zone that the first text with a zone names; None if no text names one zone clearly.

    The winter time of Central Europe is one hour ahead of UTC all year. A text that contains two zones, summer time, a
    difference or a date leaves the zone open.

    >>> [find_zone([text]) for text in ("Time (UTC\u22123)", "CET (UTC+1)", "MEZ/MESZ", "UTC offset: -5", "UTC-200")]
    ['Etc/GMT+3', 'Etc/GMT-1', None, None, None]
    """
    for text in texts:
        zones = {_name_fixed_zone(*match.groups()) for match in _UTC.finditer(text.translate(_DASHES))}
        if has_word(text, "winter_time"):
            zones.add(_WINTER_TIME)
        is_open = has_word(text, "open_zone") or _DATE.search(text) is not None
        if len(zones) == 1 and None not in zones and not is_open:
            return zones.pop()
    return None


def _name_fixed_zone(sign: str | None, distance: str | None) -> str | None:
    """Return the zone at a distance from UTC such as 1, 01:00 or 0100; None if it is not a number of whole hours."""
    if sign is None or distance is None:
        return "UTC"
    digits = distance.replace(":", "")
    hours = int(digits if len(digits) <= 2 else digits[:-2])
    minutes = 0 if len(digits) <= 2 else int(digits[-2:])
    if minutes or hours > _HOURS_MOST:
        return None
    if hours == 0:
        return "UTC"
    return f"Etc/GMT{'-' if sign == '+' else '+'}{hours}"  # the sign of POSIX: west is positive


def is_zone_cell(text: str, *, is_zone_column: bool) -> bool:
    """Return whether a cell names a zone. Abbreviations and short numbers count only in a column of zones."""
    if _ZONE_CELL.fullmatch(text):
        return True
    if not is_zone_column or _SHORT_ZONE_CELL.fullmatch(text) is None:
        return False
    return not text.isalpha() or text in {"Z", name_zone(f" {text}")}
