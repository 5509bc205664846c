"""One line per cause: what points do at one place and time together, and what all of them do at one acquisition."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import cos, hypot, radians
from statistics import median
from typing import Final

from slopeward_earth.points.detection.records import AcquisitionCounts
from slopeward_earth.points.detection.shapes import is_phase_jump

CELL_M: Final = 100.0  # alarms in the same or in adjoining squares of this side belong together,
APART: Final = 2  # where they began at most so many acquisitions apart
HALF: Final = 0.5  # of the points that could be judged: what so many do the same way is common to all
FEWEST: Final = 10  # points, of which fewer have nothing in common
SURE_MM: Final = 1.5  # noise of what all points share, for the size of a jump
METRES_PER_DEGREE: Final = 111_194.9  # of latitude, on the mean sphere


@dataclass(frozen=True, slots=True)
class CommonShift:
    """What most points did the same way: of the processing or its reference, or of all the ground."""

    first: int  # acquisition at which it began
    last: int  # acquisition until which it went on
    points: int  # that took part at its strongest acquisition
    judged: int  # points that could be judged there
    kind: str  # `phase-jump`, where it is as large as whole wrong cycles, else `common-mode`
    size_mm: float  # of the first acquisition


@dataclass(frozen=True, slots=True)
class LocatedAlarm:
    """An alarm of a point: where, at which acquisition, and how strong in thresholds."""

    latitude: float
    longitude: float
    at: int
    kind: str
    size_mm: float
    ratio: float


@dataclass(frozen=True, slots=True)
class AlarmGroup:
    """Alarms that belong together, as places in the list that was given."""

    members: tuple[int, ...]  # of the list, the strongest first
    kind: str  # that most of them have
    size_mm: float  # the middle one
    latitude: float  # of their middle
    longitude: float  # of their middle
    radius_m: float  # within which all of them lie


def join_shared(tables: Sequence[Sequence[AcquisitionCounts]]) -> list[AcquisitionCounts]:
    """What the points of several tables did, as if they had been one; in order of acquisitions."""
    by_column: dict[int, list[AcquisitionCounts]] = {}
    for one in (s for table in tables for s in table):
        by_column.setdefault(one.column, []).append(one)
    found = []
    for column, parts in sorted(by_column.items()):
        judged = sum(p.judged for p in parts)
        middle = sum(p.judged * p.middle_mm for p in parts) / judged
        found.append(AcquisitionCounts(column, judged, sum(p.up for p in parts), sum(p.down for p in parts), middle))
    return found


def find_common(shared: Sequence[AcquisitionCounts], jump_mm: float | None) -> list[CommonShift]:
    """What half of the points or more did the same way; acquisitions one after the other are one happening.

    >>> rows = [AcquisitionCounts(4, 20, 0, 0, 0.1), AcquisitionCounts(5, 20, 19, 0, 27.0)]
    >>> [(c.first, c.last, c.kind) for c in find_common(rows, 27.7)]
    [(5, 5, 'phase-jump')]
    """
    found: list[CommonShift] = []
    for one in shared:
        part = max(one.up, one.down)
        if one.judged < FEWEST or part < HALF * one.judged:
            continue
        if found and one.column - found[-1].last == 1:
            before = found.pop()
            points, judged = max((before.points, before.judged), (part, one.judged))
            found.append(CommonShift(before.first, one.column, points, judged, before.kind, before.size_mm))
            continue
        is_jump = jump_mm is not None and is_phase_jump(one.middle_mm, SURE_MM, jump_mm)
        kind = "phase-jump" if is_jump else "common-mode"
        found.append(CommonShift(one.column, one.column, part, one.judged, kind, one.middle_mm))
    return found


def belongs(common: CommonShift, at: int, size_mm: float) -> bool:
    """Whether an alarm is a part of what is common."""
    return common.first <= at <= common.last and size_mm * common.size_mm > 0


def gather(alarms: Sequence[LocatedAlarm]) -> list[AlarmGroup]:
    """The lines of alarms, those of many points first."""
    if not alarms:
        return []
    north, east = _lay(alarms)
    squares: dict[tuple[int, int, int], list[int]] = {}
    for k, one in enumerate(alarms):
        squares.setdefault((int(north[k] // CELL_M), int(east[k] // CELL_M), one.at), []).append(k)
    root = {square: square for square in squares}

    def find(square: tuple[int, int, int]) -> tuple[int, int, int]:
        while root[square] != square:
            root[square] = square = root[root[square]]
        return square

    for y, x, at in squares:
        for other in ((y + j, x + i, at + k) for j in (-1, 0, 1) for i in (-1, 0, 1) for k in range(-APART, APART + 1)):
            if other in squares:
                low, high = sorted((find((y, x, at)), find(other)))
                root[high] = low
    groups: dict[tuple[int, int, int], list[int]] = {}
    for square, members in squares.items():
        groups.setdefault(find(square), []).extend(members)
    lines = [_describe(alarms, members) for members in groups.values()]
    return sorted(lines, key=lambda line: (-len(line.members), -alarms[line.members[0]].ratio, line.members))


def _lay(alarms: Sequence[LocatedAlarm]) -> tuple[list[float], list[float]]:
    shrink = cos(radians(median(one.latitude for one in alarms)))
    north = [one.latitude * METRES_PER_DEGREE for one in alarms]
    return north, [one.longitude * METRES_PER_DEGREE * shrink for one in alarms]


def _describe(alarms: Sequence[LocatedAlarm], members: list[int]) -> AlarmGroup:
    mine = [alarms[k] for k in members]
    latitude, longitude = (sum(v) / len(mine) for v in zip(*((o.latitude, o.longitude) for o in mine), strict=True))
    shrink = cos(radians(latitude))
    radius_m = max(hypot(o.latitude - latitude, (o.longitude - longitude) * shrink) for o in mine) * METRES_PER_DEGREE
    kind = Counter(o.kind for o in sorted(mine, key=lambda o: -o.ratio)).most_common(1)[0][0]
    order = sorted(members, key=lambda k: (-alarms[k].ratio, k))
    return AlarmGroup(tuple(order), kind, median(o.size_mm for o in mine), latitude, longitude, radius_m)
