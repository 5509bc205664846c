"""The hooks of Slopeward, one function each.

A plugin is a module that implements some of these functions and marks them with `hookimpl`:

    from monitor.api.hooks import Job, hookimpl

    @hookimpl
    def register_jobs():
        from slope_greeting.job import run
        return [Job("greeting", run, every_s=lambda _site: 3600.0, first_s=60.0)]

Forecasting networks, segmenters, anomaly detectors and decompositions are not hooks. A package adds them by other entry
points; see `docs/contribute/write-a-forecaster.md` and `docs/contribute/write-a-segmenter.md`.

Hooks whose names start with `register_` return declarations. Slopeward calls them in any process, when the declarations
are first needed. Import heavy modules inside the function. The other hooks run at the moment that their docstring
names.

An implementation may leave out arguments that it does not need. Implementations run in the order of the plugins:
built-in plugins in the order of `monitor.plugins`, then third-party plugins by name. The result of a hook is the list
of the results of all plugins. A hook with `firstresult=True` returns a single result: that of the first plugin that
does not return None. If there is none, the result is None.

Errors: unless the docstring of a hook differs, an error of a built-in plugin is raised. An error of a third-party
plugin is logged, and its result is left out.

Names: if two plugins declare the same name, the first declaration is used. The other one is ignored without a message,
unless the docstring of the hook differs. Start your names with the name of the plugin.

`docs/contribute/write-a-feature.md` lists for each hook the module of `monitor.api` from which its types are imported.
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
    from forecasting.data.series import Panel as SeriesPanel
    from monitor.alerts.acts.table import Act
    from monitor.alerts.queries.movement import NewestMovement
    from monitor.alerts.replay.failure_windows import WindowReplayFunctions
    from monitor.alerts.replay.other_alarms import SystemAlarm
    from monitor.alerts.replay.scorecard import DetectorScore
    from monitor.api.scenes import SceneMethod
    from monitor.app.self_monitoring.commits import CommitMonitor
    from monitor.decision.records import FactRequest
    from monitor.ingest.decoders.decoder import DecoderSpec
    from monitor.ingest.files.reader import FileReader
    from monitor.ingest.message import StoredSites
    from monitor.models.lacking import LackingModels
    from monitor.readings.queries.observations import SeriesRow
    from monitor.readings.queries.storing import AddResult
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
        SourcePast,
        StatusSection,
        SuspectedFault,
    )
    from monitor.settings.service import ComputeSection, PathsSection, ServiceConfig
    from monitor.sites.criteria.entry import KindEntry
    from monitor.sites.records import Criterion, Site, Team
    from monitor.storage.check import Check
    from monitor.storage.core_lease import CoreLease
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

    Called by every start of `slopeward`, also for `--help`. The implementation must not import heavy modules.
    `Command.load` imports them when the command runs.

    If a group of this name exists, the commands are added to it. A command that exists already is left out. If an app
    has one command only, and the command has the name under which the app is registered, the app is the command.
    """


@hookspec
def register_acts() -> Iterable[Act]:
    """Return actions of people, such as acknowledging an alert.

    Each act becomes a command, a form of a web page and a request of the HTTP API. Called once by web processes, and by
    every command except `--help`. An act whose name, command or address exists already is left out.
    """


@hookspec
def status_sections(
    connection: Connection, sites: Sequence[Site], now: datetime, zones: Callable[[str], str]
) -> Iterable[StatusSection]:
    """Return what `slopeward status` shows besides the level and the observability of each site.

    Called once by the command, in a read transaction, also while no service is running. `sites` are the sites whose
    files are valid. `zones` takes the id of a site and returns the time zone in which its times are printed.

    If the name of a section is already a key of the JSON document, the section is omitted from the JSON document.
    """


# ---- web pages -------------------------------------------------------------------------------------------------------
@hookspec
def register_routes() -> Iterable[APIRouter]:
    """Return routers for web pages and the HTTP API. Called once when a web process starts.

    Every route needs an entry in `register_access_rules`. If a route of a third-party plugin has no entry, or its path
    exists already, its router is left out and the log names it. If a route of a built-in feature has no entry, the web
    process does not start.
    """


