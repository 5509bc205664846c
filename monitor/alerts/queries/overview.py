"""Load what the page and the JSON API show of sites, stations and alerts."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from math import atan2, degrees, fsum
from typing import Final, NotRequired, TypedDict

from sqlalchemy import Connection, and_, func, null, select, text

from monitor.alerts.event_tables import report, site_event
from monitor.alerts.outbox_tables import notification
from monitor.alerts.queries.movement import load_stages_seen
from monitor.alerts.queries.site_start import SiteStart, find_site_start
from monitor.alerts.queries.station_states import NO_STATES, StationStates, count_states, load_station_states
from monitor.alerts.tables import alert as alert_table
from monitor.alerts.tables import alert_event
from monitor.alerts.views import AlertRow
from monitor.errors import RefusedError
from monitor.readings.instrument_views import StationHealthRow
from monitor.readings.queries.observations import load_readings, load_series
from monitor.readings.records import Reading
from monitor.readings.tables import observation, series_latest
from monitor.readings.tables import series as series_table
from monitor.readings.views import ReadingRow
from monitor.sites.quantities import LANDSLIDE_PREFIX, SCENE_QUANTITIES
from monitor.sites.tables import site as site_table
from monitor.sites.tables import station as station_table
from monitor.sites.views import SiteStatusRow
from monitor.storage.rows import match_given, row_to_record
from monitor.storage.views import has_view, load_view
from monitor.text.instants import format_iso
from monitor.text.message import LABELLED_TEXT, Message, Template, Term, join, read_columns

# Most readings that one request may load.
LARGEST_RANGE: Final = 200_000
_STATIONS_OK: Final = Template("site.stations_ok", "{ok} of {count} stations ok")
_OK: Final = Template("site.ok", "{ok} of {count} ok")
_LONG_RANGE: Final = Template(
    "range.too_long", "the range holds {count} readings, {most} are allowed; ask for a shorter one"
)


class StoredLevel(TypedDict):
    """A level of a site as it is stored."""

    number: int
    name: str
    action: str


@dataclass(frozen=True, slots=True)
class PlacedSite:
    """Name, place and levels of a site."""

    id: str
    name: str
    latitude: float
    longitude: float
    levels: list[StoredLevel]

    @property
    def top_level(self) -> int:
        """Number of the highest level."""
        return int(self.levels[-1]["number"])


@dataclass(frozen=True, slots=True)
class SiteCard(PlacedSite):
    """A site as the overview shows it: its declaration, its row of `site_status`, and its stations at this instant.

    Attributes:
        stations: State of its stations at the instant of display.
        start: What a starting site has received and awaits; None if the site is not starting.
        stage_seen_at: Epoch of the reading that last showed the stage of movement, if no station shows it now.
    """

    status: SiteStatusRow
    stations: StationStates
    start: SiteStart | None = None
    stage_seen_at: datetime | None = None
    timezone: str = "UTC"

    @property
    def station_counts(self) -> dict[str, int]:
        """Number of stations in each state. Landslides in scenes that were never evaluated are left out."""
        counts = Counter(
            state or "unknown"
            for station, state in self.stations.states.items()
            if state is not None or not station.startswith(LANDSLIDE_PREFIX)
        )
        return dict(counts)

    @property
    def stations_ok(self) -> Message:
        """How many stations are ok, and in which states the others are, as part of a sentence."""
        return self._describe_counts(_STATIONS_OK)

    @property
    def ok(self) -> Message:
        """How many stations are ok, and in which states the others are, beside the word "Stations"."""
        return self._describe_counts(_OK)

    def _describe_counts(self, template: Template) -> Message:
        counts = Counter(self.station_counts)
        ok = template(ok=counts.get("ok", 0), count=counts.total())
        others = {state: number for state, number in counts.items() if state != "ok"}
        return join([ok, *count_states(others)], ", ")

    @property
    def judged_level(self) -> int | None:
        """Number of the level; None before the first evaluation, and while the site is starting."""
        return None if self.start is not None else self.status["level"]

    @property
    def sight(self) -> str:
        """What the site sees at the instant of display: `starting`, `full`, `degraded` or `blind`.

        A site does not see "full" while readings of an instrument with a vote are missing, even if the last evaluation
        found all of them within their limits of silence.
        """
        if self.start is not None:
            return "starting"
        evaluated = self.status["observability"] or "blind"
        return "degraded" if evaluated == "full" and self.stations.missing_voting else evaluated

    @property
    def level_action(self) -> str:
        """The action of the present level; empty while the site is starting, because no level is judged yet."""
        if self.start is not None:
            return ""
        return next((str(v["action"]) for v in self.levels if v["number"] == self.status["level"]), "")


def load_cards(
    connection: Connection, site: str | frozenset[str] | None = None, *, now: datetime | None = None
) -> list[SiteCard]:
    """Return active sites with their status, the most dangerous first.

    Args:
        connection: An open connection.
        site: Id of one site, or ids of some; None for all.
        now: The instant of display. Everything that shows the state of a site passes it. Without it, `stations` is
            empty and `start` is None, because nothing is known about missing readings.
    """
    status = {row["site"]: row for row in load_view(connection, "site_status", SiteStatusRow, site=site)}
    stations = {} if now is None else load_station_states(connection, now, site)
    stages = {site_id: stage for site_id, row in status.items() if (stage := row["movement_stage"])}
    stages_seen = load_stages_seen(connection, stages)
    query = select(site_table).where(site_table.c.active, *match_given(site_table.c.id, site))
    cards = []
    for row in connection.execute(query):
        if row.id not in status:
            continue
        of_site = stations.get(row.id)
        start = None
        if of_site is not None:
            start = find_site_start(connection, status[row.id], of_site)
        cards.append(
            row_to_record(
                SiteCard,
                row,
                status=status[row.id],
                stations=of_site or NO_STATES,
                start=start,
                stage_seen_at=stages_seen.get(row.id),
            )
        )
    sight = {"blind": 0, "degraded": 1}
    return sorted(
        cards,
        key=lambda card: (
            -(card.status["level"] or 0),
            not card.status["unacknowledged"],
            sight.get(card.sight, 2),
            card.id,
        ),
    )


def find_ladder(connection: Connection, site: str) -> tuple[list[StoredLevel], str] | None:
    """Return the levels of an active site and the hash of its file; None if the site does not exist."""
    s = site_table.c
    row = connection.execute(select(s.levels, s.config_sha256).where(s.id == site, s.active)).one_or_none()
    return None if row is None else (row.levels, row.config_sha256)


@dataclass(frozen=True, slots=True)
class StationCard:
    """A declared station with its health and the newest reading of each quantity."""

    id: str
    latitude: float | None
    longitude: float | None
    height_m: float | None
    azimuth_deg: float | None
    plunge_deg: float | None
    reference: str | None
    logger: str | None
    on_slope: bool
    declared: bool
    health: StationHealthRow | None = None
    latest: list[ReadingRow] = field(default_factory=list)

    @property
    def state(self) -> str | None:
        """State of its health; None before the first evaluation."""
        return self.health and self.health["state"]

    @property
    def reason(self) -> str | None:
        """Reason of its state."""
        return self.health and self.health["reason"]

    @property
    def place(self) -> tuple[float, float] | None:
        """Longitude and latitude; None without coordinates."""
        return None if self.longitude is None or self.latitude is None else (self.longitude, self.latitude)


def load_stations(connection: Connection, site: str, states: StationStates | None = None) -> list[StationCard]:
    """Return the stations of a site, those on the slope first.

    Args:
        connection: An open connection.
        site: Site id.
        states: Their states at the instant of display. Without them, the health of the stations is left out.
    """
    health = {} if states is None else states.health
    series: dict[str, list[ReadingRow]] = {}
    for row in load_view(connection, "latest_observation", ReadingRow, order_by=["station", "quantity"], site=site):
        series.setdefault(row["station"], []).append(row)
    for delivered in series.values():
        delivered.sort(key=lambda row: row["quantity"] in SCENE_QUANTITIES)
    s = station_table.c
    rows = connection.execute(select(station_table).where(s.site == site).order_by(s.on_slope.desc(), s.id))
    return [row_to_record(StationCard, r, health=health.get(r.id), latest=series.get(r.id, [])) for r in rows]


def load_open_alerts(connection: Connection, site: str | frozenset[str] | None = None) -> list[AlertRow]:
    """Return open alerts without their evidence: drills last, the highest level and the newest first."""
    order = ["exercise", "-level", "-raised_at", "-alert_id"]
    return load_view(connection, "active_alerts", AlertRow, order_by=order, without="evidence", site=site)


def load_range(
    connection: Connection, series_id: int, from_at: datetime, to_at: datetime, known_at: datetime
) -> list[Reading]:
    """Return the readings of a range as known at an instant.

    Raises:
        RefusedError: The range contains more than `LARGEST_RANGE` readings.
    """
    o = observation.c
    within = (o.series_id == series_id, o.observed_at > from_at, o.observed_at <= to_at)
    count = connection.execute(select(func.count()).where(*within)).scalar_one()
    if count > LARGEST_RANGE:
        raise RefusedError(_LONG_RANGE(count=str(count), most=str(LARGEST_RANGE)))
    return load_readings(connection, series_id, from_at, to_at, known_at)


def find_direction(connection: Connection, site: str, station: str) -> tuple[float, float] | None:
    """Return azimuth and plunge of the movement of a station in degrees; None without a declared azimuth."""
    s = station_table.c
    row = connection.execute(select(s.azimuth_deg, s.plunge_deg).where(s.site == site, s.id == station)).one_or_none()
    return None if row is None or row.azimuth_deg is None else (row.azimuth_deg, row.plunge_deg or 0.0)


def find_newest(connection: Connection, series_ids: Sequence[int]) -> datetime | None:
    """Return the newest epoch of several series that is not in the future."""
    k = series_latest.c
    return connection.execute(select(func.max(k.observed_at)).where(k.series_id.in_(series_ids))).scalar()


def find_oldest(connection: Connection, series_ids: Sequence[int]) -> datetime | None:
    """Return the first epoch of several series."""
    o, s = observation.c, series_table.c
    first = select(func.min(o.observed_at)).where(o.series_id == s.id).correlate(series_table).scalar_subquery()
    epochs = [at for at in connection.execute(select(first).where(s.id.in_(series_ids))).scalars() if at is not None]
    return min(epochs, default=None)


def load_forecast_keys(connection: Connection, site: str) -> set[tuple[str, str]]:
    """Return station and quantity of each series whose newest forecast is shown."""
    if not has_view("latest_forecast"):
        return set()
    query = text("SELECT DISTINCT station, quantity FROM latest_forecast WHERE site = :site AND shown")
    return {(row.station, row.quantity) for row in connection.execute(query, {"site": site})}


class CurveMark(TypedDict):
    """A mark beside a curve. `level` and `alert` are present if the level changed.

    `kind` is report, event, level or verification.
    """

    at: str
    kind: str
    station: str | None
    text: str
    level: NotRequired[int]
    alert: NotRequired[int]


def load_marks(connection: Connection, site: str, from_at: datetime, to_at: datetime) -> list[CurveMark]:
    """Return the reports, events, level changes and questions of a range, as marks beside a curve."""
    r, e, n, a = report.c, site_event.c, alert_event.c, alert_table.c
    reports = select(r.at, r.kind, r.text, r.station).where(r.site == site, r.at > from_at, r.at <= to_at)
    events = select(e.from_at, e.kind, e.text, null()).where(e.site == site, e.from_at > from_at, e.from_at <= to_at)
    marks: list[CurveMark] = [
        {"at": format_iso(at), "kind": what, "station": station, "text": LABELLED_TEXT(name=Term(kind), text=text)}
        for what, query in (("report", reports), ("event", events))
        for at, kind, text, station in connection.execute(query.limit(200))
    ]
    changes = connection.execute(
        select(n.at, n.from_level, n.to_level, n.reason, n.reason_id, n.reason_values, n.alert_id, a.key, a.ledger)
        .join(alert_table, a.id == n.alert_id)
        .where(
            a.site == site,
            a.exercise.is_(False),
            n.at > from_at,
            n.at <= to_at,
            n.from_level.is_distinct_from(n.to_level),
            (a.ledger == "hazard") | and_(a.ledger == "health", a.key.like("%verif%")),
        )
        .order_by(n.at.desc())
        .limit(200)
    )
    for row in changes:
        kind = "level" if row.ledger == "hazard" else "verification"
        at, text = format_iso(row.at), read_columns(row, "reason")
        marks.append(
            {"at": at, "kind": kind, "station": None, "level": row.to_level, "text": text, "alert": row.alert_id}
        )
    return sorted(marks, key=lambda mark: mark["at"])


def count_undelivered(connection: Connection) -> int:
    """Return the number of messages of open alerts that failed for good or at least three times."""
    n = notification.c
    failed = (n.state == "failed_final") | ((n.state == "failed_retry") & (n.attempts >= 3))
    query = (
        select(func.count())
        .join(alert_table, alert_table.c.id == n.alert_id)
        .where(failed, alert_table.c.closed_at.is_(None))
    )
    return int(connection.execute(query).scalar_one())


def load_history(
    connection: Connection,
    site: str | frozenset[str] | None,
    ledger: str | None,
    limit: int,
    *,
    open_only: bool = False,
) -> list[AlertRow]:
    """Return alerts without their evidence, the newest first."""
    name, order = "active_alerts" if open_only else "alert_history", ["-raised_at", "-alert_id"]
    return load_view(
        connection, name, AlertRow, order_by=order, limit=limit, without="evidence", site=site, ledger=ledger
    )


def count_open(connection: Connection) -> dict[tuple[str, str], int]:
    """Return the number of open alerts by site and category, without drills."""
    a = alert_table.c
    query = select(a.site, a.ledger, func.count()).where(a.closed_at.is_(None), a.exercise.is_(False))
    return {(row[0], row[1]): int(row[2]) for row in connection.execute(query.group_by(a.site, a.ledger))}


COMPONENTS = ("displacement_east", "displacement_north")
# Epochs that are averaged at both ends of a window, to reduce noise.
EPOCHS = 5


def find_headings(connection: Connection, site: str, windows: Mapping[str, float], at: datetime) -> dict[str, float]:
    """Return the direction of movement of each station, in degrees clockwise from north.

    Stations without both components or without readings are left out.

    Args:
        windows: Time over which the displacement is measured, in seconds, by station.
        at: End of the windows. Readings count as known at this time.
    """
    ids: dict[str, dict[str, int]] = {}
    for row in load_series(connection, site):
        if row.station in windows and row.quantity in COMPONENTS:
            ids.setdefault(row.station, {})[row.quantity] = row.id
    headings = {}
    for station, series in ids.items():
        before = at - timedelta(seconds=windows[station])
        ends = [
            (_mean(connection, i, at, at), _mean(connection, i, before, at))
            for q in COMPONENTS
            if (i := series.get(q)) is not None
        ]
        if len(ends) == len(COMPONENTS) and all(None not in pair for pair in ends):
            east, north = (float(late) - float(early) for late, early in ends)  # type: ignore[arg-type]
            if east or north:
                headings[station] = round(degrees(atan2(east, north)) % 360.0, 1)
    return headings


def _mean(connection: Connection, series_id: int, until: datetime, known_at: datetime) -> float | None:
    """Return the mean of the newest `EPOCHS` epochs until an instant, corrected for offsets; None without readings."""
    o = observation.c
    epochs = (
        select(o.observed_at)
        .where(o.series_id == series_id, o.observed_at <= until)
        .distinct()
        .order_by(o.observed_at.desc())
        .limit(EPOCHS)
    )
    instants = connection.execute(epochs).scalars().all()
    if not instants:
        return None
    readings = load_readings(connection, series_id, instants[-1] - timedelta(microseconds=1), until, known_at)
    values = [r.value for r in readings if not r.flags]
    return fsum(values) / len(values) if values else None
