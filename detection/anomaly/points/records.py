"""Requests to a worker about satellite points, and its results."""

from dataclasses import dataclass
from typing import Any

from detection.anomaly.stages import Array

Thresholds = dict[str, dict[str, float]]  # detector -> part -> threshold


@dataclass(frozen=True, slots=True)
class PointTable:
    """Points on common acquisitions.

    Attributes:
        values: mm, NaN where there is none; shape (points, acquisitions).
        step_s: seconds that an acquisition stands for.
    """

    values: Array
    step_s: float


@dataclass(frozen=True, slots=True)
class PointThresholdRequest:
    """Count thresholds on a table, for a budget of false alarms per point and month of all detectors together."""

    table: PointTable
    budget: float


@dataclass(frozen=True, slots=True)
class PointThresholds:
    """Thresholds by detector and part, or in `reason` why there are none."""

    thresholds: Thresholds
    reason: str = ""


@dataclass(frozen=True, slots=True)
class PointAlarmRequest:
    """Find alarms at the acquisitions of each point from a column on.

    Attributes:
        table: the points.
        thresholds: of each detector and part.
        since: of each point the first column that is new; shape (points,), whole numbers.
        jump_mm: by how much a wrong number of cycles changes a value; None where nobody knows it.
    """

    table: PointTable
    thresholds: Thresholds
    since: Any
    jump_mm: float | None = None


@dataclass(frozen=True, slots=True)
class PointAlarm:
    """Where an alarm of a point begins.

    Attributes:
        row: of the table.
        column: of the table.
        detector: whose score is farthest above its threshold.
        part: of it.
        score: of it.
        threshold: of it.
        kind: what it looks like until one acquisition later.
        size_mm: of the change that it looks like.
        others: so many other points it was compared with; 0: its own past alone.
    """

    row: int
    column: int
    detector: str
    part: str
    score: float
    threshold: float
    kind: str
    size_mm: float
    others: int = 0


@dataclass(frozen=True, slots=True)
class AcquisitionCounts:
    """What points did at one acquisition: how many could be judged, went far up and far down, and by how many mm."""

    column: int
    judged: int
    up: int
    down: int
    middle_mm: float


@dataclass(frozen=True, slots=True)
class PointAlarmResult:
    """Alarms of a table of points, and what was counted.

    Attributes:
        alarms: that begin at a new acquisition.
        shared: of each acquisition that is new to some point.
        scored: points with a score at a new acquisition.
        withheld: points with a new acquisition and no score: their past is too short or too full of holes.
        going_on: points whose alarm began before.
        left_out: alarms that are not among the strongest of this table.
    """

    alarms: tuple[PointAlarm, ...] = ()
    shared: tuple[AcquisitionCounts, ...] = ()
    scored: int = 0
    withheld: int = 0
    going_on: int = 0
    left_out: int = 0
