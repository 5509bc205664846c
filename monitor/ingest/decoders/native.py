"""JSON format of Slopeward: one sample or several, with values by unit suffix or unit, and GNSS positions.

A bad value does not affect other values; a bad time or a repeated quantity rejects the whole sample. Samples with bad
values go to the quarantine as a payload that can be decoded again: values of them that were stored are then duplicates.
A value of null, NaN, infinity or "nan" means that there is no measurement. An invalid standard deviation counts as not
stated.
"""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from monitor.canonical import canonical_json
from monitor.errors import PayloadError
from monitor.ingest.decoders import strict_json
from monitor.ingest.decoders.decoder import ReceivedMessage, combine_errors, gather
from monitor.ingest.message import BrokerMessage, DecodedMessage, MessageFault
from monitor.ingest.quality import ReadingDetails
from monitor.ingest.queries.messages import SequenceMark
from monitor.ingest.references import PART, UNNAMED, name_base
from monitor.readings.no_value import is_no_value
from monitor.readings.records import Observation
from monitor.text.message import Figure, NameList, Template

SOLUTIONS: Final = frozenset({"rapid", "final", "corrected"})
_ENVELOPE: Final = frozenset({"source", "boot_id", "seq", "time_unit", "solution"})
_MANY: Final = _ENVELOPE | {"samples", "meta", "base", "reference"}
_BASES: Final = ("base", "reference")  # keys of the base station, in a sample and in its position
_RESERVED: Final = _ENVELOPE | {"time", "sigma", "values", "gnss", "meta", *_BASES}
_VALUE: Final = frozenset({"value", "unit", "sigma"})
_GNSS: Final = frozenset({"enu_mm", "cov_mm2", "epoch0", "frame", "solution", "fix", "satellites", *_BASES})
_COARSE_FIXES: Final = frozenset({"single", "autonomous", "spp", "dgps", "sbas", "none", "invalid", "no_fix", "nofix"})
NO_FIX: Final = "no_fix"  # flag of positions that are accurate to metres only, which measure no displacement
DISPLACEMENT: Final = "displacement"
AXES: Final = ("displacement_east", "displacement_north", "displacement_up")
_META_LIMIT: Final = 4096
_NO_STATION: Final = Template("sample.station", "the topic names no station")
_NO_SAMPLES: Final = Template("sample.none", "samples: expected a list of at least one sample")
_TOO_MANY: Final = Template("sample.many", "samples: {n}; at most {most} are read")
_NO_SOURCE: Final = Template("sample.source", "seq needs source and boot_id; send all three, or none")
_ALL_SAMPLES: Final = Template("sample.all", "all {n} samples, the first: {reason}")
_SOME_SAMPLES: Final = Template("sample.some", "{n} of {total} samples, the first: {reason}")
_SAMPLE: Final = Template("sample.object", "a sample must be an object, got {type}")
_UNITLESS: Final = Template("sample.unit", "{name}: value without unit")
_STRAY_SIGMA: Final = Template("sample.sigma.stray", "sigma of {names}, which the sample does not contain")
_DOUBLE: Final = Template("sample.double", "a quantity is repeated in the sample")
_EMPTY: Final = Template("sample.empty", "the sample contains no value")
_VALUES_OBJECT: Final = Template("sample.values", "values: expected an object of name and value")
ODD_SOLUTION: Final = Template("sample.solution", "solution: expected one of {names}")
_META_LONG: Final = Template("sample.meta.long", "meta: at most {n} characters")
_GNSS_OBJECT: Final = Template("sample.gnss", "gnss: expected an object")
_NO_EPOCH0: Final = Template("sample.epoch0", "gnss.epoch0 is missing; give the instant at which displacement is zero")
_VECTOR: Final = Template("sample.vector", "{name}: expected a list of {n} numbers")


def decode(received: ReceivedMessage) -> DecodedMessage:
    """Decode the samples of a message.

    Raises:
        PayloadError: no value of the message can be read.
    """
    message, station = received.message, received.place.station
    if not station:
        raise PayloadError("no_station", _NO_STATION())
    body = strict_json.read_object(message.payload)
    counted = _read_counts(body)
    many = "samples" in body
    samples = body["samples"] if many else [body]
    if many:
        strict_json.check_keys(body, _MANY)
        if not isinstance(samples, list) or not samples:
            raise PayloadError("no_samples", _NO_SAMPLES())
        if len(samples) > strict_json.SAMPLE_LIMIT:
            raise PayloadError(
                "too_many", _TOO_MANY(n=Figure(len(samples), "d"), most=Figure(strict_json.SAMPLE_LIMIT, "d"))
            )
    observations, bad = gather(samples, lambda sample: _read_sample(sample, body, received))
    mark = None
    if counted is not None:
        newest = max((observation.observed_at for observation in observations), default=message.received_at)
        mark = SequenceMark(received.site.id, station, *counted, newest)
    faults = (_join_faults(message, body, bad, len(samples), many=many),) if bad else ()
    return DecodedMessage(tuple(observations), faults, mark=mark)


