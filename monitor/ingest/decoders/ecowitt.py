"""Decoder of posts of Ecowitt, Ambient and Fine Offset weather stations, bridged to MQTT as JSON.

The topic ends with the station. The keys name imperial units, but a station that is set to metric units sends them
under the same keys. The name of the decoder in the site file determines the units. A post whose air pressure does not
fit them is refused. With two rain gauges there are two counters. The key `rain` selects one of them, so that the other
does not replace it while its radio is silent.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Final

from monitor.errors import ConfigError, PayloadError
from monitor.ingest.decoders.decoder import Decoder, ReceivedMessage, combine_errors, gather
from monitor.ingest.decoders.strict_json import read_cell, read_object
from monitor.ingest.message import DecodedMessage, MessageFault
from monitor.readings.no_value import is_fill_number, is_no_value
from monitor.readings.records import Observation
from monitor.sites.records import Binding
from monitor.text.names import is_station

METRIC: Final = "ecowitt-metric"
INCHES_MOST: Final = 40.0  # inches of mercury; no place on earth has a higher pressure
HPA_LEAST: Final = 300.0
_PRESSURES: Final = ("baromabsin", "baromrelin")  # at the station, and reduced to sea level
# Counters that are reset least often. The site file declares stamp = "counter" for them.
_RAIN: Final = ("totalrainin", "train_piezo", "yearlyrainin", "yrain_piezo")


def open_ecowitt(binding: Binding) -> Decoder:
    """Return the decoder of a station with imperial units (degF, inHg, in) or metric units (degC, hPa, mm).

    Raises:
        ConfigError: `rain` names no counter.
    """
    rain_key = dict(binding.settings).get("rain", "")
    if rain_key and rain_key not in _RAIN:
        raise ConfigError(f"decoder {binding.name!r}: rain: expected one of {', '.join(_RAIN)}, got {rain_key!r}")
    counters = (rain_key,) if rain_key else _RAIN
    return partial(_decode, counters, binding.name == METRIC)


def _decode(counters: Sequence[str], is_metric: bool, received: ReceivedMessage) -> DecodedMessage:
    body = read_object(received.message.payload)
    station = received.place.station or received.message.topic.rsplit("/", 1)[-1]
    if not is_station(station):
        raise PayloadError("no_station", "the topic must end with the station id")
    time = body.get("dateutc")
    if not isinstance(time, str):
        raise PayloadError("no_time", "dateutc is missing")
    text = time.strip().replace("+", " ").replace(" ", "T")
    at = received.read_time(text if received.zone is not None else text + "Z", None, "dateutc")
    for key in _PRESSURES:
        pressure = read_known(body, key)
        if (
            pressure is not None
            and not is_fill_number(pressure)
            and not (pressure >= HPA_LEAST if is_metric else 0 < pressure <= INCHES_MOST)
        ):
            unit_name = "hPa" if is_metric else "inches of mercury"
            raise PayloadError("unit_mismatch", f"{key} is not in {unit_name}: ecowitt or ecowitt-metric?")
    counter = next((key for key in counters if not is_no_value(body.get(key))), "")
    units = ("hPa", "degC", "mm") if is_metric else ("inHg", "degF", "in")
    wanted = zip((_PRESSURES[0], "tempf", counter), ("air_pressure", "temperature", "rain"), units, strict=True)

    def read(field: tuple[str, str, str]) -> Iterator[Observation]:
        key, quantity, unit = field
        if not is_no_value(value := body.get(key)):
            yield received.observe_cell(station, received.field(station, quantity, unit), value, key, at)

    observations, bad = gather(wanted, read)
    if not observations:
        raise (
            combine_errors(bad)
            if bad
            else PayloadError("empty", "no temperature, air pressure or counter of rain in the post")
        )
    error = combine_errors(bad) if bad else None
    faults = () if error is None else (MessageFault(error.code, error.message, received.message.payload),)
    return DecodedMessage(tuple(observations), faults)


def read_known(body: Mapping[str, object], key: str) -> float | None:
    """Return a number, also if it is sent as text; None if it is invalid or the station has no such sensor."""
    with suppress(PayloadError):
        return None if is_no_value(value := body.get(key)) else read_cell(value, key)
    return None
