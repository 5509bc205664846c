"""Words of headings: one tokenizer, and the word lists of `words.toml` that are compared with its result."""

import re
import tomllib
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Final

# Scripts that do not separate words start here.
_FIRST_UNSEPARATED: Final = "\u2e80"
_TOKEN: Final = re.compile(
    r"[\u2e80-\uffff]+|\d+|[A-Z\u00c0-\u00de]+(?=[A-Z\u00c0-\u00de][a-z\u00df-\u00ff])|"
    r"[A-Z\u00c0-\u00de]?[a-z\u00df-\u00ff]+|[^\W\d_\u2e80-\uffff]+|[σ±°]"
)
_GAP: Final = "..."
_WORD: Final = r"[^ \u2e80-\uffff]"


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading as words: lower case, without accents, separated by blanks.

    Attributes:
        text: The heading as it is written.
        words: Its words.
        starts: For each character of `words`, the place in `text` that it comes from.
    """

    text: str
    words: str
    starts: tuple[int, ...]

    def to_span(self, begin: int, end: int) -> tuple[int, int]:
        """Return the part of `text` that a part of `words` comes from."""
        return self.starts[begin], self.starts[end - 1] + 1


@dataclass(frozen=True, slots=True)
class WordMatch:
    """A pattern of a word list in a heading.

    Attributes:
        begin: Place of the first character in `Heading.words`.
        end: Place behind the last character.
        letters: How many characters of the pattern are letters rather than wildcards.
        is_whole: Whether the pattern explains every letter of its words.
    """

    begin: int
    end: int
    letters: int
    is_whole: bool

    def covers(self, other: "WordMatch") -> bool:
        """Return whether this match explains the words of another match better."""
        return self.begin < other.end and other.begin < self.end and self.letters > other.letters


@lru_cache(maxsize=4096)
def split_heading(text: str) -> Heading:
    """Split a heading at signs, between letters and digits, and at capital letters inside a word.

    >>> split_heading("GNSS1_displacementEast [mm]").words, split_heading("Höhe über NN").words
    ('gnss 1 displacement east mm', 'hohe uber nn')
    """
    words: list[str] = []
    starts: list[int] = []
    for token in _TOKEN.finditer(text):
        if words:
            words.append(" ")
            starts.append(token.start())
        for place in range(token.start(), token.end()):
            plain = _strip_accents(text[place])
            words.extend(plain)
            starts.extend([place] * len(plain))
    return Heading(text, "".join(words), tuple(starts))


class WordList:
    """Patterns of `words.toml`."""

    def __init__(self, patterns: Iterable[str], exceptions: Iterable[str] = ()) -> None:
        self._patterns = tuple(patterns)
        self._exceptions = tuple(exceptions)

    def find_all(self, heading: Heading) -> list[WordMatch]:
        """Return the matches of all patterns that overlap no exception."""
        exceptions = [
            match.span()
            for regex, _ in _list_possible(self._exceptions, heading.words)
            for match in regex.finditer(heading.words)
        ]
        found = []
        for regex, letters in _list_possible(self._patterns, heading.words):
            for match in regex.finditer(heading.words):
                begin, end = match.span()
                if begin < end and not any(begin < last and first < end for first, last in exceptions):
                    is_whole = letters == len(match[0].replace(" ", ""))
                    found.append(WordMatch(begin, end, letters, is_whole))
        return found

    def is_in(self, text: str) -> bool:
        """Return whether a text contains a pattern."""
        return bool(self.find_all(split_heading(text)))

    def is_whole(self, text: str) -> bool:
        """Return whether a text is a pattern and nothing else."""
        words = split_heading(text).words
        return any(regex.fullmatch(words) for regex, _ in _list_possible(self._patterns, words))

    def starts(self, text: str) -> bool:
        """Return whether a text starts with a pattern."""
        words = split_heading(text).words
        return any(regex.match(words) for regex, _ in _list_possible(self._patterns, words))

    def find_spans(self, text: str) -> list[tuple[int, int]]:
        """Return begin and end of each part of a text that one or more patterns match.

        >>> WordList(["no data", "no data value"]).find_spans("No data value: -9999")
        [(0, 13)]
        """
        heading = split_heading(text)
        return list(_merge(heading.to_span(match.begin, match.end) for match in self.find_all(heading)))

    def remove(self, text: str) -> str:
        """Return a text with a blank in place of each pattern."""
        return _cut(text, self.find_spans(text))


def remove_words(heading: Heading, matches: Iterable[WordMatch]) -> str:
    """Return the text of a heading with a blank in place of each match and of the letters that continue it."""
    text = heading.text
    spans = []
    for match in matches:
        begin, end = heading.to_span(match.begin, match.end)
        while begin > 0 and _continues_word(text[begin - 1]) and _continues_word(text[begin]):
            begin -= 1
        while end < len(text) and _continues_word(text[end]) and _continues_word(text[end - 1]):
            end += 1
        spans.append((begin, end))
    return _cut(text, spans)


def _cut(text: str, spans: Iterable[tuple[int, int]]) -> str:
    for begin, end in sorted(_merge(spans), reverse=True):
        text = f"{text[:begin]} {text[end:]}"
    return text


def names_coordinates(text: str) -> bool:
    """Return whether a heading names a coordinate in the grid of a survey.

    >>> names_coordinates("Easting [m]"), names_coordinates("Hochwert"), names_coordinates("P1 E [m]")
    (True, True, False)
    """
    return load_words("coordinates").is_in(text)


def names_stable_ground(station: str) -> bool:
    """Return whether the name of a station says that it is on stable ground.

    >>> [names_stable_ground(name) for name in ("BASE", "GNSS_Base2", "Basel", "REFUGE")]
    [True, True, False, False]
    """
    return load_words("stable_ground").is_in(station)


@cache
def load_words(section: str, key: str = "words") -> WordList:
    """Return a word list by its section and key in `words.toml`."""
    table = load_file()[section]
    return WordList(table[key], table.get(f"{key}_except", ()))


@cache
def load_quantities() -> dict[str, WordList]:
    """Return the word list of each quantity."""
    return {
        quantity: WordList(table["words"], table.get("except", ()))
        for quantity, table in load_file()["quantities"].items()
    }


def load_special_quantities() -> Mapping[str, Sequence[str]]:
    """Return for each general quantity the specific ones that take precedence if a heading names both."""
    return {name: table["yields_to"] for name, table in load_file()["quantities"].items() if "yields_to" in table}


@cache
def load_file() -> dict[str, Any]:
    """Return the content of `words.toml`."""
    return tomllib.loads(Path(__file__).with_name("words.toml").read_text(encoding="utf-8"))


def _merge(spans: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    begin, end = -1, -1
    for first, last in sorted(spans):
        if first > end:
            if end > 0:
                yield begin, end
            begin = first
        end = max(end, last)
    if end > 0:
        yield begin, end


def _continues_word(char: str) -> bool:
    return char.isalpha() and char < _FIRST_UNSEPARATED


def _strip_accents(char: str) -> str:
    plain = "".join(part for part in unicodedata.normalize("NFKD", char) if not unicodedata.combining(part))
    return plain.casefold()


def _list_possible(patterns: Iterable[str], words: str) -> list[tuple[re.Pattern[str], int]]:
    """Return the compiled patterns that may match. Compiling all of `words.toml` would take seconds."""
    return [_compile(pattern) for pattern in patterns if all(part in words for part in _list_literals(pattern))]


@cache
def _list_literals(pattern: str) -> tuple[str, ...]:
    """Return the texts that each match of a pattern contains.

    >>> _list_literals("dist* to ... Höhe #")
    ('dist', 'to', 'hohe')
    """
    words = [word for word in pattern.split() if word != _GAP]
    plain = "".join(map(_strip_accents, " ".join(words)))
    return tuple(re.split(r"[*# ]+", plain.strip("*# ")))


@cache
def _compile(pattern: str) -> tuple[re.Pattern[str], int]:
    """Return a pattern of `words.toml` as a regular expression, and how many letters and digits it has."""
    parts = []
    for word in pattern.split():
        if word == _GAP:
            parts.append(rf"(?: {_WORD}+){{0,2}}")
            continue
        plain = "".join(map(_strip_accents, word))
        is_unseparated = plain.strip("*#")[:1] >= _FIRST_UNSEPARATED
        body = "".join({"*": rf"{_WORD}*", "#": r"\d+"}.get(character, re.escape(character)) for character in plain)
        parts.append(body if is_unseparated else rf"(?<![^ \u2e80-\uffff]){body}(?![^ \u2e80-\uffff])")
    joined = ""
    for k, part in enumerate(parts):
        joined += part if k == 0 or part.startswith("(?: ") else f" {part}"
    letters = sum(character.isalnum() or character in "σ±°" for character in pattern)
    return re.compile(joined), letters
