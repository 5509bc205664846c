"""What the jobs of forecasts ask of their workers, and what these answer."""

from bisect import bisect_right
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, TypeVar

from forecasting.data.rain_forecasts import Outlook
from forecasting.decomposition.season import Season
from forecasting.serving.conformal import ConformalState
from forecasting.serving.records import Forecast, Limits, ScoredError, TrainingRequest, Withheld
from monitor.api.models import TrainingResult
from monitor.api.readings import Timed
from monitor.api.worker import WorkerTask

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class SiteRecord:
    """Series of a site as they were read; the worker lays them on one grid."""

    samples: Mapping[str, Timed]  # label to times and values
    step_s: float  # of the grid
    end_s: float  # the moment of issue
    unit: str = "mm"  # of the values of all series
    # label to metres east and north; None where a place is not known
    xy_m: Mapping[str, tuple[float, float]] | None = None
    # `station.quantity` to times and values of what may drive the slope
    drivers: Mapping[str, Timed] = field(default_factory=dict)
    expected: tuple[Outlook, ...] = ()  # issues of expected rain
    season: bool = False  # whether the time of the year is read
    # label to what of its station does not change; empty where nobody asks for it
    facts: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    limits: Mapping[str, Limits] = field(default_factory=dict)  # label to what the values of a series cannot pass

    @property
    def begin_s(self) -> float:
        """When its first reading was made."""
        return min(timed[0][0] for timed in self.samples.values())


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """One model of a site."""

    model: str
    name: str  # under which its intervals are kept
    checkpoint: str | None = None  # path, of a network


@dataclass(frozen=True, slots=True)
class SiteForecastRequest:
    """The record of a site, the models that forecast it, and the states of their intervals by name and key.

    Networks have a share in `auto` by what they erred, `scored`.
    """

    record: SiteRecord
    horizons_s: tuple[float, ...]
    models: tuple[ModelRequest, ...]
    conformal: Mapping[str, Mapping[str, ConformalState]]
    scored: tuple[ScoredError, ...] = ()


@dataclass(frozen=True, slots=True)
class SiteForecast:
    """Forecasts of all models, at most one shown per label and horizon; why some were withheld, or failed by name.

    Of those that failed, `outdated` names the ones that only a new training can serve.
    """

    rows: tuple[Forecast, ...]
    withheld: tuple[Withheld, ...]
    conformal: dict[str, dict[str, ConformalState]]
    failed: dict[str, str]
    outdated: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HindcastRequest:
    """A site and its models, none of which knew anything after `cut_s`, and how many issues of the past are wanted."""

    site: SiteForecastRequest
    cut_s: float
    issues: int


@dataclass(frozen=True, slots=True)
class NetworkTrainingRequest:
    """The record that a network shall learn from, how, and the records of other sites that it goes on learning from."""

    record: SiteRecord
    training: TrainingRequest
    replay: tuple[SiteRecord, ...] = ()


@dataclass(frozen=True, slots=True)
class SeasonsRequest:
    """Series by label that shall be split into trend, season and remainder."""

    series: Mapping[str, Timed]


@dataclass(frozen=True, slots=True)
class Seasons:
    """The split of each by label, or why there is none."""

    found: dict[str, Season]


def cut_record(record: SiteRecord, end_s: float) -> SiteRecord:
    """The record as it was at an instant: nothing that was observed, issued or measured after it."""

    def cut(timed: Timed) -> Timed:
        until = bisect_right(timed[0], end_s)
        return timed[0][:until], timed[1][:until]

    return replace(
        record,
        end_s=end_s,
        samples={name: cut(one) for name, one in record.samples.items()},
        drivers={name: cut(one) for name, one in record.drivers.items()},
    )


POINTS_AT_ONCE: Final = 5000  # series of a site in one record; a graph ties 2,000 at most


def split_points(request: SiteForecastRequest) -> list[SiteForecastRequest]:
    """The same question in pieces of `POINTS_AT_ONCE` series, so that many workers answer it in bounded memory."""
    labels = list(request.record.samples)
    if len(labels) <= POINTS_AT_ONCE:
        return [request]
    of_label: dict[str, list[tuple[str, str, ConformalState]]] = {}
    for name, known in request.conformal.items():
        for key, state in known.items():
            of_label.setdefault(key.rsplit("|", 2)[0], []).append((name, key, state))
    pieces = []
    for first in range(0, len(labels), POINTS_AT_ONCE):
        mine = labels[first : first + POINTS_AT_ONCE]  # looked up one by one: pieces of a million points are many
        record = replace(
            request.record,
            samples=_pick(request.record.samples, mine),
            xy_m=None if request.record.xy_m is None else _pick(request.record.xy_m, mine),
            facts=_pick(request.record.facts, mine),
        )
        states: dict[str, dict[str, ConformalState]] = {name: {} for name in request.conformal}
        for label in mine:
            for name, key, state in of_label.get(label, ()):
                states[name][key] = state
        pieces.append(replace(request, record=record, conformal=states))
    return pieces


def join_points(answers: Iterable[SiteForecast]) -> SiteForecast:
    """One answer out of those of the pieces; a model that failed in one of them has failed."""
    rows: list[Forecast] = []
    withheld: list[Withheld] = []
    conformal: dict[str, dict[str, ConformalState]] = {}
    failed: dict[str, str] = {}
    outdated: set[str] = set()
    for one in answers:
        rows += one.rows
        withheld += one.withheld
        failed |= one.failed
        outdated |= {*one.outdated}
        for name, states in one.conformal.items():
            conformal.setdefault(name, {}).update(states)
    return SiteForecast(tuple(rows), tuple(withheld), conformal, failed, tuple(sorted(outdated)))


def _pick(known: Mapping[str, _T], names: Collection[str]) -> dict[str, _T]:
    return {name: known[name] for name in names if name in known}


_ROOM: Final = "monitor.features.forecasts.worker"
FORECAST_SITE: Final = WorkerTask(f"{_ROOM}:forecast_site", SiteForecastRequest, SiteForecast)
HINDCAST_SITE: Final = WorkerTask(f"{_ROOM}:hindcast_site", HindcastRequest, SiteForecast)
SPLIT_SEASONS: Final = WorkerTask(f"{_ROOM}:split_seasons", SeasonsRequest, Seasons)
TRAIN_FORECASTER: Final = WorkerTask(f"{_ROOM}:train_forecaster", NetworkTrainingRequest, TrainingResult)
