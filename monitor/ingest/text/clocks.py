"""Clocks and calendars of files: what times count from, how months, zones and clocks are spelled, which cannot be."""

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final, NamedTuple

from monitor.ingest.text.cells import write_digits
from monitor.text.instants import EPOCH, FUTURE_TOLERANCE
from monitor.text.message import Figure, Message, Template, Timestamp

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
_END: Final = re.compile(r"(?<=[T ])24([:. ]?)00(?:[:. ]?00)?(?:\.0+)?$")
_ENDS: Final = (("%H%M%S", "240000"), ("%H%M", "2400"), ("%H", "24"))  # clocks of digits, and the end of a day
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
_SIDE_BY_SIDE: Final = re.compile(r"(?:%[YymdjHMS]){2,}")
_DIGITS: Final = {"Y": 4, "j": 3}  # of a directive; the others have two


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


@lru_cache(maxsize=512)
def _list_widths(form: str) -> tuple[tuple[int, int, bool], ...]:
    """The parts of a form whose digits nothing parts: which they are, how many digits, and whether it is a clock."""
    parts = [(k, part) for k, part in enumerate(form.split(" ")) if _SIDE_BY_SIDE.fullmatch(part)]
    return tuple((k, sum(_DIGITS.get(sign, 2) for sign in part[1::2]), part[1] == "H") for k, part in parts)


def fill_digits(text: str, form: str) -> str:
    """A time with the leading zeros of a clock of digits alone; such a day is whole, for what it lacks may be anything.

    >>> fill_digits("2026-01-12 100", "%Y-%m-%d %H%M"), fill_digits("12.1.2026 5", "%d.%m.%Y %H%M%S")
    ('2026-01-12 0100', '12.1.2026 000005')

    Raises:
        ValueError: digits of a day are missing, or there are more than the form has.
    """
    for k, width, is_clock in _list_widths(form):
        parts = text.split(" ")
        digits = parts[k] if k < len(parts) else ""
        if len(digits) != width and not (is_clock and 0 < len(digits) < width):
            raise ValueError(text)
        text = " ".join((*parts[:k], digits.zfill(width), *parts[k + 1 :]))
    return text


def begin_day(text: str) -> str | None:
    """A time at 24:00, the end of a day, as 00:00 of the same day; None where it is no such time.

    >>> begin_day("29.02.2024 24:00"), begin_day("2024-02-29T24:00:00"), begin_day("24.00.2024 12:00")
    ('29.02.2024 00:00', '2024-02-29T00:00:00', None)
    """
    return None if _END.search(text) is None else _END.sub(lambda found: "00" + found[0][2:], text)


def begin_digits(text: str, form: str) -> str | None:
    """A time of digits at the end of a day as the beginning of the same day; None where it is no such time.

    >>> begin_digits("2026030124", "%Y%m%d%H"), begin_digits("2026-03-01 24", "%Y-%m-%d %H")
    ('2026030100', '2026-03-01 00')
    >>> begin_digits("202603012400", "%Y%m%d%H%M"), begin_digits("2026030124", "%y%m%d%H%M")
    ('202603010000', None)
    """
    for clock, end in _ENDS:
        if form.endswith(clock):
            is_end = text.endswith(end) and len(text) > len(end)
            return f"{text.removesuffix(end)}{'0' * len(end)}" if is_end else None
    return None


