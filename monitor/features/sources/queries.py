"""Read and write the states of sources and of their files."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, delete, select

from monitor.api.database import find_record, load_records, record_to_dict, save_rows
from monitor.features.sources.tables import source_file, source_poll

MAX_TEXT_LENGTH: Final = 500
MAX_HEADER_LENGTH: Final = 300


def truncate(text: str) -> str:
    """Shorten a text to the length that is stored. A message that is too long becomes plain text."""
    return text if len(text) <= MAX_TEXT_LENGTH else text[:MAX_TEXT_LENGTH]


@dataclass(frozen=True, slots=True)
class PollState:
    """State of a source after its latest poll.

    Attributes:
        source: Name of the source.
        site: Site of its files.
        kind: Kind of the `[[source]]` table, or `folder`.
        polled_at: Time of the latest poll.
        success_at: Time of the latest poll without an error; None if there was none.
        since_at: Time of the first poll.
        error: Error of the latest poll; None if it succeeded.
        error_since: Time of the first of the polls in a row that failed.
        failures: Polls in a row that failed.
        next_at: When the next poll is due.
        rows_new: Values that the latest poll stored.
        rows_all: Values that all polls stored.
        address: Address without secrets.
        new_at: Time of the latest poll that stored a value or a scene; None if there was none.
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
    """Version of a file that was read last. `reason` is why it was not stored; None if it was."""

    name: str
    etag: str
    modified: str
    size: int
    sha256: str
    taken_at: datetime
    reason: str | None = None


def load_polls(c: Connection) -> list[PollState]:
    """Return the states of all sources, ordered by name."""
    return load_records(c, PollState, select(source_poll).order_by(source_poll.c.source))


def find_poll(c: Connection, source: str) -> PollState | None:
    """Return the state of a source, or None if it was never polled."""
    return find_record(c, PollState, select(source_poll).where(source_poll.c.source == source))


def save_poll(c: Connection, state: PollState) -> None:
    """Store the state of a source."""
    save_rows(c, source_poll, [record_to_dict(state)])


def load_files(c: Connection, source: str) -> dict[str, FileState]:
    """Return the files of a source by name."""
    query = select(source_file).where(source_file.c.source == source).order_by(source_file.c.name)
    return {state.name: state for state in load_records(c, FileState, query)}


def save_file(c: Connection, source: str, state: FileState) -> None:
    """Store the state of a file."""
    row = replace(
        state,
        etag=state.etag[:MAX_HEADER_LENGTH],
        modified=state.modified[:MAX_HEADER_LENGTH],
        reason=None if state.reason is None else truncate(state.reason),
    )
    save_rows(c, source_file, [{"source": source, **record_to_dict(row)}])


def delete_source(c: Connection, source: str) -> None:
    """Delete the state of a source and of its files."""
    c.execute(delete(source_poll).where(source_poll.c.source == source))
    c.execute(delete(source_file).where(source_file.c.source == source))


def delete_files(c: Connection, source: str, names: Collection[str]) -> None:
    """Delete the states of files that no longer exist."""
    c.execute(delete(source_file).where(source_file.c.source == source, source_file.c.name.in_(names)))
