"""Offsets at the epoch of a step."""

from bisect import bisect_left

from monitor.decision.records import Memory, OffsetFact, seconds
from monitor.decision.series.assessment import DecisionContext

SUFFIX = ":offset"  # how the alert key of a notice ends: `health:STATION@INSTANT:offset`


def find_offsets(context: DecisionContext, station: str, at_s: float) -> list[OffsetFact]:
    """Offsets of a station that begin between the last reading before an instant and that instant."""
    mine = [o for o in context.view.offsets if o.station == station and o.at_s <= at_s]
    if not mine:
        return []
    known = context.site.station(station)
    before_s = at_s - 2.0 * max((s.interval_s for s in known.series), default=0.0) if known else at_s
    for _, readings in context.list_readings(station):
        place = bisect_left(readings, at_s, key=lambda r: seconds(r.observed_at))
        if 0 < place < len(readings):
            before_s = min(before_s, seconds(readings[place - 1].observed_at))
    return [o for o in mine if o.at_s > before_s]


def was_answered(before: Memory, key: str) -> bool:
    """True for a step that an offset had answered: without that offset it is news again."""
    return f"health:{key}{SUFFIX}" in before.conditions
