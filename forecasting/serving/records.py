"""What a forecast answers, and what a training is told: frozen records, which can cross into a worker and back."""

from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from forecasting.message import Template

if TYPE_CHECKING:  # who reads forecasts needs no numpy
    from forecasting.serving.conformal import ConformalState

NOT_SHOWN: Final = Template("forecast.not_shown", "not shown: {text}")
SHORT: Final = Template("forecast.short", "the record is too short for this model")()
KINEMATIC: Final = "kinematic"  # model of a forecast that steps in where the present lies outside what calibration saw


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """One target of one model at one station; quantiles and baseline are absolute values at the target, mm.

    Attributes:
        station: Of the panel.
        model: Its id.
        model_hash: Of the checkpoint; None for a simple forecast.
        horizon_s: As it was asked for.
        issued_s: The last row of the panel, epoch seconds.
        target_s: The row that is forecast.
        data_until_s: The newest observation of the station.
        data_value: Its value: what persistence says.
        q025: Quantiles, after conformal correction.
        q10: The same.
        q50: The same.
        q90: The same.
        q975: The same.
        margins: Nominal coverage as text to what was added to both ends.
        stretch: Times that of the usual pace, at least 1.
        baseline: The best simple forecast.
        baseline_q50: Its value.
        skill: Over it, of a blend.
        weight: Of a blend: the share of the network in it, the rest is `auto`; of `auto`: that of all networks in it;
            of a kinematic forecast: its own, the rest is the model that it replaces.
        shown: Whether it may be the forecast that people see.
        reason: Why, or why not.
        latency_ms: What all forecasts of the model took together; fitting and choosing what `auto` chooses from, which
            all models share, counts for `auto`.
        outside: Whether the present lies outside what calibration saw.
        novelty: How far the motion lies from what calibration saw, as a share of the limit; None where too little was
            seen.
        replaces: Of a kinematic forecast: the model that would be shown.
    """

    station: str
    model: str
    model_hash: str | None = None
    horizon_s: float
    issued_s: float
    target_s: float
    data_until_s: float
    data_value: float
    q025: float
    q10: float
    q50: float
    q90: float
    q975: float
    margins: dict[str, float]
    stretch: float = 1.0
    baseline: str
    baseline_q50: float
    skill: float | None = None
    weight: float | None = None
    shown: bool
    reason: str
    latency_ms: float = 0.0
    outside: bool = False
    novelty: float | None = None
    replaces: str | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """What the values of a series cannot pass, declared by whoever knows the quantity, mm.

    Attributes:
        low: No value lies below.
        high: No value lies above.
        may_fall: How far below its newest reading a value can come, whatever the horizon; 0 of what never decreases.
        may_rise: The same upward.
    """

    low: float = -inf
    high: float = inf
    may_fall: float = inf
    may_rise: float = inf


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
    """What is lacking for a forecast, in words, and the earliest instant at which it can be given, epoch seconds.

    A network that can be trained then (`is_training`) is shown after its time in the shadow.
    """

    text: str
    earliest_s: float
    is_training: bool = False


@dataclass(frozen=True, slots=True)
class Withheld:
    """What stands in place of a forecast that cannot be given."""

    model: str
    station: str
    horizon_s: float
    reason: str
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
    """How one network is trained.

    Attributes:
        model: Its id.
        horizons_s: What it shall learn to look ahead.
        folder: Where its checkpoint is written.
        seed: Of its first weights.
        epochs: Most passes over the record.
        time_limit_s: Wall time after which it stops with the best it has.
        stride: Rows between two examples.
        created_at: Text kept in the card.
        start: Checkpoint of the same network whose weights are tuned, in place of new ones.
        own_start: Whether that is an earlier one of this very place; where its interval, horizons or drivers are not
            those of now the training begins anew, in place of being refused.
    """

    model: str
    horizons_s: tuple[float, ...]
    folder: Path
    seed: int = 7
    epochs: int = 30
    time_limit_s: float = 300.0
    stride: int = 1
    created_at: str | None = None
    start: Path | None = None
    own_start: bool = False


@dataclass(frozen=True, slots=True)
class Trained:
    """A network that was trained: its hash, where its checkpoint lies, and the card beside it (JSON)."""

    model_hash: str
    model: str
    path: str
    card: dict[str, Any]
