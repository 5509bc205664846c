"""Every extension point of Slopeward, one function each.

A plugin implements some of these functions and marks them with `hookimpl`:

    from monitor.api.hooks import Job, hookimpl

    @hookimpl
    def register_jobs():
        from slope_greeting.job import run
        return [Job("greeting", run, every_s=lambda _site: 3600.0, first_s=60.0)]

Hooks whose name starts with `register_` declare something. They run when it is first needed, in any process, so that
an implementation imports heavy modules inside the function. The other hooks run while the service works.

An implementation may leave out arguments that it does not need. Implementations run in the order of the plugins:
built-in features in the order of `monitor.plugins`, then third-party plugins by name.

If a built-in feature fails, the error is raised, unless the hook says otherwise. If a third-party plugin fails, its
result is left out and the log names it.
"""

# mypy: disable-error-code="empty-body"

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pluggy import HookimplMarker, HookspecMarker

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import datetime, timedelta
    from pathlib import Path

    from fastapi import APIRouter
    from sqlalchemy import Connection, Table

    from detection.imagery.change.records import StoredDate
    from detection.imagery.footprints.records import DoubtfulTile, SceneDetection
    from monitor.alerts.acts.table import Act
    from monitor.alerts.queries.movement import NewestMovement
    from monitor.alerts.replay.failure_windows import WindowReplayFunctions
    from monitor.alerts.replay.scorecard import DetectorScore
    from monitor.api.scenes import SceneMethod
    from monitor.app.readiness import CommitMonitor
    from monitor.decision.records import FactRequest
    from monitor.ingest.decoders.decoder import DecoderSpec
    from monitor.ingest.files.reader import FileReader
    from monitor.ingest.message import StoredSites
    from monitor.models.lacking import LackingModels
    from monitor.readings.queries.observations import AddResult, SeriesRow
    from monitor.readings.records import Observation
    from monitor.registration import (
        AccessRule,
        Channel,
        Command,
        CurveAddition,
        ExportTable,
        Job,
        Migrations,
        Panel,
        SceneCracks,
        SceneTrainingData,
        ServicePart,
        SiteFileSections,
        StatusSection,
        SuspectedFault,
    )
    from monitor.settings.service import ComputeSection, PathsSection, ServiceConfig
    from monitor.sites.criteria.entry import KindEntry
    from monitor.sites.records import Criterion, Site, Team
    from monitor.storage.check import Check
    from monitor.storage.core_turn import CoreTurn
    from monitor.storage.engine import Database
    from monitor.storage.public_view import PublicView
    from monitor.storage.retention import RetentionRule
    from monitor.text.instants import Span
    from monitor.web.parts.collect import SiteSnapshot
    from monitor.worker.compute import Cluster

PROJECT: Final = "slopeward"
hookspec = HookspecMarker(PROJECT)
hookimpl = HookimplMarker(PROJECT)


# ---- command line ----------------------------------------------------------------------------------------------------
@hookspec
def register_commands() -> Mapping[str, Command]:
    """Return commands by name, such as `greet` or `notify drill`.

    Called by every start of `slopeward`, also for `--help`, so that it must import nothing heavy: `Command.load` does.
    A name that exists already adds the commands of the group to the existing group.
    """


@hookspec
def register_acts() -> Iterable[Act]:
    """Return what a person may do. Each act becomes a command, a form of a page and a request of the HTTP API.

    Called once by processes that serve the page, and by every command but `--help`.
    """


@hookspec
def status_sections(
    connection: Connection, sites: Sequence[Site], now: datetime, zones: Callable[[str], str]
) -> Iterable[StatusSection]:
    """Return what `slopeward status` shows besides the level and the observability of each site.

    Called once by the command, in a read transaction, also while no service is running. `sites` are the sites whose
    files are valid. `zones` returns the time zone in which times of a site are printed. A section
    whose name is a key of the JSON document already is left out of it.
    """


# ---- page ------------------------------------------------------------------------------------------------------------
@hookspec
def register_routes() -> Iterable[APIRouter]:
    """Return routers for the page and the HTTP API. Called once when the page starts.

    Every route needs an entry in `register_access_rules`. Without it the page does not start.
    """


