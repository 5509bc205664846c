"""Find readings that a person typed wrongly: a jump that one slip explains and that is hardly a real one."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from typing import Final

# Readings before a jump from which the usual change is found, and how many of them are needed.
KNOWN: Final = 20
MIN_READINGS: Final = 6
# A usual change is at least as large as this share of the changes before.
USUAL: Final = 0.8
# Smallest jump in usual changes.
CLEAR: Final = 3.0
# A slip explains a jump only if at most this share of real jumps of its size would look like a slip.
CHANCE: Final = 0.01
# A value that is close to one of the last readings is no jump.
RECENT: Final = 6
# With a larger usual change, in units of the last decimal, nearly every value looks like a slip.
MAX_USUAL: Final = 100
MAX_DECIMALS: Final = 4
# People type no larger numbers.
LARGEST: Final = 1e8
# Places by which a decimal point is wrong, the most likely first.
SHIFTS: Final = (1, -1, 2, -2, 3, -3)

NEIGHBOUR, POINT, SIGN, SWAP, TOO_MANY, MISSING = (
    "neighbour",
    "decimal point",
    "sign",
    "digits swapped",
    "digit too many",
    "digit missing",
)


@dataclass(frozen=True, slots=True)
class TypingMistake:
    """A probable typing error.

    Attributes:
        kind: Kind of the slip.
        typed: The value as typed.
        meant: The value that was probably meant.
        detail: Description of the slip, or the name of the marker whose value was typed.
    """

    kind: str
    typed: float
    meant: float
    detail: str


def find_slip(value: float, before: Sequence[float], others: Mapping[str, Sequence[float]]) -> TypingMistake | None:
    """Return the slip that explains a jump; None if there is no jump, or if chance may explain it as well.

    Slips are: the value of another marker, a decimal point that is one to three places off (or another unit), a sign,
    two neighbouring digits swapped, a digit too many, and a missing digit. More likely slips are tested first. The
    chance that a real jump looks like a slip is the share of all values as close as this one that a slip up to this
    kind can lead to. A single wrong digit is no slip, because too many values differ by one digit.

    Args:
        before: Readings before the value, the newest last, without those that were typed wrongly.
        others: The newest readings of other markers, by name.
    """
    tail = list(before[-KNOWN - 1 :])
    if len(tail) < MIN_READINGS or not all(abs(v) < LARGEST for v in (*tail, value)):
        return None
    decimals = max(-int(Decimal(repr(round(v, 9))).normalize().as_tuple().exponent) for v in tail)
    if decimals > MAX_DECIMALS:  # people type fewer decimals
        return None
    decimals = max(decimals, 0)
    unit = 10.0**decimals
    moves = sorted(abs(b - a) for a, b in pairwise(tail))
    usual = max(1, round(moves[min(len(moves) - 1, int(USUAL * len(moves)))] * unit))
    known, typed_here = [round(v * unit) for v in tail], value * unit
    last = known[-1]
    jump = abs(typed_here - last)
    if jump <= CLEAR * usual + 1.0 or any(abs(typed_here - v) <= usual for v in known[-RECENT:]) or usual > MAX_USUAL:
        return None
    usual_places = sorted(range(last - usual, last + usual + 1), key=lambda n: abs(n - last))
    reached: set[float] = set()
    for kind, slips in _list_slips(usual_places, others, unit):
        mistake = None
        for typed, meant, detail in slips:
            if typed == round(typed) and CLEAR * usual < abs(typed - last) <= jump:
                reached.add(typed)
            if mistake is None and abs(typed - typed_here) < 1e-6 * max(1.0, abs(typed_here)):
                mistake = TypingMistake(kind, value, meant / unit, detail)
        if len(reached) > CHANCE * 2.0 * jump:
            return None
        if mistake is not None:
            return mistake
    return None


def _list_slips(
    places: Sequence[int], others: Mapping[str, Sequence[float]], unit: float
) -> Iterator[tuple[str, Iterable[tuple[float, float, str]]]]:
    """Yield the slips of each kind: the typed value, the meant one, in units of the last decimal, and a description."""
    last = places[0]
    yield (NEIGHBOUR, [(v * unit, last, name) for name, row in others.items() for v in row if abs(v) < LARGEST])
    for k in SHIFTS:
        yield POINT, [(n * 10.0**k if k > 0 else n / 10.0**-k, n, "decimal point or unit") for n in places if n]
    yield SIGN, [(-n, n, "sign") for n in places if n]
    yield MISSING, [(t, n, "a digit is missing") for n in places for t in _remove_digit(n)]
    yield TOO_MANY, [(t, n, "a digit too many") for n in places for t in _insert_digit(n)]
    yield SWAP, [(t, n, "digits swapped") for n in places for t in _swap_digits(n)]


def _swap_digits(n: int) -> Iterator[int]:
    text, sign = str(abs(n)), 1 if n >= 0 else -1
    for k, (a, b) in enumerate(pairwise(text)):
        if a != b:
            yield sign * int(text[:k] + b + a + text[k + 2 :])


def _remove_digit(n: int) -> Iterator[int]:
    text, sign = str(abs(n)), 1 if n >= 0 else -1
    for k in range(len(text) if len(text) > 1 else 0):
        yield sign * int(text[:k] + text[k + 1 :])


def _insert_digit(n: int) -> Iterator[int]:
    text, sign = str(abs(n)), 1 if n >= 0 else -1
    for k in range(len(text) + 1):
        for digit in "0123456789":
            yield sign * int(text[:k] + digit + text[k:])
