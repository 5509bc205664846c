"""Observations of the OGC SensorThings API 1.0 and 1.1: as MQTT brings them, as they are created, as HTTP lists them.

An Observation does not say what was measured, its Datastream does: `series` says what each Datastream is, by its id or
name. The id stands in the Observation, or in the topic `v1.1/Datastreams(7)/Observations`.
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
    Target,
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
    """Make the decoder; `series` says what the Datastreams are; raises ConfigError."""
    series = read_series(binding)

    def decode(received: ReceivedMessage) -> DecodedMessage:
        body = read_object(received.message.payload)
        many = body.get("value") if "value" in body and "result" not in body else [body]
        if not isinstance(many, list) or not many or len(many) > SAMPLE_LIMIT:
            raise PayloadError("no_samples", f"expected an Observation, or a list value of 1 to {SAMPLE_LIMIT}")
        found, bad = gather(many, lambda one: _read(one, received, series))
        if bad and len(many) == 1:
            raise bad[0][1]
        if not found and not bad:
            raise PayloadError("empty", "no Observation has a result")
        kept = json.dumps({"value": [one for one, _ in bad]}).encode()
        return DecodedMessage(tuple(found), join_fault(bad, len(many), "Observations", kept))

    return decode


def read_next_link(page: Mapping[str, Any]) -> str | None:
    """Where the next page of a list is; None on the last one."""
    link = page.get("@iot.nextLink")
    return link if isinstance(link, str) and link else None


def find_newest(payload: bytes, until: datetime) -> datetime | None:
    """The newest phenomenonTime of a page that is not after an instant; None where it has none that can be read."""
    try:
        many = read_object(payload).get("value")
    except PayloadError:
        return None
    found = []
    for one in many if isinstance(many, list) else []:
        with contextlib.suppress(PayloadError):
            found.append(read_time(_end(one.get("phenomenonTime") if isinstance(one, dict) else None), live=False))
    return max((at for at in found if at <= until), default=None)


def _read(one: Any, received: ReceivedMessage, series: Mapping[str, Target]) -> Iterator[Observation]:
    if not isinstance(one, dict):
        raise PayloadError("not_object", "an Observation must be an object")
    stream = one.get("Datastream")
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
        raise PayloadError("unknown_quantity", f"series does not say what Datastream {shown} is")
    station, field = target.find(received, received.place.station)
    unit = stream.get("unitOfMeasurement")
    for written in (unit.get("symbol"), unit.get("name")) if isinstance(unit, dict) else ():
        check_unit(written, field.given_unit, "the Datastream")
    if is_no_value(one.get("result")) or is_marked_bad(one.get("resultQuality")):
        return
    at = received.read_time(_end(one.get("phenomenonTime") or one.get("resultTime")), None, "phenomenonTime")
    yield received.observe_cell(station, field, one["result"], "result", at)


def _end(time: Any) -> Any:
    """A value of an interval, such as a sum of rain, counts from its end."""
    return time.rpartition("/")[2] if isinstance(time, str) else time
