"""What stands for "no value": words, numbers that are none, and fills, the same for messages, files and sources.

A fill is a number by which an instrument or a program says that it has none. The same number may be a measurement, so a
list alone tells nothing: it is a fill only where it stands alone, outside all that its series says.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import dropwhile, pairwise
from math import isfinite
from typing import Any, Final

from monitor.text.names import split_table

FILL: Final = "fill"  # the flag of such a reading
AT_STOP: Final = "at_stop"  # the flag of what an instrument repeats that has reached the end of its scale
WORDS: Final = frozenset(
    split_table("""
        ; -; --; ---; nan; nat; +nan; -nan; inf; m; missing; +inf;
        -inf; infinity; +infinity; -infinity; na; n/a; n.a.; nd; n.d.; k.a.; s/d; null; none; undefined; #n/a; #nv;
        #n/d; #value!; #wert!; #div/0!; #ref!; #num!; #name?
    """)
)
_BAD: Final = re.compile(
    r"(?<![^\W\d_])(?:bad|(?-i:Bad(?=[A-Z]))\w*|single|autonomous|no.?fix|fault\w*|err(?:or\w*)?|fail\w*|invalid\w*|suspe[ck]t\w*|poor|reject\w*|questionable|doubtful|"
    r"defect\w*|broken|malfunction\w*|not.?ok|nok|out.?of.?range|schlecht|[^\W\d_]*fehler(?!frei)\w*|ungültig\w*|gestört|defekt|guasto|"
    r"errat[ao]|non.?valid\w*|mauvais\w*|défaut|erron\w*|mal[ao]|falla|inválid\w*)(?![^\W\d_])",
    re.IGNORECASE,
)
_NONE_BAD: Final = re.compile(
    r"(?<![^\W\d_])(?:no|not|without|0|kein\w*|ohne|nessun\w*|senza|sin|ning\w*|aucun\w*|sans)[ _-]"
    r"(?:err|fault|fail|fehl|guast|d[eé]f|fall)\w*",
    re.IGNORECASE,
)
LARGEST: Final = 1e300  # the database refuses beyond: the largest and the least number of eight bytes stand for none
_HUGE: Final = 1e30  # no quantity reaches it: 1e37 of plotters, 9.96921e36 of netCDF, the least number of four bytes
_DIGITS: Final = ".7g"  # four bytes hold so many: -99.9 comes as -99.90000152587891
# what sixteen, twenty-four and thirty-two bits end at, and what loggers of Campbell do
_FULL: Final = (32767, 32768, 65533, 65534, 65535, 8388607, 8388608, 16777215, 2147483647, 2147483648, 4294967295)
_SHARES: Final = (1.0, 0.1, 0.01, 0.001)


def _to_digits(value: float) -> str:
    return f"{abs(value):{_DIGITS}}"


FULL_SCALES: Final = frozenset({_to_digits(n * share) for n in _FULL for share in _SHARES} | {"7999", "6999"})
_NINES: Final = frozenset(  # -99, 99.99 and 999 on: 99 and 99.9 are what batteries and moistures say
    _to_digits(float(f"{'9' * whole}.{'9' * broken}")) for whole in range(2, 8) for broken in range(min(4, 8 - whole))
)
_OTHERS: Final = frozenset(_to_digits(n) for n in (999.25, 8888.0, 88888.0, 1e10, 1e15, 1e20))
_LEAST_POSITIVE: Final = 99.985  # of nines: 99.99 is missing rain of GSOD
RUN: Final = 3  # steps towards the end of a scale that are a run
LEAP: Final = 4.0  # times the step before it: so far a run may go in its last one
MIDDLE: Final = 0.02  # of a record, at each end, that says nothing of its range
READ: Final = 200  # newest readings that are the record of a series
FEW: Final = 3  # readings before a number; with fewer those after it are asked as well


def is_no_value(value: Any) -> bool:
    """Whether a cell or a member says that nothing was measured: null, NaN, an infinity, or a word for them.

    >>> [is_no_value(v) for v in (None, float("nan"), " NaN ", "nan(snan)", "-1.#J", -1.7976931348623157e308, "1.5", 0)]
    [True, True, True, True, True, True, False, False]
    """
    if value is None:
        return True
    if isinstance(value, str):
        text = value.strip().lower()
        return text in WORDS or text.lstrip("+-").startswith(("nan(", "1.#"))  # 1.#QNAN, which with one digit is 1.#R
    return isinstance(value, float) and (not isfinite(value) or abs(value) >= LARGEST)


def says_bad(quality: Any) -> bool:
    """Whether what is said of the quality of a reading, or any part of it, calls the reading bad.

    >>> [says_bad(said) for said in ("Bad", {"status": {"code": "out of range"}}, "good", {"error": 0.1}, None, 0)]
    [True, True, False, False, False, False]
    >>> says_bad("no error"), says_bad("Kein Fehler"), says_bad("no fix"), says_bad("BadSensorFailure")
    (False, False, True, True)
    """
    if isinstance(quality, dict | list):
        return any(map(says_bad, quality.values() if isinstance(quality, dict) else quality))
    return isinstance(quality, str) and _BAD.search(_NONE_BAD.sub("", quality)) is not None


def is_fill_number(value: float) -> bool:
    """Whether a number is one of those by which instruments and programs say "no value".

    >>> [is_fill_number(v) for v in (7999.0, -6999.0, 99.99, 999.9, 6553.5, -99.90000152587891, 1e37, 99.9, 20.0)]
    [True, True, True, True, True, True, True, False, False]
    """
    if abs(value) >= _HUGE:
        return True
    text = _to_digits(value)
    if text in _NINES:
        return value <= -99.0 or value >= _LEAST_POSITIVE
    return text in FULL_SCALES or text in _OTHERS


def is_full_scale(value: float) -> bool:
    """Whether a number is the end of a scale: of so many bits, or of what a logger writes.

    >>> is_full_scale(6553.5), is_full_scale(7999.0), is_full_scale(9999.0)
    (True, True, False)
    """
    return _to_digits(value) in FULL_SCALES


def stands_alone(value: float, record: Sequence[float]) -> bool:
    """Whether a number lies outside a record by more than all that the record says; so it does of an empty one.

    >>> stands_alone(7999.0, [20.0, 20.1]), stands_alone(999.9, [998.0, 1001.2]), stands_alone(999.0, [400.0, 600.0])
    (True, False, False)
    """
    if not record:
        return True
    ordered = sorted(record)
    cut = int(MIDDLE * len(ordered))
    low, high = ordered[cut], ordered[-1 - cut]
    reach = max(high - low, abs(high), abs(low))
    return value < low - reach or value > high + reach


def find_fills(values: Sequence[float], *, whole: bool = False) -> dict[float, int]:
    """Numbers that mean "no value" and lie far outside of what was measured, with their count.

    `values`: of one record; `whole`: also where all of them are such numbers.

    >>> find_fills([0.0, 999.9, 12.4, 999.9, 3.1]), find_fills([990.0, 999.9, 1003.0, 999.9])
    ({999.9: 2}, {})
    >>> find_fills([-9999.0]), find_fills([-9999.0], whole=True)
    ({}, {-9999.0: 1})
    """
    counted = Counter(value for value in values if is_fill_number(value))
    rest = [value for value in values if value not in counted]
    return {number: n for number, n in counted.items() if (rest or whole) and stands_alone(number, rest)}


def is_run(value: float, before: Sequence[float]) -> bool:
    """Whether readings, oldest first, run towards a number: each of the last steps goes its way.

    >>> is_run(6553.5, [10.0, 900.0, 2300.0, 4400.0]), is_run(7999.0, [20.0, 20.1, 20.2, 20.3])
    (True, False)
    """
    steps = [b - a for a, b in pairwise(before[-RUN - 1 :])]
    if len(steps) < RUN:
        return False
    gap = value - before[-1]
    return all(step * gap > 0.0 for step in steps) and abs(gap) <= LEAP * abs(steps[-1])


def classify_number(
    value: float, before: Sequence[float], after: Iterable[float] = (), *, is_end: bool = False
) -> str | None:
    """The flag of a number that may be a fill, by what its series says: `fill`, `at_stop`, or None: it is a reading.

    The first number at the end of a scale, reached by a run, is a reading: the instrument moved so far at least.

    Args:
        value: the number, one for which `is_fill_number` holds in the unit in which it came.
        before: usable readings before it, oldest first.
        after: readings after it, which are asked where few came before.
        is_end: it is the end of a scale.

    >>> classify_number(7999.0, [20.0, 20.1, 20.0]), classify_number(6553.5, [10.0, 900.0, 2300.0, 4400.0])
    ('fill', None)
    >>> classify_number(6553.5, [10.0, 900.0, 2300.0, 4400.0, 6553.5], is_end=True)
    'at_stop'
    """
    free = [v for v in before if v != value]
    run = list(dropwhile(value.__eq__, reversed(before)))[::-1]
    if is_end and len(run) < len(before) and is_run(value, run) and (value > max(free) or value < min(free)):
        return AT_STOP
    record = free if len(free) >= FEW else [*free, *(v for v in after if v != value)]
    return FILL if stands_alone(value, record) and not is_run(value, free) else None
