"""Decoder of Observations of the OGC SensorThings API 1.0 and 1.1: single ones, and pages of the HTTP API.

An Observation belongs to a Datastream, which defines what is measured. `series` maps each Datastream, by id or name, to
a quantity. The id is in the Observation, or in the topic `v1.1/Datastreams(7)/Observations`.
"""

import contextlib
import json
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from monitor.errors import PayloadError
from monitor.ingest.decoders.decoder import (
    Decoder,
    ReceivedMessage,
    SeriesTarget,
    check_unit,
    gather,
    join_fault,
    read_series,
)
from monitor.ingest.decoders.strict_json import SAMPLE_LIMIT, read_object, read_time
from monitor.ingest.message import DecodedMessage
from monitor.readings.no_value import is_marked_bad, is_no_value
from monitor.readings.records import Observation
from monitor.sites.records import Binding

_IN_TOPIC: Final = re.compile(r"Datastreams\('?([^()']{1,200})'?\)")


def open_sensorthings(binding: Binding) -> Decoder:
    """Return the decoder of a `[[decoder]]` section; raises ConfigError."""
    series = read_series(binding)

    def decode(received: ReceivedMessage) -> DecodedMessage:
        body = read_object(received.message.payload)
        many = body.get("value") if "value" in body and "result" not in body else [body]
        if not isinstance(many, list) or not many or len(many) > SAMPLE_LIMIT:
            raise PayloadError("no_samples", f"expected an Observation, or a list value of 1 to {SAMPLE_LIMIT}")
        observations, bad = gather(many, lambda observation: _read(observation, received, series))
        if bad and len(many) == 1:
            raise bad[0][1]
        if not observations and not bad:
            raise PayloadError("empty", "no Observation has a result")
        bad_page = json.dumps({"value": [observation for observation, _ in bad]}).encode()
        return DecodedMessage(tuple(observations), join_fault(bad, len(many), "Observations", bad_page))

    return decode


def read_next_link(page: Mapping[str, Any]) -> str | None:
    """Return the address of the next page; None on the last page."""
    link = page.get("@iot.nextLink")
    return link if isinstance(link, str) and link else None


def find_newest(payload: bytes, until: datetime) -> datetime | None:
    """Return the newest phenomenonTime of a page that is not after `until`; None if there is none."""
    try:
        many = read_object(payload).get("value")
    except PayloadError:
        return None
    times = []
    for observation in many if isinstance(many, list) else []:
        stated = observation.get("phenomenonTime") if isinstance(observation, dict) else None
        with contextlib.suppress(PayloadError):
            times.append(read_time(_find_end(stated), live=False))
    return max((at for at in times if at <= until), default=None)


def _read(observation: Any, received: ReceivedMessage, series: Mapping[str, SeriesTarget]) -> Iterator[Observation]:
    if not isinstance(observation, dict):
        raise PayloadError("not_object", "an Observation must be an object")
    stream = observation.get("Datastream")
    stream = stream if isinstance(stream, dict) else {}
    in_topic = _IN_TOPIC.search(received.message.topic)
    names = [str(stream[key]) for key in ("@iot.id", "name") if key in stream] or [in_topic[1] if in_topic else ""]
    target = next((series[name] for name in names if name in series), None)
    if target is None:
        if not any(names):
            raise PayloadError(
                "unknown_quantity",
                "neither the Observation nor its topic names a Datastream: bind topics such as v1.1/+/Observations",
            )
        shown = " or ".join(repr(name[:64]) for name in names if name)
        raise PayloadError("unknown_quantity", f"Datastream {shown} is not in series")
    station, field = target.find(received, received.place.station)
    unit = stream.get("unitOfMeasurement")
    for written in (unit.get("symbol"), unit.get("name")) if isinstance(unit, dict) else ():
        check_unit(written, field.given_unit, "the Datastream")
    if is_no_value(observation.get("result")) or is_marked_bad(observation.get("resultQuality")):
        return
    at = received.read_time(
        _find_end(observation.get("phenomenonTime") or observation.get("resultTime")), None, "phenomenonTime"
    )
    yield received.observe_cell(station, field, observation["result"], "result", at)


def _find_end(time: Any) -> Any:
    """Return the end of an interval, which is the time of a value such as a sum of rain; other times unchanged."""
    return time.rpartition("/")[2] if isinstance(time, str) else time
