"""Stored English put into the reader's language: a sentence is recognised by its template, figures pass unaltered.

Reasons, messages and answers are stored as English sentences, which decisions are compared with bit for bit. When
somebody reads one, the template that it was made from is looked for (`sentences`, `vocabulary`), the one with the most
text of its own first, and the template's translation takes the same values. What is not recognised stays English.
"""

import re
from collections.abc import Iterable
from functools import cache, lru_cache
from typing import Any, Final, NamedTuple, TypeVar, cast

from forecasting.message import Message
from monitor.language import rendering
from monitor.language.catalogue import ENGLISH, current, kept_names, open_catalogue
from monitor.language.local_time import UNCHANGED, respell
from monitor.language.sentences import SENTENCES
from monitor.language.vocabulary import LEVELS, MONTHS, PARENTS, WORDS

T = TypeVar("T")
Kept = tuple[str, ...]
"""Names as they stand in sentences, the longest first."""
NOTHING_KEPT: Final[Kept] = ()
_MARKS: Final = range(0xE000, 0xF8FF)  # private use (Unicode 23.5): one stands for each kept name
LONGEST: Final = 20_000  # a longer text is no sentence
WITNESSES: Final = frozenset({"scene", "observers", "earthquake"})  # that have no station
# of answers to programs: what is a sentence
TEXTS: Final = frozenset({"reason", "reasons", "text", "withdrawn_reason"})
_DEPTH: Final = 8
_PLACE: Final = re.compile(r"\{(\w+)\}")
_NUMBER: Final = re.compile(r"[-+]?\d[\d.,]*(?:e[-+]?\d+)?")
# what stands at a place, by its name without digits; at all others stand names, units, times: they pass as they are
FIGURES: Final = frozenset({"n", "count"})
TERMS: Final = frozenset({"level", "known", "mon", "parent", "quantity", "word"})  # a word of the vocabulary
PHRASES: Final = frozenset({"text"})  # a sentence of its own
# texts of people and programs, which may hold anything; what stands at every other place is one part of a sentence
FREE: Final = frozenset({"action", "clause", "detail", "how", "now", "problem", "reason", "report", "title", "what"})
LISTS: Final = frozenset({"names"})  # "G1, G2 and G3", "G1, G2 and 4 more"


class Template(NamedTuple):
    """A sentence with places.

    Attributes:
        english: its text.
        literals: the parts between the places.
        names: of the places.
        anchor: the longest part: a text without it was not made from this template.
    """

    english: str
    literals: tuple[str, ...]
    names: tuple[str, ...]
    anchor: str


@cache
def _templates() -> dict[str, list[Template]]:
    """Templates that a text can have been made from, by its first word; those of any other first word by ''.

    The one with the most text of its own first.
    """
    found: dict[str, list[Template]] = {}
    for template in SENTENCES:
        parts = _PLACE.split(template)
        first = parts[0].partition(" ")[0] if " " in parts[0] or len(parts) == 1 else ""
        literals = tuple(parts[::2])
        found.setdefault(first, []).append(Template(template, literals, tuple(parts[1::2]), max(literals, key=len)))
    anyhow = found.pop("", [])
    every = {first: [*templates, *anyhow] for first, templates in found.items()} | {"": anyhow}
    return {first: sorted(templates, key=lambda t: -sum(map(len, t.literals))) for first, templates in every.items()}


def match(text: str, literals: tuple[str, ...], names: tuple[str, ...]) -> dict[str, str] | None:
    """What stands at the places of a template, or None; each part is looked for from the left, so it takes no time.

    >>> match("jump of 3 mm: to be verified", ("jump of ", " ", ": to be verified"), ("n", "unit"))
    {'n': '3', 'unit': 'mm'}
    """
    if not names:
        return {} if text == literals[0] else None
    last = literals[-1]
    if not text.startswith(literals[0]) or not text.endswith(last):
        return None
    at, end = len(literals[0]), len(text) - len(last)
    values: dict[str, str] = {}
    for name, literal in zip(names, (*literals[1:-1], None), strict=True):
        to = end if literal is None else text.find(literal, at + 1, end)
        if to <= at or not _fits(name, text[at:to]):
            return None
        values[name] = text[at:to]
        at = to + len(literal or "")
    return values


def _kind(name: str) -> str:
    return name.rstrip("0123456789")


def _fits(name: str, value: str) -> bool:
    kind = _kind(name)
    if kind in FIGURES:
        return _NUMBER.fullmatch(value) is not None
    if kind in {"account", "station"}:
        return " " not in value
    if kind == "parent":
        return value in PARENTS
    if kind == "mon":
        return value in MONTHS
    if kind == "known":
        return value.lower() in LEVELS
    if kind == "word":
        return value.replace("_", " ") in WORDS or value.lower() in LEVELS
    return kind in PHRASES or kind in FREE or not ("; " in value or ": " in value)


def keep(stations: Iterable[str], titles: Iterable[str] = ()) -> Kept:
    """Names that a translation could take for words of its own: of stations, and of sites as messages show them.

    >>> keep(["G1", "red", "scene"], ["North bench", "Pit] RED: green"])
    ('[Pit] RED: green]', 'scene', 'red')
    """
    found = {name for name in stations if is_word(name)}
    found |= {f"[{title}]" for title in titles if "]" in title or "\n" in title}
    return tuple(sorted(found, key=lambda name: (-len(name), name)))[: len(_MARKS)]


def is_word(name: str) -> bool:
    """Whether a name is also the name of a level, or a word that sentences are made of."""
    return name.lower() in LEVELS or name.replace("_", " ") in WORDS


