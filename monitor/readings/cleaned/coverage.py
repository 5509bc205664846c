"""Measure how much of the readings that a criterion uses is known, and list what was removed.

Missing readings are unknown, never zero. Readings that are set aside, doubted or missing lower the coverage of each
result computed from their series. While the coverage of a series is not complete, the site does not report "full"
sight.

For how long a missing reading matters depends on the quantity:

* Rain is a sum of amounts. A lost amount is unknown for the whole window.
* Displacement, tilt, water levels and pressures accumulate: the next sound reading shows the change meanwhile. A
  removed reading stays in doubt until as many sound readings have followed it as the dwell of the criterion needs.
  While sound and removed readings alternate, that never happens. Values that an instrument repeats for longer than
  chance explains are in doubt in the same way, because they do not show rest.

A result lowers a vote only if no removed reading in its window is in doubt and missing readings cannot change it. For
accumulating quantities, at least half of the window must be known, with sound readings on both sides of every gap. For
rain, no gap may be longer than the allowed silence, and the sum must stay below the recovery limit whatever the missing
rain was (see `monitor.decision.criteria.rain_coverage` for how much rain a gap may contain).
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from operator import sub
from typing import Any, Final

from monitor.readings.cleaned.tracks import Track
from monitor.sites.records import Criterion
from monitor.text.message import Duration, Figure, Message, Template, Timestamp

NO_READING: Final = Template("coverage.no_reading", "no reading from {at} to {at2}")
_SILENT: Final = Template("coverage.silent", "no reading since {at}")
STARTED: Final = Template("coverage.starts", "its first reading is from {at}")
_SOME_MISSING: Final = Template("coverage.some_missing", "readings are missing")()
REMOVED: Final = Template("coverage.set_aside", "the reading from {at} does not count: {text}")
_REPEATS: Final = Template("coverage.repeating", "it has repeated one value since {at}, which does not show rest")
_REPEATED: Final = Template(
    "coverage.has_repeated", "it repeated one value from {at} to {at2}, which does not show rest"
)
_SHARE: Final = Template("coverage.known_share", "{share} % of the last {duration} are known: {text}")
_NONE_KNOWN: Final = Template("coverage.nothing_known", "nothing is known: {text}")

# Gaps shorter than this share of the window change a fitted rate by less than one percent, so they count as known.
TOLERATED_SHARE: Final = 0.1
# If less of its window is known, a fitted rate may be a fifth too low, which is the usual distance to recovery.
MIN_KNOWN_SHARE: Final = 0.5
# A criterion that compares single values needs at least this many sound readings, even if its dwell is shorter.
MIN_VALUES: Final = 2
# If a window contains fewer epochs than this many times the number that the fit needs, each of them matters.
FEW_FITS: Final = 2


@dataclass(frozen=True, slots=True)
class Removal:
    """A span of time in which a series is unknown, in epoch seconds, with the reason."""

    from_s: float
    to_s: float
    reason: Message


@dataclass(frozen=True, slots=True)
class Coverage:
    """How much of the window of a result is known.

    Attributes:
        share: 0 to 1; 1 only if nothing is missing.
        window_s: Length of the window in seconds.
        removals: The unknown spans, oldest first.
        may_lower: False if the unknown part could hide that a level is still justified.
        holds: Whether the known rain alone would let the level fall, and only rain that may be missing keeps it.
    """

    share: float = 1.0
    window_s: float = 0.0
    removals: tuple[Removal, ...] = ()
    may_lower: bool = True
    holds: bool = False

    @property
    def is_whole(self) -> bool:
        """Whether nothing is missing."""
        return self.share >= 1.0

    def describe(self) -> Message:
        """Return a sentence for people: the known share of the window, and why the newest unknown span is unknown."""
        reason = self.removals[-1].reason if self.removals else _SOME_MISSING
        if self.window_s <= 0.0 or self.share <= 0.0:
            return _NONE_KNOWN(text=reason)
        return _SHARE(share=format_share(self.share), duration=Duration(self.window_s), text=reason)

    def to_json(self) -> dict[str, Any]:
        """Return the coverage as JSON-ready evidence."""
        facts: dict[str, Any] = {"share": round(self.share, 6), "window_s": self.window_s}
        if self.removals:
            removed = [
                {"from_s": r.from_s, "to_s": r.to_s, "reason": r.reason} for r in self.removals[-LISTED_REMOVALS:]
            ]
            facts |= {"may_lower": self.may_lower, "removed": removed}
        return facts


WHOLE: Final = Coverage()
# Number of newest removals in evidence.
LISTED_REMOVALS: Final = 5


def format_share(share: float) -> Figure:
    """Return a share as a percentage that reads 100 only if nothing is missing.

    >>> figures = [format_share(share) for share in (0.333, 0.9996, 1.0)]
    >>> [format(figure.value, figure.form) for figure in figures]
    ['33', '99.96', '100']
    """
    percent = 100.0 * share
    if share >= 1.0 or percent < 99.0:
        return Figure(percent, ".0f")
    return Figure(min(percent, 99.99), ".4g")


# ---- accumulating quantities: displacement, tilt, levels, pressures ------------------------------------------------
def measure_track(
    track: Track, criterion: Criterion, window_s: float, silence_s: float, interval_s: float, now_s: float | None
) -> Coverage:
    """Measure the coverage of the part of a track that a criterion uses.

    Args:
        window_s: The longest window of the criterion in seconds; 0 for a criterion on single values.
        silence_s: The allowed silence of the series in seconds.
        interval_s: The declared time between two readings in seconds.
        now_s: The instant of the decision in epoch seconds; None if silence is not judged, because a backlog is stored.
    """
    if not track.times_s and not track.set_aside:
        return WHOLE  # The health of the series reports that nothing was received.
    times_s = _drop_repeated(track)
    needed = count_needed(criterion, times_s, window_s)
    removed = _list_removed(track, times_s, needed)
    end_s = max([*track.times_s[-1:], *(at_s for at_s, _ in removed)], default=0.0)
    # With fewer readings than the dwell needs, the start is estimated from the interval.
    from_s = end_s - window_s - needed * interval_s
    if len(times_s) >= needed:
        # Start at the window of the oldest reading that the dwell needs.
        from_s = times_s[-needed] - window_s
    tolerated_s = max(silence_s, TOLERATED_SHARE * window_s)
    doubts = [_find_doubt(times_s, at_s, reason, end_s, interval_s) for at_s, reason in removed]
    gaps = _find_gaps(track.times_s, from_s, tolerated_s) if window_s > 0.0 else []
    for repeated in _list_repeated(track, times_s, end_s):
        if _is_settled(times_s, needed, repeated.to_s):
            if window_s > 0.0 and repeated.to_s > from_s and repeated.to_s - repeated.from_s > tolerated_s:
                gaps.append(repeated)
        else:
            doubts.append(repeated)
    if now_s is not None and now_s - end_s > silence_s:
        # The window of a silent series ends now.
        gaps.append(find_silence(end_s, now_s))
        end_s = now_s
    if not doubts and not gaps:
        return WHOLE
    span_s = max(end_s - from_s, interval_s)
    unknown_s = measure_union([*doubts, *gaps], from_s, end_s)
    share = max(0.0, min(1.0 - unknown_s / span_s, 1.0 - 1e-6))
    # Sound readings on both sides of every gap show the change meanwhile. While a backlog is stored, no gap counts as
    # bridged.
    is_bridged = all(now_s is not None and from_s < gap.from_s and gap.to_s < now_s for gap in gaps)
    may_lower = not doubts and is_bridged and share >= MIN_KNOWN_SHARE
    return Coverage(share, span_s, sort_removals([*doubts, *gaps]), may_lower=may_lower)


def find_silence(newest_s: float, now_s: float) -> Removal:
    """Return the time since the newest reading of a series that has been silent for longer than allowed."""
    return Removal(newest_s, now_s, _SILENT(at=Timestamp(newest_s)))


def count_needed(criterion: Criterion, times_s: Sequence[float], window_s: float) -> int:
    """Return how many sound readings must follow a removed one before it cannot lower the result any more.

    It is the number that the dwell needs: at least one, or two for a criterion on single values. If the newest window
    contains few epochs, it is at least the number that the fit needs.
    """
    needed = max(1 if window_s > 0.0 else MIN_VALUES, criterion.dwell.hits)
    least = criterion.kind.epochs
    if not least or not times_s:
        return needed
    count = len(times_s) - bisect_right(times_s, times_s[-1] - window_s)
    return max(needed, least) if count < FEW_FITS * least else needed


def _list_removed(track: Track, times_s: Sequence[float], needed: int) -> list[tuple[float, Message]]:
    """List the readings that were set aside and are followed by too few sound ones so far, oldest first."""
    newest_s = track.newest_s if track.newest_s is not None else float("inf")
    # A time stamp after the newest one is in the future. The health of the series reports a wrong clock.
    past = [(at_s, reason) for at_s, reason in track.set_aside if at_s <= newest_s]
    removed = {at_s: reason for at_s, reason in past if not _is_settled(times_s, needed, at_s)}
    return sorted(removed.items(), key=lambda item: item[0])


def _is_settled(times_s: Sequence[float], needed: int, at_s: float) -> bool:
    """Return whether the needed number of sound readings follows an instant."""
    return len(times_s) >= needed and times_s[-needed] >= at_s


def _drop_repeated(track: Track) -> Sequence[float]:
    """Return the epochs of a track without repeated values."""
    if not track.repeats:
        return track.times_s
    return [at_s for at_s in track.times_s if not any(first_s < at_s <= to_s for first_s, to_s in track.repeats)]


def _list_repeated(track: Track, times_s: Sequence[float], end_s: float) -> list[Removal]:
    """List the spans in which a track repeats one value: from its first epoch to the sound one after the last."""
    spans = []
    for first_s, last_s in track.repeats:
        index = bisect_right(times_s, last_s)
        if index < len(times_s):
            reason = _REPEATED(at=Timestamp(first_s), at2=Timestamp(last_s))
            spans.append(Removal(first_s, times_s[index], reason))
        else:
            spans.append(Removal(first_s, end_s, _REPEATS(at=Timestamp(first_s))))
    return spans


def _find_doubt(times_s: Sequence[float], at_s: float, reason: Message, end_s: float, interval_s: float) -> Removal:
    """Return the span around a removed reading: from the sound one before it to the sound one after it."""
    index = bisect_left(times_s, at_s)
    before_s = times_s[index - 1] if index else at_s - interval_s
    after_s = times_s[index] if index < len(times_s) else end_s
    return Removal(before_s, max(after_s, at_s), REMOVED(at=Timestamp(at_s), text=reason))


def _find_gaps(times_s: Sequence[float], from_s: float, tolerated_s: float) -> list[Removal]:
    """Find the spans in the window without a sound reading that are longer than tolerated."""
    if not times_s:
        return []
    first = bisect_right(times_s, from_s)
    window_times_s = times_s[max(0, first - 1) :]
    longest_s = max(map(sub, window_times_s[1:], window_times_s), default=0.0)
    if first > 0 and longest_s <= tolerated_s:
        return []
    gaps = []
    if first == 0 and times_s[0] - from_s > tolerated_s:
        gaps.append(Removal(from_s, times_s[0], STARTED(at=Timestamp(times_s[0]))))
    for before_s, at_s in pairwise(window_times_s):
        if at_s - before_s > tolerated_s:
            reason = NO_READING(at=Timestamp(before_s), at2=Timestamp(at_s))
            gaps.append(Removal(before_s, at_s, reason))
    return gaps


def measure_union(removals: Iterable[Removal], from_s: float, to_s: float) -> float:
    """Return how many seconds of a window the spans cover together, without counting overlaps twice."""
    covered_s = 0.0
    reached_s = from_s
    for removal in sorted(removals, key=lambda r: (r.from_s, r.to_s)):
        begin_s = max(removal.from_s, reached_s)
        end_s = min(removal.to_s, to_s)
        if end_s > begin_s:
            covered_s += end_s - begin_s
            reached_s = end_s
    return covered_s


def sort_removals(removals: Iterable[Removal]) -> tuple[Removal, ...]:
    """Sort spans by their end, the newest last."""
    return tuple(sorted(removals, key=lambda r: (r.to_s, r.from_s)))
