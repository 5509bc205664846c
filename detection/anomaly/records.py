"""What a detector is asked and what it answers: frozen records, so that they can cross into a worker and back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from detection.reasons import Explanation, ReasonedError


class AnomalyError(ReasonedError):
    """Root of all known errors here; its text is one line that says what is wrong."""


class InputError(AnomalyError):
    """What was handed in cannot be used: a missing key, an unknown detector, times that are not numbers."""


class ThresholdError(AnomalyError):
    """No threshold can be found for the stated budget; the text says what is missing."""


class DetectorCheckpointError(AnomalyError):
    """A checkpoint cannot be read, or is not the file its name says it is."""


MONTH_S: Final = 30.4375 * 86400.0
RUN_GAP_S: Final = 7.0 * 86400.0  # scores closer than that are one alarm
HOLE: Final = 3.5  # intervals from one reading to the next, beyond which readings are missing
STRONGER: Final = 2.0  # times as strong is no echo of what was reported, and more than was dismissed
LEAST: Final = 1.0  # of a threshold in parts of `rules`, also where a record is so smooth that nothing scored
# By what the units in use for a quantity differ, and how many readings tell another unit from a step of the ground.
# Such a step may have the ratio of two units by chance, but it leaves the noise as it was: the smaller the factor, the
# more readings it takes. `running.suspects` sifts by the numbers of LENGTHS; others use no other.
LENGTHS: Final = {3.2808: 20, 10.0: 8, 25.4: 5, 100.0: 5, 304.8: 5, 1000.0: 5}
FACTORS: Final[Mapping[str, Mapping[float, int]]] = {
    "length": LENGTHS,
    "angle": {17.4533: 8, 57.2958: 5, 206.265: 5, 1000.0: 5, 3600.0: 5},  # mrad, deg, rad, arcsec
    "pressure": {6.8948: 20, 10.0: 8, 100.0: 5, 1000.0: 5},  # kPa, psi, metres of water, bar, Pa
    "share": {100.0: 5, 1000.0: 5},  # per cent, and prefixes
    "": {},  # its unit is not judged
}
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
    compared_with: Explanation = ""  # its own past, and other series where there are enough


@dataclass(frozen=True, slots=True)
class FaultFinding:
    """A certain fault, which has no score: stuck, replay, gap, unit or timing."""

    station: str
    at_s: float
    kind: str
    detail: str


@dataclass(frozen=True, slots=True)
class Scores:
    """What a detector says of a record; `model_hash` is None where its threshold was carried over."""

    scores: tuple[ReadingScore, ...]
    model_hash: str | None


@dataclass(frozen=True, slots=True)
class CertainFault:
    """A certain fault: when it could first be known, its kind, and what was seen in words."""

    at_s: float
    kind: str  # stuck, replay, gap, unit, timing
    detail: str
