"""One look at a source: fetch what is new in a worker, take it in, and keep what came of it; the job that does so."""

import fcntl
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from monitor.api.database import IDLE, Database
from monitor.api.decoders import BrokerMessage, Pipeline
from monitor.api.errors import JobError, RefusedError, SlopewardError, StoreBusyError, StoreError
from monitor.api.files import ImportOptions
from monitor.api.ingest import PAYLOAD_LIMIT
from monitor.api.queries.ingest import Clock, RejectedMessage, find_newest
from monitor.api.settings import FOLDER_KIND, ServiceConfig, SourceSection
from monitor.api.sites import Site
from monitor.api.text import FUTURE_TOLERANCE, LABELLED_TEXT, Message, Template, format_iso
from monitor.api.worker import SandboxLimits, compute
from monitor.features.sources import take
from monitor.features.sources.addresses import hide_query
from monitor.features.sources.download import FETCH
from monitor.features.sources.fetch import FAILED, NEW, OLD, FetchedFile, PollRequest, require_room
from monitor.features.sources.folder import SERIES, scan_folder
from monitor.features.sources.plan import MIB, find_form, make_binding, make_options, make_request
from monitor.features.sources.polled import PollSummary, follow
from monitor.features.sources.queries import (
    FileState,
    cut,
    find_poll,
    forget_source,
    load_files,
    load_polls,
    save_file,
    save_poll,
)
from monitor.features.sources.take import SourceTarget

FOLDER: Final = "sources"  # in paths.state: what is being fetched
INBOX: Final = "inbox/"  # before a site: the name of a watched folder
_LATER: Final = Template("source.later", "{n} of {total} files were fetched, the others later: {problem}")
_UNEXPECTED: Final = Template("source.answer", "the worker answered about a file that it was not asked for")
_OTHER_FOLDER: Final = Template("source.answer.folder", "the worker answered about a folder that is not its own")
_BUSY: Final = Template("source.busy", "source {name} is being looked at by another process")


OF_THE_TABLE: Final = frozenset(
    {"unit_mismatch", "unknown_quantity"}
)  # they go for a whole Datastream, until it is mended
_NO_FILE: Final = Template("source.answer.none", "the worker answered with a file that is none")
_FILE: Final = re.compile(r"[0-9]{3,}-[0-9]{5,}\.json")


def take_pages(
    found: PollSummary, one: FetchedFile, source: SourceSection, folder: Path, newest: str, place: SourceTarget
) -> None:
    """Store the pages of a Datastream in their order; after each one the newest time is kept, so that a look goes on.

    A time of the future is not kept: nothing that comes would be newer. What cannot be read is quarantined once. Raises
    StoreBusyError: the database did not answer; the next look begins after the last page that was stored.
    """
    site = replace(place.site, decoders=(make_binding(source),))
    pipeline = Pipeline(place.db, {site.id: site}, place.clock, place.config.limits)
    topic, client = f"{source.name}/{one.name}", f"file:{place.who}/{one.name}"
    stored = False
    for _, name in one.files:
        path = folder / name
        if not _FILE.fullmatch(name) or path.is_symlink() or not path.is_file() or path.stat().st_size > PAYLOAD_LIMIT:
            raise RefusedError(LABELLED_TEXT(name=one.name, text=_NO_FILE()))
        message = BrokerMessage(topic, path.read_bytes(), place.clock(), client)
        decoded = pipeline.decode(message)
        faults = [
            RejectedMessage(message.received_at, topic, f.payload, f.code, f.reason, client) for f in decoded.faults
        ]
        if faults:
            found.errors.append(cut(LABELLED_TEXT(name=one.name, text=faults[0].reason)))
        if any(fault.code in OF_THE_TABLE for fault in decoded.faults):
            return  # the next look tries again, and no copy is kept each time
        result = pipeline.store_rows(decoded.observations, faults, by=place.who)
        found.rows, found.revisions = found.rows + result.stored, found.revisions + result.revisions
        found.rejected += len(faults)
        last = find_newest(message.payload, message.received_at + FUTURE_TOLERANCE)
        newest = newest if last is None else max(newest, format_iso(last))
        with place.db.write() as c:
            save_file(c, found.source, FileState(one.name, "", newest, 0, "", place.clock()))
        path.unlink()
        stored = stored or bool(result.stored)
    found.new += stored
    found.same += not stored


