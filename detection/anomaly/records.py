"""Requests to detectors and their results: frozen records that can be passed to a worker process and back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from detection.reasons import Explanation, ReasonedError


class AnomalyError(ReasonedError):
    """Base of the errors of anomaly detection; the text is one line."""


class InputError(AnomalyError):
    """The input cannot be used: a missing key, an unknown detector, or times that are not numbers."""


class ThresholdError(AnomalyError):
    """No threshold can be stated for a budget; the text says what is missing."""


class DetectorCheckpointError(AnomalyError):
    """A checkpoint cannot be read, or its content does not match its name."""


MONTH_S: Final = 30.4375 * 86400.0
# Alarms of a series that are less than this apart are one alarm.
RUN_GAP_S: Final = 7.0 * 86400.0
# Readings are missing if the time from one reading to the next is longer than this many intervals.
HOLE: Final = 3.5
# A score this many times as large is no echo of an earlier alarm, and more than a person has dismissed.
STRONGER: Final = 2.0
# Smallest threshold of a part. A record can be so smooth that nothing has a score.
LEAST: Final = 1.0
# The factors between the units of a quantity, and how many readings distinguish a change of unit from a step of the
# ground. The ratio of such a step may equal that of two units by chance, but the step does not change the noise. The
# smaller the factor, the more readings are needed. `running.suspects` uses the numbers of readings in `LENGTHS`, so
# the other quantities use the same numbers.
LENGTHS: Final = {3.2808: 20, 10.0: 8, 25.4: 5, 100.0: 5, 304.8: 5, 1000.0: 5}
FACTORS: Final[Mapping[str, Mapping[float, int]]] = {
    "length": LENGTHS,
    "angle": {17.4533: 8, 57.2958: 5, 206.265: 5, 1000.0: 5, 3600.0: 5},  # mrad, deg, rad, arcsec
    "pressure": {6.8948: 20, 10.0: 8, 100.0: 5, 1000.0: 5},  # kPa, psi, metres of water, bar, Pa
    "share": {100.0: 5, 1000.0: 5},  # per cent, and prefixes
    "": {},  # units are not checked
}
Timed = tuple[Sequence[float], Sequence[float]]
"""Times in epoch seconds, ascending, and values."""
Samples = Mapping[str, Timed]
"""Readings of each series."""


@dataclass(frozen=True, slots=True)
class DetectorTraining:
    """Train a detector on a record and write its checkpoint into `folder`.

    Attributes:
        samples: Readings by `STATION.quantity`.
        step_s: Interval of the readings, seconds.
        rain: Amounts of rain of the site; None if it measures none. Only networks use rain.
    """

    detector: str
    samples: Samples
    step_s: float
    folder: Path
    budget_per_sensor_month: float = 0.1
    seed: int = 0
    rain: Timed | None = None


@dataclass(frozen=True, slots=True)
class TrainedDetector:
    """A checkpoint that was written: its hash, its path, and the facts in the JSON file beside it."""

    model_hash: str
    detector: str
    checkpoint: str
    card: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ScoringRequest:
    """Score the readings after `since_s` (None: all) with a checkpoint, or with `rules` and carried-over thresholds.

    Samples should cover the last two years. For a steady scale they have to cover at least ninety days.
    """

    detector: str
    samples: Samples
    step_s: float
    checkpoint: str | None = None
    since_s: float | None = None
    rain: Timed | None = None


@dataclass(frozen=True, slots=True)
class ReadingScore:
    """The score of one reading.

    Attributes:
        alerted: Whether the score is above the threshold and no echo of an earlier alarm.
        compared_with: The past of the series, and other series if there are enough.
    """

    station: str
    at_s: float
    score: float
    threshold: float
    kind: str
    alerted: bool
    compared_with: Explanation = ""


@dataclass(frozen=True, slots=True)
class FaultFinding:
    """A fault of a series that a check found. `kind` is stuck, replay, gap, unit or timing."""

    station: str
    at_s: float
    kind: str
    detail: str


@dataclass(frozen=True, slots=True)
class Scores:
    """Scores of a record. `model_hash` is None if the thresholds were carried over from other sites."""

    scores: tuple[ReadingScore, ...]
    model_hash: str | None


@dataclass(frozen=True, slots=True)
class CertainFault:
    """A fault that a check found: the reading that proved it, its kind (as in `FaultFinding`), and a description."""

    at_s: float
    kind: str
    detail: str
