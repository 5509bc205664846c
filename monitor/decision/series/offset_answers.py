"""Find the declared offsets that explain a step."""

from bisect import bisect_left
from operator import attrgetter
from typing import Final

from monitor.decision.records import Memory, OffsetFact
from monitor.decision.series.assessment import DecisionContext
from monitor.text.instants import epoch_s, from_epoch_s

# Suffix of the alert key of a notice: `health:STATION@INSTANT:offset`.
OFFSET_SUFFIX: Final = ":offset"
_OBSERVED: Final = attrgetter("observed_at")


def find_offsets(context: DecisionContext, station: str, at_s: float) -> list[OffsetFact]:
    """Return the declared offsets of a station that may explain a jump at an instant, whether or not they count yet.

    They start after the last reading before the instant, or within the two longest intervals before it, whichever
    reaches further back.
    """
    candidates = [offset for offset in context.inputs.offsets if offset.station == station and offset.at_s <= at_s]
    if not candidates:
        return []
    declared = context.site.station(station)
    series = declared.series if declared else ()
    before_s = at_s - 2.0 * max((spec.interval_s for spec in series), default=0.0)
    for _, readings in context.list_readings(station):
        index = bisect_left(readings, at_s, key=lambda reading: epoch_s(reading.observed_at))
        if 0 < index < len(readings):
            before_s = min(before_s, epoch_s(readings[index - 1].observed_at))
    return [offset for offset in candidates if offset.at_s > before_s]


def was_explained_by_offset(memory: Memory, key: str) -> bool:
    """Return whether an offset explained a step in an earlier evaluation.

    If that offset is withdrawn, the step is open again.
    """
    return f"health:{key}{OFFSET_SUFFIX}" in memory.conditions


def has_subtracted_offset(context: DecisionContext, station: str, at_s: float) -> bool:
    """Return whether an offset that starts between two readings around an instant is subtracted from the later one.

    An offset that still needs the confirmation of a second person is not subtracted (compare `find_offsets`).
    """
    at = from_epoch_s(at_s)
    for _, readings in context.list_readings(station):
        index = bisect_left(readings, at, key=_OBSERVED)
        if 0 < index < len(readings) and readings[index - 1].offset_applied != readings[index].offset_applied:
            return True
    return False
