"""What a forecast answers, and what a training is told: frozen records, which can cross into a worker and back."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from forecasting.reasons import Reason

if TYPE_CHECKING:  # who reads forecasts needs no numpy
    from forecasting.serving.conformal import ConformalState

SHORT: Final = Reason("forecast.short")
KINEMATIC: Final = "kinematic"  # model of a forecast that steps in where the present lies outside what calibration saw
QUANTILE_NAMES: Final = ("q025", "q10", "q50", "q90", "q975")


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """One target of one model at one station; quantiles and baseline are absolute values at the target, mm."""

    station: str
    model: str
    model_hash: str | None = None
    horizon_s: float  # as it was asked for
    issued_s: float  # the last row of the panel, epoch seconds
    target_s: float  # the row that is forecast
    data_until_s: float  # the newest observation of the station
    data_value: float  # its value: what persistence says
    q025: float
    q10: float
    q50: float
    q90: float
    q975: float
    margins: dict[str, float]  # nominal coverage as text to what was added to both ends
    stretch: float = 1.0  # times that of the usual pace, at least 1
    baseline: str  # the best simple forecast
    baseline_q50: float
    # of `auto`: the share of all networks in it; of a kinematic forecast: its own, the rest is what it replaces
    weight: float | None = None
    shown: bool  # whether it may be the forecast that people see
    reason: Reason  # why, or why not
    # what all forecasts of the model took together; fitting and choosing what `auto` chooses from, which all models
    # share, counts for `auto`
    latency_ms: float = 0.0
    outside: bool = False  # whether the present lies outside what calibration saw
    # how far the motion lies from what calibration saw, as a share of the limit; None where too little was seen
    novelty: float | None = None
    replaces: str | None = None  # of a kinematic forecast: the model that would be shown

    @property
    def quantiles(self) -> tuple[float, ...]:
        """After conformal correction, rising."""
        return self.q025, self.q10, self.q50, self.q90, self.q975


def not_shown(reason: Reason) -> Reason:
    """Return the reason of a forecast that is not shown because of `reason`."""
    return Reason("forecast.not_shown", {"text": reason})


def name_quantiles(values: Iterable[float]) -> dict[str, Any]:
    """The five quantiles of a forecast by their names."""
    return dict(zip(QUANTILE_NAMES, map(float, values), strict=True))


@dataclass(frozen=True, slots=True)
class Limits:
    """What the values of a series cannot pass, declared by whoever knows the quantity, mm."""

    low: float = -inf  # no value lies below
    high: float = inf  # no value lies above
    # how far below its newest reading a value can come, whatever the horizon; 0 of what never decreases
    may_fall: float = inf
    may_rise: float = inf  # the same upward


@dataclass(frozen=True, slots=True)
class ScoredError:
    """What a network's own forecast erred, and the simple average of the same issue, for the same target, mm."""

    station: str
    model: str
    horizon_s: float
    issued_s: float
    error: float
    simple_error: float


@dataclass(frozen=True, slots=True)
class Lack:
    """What is lacking for a forecast, and the earliest instant at which it can be given, epoch seconds."""

    reason: Reason
    earliest_s: float


@dataclass(frozen=True, slots=True)
class Withheld:
    """What stands in place of a forecast that cannot be given."""

    model: str
    station: str
    horizon_s: float
    reason: Reason
    data_until_s: float | None = None
    lack: Lack | None = None


@dataclass(frozen=True, slots=True)
class Forecasts:
    """What one model says: forecasts, what it withheld, and the states of its intervals by `conformal_key`."""

    rows: tuple[Forecast, ...]
    withheld: tuple[Withheld, ...]
    conformal: "dict[str, ConformalState]"


@dataclass(frozen=True, slots=True)
class TrainingRequest:
    """How one network is trained."""

    model: str
    horizons_s: tuple[float, ...]
    folder: Path
    seed: int = 7
    epochs: int = 30
    time_limit_s: float = 300.0  # wall time after which it stops with the best it has
    stride: int = 1  # rows between two examples
    created_at: str | None = None
    start: Path | None = None  # checkpoint of the same network whose weights are tuned, in place of new ones
    # whether that is an earlier one of this very place; where its interval, horizons or drivers are not those of now
    # the training begins anew, in place of being refused
    own_start: bool = False


@dataclass(frozen=True, slots=True)
class Trained:
    """A network that was trained: its hash, where its checkpoint lies, and the card beside it (JSON)."""

    model_hash: str
    model: str
    path: str
    card: dict[str, Any]
