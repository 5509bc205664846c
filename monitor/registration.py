"""Records that plugins return from the hooks of `monitor.hookspecs`.

Records that belong to one subject are declared there: `Act` in `monitor.alerts.acts.table`, `Check` in
`monitor.storage.check`, `FileReader` in `monitor.ingest.files.reader`. `monitor.api` exports all of them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple


class AccessRule(NamedTuple):
    """Who may request a route."""

    role: str  # `open`, `read`, `viewer`, `operator` or `admin`; see `monitor.web.access.rules`
    in_person: bool = False  # an access token is refused
    # The path contains neither {site} nor {alert_id}. The route itself hides the sites that the account may not see.
    names_no_site: bool = False


class Command(NamedTuple):
    """A command, or a group of commands, of the command line."""

    # Imports and returns the `typer.Typer`. None: the group consists of acts (`monitor.alerts.acts.table`) and of
    # commands that are registered below it.
    load: Callable[[], Any] | None
    help: str  # one line without a full stop
    after: str = ""  # the command below which help lists this one; empty: the last
    # Rules of the commands that write to the database, such as {"notify drill hold": "operator"}; see
    # `monitor.cli.rules`. Commands without a rule only read.
    rules: Mapping[str, str] = MappingProxyType({})
    # Subject under which help lists the command. Empty: "Other commands".
    subject: str = ""
    short_for: str = ""  # full name of the command of which this one is a short form, such as "alerts ack"
    is_in_overview: bool = True  # False: `slopeward help commands` lists the command, `slopeward --help` does not


class Panel(NamedTuple):
    """A template that is included at a place of a page."""

    place: str  # such as `site.links`
    template: str  # its file name below `templates` in the folder of the plugin


@dataclass(frozen=True, slots=True)
class Channel:
    """One kind of notification channel, `kind:address` in a site file."""

    # Called as notifier(address, settings) and, with `needs_database`, as notifier(address, settings, database).
    # Returns a `monitor.delivery.notifier.Notifier`. Called when the first message of the channel is due.
    notifier: Callable[..., Any]
    orders: bool = False  # carries commands to a device, such as a siren, and no text for people; hazard alerts only
    reaches_person: bool = True  # a person sees the message without opening anything
    rings: bool = False  # for alarms only, because a telephone rings
    digest_rank: int = 0  # preference as a channel for digests, highest first; 0 = no digests
    is_english: bool = False  # messages are in English and UTC, whatever the recipient's language
    # Called as write_document(connection, config, event_id); returns the text that is sent in place of subject and
    # body. Such a channel gets hazard alerts only.
    write_document: Callable[..., str] | None = None
    needs_database: bool = False
    # Called as make_reply_code(connection, message, person, language, settings, now); returns the code with which the
    # recipient acknowledges the message.
    make_reply_code: Callable[..., str] | None = None
    holds: bool = False  # the notifier owns a connection or state, and is kept after a failed delivery
    of_broker: bool = False  # the address is an MQTT topic
    parallel: int = 1  # messages sent at the same time, each by a notifier of its own


@dataclass(frozen=True, slots=True)
class Job:
    """Periodic work that may be late and may fail; no alarm depends on it.

    Jobs share threads by lane. `light` jobs compute briefly in a thread of their own and do not wait for training.
    Jobs with `polls` mostly wait for servers. Jobs with `show` prepare displays and do not delay forecasts or scenes.
    """

    name: str
    # Called as run(database, config, site, now); `site` is None unless `per_site`. Returns one line about what was
    # done, for the table `job_run`.
    run: Callable[..., str]
    every_s: Callable[[Any], float]  # called with the site, or None
    first_s: float  # seconds from the start of the service to the first run
    per_site: bool = True
    at_stage: Callable[[Any, str | None], float] | None = None  # pause at a stage of movement, in place of `every_s`
    # A run updates the stage of movement of the site, on which `at_stage` of the jobs of the site depends.
    updates_stage: bool = False
    # The job also runs as soon as an evaluation has changed an alert of the site.
    on_alert_change: bool = False
    light: bool = False
    polls: bool = False
    show: bool = False
    # Called as watched(config, site); returns a folder. The job also runs when a file arrives there or one level below.
    watched: Callable[[Any, Any], Path] | None = None
    # Called as next_due(config, site) for a job that watches a folder; returns the monotonic time in seconds at which
    # a file that is still being written is due, or None.
    next_due: Callable[[Any, Any], float | None] | None = None
    hour: int | None = None  # run once a day at this hour in the time zone of the site, and once after a start
    # Name of the third-party plugin, set when the job is registered. A plugin has one thread for its jobs, so that a
    # job that hangs holds up no other.
    plugin: str = ""

    @property
    def lane(self) -> str:
        """Return the name of the group of threads that runs the job."""
        if self.plugin:
            return f"plugin {self.plugin}"
        return next((name for name in ("light", "polls", "show") if getattr(self, name)), "default")

    def pause_s(self, site: Any, stage: str | None) -> float:
        """Return the seconds between two runs."""
        return self.every_s(site) if site is None or self.at_stage is None else self.at_stage(site, stage)


@dataclass(frozen=True, slots=True)
class ServicePart:
    """A part of the core process that a plugin provides.

    A part that stores readings calls `on_stored` of the hook `service_parts` after its commit, so that the sites are
    evaluated and other parts process these readings.
    """

    start: Callable[[], None] = lambda: None
    stop: Callable[[float], None] = lambda _timeout_s: None
    follow: Callable[[], None] = lambda: None  # called every `follow_every_s`; returns within a second, and may fail
    follow_every_s: float = 3.0
    subjects: tuple[object, ...] = ()  # checked after `follow` by the checks of their classes
    on_readings: Callable[[], None] = lambda: None  # called after a commit of readings; returns at once
    # Whether readings of a site are stored that the part still has to process. Its level does not fall meanwhile.
    is_behind: Callable[[str], bool] = lambda _site_id: False


class SiteFileSections(NamedTuple):
    """Sections `[[name]]` that a plugin adds to site files."""

    tables: Mapping[str, type[Any]]  # pydantic model of one entry, by the name of the section
    # Called as expand(file, name) with the parsed file and its name. Returns the file with the stations, series and
    # quantities that follow from the sections. Raises ConfigError.
    expand: Callable[[Any, str], Any] = lambda file, _name: file


class LabelledGround(NamedTuple):
    """Ground on a scene that a person described."""

    path: str  # of the files of the scene
    kind: str  # `landslide`, `not_landslide` or `nothing`, which means that all of it was searched without a finding
    geometry: Mapping[str, Any]  # GeoJSON Polygon or MultiPolygon in longitude and latitude
    method: str  # how the footprint was found that the person judged; empty for an outline that the person drew


class SceneTrainingData(NamedTuple):
    """Scenes of a site from which a network can be trained."""

    scenes: Mapping[str, str]  # path of the files by hash of the scene, the newest scene first
    labels: Sequence[LabelledGround]


class SceneCracks(NamedTuple):
    """Cracks that were found on a scene and written to files."""

    facts: Mapping[str, object]  # added to the JSON output of `slopeward scenes detect`
    line: str  # added to its text output


class ExportTable(NamedTuple):
    """A public view that can be exported as a file."""

    view: str
    instant: str  # the column that a range of time refers to; empty if rows have no instant
    order: tuple[str, ...]  # columns by which rows are sorted, so that the same rows give the same file
    is_layer: bool = False  # rows have a latitude and a longitude, so that the view is also a layer of maps


class CurveAddition(NamedTuple):
    """What a plugin adds to the JSON document of a curve."""

    values: Mapping[str, object]  # by key; keys of other plugins must not be used again
    until: datetime | None = None  # the end of the values, if they go on after the readings


class SuspectedFault(NamedTuple):
    """A fault of an instrument that is suspected, such as a drift, and that nobody dismissed."""

    station: str
    quantity: str
    kind: str  # of the fault, such as `drift`, or `movement`
    since: datetime
    cause: str | None  # the cause that a person gave; None if nobody labelled it


class StatusSection(NamedTuple):
    """What `slopeward status` shows about a subject, such as the sources of files."""

    name: str  # the key of `entries` in the JSON document
    entries: Sequence[Mapping[str, Any]]
    lines: Sequence[str]  # the same for people, in the time zones that the hook is given


class SourcePast(NamedTuple):
    """The past of a source, read into a file for `slopeward import --from`."""

    path: Path  # file in the neutral long form
    site: str  # the site of the source
    notes: Sequence[str]  # what was not read, one line each
    # Called as finish(db, clock) after the file was imported. Removes the file, and lets the next poll begin at its
    # end.
    finish: Callable[[Any, Callable[[], datetime]], None]
    name: str = ""  # of the source, for messages; empty for the name of the file
    zone: str | None = None  # of times without an offset, which a new site gets as its time zone


class Migrations(NamedTuple):
    """The alembic branch of a plugin that has tables of its own."""

    name: str  # of the plugin; names of its tables start with it
    folder: Path  # contains the revisions