@hookspec
def register_access_rules() -> Mapping[str, AccessRule]:
    """Return who may request each route, by method and path, such as `GET /sites/{site}/greeting`.

    Called once when the page starts, before `register_routes`.
    """


@hookspec
def register_panels() -> Iterable[Panel]:
    """Return templates that are included at places of pages. Called once when the page starts.

    Places: `site.links`, `site.curves`, `site.map`, `site.map_title`, `site.alerts`, `site.out`, `site.instruments`,
    `alert.entry`, `note.form`, `report.form`, `login.ways`, `start.ways`, `account.devices`.
    """


@hookspec
def curve_values(
    connection: Connection, series: Sequence[SeriesRow], from_at: datetime, to_at: datetime
) -> CurveAddition:
    """Return values for the JSON document of a curve, `GET /api/v1/sites/{site}/panes/{station}/{quantity}`.

    Called for each request of a curve, in a read transaction. `series` are the stored series that the curve is computed
    from: one, or the components of a movement along the slope. The range is (from_at, to_at].
    """


@hookspec
def site_page_values(page: SiteSnapshot) -> Mapping[str, object]:
    """Return values for panels on the page of a site, whose places start with `site.`, except `site.instruments`.

    Called for each view of that page, in a read transaction, but not when parts of the page are refreshed.
    """


@hookspec
def instruments_page_values(page: SiteSnapshot, instruments: frozenset[str] | None) -> Mapping[str, object]:
    """Return values for panels at `site.instruments`. Called for each view of that page, in a read transaction.

    `instruments` are the stations that the reader searched for; None if the reader did not search.
    """


@hookspec
def account_page_values(connection: Connection, account: str) -> Mapping[str, object]:
    """Return values for panels at `account.devices`. Called for each view of that page, in a read transaction."""


@hookspec
def map_zones(paths: PathsSection, site_id: str) -> Sequence[Mapping[str, object]]:
    """Return GeoJSON features for the zones on the maps of a site. Called for each request of the zones."""


@hookspec
def map_layers(paths: PathsSection, site_id: str, site: Site | None) -> Mapping[str, object]:
    """Return layers for the maps of a site, by name. A layer is a JSON value that the script of the map draws.

    Called for each request of a map. `site` is the site file in force; None if the site has none.
    """


# ---- site file -------------------------------------------------------------------------------------------------------
@hookspec
def site_file_sections() -> SiteFileSections:
    """Return sections of the site file, and the function that turns them into stations, series and quantities.

    Called once by processes that read site files. The functions run in the order of the plugins, each on the result of
    the one before.
    """


# ---- readings --------------------------------------------------------------------------------------------------------
@hookspec
def register_decoders() -> Mapping[str, DecoderSpec]:
    """Return decoders of MQTT messages, by the name that `[[decoder]]` of a site file gives.

    Called by processes that read messages, and by `slopeward check`. A name that exists already is left out. If a
    decoder of a third-party plugin fails, the message is rejected with the code `decoder_failed`, and the log names the
    plugin.
    """


@hookspec
def register_file_readers() -> Mapping[str, FileReader]:
    """Return formats of files for `slopeward ingest --format`, by name. Called once by processes that read files."""


@hookspec(firstresult=True)
def import_unknown_table(
    path: Path,
    site_id: str | None,
    answers: Sequence[str],
    out: Path | None,
    bounds: Sequence[str],
    by: str | None,
    dry_run: bool,
) -> bool:
    """Import a table whose layout is unknown (`slopeward ingest --guess`) and return True.

    The first plugin that returns a result wins. Without one, the command refuses the option.
    """


@hookspec
def readings_stored(
    connection: Connection, sites: Mapping[str, Site], readings: Sequence[Observation], added: AddResult
) -> None:
    """Note which readings were stored, in the transaction that stores them.

    Called for each commit of readings, so that it must return within milliseconds: it notes what has to be computed,
    and a part of `service_parts` computes it. If an implementation fails, also one of a built-in feature, the readings
    are stored without it and the log names it. Errors of the database are raised, because they end the transaction.
    """


