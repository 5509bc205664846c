"""Determine how often the readings of a series are received, and how long the series may therefore be silent."""

from collections.abc import Iterable, Sequence
from itertools import islice, pairwise
from typing import Final

from monitor.sites.parents import DEFAULT_SILENCE_INTERVALS
from monitor.sites.records import SeriesSpec, Site

# Number of newest intervals that show how often readings are measured or received.
RECENT_INTERVALS: Final = 8
# A series counts as rarer than declared until at most `MAX_LONGER_INTERVALS` of its newest `RARITY_INTERVALS` intervals
# are longer than declared.
RARITY_INTERVALS: Final = 24
MAX_LONGER_INTERVALS: Final = 2
# Relative difference below which an interval counts as the declared one.
INTERVAL_TOLERANCE: Final = 0.1
# Only an interval of at least this many declared ones lengthens the allowed silence.
MIN_LENGTHENING: Final = 2.0
# Number of intervals between batches that show how often a logger sends.
MIN_BATCH_INTERVALS: Final = 2
# Largest number of readings of a series whose receptions are compared in one evaluation.
MAX_COMPARED_READINGS: Final = 10_000


def find_interval_s(
    times_s: Sequence[float], declared_s: float, *, was_rare: bool = False, least: int = RECENT_INTERVALS // 2
) -> float:
    """Return the usual interval between the newest readings, in seconds.

    A series that was rarer than declared stays so until nearly all of its intervals are as declared. Otherwise a series
    that loses every second reading would change between both states.

    Args:
        times_s: Epochs of the readings, oldest first.
        declared_s: The declared interval, in seconds.
        was_rare: Whether the series was rarer than declared in the last evaluation.
        least: With fewer intervals than this, the declared interval is returned.

    >>> find_interval_s([i * 10800.0 for i in range(6)], 3600.0)
    10800.0
    >>> find_interval_s([0.0, 3600.0, 18000.0], 3600.0)
    3600.0
    """
    recent = sorted(_measure_intervals(times_s[-RECENT_INTERVALS - 1 :]))
    if len(recent) < least:
        return declared_s
    usual_s = recent[(len(recent) - 1) // 2]
    if was_rare:
        intervals_s = _measure_intervals(times_s[-RARITY_INTERVALS - 1 :])
        longer = sorted(
            interval_s for interval_s in intervals_s if interval_s - declared_s > INTERVAL_TOLERANCE * declared_s
        )
        if len(longer) > MAX_LONGER_INTERVALS:
            usual_s = max(usual_s, longer[(len(longer) - 1) // 2])
    return declared_s if abs(usual_s - declared_s) <= INTERVAL_TOLERANCE * declared_s else usual_s


def _measure_intervals(times_s: Sequence[float]) -> list[float]:
    return [b - a for a, b in pairwise(times_s)]


def list_series_without_max_silence(site: Site) -> Sequence[SeriesSpec]:
    """Return the series of a site without a declared `max_silence`."""
    return [spec for station in site.stations for spec in station.series if spec.learns_silence]


def find_silence_s(
    spec: SeriesSpec,
    times_s: Sequence[float],
    receptions_s: Sequence[float],
    *,
    was_rare: bool = False,
) -> float:
    """Return how long a series without a declared `max_silence` may be silent, in seconds.

    The limit is three intervals between measurements or between receptions, whichever is longer. A logger that measures
    every minute and sends once a day may therefore be silent for three days. If that interval is less than
    `MIN_LENGTHENING` times the declared one, the limit is `spec.max_silence_s`.

    Args:
        spec: The series, without a declared `max_silence`.
        times_s: Epochs of its newest readings, oldest first.
        receptions_s: Instants of its newest receptions, oldest first, see `list_receptions`.
        was_rare: Whether the series was rarer than declared in the last evaluation.

    >>> spec = SeriesSpec("G1", "displacement", "mm", 3600.0, 10800.0, learns_silence=True)
    >>> find_silence_s(spec, [i * 21600.0 for i in range(6)], [])
    64800.0
    >>> find_silence_s(spec, [i * 3600.0 for i in range(120)], [day * 86400.0 for day in range(5)])
    259200.0
    """
    # A logger that sends readings at the declared interval, but many at a time, records between two uploads. A few
    # uploads are enough to show how often it sends.
    long_interval_s = MIN_LENGTHENING * spec.interval_s
    intervals_s = sorted(_measure_intervals(times_s))
    is_in_batches = not intervals_s or intervals_s[len(intervals_s) // 2] < long_interval_s
    least = MIN_BATCH_INTERVALS if is_in_batches else RECENT_INTERVALS // 2
    usual_s = max(
        find_interval_s(times_s, spec.interval_s, was_rare=was_rare),
        find_interval_s(receptions_s, spec.interval_s, least=least),
    )
    return DEFAULT_SILENCE_INTERVALS * usual_s if usual_s >= long_interval_s else spec.max_silence_s


def list_receptions(received_s: Iterable[float], interval_s: float) -> tuple[float, ...]:
    """Return the instants of the newest receptions of a series, oldest first.

    Readings received within half an interval of each other form a group. A group counts as one reception, unless it
    lasts longer than the pause before it. Then readings arrive continuously, and the group counts as one reception per
    interval.

    Args:
        received_s: When each of its newest readings was received, the newest first. Iteration stops as soon as enough
            receptions are found, at the latest after `MAX_COMPARED_READINGS` readings.

    >>> list_receptions([200.0, 199.0, 100.0, 99.0], 60.0)
    (99.0, 199.0)
    >>> list_receptions([200.0, 180.0, 160.0, 140.0, 120.0, 60.0], 60.0)
    (60.0, 140.0, 200.0)
    """
    return tuple(_join_receptions(islice(received_s, MAX_COMPARED_READINGS), interval_s)[::-1])


def add_remembered(
    receptions_s: Sequence[float], remembered_s: Iterable[float], interval_s: float
) -> tuple[float, ...]:
    """Return the newest receptions, with those that earlier evaluations found added if there are too few, oldest first.

    The earlier receptions of a logger that sends a thousand readings at a time are not among the readings that an
    evaluation loads.

    >>> add_remembered([99.0, 199.0], [0.0, 100.0], 60.0)
    (0.0, 99.0, 199.0)
    """
    if shows_pace(receptions_s):
        return tuple(receptions_s)
    return tuple(_join_receptions(sorted({*receptions_s, *remembered_s}, reverse=True), interval_s)[::-1])


def shows_pace(receptions_s: Sequence[float]) -> bool:
    """Return whether there are enough receptions to determine how often readings of a series are received."""
    return len(receptions_s) > RECENT_INTERVALS


def _join_receptions(received_s: Iterable[float], interval_s: float) -> list[float]:
    """Join receptions within half an interval of each other, and return the earliest of each group, newest first.

    If a group lasts longer than the pause before it, its readings were not uploaded together. It counts as one
    reception per interval, so that the pauses between such groups do not count as the time between uploads. The oldest
    group may be cut off at the start of the loaded readings: if it is long, its start is not used.
    """
    receptions: list[float] = []
    begin_s: float | None = None
    end_s = 0.0
    for received_at_s in received_s:
        if begin_s is None:
            begin_s = received_at_s
            end_s = received_at_s
        elif begin_s - received_at_s <= interval_s / 2.0:
            begin_s = min(received_at_s, begin_s)
        else:
            receptions += _split_group(begin_s, end_s, begin_s - received_at_s, interval_s)
            if shows_pace(receptions):
                return receptions[: RECENT_INTERVALS + 1]
            begin_s = received_at_s
            end_s = received_at_s
    if begin_s is None or end_s - begin_s > RECENT_INTERVALS * interval_s:
        return receptions
    return [*receptions, begin_s]


def _split_group(begin_s: float, end_s: float, pause_s: float, interval_s: float) -> list[float]:
    """Return the receptions of a group, newest first: its start, or one per interval if it was not an upload.

    Args:
        begin_s: Earliest reception of the group, in epoch seconds.
        end_s: Latest reception of the group, in epoch seconds.
        pause_s: Time without receptions before the group, in seconds.
        interval_s: Sampling interval, in seconds.
    """
    if end_s - begin_s <= pause_s:
        return [begin_s]
    count = min(RECENT_INTERVALS + 1, int((end_s - begin_s) / interval_s) + 1)
    return [end_s - number * interval_s for number in range(count)]
