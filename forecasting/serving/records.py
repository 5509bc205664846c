"""Records that a forecast and a training exchange with their caller. A worker process can send and receive them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import Any, Final

from forecasting.reasons import Reason

QUANTILE_NAMES: Final = ("q025", "q10", "q50", "q90", "q975")


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """The forecast of one model for one target of one station; quantiles are absolute values in the unit of the panel.

    The rows of one issue are: `combined`, which people see; one row of each network; and the simple forecasts
    `persistence` and `line`, with which the others are compared. The median of a network is its output. Its interval
    follows from its past errors at this station and horizon.
    """

    station: str
    model: str
    model_hash: str | None = None  # of the checkpoint of a network
    horizon_s: float  # as requested
    issued_s: float  # instant of the last row of the panel, epoch seconds
    target_s: float  # instant of the target, epoch seconds
    data_until_s: float  # instant of the grid row of the newest observation of the station, epoch seconds
    data_value: float  # value of this grid row: the mean of its observations
    q025: float
    q10: float
    q50: float
    q90: float
    q975: float
    baseline: str  # the simple forecast with the smaller past error at this station and horizon
    baseline_q50: float
    # share of a network in the combined forecast of the same station and horizon, 0 to 1; None for other models
    weight: float | None = None
    shown: bool  # whether people see it
    reason: Reason  # why, and what is unusual about it
    latency_ms: float = 0.0  # time of the whole issue
    # how far the present motion lies from the past, as a share of the limit; above 1 it is outside. None: unknown
    novelty: float | None = None

    @property
    def quantiles(self) -> tuple[float, ...]:
        """The five quantiles in ascending order."""
        return self.q025, self.q10, self.q50, self.q90, self.q975


def name_quantiles(values: Iterable[float]) -> dict[str, Any]:
    """Return the five quantiles of a forecast by the names of their fields."""
    return dict(zip(QUANTILE_NAMES, map(float, values), strict=True))


@dataclass(frozen=True, slots=True)
class Limits:
    """Physical limits of a series, in the unit of the panel."""

    low: float = -inf  # smallest possible value
    high: float = inf  # largest possible value
    # how far below its newest reading a value can fall at any horizon; 0 for a quantity that never decreases
    may_fall: float = inf
    may_rise: float = inf  # the same upward


@dataclass(frozen=True, slots=True)
class Lack:
    """What is missing for a forecast, and the earliest instant at which the forecast can exist, epoch seconds."""

    reason: Reason
    earliest_s: float


@dataclass(frozen=True, slots=True)
class Withheld:
    """Why a model has no forecast for a station and horizon."""

    model: str
    station: str
    horizon_s: float
    reason: Reason
    data_until_s: float | None = None
    lack: Lack | None = None


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A trained network that takes part in an issue."""

    model: str  # name of the network in the registry
    model_hash: str
    path: str


@dataclass(frozen=True, slots=True)
class Issue:
    """All forecasts of one panel from one moment."""

    rows: tuple[Forecast, ...]
    withheld: tuple[Withheld, ...]
    # hash of a checkpoint -> why its network could not run: a ForecastingError, or a ModuleNotFoundError without torch
    failed: dict[str, Exception]
    state: bytes | None = None  # state of the combination, for the next issue; None: not stored


@dataclass(frozen=True, slots=True)
class TrainingRequest:
    """How one network is trained."""

    model: str
    horizons_s: tuple[float, ...]
    folder: Path
    seed: int = 7
    epochs: int = 30
    time_limit_s: float = 300.0  # wall time after which the best weights so far are taken
    stride: int = 1  # rows between two examples
    created_at: str | None = None
    start: Path | None = None  # checkpoint of the same network to continue from; None: random weights
    # whether `start` was trained at this site. If its interval, horizons or drivers differ from the present ones, the
    # training then starts from random weights; otherwise it is refused
    own_start: bool = False
    # other settings of the training than the usual ones, by the names of `training_settings.BOUNDS`
    settings: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Trained:
    """The result of a training."""

    model_hash: str
    model: str
    path: str
    card: dict[str, Any]  # the JSON file beside the checkpoint