@hookspec
def import_finished(database: Database, sites: Mapping[str, Site], clock: Callable[[], datetime]) -> None:
    """Compute what follows from imported readings. Called at the end of an import when no service is running."""


# ---- service ---------------------------------------------------------------------------------------------------------
@hookspec
def register_jobs() -> Iterable[Job]:
    """Return periodic work. Called once when the core process starts; it imports what the jobs need.

    A job whose name exists already is left out.
    """


@hookspec
def register_checks() -> Iterable[Check]:
    """Return checks for `slopeward check`, `slopeward doctor`, the health page and alarms of the service.

    Called once by processes that run checks. A check whose id exists already is left out.
    """


@hookspec
def register_channels() -> Mapping[str, Channel]:
    """Return kinds of notification channels, by the word before the colon in a site file.

    Called once by processes that read site files. A kind that exists already is left out.
    """


@hookspec
def migrations() -> Migrations:
    """Return the alembic branch of the plugin's tables.

    Called when the service starts and by `slopeward db upgrade`, which create and change the tables, and by
    `slopeward doctor`. If a migration of a plugin fails, the service starts without it and `doctor` names it.
    """


@hookspec
def register_tables() -> Iterable[Table]:
    """Return the tables of the plugin: those that its `migrations` create.

    Storage uses `info` of their columns: `names`, `refers_to`, `sha256`, `own_clock` and `own_clock_keys`, which
    `monitor.storage.metadata` describes. Renaming a station, repairs after the clock was wrong and `db verify`
    include the tables. Rows of third-party plugins are not sealed in the audit log. Called when one of these is needed.

    The tables of built-in features are in `monitor.storage.metadata`, and the migrations of Slopeward create them.
    """


@hookspec
def register_views(sqlite: bool) -> Iterable[PublicView]:
    """Return public views. The reference of the views, published copies and read-only roles include them.

    Called by every command that opens the database. The service and `slopeward db upgrade` create the views, after the
    tables of `migrations`. A view whose name exists already is left out.

    `sqlite` is whether the statements are for SQLite; otherwise they are for PostgreSQL. `monitor.storage.dialect`
    returns expressions that the two write differently. The columns are the same.
    """


@hookspec
def retention_rules() -> Iterable[RetentionRule]:
    """Return which rows may be deleted, and when.

    Called when retention runs, and by the command and page that describe it. The rules of third-party plugins and
    features are applied before those of the kernel, so that rows are deleted before the rows to which they refer. The
    condition of a rule must exclude every row that is still needed: safety must not depend on the order. If the sweep
    of a third-party plugin fails, the log names it and the other rules are applied.
    """


@hookspec
def cited_spans(connection: Connection) -> Iterable[Span]:
    """Return the spans of time that evidence names. Retention keeps all rows within them.

    Called when retention starts. If an implementation fails, also one of a third-party plugin, the error is raised and
    nothing is deleted.
    """


@hookspec
def verify_database(connection: Connection, report_progress: Callable[[int, int], None]) -> Iterable[str]:
    """Return one line for each row that is not as it was written, for what the columns' `info` cannot describe.

    Called by `slopeward db verify`. `report_progress` takes how many rows were compared, and of how many.
    """


@hookspec
def move_instants_back(connection: Connection, back: timedelta, limit: datetime) -> Mapping[str, int]:
    """Move instants later than `limit` back and return how many rows were changed, by table.

    Called after the clock of the service was set back, in the transaction that changes all columns with `own_clock` in
    their `info`, and before it changes them. Implement it for a table that is too large to search.
    """


@hookspec
def series_joined(connection: Connection, kept_id: int, removed_id: int) -> None:
    """Compute again what follows from the rows of two series, after one took over the rows of the other.

    Called when a station is renamed, in its transaction, before the removed series is deleted.
    """


@hookspec
def register_export_tables() -> Mapping[str, ExportTable]:
    """Return public views that can be exported as files, by the name of the file.

    Called by `slopeward export` and for each request of an export. A name that exists already is left out.
    """


