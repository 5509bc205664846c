"""What one sender may ask of the service: so many readings for so long, and no stations without end.

Only what comes by the broker is bounded; files are read in by a person who is there.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from monitor.config.service import LimitsSection
from monitor.domain.site import Site
from monitor.ingest.message import Decoded, Fault, Message
from monitor.store.readings.quarantine import MOST_SOURCES, OTHERS, find_source

BY_BROKER: Final = ("live", "backfill")
TOPICS: Final = "slopeward/v1"


@dataclass(slots=True)
class _Bucket:
    """What a sender may still send at once; fills with time."""

    left: float
    at: datetime


class Admission:
    """Lets readings in, or says why not. A refused message goes to the quarantine and can be read again from there.

    Args:
        limits: the section of the service file.
        sites: by id.
        stations: those that already have readings, by site: they stay in whatever the limit.
    """

    def __init__(self, limits: LimitsSection, sites: Mapping[str, Site], stations: Mapping[str, set[str]]) -> None:
        self._limits = limits
        self._declared = {site.id: {station.id for station in site.stations} for site in sites.values()}
        self._undeclared = {
            site: set(stations.get(site, ())) - declared for site, declared in self._declared.items()
        }  # fmt: skip
        self._buckets: dict[str, _Bucket] = {}
        self._before: dict[str, tuple[float, datetime]] = {}  # of the batch in hand

    def admit(self, message: Message, decoded: Decoded) -> Decoded:
        """The same, without what is too much; that is a fault with its reason."""
        if message.client not in BY_BROKER:
            return decoded
        readings = len(decoded.observations)
        if self._is_too_fast(message, decoded):
            source, limit = find_source(message.topic, message.client), self._limits.readings_per_s
            reason = (
                f"{source} sends more than {limit:g} readings a second for long; slow it down, or raise"
                " limits.readings_per_s, then `slopeward ingest --rejected`"
            )
            # counted as arrived: who sends too much is not asked to send it again
            decoded = Decoded(faults=(Fault("rate_limited", reason, message.payload),), mark=decoded.mark)
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
            self._buckets[source] = _Bucket(left, at)
        self._before.clear()

    def _is_too_fast(self, message: Message, decoded: Decoded) -> bool:
        limits, source = self._limits, find_source(message.topic, message.client)
        readings = max(len(decoded.observations), 1)
        bucket = self._buckets.get(source)
        if bucket is None:
            is_one_of_many = len(self._buckets) >= MOST_SOURCES and not self._is_declared(source)
            source = self._name_one_of_many(decoded) if is_one_of_many else source
            bucket = self._buckets.setdefault(source, _Bucket(limits.readings_at_once, message.received_at))
        if source not in self._before:
            self._before[source] = bucket.left, bucket.at
        if message.received_at > bucket.at:  # a clock that was set back gives nothing and takes nothing
            passed_s = (message.received_at - bucket.at).total_seconds()
            bucket.left = min(bucket.left + passed_s * limits.readings_per_s, limits.readings_at_once)
        bucket.at = message.received_at
        if bucket.left < readings:
            return True
        bucket.left -= readings
        return False

    def _name_one_of_many(self, decoded: Decoded) -> str:
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
        return source == f"{TOPICS}/{site}/{station}" and station in self._declared.get(site, ())

    def _without_strangers(self, message: Message, decoded: Decoded) -> Decoded:
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
        reason = (
            f"station {min(refused)[:64]!r} stands in no site file, and {self._limits.undeclared_stations} such are"
            " stored already; declare it, or raise limits.undeclared_stations, then `slopeward ingest --rejected`"
        )
        return replace(
            decoded,
            observations=tuple(o for o in decoded.observations if o.station not in refused),
            faults=(*decoded.faults, Fault("too_many_stations", reason, message.payload)),
        )
