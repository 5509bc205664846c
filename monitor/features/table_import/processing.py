"""What the page does with an uploaded file: a worker looks at it; once accepted it is read in."""

import logging
import threading
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Final, NamedTuple

from sqlalchemy import Connection

from monitor.api.database import Actor
from monitor.api.decision import SeriesWarnings, summarise_warnings
from monitor.api.decoders import Pipeline
from monitor.api.delivery import find_declaration
from monitor.api.errors import (
    ConfigError,
    JobError,
    NotFoundError,
    RefusedError,
    SlopewardError,
    UnitDoubtError,
    acquire_or_refuse,
)
from monitor.api.files import ImportOptions
from monitor.api.ingest import TableMapping, load_mapping
from monitor.api.queries.alerts import StoredEffect, change_control
from monitor.api.queries.ingest import (
    ConvertedFile,
    FileImport,
    FileResult,
    add_places,
    find_doubted,
    open_converted,
    record_file,
    record_units,
    renew_known_flags,
)
from monitor.api.queries.sites import find_version, load_proposals
from monitor.api.sites import Site, parse_site
from monitor.api.text import LABELLED_TEXT, Figure, Message, NameList, Template, join, rename_file
from monitor.api.web import UNKNOWN_SITE, Context
from monitor.api.worker import WorkerTask, run_in_worker
from monitor.features.table_import import upload_store
from monitor.features.table_import.guess import site_file
from monitor.features.table_import.guess.guess import SensorGuess
from monitor.features.table_import.guess.preview import PreviewRequest, PreviewResult
from monitor.features.table_import.upload_store import Upload, UploadStore

_LOG = logging.getLogger(__name__)
_HERE: Final = "monitor.features.table_import"
INSPECTION_LIMIT_S: Final = 90.0
_BUSY: Final = Template("upload.busy", "another file is being looked at; try again in a minute")
_TORN: Final = Template("upload.torn", "the file is torn: not all of it came; send it again")
_ACCEPTED: Final = Template("upload.accepted", "this file was accepted already")
_NO_TABLE: Final = Template("upload.no_table", "it cannot be read as a table: {problem}")
_OPEN: Final = Template("upload.open", "questions about this file are open")
_SITE_THERE: Final = Template(
    "upload.site.there", "there is a site '{site}' already: choose it where the file is sent, or another name"
)
_LOOSENS: Final = Template(
    "upload.loosens",
    "these stations could loosen one of the two highest levels ({changes}): write them into the site file and propose "
    "it by `slopeward sites propose`",
)
_WAITS: Final = Template("upload.waits", "{problem}. It waits as change No. {number}: slopeward sites approve {number}")
_AT_WORK: Final = Template("upload.at_work", "this file is being read in already")
NOT_READY: Final = Template("upload.not_ready", "this file is not at the point where it can be accepted")
_BROKEN: Final = Template("upload.broken", "something went wrong inside; the log says what")
_NOTHING: Final = Template("upload.nothing", "nothing valid was found: {reason}")
_NO_ROWS: Final = Template("upload.no_rows", "no rows")
_FIRST_REFUSED: Final = Template("upload.refused", "first refused: {reason}")
_DAYS_NOT_COUNTED: Final = Template(
    "upload.days_not_counted",
    "This page does not count the days of the record at each level, because a replay can take minutes. Once the file "
    "is read in, `slopeward backtest --site {site}` counts them",
)
_UNNAMED: Final = Template(
    "upload.undeclared", "the site file does not name these series, no criterion uses them: {names}"
)
UNDERSTOOD: Final = "understood.json"
UNDERSTAND: Final = WorkerTask(f"{_HERE}.guess.preview:understand", PreviewRequest, PreviewResult)


class WarningText(NamedTuple):
    """What raises which level at the stations of a file, as sentences."""

    groups: tuple[SeriesWarnings, ...]
    notes: tuple[Message, ...]


