"""Recognise missing values in messages, files and sources: words, invalid numbers, and fill values.

A fill value is a number that an instrument or a program sends instead of a missing value, for example -9999. The same
number may also be a measurement. Therefore a number of the list is a fill value only if it lies far outside the other
readings of its series.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from math import isfinite
from typing import Any, Final

from monitor.text.names import split_table

# Flag of a fill value.
FILL: Final = "fill"
# Flag of a value that an instrument repeats after it reached the end of its scale.
AT_STOP: Final = "at_stop"
# Words for a missing value, in lower case.
WORDS: Final = frozenset(
    split_table("""
        ; -; --; ---; nan; nat; +nan; -nan; inf; m; missing; +inf;
        -inf; infinity; +infinity; -infinity; na; n/a; n.a.; nd; n.d.; k.a.; s/d; null; none; undefined; #n/a; #nv;
        #n/d; #value!; #wert!; #div/0!; #ref!; #num!; #name?
    """)
)
# Words for a bad reading, in the languages of loggers and observers.
_BAD: Final = re.compile(
    r"(?<![^\W\d_])(?:bad|(?-i:Bad(?=[A-Z]))\w*|single|autonomous|no.?fix|fault\w*|err(?:or\w*)?|fail\w*|invalid\w*|suspe[ck]t\w*|poor|reject\w*|questionable|doubtful|"
    r"defect\w*|broken|malfunction\w*|not.?ok|nok|out.?of.?range|schlecht|[^\W\d_]*fehler(?!frei)\w*|ungültig\w*|gestört|defekt|guasto|"
    r"errat[ao]|non.?valid\w*|mauvais\w*|défaut|erron\w*|mal[ao]|falla|inválid\w*)(?![^\W\d_])",
    re.IGNORECASE,
)
# The same words after a negation, for example "no error".
_NOT_BAD: Final = re.compile(
    r"(?<![^\W\d_])(?:no|not|without|0|kein\w*|ohne|nessun\w*|senza|sin|ning\w*|aucun\w*|sans)[ _-]"
    r"(?:err|fault|fail|fehl|guast|d[eé]f|fall)\w*",
    re.IGNORECASE,
)
# The database refuses larger numbers. The largest and the smallest double stand for a missing value.
LARGEST: Final = 1e300
# No quantity is this large. Examples of fill values are 1e37 of plotters, 9.96921e36 of netCDF, and the largest float.
_HUGE: Final = 1e30
# Numbers are compared with the precision of a 4-byte float, which turns -99.9 into -99.90000152587891.
_DIGITS: Final = ".7g"
# Largest numbers of 16, 24 and 32 bits, and those with a special meaning just below them.
_INTEGER_LIMITS: Final = (
    *(32767, 32768, 65533, 65534, 65535),
    *(8388607, 8388608, 16777215),
    *(2147483647, 2147483648, 4294967295),
)
# Values of one digit with which loggers scale integers.
_DIGIT_VALUES: Final = (1.0, 0.1, 0.01, 0.001)


def _format_digits(value: float) -> str:
    """Return the magnitude of a number with the digits that are compared."""
    return f"{abs(value):{_DIGITS}}"


def _list_scale_ends() -> frozenset[str]:
    ends = {_format_digits(limit * digit) for limit in _INTEGER_LIMITS for digit in _DIGIT_VALUES}
    # Loggers of Campbell Scientific send these numbers for values out of range.
    return frozenset(ends | {"7999", "6999"})


def _list_nines() -> frozenset[str]:
    """Return the numbers of nines from 99 to 9999999, with up to three decimals."""
    numbers = set()
    for digits in range(2, 8):
        for decimals in range(min(4, 8 - digits)):
            numbers.add(_format_digits(float(f"{'9' * digits}.{'9' * decimals}")))
    return frozenset(numbers)


_SCALE_ENDS: Final = _list_scale_ends()
_NINES: Final = _list_nines()
# Positive numbers of nines below this one are measurements, such as a battery at 99 % or a humidity of 99.9 %. 99.99 is
# the fill value for rain of the archive GSOD.
_SMALLEST_POSITIVE_NINES: Final = 99.985
_OTHER_FILLS: Final = frozenset(_format_digits(n) for n in (999.25, 8888.0, 88888.0, 1e10, 1e15, 1e20))
# A run is at least this many steps in succession towards a number.
MIN_RUN_STEPS: Final = 3
# The last step of a run is at most this many times as large as the step before it.
MAX_LAST_STEP: Final = 4.0
# Share of the readings at each end of the ordered record that does not count for its range.
TRIMMED_SHARE: Final = 0.02
# Number of readings before a number that are its record.
RECORD_READINGS: Final = 200
# With fewer readings before a number, the readings after it belong to the record as well.
MIN_RECORD_READINGS: Final = 3


def is_no_value(value: Any) -> bool:
    """Return whether a cell or a JSON value is a missing value: null, NaN, an infinity, or a word for them.

    >>> [is_no_value(v) for v in (None, float("nan"), " NaN ", "nan(snan)", "-1.#J", -1.7976931348623157e308, "1.5", 0)]
    [True, True, True, True, True, True, False, False]
    """
    if value is None:
        return True
    if isinstance(value, str):
        text = value.strip().lower()
        # C libraries of Windows write NaN as 1.#QNAN, which is 1.#R if it is formatted with one digit.
        return text in WORDS or text.lstrip("+-").startswith(("nan(", "1.#"))
    return isinstance(value, float) and (not isfinite(value) or abs(value) >= LARGEST)


def is_marked_bad(quality: Any) -> bool:
    """Return whether quality information, or any part of it, marks a reading as bad.

    >>> qualities = ("Bad", {"status": {"code": "out of range"}}, "good", {"error": 0.1}, None, 0)
    >>> [is_marked_bad(quality) for quality in qualities]
    [True, True, False, False, False, False]
    >>> [is_marked_bad(quality) for quality in ("no error", "Kein Fehler", "no fix", "BadSensorFailure")]
    [False, False, True, True]
    """
    if isinstance(quality, dict):
        return any(is_marked_bad(part) for part in quality.values())
    if isinstance(quality, list):
        return any(is_marked_bad(part) for part in quality)
    return isinstance(quality, str) and _BAD.search(_NOT_BAD.sub("", quality)) is not None


def is_fill_number(value: float) -> bool:
    """Return whether a number is one of those that instruments and programs use as fill values.

    >>> [is_fill_number(v) for v in (7999.0, -6999.0, 99.99, 999.9, 6553.5, -99.90000152587891, 1e37, 99.9, 20.0)]
    [True, True, True, True, True, True, True, False, False]
    """
    if abs(value) >= _HUGE:
        return True
    text = _format_digits(value)
    if text in _NINES:
        return value <= -99.0 or value >= _SMALLEST_POSITIVE_NINES
    return text in _SCALE_ENDS or text in _OTHER_FILLS


def is_full_scale(value: float) -> bool:
    """Return whether a number is the end of a scale: the limit of an integer, or the largest value of a logger.

    >>> is_full_scale(6553.5), is_full_scale(7999.0), is_full_scale(9999.0)
    (True, True, False)
    """
    return _format_digits(value) in _SCALE_ENDS


def is_far_outside(value: float, record: Sequence[float]) -> bool:
    """Return whether a number lies outside a record by more than the range and the magnitudes of the record.

    Every number lies outside an empty record.

    >>> is_far_outside(7999.0, [20.0, 20.1]), is_far_outside(999.9, [998.0, 1001.2])
    (True, False)
    >>> is_far_outside(999.0, [400.0, 600.0])
    False
    """
    if not record:
        return True
    ordered = sorted(record)
    trimmed = int(TRIMMED_SHARE * len(ordered))
    low, high = ordered[trimmed], ordered[-1 - trimmed]
    margin = max(high - low, abs(high), abs(low))
    return value < low - margin or value > high + margin


def find_fills(values: Sequence[float], *, whole: bool = False) -> dict[float, int]:
    """Return the fill values of a record, with how often each of them occurs.

    Args:
        values: The values of one record.
        whole: Whether the numbers count as fill values even if the record contains no other values.

    >>> find_fills([0.0, 999.9, 12.4, 999.9, 3.1]), find_fills([990.0, 999.9, 1003.0, 999.9])
    ({999.9: 2}, {})
    >>> find_fills([-9999.0]), find_fills([-9999.0], whole=True)
    ({}, {-9999.0: 1})
    """
    counts = Counter(value for value in values if is_fill_number(value))
    record = [value for value in values if value not in counts]
    if not record and not whole:
        return {}
    return {number: count for number, count in counts.items() if is_far_outside(number, record)}


def is_run(value: float, before: Sequence[float]) -> bool:
    """Return whether the last readings, oldest first, approach a number step by step.

    >>> is_run(6553.5, [10.0, 900.0, 2300.0, 4400.0]), is_run(7999.0, [20.0, 20.1, 20.2, 20.3])
    (True, False)
    """
    steps = [later - earlier for earlier, later in pairwise(before[-MIN_RUN_STEPS - 1 :])]
    if len(steps) < MIN_RUN_STEPS:
        return False
    last_step = value - before[-1]
    has_one_direction = all(step * last_step > 0.0 for step in steps)
    return has_one_direction and abs(last_step) <= MAX_LAST_STEP * abs(steps[-1])


def classify_number(
    value: float, before: Sequence[float], after: Iterable[float] = (), *, is_end: bool = False
) -> str | None:
    """Return the flag of a number that may be a fill value: `fill`, `at_stop`, or None if it is a reading.

    The first number at the end of a scale that was approached step by step is a reading, because the instrument moved
    at least this far. The repetitions of the number are `at_stop`.

    Args:
        value: A number for which `is_fill_number` is true in the unit in which it was sent.
        before: Usable readings before it, oldest first.
        after: Readings after it. They count if there are few readings before it.
        is_end: Whether the number is the end of a scale.

    >>> classify_number(7999.0, [20.0, 20.1, 20.0]), classify_number(6553.5, [10.0, 900.0, 2300.0, 4400.0])
    ('fill', None)
    >>> classify_number(6553.5, [10.0, 900.0, 2300.0, 4400.0, 6553.5], is_end=True)
    'at_stop'
    """
    others_before = [reading for reading in before if reading != value]
    until_first = list(before)
    while until_first and until_first[-1] == value:
        until_first.pop()
    is_repeated = len(until_first) < len(before)
    if is_end and is_repeated and is_run(value, until_first):
        is_extreme = value > max(others_before) or value < min(others_before)
        if is_extreme:
            return AT_STOP
    record = others_before
    if len(others_before) < MIN_RECORD_READINGS:
        record = [*others_before, *(reading for reading in after if reading != value)]
    is_fill = is_far_outside(value, record) and not is_run(value, others_before)
    return FILL if is_fill else None
