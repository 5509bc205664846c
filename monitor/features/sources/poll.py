"""Poll sources: download new files or rows in a worker, store them, and record the outcome.

Contains the job of a site.
"""

import fcntl
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple

from monitor.api.database import IDLE, Database
from monitor.api.decoders import BrokerMessage, Pipeline
from monitor.api.errors import JobError, RefusedError, SlopewardError, StoreBusyError, StoreError
from monitor.api.files import ImportOptions
from monitor.api.ingest import PAYLOAD_LIMIT
from monitor.api.queries.ingest import Clock, RejectedMessage, find_newest
from monitor.api.settings import FOLDER_KIND, ROW_KINDS, ServiceConfig, SourceSection
from monitor.api.sites import Site
from monitor.api.text import FUTURE_TOLERANCE, LABELLED_TEXT, Message, Template, format_iso
from monitor.api.worker import SandboxLimits, compute
from monitor.features.sources import store
from monitor.features.sources.download import DOWNLOAD
from monitor.features.sources.fetching import FAILED, NEW, SKIPPED, FetchedFile, PollRequest, require_disk_space
from monitor.features.sources.folder import SERIES, scan_folder
from monitor.features.sources.outcome import PollSummary, update_state
from monitor.features.sources.queries import (
    FileState,
    delete_source,
    find_poll,
    load_files,
    load_polls,
    save_file,
    save_poll,
    truncate,
)
from monitor.features.sources.rows import MORE, ROWS
from monitor.features.sources.section import (
    MIB,
    choose_reader,
    describe_address,
    find_database_file,
    make_binding,
    make_fingerprint,
    make_options,
    make_request,
)
from monitor.features.sources.store import SourceTarget

DOWNLOADS: Final = "sources"  # folder below paths.state for files that are being downloaded
WATCHED_PREFIX: Final = "inbox/"  # the name of a watched folder is this and its site
FOLDER_POLL_S: Final = 60.0
# These faults concern a whole Datastream, until its [[source]] table or the site file is corrected.
SECTION_FAULTS: Final = frozenset({"unit_mismatch", "unknown_quantity"})
_LATER: Final = Template("source.later", "{n} of {total} files were fetched, the others later: {problem}")
_UNEXPECTED: Final = Template("source.answer", "the worker returned a file that was not requested")
_OTHER_FOLDER: Final = Template("source.answer.folder", "the worker returned a folder that is not its own")
_NO_FILE: Final = Template("source.answer.none", "the worker returned a file that does not exist or is not valid")
_BUSY: Final = Template("source.busy", "another process polls source {name} at this moment: try again later")
_PAGE_NAME: Final = re.compile(r"[0-9]{3,}-[0-9]{5,}\.json")
_PIECE_NAME: Final = re.compile(r"[0-9]{5,}\.jsonl")


class _ReadingRules(NamedTuple):
    """How downloaded files are read."""

    reader: str
    options: ImportOptions
    may_shrink: bool


def poll_source(
    source: SourceSection, target: SourceTarget, environ: Mapping[str, str], *, may_shrink: bool = False
) -> PollSummary:
    """Poll a source, store what is new and record the outcome.

    Args:
        may_shrink: Accept files that became shorter since the last poll.

    Raises:
        RefusedError: Another process polls the source at this moment.
        StoreBusyError: The database is unavailable. The next poll stores what is missing.
    """
    summary = PollSummary(source.name)
    with lock_download_folder(Path(target.config.paths.state) / DOWNLOADS, source.name) as folder:
        file_states = _load_valid_states(source, target)
        try:
            _poll(source, target, environ, summary, file_states, folder, may_shrink=may_shrink)
        except StoreBusyError:
            raise
        except (SlopewardError, OSError) as error:
            summary.errors.append(truncate(_format_error(error)))
    _save_outcome(summary, source, target)
    return summary


def _load_valid_states(source: SourceSection, target: SourceTarget) -> dict[str, FileState]:
    """Return the stored versions of files that need not be downloaded again."""
    states = target.db.run_read(load_files, source.name)
    mapping = Path(source.mapping)
    if source.mapping and mapping.is_file():
        # Files that were read before the mapping changed are downloaded and read again.
        changed_at_s = mapping.stat().st_mtime
        states = {
            name: replace(state, etag="", modified="", sha256="")
            if changed_at_s > state.taken_at.timestamp()
            else state
            for name, state in states.items()
        }
    if source.kind in ROW_KINDS:
        fingerprint = make_fingerprint(source)
        states = {name: state for name, state in states.items() if state.sha256 == fingerprint}
    if source.kind == "sensorthings":
        # A newest time in the future would exclude every new observation, so such a Datastream is read from the start.
        latest = format_iso(target.clock() + FUTURE_TOLERANCE)
        states = {name: state for name, state in states.items() if state.modified <= latest}
    return states


