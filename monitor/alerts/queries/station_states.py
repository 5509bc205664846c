"""Load whether each instrument is ok, late or silent at the instant of display.

An evaluation stores the health of each station. Between two evaluations, and while a limit of silence of many intervals
has not passed, the stored state says nothing about missing readings. `load_station_states` adds them: it compares the
newest reading of every declared series with the interval at which its readings are usually received.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from typing import Final, NamedTuple
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Engine, String, func, select, type_coerce

from monitor.decision.series.assessment import belongs_to_series
from monitor.decision.series.reading_age import SeriesPace, measure_pace
from monitor.decision.series.station_health import SILENT_SINCE
from monitor.readings.instrument_views import StationHealthRow
from monitor.readings.tables import observation, series, series_latest
from monitor.sites.declarations import find_declaration
from monitor.sites.parents import Place
from monitor.sites.records import SeriesSpec, Site
from monitor.sites.tables import site as site_table
from monitor.sites.witnesses import find_voting_series
from monitor.storage.rows import match_given
from monitor.storage.views import load_view
from monitor.text.instants import EPOCH, epoch_s, format_iso, from_epoch_s
from monitor.text.message import LABELLED_TEXT, Duration, Message, Template, Term, Timestamp, join

_LATE: Final = Template("health.late", "late: the newest reading is of {at}, and one usually comes every {duration}")
_IN_STATE: Final = Template("site.in_state", "{n} {state}")
# Newest readings of a series that show how often it is measured and received.
_PACE_READINGS: Final = 12
# A logger that uploads many readings at a time is received less often than these readings show. The receptions before
# the newest upload are then sought among this number of readings.
_SOUGHT_READINGS: Final = 10_000
# Receptions that show how often a logger uploads.
_SOUGHT_RECEPTIONS: Final = 4
# Series of one query, below the limit of parameters of SQLite.
_CHUNK: Final = 5_000
# A station has the state of its worst series. `ok` and `verify` are states of instruments that send.
_RANK: Final = {"ok": 0, "verify": 1, "late": 2, "unknown": 3, "stuck": 4, "flagged": 5, "silent": 6}
# States of an instrument that sends nothing at the moment.
NOT_RECEIVED: Final = frozenset({"late", "silent"})


@dataclass(frozen=True, slots=True)
class StationStates:
    """State of every declared station of a site at the instant of display.

    Attributes:
        health: Row of `station_health` by station, with the state and the reason at the instant of display.
        paces: Pace of every declared series with readings, by station and declared quantity.
        voting: Stations with a series that a vote depends on.
        declared: The declared site; None if its file cannot be read.
    """

    now: datetime
    health: Mapping[str, StationHealthRow] = field(default_factory=dict)
    paces: Mapping[Place, SeriesPace] = field(default_factory=dict)
    voting: frozenset[str] = frozenset()
    declared: Site | None = None

    @property
    def states(self) -> dict[str, str | None]:
        """State by station; None for a station that was never evaluated."""
        return {station: row["state"] for station, row in self.health.items()}

    @property
    def missing_voting(self) -> list[str]:
        """Voting stations from which readings are missing at this instant: late or silent."""
        return sorted(name for name in self.voting if self.states.get(name) in NOT_RECEIVED)

    def find_pace(self, station: str, quantity: str) -> SeriesPace | None:
        """Return the pace of the declared series that has a quantity, or whose component has it."""
        pace = self.paces.get((station, quantity))
        if pace is not None:
            return pace
        components = (name for of, name in self.paces if of == station and quantity.startswith(f"{name}_"))
        longest = max(components, key=len, default=None)
        return None if longest is None else self.paces[station, longest]

    def find_station_pace(self, station: str) -> SeriesPace | None:
        """Return the pace of the series of a station that is received most often."""
        of_station = [pace for (name, _), pace in self.paces.items() if name == station]
        return min(of_station, key=lambda pace: pace.interval_s, default=None)

    def is_current(self, station: str, quantity: str, at: datetime) -> bool:
        """Return whether a value from readings of a series up to `at` may be called the present value.

        A series without a pace is not declared any more, so its value is not the present one.
        """
        pace = self.find_pace(station, quantity) or self.find_station_pace(station)
        return pace is not None and pace.is_current(at, self.now)


# For sites whose state is not shown.
NO_STATES: Final = StationStates(EPOCH)


def load_station_states(
    connection: Connection, now: datetime, site: str | frozenset[str] | None = None
) -> dict[str, StationStates]:
    """Return the state of every station at the instant `now`, by site.

    While a backlog of readings is stored, missing readings make a station late, not silent. Stations of a site whose
    file cannot be read keep the state of the last evaluation.
    """
    rows: dict[str, dict[str, StationHealthRow]] = defaultdict(dict)
    for row in load_view(connection, "station_health", StationHealthRow, site=site):
        rows[row["site"]][row["station"]] = row
    s = site_table.c
    declared: dict[str, Site] = {}
    for site_id, version in connection.execute(select(s.id, s.config_sha256).where(s.active, *match_given(s.id, site))):
        declaration = find_declaration(connection, version)
        if declaration is not None:
            declared[site_id] = declaration
    paces = _load_paces(connection, declared)
    catching_up = {row["site"] for row in load_view(connection, "site_status", site=site) if row["catching_up"]}
    states: dict[str, StationStates] = {}
    for site_id in {**declared, **rows}:
        health = rows.get(site_id, {})
        declaration = declared.get(site_id)
        if declaration is None:
            states[site_id] = StationStates(now, health)
            continue
        present = {
            name: _update_health(declaration, row, paces[site_id], now, may_be_silent=site_id not in catching_up)
            for name, row in health.items()
        }
        voting = frozenset(station for station, _ in find_voting_series(declaration))
        states[site_id] = StationStates(now, present, paces[site_id], voting, declaration)
    return states


def count_states(states: Mapping[str, int]) -> list[Message]:
    """Return how many stations are in which state, the most frequent first.

    >>> count_states({"verify": 1, "silent": 4})
    ['4 silent', '1 to be verified']
    """
    names = {"verify": "to be verified"}
    in_order = sorted(states.items(), key=lambda item: (-item[1], item[0]))
    return [_IN_STATE(n=n, state=Term(names.get(state, state))) for state, n in in_order]


def _update_health(
    site: Site, row: StationHealthRow, paces: Mapping[Place, SeriesPace], now: datetime, *, may_be_silent: bool
) -> StationHealthRow:
    """Return the row of a station with the state and the reason at the instant `now`."""
    station = site.station(row["station"])
    if station is None:
        return row
    worst = ""
    reasons: list[Message] = []
    since: list[datetime] = []
    newest_at = row["newest_at"]
    for spec in station.series:
        pace = paces.get((station.id, spec.quantity))
        if pace is None:
            continue
        newest_at = max(newest_at or "", format_iso(pace.observed_at))
        state = pace.find_state(now)
        if state == "silent" and not may_be_silent:
            state = "late"
        if state == "ok":
            continue
        if not worst or _RANK[state] > _RANK[worst]:
            worst = state
            reasons = []
            since = []
        if state == worst:
            since.append(pace.find_missing_since(state))
            reasons.append(LABELLED_TEXT(name=Term(spec.quantity), text=_describe_missing(state, pace)))
    stored = row["state"]
    if not worst or _RANK[worst] <= _RANK.get(stored or "ok", 0):
        return {**row, "newest_at": newest_at}
    return {
        **row,
        "state": worst,
        "since": format_iso(min(since)),
        "reason": join(reasons),
        "newest_at": newest_at,
    }


def _describe_missing(state: str, pace: SeriesPace) -> Message:
    if state == "silent":
        return SILENT_SINCE(at=Timestamp.of(pace.observed_at), duration=Duration(pace.silence_s))
    return _LATE(at=Timestamp.of(pace.observed_at), duration=Duration(pace.interval_s, "about"))


class _NewestReading(NamedTuple):
    """Epoch and reception of the newest reading of a stored series, as text."""

    series_id: int
    observed_at: str
    received_at: str


class _SeriesReadings(NamedTuple):
    """Epochs and receptions of the newest readings of a stored series, oldest first, in epoch seconds."""

    series_id: int
    times_s: tuple[float, ...]
    received_s: tuple[float, ...]


class _CachedPace(NamedTuple):
    """The pace of a declared series, and the newest readings of its components that it was measured with."""

    spec: SeriesSpec
    newest: tuple[_NewestReading, ...]
    pace: SeriesPace


_SeriesKey = tuple[str, str, str]
# The pace of a series is measured again only after a new reading. By database, then by site, station and quantity.
_caches: Final[WeakKeyDictionary[Engine, dict[_SeriesKey, _CachedPace]]] = WeakKeyDictionary()


def _load_paces(connection: Connection, declared: Mapping[str, Site]) -> dict[str, dict[Place, SeriesPace]]:
    """Return the pace of every declared series with readings, by site."""
    cache = _caches.setdefault(connection.engine, {})
    newest = _load_newest(connection, declared)
    changed: dict[_SeriesKey, tuple[SeriesSpec, tuple[_NewestReading, ...]]] = {}
    paces: dict[str, dict[Place, SeriesPace]] = {site_id: {} for site_id in declared}
    for site_id, declaration in declared.items():
        for station in declaration.stations:
            of_station = newest.get((site_id, station.id), {})
            for spec in station.series:
                components = tuple(
                    reading
                    for quantity, reading in of_station.items()
                    if belongs_to_series(declaration, spec, quantity)
                )
                key = (site_id, station.id, spec.quantity)
                cached = cache.get(key)
                if cached is not None and cached.newest == components and cached.spec == spec:
                    paces[site_id][station.id, spec.quantity] = cached.pace
                elif components:
                    changed[key] = spec, components
    readings = _load_readings(connection, [row.series_id for _, components in changed.values() for row in components])
    for key, (spec, components) in changed.items():
        loaded = [readings[row.series_id] for row in components if row.series_id in readings]
        if loaded:
            pace = _measure(connection, spec, loaded)
            cache[key] = _CachedPace(spec, components, pace)
            paces[key[0]][key[1], key[2]] = pace
    return paces


def _load_newest(connection: Connection, sites: Iterable[str]) -> dict[tuple[str, str], dict[str, _NewestReading]]:
    """Return the newest reading of each stored series by quantity, by site and station."""
    s, k = series.c, series_latest.c
    query = (
        select(
            s.site, s.station, s.quantity, s.id, type_coerce(k.observed_at, String), type_coerce(k.received_at, String)
        )
        .join(series_latest, k.series_id == s.id)
        .where(s.site.in_(list(sites)))
        .order_by(s.id)
    )
    newest: dict[tuple[str, str], dict[str, _NewestReading]] = defaultdict(dict)
    for site_id, station, quantity, *reading in connection.execute(query):
        newest[site_id, station][quantity] = _NewestReading(*reading)
    return newest


def _load_readings(connection: Connection, series_ids: Sequence[int]) -> dict[int, _SeriesReadings]:
    """Return the newest readings of some series, by series id.

    Readings from the future are left out. Of an epoch with several revisions, the first reception counts.
    """
    s, o = series.c, observation.c
    newest = observation.alias("newest")
    oldest_shown = (
        select(newest.c.observed_at)
        .where(newest.c.series_id == s.id)
        .order_by(newest.c.observed_at.desc())
        .limit(1)
        .offset(_PACE_READINGS - 1)
        .correlate(series)
        .scalar_subquery()
    )
    query = (
        select(s.id, o.observed_at, func.min(o.received_at).label("received_at"))
        .join(observation, o.series_id == s.id)
        .where(
            type_coerce(o.observed_at, String) >= func.coalesce(type_coerce(oldest_shown, String), ""),
            o.flags.not_like("%future%"),
        )
        .group_by(s.id, o.observed_at)
        .order_by(s.id, o.observed_at)
    )
    readings: dict[int, _SeriesReadings] = {}
    for start in range(0, len(series_ids), _CHUNK):
        of_chunk = query.where(s.id.in_(series_ids[start : start + _CHUNK]))
        for series_id, rows in groupby(connection.execute(of_chunk), key=lambda row: row.id):
            instants = [(epoch_s(row.observed_at), epoch_s(row.received_at)) for row in rows]
            readings[series_id] = _SeriesReadings(
                series_id,
                tuple(observed_s for observed_s, _ in instants),
                tuple(received_s for _, received_s in instants),
            )
    return readings


def _measure(connection: Connection, spec: SeriesSpec, components: Sequence[_SeriesReadings]) -> SeriesPace:
    longest = max(components, key=lambda readings: len(readings.times_s))
    received_s = list(longest.received_s)
    if len(received_s) >= _PACE_READINGS and len(set(received_s)) < _SOUGHT_RECEPTIONS:
        received_s += _find_earlier_receptions(connection, longest.series_id, min(received_s))
    interval_s, silence_s = measure_pace(spec, longest.times_s, received_s)
    newest_s = max(min(readings.times_s[-1], readings.received_s[-1]) for readings in components)
    newest_received_s = max(readings.received_s[-1] for readings in components)
    return SeriesPace(
        observed_at=from_epoch_s(newest_s),
        received_at=from_epoch_s(newest_received_s),
        interval_s=interval_s,
        silence_s=silence_s,
        is_regular=spec.stamp != "event",
    )


def _find_earlier_receptions(connection: Connection, series_id: int, oldest_s: float) -> list[float]:
    """Return the receptions of the uploads before the newest readings of a series, in epoch seconds.

    Args:
        oldest_s: The earliest reception of the newest readings, in epoch seconds.
    """
    o = observation.c
    newest = (
        select(o.received_at)
        .where(o.series_id == series_id)
        .order_by(o.observed_at.desc())
        .limit(_SOUGHT_READINGS)
        .subquery()
    )
    receptions_s: list[float] = []
    while len(receptions_s) < _SOUGHT_RECEPTIONS:
        earlier = select(func.max(newest.c.received_at)).where(newest.c.received_at < from_epoch_s(oldest_s))
        received_at = connection.execute(earlier).scalar()
        if received_at is None:
            break
        oldest_s = epoch_s(received_at)
        receptions_s.append(oldest_s)
    return receptions_s
