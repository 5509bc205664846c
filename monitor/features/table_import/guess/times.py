"""Which columns hold the time of an unknown table, and how it is written."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from math import isfinite
from statistics import median
from typing import Any, Final

from monitor.api.errors import ConfigError, PayloadError
from monitor.api.ingest import (
    BUDDHIST,
    DATENUM,
    EARLIEST_TIME,
    EXCEL,
    GPS,
    MJD,
    SECONDS_PER_UNIT,
    TIME_COLUMN_NAME,
    WEEKDAY,
    YEAR,
    YEAR_DAY_HHMM,
    TimeRule,
    drop_weekday,
    find_era,
    find_time_count,
    is_gps,
    is_time,
    join_parts,
    name_zone,
    normalise_time,
    translate_months,
)
from monitor.api.text import LABELLED_TEXT, Message, NameList, Template
from monitor.features.table_import.guess.raw_table import RawTable

_UNKNOWN_FORM: Final = Template(
    "guess.times.form",
    "no column holds a time that can be read; the cells of '{column}' are like '{value}', which is no form of a time "
    "known here: write dates such as 2026-03-01 08:30, and import the file again",
)
_NO_TIME: Final = Template(
    "guess.times.none",
    "no column holds a time that can be read; the columns are: {names}. Write dates such as 2026-03-01 08:30, and "
    "import the file again",
)
_ODD_CLOCK: Final = Template(
    "guess.times.clock",
    "column '{column}' looks like a clock, and cannot be read as one: write hours and minutes such as 8:30, and import "
    "the file again",
)
_LEFT_BLANK: Final = Template(
    "guess.times.left_blank",
    "'{column}' has a date in some rows alone, and the clock of '{clock}' in all: write the date in every row, and "
    "import the file again",
)
_OWN_TIMES: Final = Template(
    "guess.times.own",
    "the columns behind '{column}' have times of their own: cut the table there, and read each part alone",
)
_BRACKETED: Final = re.compile(r"[(\[][^)\]]*[)\]]?")
FITS: Final = 0.98  # share of the cells that a form must explain
FITS_TIMED: Final = 0.8  # share of the times that have a clock where the others are midnights without one
STRAY: Final = 3  # cells that may be something else also in a short table: a source, a mean below the last row
GLANCED: Final = 12  # cells after which most forms are out
_SPAN_MOST: Final = 50  # times the shortest record that a form makes of the cells; days taken for months make 30
TRIED: Final = 500  # cells to choose forms by; those left must then fit all
# with months by name in any language that `monitor.ingest.text.clocks` knows
_DATES: Final = (
    *("%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%d.%m.%Y", "%d.%m.%y", "%d/%m/%Y", "%m/%d/%Y", "%d/%m/%y"),
    *("%m/%d/%y", "%d-%m-%Y", "%m-%d-%Y", "%Y%m%d", "%Y年%m月%d日", "%y/%m/%d", "%y-%m-%d", "%y.%m.%d"),
    *("%d-%b-%Y", "%d-%b-%y", "%d %b %Y", "%d %b %y", "%d. %b %Y", "%d. %b %y", "%d.%b.%Y", "%d.%b.%y"),
    *("%d/%b/%Y", "%d/%b/%y", "%b %d %Y", "%b %d, %Y", "%Y-%b-%d", "%d%b%Y", "%d%b%y"),
)
_OTHERS: Final = ("%Y%m%dT%H%M%S", "%b %d %H:%M:%S %Y", "%Y-%jT%H:%M", "%Y-%jT%H:%M:%S")
_MONTHS: Final = ("%Y-%m", "%Y/%m", "%m/%Y", "%m.%Y", "%b %Y", "%b-%y", "%b %y", "%b-%Y")
_CLOCKS: Final = ("%H:%M:%S", "%H:%M", "%H:%M:%S.%f", "%I:%M:%S %p", "%I:%M %p", "%H.%M.%S", "%H.%M", "%H%M", "%Hh%M")
_NUMERIC_CLOCKS: Final = ("%H.%M", "%H%M", "%H%M%S")  # only beside a date: alone they are numbers
_DIGIT_CLOCKS: Final = {"%H": "hours", "%H%M": "hhmm", "%H%M%S": "hhmmss"}
"""Clocks of digits without a mark between them, and how people call them."""
_PARTS: Final = ("%Y", "%m", "%d", "%H", "%M", "%S")
_DAY_PARTS: Final = ("%Y", "%j", "%H", "%M", "%S")
_OF_SECONDS: Final = re.compile(r"s{1,2}$|se[ckg]", re.IGNORECASE)
_OF_CLOCK: Final = re.compile(  # a small number behind a date is a measurement where its column is called so
    r"\d+$|h{1,2}(?:mm?)?$|m(?:[mi]|in\w*)?$|s{1,2}$|se[ckg]|ho?u?r|hora|heure|or[ae]$|st(?:un)?d|uhr|utc|gmt|time|zeit|时|分|秒",
    re.IGNORECASE,
)
_BETWEEN_TIMES: Final = re.compile(r"(?<=\d)\s*(?:[-\u2013\u2014/~]|\b(?:to|until|till|bis|a|à|al|hasta)\b)\s*(?=\d)")
_CLOCK_RANGE: Final = re.compile(
    r"(.*?)(\d{1,2})(?:[:.h](\d\d))?(?::\d\d)?\s*[-\u2013]\s*(\d{1,2})(?:[:.h](\d\d))?(?::\d\d)?"
)
_FROM_TO: Final = Template(
    "guess.times.from_to",
    "the cells of '{column}' hold a beginning and an end, such as '{value}': write both in columns of their own, named "
    "'from' and 'to', and import the file again",
)
_DAY_OF_YEAR: Final = re.compile(
    r"^(?:doy|j(?:ulian)?[ _]?day|julian.*|day[ _]?of[ _]?(?:the[ _]?)?year|year[ _]?day|yday)", re.IGNORECASE
)
_OF_YEAR_DAYS: Final = re.compile(r"y{2,4}[ _-]?d{3}|jul|doy|jday", re.IGNORECASE)  # names of columns of YYDDD
_DAY_MINUTES: Final = 24  # an hhmm beyond it is no number of hours
_DAY_NUMBERS: Final = (
    (re.compile(r"mjd|mod\w*.?julian", re.IGNORECASE), MJD),
    (re.compile(r"datenum|matlab", re.IGNORECASE), DATENUM),
)
_BEGIN: Final = re.compile(
    r"(?<![^\W_])(?:begin\w*|start\w*|from|von|anfang|inizio|dal?|d[eé]but|desde|inicio)(?![^\W_])", re.IGNORECASE
)
_LATER: Final = re.compile(  # of what was done with a reading
    r"recei|upload|insert|creat|modif|updat|export|import|server|arriv|stored|processed|empfang|eingang|ricev|ricez|reçu|"
    r"r[eé]cept|recib",
    re.IGNORECASE,
)
_END: Final = re.compile(r"(?<![^\W_])(?:end\w*|stop\w*|to|until|bis|fine|al?|fin|hasta)(?![^\W_])", re.IGNORECASE)
YEAR_DAY: Final = "%y%j"  # 26060: the first of March 2026
_IN_DIGITS: Final = {
    5: (YEAR_DAY,),
    7: ("%Y%j",),
    8: ("%Y%m%d",),
    10: ("%Y%m%d%H", "%y%m%d%H%M"),
    11: ("%Y%j%H%M",),
    12: ("%Y%m%d%H%M",),
    13: ("%Y%j%H%M%S",),
    14: ("%Y%m%d%H%M%S",),
}
_EPOCHS: Final = (("s", 3e8, 4e9), ("ms", 3e11, 4e12), ("us", 3e14, 4e15), ("ns", 7e17, 4e18))
# below 7e17 ns, March 1992, lie the ticks of .NET and of Windows: 100 ns since the years 1 and 1601, in any zone
_SECONDS: Final = ("s", "ms", "us", "ns")
_CLOCK: Final = re.compile(r"time|zeit|uhr|(?<![a-z])ora(?![a-z])|heure|hora|hour|hhmm|时间", re.IGNORECASE)
_HOUR: Final = re.compile(r"hour|stunde|heure|(?<![a-z])(?:hh|hr|std|ore?|hora)(?![a-z])", re.IGNORECASE)
_CLOCK_ALONE: Final = re.compile(
    r"(?:(?:clock[ _]?)?time|clock|(?:uhr)?zeit|ora|heure|hora|hours?|stunden?|hh?mm(?:ss)?|时间)"
    r"(?:[ _]?\W?(?:h|hr|hh?mm(?:ss)?|utc)\W?)?",
    re.IGNORECASE,
)
_OF_HOURS: Final = re.compile(r"hour|stunde", re.IGNORECASE)  # 13.50 of them is half past one
_HOURS: Final = re.compile(r"\d{1,2} ?[:hH] ?\d{2}(?!\d)")
_UTC: Final = re.compile(r"(?<![A-Za-z])(?:TZ)?(?:UTC|GMT)(?![A-Za-z])(?:\s*([+-])\s*(\d{1,2})(?::?(\d{2}))?)?")
_STAMP: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}$")  # a date as a workbook gives it
_ISO: Final = re.compile(r"\d{4}-\d\d-\d\d[T ]")
_OFFSET: Final = re.compile(r":\d\d(?:[.,]\d+)?( ?)[+-]\d\d:?\d\d$")
_MIDNIGHT: Final = re.compile(r"[T ]%H:%M(?::%S)?(?:\.%f)?$")  # of forms; the clock stands in a column of its own
_DIRECTIVE: Final = re.compile(r"%(.)")
_OF_LETTERS: Final = "bp"  # directives that stand for a word; all others here stand for digits
_ZONE: Final = re.compile(r"(?<=\d) ?(UTC|GMT|Z|MEZ|CET)$")
_WINTER: Final = re.compile(r"(?<![A-Za-z])(?:MEZ|CET)(?![A-Za-z])")
_OPEN: Final = re.compile(  # what turns a zone beside it: summer time, a distance, a denial, an instant of its own
    r"(?<![^\W_])(?:MESZ|CEST|BST|DST|daylight|summer|sommer\w*|été|estiv[ao]|legale|verano|offset|diff\w*|plus|minus|"
    r"not|non|nicht|kein\w*)(?![^\W_])|\d{1,4}[-./]\d{1,2}[-./]\d{2,4}",
    re.IGNORECASE,
)
_OF_ZONE: Final = re.compile(r"(?<![^\W\d_])(?:tz|zone|utc|gmt|fus[oe]|huso|zona)|zone(?![^\W\d_])", re.IGNORECASE)
_ZONE_CELL: Final = re.compile(r"(?:UTC|GMT) ?[+-]\d{1,2}(?::?\d\d)?|[+-]\d\d:\d\d")
_ZONE_TERM: Final = re.compile(
    r"Z|[+-]\d{1,2}(?:\d\d)?|[A-Z]{3,4}"
)  # where the column is called a zone: -10 is a number
_POWER: Final = re.compile(r"\d[.,]?(\d*)[eE]\+?\d+")
_POWER_LEAST: Final = 7  # digits behind the mark that leave no more than minutes open
_ZONES_MOST: Final = 4  # of one column: winter and summer time, of two countries at most
_DASHES: Final = str.maketrans("\u2212\u2013", "--")


_PLAIN: Final = TimeRule(("time",))


@dataclass(frozen=True, slots=True)
class Times:
    """How the time stands in a table; `rivals`: forms that explain the same cells otherwise."""

    rule: TimeRule
    rivals: tuple[str, ...] = ()
    has_zone: bool = False
    zone: str | None = None  # that the file itself names
    parsed: tuple[datetime, ...] = ()


def _know(rule: TimeRule, rivals: Sequence[str], parsed: Sequence[datetime]) -> Times:
    """Where some cells have an offset and some not, the zone of the others is open: all are compared by their clock."""
    has_zone = all(at.tzinfo is not None for at in parsed)
    clocks = parsed if has_zone else [at.replace(tzinfo=None) for at in parsed]
    rule = replace(rule, clock="") if has_zone else rule
    return Times(rule, tuple(rivals), has_zone, None, tuple(clocks))


def find_times(table: RawTable) -> Times | None:
    """The column of the time, or those of date and clock; None where no column is one."""
    ranges = [name for name in table.names if _holds_ranges(table, name)]
    plain = [name for name in table.names if name not in ranges]
    found = [t for name in plain if (t := _read_column(table, name, None)) is not None]
    if ranges and (not found or all(_are_days(times) for times in found)):
        value = str(table.list_cells(ranges[0])[0])[:60]
        text = _FROM_TO(column=table.title(ranges[0]), value=value)
        raise ConfigError(LABELLED_TEXT(name=str(table.path), text=text))
    if not found:  # times of another era: days that no common year has
        ways = (_read_column(table, n, TimeRule((n,), era=BUDDHIST)) for n in table.names)
        found = [t for t in ways if t is not None and (t.rule.format == "iso" or "%" in t.rule.format)]
    if not found:
        joined = _join_parts(table)
        return joined and _require_clock(table, joined)
    best = _prefer_end(table, _choose_column(table, found), found)
    _refuse_own_times(table, best, found)
    if _are_days(best):
        best = _join_half(table, _require_clock(table, _join_clock(table, best) or best))
    best = _join_zone(table, best)
    # what another column of times says is of that one
    others = [n for n in table.names if n not in {t.rule.column for t in found}]
    texts = (*map(table.title, best.rule.columns), *table.above, *map(table.title, others))
    return replace(best, zone=best.zone or _find_zone(texts))


def _holds_ranges(table: RawTable, name: str) -> bool:
    """Whether most cells of a column hold a beginning and an end: two whole times, or two clocks behind one another.

    A clock may be followed by its distance from UTC, as in 2026-03-01 10:00-05:00. A column has few such distances, and
    its ends move with its beginnings.
    """
    texts = [str(cell).strip() for cell in table.list_cells(name)[:TRIED]]
    if not texts:
        return False
    if sum(map(_holds_two_dates, texts)) >= FITS_TIMED * len(texts):
        return True
    clocks = [
        match for text in texts if (match := _CLOCK_RANGE.fullmatch(text)) and _is_clock_range(match, table, name)
    ]
    if len(clocks) < FITS_TIMED * len(texts):
        return False
    begins = [60 * int(match[2]) + int(match[3] or 0) for match in clocks]
    ends = [60 * int(match[4]) + int(match[5] or 0) for match in clocks]
    lengths = {(end - begin) % (24 * 60) for begin, end in zip(begins, ends, strict=True)}
    return len(lengths) <= 2 and 0 not in lengths and len(set(begins)) > 1 and len(set(ends)) > 1


def _holds_two_dates(text: str) -> bool:
    """Whether a text is two whole dates, each with a clock or without one, and a word or a mark between them."""
    splits = ((text[: match.start()], text[match.end() :]) for match in _BETWEEN_TIMES.finditer(text))
    return any(_is_dated(first) and _is_dated(second) for first, second in splits)


def _is_dated(text: str) -> bool:
    """Whether a text begins with a whole date, of three parts."""
    return is_time(text) and re.match(r"\d{1,4}[-./ ]?(?:\d{1,2}|[^\W\d_]{3,9}\.?)[-./ ]?\d{1,4}", text) is not None


def _is_clock_range(match: re.Match[str], table: RawTable, name: str) -> bool:
    """Whether a text is a range of clocks behind a date or nothing; two whole hours only where the column says time."""
    if match[1].strip() and not _is_dated(match[1].strip(" T,")):
        return False
    has_minutes = match[3] is not None and match[5] is not None
    is_named = _CLOCK.search(table.title(name)) is not None or _HOUR.search(table.title(name)) is not None
    return has_minutes or (is_named and not match[1])


def _choose_column(table: RawTable, found: Sequence[Times]) -> Times:
    """The likeliest of several: it changes, is not of a later step, is called a time, says its zone, or comes first."""

    def rank(times: Times) -> tuple[bool, bool, bool, bool, int]:
        column = times.rule.column
        runs = len(set(times.parsed)) > 1  # the day when an instrument was set up is no time of a reading
        zoned = _find_zone([table.title(column)]) is not None
        is_first = _LATER.search(table.title(column)) is None
        return runs, is_first, _is_named(table, column), zoned, -table.names.index(column)

    return max(found, key=rank)


def _are_days(times: Times) -> bool:
    return bool(times.parsed) and all(at.time() == datetime.min.time() for at in times.parsed)


def _require_clock(table: RawTable, times: Times) -> Times:
    """The times; raises ConfigError where they are days, and the clock that stands beside them cannot be read."""
    if _are_days(times) and (clock := _find_clock(table, times)) is not None:
        date, clock_title = table.title(times.rule.columns[0]), table.title(clock)
        if len(times.parsed) < FITS * len(table.list_cells(clock)):
            raise ConfigError(LABELLED_TEXT(name=str(table.path), text=_LEFT_BLANK(column=date, clock=clock_title)))
        raise ConfigError(LABELLED_TEXT(name=str(table.path), text=_ODD_CLOCK(column=table.title(clock))))
    return times


def _join_half(table: RawTable, times: Times) -> Times:
    """A date and a clock of half a day with the column that says which half it is."""
    for name in table.names if len(times.rule.columns) == 2 and "%H:" in times.rule.format else ():
        cells = [str(c) for c in table.columns[name]]
        if cells and all(c.upper() in {"AM", "PM"} for c in cells):
            rule = replace(times.rule, columns=(*times.rule.columns, name))
            forms = [f"{form.replace('%H', '%I')} %p" for form in (times.rule.format, *times.rivals)]
            return _choose(rule, [normalise_time(text) for text in _join_cells(table, rule.columns)], forms) or times
    return times


def _join_zone(table: RawTable, times: Times) -> Times:
    """The times with a column that says of each row in which zone it counts, where they do not say it themselves."""
    for name in table.names if not (times.has_zone or times.zone or _are_days(times)) else ():
        texts = [str(cell).strip() for cell in table.columns[name]]
        kinds = set(texts)
        is_called = _OF_ZONE.search(table.title(name)) is not None
        if len(kinds) <= _ZONES_MOST and all(_ZONE_CELL.fullmatch(t) or (is_called and _is_zone(t)) for t in kinds):
            rule = replace(times.rule, columns=(*times.rule.columns, name))
            found = _read_texts(rule, [normalise_time(text) for text in _join_cells(table, rule.columns)])
            if found is not None and (found.has_zone or found.zone) and len(found.parsed) == len(times.parsed):
                return found
    return times


def _is_zone(text: str) -> bool:
    return _ZONE_TERM.fullmatch(text) is not None and (not text.isalpha() or text in {"Z", name_zone(f" {text}")})


def _prefer_end(table: RawTable, best: Times, found: Sequence[Times]) -> Times:
    """The end of each interval, where begin and end stand there: what is summed up over it counts from its end."""
    if not _BEGIN.search(table.title(best.rule.column)):
        return best
    ends = [
        other
        for other in found
        if other is not best
        and _END.search(table.title(other.rule.column))
        and len(other.parsed) == len(best.parsed)
        and other.has_zone == best.has_zone
        and all(b < e for b, e in zip(best.parsed, other.parsed, strict=True))
    ]
    return ends[0] if len(ends) == 1 else best


def _refuse_own_times(table: RawTable, best: Times, found: Sequence[Times]) -> None:
    """Refuse columns that have times of their own beside them, under the name of the first; raises ConfigError."""
    first = table.names.index(best.rule.column)
    for other in found:
        column = other.rule.column
        between = table.names[first + 1 : table.names.index(column)]
        is_alike = _name_alike(table.title(column)) == _name_alike(table.title(best.rule.column))
        if (
            is_alike
            and other.parsed != best.parsed
            and any(_float(str(c)) for n in between for c in table.columns[n][:1])
        ):
            raise ConfigError(LABELLED_TEXT(name=str(table.path), text=_OWN_TIMES(column=table.title(column))))


def _name_alike(title: str) -> str:
    """A name without what tells it from another of its kind: a number, a letter, or what stands in brackets."""
    return re.sub(r"(?:[\W_]+\w{0,2}|\d+)$", "", _BRACKETED.sub("", title).strip()).casefold()


def describe_untimed(table: RawTable) -> Message:
    """That there is no time, and what the column that is called a time looks like."""
    for name in table.names:
        cells = [str(c) for c in table.list_cells(name)]
        if not cells or not _is_named(table, name):
            continue
        # of a workbook: dates among texts, where a spreadsheet may have exchanged day and month; ##### is too narrow
        odd = next((c for c in cells if not is_time(c)), next((c for c in cells if not _STAMP.match(c)), ""))
        shapes = Counter(_shape(c) for c in cells)
        odd = odd if odd and _shape(odd) != shapes.most_common(1)[0][0] else min(cells, key=lambda c: shapes[_shape(c)])
        return _UNKNOWN_FORM(column=table.title(name), value=odd[:40])
    return _NO_TIME(names=NameList(table.names))


def _is_named(table: RawTable, column: str) -> bool:
    return TIME_COLUMN_NAME.search(table.title(column)) is not None


def _read_column(table: RawTable, name: str, how: TimeRule | None) -> Times | None:
    cells = table.list_cells(name)
    if not cells:
        return None
    how = _believe(table, name) if how is None else replace(how, columns=(name,))
    if isinstance(cells[0], datetime):
        return _know(how, (), [how.read_naive(c) for c in cells if isinstance(c, datetime)])
    texts = [str(c) for c in cells]
    if all(_float(t) is not None for t in texts[:20]):
        return _read_numbers(how, texts, table)
    texts = [normalise_time(text) for text in texts]
    plain = [drop_weekday(text) for text in texts]
    if any(a == b for a, b in zip(plain[:TRIED], texts, strict=False)):
        return _read_texts(how, texts)
    found = _read_texts(how, plain)
    forms = () if found is None else (found.rule.format, *found.rivals)
    return found and replace(
        found, rule=replace(found.rule, format=WEEKDAY + forms[0]), rivals=tuple(WEEKDAY + f for f in forms[1:])
    )


def _believe(table: RawTable, name: str) -> TimeRule:
    """What the words beside a column of times say of them, and a workbook of its day numbers."""
    title = table.title(name)
    hints = [title, table.notes.get(name, "")]
    clock = GPS if any(map(is_gps, hints)) and (TIME_COLUMN_NAME.search(title) or "gpst" in title.lower()) else ""
    return TimeRule((name,), since=table.day_zero, clock=clock, era=find_era((*hints, *table.above)))


def reread(table: RawTable, times: Times, **changes: Any) -> Times | None:
    """The same columns where their times count something else, such as another era; None where they cannot."""
    how = replace(times.rule, zone=None, **changes)
    found = _read_column(table, how.columns[0], how)
    if found is not None and len(how.columns) > 1:
        found = _join_clock(table, found)
    return found and replace(found, zone=times.zone)


def _read_texts(how: TimeRule, texts: Sequence[str]) -> Times | None:
    """Dates, with or without a clock and an offset or a zone."""
    how = replace(how, since=None)
    timed = [text for text in texts if ":" in text]
    if len(texts) > len(timed) >= FITS_TIMED * len(texts) and not _ISO.match(timed[0]):  # a midnight without its clock
        begin = " 00:00:00" if timed[0].count(":") > 1 else " 00:00"
        texts = [text if ":" in text else text + begin for text in texts]
    whole = [*(f"{d} {c}" for d in _DATES for c in _CLOCKS), *(f"{d}T{c}" for d in _DATES for c in _CLOCKS), *_OTHERS]
    if (after := _find_ending(texts)) is not None:
        ending, zone = after
        found = _choose(how, texts, [f"{form}{ending}" for form in whole])
        return found and replace(found, zone=zone)
    return _choose(how, texts, ["iso", *_DATES, *whole, *_MONTHS])


def _find_ending(texts: Sequence[str]) -> tuple[str, str | None] | None:
    """How a pattern ends where all times end in an offset or in the same zone, and that zone; None: they do not."""
    if all(_OFFSET.search(text) for text in texts[:TRIED]) and not all(_ISO.match(text) for text in texts[:TRIED]):
        return (" %z" if _OFFSET.search(texts[0])[1] else "%z"), None  # type: ignore[index]
    names = {name_zone(text) for text in texts}
    if "" not in names and (len(names) > 1 or not _ZONE.search(texts[0])):  # summer and winter time, row by row
        return (" %z" if texts[0].removesuffix(name_zone(texts[0])).endswith(" ") else "%z"), None
    ending = _ZONE.search(texts[0])
    if ending is None or not all(text.endswith(ending[0]) for text in texts[:TRIED]):
        return None
    if ending[0] == "Z" and all(_ISO.match(text) for text in texts[:TRIED]):
        return None  # ISO 8601 as it is
    return ending[0], _find_zone([ending[0].replace("Z", "UTC") if ending[1] == "Z" else ending[0]])


def _choose(how: TimeRule, texts: Sequence[str], forms: Iterable[str]) -> Times | None:
    """The form that explains nearly all cells, with those that explain them as well and mean other days."""
    few = [*texts[:: max(1, len(texts) // TRIED)]]
    first = few[:: max(1, len(few) // GLANCED)]
    fitting = [f for f in forms if _share(first, f, how) >= 0.5 and _is_most(len(_parse(few, f, how)), few)]
    whole = [(form, _parse(texts, form, how)) for form in fitting]
    most = max((len(parsed) for _, parsed in whole), default=0)
    if not whole or not _is_most(most, texts):
        return None
    whole = [(form, parsed) for form, parsed in whole if len(parsed) == most]
    # a record runs forward in even steps; the wrong order of day and month makes it jump
    ranked = sorted(whole, key=lambda item: measure_disorder(item[1]))
    clocks = {f: [one.replace(tzinfo=None) for one in at] for f, at in ranked}
    least_odd = measure_disorder(ranked[0][1])
    alike = [(f, at, max(clocks[f]) - min(clocks[f])) for f, at in ranked if measure_disorder(at) <= least_odd]
    # where the years ran from row to row and the days stood still, the order of the two was taken for the other
    least = min(span for _, _, span in alike)
    alike = [one for one in alike if one[2] <= _SPAN_MOST * least]
    form, parsed, _ = alike[0]
    rivals = [f for f, other, _ in alike[1:] if other != parsed]
    return _know(replace(how, format=form), rivals, parsed)


def _is_most(count: int, texts: Sequence[str]) -> bool:
    """Whether a form explains a column, but for a few cells that are no times."""
    return count >= min(FITS * len(texts), max(len(texts) - STRAY, 0.8 * len(texts)))


def _join_clock(table: RawTable, day: Times) -> Times | None:
    date = day.rule.columns[0]
    dates = {_MIDNIGHT.sub("", "%Y-%m-%d" if f == "iso" else f) for f in (day.rule.format, *day.rivals)}
    for name in table.names:
        cells = [str(c) for c in table.list_cells(name)]
        if name == date or len(cells) < FITS * len(day.parsed):
            continue
        numeric = sum(_float(c) is not None for c in cells[:50]) >= FITS * len(cells[:50])
        if not (clocks := _list_clocks(table.title(name), cells) if numeric else _CLOCKS):
            continue
        texts = [
            normalise_time(join_parts((d, c)))
            for d, c in zip(table.columns[date], table.columns[name], strict=True)
            if d is not None and c is not None
        ]
        days = [form for form in sorted(dates) if "%H" not in form]
        rule = replace(day.rule, columns=(date, name))
        if numeric and len(set(day.parsed)) == 1:
            joined = _choose_one_day(rule, texts, days, _list_one_day_clocks(table.title(name), cells, clocks))
        else:
            joined = _choose(rule, texts, [f"{d} {c}" for d in days for c in clocks])
        if joined is not None and (not numeric or len({at.time() for at in joined.parsed}) > 1):
            return joined
    return None


def _list_one_day_clocks(title: str, cells: Sequence[str], clocks: Sequence[str]) -> list[str]:
    """The clocks that the digits beside one single date may be.

    Several dates tell hhmm from hhmmss, because the nights must fit. On one date 0, 10, ... 50, 100 fits both. Leading
    zeros or the name of the column decide, else a person.
    """
    if not all(cell.isdigit() for cell in cells):
        return list(clocks)
    named = [form for form, name in _DIGIT_CLOCKS.items() if name in title.casefold()]
    longest = max(len(cell) for cell in cells)
    if longest > len("hhmm"):
        return ["%H%M%S"]
    if "%H%M%S" in named:
        return ["%H%M%S"]
    if "%H%M" in named or (longest > len("hh") and any(cell.startswith("0") and len(cell) > 1 for cell in cells)):
        return ["%H%M"]
    if max(int(cell) for cell in cells) > _DAY_MINUTES:
        return ["%H%M", "%H%M%S"]
    steps = {int(b) - int(a) for a, b in pairwise(cells)}
    is_whole_day = steps == {1} and int(cells[-1]) >= _DAY_MINUTES - 1
    return ["%H"] if _HOUR.search(title) or is_whole_day or len(cells) == 1 else ["%H", "%H%M"]


def _choose_one_day(how: TimeRule, texts: Sequence[str], days: Sequence[str], clocks: Sequence[str]) -> Times | None:
    """A date and a clock of digits; clocks that explain the cells as well become rivals."""
    chosen = [found for clock in clocks if (found := _choose(how, texts, [f"{d} {clock}" for d in days])) is not None]
    if not chosen:
        return None
    fewest_back = min(measure_disorder(found.parsed)[0] for found in chosen)
    best, *others = [found for found in chosen if measure_disorder(found.parsed)[0] == fewest_back]
    forms = [form for found in others for form in (found.rule.format, *found.rivals)]
    return replace(best, rivals=(*best.rivals, *forms))


def list_rival_clocks(times: Times) -> list[str]:
    """The clocks of digits that the times may have, as people call them; none where there is no doubt."""
    names = [_DIGIT_CLOCKS.get(form.rpartition(" ")[2]) for form in (times.rule.format, *times.rivals)]
    known = [name for name in dict.fromkeys(names) if name is not None]
    return known if len(known) > 1 else []


def keep_clock(table: RawTable, times: Times, name: str) -> Times:
    """The times with the clock of digits that has a name."""
    forms = (times.rule.format, *times.rivals)
    kept = [form for form in forms if _DIGIT_CLOCKS.get(form.rpartition(" ")[2]) == name]
    texts = [normalise_time(text) for text in _join_cells(table, times.rule.columns)]
    found = _choose(times.rule, texts, kept)
    return times if found is None else replace(found, zone=times.zone)


def _list_clocks(title: str, cells: Sequence[str]) -> tuple[str, ...]:
    """The forms that numbers beside a date may have as a clock; none where the column is not called one."""
    if not (_CLOCK.search(title) or _HOUR.search(title)):
        return ()
    if all(c.isdigit() and int(c) <= _DAY_MINUTES for c in cells):
        return ("%H",)
    return _NUMERIC_CLOCKS[bool(_OF_HOURS.search(title)) :]


def _find_clock(table: RawTable, day: Times) -> str | None:
    """A column of clock times beside dates that did not go with them: without it all times of a day would be one."""
    for name in table.names:
        cells = [str(c) for c in table.list_cells(name)]
        is_clock = _CLOCK_ALONE.fullmatch(table.title(name)) is not None and len(set(cells)) > 1
        if name in day.rule.columns or not cells:
            continue
        if is_clock or sum(bool(_HOURS.match(c)) for c in cells) >= 0.8 * len(cells):
            return name
    return None


def _join_parts(table: RawTable) -> Times | None:
    """Year, month, day and clock in columns of their own, or year, day of the year and hhmm as loggers write it."""
    numbers = {name: _read_whole(table, name) for name in table.names}
    for at, name in enumerate(table.names):
        years = numbers[name]
        if not years or not all(1950 <= y <= 2100 for y in years) or years != sorted(years):
            continue
        ahead = _list_parts(table, at, numbers)
        parts = _DAY_PARTS if ahead and _DAY_OF_YEAR.match(table.title(ahead[0])) else _PARTS
        for count in range(min(len(ahead), len(parts) - 1), 1, -1):
            columns = (name, *ahead[:count])
            if parts is _DAY_PARTS and count == 2 and max(numbers[ahead[1]]) > _DAY_MINUTES:
                break  # 1230 is no hour
            form = " ".join(parts[: count + 1])
            form = form if numbers[ahead[count - 1]] else f"{form}.%f"
            times = _choose(TimeRule(columns), _join_cells(table, columns), [form])
            if times is not None and _runs(times.parsed):
                return times
        rule = TimeRule((name, *ahead[:2]), YEAR_DAY_HHMM)
        if len(ahead) >= 2 and (parsed := _read_rule(table, rule)) and _runs(parsed):
            return Times(rule, (), has_zone=False, zone=None, parsed=parsed)
    return None


def _list_parts(table: RawTable, at: int, numbers: Mapping[str, Sequence[int]]) -> list[str]:
    """The columns of whole numbers behind that of the year which may be parts of the time."""
    count, ahead = len(numbers[table.names[at]]), list[str]()
    for name in table.names[at + 1 : at + 6]:
        title = table.title(name)
        is_whole = _OF_SECONDS.match(title) is not None or len(numbers[name]) == count  # seconds may have a fraction
        if not is_whole or (len(ahead) > 1 and not _OF_CLOCK.match(title)):
            break
        ahead.append(name)
    return ahead


def _read_whole(table: RawTable, name: str) -> list[int]:
    try:
        return [int(str(cell)) for cell in table.columns[name]]
    except ValueError:
        return []


def _join_cells(table: RawTable, columns: Sequence[str]) -> list[str]:
    return [" ".join(str(c).strip() for c in row) for row in zip(*(table.columns[n] for n in columns), strict=True)]


def _read_rule(table: RawTable, rule: TimeRule) -> tuple[datetime, ...]:
    found = []
    for row in zip(*(table.columns[n] for n in rule.columns), strict=True):
        try:
            found.append(rule.read_parts([str(cell).strip() for cell in row]))
        except PayloadError:
            continue
    return tuple(found) if len(found) >= FITS * table.rows else ()


def _runs(times: Sequence[datetime]) -> bool:
    """Whether times run forward; a midnight behind the other rows of its day is refused later, with its reason."""
    back = sum(b < a and b != datetime.combine(a, datetime.min.time()) for a, b in pairwise(times))
    return back <= 0.02 * len(times)


def _read_numbers(how: TimeRule, texts: Sequence[str], table: RawTable) -> Times | None:
    """Decimal years, seconds since 1970, day numbers, digits of a date, or what the words beside them say."""
    numbers = [n for t in texts if (n := _float(t)) is not None]
    if len(numbers) < FITS * len(texts) or sum(b < a for a, b in pairwise(numbers)) > 0.02 * len(numbers):
        return None  # a clock runs forward
    powers = [power for text in texts if (power := _POWER.fullmatch(text))]
    if powers and max(len(power[1]) for power in powers) < _POWER_LEAST:
        return None  # 1.76822E+12, as spreadsheets show a count of milliseconds: hours of it are lost
    if how.format in {*SECONDS_PER_UNIT, EXCEL, MJD, YEAR_DAY}:
        return _choose(how, texts, [how.format])  # a person says what it counts
    if (counted := _read_counts(how, texts, table)) is not None:
        return counted
    forms = _list_number_forms(table.title(how.column), numbers, texts)
    return _choose(replace(how, since=how.since if forms == [EXCEL] else None, clock=""), texts, forms)


def _list_number_forms(title: str, numbers: Sequence[float], texts: Sequence[str]) -> list[str]:
    """The forms of times that numbers may have by their size, their digits and the name of their column."""
    for pattern, form in _DAY_NUMBERS:
        if pattern.search(title):
            return [form]
    is_named = TIME_COLUMN_NAME.search(title) is not None
    says_year_day = _OF_YEAR_DAYS.search(title) is not None
    low, high, whole = min(numbers), max(numbers), all(n == int(n) for n in numbers)
    forms = [YEAR] if low >= 1900 and high <= 2100 and not whole else []
    forms += [form for form, least, most in _EPOCHS if least <= low and high <= most]
    # digits that are a day of the calendar in every row count nothing: most numbers are no such day
    if whole and all(t.isdigit() for t in texts[:50]) and (is_named or says_year_day or len(texts[0]) > 7):
        forms = _list_digit_forms(texts) or forms
        if says_year_day and forms == [YEAR_DAY]:
            return forms
    return [*forms, EXCEL] if low >= 20_000 and high <= 80_000 and is_named else forms


def _list_digit_forms(texts: Sequence[str]) -> list[str]:
    """The forms by which nearly all texts of digits are days of the calendar."""
    read = {form: _parse(texts, form) for form in _IN_DIGITS.get(len(texts[0]), ())}
    fitting = [form for form, at in read.items() if len(at) >= FITS * len(texts) and min(at).year >= 1950]
    latest = datetime.now(UTC).replace(tzinfo=None) + timedelta(days=366)
    # Five digits are mostly day numbers; years of two digits that lie ahead of now settle that they are.
    return [form for form in fitting if form != YEAR_DAY or max(read[form]) <= latest]


def _read_counts(how: TimeRule, texts: Sequence[str], table: RawTable) -> Times | None:
    """Numbers whose words name what they count from: `s since 2000-01-01`, `gps_seconds`, `sec_j2000`."""
    title = table.title(how.column)
    count = find_time_count(title) or find_time_count(table.notes.get(how.column, ""))
    if count is None or not (TIME_COLUMN_NAME.search(title) or count.unit in _SECONDS or "since" in title.lower()):
        return None  # the number of satellites, or a height that is named by a year
    units = [count.unit] if count.unit else ["d", "s", "ms", "us", "ns"]  # the longest that ends before now
    dated = [
        found
        for unit in units
        if (found := _choose(replace(how, since=count.since, clock=count.clock, era=""), texts, [unit])) is not None
    ]
    for one in dated:  # between 1950 and the year after next
        clocks = [at.replace(tzinfo=UTC) for at in one.parsed]
        if min(clocks) >= EARLIEST_TIME and max(clocks) <= datetime.now(UTC) + timedelta(days=366):
            return one
    return dated[0] if count.unit and dated else None


def _float(text: str) -> float | None:
    """A number; none where it is not finite, for no clock goes there."""
    try:
        number = float(text.replace(",", ".").replace("_", "x"))  # Python takes 1_0 for 10
    except ValueError:
        return None
    return number if isfinite(number) else None


def _parse(texts: Iterable[str], form: str, how: TimeRule = _PLAIN) -> list[datetime]:
    """What the form reads of the texts. It is asked only where the shapes agree: `strptime` compiles each form anew."""
    rule, found, shape = replace(how, format=form), [], _shape_of_form(form)
    for text in texts:
        if shape not in {None, _shape_of_text(text, named="%b" in form)}:
            continue
        try:
            found.append(rule.read_naive(text))
        except PayloadError:
            continue
    return found


@lru_cache(maxsize=1024)
def _shape_of_form(form: str) -> str | None:
    """The shape that all texts of a form have; None: it has none of its own.

    >>> _shape_of_form("%d. %b %Y %H:%M UTC"), _shape_of_form("%Y%m%d"), _shape_of_form("iso")
    ('0.a0:0a', '0', None)
    """
    if "%" not in form or "%z" in form:
        return None
    return _shape(_DIRECTIVE.sub(lambda found: "a" if found[1] in _OF_LETTERS else "0", form))


@lru_cache(maxsize=4096)
def _shape_of_text(text: str, *, named: bool) -> str:
    return _shape(translate_months(text) if named else text)


def _shape(text: str) -> str:
    """Digits in a row as one 0, letters in a row as one a, blanks left out: `strptime` wants more or fewer of none."""
    return re.sub(r"[^\W\d_]+", "a", re.sub(r"\d+", "0", re.sub(r"\s+", "", text)))


def _share(texts: Sequence[str], form: str, how: TimeRule) -> float:
    return len(_parse(texts, form, how)) / len(texts) if texts else 0.0


def measure_disorder(times: Sequence[datetime]) -> tuple[int, float]:
    """Steps back, and how uneven the steps are: small for the right reading of a record."""
    try:
        steps = [(b - a).total_seconds() for a, b in pairwise(times)]
    except TypeError:  # some cells have an offset and some not
        return len(times), 0.0
    if 2 * sum(s < 0 for s in steps) > len(steps):
        steps = [-s for s in steps]  # the newest first
    ahead = [s for s in steps if s > 0]
    usual = median(ahead) if ahead else 0.0
    uneven = sum(s > 3 * usual for s in ahead) if usual else 0
    return sum(s < 0 for s in steps), float(uneven)


def _find_zone(texts: Iterable[str]) -> str | None:
    """The zone that a file names itself; winter time of Central Europe is one hour ahead all year.

    A text that names two, or says anything else of it, leaves the zone to a person.

    >>> [_find_zone([text]) for text in ("Time (UTC\u22123)", "CET (UTC+1)", "MEZ/MESZ", "UTC offset: -5")]
    ['Etc/GMT+3', 'Etc/GMT-1', None, None]
    """
    for text in texts:
        found = {_name_zone(*match.groups()) for match in _UTC.finditer(text.translate(_DASHES))}
        found |= {"Etc/GMT-1"} if _WINTER.search(text) else set()
        if len(found) == 1 and None not in found and _OPEN.search(text) is None:
            return found.pop()
    return None


def _name_zone(sign: str | None, hours: str, minutes: str | None) -> str | None:
    """A zone so many hours from UTC; None where they are no whole ones."""
    if sign is None or int(hours) == 0:
        return "UTC"
    return None if minutes not in {None, "00"} else f"Etc/GMT{'-' if sign == '+' else '+'}{int(hours)}"  # POSIX: west


def names_dates_alone(table: RawTable, times: Times) -> bool:
    """Whether the times are dates without a time of the day; a workbook keeps a date as its midnight."""
    form = times.rule.format.removeprefix(WEEKDAY)
    if not _are_days(times) or form in SECONDS_PER_UNIT or form in {YEAR, YEAR_DAY_HHMM} or times.rule.clock:
        return False
    if any(part in form for part in ("%H", "%I")):
        return False
    cells = table.list_cells(times.rule.columns[0])
    if any(isinstance(cell, datetime) for cell in cells):
        return False
    return all(":" not in str(cell) or _STAMP.match(str(cell)) for cell in cells)


def names_months(times: Times) -> bool:
    """Whether the times are months without a day."""
    return times.rule.format in _MONTHS


def describe_gaps(times: Sequence[datetime]) -> tuple[timedelta | None, int, timedelta | None]:
    """Usual step, how many steps are over three times as long, and the longest of them."""
    steps = [(b - a).total_seconds() for a, b in pairwise(sorted(set(times)))]
    if not steps:
        return None, 0, None
    usual = median(steps)
    gaps = [s for s in steps if s > 3 * usual]
    return timedelta(seconds=usual), len(gaps), timedelta(seconds=max(gaps)) if gaps else None
