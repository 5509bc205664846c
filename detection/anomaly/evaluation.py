"""How good a detector is: events found, runs that were right, false alarms per sensor-month; no point adjustment."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from detection.anomaly.faults import Event
from detection.anomaly.records import MONTH_S, RUN_GAP_S
from detection.anomaly.stages import Array
from detection.anomaly.windows import Series


@dataclass(frozen=True, slots=True)
class DetectionOutcome:
    """What one detector did on labelled data."""

    events: int  # events that were there
    found: int  # events with an alarm inside them
    runs: int  # alarm runs outside aftermaths
    right: int  # runs that touch an event
    months: float  # sensor-months outside events and aftermaths
    by_kind: dict[str, tuple[int, int]]  # kind -> (found, events)
    delays_days: tuple[float, ...]  # delay of the first alarm inside each found event

    @property
    def recall(self) -> float:
        """Share of the events that were found; NaN without events."""
        return self.found / self.events if self.events else float("nan")

    @property
    def precision(self) -> float:
        """Share of the runs that touch an event; NaN without runs."""
        return self.right / self.runs if self.runs else float("nan")

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        total = self.precision + self.recall
        return 2.0 * self.precision * self.recall / total if total > 0 else 0.0

    @property
    def false_alarms_per_sensor_month(self) -> float:
        """Runs that touch no event, per sensor-month; NaN where nothing was watched."""
        return (self.runs - self.right) / self.months if self.months > 0 else float("nan")


def evaluate_alarms(
    samples: Mapping[str, Series], alarms: Mapping[str, Array], events: Sequence[Event], from_share: float
) -> DetectionOutcome:
    """Count events, runs and false alarms.

    An event is found when a cell inside it raises an alarm. Alarms less than seven days apart are one run; a run that
    touches an event is right, one that lies in an aftermath alone is not counted, any other is false.

    Args:
        alarms: boolean per cell, as float or bool, per station.
        from_share: cells before this share of each record are not judged.
    """
    found, runs, right, cells = 0, 0, 0, 0
    by_kind: dict[str, tuple[int, int]] = {}
    delays: list[float] = []
    step_s = 1.0
    for name in sorted(samples):
        series = samples[name]
        step_s = series.step_s
        start = int(len(series.values) * from_share)
        raised = np.flatnonzero(np.asarray(alarms[name], dtype=bool))
        raised = raised[raised >= start]
        mine = [e for e in events if e.station == name]
        quiet = np.zeros(len(series.values), dtype=bool)
        quiet[:start] = True
        for event in mine:
            hits = raised[(raised >= event.first) & (raised <= event.last)]
            found += bool(hits.size)
            if hits.size:
                delays.append(float((hits[0] - event.first) * step_s / 86400.0))
            seen, count = by_kind.get(event.kind, (0, 0))
            by_kind[event.kind] = (seen + bool(hits.size), count + 1)
            quiet[event.first : event.quiet_until + 1] = True
        cells += int((~quiet & series.observed).sum())
        groups = (
            np.split(raised, np.flatnonzero(np.diff(series.times_s[raised]) > RUN_GAP_S) + 1) if raised.size else []
        )
        for group in groups:
            touches = any(((group >= e.first) & (group <= e.last)).any() for e in mine)
            if touches:
                right += 1
            elif quiet[group].all():
                continue
            runs += 1
    months = cells * step_s / MONTH_S
    return DetectionOutcome(len(events), found, runs, right, months, dict(sorted(by_kind.items())), tuple(delays))
