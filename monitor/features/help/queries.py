"""Search index of the help sections, and the descriptions of the public views."""

import re
import sqlite3
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Final, NamedTuple

from sqlalchemy import Boolean, Column

from monitor.api.database import list_views

# Around a matched word of an excerpt.
BEGIN: Final = "\x01"
END: Final = "\x02"

_CREATE_SECTIONS: Final = """
CREATE VIRTUAL TABLE section USING fts5(
    page UNINDEXED, anchor UNINDEXED, title, heading, text, tokenize = 'porter unicode61'
)
"""
# The words of a search are indexed too, so that they are compared with the synonyms by their stems.
_CREATE_SEARCH: Final = "CREATE VIRTUAL TABLE search USING fts5(words, tokenize = 'porter unicode61')"
# A word in the title of the page weighs 5, in the heading 8, in the text 1.
_FIND: Final = """
SELECT page, anchor, heading, snippet(section, 4, ?, ?, ' … ', 24) AS excerpt, bm25(section, 0, 0, 5, 8, 1) AS rank
FROM section WHERE section MATCH ? ORDER BY rank LIMIT 200
"""
_IS_IN_A_SECTION: Final = "SELECT EXISTS (SELECT 1 FROM section WHERE section MATCH ?)"
_IS_IN_THE_SEARCH: Final = "SELECT EXISTS (SELECT 1 FROM search WHERE search MATCH ?)"

# Words whose spelling can be corrected, and words that can be the correction.
_LETTERS: Final = re.compile(r"[^\W\d_]{4,30}")
# About one letter in five differs between two words with this similarity (0 to 1).
_SPELLING_SIMILARITY: Final = 0.8


class IndexedSection(NamedTuple):
    """A section as the index stores it."""

    page: str
    anchor: str
    title: str  # of the page
    heading: str
    text: str


class IndexMatch(NamedTuple):
    """A section that contains a word of a search."""

    page: str
    anchor: str
    heading: str
    excerpt: str
    rank: float  # negative; the lowest is best


class HelpIndex:
    """Full-text index of sections, by the stems of their words."""

    def __init__(self, sections: Iterable[IndexedSection], synonyms: Iterable[Sequence[str]]) -> None:
        """Index sections.

        Args:
            sections: The sections of all pages.
            synonyms: Groups of words and phrases that mean the same.
        """
        self._lock = threading.Lock()
        self._synonyms = [[_quote(phrase) for phrase in group] for group in synonyms]
        self._words: set[str] = set()
        self._database = sqlite3.connect(":memory:", check_same_thread=False)
        self._database.execute(_CREATE_SECTIONS)
        self._database.execute(_CREATE_SEARCH)
        for section in sections:
            self._database.execute("INSERT INTO section VALUES (?, ?, ?, ?, ?)", section)
            self._words.update(_LETTERS.findall(f"{section.title} {section.heading} {section.text}".lower()))

    def find(self, words: Sequence[str]) -> list[IndexMatch]:
        """Return the sections that contain any of the words or their synonyms, the best first."""
        with self._lock:
            expressions = [self._express(word) for word in words]
            # FTS5 adds the ranks of all phrases. A word that is named twice counts twice as much as its synonyms.
            phrases = [*expressions, *expressions, *self._list_synonyms(expressions)]
            rows = self._database.execute(_FIND, (BEGIN, END, " OR ".join(phrases)))
            return [IndexMatch(*row) for row in rows]

    def _express(self, word: str) -> str:
        """Return a word as an FTS5 expression. If no section contains the word, complete it or correct its spelling."""
        for expression in (_quote(word), f"{_quote(word)}*"):
            if self._is_true(_IS_IN_A_SECTION, expression):
                return expression
        if _LETTERS.fullmatch(word) is None:
            return _quote(word)
        # A wrong first letter is rare, and comparing all words would take too long.
        candidates = [candidate for candidate in self._words if candidate[0] == word[0]]
        matches = get_close_matches(word, candidates, n=1, cutoff=_SPELLING_SIMILARITY)
        return _quote(matches[0] if matches else word)

    def _list_synonyms(self, expressions: Sequence[str]) -> list[str]:
        """Return the phrases of each group of synonyms of which a search contains a phrase."""
        self._database.execute("DELETE FROM search")
        self._database.execute("INSERT INTO search VALUES (?)", (" ".join(expressions),))
        groups = (group for group in self._synonyms if self._is_true(_IS_IN_THE_SEARCH, " OR ".join(group)))
        return [phrase for group in groups for phrase in group]

    def _is_true(self, query: str, expression: str) -> bool:
        """Return the result of a query for an FTS5 expression."""
        return bool(self._database.execute(query, (expression,)).fetchone()[0])


def _quote(phrase: str) -> str:
    """Return a word or phrase as an FTS5 expression."""
    return f'"{phrase}"'


@dataclass(frozen=True, slots=True)
class ViewDescription:
    """What the reference shows of a public view."""

    name: str
    about: str
    question: str
    columns: list[tuple[str, str, str]]  # name, unit, meaning


def describe_views() -> list[ViewDescription]:
    """Return every public view with its columns."""
    return [
        ViewDescription(
            view.name,
            view.comment or "",
            view.info["question"],
            [(column.name, _find_unit(column), column.comment or "") for column in view.c],
        )
        for view in list_views().values()
    ]


def _find_unit(column: Column[Any]) -> str:
    return "boolean" if isinstance(column.type, Boolean) else str(column.info.get("unit", ""))