@hookspec
def register_access_rules() -> Mapping[str, AccessRule]:
    """Return who may request each route, by method and path, such as `GET /sites/{site}/greeting`.

    Called once when a web process starts, before `register_routes`. The rule of a route of the kernel cannot be
    changed.
    """


@hookspec
def register_panels() -> Iterable[Panel]:
    """Return templates that are included at places of web pages. Called when a page with the place is first shown.

    Places: `site.links`, `site.curves`, `site.map`, `site.map_title`, `site.alerts`, `site.out`, `site.instruments`,
    `alert.entry`, `note.form`, `report.form`, `login.ways`, `start.ways`, `account.devices`.
    """


@hookspec
def curve_values(
    connection: Connection, series: Sequence[SeriesRow], from_at: datetime, to_at: datetime
) -> CurveAddition:
    """Return values for the JSON document of a curve, `GET /api/v1/sites/{site}/panes/{station}/{quantity}`.

    Called for each request of a curve, in a read transaction. `series` are the stored series from which the curve is
    computed: one series, or the components of a movement along the slope. The range is (from_at, to_at]. If a key
    exists already, the value of the page is used.
    """


@hookspec
def site_page_values(page: SiteSnapshot) -> Mapping[str, object]:
    """Return values for panels on the page of a site, by name. Templates use them as variables.

    Called each time that the page is loaded, in a read transaction. The places of these panels start with `site.`,
    except `site.instruments`. The automatic refresh of the page does not include the panels: they show the values of
    the moment at which the page was loaded. Values of the page itself take precedence. If two plugins return a value of
    the same name, the last one is used.
    """


@hookspec
def instruments_page_values(page: SiteSnapshot, instruments: frozenset[str] | None) -> Mapping[str, object]:
    """Return values for panels at `site.instruments`, by name.

    Called each time that the page of instruments is loaded, in a read transaction. `instruments` contains the ids of
    the stations that match the search of the page; None if the reader did not search. Values of the page itself take
    precedence, then those of the first plugin.
    """


@hookspec
def account_page_values(connection: Connection, account: str) -> Mapping[str, object]:
    """Return values for panels at `account.devices`, by name.

    Called each time that the page of an account is loaded, in a read transaction.
    """


@hookspec
def map_zones(paths: PathsSection, site_id: str) -> Sequence[Mapping[str, object]]:
    """Return GeoJSON features for the zones on the maps of a site. Called for each request of the zones."""


@hookspec
def map_layers(paths: PathsSection, site_id: str, site: Site | None) -> Mapping[str, object]:
    """Return layers for the maps of a site, by name. A layer is a JSON value that the script of the map draws.

    Called for each request of a map. `site` is the site as its file in force declares it; None if no file is in force.
    If two plugins return a layer of the same name, the last one is used.
    """


# ---- site file -------------------------------------------------------------------------------------------------------
@hookspec
def site_file_sections() -> SiteFileSections:
    """Return sections of the site file, and the function that turns them into stations, series and quantities.

    Called by processes that read site files. The functions run in the order of the plugins. Each function gets the
    result of the function before it.
    """


# ---- readings --------------------------------------------------------------------------------------------------------
@hookspec
def register_decoders() -> Mapping[str, DecoderSpec]:
    """Return decoders of MQTT messages, by the name that `[[decoder]]` of a site file gives.

    Called by processes that read messages, and by `slopeward check`. If a decoder of a third-party plugin fails, the
    message is rejected with the code `decoder_failed`, and the log names the plugin.
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

    Without a plugin, the command refuses the option. An error is raised, also one of a third-party plugin.

    Args:
        path: the file or folder.
        site_id: the site that gets the stations of the table; None if the table describes a new site.
        answers: answers to questions about the table, each as in `zone=Europe/Rome`.
        out: folder to which the mapping is written; None for the current folder.
        bounds: bounds of levels for the new site file, as the option `--bound` gives them.
        by: name of the person, from the option `--by`.
        dry_run: write nothing.
    """


