"""Compare alarms with known events: events found, correct alarms, and false alarms per sensor-month."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from detection.anomaly.faults import Event
from detection.anomaly.records import MONTH_S, RUN_GAP_S
from detection.anomaly.stages import Array
from detection.anomaly.windows import Series


@dataclass(frozen=True, slots=True)
class DetectionOutcome:
    """What a detector found on a record with known events.

    Attributes:
        events: Number of events.
        found: Events with an alarm inside them.
        runs: Runs of alarms, without those in an aftermath alone.
        correct_runs: Runs that touch an event.
        months: Sensor-months outside events and aftermaths.
        by_kind: Events found and events, by kind.
        delays_days: Time from the begin of each event that was found to its first alarm, days.
    """

    events: int
    found: int
    runs: int
    correct_runs: int
    months: float
    by_kind: dict[str, tuple[int, int]]
    delays_days: tuple[float, ...]

    @property
    def recall(self) -> float:
        """Share of the events that were found; NaN without events."""
        return self.found / self.events if self.events else float("nan")

    @property
    def precision(self) -> float:
        """Share of the runs that touch an event; NaN without runs."""
        return self.correct_runs / self.runs if self.runs else float("nan")

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        total = self.precision + self.recall
        return 2.0 * self.precision * self.recall / total if total > 0 else 0.0

    @property
    def false_alarms_per_sensor_month(self) -> float:
        """Runs that touch no event, per sensor-month; NaN without readings outside events."""
        return (self.runs - self.correct_runs) / self.months if self.months > 0 else float("nan")


def evaluate_alarms(
    samples: Mapping[str, Series], alarms: Mapping[str, Array], events: Sequence[Event], from_share: float
) -> DetectionOutcome:
    """Count the events that were found, and the false alarms.

    An event is found if a cell inside it alarms. Alarms less than seven days apart are one run. A run that touches an
    event is correct, a run that is only in an aftermath is not counted, and any other run is false. Alarms are not
    moved to the event that they belong to (no point adjustment).

    Args:
        alarms: For each series, 1 in cells that alarm, else 0.
        from_share: Cells before this share of each record are not evaluated.
    """
    found, runs, correct_runs, cells = 0, 0, 0, 0
    by_kind: dict[str, tuple[int, int]] = {}
    delays: list[float] = []
    step_s = 1.0
    for label in sorted(samples):
        series = samples[label]
        step_s = series.step_s
        start = int(len(series.values) * from_share)
        alarm_cells = np.flatnonzero(np.asarray(alarms[label], dtype=bool))
        alarm_cells = alarm_cells[alarm_cells >= start]
        events_of_series = [event for event in events if event.station == label]
        is_excluded = np.zeros(len(series.values), dtype=bool)
        is_excluded[:start] = True
        for event in events_of_series:
            hits = alarm_cells[(alarm_cells >= event.first) & (alarm_cells <= event.last)]
            found += bool(hits.size)
            if hits.size:
                delays.append(float((hits[0] - event.first) * step_s / 86400.0))
            found_of_kind, count = by_kind.get(event.kind, (0, 0))
            by_kind[event.kind] = (found_of_kind + bool(hits.size), count + 1)
            is_excluded[event.first : event.quiet_until + 1] = True
        cells += int((~is_excluded & series.observed).sum())
        groups = []
        if alarm_cells.size:
            pauses = np.flatnonzero(np.diff(series.times_s[alarm_cells]) > RUN_GAP_S)
            groups = np.split(alarm_cells, pauses + 1)
        for group in groups:
            if any(((group >= event.first) & (group <= event.last)).any() for event in events_of_series):
                correct_runs += 1
            elif is_excluded[group].all():
                continue
            runs += 1
    months = cells * step_s / MONTH_S
    kinds = dict(sorted(by_kind.items()))
    return DetectionOutcome(len(events), found, runs, correct_runs, months, kinds, tuple(delays))
