"""Offsets that explain a step away, and those that one person alone stands behind: what they may do, and what not."""

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import replace

from monitor.decision.records import Memory, OffsetFact, seconds
from monitor.decision.series.assessment import DecisionContext
from monitor.readings.records import Reading

SUFFIX = ":offset"  # how the alert key of a notice ends: `health:STATION@INSTANT:offset`


def find_offsets(windows: DecisionContext, station: str, at_s: float) -> list[OffsetFact]:
    """Offsets of a station that begin between the last reading before an instant and that instant."""
    mine = [o for o in windows.view.offsets if o.station == station and o.at_s <= at_s]
    if not mine:
        return []
    known = windows.site.station(station)
    before_s = at_s - 2.0 * max((s.interval_s for s in known.series), default=0.0) if known else at_s
    for _, readings in windows.list_readings(station):
        place = bisect_left(readings, at_s, key=lambda r: seconds(r.observed_at))
        if 0 < place < len(readings):
            before_s = min(before_s, seconds(readings[place - 1].observed_at))
    return [o for o in mine if o.at_s > before_s]


def was_answered(before: Memory, key: str) -> bool:
    """True for a step that an offset had answered: without that offset it is news again."""
    return f"health:{key}{SUFFIX}" in before.conditions


def measure(declared: DecisionContext) -> DecisionContext:
    """The same windows as measured, without offsets that one person alone stands behind; the very same without any."""
    alone: dict[str, list[OffsetFact]] = {}
    for fact in declared.view.offsets:
        name = f"{fact.station}.{fact.quantity}"
        if fact.alone and declared.view.readings.get(name):
            alone.setdefault(name, []).append(fact)
    if not alone:
        return declared
    undone = {name: tuple(_undo(declared.view.readings[name], facts)) for name, facts in alone.items()}
    view = replace(declared.view, readings={**declared.view.readings, **undone})
    touched = frozenset(fact.station for facts in alone.values() for fact in facts)
    return DecisionContext(
        declared.site, view, declared.memory, declared.now_s, declared.warm, as_declared=declared, touched=touched
    )


def _undo(readings: Iterable[Reading], alone: list[OffsetFact]) -> Iterable[Reading]:
    """Readings without some offsets, which come in the order in which they happened."""
    total, upcoming = 0.0, 0
    for reading in readings:
        at_s = seconds(reading.observed_at)
        while upcoming < len(alone) and alone[upcoming].at_s <= at_s:
            total += alone[upcoming].alone
            upcoming += 1
        if not total:
            yield reading
            continue
        applied = reading.offset_applied - total
        yield replace(reading, offset_applied=applied, value=reading.value_raw - applied)