@hookspec(firstresult=True)
def read_source_past(
    config: ServiceConfig, source: str, since: str, on_progress: Callable[[float], None]
) -> SourcePast:
    """Read the past of a source of the service file into a file (`slopeward import --from SOURCE --since DAY`).

    Without a plugin, the command refuses the option. An error is raised, also one of a third-party plugin. A call after
    an interruption continues where the first one ended.

    Args:
        config: the service file.
        source: name of the source.
        since: first day, in ISO format.
        on_progress: called with the share of the past that was read.
    """


@hookspec
def readings_stored(
    connection: Connection, sites: Mapping[str, Site], readings: Sequence[Observation], added: AddResult
) -> None:
    """Store what has to be computed from new readings, in the transaction that stores the readings.

    Called before each commit of readings, so it must return within milliseconds. A part of `service_parts` does the
    computation. If an implementation fails, also one of a built-in feature, the readings are stored nevertheless and
    the log names the plugin. Errors of the database are raised, because they end the transaction.
    """


@hookspec
def import_finished(database: Database, sites: Mapping[str, Site], clock: Callable[[], datetime]) -> None:
    """Compute what depends on imported readings.

    Called at the end of an import if no service is running. While a service is running, a part of `service_parts` does
    the computation.
    """


# ---- service ---------------------------------------------------------------------------------------------------------
@hookspec
def register_jobs() -> Iterable[Job]:
    """Return periodic work. Called once when the core process starts. Import the modules of the jobs in this function.

    All jobs of a third-party plugin share one thread.
    """


@hookspec
def register_checks() -> Iterable[Check]:
    """Return checks for `slopeward check`, `slopeward doctor`, the health page and alarms of the service.

    Called once by processes that run checks.
    """


@hookspec
def register_channels() -> Mapping[str, Channel]:
    """Return kinds of notification channels, by the word before the colon in a site file.

    Called once by processes that read site files.
    """


@hookspec
def service_parts(
    db: Database,
    config: ServiceConfig,
    sites: Mapping[str, Site],
    clock: Callable[[], datetime],
    on_stored: Callable[[StoredSites], None],
) -> Iterable[ServicePart]:
    """Return parts that the core process starts and stops, such as threads. Called once when the core process starts.

    A part that stores readings must call `on_stored` after its commit, so that the sites are evaluated.
    """


@hookspec
def health_subjects(db: Database, config: ServiceConfig, sites: Mapping[str, Site], now: datetime) -> object:
    """Return an object. It is passed to every check whose `fact_type` is its class.

    Called every 30 s by the core process. If an implementation fails, also one of a built-in feature, the error is
    logged.
    """


@hookspec(firstresult=True)
def wait_for_turn(
    config: ServiceConfig,
    turn: CoreLease,
    commits: CommitMonitor,
    stopping: threading.Event,
    attempt: Callable[[Callable[[], object]], bool],
) -> bool:
    """Wait until this service is the active one of two (`standby.enabled`). Return False if it was stopped before.

    Called once when the core process starts. The service file is refused if `standby.enabled` is set and no plugin
    implements this hook. An error is raised, also one of a third-party plugin.

    Args:
        config: the service file.
        turn: the lock and lease in the database that only one service can hold. `turn.is_ours` tells whether this
            service holds them.
        commits: records failures of the database, so that they are reported while this service is waiting.
        stopping: set when this service has to stop.
        attempt: calls a function, and logs and records an error in `commits` instead of raising it. Returns whether the
            function succeeded.
    """


@hookspec(firstresult=True)
def compute_cluster(settings: ComputeSection) -> Cluster:
    """Return the cluster that `[compute] dask` names. Called for each task that is sent to a worker process.

    The service file is refused if `compute.dask` is set and no plugin implements this hook. An error is raised, also
    one of a third-party plugin.
    """


