"""How files write dates and times of the day: months, weekdays, zones, halves of a day, digits, eras."""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from monitor.ingest.text.cells import write_digits
from monitor.ingest.text.time_words import (
    BUDDHIST_WORDS,
    BUDDHIST_YEARS_AHEAD,
    WORDS_AFTER_CLOCK,
    WORDS_BEFORE_CLOCK,
    ZONES,
    compile_alternatives,
    compile_half_day,
    find_month,
    is_weekday,
)

BUDDHIST: Final = "buddhist"
_LEADING_WORD: Final = re.compile(r"([^\W\d_]{2,10})[.,]{0,2} *(?=[^\W_])")
_WHOLE_DATE: Final = re.compile(r"\d{1,4}[./-] ?\d")
_MONTH_WORD: Final = re.compile(r"([^\W\d_]{3,})(?:\.(?!\d))?")  # the point before a year is part of the form
_HOUR_24: Final = re.compile(r"(?<=[T ])24([:. ]?)00(?:[:. ]?00)?(?:\.0+)?$")
_DIGITS_24: Final = (("%H%M%S", "240000"), ("%H%M", "2400"), ("%H", "24"))
_ZONE: Final = re.compile(r"(?<=[\d ])([A-Z]{3,4})$")
_SIDE_BY_SIDE: Final = re.compile(r"(?:%[YymdjHMS]){2,}")
_DIGITS: Final = {"Y": 4, "j": 3}  # of a directive; the others have two
_BUDDHIST_YEAR: Final = re.compile(r"(?<!\d)(2[3-7]\d\d)(?=\D|$|\d{4}(?:\D|$)|\d{8}(?:\D|$)|\d{10}(?:\D|$))")

_INVISIBLE: Final = re.compile("[\u00ad\u061c\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff]")
_CLOCK: Final = r"\d{1,2}(?:[:.h]\d\d){0,2}(?:[.,]\d+)?"
_HALF_BEHIND: Final = tuple(
    (half, re.compile(rf"(?<=\d) ?(?:{compile_half_day(half)})$", re.IGNORECASE)) for half in ("AM", "PM")
)
_HALF_AHEAD: Final = tuple(
    (half, re.compile(rf"(?<![^\W\d_])(?:{compile_half_day(half)}) ?({_CLOCK})$", re.IGNORECASE))
    for half in ("AM", "PM")
)
_HOUR_0_OF_HALF: Final = re.compile(r"(?<![\d:.])00?(?=(?:[:.h]\d\d){1,2}(?:[.,]\d+)? [AP]M$)")
_EAST_ASIAN_CLOCK: Final = re.compile(r"(\d{1,2}) ?[時时点點시](?: ?(\d{1,2}) ?[分분](?: ?(\d{1,2}) ?[秒초])?)?")
_FRACTION: Final = re.compile(r"(:\d\d)[.,](\d{1,6})\d*")
_MAY_BE_HALF: Final = re.compile(r"(?<![^\W\d_])[ap]\.? ?m", re.IGNORECASE)
_BETWEEN_DATE_AND_CLOCK: Final = re.compile(
    rf"(?<=\d)(?:, ?| - | (?:{compile_alternatives(WORDS_BEFORE_CLOCK)}) |_)(?=\d{{1,2}}[:.h]\d)"
    r"|(?<=[-./]\d{4}):(?=\d\d:\d\d:)"
)
_CLOCK_FIRST: Final = re.compile(r"^(\d{1,2}:\d\d(?::\d\d(?:[.,]\d+)?)?),? (\d{1,4}[-./]\d{1,2}[-./]\d{1,4})$")
_OFFSET: Final = re.compile(r"(?<=\d) ?(?:UTC|GMT) ?([+-])(\d{1,2})(?::?(\d\d))?$")
_WORD_AFTER_CLOCK: Final = re.compile(
    rf"(?<=[:.h]\d\d) ?(?:{compile_alternatives(WORDS_AFTER_CLOCK)})\.?$", re.IGNORECASE
)


