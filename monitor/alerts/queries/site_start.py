"""Determine whether a site is still starting: until its first readings can be judged, it is neither green nor blind."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, func, select

from monitor.alerts.evaluation_tables import evaluation
from monitor.alerts.queries.evaluations import find_state
from monitor.alerts.queries.station_states import StationStates
from monitor.decision.prepared_site import PreparedSite
from monitor.decision.records import Memory
from monitor.readings.tables import observation, series
from monitor.sites.criteria.registry import load_criteria
from monitor.sites.parents import Place
from monitor.sites.records import Criterion, Site
from monitor.sites.tables import config_version
from monitor.sites.views import SiteStatusRow
from monitor.sites.witnesses import list_voting_witnesses
from monitor.text.instants import format_iso, from_epoch_s
from monitor.text.message import Duration, Message, NameList, Template, Timestamp, join

_RECEIVED: Final = Template("start.received", "{n} of {n2} stations have sent a first reading")
_AWAITED: Final = Template("start.awaited", "no reading yet from {names}")
_JUDGED_AT: Final = Template(
    "start.judged_at", "levels are judged from about {at} on, when {duration} of readings are stored"
)
_JUDGED_AFTER: Final = Template("start.judged_after", "levels are judged as soon as {duration} of readings are stored")
_JUDGED_FIRST: Final = Template("start.judged_first", "levels are judged from the first readings on")
_JUDGED_NEXT: Final = Template("start.judged_next", "levels are judged by the next evaluation")
_ALL_JUDGED_AT: Final = Template(
    "start.all_judged_at", "all levels of every station on the slope from about {at} on, after {duration}"
)


@dataclass(frozen=True, slots=True)
class SiteStart:
    """A site whose readings cannot be judged yet.

    Attributes:
        since: First evaluation of the site, or when its site file was loaded if it was never evaluated.
        received: Declared stations with a reading.
        awaited: Declared stations without one.
        needed_s: Length of the readings after which a first criterion can judge, in seconds.
        judged_from: When a first criterion is expected to judge; None before the first reading that it needs.
        all_needed_s: Length of the readings that every level of every criterion needs, in seconds.
        all_judged_from: When all of them are expected to judge; None if a station has not sent a reading.
    """

    since: datetime
    received: tuple[str, ...]
    awaited: tuple[str, ...]
    needed_s: float
    judged_from: datetime | None
    all_needed_s: float
    all_judged_from: datetime | None

    def describe(self, now: datetime) -> Message:
        """Return what has arrived, what is awaited, and from when on levels are judged."""
        sentences: list[Message] = [_RECEIVED(n=len(self.received), n2=len(self.received) + len(self.awaited))]
        if self.awaited and self.received:
            sentences.append(_AWAITED(names=NameList(self.awaited)))
        sentences.append(self._describe_judgement(now))
        if self.all_judged_from is not None and self.all_needed_s > self.needed_s and self.all_judged_from > now:
            at = Timestamp.of(self.all_judged_from, "minute")
            sentences.append(_ALL_JUDGED_AT(at=at, duration=Duration(self.all_needed_s, "about")))
        return join(sentences)

    def _describe_judgement(self, now: datetime) -> Message:
        if self.judged_from is not None:
            if self.judged_from <= now:
                return _JUDGED_NEXT()
            at = Timestamp.of(self.judged_from, "minute")
            return _JUDGED_AT(at=at, duration=Duration(self.needed_s, "about"))
        if self.needed_s > 0.0:
            return _JUDGED_AFTER(duration=Duration(self.needed_s, "about"))
        return _JUDGED_FIRST()

    def to_json(self) -> dict[str, Any]:
        """Return the entry `starting` of the HTTP API and of `slopeward status --json`."""
        return {
            "since": format_iso(self.since),
            "received": list(self.received),
            "awaited": list(self.awaited),
            "needed_s": self.needed_s,
            "judged_from": None if self.judged_from is None else format_iso(self.judged_from),
            "all_needed_s": self.all_needed_s,
            "all_judged_from": None if self.all_judged_from is None else format_iso(self.all_judged_from),
        }


def find_site_start(connection: Connection, status: SiteStatusRow, stations: StationStates) -> SiteStart | None:
    """Return how far a starting site is; None if it is not starting.

    A site starts with its first evaluation. It is no longer starting
    * when a criterion with a vote could judge the motion of a station (on a site without such criteria: anything), or
      when its level is above the lowest;
    * when no reading has arrived within the shortest limit of silence of its series: then it is blind;
    * when an instrument with a vote that sent readings is silent;
    * when the readings are long enough and no criterion could judge them within the longest limit of silence.

    Args:
        connection: An open connection.
        status: Row of `site_status`.
        stations: State of its stations at the instant of display.
    """
    site = stations.declared
    if site is None or status["level"] or status["observability"] == "full":
        return None
    needs = _list_needs(site)
    if not needs:
        return None
    voting = PreparedSite(site).voting_series
    silences_s = [spec.max_silence_s for place in voting if (spec := site.series(*place)) is not None]
    limit = timedelta(seconds=max(silences_s, default=0.0))
    longest = timedelta(seconds=max(need.longest_s for need in needs))
    since = _find_start(connection, site.id, status, needs, stations.now, bound=2 * limit + longest)
    if since is None:
        return None
    first = _load_first_readings(connection, site.id)
    received = {station for station, _ in first}
    if not received and stations.now > since + timedelta(seconds=min(silences_s, default=0.0)):
        return None
    if any(stations.states.get(station) == "silent" for station, _ in voting if station in received):
        return None
    start = _describe_start(site, needs, first, since)
    if start.judged_from is not None and stations.now > start.judged_from + limit:
        return None
    return start


@dataclass(frozen=True, slots=True)
class _Need:
    """The readings that a criterion needs before it can judge.

    Attributes:
        places: Station and quantity of the series that it reads.
        shortest_s: Length of the readings that its first level needs, in seconds.
        longest_s: Length of the readings that all its levels need, in seconds.
    """

    criterion: str
    places: tuple[Place, ...]
    shortest_s: float
    longest_s: float


def _list_needs(site: Site) -> list[_Need]:
    """Return what the criteria with a vote on motion need; on a site without such criteria, what all others need."""
    voting = [k for k in PreparedSite(site).voting_criteria.values() if k.kind.source == "instruments"]
    on_motion = [criterion for criterion in voting if criterion.kind.motion]
    needs = [_find_need(site, criterion) for criterion in on_motion or voting]
    return [need for need in needs if need.places]


def _find_need(site: Site, criterion: Criterion) -> _Need:
    longest_s = load_criteria()[criterion.kind.id].history_s(criterion)
    windows_s = [threshold.effective_window_s for threshold in criterion.thresholds]
    witnesses = list_voting_witnesses(site, criterion)
    return _Need(
        criterion=criterion.id,
        places=tuple(dict.fromkeys(witness.series for witness in witnesses if witness.series is not None)),
        shortest_s=min([longest_s, *windows_s]),
        longest_s=longest_s,
    )


def _find_start(
    connection: Connection, site_id: str, status: SiteStatusRow, needs: Sequence[_Need], now: datetime, bound: timedelta
) -> datetime | None:
    """Return since when a site starts; None if a criterion has judged it, or it started longer than `bound` ago."""
    if status["evaluated_at"] is None:
        loaded = select(func.min(config_version.c.loaded_at)).where(config_version.c.site == site_id)
        loaded_at = connection.execute(loaded).scalar()
        return None if loaded_at is None or now - loaded_at > bound else loaded_at
    first_at = connection.execute(select(func.min(evaluation.c.at)).where(evaluation.c.site == site_id)).scalar()
    if first_at is not None and now - first_at > bound:
        # The usual case. The memory need not be parsed.
        return None
    row = find_state(connection, site_id)
    if row is None:
        return None
    memory = Memory.read(row.state)
    criteria = {need.criterion for need in needs}
    if memory.started_s is None or any(key.criterion in criteria for key in memory.votes):
        return None
    started_at = from_epoch_s(memory.started_s)
    return None if now - started_at > bound else started_at


def _load_first_readings(connection: Connection, site_id: str) -> dict[tuple[str, str], datetime]:
    """Return the epoch of the first reading of each series of a site, by station and quantity."""
    s, o = series.c, observation.c
    first = select(func.min(o.observed_at)).where(o.series_id == s.id).correlate(series).scalar_subquery()
    query = select(s.station, s.quantity, first.label("at")).where(s.site == site_id)
    return {(row.station, row.quantity): row.at for row in connection.execute(query) if row.at is not None}


def _find_first(first: Mapping[Place, datetime], place: Place) -> datetime | None:
    """Return the first reading of a declared series, which may be stored as components."""
    station, quantity = place
    epochs = [
        at
        for (of_station, stored), at in first.items()
        if of_station == station and (stored == quantity or stored.startswith(f"{quantity}_"))
    ]
    return min(epochs, default=None)


def _describe_start(site: Site, needs: Sequence[_Need], first: Mapping[Place, datetime], since: datetime) -> SiteStart:
    received = {station for station, _ in first}
    stations = [station.id for station in site.stations]
    soonest: list[tuple[datetime, float]] = []
    latest: list[datetime | None] = []
    for need in needs:
        epochs = [_find_first(first, place) for place in need.places]
        soonest += [(at + timedelta(seconds=need.shortest_s), need.shortest_s) for at in epochs if at is not None]
        latest += [None if at is None else at + timedelta(seconds=need.longest_s) for at in epochs]
    judged_from, needed_s = min(soonest, default=(None, min(need.shortest_s for need in needs)))
    all_epochs = [at for at in latest if at is not None]
    return SiteStart(
        since=since,
        received=tuple(name for name in stations if name in received),
        awaited=tuple(name for name in stations if name not in received),
        needed_s=needed_s,
        judged_from=judged_from,
        all_needed_s=max(need.longest_s for need in needs),
        all_judged_from=max(all_epochs) if all_epochs and len(all_epochs) == len(latest) else None,
    )
