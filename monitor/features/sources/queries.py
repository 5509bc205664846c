"""How each source of files does: when it was looked at, what came of it, and which versions of its files are stored."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, delete, select

from monitor.api.database import find_record, load_records, record_to_dict, save_rows
from monitor.features.sources.tables import source_file, source_poll

TEXT_LIMIT: Final = 500


def cut(text: str) -> str:
    """A text as long as it is stored; a message that is longer becomes a plain one."""
    return text if len(text) <= TEXT_LIMIT else text[:TEXT_LIMIT]


@dataclass(frozen=True, slots=True)
class PollState:
    """What the last looks at a source came to."""

    source: str  # its name
    site: str  # where its files belong
    kind: str  # what it is
    polled_at: datetime  # the last look
    success_at: datetime | None  # the last look without an error; None: never
    since_at: datetime  # the first look
    error: str | None  # what is wrong, None: nothing
    error_since: datetime | None  # since when
    failures: int  # looks in a row that failed
    next_at: datetime  # when the next one is due
    rows_new: int  # values that the last look stored
    rows_all: int  # values that all looks stored
    address: str | None = None  # where it is looked at, without any secret
    new_at: datetime | None = None  # the last look that brought a value or a scene; None: none did


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
    return load_records(c, PollState, select(source_poll).order_by(source_poll.c.source))


def find_poll(c: Connection, source: str) -> PollState | None:
    """One source, None where it was never looked at."""
    return find_record(c, PollState, select(source_poll).where(source_poll.c.source == source))


def save_poll(c: Connection, state: PollState) -> None:
    """Write what a look came to."""
    save_rows(c, source_poll, [record_to_dict(state)])


def load_files(c: Connection, source: str) -> dict[str, FileState]:
    """The files of a source, by name."""
    query = select(source_file).where(source_file.c.source == source).order_by(source_file.c.name)
    return {one.name: one for one in load_records(c, FileState, query)}


def save_file(c: Connection, source: str, state: FileState) -> None:
    """Write which version of a file was looked at."""
    reason = None if state.reason is None else cut(state.reason)
    row = replace(state, etag=state.etag[:300], modified=state.modified[:300], reason=reason)
    save_rows(c, source_file, [{"source": source, **record_to_dict(row)}])


def forget_source(c: Connection, source: str) -> None:
    """Forget a source that no file names any more."""
    c.execute(delete(source_poll).where(source_poll.c.source == source))
    c.execute(delete(source_file).where(source_file.c.source == source))


def forget_files(c: Connection, source: str, names: Collection[str]) -> None:
    """Forget files that are gone."""
    c.execute(delete(source_file).where(source_file.c.source == source, source_file.c.name.in_(names)))
