"""How often the readings of a series really come, and the silence that is allowed by it."""

from collections.abc import Iterable, Sequence
from itertools import islice, pairwise
from typing import Final

from monitor.sites.parents import GONE
from monitor.sites.records import SeriesSpec, Site, once_per_record

RECENT: Final = 8  # intervals by which it is told how often readings come
SETTLED: Final = 24  # and by which it is told that they come as declared again,
MISSED: Final = 2  # but for so many
ALIKE: Final = 0.1  # readings that come so nearly as often as declared come as declared
SELDOM: Final = 2.0  # declared intervals: readings that come no oftener lengthen a silence that nobody declared
BATCHES_LEAST: Final = 2  # intervals between batches that show how often a logger sends
READINGS_MOST: Final = 10_000  # readings of a series whose receptions are compared in one evaluation


def find_interval_s(
    times_s: Sequence[float], declared_s: float, *, was_rare: bool = False, least: int = RECENT // 2
) -> float:
    """How often readings come, seconds, by the newest of them; as declared where few have come.

    Those that came too seldom until now do so until nearly all come as declared: a series that loses every second
    reading is rare all the time, not now and again.

    Args:
        least: With fewer intervals than this the declared one is returned.

    >>> find_interval_s([i * 10800.0 for i in range(6)], 3600.0)
    10800.0
    >>> find_interval_s([0.0, 3600.0, 18000.0], 3600.0)
    3600.0
    """
    recent = sorted(_measure_steps(times_s[-RECENT - 1 :]))
    if len(recent) < least:
        return declared_s
    usual_s = recent[(len(recent) - 1) // 2]
    if was_rare:
        steps = _measure_steps(times_s[-SETTLED - 1 :])
        longer = sorted(step for step in steps if step - declared_s > ALIKE * declared_s)
        if len(longer) > MISSED:
            usual_s = max(usual_s, longer[(len(longer) - 1) // 2])
    return declared_s if abs(usual_s - declared_s) <= ALIKE * declared_s else usual_s


def _measure_steps(times_s: Sequence[float]) -> list[float]:
    return [b - a for a, b in pairwise(times_s)]


@once_per_record
def list_learning(site: Site) -> Sequence[SeriesSpec]:
    """The series of a site of which nobody declared how long they may be silent."""
    return [spec for station in site.stations for spec in station.series if spec.learns_silence]


def find_silence_s(
    spec: SeriesSpec,
    times_s: Sequence[float],
    receptions_s: Sequence[float],
    *,
    was_rare: bool = False,
) -> float:
    """Return how long, in seconds, a series without a declared `max_silence` may be silent.

    The limit is three intervals, either as readings are measured or as they are received, whichever is longer. A logger
    that sends once a day what it measured every minute may therefore be silent for three days.

    Args:
        times_s: Epochs of its newest readings, oldest first.
        receptions_s: Instants of its newest receptions, oldest first, see `list_receptions`.

    >>> spec = SeriesSpec("G1", "displacement", "mm", 3600.0, 10800.0, learns_silence=True)
    >>> find_silence_s(spec, [i * 21600.0 for i in range(6)], [])
    64800.0
    >>> find_silence_s(spec, [i * 3600.0 for i in range(120)], [day * 86400.0 for day in range(5)])
    259200.0
    """
    # A logger that sends readings as dense as declared, but many at a time, was recording between two uploads. Fewer
    # uploads than readings are enough to know its pace.
    usual_steps_s = sorted(_measure_steps(times_s))
    in_batches = not usual_steps_s or usual_steps_s[len(usual_steps_s) // 2] < SELDOM * spec.interval_s
    least = BATCHES_LEAST if in_batches else RECENT // 2
    every_s = max(
        find_interval_s(times_s, spec.interval_s, was_rare=was_rare),
        find_interval_s(receptions_s, spec.interval_s, least=least),
    )
    return GONE * every_s if every_s >= SELDOM * spec.interval_s else spec.max_silence_s


def list_receptions(received_s: Iterable[float], interval_s: float) -> tuple[float, ...]:
    """Return the instants of the newest receptions of a series, oldest first.

    One reception may bring any number of readings. Readings received within half an interval of each other count as
    received together, unless they were received for longer than the pause before them: then they arrive continuously.

    Args:
        received_s: When each of its newest readings was received, the newest first. Iteration stops as soon as enough
            receptions are found, at the latest after `READINGS_MOST` readings.

    >>> list_receptions([200.0, 199.0, 100.0, 99.0], 60.0)
    (99.0, 199.0)
    >>> list_receptions([200.0, 180.0, 160.0, 140.0, 120.0, 60.0], 60.0)
    (60.0, 140.0, 200.0)
    """
    return tuple(_join_receptions(islice(received_s, READINGS_MOST), interval_s)[::-1])


def add_remembered(
    receptions_s: Sequence[float], remembered_s: Iterable[float], interval_s: float
) -> tuple[float, ...]:
    """Return the newest receptions, completed by those that earlier evaluations found, oldest first.

    A logger that sends a thousand readings at a time has its earlier receptions outside of the readings that an
    evaluation loads.

    >>> add_remembered([99.0, 199.0], [0.0, 100.0], 60.0)
    (0.0, 99.0, 199.0)
    """
    if shows_pace(receptions_s):
        return tuple(receptions_s)
    return tuple(_join_receptions(sorted({*receptions_s, *remembered_s}, reverse=True), interval_s)[::-1])


def shows_pace(receptions_s: Sequence[float]) -> bool:
    """Return whether receptions are enough to show how often a series is received."""
    return len(receptions_s) > RECENT


def _join_receptions(received_s: Iterable[float], interval_s: float) -> list[float]:
    """Return receptions, newest first; those within half an interval of each other are joined to the earliest.

    A stretch that lasted longer than the pause before it was no upload of recorded readings. It counts as one reception
    per interval, so that pauses between such stretches are not taken for the time between uploads. The oldest stretch
    may be cut off by the loaded history: if it lasted long, its beginning says nothing.
    """
    found: list[float] = []
    end_s = begin_s = None
    for at_s in received_s:
        if begin_s is None or end_s is None:
            end_s = begin_s = at_s
        elif begin_s - at_s <= interval_s / 2.0:
            begin_s = min(at_s, begin_s)
        else:
            found += _split_stretch(begin_s, end_s, begin_s - at_s, interval_s)
            if shows_pace(found):
                return found[: RECENT + 1]
            end_s = begin_s = at_s
    if begin_s is None or end_s is None or end_s - begin_s > RECENT * interval_s:
        return found
    return [*found, begin_s]


def _split_stretch(begin_s: float, end_s: float, pause_s: float, interval_s: float) -> list[float]:
    """Return the receptions of a stretch, newest first: its beginning, or one per interval if it was no upload."""
    if end_s - begin_s <= pause_s:
        return [begin_s]
    count = min(RECENT + 1, int((end_s - begin_s) / interval_s) + 1)
    return [end_s - number * interval_s for number in range(count)]