@hookspec(firstresult=True)
def forecast_panels(connection: Connection, site: Site, now: datetime) -> Sequence[SeriesPanel]:
    """Return the series of a site that are forecast together, with what drives them, as forecasts read them at `now`.

    Called by commands that explain the forecasts of networks, in a read transaction. Series without recent readings are
    left out. Without a plugin, these commands are refused.
    """


@hookspec
def lacking_models(connection: Connection, site: Site, now: datetime) -> LackingModels:
    """Return the models that a site file names and that do not exist yet, with the jobs that compute or train them.

    Called by `slopeward status` and the page of forecasts. While a site lacks a model, the core process calls the hook
    at intervals of ten seconds to five minutes, and runs the jobs as soon as there are enough readings. The jobs are
    names of jobs of `register_jobs`.
    """


# ---- database --------------------------------------------------------------------------------------------------------
@hookspec
def migrations() -> Migrations:
    """Return the alembic migrations that create and change the tables of a third-party plugin.

    Called when the service starts and by `slopeward db upgrade`, which run the new migrations, and by
    `slopeward doctor`. The revision of each plugin is stored in a table of its own, `alembic_version_NAME`. If a
    migration fails, it is rolled back, the service starts, and `doctor` names the plugin.

    The migrations of built-in features are in `alembic/`.
    """


@hookspec
def register_tables() -> Iterable[Table]:
    """Return the tables of the plugin: those that its `migrations` create.

    Called when a station is renamed, after the clock of the service was set back, and by `slopeward db verify`. These
    operations include the tables. Keys in the `info` of a column describe its content: `names`, `refers_to`, `sha256`,
    `own_clock` and `own_clock_keys`. `monitor.storage.metadata` describes them. Rows of third-party plugins are not
    sealed in the audit log.

    Tables of built-in features use the `MetaData` of `monitor.storage.metadata`.
    """


@hookspec
def register_views(sqlite: bool) -> Iterable[PublicView]:
    """Return public views. The reference of the views, published copies and read-only roles include them.

    Called by every command that opens the database. The service and `slopeward db upgrade` create the views after they
    have run the `migrations`. A view that cannot be created is left out and the log names it.

    If `sqlite` is true, return statements for SQLite, otherwise for PostgreSQL. The columns must be the same.
    `Dialect` of `monitor.api.store` returns expressions that differ between the two.
    """


@hookspec
def retention_rules() -> Iterable[RetentionRule]:
    """Return which rows may be deleted, and when.

    Called when retention runs, and by the command and the page that describe it. The condition of a rule must exclude
    every row that is still needed. Rules are applied in reverse order of the plugins: third-party plugins, features,
    kernel. The order only avoids foreign-key errors. If a rule of a third-party plugin fails, the log names it and the
    other rules are applied.
    """


@hookspec
def cited_spans(connection: Connection) -> Iterable[Span]:
    """Return the spans of time to which stored evidence refers. Retention keeps all readings within them.

    Called when retention starts. An error is raised, also one of a third-party plugin, and nothing is deleted.
    """


@hookspec
def verify_database(connection: Connection, report_progress: Callable[[int, int], None]) -> Iterable[str]:
    """Verify rows that cannot be verified from `Column.info`. Return one line for each row that was changed.

    Called by `slopeward db verify`. Call `report_progress(done, total)` with numbers of rows to show the progress.
    """


@hookspec
def move_instants_back(connection: Connection, back: timedelta, limit: datetime) -> Mapping[str, int]:
    """Subtract `back` from instants later than `limit`, and return how many rows were changed, by table.

    The kernel does this for all columns with `own_clock` in their `info`, and reads the whole table for it. For a table
    that is too large, leave out `own_clock` and implement this hook: it must find and change the rows itself, for
    example by an index. Called in the same transaction, before the kernel changes its columns.

    Args:
        connection: a write transaction.
        back: by how much the clock of the service was set back.
        limit: 2 s after the present of the corrected clock. Later instants were stored by the wrong clock.
    """


