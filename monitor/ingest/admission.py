"""Limits of senders: how many readings per second, and how many stations that no site file declares.

The limits apply to messages of the broker only. Files are imported by a person, who sees the result.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from monitor.decision.cost import StationReadingLimit, compute_reading_limits
from monitor.ingest.message import BrokerMessage, DecodedMessage, MessageFault
from monitor.ingest.queries.messages import MOST_SENDERS, OTHERS, find_sender
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
    "{station} sends more readings than an evaluation of its site can read; correct its interval in the site file or "
    "slow it down, then `slopeward ingest --rejected`",
)
_STRANGER: Final = Template(
    "admission.stranger",
    "no site file declares station '{station}', and readings of {n} undeclared stations are stored already; declare "
    "it, or raise limits.undeclared_stations, then `slopeward ingest --rejected`",
)


@dataclass(slots=True)
class _TokenBucket:
    """Number of readings that a sender may send at once, which refills over time."""

    left: float
    at: datetime


class Admission:
    """Accepts the readings of messages or refuses them. A refused message goes to the quarantine.

    Limits are numbers of readings over time. What a batch takes from them is provisional: call `commit` when the batch
    is stored, or `roll_back` if it was not.

    Args:
        limits: Limits of the service file.
        sites: All sites, by id.
        stations: Stations that have readings, by site id. They are accepted whatever the limit is.
    """

    def __init__(self, limits: LimitsSection, sites: Mapping[str, Site], stations: Mapping[str, set[str]]) -> None:
        self._limits = limits
        self._declared = {site.id: {station.id for station in site.stations} for site in sites.values()}
        self._undeclared = {site: set(stations.get(site, ())) - declared for site, declared in self._declared.items()}
        self._sites = sites
        self._reading_limits: dict[tuple[str, str], StationReadingLimit] = {
            (site.id, station): limit
            for site in sites.values()
            for station, limit in compute_reading_limits(site).items()
        }
        self._window_lengths: dict[tuple[str, str, str], timedelta] = {}  # by site, station and quantity
        self._buckets: dict[str, _TokenBucket] = {}
        self._before_batch: dict[str, tuple[float, datetime]] = {}  # state of the buckets that this batch has changed

    def admit(self, message: BrokerMessage, decoded: DecodedMessage) -> DecodedMessage:
        """Return a decoded message without what exceeds a limit, which becomes a fault.

        A person who has the quarantine read again decides about its messages: they are never too fast.
        """
        if message.client not in BY_BROKER:
            return decoded
        readings = len(decoded.observations)
        is_replayed = message.first_at is not None
        if not is_replayed and self._is_too_fast(message, decoded):
            sender, limit = find_sender(message.topic, message.client), self._limits.readings_per_s
            reason = _TOO_FAST(sender=sender, n=limit)
            # The sequence number counts as received, so that the sender is not asked to send the message again.
            decoded = DecodedMessage(faults=(MessageFault("rate_limited", reason, message.payload),), mark=decoded.mark)
        elif too_dense := self._find_too_dense(message, decoded):
            reason = _TOO_DENSE(station=too_dense)
            decoded = DecodedMessage(faults=(MessageFault("rate_limited", reason, message.payload),), mark=decoded.mark)
        elif readings:
            decoded = self._limit_undeclared(message, decoded)
        mark = decoded.mark
        if mark is None or mark.station in self._declared.get(mark.site, ()):
            return decoded
        # The sequence numbers of a station without readings are not stored: its sender may have invented the name.
        return decoded if mark.station in self._undeclared.get(mark.site, ()) else replace(decoded, mark=None)

    def commit(self) -> None:
        """Note that the batch is stored."""
        self._before_batch.clear()

    def roll_back(self) -> None:
        """Note that the batch is not stored. The same messages will be admitted again and must not count twice."""
        for sender, (left, at) in self._before_batch.items():
            self._buckets[sender] = _TokenBucket(left, at)
        self._before_batch.clear()

    def _is_too_fast(self, message: BrokerMessage, decoded: DecodedMessage) -> bool:
        sender = find_sender(message.topic, message.client)
        if sender not in self._buckets and len(self._buckets) >= MOST_SENDERS and not self._is_declared(sender):
            sender = self._find_shared_bucket(decoded)
        readings = max(len(decoded.observations), 1)
        limits = self._limits
        return not self._take(sender, readings, limits.readings_per_s, limits.readings_at_once, message.received_at)

    def _find_too_dense(self, message: BrokerMessage, decoded: DecodedMessage) -> str:
        """Return a station that has more readings in the windows of its site than an evaluation should read.

        Readings before the windows do not count, because no evaluation reads them. The result is empty if there is no
        such station.
        """
        counts: dict[tuple[str, str], int] = {}
        for item in decoded.observations:
            place = (item.site, item.station)
            if place in self._reading_limits and item.received_at - item.observed_at < self._find_window(item):
                counts[place] = counts.get(place, 0) + 1
        for (site, station), count in counts.items():
            limit = self._reading_limits[site, station]
            per_s = limit.rows / max(limit.span_s.values())
            if not self._take(f"windows of {site}/{station}", count, per_s, limit.rows, message.received_at):
                return f"{site}/{station}"
        return ""

    def _find_window(self, item: Observation) -> timedelta:
        """Return the length of the longest window that reads the series of an observation."""
        key = (item.site, item.station, item.quantity)
        length = self._window_lengths.get(key)
        if length is None:
            spec = self._sites[item.site].series(item.station, item.quantity)
            span_s = 0.0 if spec is None else self._reading_limits[key[:2]].span_s.get(spec.quantity, 0.0)
            length = timedelta(seconds=span_s)
            self._window_lengths[key] = length
        return length

    def _take(self, sender: str, readings: int, per_s: float, most: float, at: datetime) -> bool:
        """Take readings from the bucket of a sender, or return False if it has too few left."""
        bucket = self._buckets.setdefault(sender, _TokenBucket(most, at))
        if sender not in self._before_batch:
            self._before_batch[sender] = (bucket.left, bucket.at)
        if at > bucket.at:  # a clock that was set back refills nothing
            bucket.left = min(bucket.left + (at - bucket.at).total_seconds() * per_s, most)
        bucket.at = at
        if bucket.left < readings:
            return False
        bucket.left -= readings
        return True

    def _find_shared_bucket(self, decoded: DecodedMessage) -> str:
        """Return the bucket of a sender beyond `MOST_SENDERS` that no site file declares.

        Messages of decoders for a declared station have one bucket for that station. It is not the bucket of the
        station's own topic, so that another sender cannot use that up. All other senders share one bucket.
        """
        stations = {(item.site, item.station) for item in decoded.observations}
        if not stations or any(name not in self._declared.get(site, ()) for site, name in stations):
            return OTHERS
        site, name = min(stations)
        return f"{site}/{name} by {OTHERS}"

    def _is_declared(self, sender: str) -> bool:
        """Return whether a sender is a station of a site file. It keeps its own bucket however many senders exist."""
        if sender.count("/") < 1:
            return False
        site, station = sender.split("/")[-2:]
        return sender == f"{TOPIC_ROOT}/{site}/{station}" and station in self._declared.get(site, ())

    def _limit_undeclared(self, message: BrokerMessage, decoded: DecodedMessage) -> DecodedMessage:
        """Return a decoded message without readings of undeclared stations beyond the limit of the site."""
        refused: set[str] = set()
        for item in decoded.observations:
            if item.station in self._declared.get(item.site, ()):
                continue
            accepted = self._undeclared.setdefault(item.site, set())
            if item.station in accepted:
                continue
            if len(accepted) < self._limits.undeclared_stations:
                accepted.add(item.station)
            else:
                refused.add(item.station)
        if not refused:
            return decoded
        reason = _STRANGER(station=min(refused)[:64], n=Figure(self._limits.undeclared_stations, "d"))
        return replace(
            decoded,
            observations=tuple(item for item in decoded.observations if item.station not in refused),
            faults=(*decoded.faults, MessageFault("too_many_stations", reason, message.payload)),
        )
