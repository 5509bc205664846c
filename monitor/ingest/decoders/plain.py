"""Decoder for topics with one number each, as in Homie 4 and 5: the topic names station and quantity.

Such a value has no time and gets that of its reception. A value that the broker retained is therefore refused. The
topic `$state` of Homie reports whether a device is connected.
"""

from typing import Final

from monitor.errors import ConfigError, PayloadError
from monitor.ingest.decoders.decoder import Decoder, ReceivedMessage, find_series_target, read_series
from monitor.ingest.decoders.strict_json import read_cell, read_payload
from monitor.ingest.message import DecodedMessage
from monitor.ingest.quality import ReadingDetails, read_digit
from monitor.readings.no_value import is_no_value
from monitor.sites.records import Binding
from monitor.text.names import is_station

_STATE: Final = "$state"
# State of a Homie device -> whether it is connected. A sleeping device has announced that it will not send.
_STATES: Final = {"init": True, "ready": True, "alert": True, "sleeping": True, "disconnected": False, "lost": False}
_LONGEST: Final = 64


def open_plain(binding: Binding) -> Decoder:
    """Return the decoder of a `[[decoder]]` section.

    Raises:
        ConfigError: the topic has no quantity, or a name of `series` has no unit.
    """
    series = read_series(binding)
    is_state = _is_state(binding)
    if not is_state and "{quantity}" not in binding.pattern and len(series) != 1:
        raise ConfigError(f"topic {binding.pattern!r}: expected a level {{quantity}}, or a single name in series")

    def decode(received: ReceivedMessage) -> DecodedMessage:
        message = received.message
        if message.retained and not is_state:
            raise PayloadError("retained", "a value without a time that the broker had retained: its time is unknown")
        text = _read_text(message.payload)
        if is_state:
            return _read_state(text, received)
        name = binding.read("{quantity}", message.topic) or next(iter(series))
        target = find_series_target(series, name)
        if target is None:
            raise PayloadError("unknown_quantity", f"{name[:64]!r} is not in series and has no unit")
        if is_no_value(text):
            raise PayloadError("empty", f"{name[:64]}: the device reports no value")
        station, field = target.find(received, received.place.station)
        value = read_cell(text, name[:64])
        return DecodedMessage(
            (received.observe(station, field, value, message.came_at, ReadingDetails(digit=read_digit(text))),)
        )

    return decode


def is_undated(binding: Binding) -> bool:
    """Return whether readings get the time of their reception. `$state` of Homie contains no reading."""
    return not _is_state(binding)


def _is_state(binding: Binding) -> bool:
    return binding.pattern.split("/")[-1] == _STATE


def _read_text(payload: bytes) -> str:
    try:
        text = read_payload(payload)
    except PayloadError as error:
        raise PayloadError("not_number", error.message) from None
    if len(text) > _LONGEST:
        raise PayloadError("not_number", f"{len(text)} characters; a number has at most {_LONGEST}")
    if not text.isascii():
        raise PayloadError("not_number", "the payload is no number in ASCII")
    return text


def _read_state(text: str, received: ReceivedMessage) -> DecodedMessage:
    if text not in _STATES:
        raise PayloadError("bad_payload", f"{text!r} is no state of Homie; known: {', '.join(_STATES)}")
    station = received.place.station
    if not is_station(station):
        raise PayloadError("no_station", "the topic names no station; put {station} into the pattern")
    return DecodedMessage(links=(received.link(station, f"$state {text}", online=_STATES[text]),))