def _poll(
    source: SourceSection,
    target: SourceTarget,
    environ: Mapping[str, str],
    summary: PollSummary,
    file_states: Mapping[str, FileState],
    folder: Path,
    *,
    may_shrink: bool,
) -> None:
    reader = "" if source.kind in {"stac", "sensorthings", *ROW_KINDS} else choose_reader(source)
    rules = _ReadingRules(reader, make_options(source, target.site), may_shrink or source.rolling)
    reserve_bytes = target.config.limits.reserve_mb * MIB
    request = make_request(source, file_states, folder, environ, target.clock())
    request = replace(request, reserve_bytes=reserve_bytes, since=request.since or _find_since(source, target))
    require_disk_space(request)
    for fetched in download_files(source, request, summary.errors):
        before = file_states.get(fetched.name)
        if fetched.state == FAILED:
            summary.errors.append(truncate(fetched.reason))
        elif fetched.state == SKIPPED:
            summary.same += 1
            _save_item(summary, fetched, target)
        elif fetched.state != NEW:
            summary.same += 1
        elif source.kind in ROW_KINDS:
            _store_pieces(summary, fetched, source, folder, target)
        elif source.kind == "stac":
            _store_scene(summary, fetched, folder, target)
        elif source.kind == "sensorthings":
            store_pages(summary, fetched, source, folder, "" if before is None else before.modified, target)
        else:
            _store_file(summary, fetched, folder / fetched.name, before, rules, target)


def _find_since(source: SourceSection, target: SourceTarget) -> str:
    """Return the day at which a source of rows begins again after one of its keys changed; empty otherwise.

    The stored position has no meaning then. Without this day, rows of an outage longer than the overlap would be left
    out.
    """
    state = target.db.run_read(load_files, source.name).get(ROWS)
    if source.kind not in ROW_KINDS or state is None or state.sha256 == make_fingerprint(source):
        return ""
    return f"{state.taken_at - timedelta(seconds=source.overlap_s):%Y-%m-%d}"


def download_files(source: SourceSection, request: PollRequest, errors: list[str]) -> list[FetchedFile]:
    """Download in a worker and return the files. If the worker was killed at its limit, return the complete files.

    Raises:
        RefusedError: The download failed, or the worker returned a file that was not requested.
    """
    reads = [path for path in (request.login.key_file, request.ca_file) if path]
    database_file = find_database_file(source)
    if database_file is not None:
        # The folder, because SQLite also reads the files of transactions beside the database.
        reads.append(str(database_file.parent))
    limits = SandboxLimits(
        file_bytes=request.max_file_bytes + MIB, reads=tuple(reads), writes=(request.folder,), can_use_network=True
    )
    try:
        files = compute.run(DOWNLOAD, request, source.limit_s, limits=limits).files
    except JobError as error:
        # A file has its final name only when it is complete.
        complete = [wanted.name for wanted in request.wanted if (Path(request.folder) / wanted.name).is_file()]
        if source.kind in {"stac", "sensorthings", *ROW_KINDS} or not complete:
            raise RefusedError(error.problem) from None
        errors.append(truncate(_LATER(n=len(complete), total=len(request.wanted), problem=error.problem)))
        return [FetchedFile(name, NEW) for name in complete]
    requested_names = {wanted.name for wanted in request.wanted}
    if source.kind != "stac" and not {file.name for file in files} <= requested_names:
        raise RefusedError(_UNEXPECTED())
    return [
        replace(
            file,
            name=_make_storable(file.name),
            reason=_make_storable(file.reason),
            etag=_make_storable(file.etag),
            modified=_make_storable(file.modified),
            notes=_make_storable(file.notes),
        )
        for file in files
    ]


def _make_storable(text: str) -> str:
    """Replace characters that a database cannot store."""
    storable = text.encode("utf-8", "replace").decode().replace("\0", "?")
    return text if storable == text else storable


def _format_error(error: Exception) -> str:
    """Return the text of an error in one line. A message stays a message."""
    text = error.message if isinstance(error, SlopewardError) else str(error)
    return text if isinstance(text, Message) else " ".join(text.split())