def _read_counts(body: Mapping[str, Any]) -> tuple[str, int, int] | None:
    source, boot_id, seq = body.get("source"), body.get("boot_id"), body.get("seq")
    if source is not None:
        source = strict_json.read_text(source, "source", 128)
    if boot_id is not None:
        boot_id = strict_json.read_count(boot_id, "boot_id")
    if seq is None:
        return None
    seq = strict_json.read_count(seq, "seq")
    if source is None or boot_id is None:
        raise PayloadError("no_source", _NO_SOURCE())
    return source, boot_id, seq


def _join_faults(
    message: BrokerMessage, body: Mapping[str, Any], bad: list[tuple[Any, PayloadError]], total: int, *, many: bool
) -> MessageFault:
    first = bad[0][1]
    if not many or len(bad) == total:
        reason = _ALL_SAMPLES(n=Figure(total, "d"), reason=first.message) if many else first.message
        return MessageFault(first.code, reason, message.payload)
    bad_body = {**body, "samples": [sample for sample, _ in bad]}
    reason = _SOME_SAMPLES(n=Figure(len(bad), "d"), total=Figure(total, "d"), reason=first.message)
    return MessageFault(first.code, reason, json.dumps(bad_body).encode())


def _read_sample(sample: Any, body: Mapping[str, Any], received: ReceivedMessage) -> Iterator[Observation]:
    if not isinstance(sample, dict):
        raise PayloadError("not_object", _SAMPLE(type=type(sample).__name__))
    at = received.read_time(sample.get("time"), sample.get("time_unit", body.get("time_unit")))
    solution = _read_solution(sample.get("solution", body.get("solution")))
    stated = sample.get("sigma")
    sigmas: dict[str, Any] = stated if isinstance(stated, dict) else {}
    meta = sample.get("meta", body.get("meta"))
    extra = _read_meta(meta) if meta is not None else None
    station = received.place.station
    base = _read_base(sample, body)

    def read(item: tuple[str, Any]) -> Iterator[Observation]:
        name, value = item
        if is_no_value(value):
            return
        unit, sigma = None, None
        if isinstance(value, dict):
            strict_json.check_keys(value, _VALUE)
            unit = strict_json.read_text(value.get("unit"), f"{name}.unit", 32) if "unit" in value else None
            if unit is None:
                raise PayloadError("no_unit", _UNITLESS(name=name))
            sigma, value = value.get("sigma"), value.get("value")
            if is_no_value(value):
                return
        sigma = strict_json.read_sigma(sigmas.get(name, sigma))
        field = received.field(station, name, unit)
        number = strict_json.read_number(value, name)
        observation = received.observe(station, field, number, at, ReadingDetails(sigma, solution, extra))
        # After everything else: a bad value must not set the reference.
        if base and field.quantity.startswith(DISPLACEMENT):
            received.references.check(received.site.id, station, PART.join([UNNAMED, base]), None)
        yield observation

    observations, bad = gather(_values(sample), read)
    gnss = sample.get("gnss")
    names = [observation.quantity for observation in observations] + ([] if gnss is None else list(AXES))
    if len(set(names)) != len(names):
        raise PayloadError("double_value", _DOUBLE())
    if gnss is not None:
        position, of_position = gather([gnss], lambda given: _read_gnss(given, solution, at, extra, base, received))
        observations, bad = [*observations, *position], [*bad, *of_position]
    yield from observations
    if bad:
        raise combine_errors(bad)
    if not observations:
        raise PayloadError("empty", _EMPTY())
    if sigmas and (stray := sorted(set(sigmas) - {name for name, _ in _values(sample)})):
        raise PayloadError("bad_sigma", _STRAY_SIGMA(names=", ".join(stray)[:100]))


def _values(sample: Mapping[str, Any]) -> list[tuple[str, Any]]:
    plain = [(name, value) for name, value in sample.items() if name not in _RESERVED]
    apart = sample.get("values")
    if apart is None:
        return plain
    if not isinstance(apart, dict):
        raise PayloadError("not_object", _VALUES_OBJECT())
    return plain + list(apart.items())