CENTURY_MOST: Final = timedelta(days=3652)  # before now: a mapping whose years have two digits is believed so far
EARLIEST_TIME: Final = datetime(1950, 1, 1, tzinfo=UTC)  # before it hardly any slope was read as numbers
GPS, BUDDHIST = "gps", "buddhist"
GPS_BEGIN: Final = datetime(1980, 1, 6, tzinfo=UTC)
J2000: Final = datetime(2000, 1, 1, 12, tzinfo=UTC)
_LABVIEW: Final = datetime(1904, 1, 1, tzinfo=UTC)
SECONDS_PER_UNIT: Final = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9, "min": 60.0, "h": 3600.0, "d": 86400.0}
"""Formats that count from a day, and the seconds of one."""
_UNITS: Final = {
    "s": "s sec secs second seconds sekunden secondi secondes segundos 秒",
    "ms": "ms msec millisecond milliseconds",
    "us": "us µs usec microsecond microseconds",
    "ns": "ns nsec nanosecond nanoseconds",
    "min": "min mins minute minutes minuti minutos minuten",
    "h": "h hr hrs hour hours stunden ore heures horas",
    "d": "d day days tage giorni jours dias días",
}
_UNIT_OF: Final = {term: unit for unit, words in _UNITS.items() for term in words.split()}
_MOMENT: Final = (
    r"(\d{4})(?:[-/. ](\d{1,2})[-/. ](\d{1,2})(?:[T ](\d{1,2})(?::(\d{1,2})(?::(\d{1,2})(?:\.\d*)?)?)?)?)?"
    r" *(?:UTC|GMT|Z)? *(?:([+-]\d{1,2})(?::?(\d\d))?)?"
)
_SINCE: Final = re.compile(r"\s*([A-Za-z]+)\s+since\s+(.*)", re.IGNORECASE)
_WHOLE: Final = re.compile(_MOMENT, re.IGNORECASE)
_FROM: Final = re.compile(rf"(?:since|after|seit|depuis|desde|dal|from)\W{{1,2}}{_MOMENT}", re.IGNORECASE)
_BARE: Final = re.compile(r"(?<!\d)(1900|1904|1970|1980|2000|2001)(?:[-/.](\d{1,2})[-/.](\d{1,2}))?(?![\d:])")
_WORDS: Final = (
    (re.compile(r"j[ _.-]?2000", re.IGNORECASE), J2000),
    (re.compile(r"labview", re.IGNORECASE), _LABVIEW),
    (re.compile(r"unix|posix", re.IGNORECASE), EPOCH),
)
TIME_COLUMN_NAME: Final = re.compile(
    r"time|date|datum|zeit|uhr|mjd|data|ora|heure|fecha|hora|epoch|stamp|timestamp|year|jahr|anno|année|año|日期|时间|年",
    re.IGNORECASE,
)  # names of columns of times
_IS_GPS: Final = re.compile(r"(?<![a-z])gpst?(?![a-z])", re.IGNORECASE)
_IS_UTC: Final = re.compile(r"(?<![a-z])(?:utc|gmt)(?![a-z])", re.IGNORECASE)
_BUDDHIST_WORDS: Final = re.compile(r"(?i:buddhi|พ\.? ?ศ|พุทธ)|(?<![A-Za-z])B\.?E\.?(?![A-Za-z])")
_BUDDHIST_YEAR: Final = re.compile(r"(?<!\d)(2[3-7]\d\d)(?=\D|$|\d{4}(?:\D|$)|\d{8}(?:\D|$)|\d{10}(?:\D|$))")
_AHEAD_Y: Final = 543  # of the Buddhist era

# ---- spelling ----------------------------------------------------------------------------------------------------

_MARKS: Final = re.compile("[\u00ad\u061c\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff]")  # show nothing
_CLOCK: Final = r"\d{1,2}(?:[:.h]\d\d){0,2}(?:[.,]\d+)?"
_HALVES: Final = {
    "AM": r"a\.? ?m\.?|vorm\.?|上午|午前|오전|π\.? ?μ\.?|ص|ق\.? ?ظ\.?|de\.|f\.?m\.?|öö|sa",
    "PM": r"p\.? ?m\.?|nachm\.?|下午|午後|午后|오후|μ\.? ?μ\.?|م|ب\.? ?ظ\.?|du\.|e\.?m\.?|ös|ch",
}
_BEHIND: Final = tuple((half, re.compile(rf"(?<=\d) ?(?:{words})$", re.IGNORECASE)) for half, words in _HALVES.items())
_AHEAD: Final = tuple(
    (half, re.compile(rf"(?<![^\W\d_])(?:{words}) ?({_CLOCK})$", re.IGNORECASE)) for half, words in _HALVES.items()
)
_ZEROTH: Final = re.compile(r"(?<![\d:.])00?(?=(?:[:.h]\d\d){1,2}(?:[.,]\d+)? [AP]M$)")  # hour of half a day
_OF_WORDS: Final = re.compile(r"(\d{1,2}) ?[時时点點시](?: ?(\d{1,2}) ?[分분](?: ?(\d{1,2}) ?[秒초])?)?")
_FRACTION: Final = re.compile(r"(:\d\d)[.,](\d{1,6})\d*")
_MAY_TURN: Final = re.compile(r"(?<![^\W\d_])[ap]\.? ?m", re.IGNORECASE)
_BETWEEN: Final = re.compile(  # a date and its clock
    r"(?<=\d)(?:, ?| - | (?:um|at|alle|a las|à) |_)(?=\d{1,2}[:.h]\d)|(?<=[-./]\d{4}):(?=\d\d:\d\d:)"
)
_CLOCK_FIRST: Final = re.compile(r"^(\d{1,2}:\d\d(?::\d\d(?:[.,]\d+)?)?),? (\d{1,4}[-./]\d{1,2}[-./]\d{1,4})$")
_OFFSET: Final = re.compile(r"(?<=\d) ?(?:UTC|GMT) ?([+-])(\d{1,2})(?::?(\d\d))?$")
_UHR: Final = re.compile(r"(?<=[:.h]\d\d) ?(?:uhr|h|hrs?|hs)\.?$", re.IGNORECASE)


