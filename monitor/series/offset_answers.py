"""Offsets that explain away a step that counts: told by name, and not enough alone where a high level is asked for."""

from bisect import bisect_left

from monitor.domain.decision import Memory, OffsetFact, seconds
from monitor.series.assessment import Windows

SUFFIX = ":offset"  # how the alert key of a notice ends: `health:STATION@INSTANT:offset`


def find_offsets(windows: Windows, station: str, at_s: float) -> list[OffsetFact]:
    """Offsets of a station that begin between the last reading before an instant and that instant."""
    mine = [o for o in windows.view.offsets if o.station == station and o.at_s <= at_s]
    if not mine:
        return []
    known = windows.site.station(station)
    before_s = at_s - 2.0 * max((s.interval_s for s in known.series), default=0.0) if known else at_s
    for key, readings in windows.view.readings.items():
        if key.partition(".")[0] == station:
            place = bisect_left(readings, at_s, key=lambda r: seconds(r.observed_at))
            if 0 < place < len(readings):
                before_s = min(before_s, seconds(readings[place - 1].observed_at))
    return [o for o in mine if o.at_s > before_s]


def is_told(before: Memory, key: str) -> bool:
    """True for a step that an offset had answered: without that offset it is news again."""
    return f"health:{key}{SUFFIX}" in before.conditions