@hookspec
def series_joined(connection: Connection, kept_id: int, removed_id: int) -> None:
    """Recompute what depends on the rows of a series that has received the rows of another series.

    Called when a station is renamed, in its write transaction, before the removed series is deleted.
    """


@hookspec
def register_export_tables() -> Mapping[str, ExportTable]:
    """Return public views that can be exported as files, by the name of the file.

    Called by `slopeward export` and for each request of an export.
    """


# ---- evaluation ------------------------------------------------------------------------------------------------------
@hookspec
def register_criteria() -> Iterable[KindEntry]:
    """Return kinds of criteria: their [[criterion]] in a site file, the history that they need, and their rule.

    Called once by processes that read site files. A kind of a third-party plugin that is declared wrongly, or whose id
    exists already, is left out, and the log names it. A site file that names a missing kind is refused.

    The rule runs in every evaluation of a site with such a criterion, and in replays. It must return within
    milliseconds, and the same inputs must give the same assessments. If the rule of a third-party plugin fails, its
    stations count as stations without data: they raise no level, their earlier votes stay until they expire, and the
    site does not see "full". The level of the site stays.
    """


@hookspec
def evaluation_facts(connection: Connection, site: Site, request: FactRequest) -> Mapping[str, Sequence[object]]:
    """Return the facts that the criteria of a site read besides readings, by name.

    Load only the names in `request.kinds`. For a built-in kind of criterion, a name is a field of `DecisionInputs`. For
    a kind of a third-party plugin, it is the name in `Kind.facts`, and the facts are records of the `fact_type` of the
    kind. The rule reads them in `DecisionInputs.plugin_facts`.

    Return an empty list for a name without facts. A name that no plugin returns is missing: its feature is not
    installed, or its third-party plugin failed. The rules that read it are not called. Their criteria have no result,
    and the site does not see "full".

    Called by each evaluation and by each step of a replay, in a read transaction, for the whole site. The same request
    on the same database must give the same facts, because decisions are recomputed from them.
    """


@hookspec
def evaluation_fact_instants(
    connection: Connection, site_id: str, from_at: datetime, to_at: datetime
) -> Iterable[datetime]:
    """Return the instants in (from_at, to_at] at which facts of `evaluation_facts` became known or ceased to hold.

    Called once at the start of each replay, in a read transaction. A replay evaluates the site at these instants. If a
    site has no facts of any kind at a step, the replay does not load facts again before the next instant. If a site has
    facts, the replay loads them at each step.
    """


@hookspec
def update_facts(database: Database, site: Site, now: datetime) -> None:
    """Compute and store the facts that the criteria of a site need, as a job of the service does.

    Called by `slopeward evaluate`, which also works while the service is not running. Open a write transaction in the
    implementation. Return at once if the site needs none of your facts.
    """


@hookspec(firstresult=True)
def failure_window_replay() -> WindowReplayFunctions:
    """Return the functions that compute failure windows on the simulated clock of a replay.

    Called at the start of each replay. Without a plugin, a replay uses only stored failure windows.
    """


@hookspec
def detector_scores(connection: Connection, site: Site, from_at: datetime, to_at: datetime) -> Sequence[DetectorScore]:
    """Return the reports of each anomaly detector in a range of time, for the scorecard of a backtest.

    Called once by each backtest, in a read transaction.
    """


@hookspec
def other_alarms(connection: Connection, site: Site, from_at: datetime, to_at: datetime) -> Sequence[SystemAlarm]:
    """Return the alarms of another system that watches the same slope, in a range of time.

    Called once by each backtest, in a read transaction. The backtest shows them beside its own alarms.
    """


@hookspec(firstresult=True)
def newest_movements(connection: Connection, sites: Sequence[str], now: datetime) -> Mapping[str, list[NewestMovement]]:
    """Return the movement of each series as of an instant, by site: stage, velocity and failure window.

    Called for web pages, maps and reports, in a read transaction. Without a plugin, they show no stage and no velocity.
    """


