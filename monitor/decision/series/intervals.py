"""How often the readings of a series really come, and the silence that is allowed by it."""

from collections.abc import Iterable, Sequence
from itertools import islice, pairwise
from typing import Final

from monitor.domain.instruments.parents import GONE
from monitor.domain.site import SeriesSpec, Site, once_per_record

RECENT: Final = 8  # intervals by which it is told how often readings come
SETTLED: Final = 24  # and by which it is told that they come as declared again,
MISSED: Final = 2  # but for so many
ALIKE: Final = 0.1  # readings that come so nearly as often as declared come as declared
SELDOM: Final = 2.0  # declared intervals: readings that come no oftener lengthen a silence that nobody declared
LOOKED_AT: Final = 1000  # readings whose receptions tell how often a logger sends what it holds


def find_interval_s(times_s: Sequence[float], declared_s: float, *, was_rare: bool = False) -> float:
    """How often readings come, seconds, by the newest of them; as declared where few have come.

    Those that came too seldom until now do so until nearly all come as declared: a series that loses every second
    reading is rare all the time, not now and again.

    >>> find_interval_s([i * 10800.0 for i in range(6)], 3600.0)
    10800.0
    >>> find_interval_s([0.0, 3600.0, 18000.0], 3600.0)
    3600.0
    """
    recent = sorted(_measure_steps(times_s[-RECENT - 1 :]))
    if len(recent) < RECENT // 2:
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
    spec: SeriesSpec, times_s: Sequence[float], received_s: Iterable[float], *, was_rare: bool = False
) -> float:
    """The silence, seconds, that a series may keep where nobody declared it: three intervals, as readings really come.

    A logger that sends once a day what it measured each hour is given its day.

    Args:
        times_s: epochs of its newest readings, oldest first.
        received_s: when each came, the newest first; as few are looked at as show the pace.

    >>> spec = SeriesSpec("G1", "displacement", "mm", 3600.0, 10800.0, learns_silence=True)
    >>> find_silence_s(spec, [i * 21600.0 for i in range(6)], [])
    64800.0
    >>> find_silence_s(spec, [i * 3600.0 for i in range(120)], [i // 24 * 86400.0 for i in range(119, -1, -1)])
    259200.0
    """
    came_s = _list_receptions(received_s, spec.interval_s)
    every_s = max(
        find_interval_s(times_s, spec.interval_s, was_rare=was_rare), find_interval_s(came_s, spec.interval_s)
    )
    return GONE * every_s if every_s >= SELDOM * spec.interval_s else spec.max_silence_s


def _list_receptions(received_s: Iterable[float], interval_s: float) -> list[float]:
    """Instants of receptions, oldest first; what came within half an interval came together."""
    found: list[float] = []
    for at_s in islice(received_s, LOOKED_AT):
        if found and found[-1] - at_s <= interval_s / 2.0:
            found[-1] = min(at_s, found[-1])
        elif len(found) > RECENT:
            break
        else:
            found.append(at_s)
    return found[::-1]
