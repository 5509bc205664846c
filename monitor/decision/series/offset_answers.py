"""Find the declared offsets that explain a step."""

from bisect import bisect_left

from monitor.decision.records import Memory, OffsetFact, seconds
from monitor.decision.series.assessment import DecisionContext

# Suffix of the alert key of a notice: `health:STATION@INSTANT:offset`.
SUFFIX = ":offset"


def find_offsets(context: DecisionContext, station: str, at_s: float) -> list[OffsetFact]:
    """Return the offsets of a station that start between the last reading before an instant and that instant.

    Without an earlier reading of a series, its last two intervals are searched.
    """
    candidates = [offset for offset in context.inputs.offsets if offset.station == station and offset.at_s <= at_s]
    if not candidates:
        return []
    declared = context.site.station(station)
    series = declared.series if declared else ()
    before_s = at_s - 2.0 * max((spec.interval_s for spec in series), default=0.0)
    for _, readings in context.list_readings(station):
        place = bisect_left(readings, at_s, key=lambda reading: seconds(reading.observed_at))
        if 0 < place < len(readings):
            before_s = min(before_s, seconds(readings[place - 1].observed_at))
    return [offset for offset in candidates if offset.at_s > before_s]


def was_explained_by_offset(memory: Memory, key: str) -> bool:
    """Return whether an offset explained a step before. If that offset is withdrawn, the step is open again."""
    return f"health:{key}{SUFFIX}" in memory.conditions
