"""The nearest right spelling of a word."""

from collections.abc import Collection
from difflib import get_close_matches


def find_nearest(word: str, candidates: Collection[str], similarity: float = 0.6) -> str | None:
    """Return the candidate that is spelled most like a word, or None if none has this similarity (0 to 1).

    >>> find_nearest("statsu", ["status", "sites"]), find_nearest("x", ["status", "sites"])
    ('status', None)
    """
    return next(iter(get_close_matches(word, candidates, n=1, cutoff=similarity)), None)


def suggest_nearest(word: str, candidates: Collection[str]) -> str:
    """Return the end of a message that names the nearest candidate, or nothing if none is similar.

    >>> suggest_nearest("north-benc", ["north-bench", "south"]), suggest_nearest("x", ["north-bench"])
    ('; did you mean north-bench?', '')
    """
    near = find_nearest(word, candidates)
    return "" if near is None else f"; did you mean {near}?"