def _store_file(
    summary: PollSummary,
    fetched: FetchedFile,
    path: Path,
    before: FileState | None,
    rules: _ReadingRules,
    target: SourceTarget,
) -> None:
    digest = ""
    try:
        size, digest = store.measure_file(path)
        end = store.find_complete_end(path, size, digest, before)
        state = FileState(fetched.name, fetched.etag, fetched.modified, end, digest, target.clock())
        if end < size:
            # Without these the next poll downloads the file again.
            state = replace(state, etag="", modified="")
            os.truncate(path, end)
            summary.unfinished.append(fetched.name)
        if before is not None and before.reason is None and (before.sha256, before.size) == (digest, end):
            summary.same += 1
        else:
            store.check_content(path, end, before, may_shrink=rules.may_shrink)
            summary.add(store.store_file(path, rules.reader, rules.options, target, fetched.name))
    except StoreBusyError:
        raise
    except SlopewardError as error:
        line = store.describe_error(error, path)
        summary.errors.append(truncate(line))
        if before is not None:
            return  # The next poll compares with the version that is stored.
        state = FileState(fetched.name, "", "", 0, digest, target.clock(), line)
    target.db.run_write(save_file, summary.source, state)
    path.unlink(missing_ok=True)


def store_pages(
    summary: PollSummary,
    fetched: FetchedFile,
    source: SourceSection,
    folder: Path,
    newest: str,
    target: SourceTarget,
) -> None:
    """Store the pages of a Datastream in order, and the newest time after each page, so that a poll can be resumed.

    Times in the future are ignored: a later poll would skip all observations before them. Observations that cannot be
    read are quarantined once.

    Args:
        newest: Newest stored time in ISO format; empty if none.

    Raises:
        RefusedError: The worker returned an invalid file.
        StoreBusyError: The database is unavailable. The next poll begins after the last page that was stored.
    """
    site = replace(target.site, decoders=(make_binding(source),))
    pipeline = Pipeline(target.db, {site.id: site}, target.clock, target.config.limits)
    topic = f"{source.name}/{fetched.name}"
    client = f"file:{target.actor_name}/{fetched.name}"
    has_stored = False
    for _, name in fetched.files:
        path = folder / name
        is_plain = bool(_PAGE_NAME.fullmatch(name)) and not path.is_symlink() and path.is_file()
        if not is_plain or path.stat().st_size > PAYLOAD_LIMIT:
            raise RefusedError(LABELLED_TEXT(name=fetched.name, text=_NO_FILE()))
        message = BrokerMessage(topic, path.read_bytes(), target.clock(), client)
        decoded = pipeline.decode(message)
        rejected = [
            RejectedMessage(message.received_at, topic, fault.payload, fault.code, fault.reason, client)
            for fault in decoded.faults
        ]
        if rejected:
            summary.errors.append(truncate(LABELLED_TEXT(name=fetched.name, text=rejected[0].reason)))
        if any(fault.code in SECTION_FAULTS for fault in decoded.faults):
            return  # The next poll tries again. Rejected messages are not stored, since each poll would add a copy.
        result = pipeline.store_rows(decoded.observations, rejected, by=target.actor_name)
        summary.rows += result.stored
        summary.revisions += result.revisions
        summary.rejected += len(rejected)
        newest_of_page = find_newest(message.payload, message.received_at + FUTURE_TOLERANCE)
        if newest_of_page is not None:
            newest = max(newest, format_iso(newest_of_page))
        with target.db.write() as c:
            save_file(c, summary.source, FileState(fetched.name, "", newest, 0, "", target.clock()))
        path.unlink()
        has_stored = has_stored or bool(result.stored)
    summary.new += has_stored
    summary.same += not has_stored


def _has_brought_none(source: SourceSection, target: SourceTarget) -> bool:
    """Return whether no poll of a source has stored a value."""
    state = target.db.run_read(find_poll, source.name)
    return state is None or state.rows_all == 0


def is_piece(folder: Path, name: str) -> bool:
    """Return whether a worker wrote a file of rows with this name."""
    path = folder / name
    return bool(_PIECE_NAME.fullmatch(name)) and not path.is_symlink() and path.is_file()


def _store_pieces(
    summary: PollSummary, fetched: FetchedFile, source: SourceSection, folder: Path, target: SourceTarget
) -> None:
    """Store the rows of a database piece by piece, and the position after each piece, so that a poll can be resumed.

    Raises:
        RefusedError: The worker returned an invalid file, or no row could be read.
        StoreBusyError: The database is unavailable. The next poll begins after the last piece that was stored.
    """
    fingerprint = make_fingerprint(source)
    has_stored = False
    valid = 0
    for number, (position, name) in enumerate(fetched.files):
        path = folder / name
        if not is_piece(folder, name):
            raise RefusedError(LABELLED_TEXT(name=fetched.name, text=_NO_FILE()))
        result = store.store_rows(path, target)
        summary.rows += result.stored
        summary.revisions += result.revisions
        summary.rejected += result.rejected
        valid += result.valid
        has_stored = has_stored or bool(result.stored)
        has_more = bool(fetched.etag) or number + 1 < len(fetched.files)
        if position:
            state = FileState(ROWS, MORE if has_more else "", position, 0, fingerprint, target.clock())
            target.db.run_write(save_file, summary.source, state)
        path.unlink()
    summary.new += has_stored
    summary.same += not has_stored
    summary.has_more = bool(fetched.etag) and not fetched.reason
    if fetched.notes:
        # While a source has not brought any reading, names that it does not read are probably a mistake in `series`.
        has_brought_none = not valid and _has_brought_none(source, target)
        lines = summary.errors if has_brought_none else summary.notes
        lines.append(truncate(fetched.notes))
    if fetched.reason:
        summary.errors.append(truncate(fetched.reason))