@hookspec(firstresult=True)
def models_in_use(connection: Connection, site: Site, criterion: Criterion, now: datetime) -> Sequence[str] | None:
    """Return the hashes of all models in use whose footprints a criterion may read, as known at `now`.

    Called by each evaluation for each criterion on footprints that needs a proof, in a read transaction. Footprints of
    a model without a passed proof count as advice. Return None if the plugin provides no footprints.
    """


# ---- alerts and scenes -----------------------------------------------------------------------------------------------
@hookspec
def people_on_duty(
    connection: Connection, teams: Iterable[Team], at: datetime
) -> Mapping[tuple[str, str], tuple[str, ...]]:
    """Return the people on duty by site and team, in the order in which they are called.

    Called for each message to a team. If an implementation fails, also one of a built-in feature, the whole team is
    notified and the log names the plugin. Errors of the database are raised, because they end the transaction.
    """


@hookspec
def alert_entries(connection: Connection, alert_id: int) -> Iterable[Mapping[str, object]]:
    """Return entries for the history on the page of an alert.

    Each entry is a mapping with at least a `kind` and the instant `at` as text. Panels at `alert.entry` are included
    for each entry. They read it from the variable `entry`, and must show only entries of their own `kind`. Called each
    time that the page is loaded or refreshed, in a read transaction.
    """


@hookspec
def audit_pack_files(connection: Connection, alert_id: int) -> Mapping[str, bytes]:
    """Return files for the audit pack of an alert, by path, such as `photos/12.jpg`.

    Called for each pack, in a read transaction. The same rows must give the same bytes.
    """


@hookspec
def suspected_faults(
    connection: Connection, site: Site, faulty_stations: frozenset[str], since: datetime, now: datetime
) -> Iterable[SuspectedFault]:
    """Return suspected faults of the instruments of a site, the oldest first.

    Called by the job that judges instruments, in a read transaction. Return the faults that were found at `since` or
    later. For stations in `faulty_stations`, which the last run of the job found stuck or unusable, also return faults
    that began before `since` and continue. The page of instruments shows the faults. No decision reads them.
    """


@hookspec
def register_scene_methods() -> Iterable[SceneMethod]:
    """Return methods that read scenes without a neural network, such as radar scenes.

    Called in the worker process that reads a scene. The first method that applies to the scene reads it.
    """


@hookspec(firstresult=True)
def write_scene_cracks(
    detection: SceneDetection, folder: Path, dates: tuple[StoredDate, StoredDate] | None
) -> SceneCracks:
    """Find the cracks of a scene, write them to files in `folder`, and return what the command prints about them.

    Called by `slopeward scenes detect --cracks` after the scene was read. `dates` are the scene and an earlier one,
    both read by the same neural network; None if there is no earlier scene. Without a plugin, the command names the
    package to install. An error is raised, also one of a third-party plugin. If it is an `ImageryError` of
    `detection.imagery.errors`, the command prints it for this scene and continues with the next one.
    """


@hookspec(firstresult=True)
def scene_training_data(connection: Connection, site_id: str) -> SceneTrainingData:
    """Return the scenes of a site that were read, and the outlines and judgements of people on them.

    Called by `slopeward scenes learn --site`, in a read transaction. Without a plugin, the command refuses the option.
    """


@hookspec
def scene_training_finished(
    connection: Connection, site_id: str, model_hash: str, tiles: Mapping[str, Sequence[DoubtfulTile]], now: datetime
) -> None:
    """Store the tiles of which a newly trained neural network is least certain, so that people outline them first.

    Called by `slopeward scenes learn --site`, in the transaction that registers the network. `tiles` contains the tiles
    by the hash of their scene. They replace the tiles of the network that was trained before.
    """


@hookspec
def draw_scene_prior(prior: Path, picture: Path) -> None:
    """Draw the susceptibility map `prior` of a site as a picture for the map on web pages.

    Called in the worker process that reads a scene, before the scene is read with the map. All plugins that implement
    the hook write to the same file `picture`, so implement it in one plugin only. If an implementation raises an error,
    also one of a third-party plugin, the scene is read without the map, and a warning of the scene contains the error.
    """
