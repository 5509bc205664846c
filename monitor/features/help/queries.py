"""Search index of the help sections, and the descriptions of the public views."""

import sqlite3
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Boolean, Column

from monitor.api.database import list_views

# Around a matched word of an excerpt.
BEGIN: Final = "\x01"
END: Final = "\x02"
_FIND: Final = """
SELECT page, anchor, heading, snippet(section, 4, ?, ?, ' … ', 24), bm25(section, 0, 0, 8, 5, 1)
FROM section WHERE section MATCH ? ORDER BY 5 LIMIT 200
"""


class HelpIndex:
    """Full-text index of sections, by the stems of their words."""

    def __init__(self, rows: Iterable[tuple[str, str, str, str, str]]) -> None:
        """Index sections.

        Args:
            rows: Page, anchor, title of the page, heading and text of each section.
        """
        self._lock = threading.Lock()
        self._index = sqlite3.connect(":memory:", check_same_thread=False)
        columns = "page UNINDEXED, anchor UNINDEXED, title, heading, text, tokenize = 'porter unicode61'"
        self._index.execute(f"CREATE VIRTUAL TABLE section USING fts5({columns})")
        self._index.executemany("INSERT INTO section VALUES (?, ?, ?, ?, ?)", rows)

    def find(self, terms: Iterable[str]) -> list[tuple[str, str, str, str, float]]:
        """Return page, anchor, heading, excerpt and rank of sections with any of the terms. The lowest rank is best."""
        with self._lock:
            expression = " OR ".join(f'"{term}"' for term in terms)
            return self._index.execute(_FIND, (BEGIN, END, expression)).fetchall()


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
