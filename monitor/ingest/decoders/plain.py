"""One topic for each value, as Homie 4 and 5 do: the topic says whose and what, the payload is a number.

Such a value has no time: it counts from its reception, so what the broker had retained is refused. `$state` of Homie
says whether the device is connected.
"""

from typing import Final

from monitor.errors import ConfigError, PayloadError
from monitor.ingest.decoders.decoder import Decoder, ReceivedMessage, find_target, read_series
from monitor.ingest.decoders.strict_json import read_cell, read_payload
from monitor.ingest.message import DecodedMessage
from monitor.ingest.quality import ReadingDetails, read_digit
from monitor.readings.no_value import is_no_value
from monitor.sites.records import Binding
from monitor.text.names import is_station

_STATE: Final = "$state"
# of Homie: connected or not; one that sleeps has said that it will be silent
_STATES: Final = {"init": True, "ready": True, "alert": True, "sleeping": True, "disconnected": False, "lost": False}
_LONGEST: Final = 64


def open_plain(binding: Binding) -> Decoder:
    """Make the decoder of a pattern of topics.

    Raises:
        ConfigError: the pattern tells no quantity, or a name of `series` has no unit.
    """
    series = read_series(binding)
    is_state = _is_state(binding)
    if not is_state and "{quantity}" not in binding.pattern and len(series) != 1:
        raise ConfigError(f"topic {binding.pattern!r}: expected a level {{quantity}}, or a single name in series")

    def decode(received: ReceivedMessage) -> DecodedMessage:
        message = received.message
        if message.retained and not is_state:
            raise PayloadError("retained", "a value without time that the broker had kept: when it was is unknown")
        text = _read_text(message.payload)
        if is_state:
            return _read_state(text, received)
        name = binding.read("{quantity}", message.topic) or next(iter(series))
        target = find_target(series, name)
        if target is None:
            raise PayloadError("unknown_quantity", f"{name[:64]!r} stands not in series, and has no unit")
        if is_no_value(text):
            raise PayloadError("empty", f"{name[:64]}: the device says that it has no value")
        station, field = target.find(received, received.place.station)
        value = read_cell(text, name[:64])
        return DecodedMessage(
            (received.observe(station, field, value, message.came_at, ReadingDetails(digit=read_digit(text))),)
        )

    return decode


def is_undated(binding: Binding) -> bool:
    """Return whether readings get the time of their reception. `$state` of Homie brings no reading."""
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
    if not is_station(station := received.place.station):
        raise PayloadError("no_station", "the topic names no station; put {station} into the pattern")
    return DecodedMessage(links=(received.link(station, f"$state {text}", online=_STATES[text]),))
