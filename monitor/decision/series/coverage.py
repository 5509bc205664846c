"""What is missing of the readings that a criterion uses: the share of its window that is known, and what was removed.

Missing is unknown, never zero. Every rule that sets readings aside, doubts them or does not receive them lowers the
coverage of each result computed from that series, and a site with such a series does not see "full".

Two kinds of quantities differ in how long a loss matters:

* Rain is a sum of amounts. What was lost is lost for the whole window.
* Displacement, tilt, water levels and pressures accumulate: the next sound reading shows what happened meanwhile. A
  removed reading stays in doubt until as many sound readings have followed it as the dwell of the criterion needs.
  While sound and removed readings alternate, that never happens. Values that an instrument repeats for longer than
  chance would make it are in doubt in the same way: they prove no rest.

A result lowers a vote only if no removed reading in its window is in doubt, and what never came cannot matter: of
accumulating quantities at least half of the window is known, with sound readings on both sides of every gap; of rain
no gap is longer than the allowed silence, and the sum stays below the recovery limit whatever the missing rain was (see
`monitor.decision.criteria.rain_coverage` for how much a gap may hold).
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from operator import sub
from typing import Any, Final

from monitor.decision.series.tracks import Track
from monitor.sites.records import Criterion
from monitor.text.message import Duration, Figure, Message, Template, Timestamp

NO_READING: Final = Template("coverage.no_reading", "no reading from {at} to {at2}")
_SILENT: Final = Template("coverage.silent", "no reading since {at}")
STARTED: Final = Template("coverage.started", "its first reading is of {at}")
_SOME_MISSING: Final = Template("coverage.some_missing", "readings are missing")()
REMOVED: Final = Template("coverage.removed", "the reading of {at} is set aside: {text}")
_REPEATS: Final = Template("coverage.repeats", "it repeats one value since {at}")
_REPEATED: Final = Template("coverage.repeated", "it repeated one value from {at} to {at2}")
_SHARE: Final = Template("coverage.share", "{share} % of the last {duration} known: {text}")
_NONE_KNOWN: Final = Template("coverage.none", "nothing known: {text}")

# Gaps shorter than this share of the window change a fitted rate by less than one percent and count as known.
TOLERATED_SHARE: Final = 0.1
# With less of its window known, a fitted rate may be a fifth too low, which is the usual distance to recovery.
LEAST_KNOWN: Final = 0.5
# A criterion that compares single values needs at least this many sound readings, even if its dwell is shorter.
LEAST_VALUES: Final = 2
# A window with fewer than this many times the epochs of the fit is judged on few epochs: each one matters.
FEW_FITS: Final = 2


@dataclass(frozen=True, slots=True)
class Removal:
    """A stretch of time of which a series is not known, and why."""

    from_s: float
    to_s: float
    reason: Message


@dataclass(frozen=True, slots=True)
class Coverage:
    """How much of the window of a result is known.

    Attributes:
        share: 0 to 1; 1 only if nothing is missing.
        window_s: Length of the window in seconds.
        removals: What is missing of it, oldest first.
        may_lower: False while the missing part could hide that a level still stands.
        holds: True while missing rain alone keeps the result from falling to what is known.
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
        """Return a sentence for people: the known share of the window, and the newest reason why not all of it is."""
        reason = self.removals[-1].reason if self.removals else _SOME_MISSING
        if self.window_s <= 0.0 or self.share <= 0.0:
            return _NONE_KNOWN(text=reason)
        return _SHARE(share=format_share(self.share), duration=Duration(self.window_s), text=reason)

    def to_json(self) -> dict[str, Any]:
        """Return the coverage JSON-ready, as evidence keeps it."""
        found: dict[str, Any] = {"share": round(self.share, 6), "window_s": self.window_s}
        if self.removals:
            removed = [{"from_s": r.from_s, "to_s": r.to_s, "reason": r.reason} for r in self.removals[-LISTED:]]
            found |= {"may_lower": self.may_lower, "removed": removed}
        return found


WHOLE: Final = Coverage()
LISTED: Final = 5  # removals that evidence lists, the newest


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


# ---- displacement, tilt, levels, pressures: the next sound reading shows what happened -----------------------------
def measure_track(
    track: Track, criterion: Criterion, window_s: float, silence_s: float, interval_s: float, now_s: float
) -> Coverage:
    """Measure how much of what a criterion uses of a track is known.

    Args:
        window_s: The longest window of the criterion; zero where it compares values as they are.
        silence_s: The silence that the series may keep.
        interval_s: The declared time between two readings.
        now_s: The instant of the decision; minus infinity while a backlog drains, when silence is not judged.
    """
    if not track.times_s and not track.set_aside:
        return WHOLE  # nothing has come: the health of the series reports it
    times_s = _drop_repeated(track)
    needed = count_needed(criterion, times_s, window_s)
    removed = _list_removed(track, times_s, needed)
    end_s = max([*track.times_s[-1:], *(at_s for at_s, _ in removed)], default=0.0)
    from_s = times_s[-needed] - window_s if len(times_s) >= needed else end_s - window_s - needed * interval_s
    tolerated_s = max(silence_s, TOLERATED_SHARE * window_s)
    doubts = [_find_doubt(times_s, at_s, reason, end_s, interval_s) for at_s, reason in removed]
    gaps = _find_gaps(track.times_s, from_s, tolerated_s) if window_s > 0.0 else []
    for repeated in _list_repeated(track, times_s, end_s):
        if _is_settled(times_s, needed, repeated.to_s):
            if window_s > 0.0 and repeated.to_s > from_s and repeated.to_s - repeated.from_s > tolerated_s:
                gaps.append(repeated)
        else:
            doubts.append(repeated)
    if now_s - end_s > silence_s:
        gaps.append(find_silence(end_s, now_s))
        end_s = now_s
    if not doubts and not gaps:
        return WHOLE
    span_s = max(end_s - from_s, interval_s)  # a silent series is measured until now
    unknown_s = measure_union([*doubts, *gaps], from_s, end_s)
    share = max(0.0, min(1.0 - unknown_s / span_s, 1.0 - 1e-6))
    is_bridged = all(from_s < gap.from_s and gap.to_s < now_s for gap in gaps) and share >= LEAST_KNOWN
    return Coverage(share, span_s, sort_removals([*doubts, *gaps]), may_lower=not doubts and is_bridged)