def poll_source(
    source: SourceSection, place: take.SourceTarget, environ: Mapping[str, str], *, may_shrink: bool = False
) -> PollSummary:
    """Look at a source now.

    Raises:
        RefusedError: another process looks at it at this moment.
        StoreBusyError: the database did not answer; the next look stores what is missing.
    """
    found = PollSummary(source.name)
    with _alone(Path(place.config.paths.state) / FOLDER, source.name) as folder:
        known = place.db.run_read(load_files, source.name)
        mapping = Path(source.mapping)
        if source.mapping and mapping.is_file():  # what was read before it was mended is fetched and read again
            mended_at = mapping.stat().st_mtime
            known = {
                name: replace(s, etag="", modified="", sha256="") if mended_at > s.taken_at.timestamp() else s
                for name, s in known.items()
            }
        if source.kind == "sensorthings":  # a newest time of the future would let nothing in: it is read from the start
            latest = format_iso(place.clock() + FUTURE_TOLERANCE)
            known = {name: state for name, state in known.items() if state.modified <= latest}
        try:
            form = "" if source.kind in {"stac", "sensorthings"} else find_form(source)
            options = make_options(source, place.site)
            reserve_bytes = place.config.limits.reserve_mb * MIB
            request = replace(make_request(source, known, folder, environ), reserve_bytes=reserve_bytes)
            require_room(request)
            for one in _fetch(source, request, found.errors):
                before = known.get(one.name)
                if one.state == FAILED:
                    found.errors.append(cut(one.reason))
                elif one.state != NEW:
                    found.same += 1
                    if one.state == OLD:
                        _note_item(found, one, place)
                elif source.kind == "stac":
                    _take_scene(found, one, folder, place)
                elif source.kind == "sensorthings":
                    take_pages(found, one, source, folder, "" if before is None else before.modified, place)
                else:
                    path, shrinks = folder / one.name, may_shrink or source.rolling
                    _take(found, one, path, before, (form, options, shrinks), place)
        except StoreBusyError:
            raise
        except (SlopewardError, OSError) as error:
            found.errors.append(cut(_one_line(error)))
    _keep(found, source, place)
    return found


def _fetch(source: SourceSection, request: PollRequest, errors: list[str]) -> list[FetchedFile]:
    """What the worker fetched of what it was asked for; an answer about something else is refused.

    Of one that was ended at its limit, the files that are whole are kept: nothing half-written bears a name.
    """
    reads = [path for path in (request.login.key_file, request.ca_file) if path]
    limits = SandboxLimits(
        file_bytes=request.most_bytes + MIB, reads=tuple(reads), writes=(request.folder,), can_use_network=True
    )
    try:
        files = compute.run(FETCH, request, source.limit_s, limits=limits).files
    except JobError as error:
        line = error.problem
        whole = [wanted.name for wanted in request.wanted if (Path(request.folder) / wanted.name).is_file()]
        if source.kind in {"stac", "sensorthings"} or not whole:
            raise RefusedError(line) from None
        errors.append(cut(_LATER(n=len(whole), total=len(request.wanted), problem=line)))
        return [FetchedFile(name, NEW) for name in whole]
    names = {wanted.name for wanted in request.wanted}
    if source.kind != "stac" and not {one.name for one in files} <= names:
        raise RefusedError(_UNEXPECTED())
    return [
        replace(
            one, name=_clean(one.name), reason=_clean(one.reason), etag=_clean(one.etag), modified=_clean(one.modified)
        )
        for one in files
    ]


def _clean(text: str) -> str:
    """A text of a server as a database takes it."""
    plain = text.encode("utf-8", "replace").decode().replace("\0", "?")
    return text if plain == text else plain


def _one_line(error: Exception) -> str:
    """What an error says; a message stays one."""
    text = error.message if isinstance(error, SlopewardError) else str(error)
    return text if isinstance(text, Message) else " ".join(text.split())