def normalise_time(text: str) -> str:
    r"""A time with plain blanks and digits, AM or PM behind its clock, and a fraction of six digits at most.

    >>> normalise_time("1/12/2026, 1:00\u202fPM"), normalise_time("12/01/2026 1:00 p. m.")
    ('1/12/2026 1:00 PM', '12/01/2026 1:00 PM')
    >>> normalise_time("2026/1/12 下午1:00")
    '2026/1/12 1:00 PM'
    >>> normalise_time("2026/01/12 午後0時30分"), normalise_time("2026年1月12日 13时")
    ('2026/01/12 12:30:00 PM', '2026年1月12日 13:00:00')
    >>> normalise_time("2026-01-12t00:00:00.123456789z"), normalise_time("Jan 12, 2026 10:00")
    ('2026-01-12T00:00:00.123456Z', 'Jan 12, 2026 10:00')
    >>> normalise_time("12.01.2026 10:30")
    '12.01.2026 10:30'
    """
    if not text.isascii():
        text = write_digits(_MARKS.sub("", text))
        text = _OF_WORDS.sub(lambda found: ":".join((found[1], found[2] or "00", found[3] or "00")), text)
    text = " ".join(text.split())
    if text[10:11] == "t" or text.endswith("z"):
        text = re.sub(r"(?<=\d)t(?=\d)|(?<=\d)z$", lambda found: found[0].upper(), text)
    if not (text[-1:].isdigit() and text.isascii()) or _MAY_TURN.search(text) is not None:
        text = _turn(_UHR.sub("", text))
    text = _OFFSET.sub(lambda found: f"{found[1]}{found[2]:0>2}:{found[3] or '00'}", _BETWEEN.sub(" ", text))
    text = _CLOCK_FIRST.sub(r"\2 \1", text)
    return _FRACTION.sub(r"\1.\2", text) if "," in text or "." in text else text


def _turn(text: str) -> str:
    """A time with the half of the day, however it is spelled, as AM or PM behind its clock."""
    for half, behind in _BEHIND:
        if behind.search(text) is not None:
            return _ZEROTH.sub("12", behind.sub(f" {half}", text))
    for half, ahead in _AHEAD:
        if ahead.search(text) is not None:
            return _ZEROTH.sub("12", " ".join(ahead.sub(rf" \1 {half}", text).split()))
    return text


# ---- calendars -----------------------------------------------------------------------------------------------------


def find_era(texts: Iterable[str]) -> str:
    """The era that words beside a time name; "" where they name none.

    >>> [find_era([text]) for text in ("Date (Buddhist era)", "Time (B.E.)", "Better date")]
    ['buddhist', 'buddhist', '']
    """
    return BUDDHIST if any(map(_BUDDHIST_WORDS.search, texts)) else ""


def write_common(text: str, era: str) -> str:
    """A date of an era as one of the common calendar.

    >>> write_common("29/02/2567 10:00", "buddhist")
    '29/02/2024 10:00'
    """
    return text if not era else _BUDDHIST_YEAR.sub(lambda found: str(int(found[1]) - _AHEAD_Y), text, count=1)


# ---- counts --------------------------------------------------------------------------------------------------------


class TimeCount(NamedTuple):
    """What a number counts: its unit, a key of `SECONDS_PER_UNIT` or ""; from when; whether in GPS time."""

    unit: str
    since: datetime
    clock: str = ""


def find_time_count(text: str) -> TimeCount | None:
    """What the words beside a number say that it counts; None where they name no beginning.

    >>> find_time_count("s since 1904-01-01").since.year, find_time_count("sec_j2000").unit
    (1904, 's')
    >>> find_time_count("gps_seconds").clock
    'gps'
    >>> find_time_count("Time"), find_time_count("epoch 2000").since.year, find_time_count("days since 1950").unit
    (None, 2000, 'd')
    """
    plain = text.replace("_", " ")
    words = [_UNIT_OF[term] for term in re.findall(r"[^\W\d]+", plain.lower()) if term in _UNIT_OF]
    unit = words[0] if words else ""
    known = next((at for pattern, at in _WORDS if pattern.search(plain)), None)
    found = _FROM.search(plain) or (None if known else _BARE.search(plain))
    if found is not None:
        try:
            return TimeCount(unit, _place(*found.groups()))
        except ValueError:
            return None
    if known is not None:
        return TimeCount(unit, known)
    return TimeCount(unit, GPS_BEGIN, GPS) if is_gps(text) else None


def is_gps(text: str) -> bool:
    """Whether words beside a time say that it is GPS time."""
    plain = text.replace("_", " ")
    return _IS_GPS.search(plain) is not None and _IS_UTC.search(plain) is None


