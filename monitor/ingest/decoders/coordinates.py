"""Replace the coordinates and polar readings of a decoded message by displacement since the origin of the station."""

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from monitor.canonical import canonical_json
from monitor.errors import PayloadError
from monitor.ingest.decoders.decoder import ReceivedMessage, join_fault
from monitor.ingest.message import DecodedMessage
from monitor.ingest.quality import ReadingDetails
from monitor.ingest.total_stations import (
    DISPLACEMENT_OF,
    DisplacementReading,
    PositionReading,
    compute_displacements,
    find_frame,
    is_position,
    refuse_double,
)
from monitor.readings.no_value import FILL
from monitor.readings.records import DIGIT, Observation
from monitor.text.instants import format_iso


def replace_positions(decoded: DecodedMessage, received: ReceivedMessage) -> DecodedMessage:
    """Return a decoded message with displacement instead of coordinates, distances and angles.

    Readings of one station and instant belong together. If such a group cannot be converted, the message also goes to
    the quarantine with the reason. Its other readings are stored.
    """
    if not any(is_position(observation.quantity) for observation in decoded.observations):
        return decoded
    others = [observation for observation in decoded.observations if not is_position(observation.quantity)]
    groups: dict[tuple[str, datetime], list[Observation]] = {}
    for observation in decoded.observations:
        if is_position(observation.quantity):
            groups.setdefault((observation.station, observation.observed_at), []).append(observation)
    converted: list[Observation] = []
    failed: list[tuple[object, PayloadError]] = []
    for (station, at), group in groups.items():
        given = [
            observation.quantity
            for observation in others
            if observation.station == station and observation.observed_at == at
        ]
        try:
            converted += _convert(station, at, group, given, received)
        except PayloadError as error:
            failed.append((group, error.without_traceback()))
    faults = join_fault(failed, len(groups), "positions", received.message.payload)
    return replace(decoded, observations=(*others, *converted), faults=(*decoded.faults, *faults))


def _convert(
    station: str, at: datetime, group: Sequence[Observation], given: Sequence[str], received: ReceivedMessage
) -> list[Observation]:
    site = received.site
    declared = site.station(station)
    origin = None if declared is None else declared.origin
    has_coordinates = any(observation.quantity in DISPLACEMENT_OF for observation in group)
    total_station = None if has_coordinates else site.find_total_station(station)
    readings = {observation.quantity: _read(observation) for observation in group}
    computed = compute_displacements(station, at, readings, origin, total_station)
    refuse_double(station, given, computed)
    if origin is None:
        return []
    frame = find_frame(origin, total_station)
    # A message that is rejected must not set what displacement is measured from.
    received.references.join(site.id, station, frame, origin.since)
    facts = {"epoch0": format_iso(origin.since), "frame": frame}
    observations = [_observe(reading, group[0], facts, received) for reading in computed]
    received.references.check(site.id, station, frame, origin.since)
    return observations


def _read(observation: Observation) -> PositionReading:
    steps = _read_extra(observation).get(DIGIT)
    step = steps[0] if steps else None
    return PositionReading(observation.value, observation.sigma, step, FILL in observation.flags)


def _read_extra(observation: Observation) -> dict[str, Any]:
    return {} if observation.extra is None else dict(json.loads(observation.extra))


def _observe(
    reading: DisplacementReading, source: Observation, facts: dict[str, Any], received: ReceivedMessage
) -> Observation:
    """Return the observation of one axis, with what the message states beside the reading that it is computed from."""
    extra = {key: value for key, value in _read_extra(source).items() if key != DIGIT} | facts
    field = received.field(source.station, reading.quantity, "mm")
    details = ReadingDetails(reading.sigma_mm, source.solution, canonical_json(extra), reading.step_mm)
    observation = received.observe(source.station, field, reading.value_mm, source.observed_at, details)
    return replace(observation, source=source.source, boot_id=source.boot_id, seq=source.seq)
