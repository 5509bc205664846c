"""What a detector is asked and what it answers: frozen records, so that they can cross into a worker and back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

MONTH_S: Final = 30.4375 * 86400.0
RUN_GAP_S: Final = 7.0 * 86400.0  # scores closer than that are one alarm
HOLE: Final = 3.5  # intervals from one reading to the next, beyond which readings are missing
STRONGER: Final = 2.0  # times as strong is no echo of what was reported, and more than was dismissed
LEAST: Final = 1.0  # of a threshold in parts of `rules`, also where a record is so smooth that nothing scored
Samples = Mapping[str, tuple[Sequence[float], Sequence[float]]]
"""Station to times in epoch seconds and values, in order of time."""


@dataclass(frozen=True, slots=True)
class DetectorTraining:
    """Train `detector` on a record and write its checkpoint into `folder`."""

    detector: str
    samples: Samples
    step_s: float
    folder: Path
    budget_per_sensor_month: float = 0.1
    seed: int = 0


@dataclass(frozen=True, slots=True)
class TrainedDetector:
    """Its hash, where its checkpoint lies, and the card beside it (JSON)."""

    model_hash: str
    detector: str
    checkpoint: str
    card: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ScoringRequest:
    """Score the readings newer than `since_s` (None: all) with a checkpoint, or with `persistence-z` as it comes.

    Samples should reach back two years where they can, ninety days at least for a steady scale.
    """

    detector: str
    samples: Samples
    step_s: float
    checkpoint: str | None = None
    since_s: float | None = None


@dataclass(frozen=True, slots=True)
class ReadingScore:
    """The score of one reading."""

    station: str
    at_s: float
    score: float
    threshold: float
    kind: str
    alerted: bool
    compared_with: str = ""  # its own past, and other series where there are enough; in words


@dataclass(frozen=True, slots=True)
class FaultFinding:
    """A certain fault, which has no score: stuck, replay, gap, unit or timing."""

    station: str
    at_s: float
    kind: str
    detail: str


@dataclass(frozen=True, slots=True)
class UnscoredStation:
    """Why a station was not scored."""

    station: str
    reason: str


@dataclass(frozen=True, slots=True)
class Scores:
    """What a detector says of a record; `model_hash` is None where its threshold was carried over."""

    scores: tuple[ReadingScore, ...]
    findings: tuple[FaultFinding, ...]
    withheld: tuple[UnscoredStation, ...]
    detector: str
    model_hash: str | None
