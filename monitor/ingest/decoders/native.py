"""The JSON of the house: one sample or many, values by unit suffix or with a unit, a GNSS position with covariance.

A sample is taken whole or not at all; the bad samples of a message go to the quarantine in a payload of their own that
can be read again, the good ones are stored. A value of null says "no measurement" and is nothing to store.
"""

import json
import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from monitor.domain.canonical import canonical_json
from monitor.domain.observation import Observation
from monitor.domain.site import Site
from monitor.errors import PayloadError
from monitor.ingest.decoders.strict_json import (
    SAMPLE_LIMIT,
    check_depth,
    check_keys,
    check_text,
    read_count,
    read_number,
    read_object,
    read_text,
    read_time,
)
from monitor.ingest.message import Decoded, Fault, Message, Place
from monitor.ingest.quality import Vocabulary, observe
from monitor.ingest.references import References
from monitor.store.readings.messages import SequenceMark

SOLUTIONS: Final = frozenset({"rapid", "final", "corrected"})
_ENVELOPE: Final = frozenset({"source", "boot_id", "seq", "time_unit", "solution"})
_MANY: Final = _ENVELOPE | {"samples", "meta"}
_RESERVED: Final = _ENVELOPE | {"time", "sigma", "values", "gnss", "meta"}
_VALUE: Final = frozenset({"value", "unit", "sigma"})
_GNSS: Final = frozenset({"enu_mm", "cov_mm2", "epoch0", "frame", "solution", "fix", "satellites", "reference"})
AXES: Final = ("displacement_east", "displacement_north", "displacement_up")
_META_LIMIT: Final = 4096


def decode(message: Message, place: Place, site: Site, vocabulary: Vocabulary, references: References) -> Decoded:
    """Read the samples of a message.

    Raises:
        PayloadError: nothing of the message can be read.
    """
    if not place.station:
        raise PayloadError("no_station", "the topic names no station")
    body = read_object(message.payload)
    counted = _read_counts(body)
    many = "samples" in body
    samples = body["samples"] if many else [body]
    if many:
        check_keys(body, _MANY)
        if not isinstance(samples, list) or not samples:
            raise PayloadError("no_samples", "samples: expected a list of at least one sample")
        if len(samples) > SAMPLE_LIMIT:
            raise PayloadError("too_many", f"samples: {len(samples)}; at most {SAMPLE_LIMIT} are read")
    observations: list[Observation] = []
    bad: list[tuple[Any, PayloadError]] = []
    newest = None
    for sample in samples:
        try:
            at, found = _read_sample(sample, body, message, place, site, vocabulary, references)
        except PayloadError as error:
            bad.append((sample, error.bare()))
            continue
        observations += found
        newest = at if newest is None or at > newest else newest
    mark = None
    if counted is not None:
        mark = SequenceMark(site.id, place.station, *counted, newest or message.received_at)
    faults = (_join_faults(message, body, bad, len(samples), many=many),) if bad else ()
    return Decoded(tuple(observations), faults, mark=mark)


def _read_counts(body: Mapping[str, Any]) -> tuple[str, int, int] | None:
    source, boot_id, seq = body.get("source"), body.get("boot_id"), body.get("seq")
    if source is not None:
        source = read_text(source, "source", 128)
    if boot_id is not None:
        boot_id = read_count(boot_id, "boot_id")
    if seq is None:
        return None
    seq = read_count(seq, "seq")
    if source is None or boot_id is None:
        raise PayloadError("no_source", "seq counts only together with source and boot_id")
    return source, boot_id, seq


def _join_faults(
    message: Message, body: Mapping[str, Any], bad: list[tuple[Any, PayloadError]], total: int, *, many: bool
) -> Fault:
    first = bad[0][1]
    if not many or len(bad) == total:
        reason = str(first) if not many else f"all {total} samples, the first: {first}"
        return Fault(first.code, reason, message.payload)
    kept = {**body, "samples": [sample for sample, _ in bad]}
    return Fault(first.code, f"{len(bad)} of {total} samples, the first: {first}", json.dumps(kept).encode())


def _read_sample(
    sample: Any, body: Mapping[str, Any], message: Message, place: Place, site: Site, vocabulary: Vocabulary,
    references: References,
) -> tuple[datetime, list[Observation]]:  # fmt: skip
    if not isinstance(sample, dict):
        raise PayloadError("not_object", f"a sample must be an object, got {type(sample).__name__}")
    at = read_time(sample.get("time"), sample.get("time_unit", body.get("time_unit")))
    solution = _read_solution(sample.get("solution", body.get("solution")))
    sigmas = sample.get("sigma")
    if sigmas is not None and not isinstance(sigmas, dict):
        raise PayloadError("bad_sigma", "sigma: expected an object of name and standard deviation")
    meta = sample.get("meta", body.get("meta"))
    extra = _read_meta(meta) if meta is not None else None
    found: list[Observation] = []
    used = 0
    for name, value in _values(sample):
        if value is None:
            used += name in (sigmas or ())
            continue
        unit, sigma = None, None
        if isinstance(value, dict):
            check_keys(value, _VALUE)
            unit = read_text(value.get("unit"), f"{name}.unit", 32) if "unit" in value else None
            if unit is None:
                raise PayloadError("no_unit", f"{name}: value without unit")
            sigma, value = value.get("sigma"), value.get("value")  # noqa: PLW2901
        if sigmas and name in sigmas:
            sigma, used = sigmas[name], used + 1
        field = vocabulary.field(site, place.station, name, unit)
        if sigma is not None:
            sigma = _read_sigma(sigma, name)
        found.append(
            observe(
                site.id, place.station, field, read_number(value, name), at, message.received_at, sigma, solution, extra
            )
        )
    if sigmas and used != len(sigmas):
        stray = sorted(set(sigmas) - {name for name, _ in _values(sample)})
        raise PayloadError("bad_sigma", f"sigma of {', '.join(stray)[:100]}, which the sample does not hold")
    gnss = sample.get("gnss")
    names = [o.quantity for o in found] + ([] if gnss is None else list(AXES))
    if len(set(names)) != len(names):
        raise PayloadError("double_value", "one quantity stands twice in the sample")
    if gnss is not None:
        found += _read_gnss(gnss, solution, at, extra, message, place, site, vocabulary, references)
    if not found:
        raise PayloadError("empty", "the sample holds no value")
    return at, found


