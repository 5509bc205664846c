"""Cells that contain the begin and the end of an interval."""

import re
from typing import Final

from monitor.api.ingest import compile_alternatives, is_time
from monitor.features.table_import.guess.raw_table import RawTable
from monitor.features.table_import.guess.time_candidates import FITS_TIMED, TRIED_CELLS
from monitor.features.table_import.guess.time_forms import has_word, list_patterns

_BETWEEN: Final = re.compile(
    rf"(?<=\d)\s*(?:[-\u2013\u2014/~]|\b(?:{compile_alternatives(list_patterns('between'))})\b)\s*(?=\d)"
)
_CLOCKS: Final = re.compile(
    r"(.*?)(\d{1,2})(?:[:.h](\d\d))?(?::\d\d)?\s*[-\u2013]\s*(\d{1,2})(?:[:.h](\d\d))?(?::\d\d)?"
)
_WHOLE_DATE: Final = re.compile(r"\d{1,4}[-./ ]?(?:\d{1,2}|[^\W\d_]{3,9}\.?)[-./ ]?\d{1,4}")
_DAY_MIN: Final = 24 * 60


def contains_ranges(table: RawTable, name: str) -> bool:
    """Return whether most cells of a column contain a begin and an end: two whole times, or a date and two clocks.

    A clock may be followed by its offset, as in 2026-03-01 10:00-05:00. A column has few different offsets, but the
    ends of intervals move with their begins.
    """
    texts = [str(cell).strip() for cell in table.list_cells(name)[:TRIED_CELLS]]
    if not texts:
        return False
    if sum(map(_contains_two_dates, texts)) >= FITS_TIMED * len(texts):
        return True
    is_clock = has_word(table.heading(name), "clock") or has_word(table.heading(name), "hour")
    matches = [_CLOCKS.fullmatch(text) for text in texts]
    clocks = [match for match in matches if match is not None and _are_clocks(match, is_clock=is_clock)]
    if len(clocks) < FITS_TIMED * len(texts):
        return False
    begins = [60 * int(match[2]) + int(match[3] or 0) for match in clocks]
    ends = [60 * int(match[4]) + int(match[5] or 0) for match in clocks]
    lengths = {(end - begin) % _DAY_MIN for begin, end in zip(begins, ends, strict=True)}
    return len(lengths) <= 2 and 0 not in lengths and len(set(begins)) > 1 and len(set(ends)) > 1


def _contains_two_dates(text: str) -> bool:
    """Return whether a text is two whole dates with a word or a mark between them, each with a clock or without one."""
    splits = ((text[: mark.start()], text[mark.end() :]) for mark in _BETWEEN.finditer(text))
    return any(_begins_with_date(first) and _begins_with_date(second) for first, second in splits)


def _begins_with_date(text: str) -> bool:
    return is_time(text) and _WHOLE_DATE.match(text) is not None


def _are_clocks(match: re.Match[str], *, is_clock: bool) -> bool:
    """Return whether a text is two clocks behind a date or nothing; two whole hours only in a column of clocks."""
    before = match[1].strip(" T,")
    if before and not _begins_with_date(before):
        return False
    has_minutes = match[3] is not None and match[5] is not None
    return has_minutes or (is_clock and not match[1])