def _read_solution(value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or value not in SOLUTIONS:
        raise PayloadError("bad_solution", ODD_SOLUTION(names=NameList(tuple(sorted(SOLUTIONS)))))
    return value


def _read_meta(meta: object) -> str:
    strict_json.check_depth(meta)
    # NaN and infinity become null
    text = canonical_json({"meta": json.loads(json.dumps(meta), parse_constant=lambda _: None)})
    if len(text) > _META_LIMIT:
        raise PayloadError("too_long", _META_LONG(n=Figure(_META_LIMIT, "d")))
    strict_json.check_text(text.replace("\\u0000", "\0"), "meta")
    return text


def _read_gnss(
    gnss: object, solution: str | None, at: datetime, meta: str | None, base: str, received: ReceivedMessage
) -> list[Observation]:
    if not isinstance(gnss, dict):
        raise PayloadError("not_object", _GNSS_OBJECT())
    strict_json.check_keys(gnss, _GNSS)
    enu = _read_list(gnss.get("enu_mm"), 3, "gnss.enu_mm")
    covariance = _read_covariance(gnss.get("cov_mm2"))
    sigmas: tuple[float | None, ...] = (None, None, None)
    if covariance is not None:
        sigmas = tuple(math.sqrt(v) for v in covariance[:3])
    frame = strict_json.read_text(gnss.get("frame"), "gnss.frame", 64)
    if gnss.get("epoch0") is None:
        raise PayloadError("no_epoch0", _NO_EPOCH0())
    epoch0 = received.read_time(gnss["epoch0"], name="gnss.epoch0", live=False)
    facts: dict[str, Any] = {"cov_mm2": covariance, "epoch0": gnss["epoch0"], "frame": frame}
    for name in ("fix", *_BASES):
        if gnss.get(name) is not None:
            facts[name] = strict_json.read_text(gnss[name], f"gnss.{name}", 64)
    if gnss.get("satellites") is not None:
        facts["satellites"] = strict_json.read_count(gnss["satellites"], "gnss.satellites")
    if meta is not None:
        facts |= json.loads(meta)
    extra = canonical_json({k: v for k, v in facts.items() if v is not None})
    final = _read_solution(gnss.get("solution")) or solution
    station = received.place.station
    observations = [
        received.observe(station, received.field(station, axis, "mm"), value, at, ReadingDetails(sigma, final, extra))
        for axis, value, sigma in zip(AXES, enu, sigmas, strict=True)
        if value is not None
    ]
    is_coarse = str(facts.get("fix", "")).lower() in _COARSE_FIXES
    if is_coarse:
        observations = [replace(observation, flags=(*observation.flags, NO_FIX)) for observation in observations]
    # After everything else: a bad sample must not set the reference.
    if observations:
        # The base is not checked: such a position cannot vote, and its corrections often come from a satellite (SBAS).
        base = "" if is_coarse else _read_base(gnss) or base
        received.references.check(received.site.id, station, PART.join([frame, base]) if base else frame, epoch0)
    return observations


def _read_base(*objects: Mapping[str, Any]) -> str:
    """Return the base station in the first object that names one, as a part of a frame; empty if none does."""
    for named in objects:
        for key in _BASES:
            if named.get(key) is not None:
                return name_base(strict_json.read_text(named[key], key, 64))
    return ""


def _read_list(value: object, length: int, name: str) -> list[float | None]:
    if not isinstance(value, list) or len(value) != length:
        raise PayloadError("bad_vector", _VECTOR(name=name, n=length))
    return [None if is_no_value(item) else strict_json.read_number(item, name) for item in value]


def _read_covariance(value: object) -> list[float] | None:
    """Return the covariance [ee, nn, uu, en, eu, nu]; None if it is not stated or invalid.

    A covariance with a negative variance, or a correlation above 1, is invalid.
    """
    if value is None:
        return None
    try:
        cov = [number for number in _read_list(value, 6, "gnss.cov_mm2") if number is not None]
    except PayloadError:
        return None
    if len(cov) < 6 or min(cov[:3]) < 0.0:
        return None
    ee, nn, uu, en, eu, nu = cov
    pairs = ((en, ee, nn), (eu, ee, uu), (nu, nn, uu))
    if any(abs(cross) > math.sqrt(a) * math.sqrt(b) * (1 + 1e-9) + 1e-12 for cross, a, b in pairs):
        return None
    return cov
