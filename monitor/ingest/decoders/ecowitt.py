"""Posts of Ecowitt, Ambient and Fine Offset weather stations, bridged to MQTT as JSON; the topic ends with the station.

The keys name imperial units, and a station that is set to metric sends other numbers under the same keys. A person says
which it is by the name of the decoder. An air pressure shows where that is wrong, and then the post is refused; where
there is no barometer, the name is believed. Two gauges are two counters: `rain` says which one counts, so that the
other does not stand in for it while its radio is silent.
"""

from collections.abc import Sequence
from functools import partial
from typing import Final

from monitor.domain.site import Binding
from monitor.errors import ConfigError, PayloadError
from monitor.ingest.decoders.decoder import Decoder, Received
from monitor.ingest.decoders.strict_json import read_number, read_object, read_time
from monitor.ingest.message import Decoded, is_station

METRIC: Final = "ecowitt-metric"
INCHES_MOST: Final = 40.0  # of mercury: no place on earth has more
HPA_LEAST: Final = 300.0
_HPA_PER_INCH: Final = 33.863886667
_PRESSURES: Final = ("baromabsin", "baromrelin")  # as measured; as it would be at the sea
# what counts since longest: the site file says stamp = "counter"
_RAIN: Final = ("totalrainin", "train_piezo", "yearlyrainin", "yrain_piezo")
_WORDS: Final = frozenset({"", "--", "null"})


def open_ecowitt(binding: Binding) -> Decoder:
    """Make the decoder of a station in degF, inHg and in, or of one that is set to degC, hPa and mm.

    Raises:
        ConfigError: `rain` names no counter.
    """
    said = dict(binding.told).get("rain", "")
    if said and said not in _RAIN:
        raise ConfigError(f"decoder {binding.name!r}: rain: expected one of {', '.join(_RAIN)}, got {said!r}")
    counters = (said,) if said else _RAIN
    return partial(_decode, counters, binding.name == METRIC)


def _decode(counters: Sequence[str], is_metric: bool, received: Received) -> Decoded:
    body = read_object(received.message.payload)
    station = received.place.station or received.message.topic.rsplit("/", 1)[-1]
    if not is_station(station):
        raise PayloadError("no_station", "the topic must end with the station id")
    time = body.get("dateutc")
    if not isinstance(time, str):
        raise PayloadError("no_time", "dateutc is missing")
    at = read_time(time.strip().replace("+", " ").replace(" ", "T") + "Z", None, "dateutc")
    for key in _PRESSURES:
        pressure = _number(body, key)
        if pressure is not None and not (pressure >= HPA_LEAST if is_metric else 0 < pressure <= INCHES_MOST):
            said = "hPa" if is_metric else "inches of mercury"
            raise PayloadError("unit_mismatch", f"{key} is not in {said}: ecowitt or ecowitt-metric?")
    values = []
    if (pressure := _number(body, _PRESSURES[0])) is not None:
        values.append(("air_pressure", "hPa", pressure if is_metric else pressure * _HPA_PER_INCH))
    if (warm := _number(body, "tempf")) is not None:
        values.append(("temperature", "degC" if is_metric else "degF", warm))
    rain = next((n for key in counters if (n := _number(body, key)) is not None), None)
    if rain is not None:
        values.append(("rain", "mm" if is_metric else "in", rain))
    if not values:
        raise PayloadError("empty", "no temperature, air pressure or counter of rain in the post")
    return Decoded(tuple(
        received.observe(station, received.field(station, quantity, unit), value, at)
        for quantity, unit, value in values
    ))  # fmt: skip


def _number(body: dict[str, object], key: str) -> float | None:
    """A number that came as text; None where the station has no such sensor."""
    value = body.get(key)
    if not isinstance(value, str):
        return None if value is None else read_number(value, key)
    if value.strip() in _WORDS:
        return None
    try:
        return read_number(float(value), key)
    except ValueError:
        raise PayloadError("not_number", f"{key}: expected a number, got {value[:60]!r}") from None