# ---- months, weekdays, zones -----------------------------------------------------------------------------------------


def translate_months(text: str) -> str:
    """Replace the name of a month by the abbreviation that `%b` reads; other words stay as they are.

    >>> [translate_months(text) for text in ("01. Mrz 24", "3-févr.-24", "1 août 2024 UTC", "March 1")]
    ['01. Mar 24', '3-Feb-24', '1 Aug 2024 UTC', 'Mar 1']
    >>> translate_months("13.Mrz.2024"), translate_months("13. Mrz. 2024")
    ('13.Mar.2024', '13. Mar 2024')
    """
    return _MONTH_WORD.sub(lambda word: find_month(word[1]) or word[1], text)


def drop_weekday(text: str) -> str:
    """Remove the weekday with which a date begins.

    >>> drop_weekday("Mo, 3.2.2025"), drop_weekday("lundi 3 février 2025"), drop_weekday("Mon Feb 3 2025")
    ('3.2.2025', '3 février 2025', 'Feb 3 2025')
    >>> drop_weekday("Mai 2025"), drop_weekday("Mar 3 2025"), drop_weekday("Mar 4.2.2025")
    ('Mai 2025', 'Mar 3 2025', '4.2.2025')
    """
    word = _LEADING_WORD.match(text)
    if word is None or not is_weekday(word[1]):
        return text
    remaining = text[word.end() :]
    # "Mar" is March and Tuesday: before a whole date it is Tuesday
    return text if find_month(word[1]) and _WHOLE_DATE.match(remaining) is None else remaining


def name_zone(text: str) -> str:
    """Return the abbreviation of a zone at the end of a time; "" if there is none in `ZONES`.

    >>> name_zone("2025-03-30 03:00 CEST"), name_zone("01.03.2025 12:00CET"), name_zone("2025-03-30 03:00 CST")
    ('CEST', 'CET', '')
    """
    match = _ZONE.search(text)
    return match[1] if match is not None and match[1] in ZONES else ""


def write_offset(text: str) -> str:
    """Replace the abbreviation of a zone at the end of a time by its offset.

    >>> write_offset("2025-03-30 03:00 CEST"), write_offset("3/9/2025 01:00 AM EST"), write_offset("1.3.2025 12:00")
    ('2025-03-30 03:00 +0200', '3/9/2025 01:00 AM -0500', '1.3.2025 12:00')
    """
    name = name_zone(text)
    return f"{text.removesuffix(name)}{100 * ZONES[name]:+05d}" if name else text


# ---- digits, and the end of a day ------------------------------------------------------------------------------------


@lru_cache(maxsize=512)
def _list_widths(form: str) -> tuple[tuple[int, int, bool], ...]:
    """Return the parts of a pattern whose directives stand side by side: place, number of digits, is it a clock."""
    parts = [(k, part) for k, part in enumerate(form.split(" ")) if _SIDE_BY_SIDE.fullmatch(part)]
    return tuple((k, sum(_DIGITS.get(sign, 2) for sign in part[1::2]), part[1] == "H") for k, part in parts)


def fill_digits(text: str, form: str) -> str:
    """Add the leading zeros that a clock of digits lacks. A date of digits must be complete.

    >>> fill_digits("2026-01-12 100", "%Y-%m-%d %H%M"), fill_digits("12.1.2026 5", "%d.%m.%Y %H%M%S")
    ('2026-01-12 0100', '12.1.2026 000005')

    Raises:
        ValueError: A date lacks digits, or there are more digits than in the pattern.
    """
    for k, width, is_clock in _list_widths(form):
        parts = text.split(" ")
        digits = parts[k] if k < len(parts) else ""
        if len(digits) != width and not (is_clock and 0 < len(digits) < width):
            raise ValueError(text)
        text = " ".join((*parts[:k], digits.zfill(width), *parts[k + 1 :]))
    return text


