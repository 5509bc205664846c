"""Months, names of zones and the end of a day as people and spreadsheets of several countries write them."""

import re
import unicodedata
from functools import lru_cache
from typing import Final

_ENGLISH: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_NAMES: Final = (  # English, German, Italian, French, Spanish; a short form is a beginning of one, but for those added
    "january januar janner janvier gennaio enero",
    "february februar feber fevrier febbraio febrero",
    "march marz mrz maerz mars marzo",
    "april avril aprile abril",
    "may mai maggio mayo",
    "june juni juin giugno junio",
    "july juli juillet luglio julio",
    "august aout agosto",
    "september septembre settembre septiembre setiembre",
    "october oktober octobre ottobre octubre",
    "november novembre noviembre",
    "december dezember decembre dicembre diciembre",
)
_DAYS: Final = (  # of the week, as the months; a short form has two letters at least
    "monday montag lundi lunedi lunes",
    "tuesday dienstag mardi martedi martes",
    "wednesday mittwoch mercredi mercoledi miercoles",
    "thursday donnerstag jeudi giovedi jueves",
    "friday freitag vendredi venerdi viernes",
    "saturday samstag sonnabend samedi sabato sabado",
    "sunday sonntag dimanche domenica domingo",
)
_DAY: Final = re.compile(r"([^\W\d_]{2,10})[.,]{0,2} *(?=[^\W_])")
_NUMERIC: Final = re.compile(r"\d{1,4}[./-] ?\d")  # a whole date: a word before it is no month
_MONTH_TERM: Final = re.compile(r"[^\W\d_]{3,}\.?")
_END: Final = re.compile(r"(?<=[T ])24([:.]?)00(?:[:.]?00)?(?:\.0+)?$")
SHORTEST: Final = 3  # letters of a month
# hours ahead of UTC; a name that two countries use for different hours (CST, IST) is none of them
ZONES: Final = {
    "UTC": 0,
    "GMT": 0,
    "WET": 0,
    "WEST": 1,
    "BST": 1,
    "CET": 1,
    "MEZ": 1,
    "CEST": 2,
    "MESZ": 2,
    "EET": 2,
    "EEST": 3,
    "EST": -5,
    "EDT": -4,
    "MST": -7,
    "MDT": -6,
    "PST": -8,
    "PDT": -7,
    "JST": 9,
    "NZST": 12,
    "NZDT": 13,
}
_ZONE: Final = re.compile(r"(?<=[\d ])([A-Z]{3,4})$")


@lru_cache(maxsize=512)
def _to_english(name: str) -> str:
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    fitting = {k for k, names in enumerate(_NAMES) if any(name.startswith(plain) for name in names.split())}
    return _ENGLISH[fitting.pop()] if len(fitting) == 1 and len(plain) >= SHORTEST else name


def translate_months(text: str) -> str:
    """A date with its months as `%b` reads them; words that are no month stay as they are.

    >>> [translate_months(text) for text in ("01. Mrz 24", "3-févr.-24", "1 août 2024 UTC", "March 1")]
    ['01. Mar 24', '3-Feb-24', '1 Aug 2024 UTC', 'Mar 1']
    """
    return _MONTH_TERM.sub(lambda found: _to_english(found[0].rstrip(".")), text)


def drop_weekday(text: str) -> str:
    """A date without the day of the week that it begins with.

    >>> drop_weekday("Mo, 3.2.2025"), drop_weekday("lundi 3 février 2025"), drop_weekday("Mon Feb 3 2025")
    ('3.2.2025', '3 février 2025', 'Feb 3 2025')
    >>> drop_weekday("Mai 2025"), drop_weekday("Mar 3 2025"), drop_weekday("Mar 4.2.2025")
    ('Mai 2025', 'Mar 3 2025', '4.2.2025')
    """
    found = _DAY.match(text)
    if found is None or not _is_weekday(found[1]):
        return text
    rest = text[found.end() :]
    return text if _to_english(found[1]) in _ENGLISH and _NUMERIC.match(rest) is None else rest


@lru_cache(maxsize=512)
def _is_weekday(name: str) -> bool:
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return any(day.startswith(plain) for names in _DAYS for day in names.split())


def name_zone(text: str) -> str:
    """The name of the zone that a time ends with; "" where it ends with none that is known.

    >>> name_zone("2025-03-30 03:00 CEST"), name_zone("01.03.2025 12:00CET"), name_zone("2025-03-30 03:00 CST")
    ('CEST', 'CET', '')
    """
    found = _ZONE.search(text)
    return found[1] if found is not None and found[1] in ZONES else ""


def write_offset(text: str) -> str:
    """A time with the name of its zone as an offset; others stay as they are.

    >>> write_offset("2025-03-30 03:00 CEST"), write_offset("3/9/2025 01:00 AM EST"), write_offset("1.3.2025 12:00")
    ('2025-03-30 03:00 +0200', '3/9/2025 01:00 AM -0500', '1.3.2025 12:00')
    """
    name = name_zone(text)
    return f"{text.removesuffix(name)}{100 * ZONES[name]:+05d}" if name else text


def begin_day(text: str) -> str | None:
    """A time at 24:00, the end of a day, as 00:00 of the same day; None where it is no such time.

    >>> begin_day("29.02.2024 24:00"), begin_day("2024-02-29T24:00:00"), begin_day("24.00.2024 12:00")
    ('29.02.2024 00:00', '2024-02-29T00:00:00', None)
    """
    return None if _END.search(text) is None else _END.sub(lambda found: "00" + found[0][2:], text)
