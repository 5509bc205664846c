"""A subject that is too long loses facts, the least important first, and never a part of one."""

import re
from collections.abc import Iterator
from itertools import accumulate
from typing import Final

SUBJECT_LENGTH: Final = 200  # where nobody says how long
CUT: Final = " …"
_PARTS: Final = ("; ", "；")
_CLAUSES: Final = (", ", "，")
_BRACKETS: Final = re.compile(r" ?(?:\([^()]*\)|（[^（）]*）)")
_OPEN: Final = re.compile(r"(; |；|, |，|[(（)）])")
_FIGURE: Final = re.compile(r"(?:[ ，；][-+±]?[\d.]*)+$")  # whose unit was cut off


def shorten(text: str, most: int = SUBJECT_LENGTH, head: str = "") -> str:
    """A text of so many characters at most, by leaving out facts from the end; figures keep their units.

    Reasons name what matters most first: parts behind the last semicolons go first, then clauses, then what stands in
    brackets, then the sentence behind its station.

    Args:
        text: in any language.
        most: characters.
        head: its beginning, with site and level, which stays as long as it fits by itself.

    >>> shorten("[pit] RED: red: G1: velocity 62 mm/day in 6h, over 30 mm/day; G2: step of 12 mm", 60, "[pit] RED: ")
    '[pit] RED: red: G1: velocity 62 mm/day in 6h …'
    """
    if len(text) <= most:
        return text
    head = head if text.startswith(head) else ""
    for fewer in _list_shorter(text[len(head) :], most):
        short = f"{head}{fewer}" if fewer else head.rstrip(": ")
        if short and len(short) + len(CUT) <= most:
            return f"{short}{CUT}"
    return cut_words(text, most)


def cut_words(text: str, most: int) -> str:
    """The first words of a text that fit; a figure whose unit was cut off goes as well.

    >>> cut_words("close the road and the footbridge", 20), cut_words("at 310 mm/day", 9)
    ('close the road …', 'at …')
    """
    if len(text) <= most:
        return text
    words = text[: max(most - len(CUT), 0) + 1]
    whole = words[: max(words.rfind(" "), most // 2)][: max(most - len(CUT), 0)]
    return f"{_FIGURE.sub('', whole)}{CUT}"


def _list_shorter(reason: str, most: int) -> Iterator[str]:
    """The same with fewer and fewer facts, from where about so many characters are left."""
    parts = _split(reason, _PARTS)
    yield from _fewer(parts, _PARTS, most)
    clauses = _split(_strip(parts[0], _PARTS), _CLAUSES)
    yield from _fewer(clauses, _CLAUSES, most)
    first = _strip(clauses[0], _CLAUSES)
    bare = _BRACKETS.sub("", first)
    yield bare
    heads = bare.split(": ")
    yield from (": ".join(heads[:n]) for n in range(len(heads) - 1, -1, -1))


def _fewer(pieces: list[str], ends: tuple[str, ...], most: int) -> Iterator[str]:
    fit = sum(length <= most + 2 for length in accumulate(map(len, pieces)))  # without the end of the last one
    for n in range(min(fit, len(pieces) - 1), 0, -1):
        yield _strip("".join(pieces[:n]), ends)


def _strip(piece: str, ends: tuple[str, ...]) -> str:
    for end in ends:
        piece = piece.removesuffix(end)
    return piece


def _split(text: str, ends: tuple[str, ...]) -> list[str]:
    """A text behind each of these ends, but not inside brackets.

    >>> _split("G1 (M 4; 3 km); waits；decide", ("; ", "；"))
    ['G1 (M 4; 3 km); ', 'waits；', 'decide']
    """
    pieces, depth = [""], 0
    for piece in _OPEN.split(text):
        depth += (piece in "(（") - (piece in ")）") if piece else 0
        pieces[-1] += piece
        if piece in ends and depth <= 0:
            pieces.append("")
    return pieces