@hookspec
def service_parts(
    db: Database,
    config: ServiceConfig,
    sites: Mapping[str, Site],
    clock: Callable[[], datetime],
    on_stored: Callable[[StoredSites], None],
) -> Iterable[ServicePart]:
    """Return parts that the core process starts and stops. Called once when the core process starts.

    A part that stores readings calls `on_stored` after its commit.
    """


@hookspec
def health_subjects(db: Database, config: ServiceConfig, sites: Mapping[str, Site], now: datetime) -> object:
    """Return an object that the checks of its class examine. Called every 30 s; failures are logged."""


@hookspec(firstresult=True)
def wait_for_turn(
    config: ServiceConfig,
    turn: CoreTurn,
    commits: CommitMonitor,
    stopping: threading.Event,
    attempt: Callable[[Callable[[], object]], bool],
) -> bool:
    """Wait until this service may decide (`standby.enabled`). Return False if it was stopped before.

    Called once when the core process starts. The service file is refused if `standby.enabled` is set and no plugin
    implements this hook.
    """


@hookspec(firstresult=True)
def compute_cluster(plan: ComputeSection) -> Cluster:
    """Return the cluster that `[compute] dask` names. Called for each job that is sent to a worker.

    The service file is refused if `compute.dask` is set and no plugin implements this hook.
    """


@hookspec
def lacking_models(connection: Connection, site: Site, now: datetime) -> LackingModels:
    """Return the models that a site file asks for and that do not exist yet, and the jobs that run them.

    Called by `slopeward status` and the page of forecasts. While a site lacks something, the core process calls it at
    intervals of ten seconds to five minutes and runs the jobs as soon as there are enough readings.
    """


# ---- evaluation ------------------------------------------------------------------------------------------------------
@hookspec
def register_criteria() -> Iterable[KindEntry]:
    """Return kinds of criteria: their [[criterion]] in a site file, the history that they need, and their rule.

    Called once by processes that read site files. A kind that is declared wrongly, or whose id exists already, is left
    out, and a site file that names it is refused. The rule runs in every evaluation of a site with such a criterion,
    and in replays: it must return within milliseconds, and the same inputs must give the same assessments. If the rule
    of a third-party plugin fails, its witnesses have no data: they raise no level, and their earlier votes age.
    """


@hookspec
def evaluation_facts(connection: Connection, site: Site, request: FactRequest) -> Mapping[str, Sequence[object]]:
    """Return what the criteria of a site read besides readings, by field of `DecisionInputs`.

    Called by each evaluation and by each step of a replay, in a read transaction, for the whole site. Only fields in
    `request.kinds` are needed. The same request on the same database must give the same facts, because decisions are
    recomputed from them.

    The facts of a third-party plugin are records of the `fact_type` of its kind of criterion. Its rule gets them in
    `DecisionInputs.plugin_facts`, by the name in `Kind.facts`. If the plugin fails, there are no such facts.
    """


@hookspec
def evaluation_fact_instants(
    connection: Connection, site_id: str, from_at: datetime, to_at: datetime
) -> Iterable[datetime]:
    """Return the instants in (from_at, to_at] at which facts of `evaluation_facts` became known or ceased to hold.

    Called once at the start of each replay, in a read transaction. A replay decides at these instants, and between
    them it assumes that a site without any facts still has none.
    """


@hookspec
def update_facts(database: Database, site: Site, now: datetime) -> None:
    """Compute and store the facts that the criteria of a site need, as a job of the service would.

    Called by `slopeward evaluate`, which also works while the service is not running. Implementations write in
    transactions of their own, and return at once if the site needs none of their facts.
    """


@hookspec(firstresult=True)
def failure_window_replay() -> WindowReplayFunctions:
    """Return the functions that compute failure windows on the simulated clock of a replay.

    Called at the start of each replay. Without a plugin, a replay has only the failure windows that were stored.
    """


@hookspec
def detector_scores(connection: Connection, site: Site, from_at: datetime, to_at: datetime) -> Sequence[DetectorScore]:
    """Return what each anomaly detector reported in a range of time, for the scorecard of a backtest.

    Called once by each backtest, in a read transaction.
    """


