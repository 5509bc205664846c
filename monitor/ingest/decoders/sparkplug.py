"""Decoder of Sparkplug B 2.2 and 3.0.

A birth message lists the metrics of a node or device with names and aliases. Data messages may name a metric by its
alias only. If the birth of the node on the current connection is missing, metrics that state their name are still read.
A message with unknown aliases, or the birth of a device, also goes to the quarantine, and the decoder requests a new
birth from the node, as the specification requires. A death message reports that a node or device went offline.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from monitor.errors import PayloadError
from monitor.ingest.births import Births, Metric, Node
from monitor.ingest.decoders.decoder import (
    Decoder,
    ReceivedMessage,
    SeriesTarget,
    combine_errors,
    find_series_target,
    gather,
    read_series,
)
from monitor.ingest.decoders.lorawan import name_device
from monitor.ingest.decoders.sparkplug_payload import (
    SparkplugMetric,
    SparkplugPayload,
    encode_rebirth,
    read_payload,
    to_signed,
)
from monitor.ingest.decoders.strict_json import read_number
from monitor.ingest.message import DecodedMessage, MessageFault
from monitor.ingest.quality import StationField
from monitor.readings.no_value import is_no_value
from monitor.readings.records import Link, Observation
from monitor.sites.records import Binding
from monitor.text.names import is_station

NAMESPACE: Final = "spBv1.0"
_MESSAGE_TYPES: Final = ("NBIRTH", "NDATA", "NDEATH", "DBIRTH", "DDATA", "DDEATH")
_LINK_TEXT_LIMIT: Final = 200


def open_sparkplug(binding: Binding) -> Decoder:
    """Return the decoder of a `[[decoder]]` section.

    Keys of `series` are names of metrics, or `DEVICE:NAME` where several devices have a metric of the same name.

    Raises:
        ConfigError: a value of `series` is invalid.
    """
    series = read_series(binding)

    def decode(received: ReceivedMessage) -> DecodedMessage:
        parts = received.message.topic.split("/")
        if parts[0] != NAMESPACE or len(parts) not in {4, 5} or parts[2] not in _MESSAGE_TYPES:
            raise PayloadError("not_reading", "a command or the state of a host, not a reading of Sparkplug B")
        device = parts[4] if len(parts) == 5 else ""
        message = _SparkplugMessage(received, series, parts[1], parts[3], device)
        return message.decode(parts[2], read_payload(received.message.payload))

    return decode


@dataclass(frozen=True, slots=True)
class _SparkplugMessage:
    """One message of a node, or of a device of the node (`device` is then not empty)."""

    received: ReceivedMessage
    series: dict[str, SeriesTarget]
    group: str
    node: str
    device: str

    @property
    def births(self) -> Births:
        return self.received.vocabulary.births

    @property
    def key(self) -> str:
        """Key of the node among the births."""
        return f"{self.received.site.id}/{self.group}/{self.node}"

    @property
    def sender(self) -> str:
        """Group, node and device, as in the topic."""
        return f"{self.group}/{self.node}/{self.device}" if self.device else f"{self.group}/{self.node}"

    @property
    def station(self) -> str:
        """Station of metrics whose target names no station."""
        return self.received.place.station or self.device or self.node

    def decode(self, message_type: str, payload: SparkplugPayload) -> DecodedMessage:
        """Decode the payload and update the births of the node."""
        node = self.births.find(self.key, self.received.message.connection_number)
        if message_type == "NDEATH":
            return self._end_node(node, payload)
        if message_type == "NBIRTH":
            node = Node(self.received.message.connection_number, _find_bd_seq(payload), payload.seq or 0)
            self.births.store(self.key, node)
        elif node is not None and payload.seq is not None and not self.births.advance(self.key, payload.seq):
            node = None
        if message_type in {"NBIRTH", "DBIRTH"}:
            return self._decode_birth(node, payload)
        if message_type == "DDEATH":
            stations = self._find_stations(node, self.device)
            return DecodedMessage(links=self._make_links(stations, "DDEATH", online=False))
        return self._decode_data(node, payload)

    def _decode_birth(self, node: Node | None, payload: SparkplugPayload) -> DecodedMessage:
        observations, faults = self._observe(payload, [metric for metric in payload.metrics if metric.name])
        stations = frozenset(observation.station for observation in observations) or frozenset({self.station})
        links = self._make_links(stations, "DBIRTH" if self.device else "NBIRTH", online=True)
        if node is None:
            # The birth of the node itself is missing. Names in the birth of a device are valid, its aliases are not.
            return DecodedMessage(
                tuple(observations),
                self._make_fault("no_birth", self._explain_missing_birth()),
                links=links,
                request=self._request_rebirth(),
            )
        aliases = {
            metric.alias: Metric(metric.name, metric.datatype)
            for metric in payload.metrics
            if metric.alias is not None and metric.name
        }
        self.births.add_device(self.key, self.device, aliases, stations)
        return DecodedMessage(tuple(observations), faults, links=links)

    def _decode_data(self, node: Node | None, payload: SparkplugPayload) -> DecodedMessage:
        aliases = {} if node is None else node.aliases.get(self.device, {})
        metrics = [_resolve_alias(metric, aliases) for metric in payload.metrics]
        named = [metric for metric in metrics if metric.name]
        observations, faults = self._observe(payload, named)
        if len(named) < len(metrics):
            return DecodedMessage(
                tuple(observations),
                self._make_fault("no_birth", self._explain_missing_birth()),
                request=self._request_rebirth(),
            )
        if not observations and not faults:
            names = ", ".join(metric.name for metric in named)[:200] or "an empty message"
            if any(is_no_value(metric.number) for metric in named):
                raise PayloadError("empty", f"no number, or none of good quality: {names}")
            raise PayloadError("unknown_quantity", f"series names none of {names}, or none has a value")
        return DecodedMessage(tuple(observations), faults)

    def _observe(
        self, payload: SparkplugPayload, metrics: list[SparkplugMetric]
    ) -> tuple[list[Observation], tuple[MessageFault, ...]]:
        def read(metric: SparkplugMetric) -> Iterator[Observation]:
            target = self._find_field(metric.name)
            if target is None or is_no_value(metric.number):
                return
            station, field = target
            at_ms = metric.at_ms if metric.at_ms is not None else payload.at_ms
            at = self.received.read_time(at_ms, "ms", "timestamp")
            yield self.received.observe(station, field, read_number(metric.number, metric.name[:64]), at)

        observations, bad = gather(metrics, read)
        self._check_sender(observations)
        if not bad:
            return observations, ()
        error = combine_errors(bad)
        return observations, self._make_fault(error.code, str(error))

    def _check_sender(self, observations: list[Observation]) -> None:
        """Raise PayloadError if another node sends under the name of the same device or node.

        A station that the site file names, as `station` or in `series`, may get metrics of several devices.
        """
        station = self.received.site.find_current_id(self.station)
        is_declared = bool(self.received.place.station) or any(
            target.station == station for target in self.series.values()
        )
        if is_declared or all(observation.station != station for observation in observations):
            return
        self.received.references.check(self.received.site.id, station, name_device(self.sender), None)

    def _find_field(self, name: str) -> tuple[str, StationField] | None:
        """Return station and field of a metric; None if the site file does not use it.

        Without an entry in `series`, a name such as `Tilt/tilt_x_deg` is used if the station declares the quantity.
        """
        target = self.series.get(f"{self.device or self.node}:{name}") or self.series.get(name)
        if target is None:
            target = find_series_target({}, name.rpartition("/")[2])
            if target is None or self.received.site.find_expected_range(self.station, target.name_alone) is None:
                return None
        return target.find(self.received, self.station)

    def _end_node(self, node: Node | None, payload: SparkplugPayload) -> DecodedMessage:
        # The broker may deliver the death of an earlier connection after the birth of the current one.
        ended = _find_bd_seq(payload)
        if node is not None and ended is not None and node.bd_seq is not None and ended != node.bd_seq:
            raise PayloadError("stale_death", f"the death of connection {ended}; connection {node.bd_seq} is current")
        stations = self._find_stations(node, "")
        for device in () if node is None else node.stations:
            stations |= self._find_stations(node, device)
        self.births.forget(self.key)
        return DecodedMessage(links=self._make_links(stations, "NDEATH", online=False))

    def _find_stations(self, node: Node | None, device: str) -> frozenset[str]:
        """Return the stations of a device, from its birth if that is available."""
        stations = None if node is None else node.stations.get(device)
        return stations or frozenset({self.received.place.station or device or self.node})

    def _make_links(self, stations: frozenset[str], message_type: str, *, online: bool) -> tuple[Link, ...]:
        text = f"Sparkplug {message_type} of {self.sender}"[:_LINK_TEXT_LIMIT]
        return tuple(
            self.received.link(station, text, online=online) for station in sorted(stations) if is_station(station)
        )

    def _explain_missing_birth(self) -> str:
        return (
            f"the birth of {self.node[:64]} did not arrive since this connection began, or a message of it was lost: "
            "aliases are unknown. The node was asked for a new birth (NCMD, Node Control/Rebirth), which brings all "
            "values"
        )

    def _make_fault(self, code: str, reason: str) -> tuple[MessageFault, ...]:
        return (MessageFault(code, reason, self.received.message.payload),)

    def _request_rebirth(self) -> tuple[str, bytes]:
        return f"{NAMESPACE}/{self.group}/NCMD/{self.node}", encode_rebirth(self.received.message.received_at)


def _find_bd_seq(payload: SparkplugPayload) -> int | None:
    """Return the number of the connection (metric `bdSeq`)."""
    numbers = (metric.number for metric in payload.metrics if metric.name == "bdSeq")
    return next((number for number in numbers if isinstance(number, int)), None)


def _resolve_alias(metric: SparkplugMetric, aliases: dict[int, Metric]) -> SparkplugMetric:
    """Return the metric with the name and the signed value that the birth declares for its alias."""
    declared = aliases.get(metric.alias) if metric.alias is not None else None
    if declared is None:
        return metric
    number = metric.number if metric.datatype else to_signed(metric.number, declared.datatype)
    return replace(metric, name=metric.name or declared.name, number=number)