def _values(sample: Mapping[str, Any]) -> list[tuple[str, Any]]:
    plain = [(name, value) for name, value in sample.items() if name not in _RESERVED]
    apart = sample.get("values")
    if apart is None:
        return plain
    if not isinstance(apart, dict):
        raise PayloadError("not_object", "values: expected an object of name and value")
    return plain + list(apart.items())


def _read_solution(value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or value not in SOLUTIONS:
        raise PayloadError("bad_solution", f"solution: expected one of {', '.join(sorted(SOLUTIONS))}")
    return value


def _read_sigma(value: object, name: str) -> float:
    sigma = read_number(value, f"sigma of {name}")
    if sigma < 0:
        raise PayloadError("bad_sigma", f"sigma of {name} is negative")
    return sigma


def _read_meta(meta: object) -> str:
    check_depth(meta)
    try:
        text = canonical_json({"meta": meta})
    except ValueError:
        raise PayloadError("not_finite", "meta: holds a number that is not finite") from None
    if len(text) > _META_LIMIT:
        raise PayloadError("too_long", f"meta: at most {_META_LIMIT} characters")
    check_text(text.replace("\\u0000", "\0"), "meta")
    return text


def _read_gnss(
    gnss: object, solution: str | None, at: datetime, meta: str | None, message: Message, place: Place, site: Site,
    vocabulary: Vocabulary, references: References,
) -> list[Observation]:  # fmt: skip
    if not isinstance(gnss, dict):
        raise PayloadError("not_object", "gnss: expected an object")
    check_keys(gnss, _GNSS)
    enu = _read_list(gnss.get("enu_mm"), 3, "gnss.enu_mm")
    covariance = None
    sigmas: tuple[float | None, ...] = (None, None, None)
    if gnss.get("cov_mm2") is not None:
        covariance = _read_list(gnss["cov_mm2"], 6, "gnss.cov_mm2")
        _check_covariance(covariance)
        sigmas = tuple(math.sqrt(v) for v in covariance[:3])
    frame = read_text(gnss.get("frame"), "gnss.frame", 64)
    if gnss.get("epoch0") is None:
        raise PayloadError("no_epoch0", "gnss.epoch0 is missing: displacement since when?")
    epoch0 = read_time(gnss["epoch0"], name="gnss.epoch0", live=False)
    facts: dict[str, Any] = {"cov_mm2": covariance, "epoch0": gnss["epoch0"], "frame": frame}
    for name in ("fix", "reference"):
        if gnss.get(name) is not None:
            facts[name] = read_text(gnss[name], f"gnss.{name}", 64)
    if gnss.get("satellites") is not None:
        facts["satellites"] = read_count(gnss["satellites"], "gnss.satellites")
    if meta is not None:
        facts |= json.loads(meta)
    extra = canonical_json({k: v for k, v in facts.items() if v is not None})
    final = _read_solution(gnss.get("solution")) or solution
    found = [
        observe(
            site.id, place.station, vocabulary.field(site, place.station, axis, "mm"), value, at, message.received_at,
            sigma, final, extra,
        )
        for axis, value, sigma in zip(AXES, enu, sigmas, strict=True)
    ]  # fmt: skip
    references.check(site.id, place.station, frame, epoch0)  # last: a bad sample must not set the reference
    return found


def _read_list(value: object, length: int, name: str) -> list[float]:
    if not isinstance(value, list) or len(value) != length:
        raise PayloadError("bad_vector", f"{name}: expected a list of {length} numbers")
    return [read_number(item, name) for item in value]


def _check_covariance(cov: list[float]) -> None:
    """[ee, nn, uu, en, eu, nu] must be a covariance: no negative variance, no correlation beyond one."""
    ee, nn, uu, en, eu, nu = cov
    if min(ee, nn, uu) < 0:
        raise PayloadError("bad_covariance", "gnss.cov_mm2: a variance is negative")
    for cross, a, b in ((en, ee, nn), (eu, ee, uu), (nu, nn, uu)):
        if abs(cross) > math.sqrt(a) * math.sqrt(b) * (1 + 1e-9) + 1e-12:
            raise PayloadError("bad_covariance", "gnss.cov_mm2: a correlation lies beyond one")
