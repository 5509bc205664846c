"""Requests to a worker about satellite points, and its results."""

from dataclasses import dataclass
from typing import Any

from detection.anomaly.stages import Array
from detection.reasons import Explanation

Thresholds = dict[str, dict[str, float]]  # detector -> part -> threshold


@dataclass(frozen=True, slots=True)
class PointTable:
    """Points on common acquisitions."""

    values: Array  # mm, NaN where there is none; shape (points, acquisitions)
    step_s: float  # seconds that an acquisition stands for


@dataclass(frozen=True, slots=True)
class PointThresholdRequest:
    """Count thresholds on a table, for a budget of false alarms per point and month of all detectors together."""

    table: PointTable
    budget: float


@dataclass(frozen=True, slots=True)
class PointThresholds:
    """Thresholds by detector and part, or in `reason` why there are none."""

    thresholds: Thresholds
    reason: Explanation = ""


@dataclass(frozen=True, slots=True)
class PointAlarmRequest:
    """Find alarms at the acquisitions of each point from a column on."""

    table: PointTable  # the points
    thresholds: Thresholds  # of each detector and part
    since: Any  # of each point the first column that is new; shape (points,), whole numbers
    jump_mm: float | None = None  # by how much a wrong number of cycles changes a value; None where nobody knows it


@dataclass(frozen=True, slots=True)
class PointAlarm:
    """Where an alarm of a point begins."""

    row: int  # of the table
    column: int  # of the table
    detector: str  # whose score is farthest above its threshold
    part: str
    score: float
    threshold: float
    kind: str  # what it looks like until one acquisition later
    size_mm: float  # of the change that it looks like
    others: int = 0  # so many other points it was compared with; 0: its own past alone


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
    """Alarms of a table of points, and what was counted."""

    alarms: tuple[PointAlarm, ...] = ()  # that begin at a new acquisition
    shared: tuple[AcquisitionCounts, ...] = ()  # of each acquisition that is new to some point
    scored: int = 0  # points with a score at a new acquisition
    withheld: int = 0  # points with a new acquisition and no score: their past is too short or too full of holes
    going_on: int = 0  # points whose alarm began before
    left_out: int = 0  # alarms that are not among the strongest of this table
