"""Forms in which tables write times, from `time_forms.toml`, and how cells are compared with a form."""

import re
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Final

from monitor.api.errors import PayloadError
from monitor.api.ingest import TimeRule, translate_months

_FILE: Final = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
DATE_FORMS: Final = tuple(_FILE["dates"])
CLOCK_FORMS: Final = tuple(_FILE["clocks"])
NUMERIC_CLOCK_FORMS: Final = tuple(_FILE["numeric_clocks"])
MONTH_FORMS: Final = tuple(_FILE["months"])
TIMED_FORMS: Final = (
    *(f"{date} {clock}" for date in DATE_FORMS for clock in CLOCK_FORMS),
    *(f"{date}T{clock}" for date in DATE_FORMS for clock in CLOCK_FORMS),
    *_FILE["whole"],
)
"""Forms of a date with a clock."""

DIGIT_CLOCKS: Final = {form: name for name, form in _FILE["digit_clocks"].items()}
"""Names of the clocks of digits, by their form."""

DIGIT_FORMS: Final = {int(digits): tuple(forms) for digits, forms in _FILE["digits"].items()}
"""Forms of dates in digits alone, by the number of digits."""

COUNTS_SINCE_1970: Final = tuple((unit, least, most) for unit, (least, most) in _FILE["counts_since_1970"].items())
"""Units of counts since 1970, each with its smallest and largest number."""

DAY_NUMBER_SIZES: Final = tuple((form, least, most) for form, (least, most) in _FILE["day_numbers"].items())
"""Formats of day numbers, each with its smallest and largest number."""

YEAR_DAY: Final = "%y%j"  # 26060: the first of March 2026
_WORKBOOK_DATE: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}$")
_DIRECTIVE: Final = re.compile(r"%(.)")
_DIRECTIVES_OF_LETTERS: Final = "bp"
_PLAIN: Final = TimeRule(("time",))


# ---- names of columns ------------------------------------------------------------------------------------------------


def is_heading(heading: str, kind: str) -> bool:
    """Return whether the whole heading of a column is a name of a kind, a key of `[headings]`.

    >>> is_heading("Julian_day", "day_of_year"), is_heading("m (mm)", "clock_part"), is_heading("MM", "clock_part")
    (True, False, True)
    """
    return _compile("headings", kind).fullmatch(heading.casefold().replace("_", " ").strip()) is not None


def has_word(text: str, kind: str) -> bool:
    """Return whether a text contains a word of a kind, a key of `[words]`.

    >>> has_word("Start time", "begin"), has_word("Startup", "begin"), has_word("restart", "begin")
    (True, True, False)
    """
    return any(map(_compile("words", kind).fullmatch, list_words(text)))


def list_patterns(kind: str) -> list[str]:
    """Return the words of a kind, a key of `[words]`, as they are in `time_forms.toml`."""
    return list(_FILE["words"][kind])


def list_words(text: str) -> list[str]:
    """Return the words of a text in lower case."""
    return [word.casefold() for word in re.findall(r"[^\W\d_]+", text)]


def is_clock_heading(heading: str) -> bool:
    """Return whether a column is named after the time of the day and nothing else.

    >>> [is_clock_heading(heading) for heading in ("Time", "Uhrzeit (hhmm)", "Time UTC", "Time of flight")]
    [True, True, True, False]
    """
    words = list_words(heading)
    if len(words) > 1 and has_word(words[-1], "clock_unit"):
        words.pop()
    return is_heading(" ".join(words), "clock_alone")


@lru_cache(maxsize=64)
def _compile(section: str, kind: str) -> re.Pattern[str]:
    names = (re.escape(name).replace(r"\*", ".*") for name in _FILE[section][kind])
    return re.compile("|".join(names))


# ---- cells -----------------------------------------------------------------------------------------------------------


def parse_times(texts: Iterable[str], form: str, rule: TimeRule = _PLAIN) -> list[datetime]:
    """Return the times of the cells that a form reads.

    `strptime` is slow, so cells of another shape than the form are not tried.

    Args:
        texts: The cells.
        form: The format of a `TimeRule`.
        rule: The rule whose format is replaced by `form`.
    """
    form_rule = replace(rule, format=form)
    form_shape = _find_form_shape(form)
    has_month_name = "%b" in form
    times = []
    for text in texts:
        if form_shape is not None:
            text_shape = _find_text_shape(text, has_month_name=has_month_name)
            can_match = text_shape.startswith(form_shape) if form.endswith("%z") else text_shape == form_shape
            if not can_match:
                continue
        try:
            times.append(form_rule.read_naive(text))
        except PayloadError:
            continue
    return times


@lru_cache(maxsize=1024)
def _find_form_shape(form: str) -> str | None:
    """Return the shape of all texts of a form, without the zone that ends it; None if they have several shapes.

    >>> _find_form_shape("%d. %b %Y %H:%M UTC"), _find_form_shape("%Y%m%d"), _find_form_shape("iso")
    ('0.a0:0a', '0', None)
    >>> _find_form_shape("%d.%m.%Y %H:%M %z")
    '0.0.0:0'
    """
    form = form.removesuffix("%z")
    if "%" not in form or "%z" in form:
        return None
    return find_shape(_DIRECTIVE.sub(lambda directive: "a" if directive[1] in _DIRECTIVES_OF_LETTERS else "0", form))


@lru_cache(maxsize=4096)
def _find_text_shape(text: str, *, has_month_name: bool) -> str:
    return find_shape(translate_months(text) if has_month_name else text)


def find_shape(text: str) -> str:
    """Return a text with one 0 for digits in a row and one a for letters in a row, without blanks.

    >>> find_shape("12. Mar 2026 8:30")
    '0.a0:0'
    """
    return re.sub(r"[^\W\d_]+", "a", re.sub(r"\d+", "0", re.sub(r"\s+", "", text)))


def is_workbook_date(text: str) -> bool:
    """Return whether a text is a time as workbooks are read: ISO 8601 with six decimals of a second."""
    return _WORKBOOK_DATE.match(text) is not None


def join_cells(columns: Sequence[Sequence[object]]) -> list[str]:
    """Return the cells of each row as one text."""
    return [" ".join(str(cell).strip() for cell in row) for row in zip(*columns, strict=True)]