@hookspec(firstresult=True)
def newest_movements(connection: Connection, sites: Sequence[str], now: datetime) -> Mapping[str, list[NewestMovement]]:
    """Return by site how each series moves as of an instant: stage, velocity and failure window.

    Called for pages, maps and reports, in a read transaction. Without a plugin, they show no stage and no velocity.
    """


@hookspec(firstresult=True)
def models_in_use(connection: Connection, site: Site, criterion: Criterion, now: datetime) -> Sequence[str] | None:
    """Return the hashes of the models whose results a criterion on footprints may read, as known at `now`.

    Called by each evaluation for each criterion on footprints that needs a proof, in a read transaction. None if the
    plugin provides no footprints. Each model without a passed proof makes its footprints advice.
    """


# ---- alerts and scenes -----------------------------------------------------------------------------------------------
@hookspec
def people_on_duty(
    connection: Connection, teams: Iterable[Team], at: datetime
) -> Mapping[tuple[str, str], tuple[str, ...]]:
    """Return the people on duty by site and team, the one to call first in front. Called for each message to a team.

    If an implementation fails, also one of a built-in feature, the whole team is notified and the log names it.
    Errors of the database are raised, because they end the transaction.
    """


@hookspec
def alert_entries(connection: Connection, alert_id: int) -> Iterable[Mapping[str, object]]:
    """Return entries for the history on the page of an alert.

    Each has a `kind`, and the instant `at` as text. Panels at `alert.entry` show it as the variable `one`. Called for
    each view of that page, in a read transaction.
    """


@hookspec
def audit_pack_files(connection: Connection, alert_id: int) -> Mapping[str, bytes]:
    """Return files for the audit pack of an alert, by path, such as `photos/12.jpg`.

    Called for each pack, in a read transaction. The same rows must give the same bytes. If a third-party plugin fails,
    the pack is written without its files.
    """


@hookspec
def suspected_faults(
    connection: Connection, site: Site, unwell: frozenset[str], since: datetime, now: datetime
) -> Iterable[SuspectedFault]:
    """Return what is suspected of instruments of a site since an instant, the oldest first.

    Called by the job that judges instruments, in a read transaction. `unwell` are the stations that the last run of
    the job found stuck or unusable; a fault of theirs that lasts longer is returned as well. The page of instruments
    shows the suspicions, and no decision reads them.
    """


@hookspec
def register_scene_methods() -> Iterable[SceneMethod]:
    """Return methods that read scenes without a network, such as radar scenes.

    Called in the worker that reads a scene. The first method that applies to the scene reads it.
    """


@hookspec(firstresult=True)
def write_scene_cracks(
    detection: SceneDetection, folder: Path, dates: tuple[StoredDate, StoredDate] | None
) -> SceneCracks:
    """Find the cracks of a scene, write them to files in `folder`, and return what the command prints about them.

    Called by `slopeward scenes detect --cracks` after the scene was read. `dates` are the scene and an earlier one,
    both read by the same network; None if there is no earlier scene. The first plugin that returns a result wins.
    Without one, the command says which package to install. If an implementation raises `ImageryError`, the command
    prints the error for this scene and continues with the next one.
    """


@hookspec(firstresult=True)
def scene_training_data(connection: Connection, site_id: str) -> SceneTrainingData:
    """Return the scenes of a site that were read, and what people outlined and judged on them.

    Called by `slopeward scenes learn --site`, in a read transaction. The first plugin that returns a result wins.
    """


@hookspec
def scene_training_finished(
    connection: Connection, site_id: str, model_hash: str, tiles: Mapping[str, Sequence[DoubtfulTile]], now: datetime
) -> None:
    """Store where a newly trained network is least certain, so that people are asked to outline these tiles first.

    Called by `slopeward scenes learn --site`, in the transaction that registers the network. `tiles` are given by hash
    of the scene and replace those of the network that was trained before.
    """


@hookspec
def draw_scene_prior(prior: Path, picture: Path) -> None:
    """Draw the susceptibility map `prior` of a site as a picture for the map of the page.

    Called in the worker that reads a scene, before the scene is read with the map. If an implementation raises an
    error, the scene is read without the map, and a warning of the scene contains the error.
    """