class UploadProcessor:
    """Inspects one uploaded file at a time, and reads in those that were accepted; `progress` holds their share."""

    def __init__(self, context: Context) -> None:
        self.context = context
        config = context.config
        self.shelf = UploadStore(config.paths.inbox, config.limits.upload_mb << 20, config.limits.reserve_mb << 20)
        self.progress: dict[str, float] = {}  # of those at work, the share that is done
        self._looks, self._works = threading.Semaphore(1), threading.Semaphore(1)
        self._lock = threading.Lock()
        # a cluster has neither the file nor the walls of this machine
        self._plan = config.compute.model_copy(update={"dask": ""})

    def inspect(self, upload: Upload, answers: dict[str, str]) -> tuple[Upload, PreviewResult]:
        """Understand a file with these answers, behind walls; what is found is kept where it says anything.

        Raises:
            RefusedError: not all of it came, or it is being read in.
            StoreBusyError: others are being looked at.
        """
        if not self.shelf.is_whole(upload):
            raise RefusedError(_TORN())
        if (
            upload.stage not in {upload_store.COMING, upload_store.LOOKED, upload_store.FAILED}
            or upload.id in self.progress
        ):
            raise RefusedError(_ACCEPTED())
        plan = self._plan.model_copy(update={"job_limit_s": min(INSPECTION_LIMIT_S, self._plan.job_limit_s)})
        table = self.shelf.table(upload).resolve()
        with self.context.db.read() as c:
            known = add_places(ImportOptions(), self.find_site(c, upload.site))
        request = PreviewRequest(str(table), upload.name, answers, upload.is_new, known)
        with acquire_or_refuse(self._looks, _BUSY()):
            try:
                found = run_in_worker(plan, UNDERSTAND, request, reads=[table])
            except JobError as error:
                found = PreviewResult(LABELLED_TEXT(name=upload.name, text=_NO_TABLE(problem=_describe_error(error))))
        if found.trouble:
            return upload, found
        looked = replace(upload, answers=answers, stage=upload_store.LOOKED, trouble="")
        if found.mapping:
            self.shelf.mapping(upload).write_text(found.mapping, encoding="utf-8")
        self.shelf.keep(looked, UNDERSTOOD, found)
        self.shelf.save(looked)
        return looked, found

    def understood(self, upload: Upload) -> PreviewResult | None:
        """What was found last."""
        return self.shelf.load(upload, UNDERSTOOD, PreviewResult)

    def declare(
        self, upload: Upload, site_id: str, actor: Actor, reason: str, bounds: Sequence[site_file.LevelBounds] = ()
    ) -> tuple[Upload, Site]:
        """Put the stations of a file in force, with bounds for them: a new site file, or stations that one lacks.

        Raises:
            RefusedError: it takes a second person, or the site file cannot be written.
            ConfigError: the site file would not be valid.
        """
        found = self.understood(upload)
        if found is None or not found.is_settled:
            raise RefusedError(_OPEN())
        text = self._write_text(upload, site_id, found, bounds)
        declared = replace(upload, site=site_id)
        if text is not None:
            parse_site(text, f"{site_id}.toml")
            self.shelf.save(declared)
            self._put_in_force(text, site_id, actor, reason)
        return declared, self._in_force(site_id)

    def find_site(self, c: Connection, site_id: str) -> Site | None:
        """The declaration in force; None where there is none that this program can read."""
        version = find_version(c, site_id) if site_id else None
        return None if version is None else find_declaration(c, version)

    def find_unjudged(self, upload: Upload) -> site_file.UnusedQuantities | None:
        """What no criterion would judge of a file, once its stations are in force; None while it is not understood."""
        found = self.understood(upload)
        site = self._load_draft(upload, found)
        return None if found is None or site is None else site_file.describe_unused(site, found.sensors)

    def summarise_warnings(self, upload: Upload) -> WarningText | None:
        """Return what would raise which level at the stations of a file; None while it is not understood.

        A replay of the record takes seconds to minutes, so the page does not count days and names the command instead.
        """
        found = self.understood(upload)
        site = self._load_draft(upload, found)
        if found is None or site is None:
            return None
        stations = {sensor.station for sensor in found.sensors}
        warnings = summarise_warnings(site, stations=stations)
        notes = site_file.list_notes(warnings, found.sensors)
        return WarningText(warnings.groups, (*notes, _DAYS_NOT_COUNTED(site=site.id)))

    def _load_draft(self, upload: Upload, found: PreviewResult | None) -> Site | None:
        """Return the site as it would be with the stations of a file; None if the file cannot be accepted as it is."""
        if found is None or not found.is_settled:
            return None
        site_id = self.suggest_name(upload)
        try:
            text = self._write_text(upload, site_id, found, ())
            return self._in_force(site_id) if text is None else parse_site(text, f"{site_id}.toml")
        except (ConfigError, RefusedError, NotFoundError):
            return None  # the message of the refusal says why

    def suggest_name(self, upload: Upload) -> str:
        """Of the site of a file: what was chosen, else what its name makes."""
        return upload.site or site_file.name_site(upload.name.rpartition(".")[0] or upload.name)

    def _in_force(self, site_id: str) -> Site:
        with self.context.db.read() as c:
            site = self.find_site(c, site_id)
        if site is None:
            raise NotFoundError(UNKNOWN_SITE(site=site_id))
        return site

    def _write_text(
        self, upload: Upload, site_id: str, found: PreviewResult, bounds: Sequence[site_file.LevelBounds]
    ) -> str | None:
        """The site file with the stations of a table; None where it has them all."""
        with self.context.db.read() as c:
            version = find_version(c, site_id)
        if version is None:
            place = site_file.find_place(found.known, upload.answers)
            return site_file.write_site(site_id, place, found.zone, found.sensors, bounds, found.known)
        if upload.is_new and upload.site != site_id:
            raise RefusedError(_SITE_THERE(site=site_id))
        site = self._in_force(site_id)
        absent = site_file.find_absent(site, found.sensors)
        return site_file.add_stations(site, absent, bounds, found.known) if absent else None

    def _put_in_force(self, text: str, site_id: str, actor: Actor, reason: str) -> None:
        """By the same acts as any change of a site file, with the same versions and audit entries."""
        db, now = self.context.db, self.context.clock()
        new = parse_site(text, f"{site_id}.toml")
        with db.read() as c:
            change = change_control.compare(c, new)
            waiting = [one.id for one in load_proposals(c, site_id) if one.sha256 == new.version]
        if change.loosens:
            raise RefusedError(_LOOSENS(changes=join(change.loosens[:3])))
        effect = StoredEffect(skipped="readings of a file")
        number = (
            waiting[-1]
            if waiting
            else change_control.propose(db, text, f"{site_id}.toml", actor, reason, now, lambda *_: effect).id
        )
        try:
            change_control.approve(db, self.context.config.paths.sites, number, actor, reason, now)
        except RefusedError as error:
            raise RefusedError(_WAITS(problem=error.message, number=Figure(number, "d"))) from None

    # ---- after it is accepted ----------------------------------------------------------------------------------

    def start(self, upload: Upload, site: Site, actor: Actor, *, accept_units: bool = False) -> None:
        """Read a file in; the page follows it by `progress`.

        Raises RefusedError: it is at work already.
        """
        with self._lock:
            if upload.id in self.progress:
                raise RefusedError(_AT_WORK())
            self.progress[upload.id] = 0.0
        begun = replace(upload, stage=upload_store.READING, trouble="")
        self.shelf.save(begun)
        work = partial(self._work, begun, site, actor, accept_units=accept_units)
        threading.Thread(target=work, name=f"upload-{upload.id}", daemon=True).start()

    def _work(self, upload: Upload, site: Site, actor: Actor, *, accept_units: bool) -> None:
        try:
            self._read_in(upload, site, actor, accept_units=accept_units)
        except Exception as error:
            _LOG.error("upload %s", upload.id, exc_info=error)
            self.shelf.save(replace(upload, stage=upload_store.FAILED, trouble=_BROKEN()))
        finally:
            self.progress.pop(upload.id, None)

    def _read_in(self, upload: Upload, site: Site, actor: Actor, *, accept_units: bool) -> None:
        """Through the gate that messages go through; a worker reads the file and leaves plain lines."""
        table, found = self.shelf.table(upload).resolve(), self.understood(upload)
        if found is None:
            raise RefusedError(NOT_READY())
        stated = add_places(replace(found.known, name=upload.name), site)
        if found.mapping:
            stated = replace(stated, mapping=load_mapping(self.shelf.mapping(upload)))
        try:
            with self._works, open_converted(table, found.form, stated, self._plan, self.context.clock()) as opened:
                stored = self._store(upload, site, actor, opened, stated.mapping, accept_units=accept_units)
            result = _count(upload, stored)
        except UnitDoubtError as doubt:
            result = replace(upload, stage=upload_store.DOUBT, trouble=find_doubted(doubt))
        except SlopewardError as error:
            trouble = rename_file(_describe_error(error), str(table), upload.name)
            result = replace(upload, stage=upload_store.FAILED, trouble=trouble)
        self.shelf.save(result)

    def _store(
        self,
        upload: Upload,
        site: Site,
        actor: Actor,
        opened: ConvertedFile,
        mapping: TableMapping | None,
        *,
        accept_units: bool,
    ) -> FileResult:
        db, clock = self.context.db, self.context.clock

        def report(result: FileResult) -> None:
            self.progress[upload.id] = min(1.0, result.rows / max(1, opened.answer.lines))

        sites = {site.id: site}
        result = FileImport(
            opened.lines,
            Pipeline(db, sites, clock, self.context.config.limits),
            site,
            clock,
            mapping=mapping,
            accept_units=accept_units,
            accept_times=accept_units,
            on_progress=report,
            by=actor.name,
            name=upload.name,
            open_lines=opened.readings,
        ).run()
        record_file(db, actor, result, clock())
        if accept_units:
            record_units(db, actor, upload.name, result, clock())
        renew_known_flags(db, sites, result.sites, clock())
        return result


def list_absent(site: Site | None, sensors: tuple[SensorGuess, ...]) -> list[str]:
    """The stations of a table that a site does not name; all of them where it is new."""
    absent = sensors if site is None else site_file.find_absent(site, sensors)
    return list(dict.fromkeys(s.station for s in absent))


def _describe_error(error: SlopewardError) -> str:
    """What is wrong, without the name of the job that says it."""
    return error.problem if isinstance(error, JobError) else error.message


def _count(upload: Upload, result: FileResult) -> Upload:
    counts = {
        "rows": result.rows,
        "valid": result.valid,
        "stored": result.stored,
        "known before": result.duplicates,
        "refused": result.rejected,
        "without a value": result.missing,
    }
    if not result.valid:
        why = result.first_reason or _NO_ROWS()
        return replace(upload, stage=upload_store.FAILED, trouble=_NOTHING(reason=why), counts=counts)
    notes = [_FIRST_REFUSED(reason=result.first_reason)] if result.rejected else []
    if series := sorted(result.undeclared):
        notes.append(_UNNAMED(names=NameList(tuple(series[:12]))))
    return replace(upload, stage=upload_store.DONE, counts=counts, notes=tuple(notes))