def _store_scene(summary: PollSummary, fetched: FetchedFile, folder: Path, target: SourceTarget) -> None:
    try:
        if not fetched.etag.startswith("item-") or "/" in fetched.etag:
            raise RefusedError(_OTHER_FOLDER())
        inbox = Path(target.config.paths.inbox) / target.site.id
        item_folder = folder / fetched.etag
        scene = store.move_scene_to_inbox(item_folder, fetched.modified, fetched.acquired_at, fetched.files, inbox)
        summary.scenes.append(scene)
        summary.new += 1
    except (RefusedError, OSError) as error:
        line = _format_error(error)
        summary.errors.append(truncate(line))
        if not isinstance(line, Message) or line.id != store.ALREADY_IN_INBOX.id:
            return
    _save_item(summary, fetched, target)


def _save_item(summary: PollSummary, fetched: FetchedFile, target: SourceTarget) -> None:
    """Store that an item of a catalogue needs no further download."""
    with target.db.write() as c:
        save_file(c, summary.source, FileState(fetched.name[:500], "", fetched.modified, 0, "", target.clock()))


def _save_outcome(summary: PollSummary, source: SourceSection, target: SourceTarget) -> None:
    now = target.clock()
    with target.db.write() as c:
        before = find_poll(c, source.name)
        address = describe_address(source)
        state = update_state(before, summary, target.site.id, source.kind, now, source.every_s, address)
        save_poll(c, state)


@contextmanager
def lock_download_folder(root: Path, name: str) -> Iterator[Path]:
    """Lock the download folder of a source against other processes, and yield it empty.

    Raises:
        RefusedError: Another process holds the lock.
    """
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = os.open(root / f"{name}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    folder = (root / name).absolute()
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise RefusedError(_BUSY(name=name)) from None
        # A process that was killed may have left files.
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700)
        yield folder
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(lock)


def run(db: Database, config: ServiceConfig, site: Site, now: datetime, clock: Clock | None = None) -> str:
    """Import the watched folder of a site and poll its sources that are due. Return one line on the outcome."""
    clock = clock or (lambda: datetime.now(UTC))
    sections = {section.name: section for section in config.source if section.site == site.id}
    with db.read() as c:
        states = {state.source: state for state in load_polls(c) if state.site == site.id}
    for name in states:
        if name not in sections and not name.startswith(WATCHED_PREFIX):
            db.run_write(delete_source, name)
    folder = PollSummary(f"{WATCHED_PREFIX}{site.id}")
    scan_folder(folder, SourceTarget(db, config, site, clock, f"folder {site.id}"))
    before = states.get(folder.source)
    if folder.new or folder.errors or before is not None:
        address = f"{WATCHED_PREFIX}{SERIES}/{site.id}"
        with db.write() as c:
            save_poll(c, update_state(before, folder, site.id, FOLDER_KIND, clock(), FOLDER_POLL_S, address))
    lines = [folder.describe()] if folder.new else []
    for name, section in sections.items():
        # A section of kind folder has no server: it contains rules for files of the watched folder.
        is_due = name not in states or states[name].next_at <= now
        if is_due and section.kind != FOLDER_KIND:
            target = SourceTarget(db, config, site, clock, f"source {name}", section.accept_units)
            lines.append(_poll_and_describe(section, target))
    return "; ".join(lines) or IDLE


def _poll_and_describe(source: SourceSection, target: SourceTarget) -> str:
    """Poll a source and describe the outcome. An unexpected error is recorded, so that other sources are still polled.

    Raises:
        StoreError: The database is unavailable or cannot be written.
    """
    try:
        return poll_source(source, target, os.environ).describe()
    except RefusedError as error:
        return str(error)
    except StoreError:
        raise
    except Exception as error:
        line = " ".join(f"{type(error).__name__}: {error}".split())
        failed = PollSummary(source.name, errors=[truncate(_make_storable(line))])
        _save_outcome(failed, source, target)
        return failed.describe()
