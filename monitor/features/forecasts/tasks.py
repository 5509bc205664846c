"""Requests that the jobs of forecasts send to worker processes, and the answers."""

from bisect import bisect_right
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, TypeVar

from forecasting.data.rain_forecasts import Outlook
from forecasting.decomposition.season import Season
from forecasting.serving.records import Checkpoint, Forecast, Limits, TrainingRequest, Withheld
from monitor.api.models import TrainingResult
from monitor.api.readings import Timed
from monitor.api.worker import WorkerTask

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class SiteRecord:
    """Series of one panel of a site as they were read. The worker lays them on a grid."""

    samples: Mapping[str, Timed]  # label -> times and values
    step_s: float  # interval of the grid
    end_s: float  # moment of issue, epoch seconds
    # label -> metres east and north; None if a place is unknown
    xy_m: Mapping[str, tuple[float, float]] | None = None
    # `station.quantity` -> times and values of what drives the motion
    drivers: Mapping[str, Timed] = field(default_factory=dict)
    expected: tuple[Outlook, ...] = ()  # issues of rain forecasts
    season: bool = False  # whether the time of the year is a driver
    # label -> constant properties of its station; empty if they are not used
    properties: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    limits: Mapping[str, Limits] = field(default_factory=dict)  # label -> physical limits
    unit: str = "mm"  # of all samples

    @property
    def begin_s(self) -> float:
        """Return the instant of the first reading, epoch seconds."""
        return min(timed[0][0] for timed in self.samples.values())


@dataclass(frozen=True, slots=True)
class PanelForecastRequest:
    """A record to forecast, and the networks that take part.

    Attributes:
        record: Readings and drivers.
        horizons_s: Horizons in seconds.
        checkpoints: Networks.
        state: State of the combination after the issue before, base64; empty if there is none.
        window_ends: Label -> late edge of the failure window of its station, epoch seconds; None if that window is not
            trusted. A label whose station has no failure window is absent.
    """

    record: SiteRecord
    horizons_s: tuple[float, ...]
    checkpoints: tuple[Checkpoint, ...] = ()
    state: str = ""
    window_ends: Mapping[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PanelForecast:
    """The forecasts of one or several panels.

    Attributes:
        rows: Forecasts of all models.
        withheld: Why other forecasts do not exist.
        failed: Hash of a checkpoint -> why its network could not run.
        outdated: Hashes of the failed checkpoints that only a new training can replace.
        state: State of the combination for the next issue, base64; empty if it is not stored.
    """

    rows: tuple[Forecast, ...]
    withheld: tuple[Withheld, ...] = ()
    failed: Mapping[str, str] = field(default_factory=dict)
    outdated: tuple[str, ...] = ()
    state: str = ""


@dataclass(frozen=True, slots=True)
class HindcastRequest:
    """A request for forecasts of the past.

    Attributes:
        panel: The record, and networks that were trained on rows before `cut_s` only.
        cut_s: Instant before the first forecast, epoch seconds.
        issues: Number of moments to forecast from, spread over the record after `cut_s`.
    """

    panel: PanelForecastRequest
    cut_s: float
    issues: int


@dataclass(frozen=True, slots=True)
class NetworkTrainingRequest:
    """A record to train a network on, the settings, and records of other sites to keep learning from."""

    record: SiteRecord
    training: TrainingRequest
    replay: tuple[SiteRecord, ...] = ()


@dataclass(frozen=True, slots=True)
class SeasonsRequest:
    """Series by label to split into trend, season and remainder."""

    series: Mapping[str, Timed]


@dataclass(frozen=True, slots=True)
class Seasons:
    """The split of each series by label, or why there is none."""

    found: dict[str, Season]


def cut_record(record: SiteRecord, end_s: float) -> SiteRecord:
    """Return the record without what was observed after an instant. Rain that is expected after it stays."""

    def cut(timed: Timed) -> Timed:
        until = bisect_right(timed[0], end_s)
        return timed[0][:until], timed[1][:until]

    return replace(
        record,
        end_s=end_s,
        samples={name: cut(timed) for name, timed in record.samples.items()},
        drivers={name: cut(timed) for name, timed in record.drivers.items()},
    )


POINTS_AT_ONCE: Final = 2000
"""Series of a site in one request. More series are split, so that several workers share them in bounded memory."""


def split_points(request: PanelForecastRequest) -> list[PanelForecastRequest]:
    """Return the request in pieces of `POINTS_AT_ONCE` series."""
    labels = list(request.record.samples)
    if len(labels) <= POINTS_AT_ONCE:
        return [request]
    pieces = []
    for first in range(0, len(labels), POINTS_AT_ONCE):
        chosen = labels[first : first + POINTS_AT_ONCE]
        record = replace(
            request.record,
            samples=_select(request.record.samples, chosen),
            xy_m=None if request.record.xy_m is None else _select(request.record.xy_m, chosen),
            properties=_select(request.record.properties, chosen),
        )
        pieces.append(replace(request, record=record, state=""))
    return pieces


def join_points(answers: Iterable[PanelForecast]) -> PanelForecast:
    """Return one answer from those of the pieces; a network that failed in one piece has failed."""
    rows: list[Forecast] = []
    withheld: list[Withheld] = []
    failed: dict[str, str] = {}
    outdated: set[str] = set()
    for answer in answers:
        rows += answer.rows
        withheld += answer.withheld
        failed |= answer.failed
        outdated |= {*answer.outdated}
    return PanelForecast(tuple(rows), tuple(withheld), failed, tuple(sorted(outdated)))


def _select(values: Mapping[str, _T], names: Collection[str]) -> dict[str, _T]:
    return {name: values[name] for name in names if name in values}


_WORKER: Final = "monitor.features.forecasts.worker"
FORECAST_PANEL: Final = WorkerTask(f"{_WORKER}:forecast_panel", PanelForecastRequest, PanelForecast)
HINDCAST_PANEL: Final = WorkerTask(f"{_WORKER}:hindcast_panel", HindcastRequest, PanelForecast)
SPLIT_SEASONS: Final = WorkerTask(f"{_WORKER}:split_seasons", SeasonsRequest, Seasons)
TRAIN_FORECASTER: Final = WorkerTask(f"{_WORKER}:train_forecaster", NetworkTrainingRequest, TrainingResult)
