"""Ask people about unsigned corrections, and build the context in which they count.

A correction is stored with the flag `unsigned`, because it differs too much from the value that two people signed last
or that arrived first (`monitor.readings.queries.corrections`). It is not in `DecisionInputs.readings`, but in
`DecisionInputs.unsigned`.
"""

import json
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import replace
from operator import attrgetter
from typing import Final

from monitor.decision.alert_texts import name_series
from monitor.decision.series.assessment import DecisionContext
from monitor.decision.series.step_states import MOVEMENT
from monitor.readings.records import BROUGHT_BY, Reading
from monitor.text.instants import epoch_s, format_iso, from_epoch_s, parse_time
from monitor.text.message import Figure, Message, NameList, Template, Timestamp, join

_INSERTED: Final = Template(
    "correction.inserted",
    "{names} added {n} values of {series} from {at} to {at2} that differ from the readings of the instrument around "
    "them",
)
_CHANGED: Final = Template(
    "correction.changed", "{names} changed {n} values of {series} from {at} to {at2} by up to {n2} {unit}"
)
_ERRORS: Final = Template(
    "correction.errors",
    "{names} changed the errors of {n} values of {series} from {at} to {at2} to up to {n2} {unit}",
)
# A question is named `corrected:STATION@INSTANT`, and its condition `health:corrected:STATION@INSTANT:verify`.
CORRECTED_PREFIX: Final = "corrected:"
VERIFY_SUFFIX: Final = ":verify"
# Series that one question describes.
_MAX_DESCRIBED: Final = 3
_OBSERVED: Final = attrgetter("observed_at")


def add_unsigned(context: DecisionContext) -> DecisionContext | None:
    """Return the context with unsigned corrections in place of the values that count; None if there are none."""
    unsigned = context.inputs.unsigned
    if not unsigned:
        return None
    readings = dict(context.inputs.readings)
    for name, corrections in unsigned.items():
        readings[name] = _merge(readings.get(name, ()), corrections)
    return DecisionContext(
        context.prepared,
        replace(context.inputs, readings=readings),
        context.memory,
        context.now_s,
        context.cache,
        signed=context,
        unsigned_stations=frozenset(name.partition(".")[0] for name in unsigned),
    )


def _merge(readings: Iterable[Reading], corrections: Iterable[Reading]) -> tuple[Reading, ...]:
    by_epoch = {reading.observed_at: reading for reading in readings}
    by_epoch |= {correction.observed_at: correction for correction in corrections}
    return tuple(sorted(by_epoch.values(), key=_OBSERVED))


def list_questions(context: DecisionContext) -> dict[str, Message]:
    """Return one question for each station with unsigned corrections, by its name `corrected:STATION@INSTANT`.

    INSTANT is the reception of the newest correction that the question is about. An open question keeps its name until
    all corrections that it is about are signed, so that both signatures belong to the same question. Corrections that
    are received later are asked about afterwards.
    """
    by_station: dict[str, list[str]] = {}
    for name in sorted(context.inputs.unsigned):
        by_station.setdefault(name.partition(".")[0], []).append(name)
    questions: dict[str, Message] = {}
    for station, names in by_station.items():
        received_s = sorted(epoch_s(r.received_at) for name in names for r in context.inputs.unsigned[name])
        key_prefix = f"health:{CORRECTED_PREFIX}{station}@"
        open_s = sorted(
            epoch_s(parse_time(key.removeprefix(key_prefix).removesuffix(VERIFY_SUFFIX)))
            for key in context.memory.conditions
            if key.startswith(key_prefix)
        )
        until_s = next((at_s for at_s in open_s if at_s >= received_s[0]), received_s[-1])
        texts = [_describe(context, name) for name in names[:_MAX_DESCRIBED]]
        questions[f"{CORRECTED_PREFIX}{station}@{format_iso(from_epoch_s(until_s))}"] = join(texts)
    return questions


def needs_signature(context: DecisionContext, station: str) -> bool:
    """Return whether corrections or an offset of a station wait for a signature.

    A person who answers `movement` has refused the corrections: the values of the instrument count. These corrections
    may still raise a level, but nobody is asked about them any more.
    """
    if any(offset.station == station and not offset.counts for offset in context.inputs.offsets):
        return True
    refused_until_s = float("-inf")
    for question, answer in context.memory.answers.items():
        if question.startswith(f"{CORRECTED_PREFIX}{station}@") and answer == MOVEMENT:
            refused_until_s = max(refused_until_s, read_question(question)[1])
    return any(
        epoch_s(reading.received_at) > refused_until_s
        for name, readings in context.inputs.unsigned.items()
        if name.partition(".")[0] == station
        for reading in readings
    )


def read_question(question: str) -> tuple[str, float]:
    """Return the station of a question about corrections, and the newest reception that it is about, epoch seconds."""
    station, _, until = question.removeprefix(CORRECTED_PREFIX).partition("@")
    return station, epoch_s(parse_time(until))


def _describe(context: DecisionContext, name: str) -> Message:
    """Return a text that states which values of a series were corrected, by how much and by whom."""
    corrections = context.inputs.unsigned[name]
    counting = context.inputs.readings.get(name, ())
    found = [_find_change(counting, correction) for correction in corrections]
    changes = [change for change in found if change is not None]
    largest = max(changes, key=abs, default=0.0)
    station, _, quantity = name.partition(".")
    spec = context.site.series(station, quantity)
    unit = "" if spec is None else spec.unit
    if not changes:
        template, size = _INSERTED, Figure(0.0, ".1f")
    elif largest:
        template, size = _CHANGED, Figure(largest, "+.1f")
    else:
        template, size = _ERRORS, Figure(max(r.sigma or 0.0 for r in corrections), ".1f")
    return template(
        names=NameList(tuple(sorted({_name_author(r.extra) for r in corrections}))),
        n=len(corrections),
        series=name_series(name),
        at=Timestamp.of(corrections[0].observed_at),
        at2=Timestamp.of(corrections[-1].observed_at),
        n2=size,
        unit=unit,
    )


def _find_change(counting: Sequence[Reading], correction: Reading) -> float | None:
    """Return by how much a correction changes the value that counts; None if no value of its epoch counts."""
    index = bisect_left(counting, correction.observed_at, key=_OBSERVED)
    if index >= len(counting) or counting[index].observed_at != correction.observed_at:
        return None
    return correction.value_raw - counting[index].value_raw


def _name_author(extra: str | None) -> str:
    if extra is not None and BROUGHT_BY in extra:
        try:
            author = json.loads(extra).get(BROUGHT_BY)
        except (ValueError, AttributeError):
            author = None
        if author:
            return str(author)
    return "MQTT or a job"