def _take(
    found: PollSummary,
    one: FetchedFile,
    path: Path,
    before: FileState | None,
    how: tuple[str, ImportOptions, bool],
    place: take.SourceTarget,
) -> None:
    form, options, may_shrink = how
    digest = ""
    try:
        size, digest = take.measure(path)
        end = take.find_end(path, size, digest, before)
        state = FileState(one.name, one.etag, one.modified, end, digest, place.clock())
        if end < size:
            state = replace(state, etag="", modified="")  # the next look fetches it again
            os.truncate(path, end)
            found.held.append(one.name)
        if before is not None and before.reason is None and (before.sha256, before.size) == (digest, end):
            found.same += 1
        else:
            take.check_content(path, end, before, may_shrink=may_shrink)
            found.add(take.take_file(path, form, options, place, one.name))
    except StoreBusyError:
        raise
    except SlopewardError as error:
        line = take.explain(error, path)
        found.errors.append(cut(line))
        if before is not None:
            return  # what is stored stays the measure of the next look
        state = FileState(one.name, "", "", 0, digest, place.clock(), line)
    place.db.do(save_file, found.source, state)
    path.unlink(missing_ok=True)


def _take_scene(found: PollSummary, one: FetchedFile, folder: Path, place: take.SourceTarget) -> None:
    try:
        if not one.etag.startswith("item-") or "/" in one.etag:
            raise RefusedError(_OTHER_FOLDER())
        inbox = Path(place.config.paths.inbox) / place.site.id
        found.scenes.append(take.place_scene(folder / one.etag, one.modified, one.acquired_at, one.files, inbox))
        found.new += 1
    except (RefusedError, OSError) as error:
        line = _one_line(error)
        found.errors.append(cut(line))
        if not isinstance(line, Message) or line.id != take.IS_THERE.id:
            return
    _note_item(found, one, place)


def _note_item(found: PollSummary, one: FetchedFile, place: take.SourceTarget) -> None:
    """An item that was dealt with is not looked at again."""
    with place.db.write() as c:
        save_file(c, found.source, FileState(one.name[:500], "", one.modified, 0, "", place.clock()))


def _keep(found: PollSummary, source: SourceSection, place: take.SourceTarget) -> None:
    now = place.clock()
    with place.db.write() as c:
        before = find_poll(c, source.name)
        address = hide_query(source.address)
        save_poll(c, follow(before, found, source.name, place.site.id, source.kind, now, source.every_s, address))


@contextmanager
def _alone(root: Path, name: str) -> Iterator[Path]:
    """An empty folder of the source, locked against other processes; what a killed one left is removed."""
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = os.open(root / f"{name}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    folder = (root / name).absolute()
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise RefusedError(_BUSY(name=name)) from None
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700)
        yield folder
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(lock)


def run(db: Database, config: ServiceConfig, site: Site, now: datetime, clock: Clock | None = None) -> str:
    """The job: the watched folder of a site, and every source of it that is due; returns one line."""
    clock = clock or (lambda: datetime.now(UTC))
    own = {source.name: source for source in config.source if source.site == site.id}
    with db.read() as c:
        states = {state.source: state for state in load_polls(c) if state.site == site.id}
    for name in states:
        if name not in own and not name.startswith(INBOX):  # in no service file any more
            db.do(forget_source, name)
    folder = PollSummary(f"{INBOX}{site.id}")
    scan_folder(folder, take.SourceTarget(db, config, site, clock, f"folder {site.id}"))
    if folder.new or folder.errors or folder.source in states:
        with db.write() as c:
            before, address = states.get(folder.source), f"{INBOX}{SERIES}/{site.id}"
            save_poll(c, follow(before, folder, folder.source, site.id, FOLDER_KIND, clock(), 60.0, address))
    lines = [folder.describe()] if folder.new else []
    due = [source for name, source in own.items() if name not in states or states[name].next_at <= now]
    for source in due:
        if source.kind != FOLDER_KIND:  # that says how files of the watched folder are read
            place = take.SourceTarget(db, config, site, clock, f"source {source.name}", source.accept_units)
            lines.append(_try_source(source, place))
    return "; ".join(lines) or IDLE


def _try_source(source: SourceSection, place: take.SourceTarget) -> str:
    """Poll a source; whatever one brings, the others are looked at: one line says it."""
    try:
        return poll_source(source, place, os.environ).describe()
    except RefusedError as error:
        return str(error)
    except StoreError:
        raise
    except Exception as error:
        line = " ".join(f"{type(error).__name__}: {error}".split())
        failed = PollSummary(source.name, errors=[cut(_clean(line))])
        _keep(failed, source, place)
        return failed.describe()