def begin_day(text: str) -> str | None:
    """Write a time at 24:00, the end of a day, as 00:00 of the same day; return None for any other time.

    >>> begin_day("29.02.2024 24:00"), begin_day("2024-02-29T24:00:00"), begin_day("24.00.2024 12:00")
    ('29.02.2024 00:00', '2024-02-29T00:00:00', None)
    """
    return None if _HOUR_24.search(text) is None else _HOUR_24.sub(lambda clock: "00" + clock[0][2:], text)


def begin_digits(text: str, form: str) -> str | None:
    """Write digits at the end of a day as the beginning of the same day; return None for any other time.

    >>> begin_digits("2026030124", "%Y%m%d%H"), begin_digits("2026-03-01 24", "%Y-%m-%d %H")
    ('2026030100', '2026-03-01 00')
    >>> begin_digits("202603012400", "%Y%m%d%H%M"), begin_digits("2026030124", "%y%m%d%H%M")
    ('202603010000', None)
    """
    for clock, end in _DIGITS_24:
        if form.endswith(clock):
            is_end = text.endswith(end) and len(text) > len(end)
            return f"{text.removesuffix(end)}{'0' * len(end)}" if is_end else None
    return None


# ---- one spelling of times -------------------------------------------------------------------------------------------


def normalise_time(text: str) -> str:
    r"""Write a time with plain blanks and digits, AM or PM behind its clock, and at most six digits of a fraction.

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
        text = write_digits(_INVISIBLE.sub("", text))
        text = _EAST_ASIAN_CLOCK.sub(lambda clock: ":".join((clock[1], clock[2] or "00", clock[3] or "00")), text)
    text = " ".join(text.split())
    if text[10:11] == "t" or text.endswith("z"):
        text = re.sub(r"(?<=\d)t(?=\d)|(?<=\d)z$", lambda letter: letter[0].upper(), text)
    if not (text[-1:].isdigit() and text.isascii()) or _MAY_BE_HALF.search(text) is not None:
        text = _move_half_day(_WORD_AFTER_CLOCK.sub("", text))
    text = _BETWEEN_DATE_AND_CLOCK.sub(" ", text)
    text = _OFFSET.sub(lambda offset: f"{offset[1]}{offset[2]:0>2}:{offset[3] or '00'}", text)
    text = _CLOCK_FIRST.sub(r"\2 \1", text)
    return _FRACTION.sub(r"\1.\2", text) if "," in text or "." in text else text


def _move_half_day(text: str) -> str:
    """Write the half of the day as AM or PM behind the clock."""
    for half, behind in _HALF_BEHIND:
        if behind.search(text) is not None:
            return _HOUR_0_OF_HALF.sub("12", behind.sub(f" {half}", text))
    for half, ahead in _HALF_AHEAD:
        if ahead.search(text) is not None:
            return _HOUR_0_OF_HALF.sub("12", " ".join(ahead.sub(rf" \1 {half}", text).split()))
    return text


# ---- calendars -------------------------------------------------------------------------------------------------------


def find_era(texts: Iterable[str]) -> str:
    """Return the era that the words beside a time name; "" if they name none.

    >>> [find_era([text]) for text in ("Date (Buddhist era)", "Time (B.E.)", "Better date")]
    ['buddhist', 'buddhist', '']
    """
    return BUDDHIST if any(map(BUDDHIST_WORDS.search, texts)) else ""


def write_common(text: str, era: str) -> str:
    """Write a date of an era as a date of the common calendar.

    >>> write_common("29/02/2567 10:00", "buddhist")
    '29/02/2024 10:00'
    """
    if not era:
        return text
    return _BUDDHIST_YEAR.sub(lambda year: str(int(year[1]) - BUDDHIST_YEARS_AHEAD), text, count=1)