def find_silence(newest_s: float, now_s: float) -> Removal:
    """Return the time since the newest reading of a series that has been silent for longer than it may be."""
    return Removal(newest_s, now_s, _SILENT(at=Timestamp(newest_s)))


def count_needed(criterion: Criterion, times_s: Sequence[float], window_s: float) -> int:
    """Return how many sound readings must follow a removed one before it cannot lower the result any more.

    As many as the dwell needs, one at least; where the newest window holds few epochs, as many as the fit needs.
    """
    needed = max(1 if window_s > 0.0 else LEAST_VALUES, criterion.dwell.hits)
    least = criterion.kind.epochs
    if not least or not times_s:
        return needed
    count = len(times_s) - bisect_right(times_s, times_s[-1] - window_s)
    return max(needed, least) if count < FEW_FITS * least else needed


def _list_removed(track: Track, times_s: Sequence[float], needed: int) -> list[tuple[float, Message]]:
    """List readings that were set aside and that too few sound ones have followed yet, oldest first."""
    newest_s = track.newest_s if track.newest_s is not None else float("inf")
    # a reading from the future is refused for its time; the health of the series reports a wrong clock
    found = {
        at_s: reason for at_s, reason in track.set_aside if at_s <= newest_s and not _is_settled(times_s, needed, at_s)
    }
    return sorted(found.items(), key=lambda item: item[0])


def _is_settled(times_s: Sequence[float], needed: int, at_s: float) -> bool:
    """Whether as many sound readings as needed have followed an instant."""
    return len(times_s) >= needed and times_s[-needed] >= at_s


def _drop_repeated(track: Track) -> Sequence[float]:
    """Return the epochs of a track without those that repeat the value of the one before for too long."""
    if not track.repeats:
        return track.times_s
    return [at_s for at_s in track.times_s if not any(first_s < at_s <= to_s for first_s, to_s in track.repeats)]


def _list_repeated(track: Track, times_s: Sequence[float], end_s: float) -> list[Removal]:
    """List the stretches in which a track repeats one value: from its first epoch to the sound one after the last."""
    found = []
    for first_s, last_s in track.repeats:
        place = bisect_right(times_s, last_s)
        if place < len(times_s):
            reason = _REPEATED(at=Timestamp(first_s), at2=Timestamp(last_s))
            found.append(Removal(first_s, times_s[place], reason))
        else:
            found.append(Removal(first_s, end_s, _REPEATS(at=Timestamp(first_s))))
    return found


def _find_doubt(times_s: Sequence[float], at_s: float, reason: Message, end_s: float, interval_s: float) -> Removal:
    """Return the stretch around a removed reading: from the sound one before it to the sound one after it."""
    place = bisect_left(times_s, at_s)
    before_s = times_s[place - 1] if place else at_s - interval_s
    after_s = times_s[place] if place < len(times_s) else end_s
    return Removal(before_s, max(after_s, at_s), REMOVED(at=Timestamp(at_s), text=reason))


def _find_gaps(times_s: Sequence[float], from_s: float, tolerated_s: float) -> list[Removal]:
    """Find stretches longer than tolerated without a sound reading that reach into the window."""
    if not times_s:
        return []
    first = bisect_right(times_s, from_s)
    shown_s = times_s[max(0, first - 1) :]
    longest_s = max(map(sub, shown_s[1:], shown_s), default=0.0)
    if first > 0 and longest_s <= tolerated_s:
        return []  # the usual case
    found = []
    if first == 0 and times_s[0] - from_s > tolerated_s:
        found.append(Removal(from_s, times_s[0], STARTED(at=Timestamp(times_s[0]))))
    for before_s, at_s in pairwise(shown_s):
        if at_s - before_s > tolerated_s:
            reason = NO_READING(at=Timestamp(before_s), at2=Timestamp(at_s))
            found.append(Removal(before_s, at_s, reason))
    return found


def measure_union(removals: Iterable[Removal], from_s: float, to_s: float) -> float:
    """Return how many seconds of a window the stretches cover together."""
    covered_s = 0.0
    reached_s = from_s
    for removal in sorted(removals, key=lambda r: (r.from_s, r.to_s)):
        begin_s, end_s = max(removal.from_s, reached_s), min(removal.to_s, to_s)
        if end_s > begin_s:
            covered_s += end_s - begin_s
            reached_s = end_s
    return covered_s


def sort_removals(removals: Iterable[Removal]) -> tuple[Removal, ...]:
    """Sort stretches by their end, the newest last."""
    return tuple(sorted(removals, key=lambda r: (r.to_s, r.from_s)))
