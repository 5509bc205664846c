"""Keep faults of third-party decoders away from the ingest.

Whatever a decoder does, a message becomes readings or a rejected message with a reason. A decoder that raises an error,
calls `sys.exit`, does not return in time or returns something invalid rejects the message as `decoder_failed`.
"""

import math
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from monitor.errors import ConfigError, PayloadError
from monitor.ingest.decoders.decoder import Decoder, DecoderSpec, ReceivedMessage, is_dated_by_reception
from monitor.ingest.message import DecodedMessage, MessageFault
from monitor.ingest.queries.messages import SequenceMark
from monitor.plugin_isolation import call_limited, clear_fault, describe, note_fault
from monitor.readings.records import Link, Observation, ObserverReport, SiteEvent
from monitor.sites.records import Binding
from monitor.text.message import Template
from monitor.text.names import is_station

LIMIT_S: Final = 5.0  # for one message
_CODE: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")
_FAILED: Final = Template("quarantine.plugin_decoder", "the decoder '{name}' of the plugin {plugin} failed: {problem}")


def isolate_decoder(plugin: str, name: str, spec: DecoderSpec) -> DecoderSpec:
    """Return the decoder of a third-party plugin with functions that raise ConfigError and PayloadError only."""
    what = f"decoder {name}"

    def open_isolated(binding: Binding) -> Decoder:
        try:
            decode = call_limited(plugin, what, spec.open, (binding,), LIMIT_S)
            if not callable(decode):
                raise TypeError(f"expected a function that decodes a message, got {decode!r:.80}")
        except (ConfigError, KeyboardInterrupt):
            raise
        except BaseException as error:  # also SystemExit
            note_fault(plugin, what, error)
            raise ConfigError(str(_FAILED(name=name, plugin=plugin, problem=describe(error)))) from error
        return _isolate(plugin, name, decode)

    def is_undated(binding: Binding) -> bool:
        try:
            return bool(call_limited(plugin, what, spec.is_undated, (binding,), LIMIT_S))
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # also SystemExit
            note_fault(plugin, what, error)
            return is_dated_by_reception(binding)

    return replace(spec, open=open_isolated, is_undated=is_undated)


def _isolate(plugin: str, name: str, decode: Callable[..., Any]) -> Decoder:
    what = f"decoder {name}"

    def decode_isolated(received: ReceivedMessage) -> DecodedMessage:
        try:
            decoded = _check_decoded(received, call_limited(plugin, what, decode, (received,), LIMIT_S))
        except PayloadError as error:
            if not isinstance(error.code, str) or not _CODE.fullmatch(error.code):
                raise _reject(plugin, name, f"its PayloadError has the code {error.code!r:.80}") from None
            if not isinstance(error.message, str):
                raise _reject(plugin, name, f"its PayloadError has the message {error.message!r:.80}") from None
            clear_fault(plugin, what)
            raise
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # also SystemExit
            raise _reject(plugin, name, error) from None
        clear_fault(plugin, what)
        return decoded

    return decode_isolated


def _reject(plugin: str, name: str, error: BaseException | str) -> PayloadError:
    """Note the fault of a decoder and return the error that rejects its message."""
    note_fault(plugin, f"decoder {name}", error)
    problem = error if isinstance(error, str) else describe(error)
    return PayloadError("decoder_failed", _FAILED(name=name, plugin=plugin, problem=problem))


def _check_decoded(received: ReceivedMessage, decoded: Any) -> DecodedMessage:
    """Return what a decoder read if the service can store all of it.

    Raises:
        PayloadError: a quantity is unknown at the station, or calculated.
        TypeError: a part has a wrong type.
        ValueError: a part has a value that cannot be stored, or nothing was read.
    """
    if not isinstance(decoded, DecodedMessage):
        raise TypeError(f"expected DecodedMessage, got {decoded!r:.80}")
    for name, expected in (("observations", Observation), ("faults", MessageFault), ("links", Link)):
        parts = getattr(decoded, name)
        _require_type(name, parts, tuple)
        for part in parts:
            _require_type(f"each of {name}", part, expected)
    for name, kind in (("report", ObserverReport), ("event", SiteEvent), ("mark", SequenceMark)):
        if (part := getattr(decoded, name)) is not None:
            _require_type(name, part, kind)
    _require_type("event_by", decoded.event_by, str)
    if decoded.request is not None:
        topic, payload = decoded.request
        _require_type("the topic of request", topic, str)
        _require_type("the payload of request", payload, bytes)
    for observation in decoded.observations:
        _check_observation(received, observation)
    for fault in decoded.faults:
        _check_fault(fault)
    for part in (*decoded.observations, *decoded.links, decoded.report, decoded.event, decoded.mark):
        if part is not None and part.site != received.site.id:
            raise ValueError(f"the message belongs to the site {received.site.id}, not to {part.site!r:.80}")
    if not any((decoded.observations, decoded.faults, decoded.links, decoded.report, decoded.event, decoded.mark)):
        raise ValueError("it returned neither readings nor faults")
    return decoded


def _check_observation(received: ReceivedMessage, observation: Observation) -> None:
    station, quantity = observation.station, observation.quantity
    if not is_station(station):
        raise ValueError(f"{station!r:.80} is no station id")
    field = received.vocabulary.field(received.site, station, quantity, observation.unit)
    if field.unit != observation.unit:
        raise ValueError(f"expected {quantity} in {field.unit}, got {observation.unit!r:.80}")
    numbers = [observation.value] if observation.sigma is None else [observation.value, observation.sigma]
    for number in numbers:
        _require_type(f"the value of {station}.{quantity}", number, (int, float))
        if not math.isfinite(number):
            raise ValueError(f"{station}.{quantity} is {number}")
    for instant in (observation.observed_at, observation.received_at):
        _require_type("a time", instant, datetime)
        if instant.tzinfo is None:
            raise ValueError(f"{station}.{quantity}: the time {instant} has no zone")


def _check_fault(fault: MessageFault) -> None:
    _require_type("the code of a fault", fault.code, str)
    _require_type("the reason of a fault", fault.reason, str)
    _require_type("the payload of a fault", fault.payload, bytes)
    if not _CODE.fullmatch(fault.code):
        raise ValueError(f"a fault has the code {fault.code!r:.80}")


def _require_type(what: str, value: object, expected: type | tuple[type, ...]) -> None:
    if not isinstance(value, expected) or isinstance(value, bool):
        names = expected.__name__ if isinstance(expected, type) else " or ".join(one.__name__ for one in expected)
        raise TypeError(f"{what}: expected {names}, got {value!r:.80}")
