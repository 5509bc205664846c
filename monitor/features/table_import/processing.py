"""Preview uploaded files in a worker, and store them once they are accepted."""

import logging
import threading
from collections.abc import Sequence
from dataclasses import fields, replace
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
from monitor.api.ingest import load_mapping
from monitor.api.queries.alerts import StoredEffect, change_control
from monitor.api.queries.ingest import (
    FileResult,
    add_places,
    find_doubted,
    open_converted,
)
from monitor.api.queries.sites import find_version, load_proposals
from monitor.api.sites import Site, parse_site
from monitor.api.text import LABELLED_TEXT, Figure, Message, NameList, Template, join, rename_file
from monitor.api.web import UNKNOWN_SITE, Context
from monitor.api.worker import WorkerTask, run_in_worker
from monitor.features.table_import import upload_store
from monitor.features.table_import.folder import SharedQuestion, merge_series, share_questions
from monitor.features.table_import.guess import site_file
from monitor.features.table_import.guess.guess import SensorGuess
from monitor.features.table_import.guess.preview import FileOptions, PreviewRequest, PreviewResult
from monitor.features.table_import.storing import ImportTarget, store_file
from monitor.features.table_import.upload_store import Upload, UploadStore

_LOG = logging.getLogger(__name__)
_HERE: Final = "monitor.features.table_import"
PREVIEW_LIMIT_S: Final = 90.0
_BUSY: Final = Template("upload.busy", "another file is being previewed; try again in a minute")
_TORN: Final = Template("upload.torn", "the upload is incomplete: send the file again")
_ACCEPTED: Final = Template("upload.accepted", "this file was accepted already")
_NO_TABLE: Final = Template("upload.no_table", "it cannot be read as a table: {problem}")
_OPEN: Final = Template("upload.open", "questions about this file are open; answer them first")
_SITE_THERE: Final = Template(
    "upload.site.there", "there is a site '{site}' already: choose it where the file is sent, or another name"
)
_LOOSENS: Final = Template(
    "upload.loosens",
    "these stations could loosen one of the two highest levels ({changes}): write them into the site file and propose "
    "it by `slopeward sites propose`",
)
_WAITS: Final = Template("upload.waits", "{problem}. It waits as change No. {number}: slopeward sites approve {number}")
_AT_WORK: Final = Template("upload.at_work", "this file is being stored already")
NOT_READY: Final = Template("upload.not_ready", "this file cannot be accepted at this stage")
_BROKEN: Final = Template(
    "upload.broken", "the file could not be stored because of an internal error; see the log of the service"
)
_NOTHING: Final = Template("upload.nothing", "nothing valid was found: {reason}")
_NO_ROWS: Final = Template("upload.no_rows", "no rows")
_FIRST_REFUSED: Final = Template("upload.refused", "first refused: {reason}")
_DAYS_NOT_COUNTED: Final = Template(
    "upload.days_not_counted",
    "This page does not count the days of the record at each level, because a replay can take minutes. Once the file "
    "is stored, `slopeward backtest --site {site}` counts them",
)
_UNNAMED: Final = Template(
    "upload.undeclared", "the site file does not name these series, so no criterion uses them: {names}"
)
UNDERSTOOD: Final = "understood.json"
PREVIEW_FILE: Final = WorkerTask(f"{_HERE}.guess.preview:preview_file", PreviewRequest, PreviewResult)


class WarningText(NamedTuple):
    """What raises which level at the stations of files, as sentences."""

    groups: tuple[SeriesWarnings, ...]
    notes: tuple[Message, ...]


