"""Read the past of a database source into a file, for `slopeward import --from`.

The file grows page by page in the folder of the state, and a second file holds the position that was reached. A command
that was interrupted continues there. The file has the neutral long form, so that it is imported like any other file.
"""

import csv
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

from monitor.api.database import Database
from monitor.api.errors import ConfigError, JobError, NotFoundError, RefusedError
from monitor.api.hooks import SourcePast
from monitor.api.queries.ingest import Clock, open_plain
from monitor.api.settings import FOLDER_KIND, ROW_KINDS, ServiceConfig, SourceSection
from monitor.features.sources.fetching import FAILED, FetchedFile
from monitor.features.sources.poll import DOWNLOADS, download_files, is_piece, lock_download_folder
from monitor.features.sources.queries import FileState, load_files, save_file
from monitor.features.sources.rows import MORE, ROWS
from monitor.features.sources.section import make_fingerprint, make_request

COLUMNS: Final = ("time", "station", "quantity", "value", "sigma", "unit")
PROGRESS_FILE: Final = "progress.json"
SUFFIX: Final = ".past"


@dataclass(frozen=True, slots=True)
class _Progress:
    """How far the file was written.

    Attributes:
        key: Checksum of the keys of the source and of the first day.
        position: Position that was reached; empty at the beginning.
        size: Bytes of the file at this position.
        readings: Readings in the file.
        unreadable: Readings that were left out, because their time cannot be read.
        first_reason: Why the first of them was left out.
    """

    key: str
    position: str = ""
    size: int = 0
    readings: int = 0
    unreadable: int = 0
    first_reason: str = ""


def read_past(config: ServiceConfig, name: str, since: str, on_progress: Callable[[float], None]) -> SourcePast:
    """Read the rows of a source since a day into a file.

    Raises:
        NotFoundError: There is no such source.
        ConfigError: The source reads files, it cannot be read, or it has no reading since this day.
        MissingSettingError: The environment variable of the secret is not set.
    """
    source = _find_source(config, name)
    root = Path(config.paths.state) / DOWNLOADS
    folder = root / f"{name}{SUFFIX}"
    with lock_download_folder(root, f"{name}{SUFFIX}-pages") as pages:
        progress, notes = _read_pages(source, since, folder, pages, on_progress)
    if not progress.readings:
        raise ConfigError(
            f"source {name}: no reading since {since}" + (f"; {notes[-1]}" if notes else "") + ": check since, columns "
            "and series"
        )
    if progress.unreadable:
        notes.append(f"{progress.unreadable} readings were left out; the first reason: {progress.first_reason}")
    path = folder / f"{name}.csv"
    finish = partial(_finish, source=source, position=progress.position, folder=folder)
    return SourcePast(path, source.site, tuple(notes), finish, f"source {name}", source.zone)


def _find_source(config: ServiceConfig, name: str) -> SourceSection:
    sections = {section.name: section for section in config.source if section.kind != FOLDER_KIND}
    if name not in sections:
        raise NotFoundError(f"no source {name!r}; there are: {', '.join(sorted(sections)) or 'none'}")
    source = sections[name]
    if source.kind not in ROW_KINDS:
        raise ConfigError(
            f"source {name}: kind {source.kind!r} reads files, which contain their past: slopeward ingest sources poll "
            f"{name}"
        )
    return source


