"""Recognise the content of a cell: a number or a time in any convention, or a word for a missing value."""

import re
import unicodedata
from typing import Any, Final

from monitor.readings.no_value import is_no_value

DIGITS: Final = r"'?[+\-\u2212\u2013]?(?:\d[\d.,'\u2019\u00a0\u202f ]*|[.,]\d+)"
_NUMBER: Final = re.compile(DIGITS + r"(?:[eEdD][+-]?\d+|(?<=\d)[-\u2212])?")
_IN_FIGURES: Final = (
    r"\d{1,4}[-./]\d{1,2}(?:[-./]\d{1,4})?(?:,?[Tt\s].*)?|\d{4}年\d{1,2}月\d{1,2}日.*|\d{1,2}[:h]\d{2}(?::\d{2}(?:[.,]\d+)?[^,;|]*)?"
    r"(?:\s?[AaPp]\.?\s?[Mm]\.?)?|\d{8}[Tt\s]\d{1,2}:\d{2}.*"
)
_BY_NAME: Final = (  # of the month
    r"(?:\d{1,2}|\d{4})[-./]? ?[^\W\d_]{3,10}\.?[-./]? ?\d{1,4}.*|"
    r"[^\W\d_]{3,10}\.? \d{1,2},? \d{4}.*|[^\W\d_]{3,10}\.?[- ]\d{2,4}"
)
_TIME: Final = re.compile(f"{_IN_FIGURES}|{_BY_NAME}")
_DASHES: Final = str.maketrans("\u2212\u2013", "--")  # a minus as word processors and spreadsheets write it
_BEHIND: Final = re.compile(r"([.,'\u2019\d\u00a0\u202f ]*\d[.,]?)-")
_FORTRAN: Final = re.compile(r"(?<=[\d.,])[dD](?=[+-]?\d+$)")


def is_number(text: str) -> bool:
    """Return whether a text is a number in any convention.

    >>> [is_number(text) for text in ("-1.5", "1,5", "1.5D+03", "0.45-", "5 m", "2026-01-12")]
    [True, True, True, True, False, False]
    """
    return _NUMBER.fullmatch(text) is not None


def is_time(text: str) -> bool:
    """Return whether a text may be a date, a time of day or both."""
    return _TIME.fullmatch(text) is not None


def is_plain(text: str) -> bool:
    """Return whether a text is a number, a time or a word for a missing value, and so no name."""
    return is_no_value(text) or is_number(text) or is_time(text)


def is_nameless(cell: Any) -> bool:
    """Return whether a cell of a column of names is empty, an error of a spreadsheet, or without a letter or digit.

    Words such as NA, null and inf mean a missing value among numbers. Among names they are names.

    >>> [is_nameless(cell) for cell in (None, float("nan"), " ", "#N/A", "--", "NA", "null", "P1")]
    [True, True, True, True, True, False, False, False]
    """
    if not isinstance(cell, str):
        return is_no_value(cell)
    text = cell.strip()
    return not text or (is_no_value(text) and (text.startswith("#") or not any(map(str.isalnum, text))))


def write_digits(text: str) -> str:
    """Return a text with the decimal digits of any script as 0 to 9.

    >>> write_digits("٣.٠٠٣"), write_digits("２０２６-01")
    ('3.003', '2026-01')
    """
    if text.isascii():
        return text
    return "".join(str(unicodedata.decimal(sign)) if sign.isdecimal() else sign for sign in text)


def normalise_number(cell: Any) -> Any:
    r"""Return a number with digits, minus and exponent as Python reads them, and any other cell unchanged.

    >>> [normalise_number(cell) for cell in ("1.5D+03", "0.45-", " \u22122,5", "Dam-", 3, "٣,٥", "'-2.5")]
    ['1.5E+03', '-0.45', '-2,5', 'Dam-', 3, '3,5', '-2.5']
    """
    if not isinstance(cell, str):
        return cell
    # Exports write an apostrophe before a minus to prevent a formula.
    text = write_digits(cell.strip()).removeprefix("'")
    if text[:1] in "\u2212\u2013" or text[-1:] in "-\u2212\u2013":
        text = text.translate(_DASHES)
        behind = _BEHIND.fullmatch(text)
        text = text if behind is None else f"-{behind[1]}"
    return _FORTRAN.sub("E", text) if text != cell or "d" in text.lower() else cell