class UploadProcessor:
    """Previews uploaded files one at a time, and stores those that were accepted.

    Files that were sent together form a batch. Each question is asked once for the batch, and the batch is accepted as
    a whole. The values of the files are not compared with each other, as `slopeward import` does: values that differ
    are stored as one series, the later file as a revision.

    Attributes:
        progress: For each file that is being stored, the share that is done, by id of the upload.
    """

    def __init__(self, context: Context) -> None:
        self.context = context
        config = context.config
        self.store = UploadStore(config.paths.inbox, config.limits.upload_mb << 20, config.limits.reserve_mb << 20)
        self.progress: dict[str, float] = {}
        self._previews, self._imports = threading.Semaphore(1), threading.Semaphore(1)
        self._lock = threading.Lock()
        # Always on this machine: workers of a cluster cannot read the upload.
        self._plan = config.compute.model_copy(update={"dask": ""})

    def preview(self, upload: Upload, answers: dict[str, str]) -> tuple[Upload, PreviewResult]:
        """Preview a file with these answers in a sandboxed worker, and save the result unless it failed.

        Raises:
            RefusedError: The file is incomplete, is being stored, or was accepted.
            StoreBusyError: Another file is being previewed.
        """
        if not self.store.is_whole(upload):
            raise RefusedError(_TORN())
        if (
            upload.stage not in {upload_store.COMING, upload_store.PREVIEWED, upload_store.FAILED}
            or upload.id in self.progress
        ):
            raise RefusedError(_ACCEPTED())
        plan = self._plan.model_copy(update={"job_limit_s": min(PREVIEW_LIMIT_S, self._plan.job_limit_s)})
        table = self.store.table(upload).resolve()
        with self.context.db.read() as c:
            site = self.find_site(c, upload.site)
        known = add_places(ImportOptions(), site)
        place = None if site is None else (site.latitude, site.longitude)
        request = PreviewRequest(str(table), upload.name, answers, upload.is_new, known, place)
        with acquire_or_refuse(self._previews, _BUSY()):
            try:
                found = run_in_worker(plan, PREVIEW_FILE, request, reads=[table])
            except JobError as error:
                found = PreviewResult(LABELLED_TEXT(name=upload.name, text=_NO_TABLE(problem=_describe_error(error))))
        if found.trouble:
            return upload, found
        previewed = replace(upload, answers=answers, stage=upload_store.PREVIEWED, trouble="")
        if found.mapping:
            self.store.mapping(upload).write_text(found.mapping, encoding="utf-8")
        self.store.keep(previewed, UNDERSTOOD, found)
        self.store.save(previewed)
        return previewed, found

    def load_result(self, upload: Upload) -> PreviewResult | None:
        """Return the newest preview of a file; None if there is none."""
        return self.store.load(upload, UNDERSTOOD, PreviewResult)

    def list_open(self, upload: Upload) -> list[Upload]:
        """Return the files of a batch that wait for answers or acceptance; the file alone at any other stage."""
        if upload.stage != upload_store.PREVIEWED:
            return [upload]
        return [one for one in self.store.list_batch(upload) if one.stage == upload_store.PREVIEWED]

    def list_questions(self, upload: Upload) -> list[SharedQuestion]:
        """Return the open questions of a batch. A question that several files leave open is listed once."""
        results = [(one, self.load_result(one)) for one in self.list_open(upload)]
        return share_questions((one.name, found.questions) for one, found in results if found is not None)

    def merge_results(self, upload: Upload) -> PreviewResult | None:
        """Return the previews of a batch as one: the series of all its files; None while a question is open."""
        results = [self.load_result(one) for one in self.list_open(upload)]
        answered = [found for found in results if found is not None and found.is_answered]
        if not answered or len(answered) < len(results):
            return None
        sensors, options = merge_series((found.sensors, found.file_options) for found in answered)
        stated = {one.name: getattr(options, one.name) for one in fields(FileOptions)}
        return replace(answered[0], sensors=sensors, told=FileOptions(**stated))

    def declare(
        self, upload: Upload, site_id: str, actor: Actor, reason: str, bounds: Sequence[site_file.LevelBounds] = ()
    ) -> tuple[list[Upload], Site]:
        """Put the stations of a batch in force, with their bounds, in a new site file or in that of an existing site.

        Returns:
            The files of the batch, which now belong to the site, and the site.

        Raises:
            RefusedError: A question is open, a second person is needed, or the site file cannot be written.
            ConfigError: The site file would not be valid.
        """
        found = self.merge_results(upload)
        if found is None:
            raise RefusedError(_OPEN())
        text = self._write_text(upload, site_id, found, bounds)
        declared = [replace(one, site=site_id) for one in self.list_open(upload)]
        if text is not None:
            parse_site(text, f"{site_id}.toml")
            for one in declared:
                self.store.save(one)
            self._put_in_force(text, site_id, actor, reason)
        return declared, self._load_site(site_id)

    def find_site(self, c: Connection, site_id: str) -> Site | None:
        """Return the site as it is in force; None if there is none that this program can read."""
        version = find_version(c, site_id) if site_id else None
        return None if version is None else find_declaration(c, version)

    def find_unjudged(self, upload: Upload) -> site_file.UnjudgedQuantities | None:
        """Return the quantities of a batch that no criterion would judge; None while a question is open."""
        found = self.merge_results(upload)
        site = self._draft_site(upload, found)
        return None if found is None or site is None else site_file.describe_unjudged(site, found.sensors)

    def summarise_warnings(self, upload: Upload) -> WarningText | None:
        """Return what would raise which level at the stations of a batch; None while a question is open.

        A replay of the record takes seconds to minutes, so the page does not count days and names the command instead.
        """
        found = self.merge_results(upload)
        site = self._draft_site(upload, found)
        if found is None or site is None:
            return None
        stations = {sensor.station for sensor in found.sensors}
        warnings = summarise_warnings(site, stations=stations)
        notes = site_file.list_notes(warnings, found.sensors)
        return WarningText(warnings.groups, (*notes, _DAYS_NOT_COUNTED(site=site.id)))

    def _draft_site(self, upload: Upload, found: PreviewResult | None) -> Site | None:
        """Return the site as it would be with the stations of a batch; None if they cannot be accepted as they are."""
        if found is None:
            return None
        site_id = self.suggest_name(upload)
        try:
            text = self._write_text(upload, site_id, found, ())
            return self._load_site(site_id) if text is None else parse_site(text, f"{site_id}.toml")
        except (ConfigError, RefusedError, NotFoundError):
            return None  # the message of the refusal states the reason

    def suggest_name(self, upload: Upload) -> str:
        """Return the id of the site of a file: the chosen one, else one made from the name of the file."""
        return upload.site or site_file.name_site(upload.name.rpartition(".")[0] or upload.name)

    def _load_site(self, site_id: str) -> Site:
        with self.context.db.read() as c:
            site = self.find_site(c, site_id)
        if site is None:
            raise NotFoundError(UNKNOWN_SITE(site=site_id))
        return site

    def _write_text(
        self, upload: Upload, site_id: str, found: PreviewResult, bounds: Sequence[site_file.LevelBounds]
    ) -> str | None:
        """Return the site file with the stations of a table; None if it has all of them."""
        with self.context.db.read() as c:
            version = find_version(c, site_id)
        if version is None:
            place = site_file.find_place(found.file_options, upload.answers)
            return site_file.write_site(site_id, place, found.zone, found.sensors, bounds, found.file_options)
        if upload.is_new and upload.site != site_id:
            raise RefusedError(_SITE_THERE(site=site_id))
        site = self._load_site(site_id)
        absent = site_file.find_absent(site, found.sensors)
        return site_file.add_stations(site, absent, bounds, found.file_options) if absent else None

    def _put_in_force(self, text: str, site_id: str, actor: Actor, reason: str) -> None:
        """Change the site file by the same acts as any other change of it, with versions and audit entries."""
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

    # ---- after acceptance --------------------------------------------------------------------------------------

    def start(self, upload: Upload, site: Site, actor: Actor, *, accept_units: bool = False) -> None:
        """Store a file in the background; the page reads `progress`.

        Raises:
            RefusedError: The file is being stored already.
        """
        with self._lock:
            if upload.id in self.progress:
                raise RefusedError(_AT_WORK())
            self.progress[upload.id] = 0.0
        begun = replace(upload, stage=upload_store.STORING, trouble="")
        self.store.save(begun)
        work = partial(self._work, begun, site, actor, accept_units=accept_units)
        threading.Thread(target=work, name=f"upload-{upload.id}", daemon=True).start()

    def _work(self, upload: Upload, site: Site, actor: Actor, *, accept_units: bool) -> None:
        try:
            self._store_upload(upload, site, actor, accept_units=accept_units)
        except Exception as error:
            _LOG.error("upload %s", upload.id, exc_info=error)
            self.store.save(replace(upload, stage=upload_store.FAILED, trouble=_BROKEN()))
        finally:
            self.progress.pop(upload.id, None)

    def _store_upload(self, upload: Upload, site: Site, actor: Actor, *, accept_units: bool) -> None:
        """Let a worker convert a file into plain lines, store them as messages are stored, and save the result."""
        table, found = self.store.table(upload).resolve(), self.load_result(upload)
        if found is None:
            raise RefusedError(NOT_READY())
        options = add_places(replace(found.file_options, name=upload.name), site)
        if found.mapping:
            options = replace(options, mapping=load_mapping(self.store.mapping(upload)))
        db, clock = self.context.db, self.context.clock
        pipeline = Pipeline(db, {site.id: site}, clock, self.context.config.limits)
        target = ImportTarget(db, site, pipeline, actor, self._plan, clock)
        try:
            with self._imports, open_converted(table, found.form, options, self._plan, clock()) as converted:
                lines = max(1, converted.result.lines)

                def report(result: FileResult) -> None:
                    self.progress[upload.id] = min(1.0, result.rows / lines)

                stored = store_file(
                    table,
                    found.form,
                    options,
                    target,
                    converted=converted,
                    are_units_confirmed=accept_units,
                    name=upload.name,
                    on_progress=report,
                )
            result = _count(upload, stored)
        except UnitDoubtError as doubt:
            result = replace(upload, stage=upload_store.DOUBT, trouble=find_doubted(doubt))
        except SlopewardError as error:
            trouble = rename_file(_describe_error(error), str(table), upload.name)
            result = replace(upload, stage=upload_store.FAILED, trouble=trouble)
        self.store.save(result)


def list_absent(site: Site | None, sensors: tuple[SensorGuess, ...]) -> list[str]:
    """Return the stations of a table that a site lacks; all of them for a new site."""
    absent = sensors if site is None else site_file.find_absent(site, sensors)
    return list(dict.fromkeys(s.station for s in absent))


def _describe_error(error: SlopewardError) -> str:
    """Return the text of an error without the name of the job that failed."""
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
