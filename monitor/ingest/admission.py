"""What one sender may ask of the service: so many readings for so long, and no stations without end.

Only what comes by the broker is bounded; files are read in by a person who is there.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from monitor.decision.cost import StationReadingLimit, compute_reading_limits
from monitor.ingest.message import BrokerMessage, DecodedMessage, MessageFault
from monitor.ingest.queries.messages import MOST_SOURCES, OTHERS, find_source
from monitor.readings.records import Observation
from monitor.settings.service import LimitsSection
from monitor.sites.records import Site
from monitor.sites.topics import TOPIC_ROOT
from monitor.text.message import Figure, Template

BY_BROKER: Final = ("live", "backfill")
_TOO_FAST: Final = Template(
    "admission.fast",
    "{sender} sends more than {n} readings a second for long; slow it down, or raise limits.readings_per_s, then "
    "`slopeward ingest --rejected`",
)
_TOO_DENSE: Final = Template(
    "admission.dense",
    "{station} brings more readings than the windows of its site hold; correct its interval in the site file or slow "
    "it down, then `slopeward ingest --rejected`",
)
_STRANGER: Final = Template(
    "admission.stranger",
    "station '{station}' stands in no site file, and {n} such are stored already; declare it, or raise "
    "limits.undeclared_stations, then `slopeward ingest --rejected`",
)


@dataclass(slots=True)
class _TokenBucket:
    left: float
    at: datetime


class Admission:
    """Lets readings in, or says why not. A refused message goes to the quarantine and can be read again from there.

    Args:
        stations: those that already have readings, by site: they stay in whatever the limit.
    """

    def __init__(self, limits: LimitsSection, sites: Mapping[str, Site], stations: Mapping[str, set[str]]) -> None:
        self._limits = limits
        self._declared = {site.id: {station.id for station in site.stations} for site in sites.values()}
        self._undeclared = {site: set(stations.get(site, ())) - declared for site, declared in self._declared.items()}
        self._sites = sites
        self._rooms: dict[tuple[str, str], StationReadingLimit] = {
            (site.id, station): room
            for site in sites.values()
            for station, room in compute_reading_limits(site).items()
        }
        self._spans: dict[tuple[str, str, str], timedelta] = {}
        self._buckets: dict[str, _TokenBucket] = {}
        self._before: dict[str, tuple[float, datetime]] = {}  # of the batch in hand

    def admit(self, message: BrokerMessage, decoded: DecodedMessage) -> DecodedMessage:
        """The same, without what is too much; that is a fault with its reason."""
        if message.client not in BY_BROKER:
            return decoded
        readings = len(decoded.observations)
        if self._is_too_fast(message, decoded):
            source, limit = find_source(message.topic, message.client), self._limits.readings_per_s
            reason = _TOO_FAST(sender=source, n=limit)
            # counted as arrived: who sends too much is not asked to send it again
            decoded = DecodedMessage(faults=(MessageFault("rate_limited", reason, message.payload),), mark=decoded.mark)
        elif too_dense := self._find_too_dense(message, decoded):
            reason = _TOO_DENSE(station=too_dense)
            decoded = DecodedMessage(faults=(MessageFault("rate_limited", reason, message.payload),), mark=decoded.mark)
        elif readings:
            decoded = self._without_strangers(message, decoded)
        mark = decoded.mark
        if mark is None or mark.station in self._declared.get(mark.site, ()):
            return decoded
        # the counts of a station that has no readings are its sender's invention, as its name is
        return decoded if mark.station in self._undeclared.get(mark.site, ()) else replace(decoded, mark=None)

    def settle(self) -> None:
        """What was let in is stored."""
        self._before.clear()

    def revert(self) -> None:
        """Nothing of it was stored; the same messages come again and are not counted twice."""
        for source, (left, at) in self._before.items():
            self._buckets[source] = _TokenBucket(left, at)
        self._before.clear()

    def _is_too_fast(self, message: BrokerMessage, decoded: DecodedMessage) -> bool:
        limits, source = self._limits, find_source(message.topic, message.client)
        bucket = self._buckets.get(source)
        if bucket is None:
            is_one_of_many = len(self._buckets) >= MOST_SOURCES and not self._is_declared(source)
            source = self._name_one_of_many(decoded) if is_one_of_many else source
        readings = max(len(decoded.observations), 1)
        return self._lacks(source, readings, limits.readings_per_s, limits.readings_at_once, message.received_at)

    def _find_too_dense(self, message: BrokerMessage, decoded: DecodedMessage) -> str:
        """A declared station that brings more into the windows of its site than an evaluation should read, or nothing.

        What lies before the windows is read by no evaluation, and does not count.
        """
        counts: dict[tuple[str, str], int] = {}
        for item in decoded.observations:
            key = (item.site, item.station)
            if key in self._rooms and item.received_at - item.observed_at < self._span_of(item):
                counts[key] = counts.get(key, 0) + 1
        for (site, station), count in counts.items():
            room = self._rooms[site, station]
            per_s = room.rows / max(room.span_s.values())
            if self._lacks(f"windows of {site}/{station}", count, per_s, room.rows, message.received_at):
                return f"{site}/{station}"
        return ""

    def _span_of(self, item: Observation) -> timedelta:
        """How far back the windows reach of a series of a station that has some."""
        key = (item.site, item.station, item.quantity)
        found = self._spans.get(key)
        if found is None:
            spec = self._sites[item.site].series(item.station, item.quantity)
            span_s = 0.0 if spec is None else self._rooms[key[:2]].span_s.get(spec.quantity, 0.0)
            found = self._spans[key] = timedelta(seconds=span_s)
        return found

    def _lacks(self, source: str, readings: int, per_s: float, most: float, at: datetime) -> bool:
        """Whether a sender has no room for these readings; else they are taken from it."""
        bucket = self._buckets.setdefault(source, _TokenBucket(most, at))
        if source not in self._before:
            self._before[source] = bucket.left, bucket.at
        if at > bucket.at:  # a clock that was set back gives nothing and takes nothing
            bucket.left = min(bucket.left + (at - bucket.at).total_seconds() * per_s, most)
        bucket.at = at
        if bucket.left < readings:
            return True
        bucket.left -= readings
        return False

    def _name_one_of_many(self, decoded: DecodedMessage) -> str:
        """Whose bound counts beyond so many senders: on topics of decoders that of the declared station they read for.

        It is not the bound of the station's own topic, so that who says its name elsewhere takes nothing of that.
        """
        stations = {(o.site, o.station) for o in decoded.observations}
        if not stations or any(name not in self._declared.get(site, ()) for site, name in stations):
            return OTHERS
        site, name = min(stations)
        return f"{site}/{name} by {OTHERS}"

    def _is_declared(self, source: str) -> bool:
        """Whether a sender is a station of a site file: however many names others invent, it keeps its own bound."""
        *_, site, station = ("", *source.split("/"))
        return source == f"{TOPIC_ROOT}/{site}/{station}" and station in self._declared.get(site, ())

    def _without_strangers(self, message: BrokerMessage, decoded: DecodedMessage) -> DecodedMessage:
        refused: set[str] = set()
        for item in decoded.observations:
            if item.station in self._declared.get(item.site, ()):
                continue
            strangers = self._undeclared.setdefault(item.site, set())
            if item.station in strangers:
                continue
            if len(strangers) < self._limits.undeclared_stations:
                strangers.add(item.station)
            else:
                refused.add(item.station)
        if not refused:
            return decoded
        reason = _STRANGER(station=min(refused)[:64], n=Figure(self._limits.undeclared_stations, "d"))
        return replace(
            decoded,
            observations=tuple(o for o in decoded.observations if o.station not in refused),
            faults=(*decoded.faults, MessageFault("too_many_stations", reason, message.payload)),
        )
