"""Readings that a person typed wrongly: a jump that one slip explains, and that a real jump would hardly look like."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from typing import Final

KNOWN: Final = 20  # readings before, of which usual moves are taken
FEWEST: Final = 6
USUAL: Final = 0.8  # this share of the moves before is no larger than a usual one
CLEAR: Final = 3.0  # usual moves
CHANCE: Final = 0.01  # a real jump no larger than this one would look like a slip so seldom
RECENT: Final = 6  # where a series stood within so many readings it may stand again
MOST_PLACES: Final = 100  # a usual move: beyond it everything looks like a slip
DECIMALS: Final = 4
LARGEST: Final = 1e8  # nobody types more digits
SHIFTS: Final = (1, -1, 2, -2, 3, -3)  # places by which a decimal point goes wrong, the likeliest first

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
    """How a reading was probably typed wrongly; `detail`: in words, or the neighbour whose value it is."""

    kind: str
    typed: float
    meant: float
    detail: str


def find_slip(value: float, before: Sequence[float], others: Mapping[str, Sequence[float]]) -> TypingMistake | None:
    """The one slip that explains a jump; None where there is no jump, or where chance may explain it as well.

    Slips are: the value of another marker, a decimal point one to three places off (or another unit), a sign, two
    neighbouring digits swapped, a digit too many, a digit missing. Those that are likelier come first. Of all values
    as near as this one, the share that a slip down to this one can lead to is the chance that a real jump looks
    like one. A single wrong digit is no proof: too many values differ by one digit.

    Args:
        before: those before it, without the ones that were typed wrongly; the newest last.
        others: the newest readings of the markers beside it, by name.
    """
    tail = list(before[-KNOWN - 1 :])
    if len(tail) < FEWEST or not all(abs(v) < LARGEST for v in (*tail, value)):
        return None
    decimals = max(-int(Decimal(repr(round(v, 9))).normalize().as_tuple().exponent) for v in tail)
    if decimals > DECIMALS:  # no person typed them
        return None
    decimals = max(decimals, 0)
    unit = 10.0**decimals
    moves = sorted(abs(b - a) for a, b in pairwise(tail))
    usual = max(1, round(moves[min(len(moves) - 1, int(USUAL * len(moves)))] * unit))
    known, here = [round(v * unit) for v in tail], value * unit
    last = known[-1]
    jump = abs(here - last)
    if jump <= CLEAR * usual + 1.0 or any(abs(here - v) <= usual for v in known[-RECENT:]) or usual > MOST_PLACES:
        return None
    usual_places = sorted(range(last - usual, last + usual + 1), key=lambda n: abs(n - last))
    reached: set[float] = set()
    for kind, slips in _list_slips(usual_places, others, unit):
        found = None
        for typed, meant, detail in slips:
            if typed == round(typed) and CLEAR * usual < abs(typed - last) <= jump:
                reached.add(typed)
            if found is None and abs(typed - here) < 1e-6 * max(1.0, abs(here)):
                found = TypingMistake(kind, value, meant / unit, detail)
        if len(reached) > CHANCE * 2.0 * jump:
            return None
        if found is not None:
            return found
    return None


def _list_slips(
    places: Sequence[int], others: Mapping[str, Sequence[float]], unit: float
) -> Iterator[tuple[str, Iterable[tuple[float, float, str]]]]:
    """By kind: what is typed, what was meant, and in words; in units of the last decimal."""
    last = places[0]
    yield (NEIGHBOUR, [(v * unit, last, name) for name, row in others.items() for v in row if abs(v) < LARGEST])
    for k in SHIFTS:
        yield POINT, [(n * 10.0**k if k > 0 else n / 10.0**-k, n, "decimal point or unit") for n in places if n]
    yield SIGN, [(-n, n, "sign") for n in places if n]
    yield MISSING, [(t, n, "a digit is missing") for n in places for t in _leave_out(n)]
    yield TOO_MANY, [(t, n, "a digit too many") for n in places for t in _put_in(n)]
    yield SWAP, [(t, n, "digits swapped") for n in places for t in _swap(n)]


def _swap(n: int) -> Iterator[int]:
    text, sign = str(abs(n)), 1 if n >= 0 else -1
    for k, (a, b) in enumerate(pairwise(text)):
        if a != b:
            yield sign * int(text[:k] + b + a + text[k + 2 :])


def _leave_out(n: int) -> Iterator[int]:
    text, sign = str(abs(n)), 1 if n >= 0 else -1
    for k in range(len(text) if len(text) > 1 else 0):
        yield sign * int(text[:k] + text[k + 1 :])


def _put_in(n: int) -> Iterator[int]:
    text, sign = str(abs(n)), 1 if n >= 0 else -1
    for k in range(len(text) + 1):
        for digit in "0123456789":
            yield sign * int(text[:k] + digit + text[k:])