def say(text: Any, language: str | None = None) -> Any:
    """A stored English text in the language and the zone in use; anything else than text as it is.

    Args:
        text: as it is stored, in English and UTC.
        language: another one than that in use.
    """
    if isinstance(text, Message):
        return rendering.translate(text, language)
    return respell(translate(text, language)) if isinstance(text, str) else text


def translate(text: Any, language: str | None = None) -> Any:
    """The same with its times as they are stored, in UTC."""
    wanted = current() if language is None else language
    if isinstance(text, Message):
        return "".join(part.text for part in rendering.render(text, wanted, UNCHANGED))
    if wanted == ENGLISH or not isinstance(text, str) or not text or len(text) > LONGEST:
        return text
    kept = kept_names()
    if any(name in text for name in kept):
        return _say_around(text, wanted, kept)
    return _say(text, wanted)


def _say_around(text: str, language: str, kept: Kept) -> str:
    """The same with a mark in place of each kept name: what is no word is not translated."""
    if any(ord(sign) in _MARKS for sign in text):
        return text
    marks = []
    for number, name in enumerate(kept):
        sign, is_title = chr(_MARKS[number]), name[0] == "["
        marks.append((f"[{sign}]" if is_title else sign, name))
        text = text.replace(name, marks[-1][0]) if is_title else _token(name).sub(sign, text)
    said = _say(text, language)
    for mark, name in marks:
        said = said.replace(mark, name)
    return said


@cache
def _token(name: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w-]){re.escape(name)}(?![\w-])")


@lru_cache(maxsize=8192)
def _say(text: str, language: str) -> str:
    return "\n".join(_say_part(line, language, _DEPTH) for line in text.split("\n"))


def _say_part(text: str, language: str, depth: int) -> str:
    if not text or depth < 0:
        return text
    whole = _say_whole(text, language, depth)
    if whole is not None or depth == 0:
        return text if whole is None else whole
    head, colon, tail = text.partition(": ")
    first = _say_head(head, language, depth - 1) if colon else None
    if first is not None:  # "orange: ...", "health urgent: ..."
        return f"{first}: {_say_part(tail, language, depth - 1)}"
    parts = split_parts(text)
    if len(parts) > 1:
        return "; ".join(_say_part(part, language, depth - 1) for part in parts)
    return f"{head}: {_say_part(tail, language, depth - 1)}" if colon else text  # "G1: ..."


def split_parts(text: str) -> list[str]:
    """A text at its semicolons, but not inside brackets.

    >>> split_parts("step at G1 (M 4; event 3); waits; decide")
    ['step at G1 (M 4; event 3)', 'waits', 'decide']
    """
    parts, depth = [""], 0
    for piece in re.split(r"(; |[()])", text):
        depth += (piece == "(") - (piece == ")")
        if piece == "; " and depth <= 0:
            parts.append("")
        else:
            parts[-1] += piece
    return parts


def _say_head(head: str, language: str, depth: int) -> str | None:
    """What stands before a colon, where it is a level, a sentence or a witness without a station; None elsewhere."""
    if head.lower() in LEVELS:
        return say_level(head, language)
    return None if head in WORDS and head not in WITNESSES else _say_whole(head, language, depth)


def _say_whole(text: str, language: str, depth: int) -> str | None:
    """The translation of a text that one template or one word explains; None where none does."""
    catalogue = open_catalogue(language)
    if (word := text.replace("_", " ")) in WORDS:
        return catalogue.gettext(word)
    if text.lower() in LEVELS:
        return say_level(text, language)
    templates = _templates()
    for template, literals, names, anchor in templates.get(text.partition(" ")[0], templates[""]):
        if anchor not in text or (values := match(text, literals, names)) is None:
            continue
        said = {name: _say_place(name, value, language, depth) for name, value in values.items()}
        return _PLACE.sub(lambda m, said=said: said[m[1]], catalogue.gettext(template))  # type: ignore[misc]
    return None


def _say_place(name: str, value: str, language: str, depth: int) -> str:
    kind = _kind(name)
    if kind in TERMS:
        return _say_word(value, language)
    if kind in PHRASES:
        return _say_part(value, language, depth - 1)
    if kind in LISTS:
        if value.endswith(" more"):
            some, _, left = value.removesuffix(" more").rpartition(" and ")
            return open_catalogue(language).gettext("{text} and {n} more").format(text=some, n=left)
        return value.replace(" and ", open_catalogue(language).gettext(" and "))
    return value


def _say_word(value: str, language: str) -> str:
    if value.lower() in LEVELS:
        return say_level(value, language)
    word = value.replace("_", " ")
    return open_catalogue(language).gettext(word) if word in WORDS or word in MONTHS else value


def say_level(name: str, language: str) -> str:
    """The name of a level; a site's own name that is no common word stays as the site wrote it."""
    said = open_catalogue(language).gettext(name.lower())
    if name.lower() not in LEVELS:
        return name
    return said.upper() if name.isupper() else said.capitalize() if name[:1].isupper() else said


def say_all(value: T) -> T:
    """Plain data with its sentences (`TEXTS`) put into the language in use; words and names stay as they are."""
    found: Any = value
    if isinstance(value, Message):
        found = say(value)
    elif isinstance(value, dict):
        found = {k: say(v) if k in TEXTS and isinstance(v, str) else say_all(v) for k, v in value.items()}
    elif isinstance(value, list):
        found = [say_all(one) for one in value]
    return cast("T", found)
