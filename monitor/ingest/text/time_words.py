"""The words of dates, times of the day, zones and counts of time, from `time_words.toml`."""

import re
import tomllib
import unicodedata
from collections.abc import Iterable
from datetime import UTC, datetime, time
from functools import lru_cache
from pathlib import Path
from typing import Final

_WORDS: Final = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
_MONTHS: Final[dict[str, list[str]]] = _WORDS["months"]
_WEEKDAYS: Final = tuple(name for names in _WORDS["weekdays"].values() for name in names)
MONTH_LETTERS_LEAST: Final = 3  # of an abbreviation

ZONES: Final[dict[str, int]] = _WORDS["zones"]
"""Hours ahead of UTC, by the abbreviation of a zone."""

COUNT_UNITS: Final = {word: unit for unit, words in _WORDS["count_units"].items() for word in words}
"""Keys of `SECONDS_PER_UNIT`, by the words for them."""

COUNT_ORIGINS: Final = tuple(
    (origin["at"].astimezone(UTC), tuple(origin["names"])) for origin in _WORDS["count_origins"]
)
"""Instants from which programs count, each with its names."""

BARE_ORIGIN_YEARS: Final[tuple[int, ...]] = tuple(_WORDS["bare_origins"]["years"])

WORDS_BEFORE_ORIGIN: Final = tuple(_WORDS["count_origins_after"]["words"])
"""Words before the instant from which a number counts."""

WORDS_BEFORE_CLOCK: Final = tuple(_WORDS["clocks"]["before"])
"""Words between a date and its time of the day."""

WORDS_AFTER_CLOCK: Final = tuple(_WORDS["clocks"]["after"])
"""Words behind a time of the day."""

UNSET_CLOCKS: Final = tuple(datetime.combine(day, time(), UTC) for day in _WORDS["unset_clocks"]["days"])
"""Instants from which clocks count that nobody set."""

BUDDHIST_YEARS_AHEAD: Final[int] = _WORDS["eras"]["buddhist"]["years_ahead"]


def compile_alternatives(words: Iterable[str]) -> str:
    """Return a regular expression that matches any of the words, the longest first."""
    return "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))


TIME_COLUMN_NAME: Final = re.compile(compile_alternatives(_WORDS["time_columns"]["parts"]), re.IGNORECASE)
"""Matches in the name of a column of times."""

BUDDHIST_WORDS: Final = re.compile(
    f"(?i:{compile_alternatives(_WORDS['eras']['buddhist']['parts'])})"
    f"|(?<![A-Za-z])(?:{compile_alternatives(_WORDS['eras']['buddhist']['abbreviations'])})(?![A-Za-z])"
)
"""Matches where a text names the Buddhist era."""


def compile_half_day(half: str) -> str:
    """Return a regular expression that matches the words for `AM` or `PM`.

    >>> re.fullmatch(compile_half_day("PM"), "p. m") is not None, re.fullmatch(compile_half_day("PM"), "du") is None
    (True, True)
    """
    patterns = [_allow_points(word) for word in _WORDS["half_days"][half]]
    patterns += [re.escape(word) for word in _WORDS["half_days_with_point"][half]]
    return "|".join(patterns)


def _allow_points(word: str) -> str:
    r"""Make the points of an abbreviation optional, each followed by a blank or not.

    >>> _allow_points("a.m.") == r"a\.? ?m\.?"
    True
    """
    inner, point, last = word.rpartition(".")
    if not point or last:
        return re.escape(word)
    return r"\.? ?".join(re.escape(part) for part in inner.split(".")) + r"\.?"


@lru_cache(maxsize=512)
def find_month(name: str) -> str:
    """Return the English abbreviation of a month; "" if the name is not that of one month.

    >>> [find_month(name) for name in ("Mrz", "févr", "août", "March", "Ju", "Juni")]
    ['Mar', 'Feb', 'Aug', 'Mar', '', 'Jun']
    """
    plain = _fold(name)
    if len(plain) < MONTH_LETTERS_LEAST:
        return ""
    months = [month for month, names in _MONTHS.items() if any(full.startswith(plain) for full in names)]
    return months[0] if len(months) == 1 else ""


@lru_cache(maxsize=512)
def is_weekday(name: str) -> bool:
    """Return whether a word is a weekday or its abbreviation."""
    plain = _fold(name)
    return len(plain) > 1 and any(weekday.startswith(plain) for weekday in _WEEKDAYS)


def _fold(name: str) -> str:
    """Return a word in lower case without accents."""
    return unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