def _read_pages(
    source: SourceSection, since: str, folder: Path, pages: Path, on_progress: Callable[[float], None]
) -> tuple[_Progress, list[str]]:
    """Append pages to the file until the newest row, and return what it contains with notes on rows not read."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    from_start = source.model_copy(update={"since": since})
    key = hashlib.sha256(make_fingerprint(from_start).encode()).hexdigest()
    progress = _load_progress(folder, key)
    notes: list[str] = []
    path = folder / f"{source.name}.csv"
    if not progress.size:
        path.write_text(",".join(COLUMNS) + "\n", encoding="utf-8")
    else:
        os.truncate(path, progress.size)
    has_more = True
    while has_more:
        fetched = _fetch(from_start, progress, pages)
        for position, piece in fetched.files:
            if not is_piece(pages, piece):
                raise ConfigError(f"source {source.name}: the worker returned an invalid file")
            progress = _append(path, pages / piece, position, progress)
            _save_progress(folder, progress)
        if fetched.notes and fetched.notes not in notes:
            notes.append(fetched.notes)
        if fetched.reason:
            raise ConfigError(f"source {source.name}: {fetched.reason}. Repeat the command: it continues there")
        has_more = fetched.etag == MORE
        on_progress(_find_share(since, fetched.acquired_at) if has_more else 1.0)
    return progress, notes


def _fetch(source: SourceSection, progress: _Progress, pages: Path) -> FetchedFile:
    now = datetime.now(UTC)
    states: Mapping[str, FileState] = {}
    if progress.position:
        states = {ROWS: FileState(ROWS, MORE, progress.position, 0, "", now)}
    request = make_request(source, states, pages, os.environ, now)
    try:
        (fetched,) = download_files(source, request, [])
    except (JobError, RefusedError) as error:
        raise ConfigError(f"source {source.name}: {error.message}. Repeat the command: it continues there") from None
    if fetched.state == FAILED:
        raise ConfigError(f"source {source.name}: {fetched.reason}")
    return fetched


def _append(path: Path, piece: Path, position: str, progress: _Progress) -> _Progress:
    """Append the readings of a page to the file, and return the progress after it."""
    readings = progress.readings
    unreadable = progress.unreadable
    first_reason = progress.first_reason
    with path.open("a", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, extrasaction="ignore", lineterminator="\n")
        for row, reason in _list_readings(piece):
            if reason:
                unreadable += 1
                first_reason = first_reason or reason
            else:
                readings += 1
                writer.writerow(row)
        file.flush()
        os.fsync(file.fileno())
        size = file.tell()
    piece.unlink()
    return _Progress(progress.key, position or progress.position, size, readings, unreadable, first_reason)


def _list_readings(piece: Path) -> Iterator[tuple[Mapping[str, Any], str]]:
    """Yield the readings of a page, each with the reason why it cannot be read; empty if it can."""
    with open_plain(piece) as lines:
        for line in lines:
            for row, error in line.rows:
                yield row, "" if error is None else error.message


def _find_share(since: str, newest_at: str) -> float:
    """Return which share of the time since the first day was read."""
    if not newest_at:
        return 0.0
    begin = datetime.fromisoformat(since).replace(tzinfo=UTC)
    span_s = (datetime.now(UTC) - begin).total_seconds()
    share = (datetime.fromisoformat(newest_at) - begin).total_seconds() / max(span_s, 1.0)
    return min(max(share, 0.0), 1.0)


def _load_progress(folder: Path, key: str) -> _Progress:
    """Return how far an interrupted command came; the beginning if keys of the source or the first day changed."""
    try:
        progress = _Progress(**json.loads((folder / PROGRESS_FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return _Progress(key)
    return progress if progress.key == key else _Progress(key)


def _save_progress(folder: Path, progress: _Progress) -> None:
    part = folder / f"{PROGRESS_FILE}.part"
    part.write_text(json.dumps(asdict(progress)), encoding="utf-8")
    part.replace(folder / PROGRESS_FILE)


def _finish(db: Database, clock: Clock, *, source: SourceSection, position: str, folder: Path) -> None:
    """Let the next poll begin where the past ends, unless the source was polled before, and remove the file."""
    fingerprint = make_fingerprint(source)
    state = db.run_read(load_files, source.name).get(ROWS)
    if position and (state is None or state.sha256 != fingerprint):
        db.run_write(save_file, source.name, FileState(ROWS, "", position, 0, fingerprint, clock()))
    shutil.rmtree(folder, ignore_errors=True)
