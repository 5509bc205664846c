"""How each source of files does: when it was looked at, what came of it, and which versions of its files are stored."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, delete, select

from forecasting.message import gather, message_columns, read_columns
from monitor.store.database.engine import insert
from monitor.store.schema.tables import source_file, source_poll

TEXT_LIMIT: Final = 500


def cut(text: str) -> str:
    """A text as long as it is stored; a message that is longer becomes a plain one."""
    return text if len(text) <= TEXT_LIMIT else text[:TEXT_LIMIT]


@dataclass(frozen=True, slots=True)
class PollState:
    """What the last looks at a source came to.

    Args:
        source: its name.
        site: where its files belong.
        kind: what it is.
        polled_at: the last look.
        success_at: the last look without an error; None: never.
        since_at: the first look.
        error: what is wrong, None: nothing.
        error_since: since when.
        failures: looks in a row that failed.
        next_at: when the next one is due.
        rows_new: values that the last look stored.
        rows_all: values that all looks stored.
        address: where it is looked at, without any secret.
        new_at: the last look that brought a value or a scene; None: none did.
    """

    source: str
    site: str
    kind: str
    polled_at: datetime
    success_at: datetime | None
    since_at: datetime
    error: str | None
    error_since: datetime | None
    failures: int
    next_at: datetime
    rows_new: int
    rows_all: int
    address: str | None = None
    new_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class FileState:
    """The version of a file that was last looked at; `reason`: why it was not stored, None: it is."""

    name: str
    etag: str
    modified: str
    size: int
    sha256: str
    taken_at: datetime
    reason: str | None = None


def load_polls(c: Connection) -> list[PollState]:
    """All sources that were ever looked at, by name."""
    rows = c.execute(select(source_poll).order_by(source_poll.c.source))
    return [PollState(**gather(row._mapping)) for row in rows]  # noqa: SLF001


def find_poll(c: Connection, source: str) -> PollState | None:
    """One source, None where it was never looked at."""
    row = c.execute(select(source_poll).where(source_poll.c.source == source)).first()
    return None if row is None else PollState(**gather(row._mapping))  # noqa: SLF001


def save_poll(c: Connection, state: PollState) -> None:
    """Write what a look came to."""
    row = {name: getattr(state, name) for name in PollState.__slots__}
    _save(c, source_poll, row | message_columns("error", state.error), ["source"])


def load_files(c: Connection, source: str) -> dict[str, FileState]:
    """The files of a source, by name."""
    rows = c.execute(select(source_file).where(source_file.c.source == source).order_by(source_file.c.name))
    return {
        r.name: FileState(
            r.name, r.etag, r.modified, r.size, r.sha256, r.taken_at,
            read_columns(r, "reason"),
        )
        for r in rows
    }  # fmt: skip


def save_file(c: Connection, source: str, state: FileState) -> None:
    """Write which version of a file was looked at."""
    row = {name: getattr(state, name) for name in FileState.__slots__}
    row["etag"], row["modified"] = state.etag[:300], state.modified[:300]
    row |= message_columns("reason", None if state.reason is None else cut(state.reason))
    _save(c, source_file, {"source": source, **row}, ["source", "name"])


def forget_source(c: Connection, source: str) -> None:
    """Forget a source that no file names any more."""
    c.execute(delete(source_poll).where(source_poll.c.source == source))
    c.execute(delete(source_file).where(source_file.c.source == source))


def _save(c: Connection, table: Any, row: Mapping[str, Any], key: list[str]) -> None:
    statement = insert(c, table).values(**row)
    changed = {name: statement.excluded[name] for name in row if name not in key}
    c.execute(statement.on_conflict_do_update(index_elements=key, set_=changed))


def forget_files(c: Connection, source: str, names: Collection[str]) -> None:
    """Forget files that are gone."""
    for name in names:
        c.execute(delete(source_file).where(source_file.c.source == source, source_file.c.name == name))