def read_since(text: str) -> tuple[float, datetime]:
    """Seconds of a unit and the beginning of "UNITS since DATE", as the CF conventions write it.

    >>> read_since("hours since 1900-01-01 00:00:0.0")[0], read_since("days since 2020-1-1T00:00:00Z")[1].isoformat()
    (3600.0, '2020-01-01T00:00:00+00:00')

    Raises:
        LookupError: it is not of this form, or the unit is unknown.
        ValueError: the date is none.
    """
    match = _SINCE.match(text)
    term = "" if match is None else match[1]
    unit = None if term.startswith("Ms") else _UNIT_OF.get(term.lower())  # `Ms` are megaseconds
    if match is None or unit is None:
        raise LookupError(text)
    if (begin := _WHOLE.fullmatch(match[2].strip())) is None:
        raise ValueError(text)
    return SECONDS_PER_UNIT[unit], _place(*begin.groups())


def _place(year: str, month: str | None, day: str | None, *rest: str | None) -> datetime:
    hour, minute, second, ahead_h, ahead_min = (int(part or 0) for part in (*rest, *(None,) * (5 - len(rest))))
    ahead = timedelta(hours=ahead_h, minutes=ahead_min if ahead_h >= 0 else -ahead_min)
    return datetime(int(year), int(month or 1), int(day or 1), hour, minute, second, tzinfo=UTC) - ahead


# ---- times that cannot be ------------------------------------------------------------------------------------------

_LATE: Final = Template("times.late", "its times end at {at}, which lies ahead of now")
_CENTURY: Final = Template(
    "times.century", "its years have two digits and may count in any century or era; read as ours it ends on {at}"
)
_COUNT: Final = Template("times.count", "the header '{name}' counts from {at}, and {taken} was taken")
_UNSET: Final = Template(
    "times.unset",
    "{n} of its times begin at {at}, years before all others, as those of a clock that was not set: take such rows out",
)
_BEGINS: Final = tuple(  # of clocks that nobody set
    datetime(*day, tzinfo=UTC)
    for day in ((1970, 1, 1), (1980, 1, 1), (1990, 1, 1), (1999, 8, 22), (2000, 1, 1), (2001, 1, 1), (2010, 1, 1))
)
_UNSET_MOST: Final = timedelta(days=31)
_YEAR: Final = timedelta(days=365)
_EARLY: Final = Template("times.early", "its times begin at {at}, before 1950")


def doubt_span(first: datetime, last: datetime, now: datetime) -> Message | None:
    """Why the times of a record cannot be: it ends after now, or begins before 1950; None where they can."""
    if last - now > FUTURE_TOLERANCE:
        return _LATE(at=Timestamp.of(last, "minute"))
    if first < EARLIEST_TIME:
        return _EARLY(at=Timestamp.of(first, "minute"))
    return None


def find_unset(at: datetime) -> datetime | None:
    """Where the clock begins that nobody set and that may have said an instant; None: no such clock says it."""
    return next((begin for begin in _BEGINS if timedelta(0) <= at - begin < _UNSET_MOST), None)


def doubt_unset(placed: Sequence[datetime]) -> Message | None:
    """That the first times of a record, in order, are of a clock that was never set: where clocks begin, years before.

    >>> year = [datetime(2026, 1, day, tzinfo=UTC) for day in range(1, 9)]
    >>> str(doubt_unset([datetime(1970, 1, 1, 0, 10, tzinfo=UTC), *year]))[:30], doubt_unset(year)
    ('1 of its times begin at 1970-0', None)
    """
    if not placed or (begin := find_unset(placed[0])) is None:
        return None
    first = bisect_right(placed, begin + _UNSET_MOST)
    if first == len(placed) or placed[first] - placed[first - 1] < _YEAR or first > len(placed) // 2:
        return None
    return _UNSET(n=Figure(first, ","), at=Timestamp.of(placed[0], "minute"))


def doubt_century(form: str, last: datetime) -> Message | None:
    """That years of two digits leave century and era open: 69 is 2569, 04 is 1404, 08 the year 8 of Reiwa."""
    return _CENTURY(at=Timestamp.of(last, "day")) if "%y" in form else None


def doubt_count(text: str, since: datetime | None, first: datetime, last: datetime, now: datetime) -> Message | None:
    """Whether words beside a number name another beginning than was taken, from which the record would be past too."""
    count, taken = find_time_count(text), since or EPOCH
    if count is None or abs(count.since - taken) < timedelta(days=1):
        return None
    if doubt_span(first + (count.since - taken), last + (count.since - taken), now) is not None:
        return None
    return _COUNT(name=text, at=Timestamp.of(count.since, "day"), taken=Timestamp.of(taken, "day"))
