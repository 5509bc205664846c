"""Base table of criteria on rain: a gauge, and series of forecast rain."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Final

from pydantic import Field

from monitor.errors import ConfigError
from monitor.sections import Duration
from monitor.sites.criteria.places import Places
from monitor.sites.criteria.sections import RecoveringTable, Share, add_params, refuse_falling
from monitor.sites.records import Criterion, SeriesSpec, Station, Threshold
from monitor.text.instants import format_duration, parse_duration_s

# Prefix of a text of a criterion. The reach of the forecast in seconds follows. The value is STATION.quantity.
FORECAST: Final = "series:forecast:"
# Name of a series of weather forecasts, such as `rain_next_24h`.
_FORECAST_NAME: Final = re.compile(r"_next_(\d+[mhd])(?:_|$)")
DEFAULT_MIN_COVERAGE: Final = 0.8
DEFAULT_FORECAST_VALID_S: Final = 43200.0
Coverage = Annotated[
    Share, Field(description="a sum with a smaller share of its data may raise the level, but not lower it")
]
ExpectedRain = Annotated[dict[str, str], Field(description='series of forecast rain: {"24h" = "R1.rain_next_24h"}')]
IssueAge = Annotated[Duration, Field(description="largest age of a rain forecast")]


class RainTable(RecoveringTable):
    """Keys of criteria on a rain gauge. `forecast` has the series of forecast rain by their reach."""

    min_coverage: Coverage = DEFAULT_MIN_COVERAGE
    forecast: ExpectedRain = Field(default_factory=dict)
    forecast_valid: IssueAge = DEFAULT_FORECAST_VALID_S

    def refuse_order(self, bounds: Sequence[Threshold], places: Places) -> None:
        """Reject bounds in the wrong order. A lower bound in a shorter window is accepted."""
        refuse_falling(bounds, places, shorter_may=True)

    def complete(self, criterion: Criterion, places: Places) -> Criterion:
        """Return the criterion with its series of forecast rain."""
        windows_s = [bound.window_s for bound in criterion.thresholds if bound.window_s is not None]
        return self.join(criterion, places, windows_s)

    def join(self, criterion: Criterion, places: Places, windows_s: Sequence[float]) -> Criterion:
        """Return the criterion with its series of forecast rain, for given windows in seconds."""
        criterion = add_params(criterion, min_coverage=self.min_coverage)
        return join_rain(criterion, places, self.forecast, self.forecast_valid, windows_s)


def join_rain(
    criterion: Criterion, places: Places, forecast: Mapping[str, str], valid_s: float, windows_s: Sequence[float]
) -> Criterion:
    """Add the series of forecast rain to a criterion. Such a criterion is advice by default.

    Args:
        criterion: the criterion.
        places: what its names refer to.
        forecast: series of forecast rain by reach, as written in the file.
        valid_s: largest age of a forecast, in seconds.
        windows_s: windows of the criterion, in seconds.

    Raises:
        ConfigError: a series does not exist, or a window is shorter than the interval of the gauge.
    """
    forecasts = read_expected_rain(forecast, places.stations, f"{places.where}.forecast")
    texts = [(f"{FORECAST}{reach_s:g}", name) for name, reach_s in forecasts]
    if texts:
        role = places.raw.get("role", "advice")
        criterion = replace(criterion, texts=(*criterion.texts, *texts), role=role)
        criterion = add_params(criterion, forecast_valid_s=valid_s)
    _check_windows(criterion, places, windows_s)
    return criterion


def _check_windows(criterion: Criterion, places: Places, windows_s: Sequence[float]) -> None:
    """Reject a window that is shorter than the interval of the gauge. It would never contain a reading."""
    if not windows_s:
        return
    shortest_s = min(windows_s)
    for name in criterion.stations:
        spec = find_spec(name, criterion.quantity, places.stations)
        if spec is not None and spec.stamp != "event" and shortest_s < spec.interval_s:
            raise ConfigError(
                f"{places.where}: a window of {format_duration(shortest_s)} is shorter than the interval of "
                f"{name}.{criterion.quantity}, {format_duration(spec.interval_s)}; lengthen the window"
            )


def find_spec(station: str, quantity: str, stations: Sequence[Station]) -> SeriesSpec | None:
    """Return the series that is declared with exactly this quantity, or None."""
    for declared in stations:
        if declared.id == station:
            for spec in declared.series:
                if spec.quantity == quantity:
                    return spec
    return None


def reject_rain_forecast(name: str, where: str) -> None:
    """Reject a series of forecast rain where a measured series is expected. It would be used as measured rain.

    Raises:
        ConfigError: the name is that of a forecast, such as `rain_next_24h`.
    """
    match = _FORECAST_NAME.search(name)
    if match is not None:
        raise ConfigError(
            f'{where}: {name} is a forecast; name it in forecast.expected_rain = {{"{match[1]}" = "{name}"}}'
        )


def read_expected_rain(
    table: Mapping[str, str], stations: Sequence[Station], where: str
) -> tuple[tuple[str, float], ...]:
    """Return series and reach in seconds of a table such as `{"24h" = "R1.rain_next_24h"}`.

    Raises:
        ConfigError: a reach is no duration, or a series is not declared or not in mm.
    """
    forecasts = []
    for reach, name in table.items():
        key = f"{where}.{reach}"
        try:
            reach_s = parse_duration_s(reach)
        except ValueError as error:
            raise ConfigError(f"{key}: {error}") from None
        if reach_s <= 0.0:
            raise ConfigError(f"{key}: expected a duration above 0")
        station, _, quantity = name.partition(".")
        spec = find_spec(station, quantity, stations)
        if spec is None:
            raise ConfigError(f"{key}: expected 'STATION.quantity' of a declared series, got {name!r}")
        if spec.unit != "mm":
            raise ConfigError(f"{key}: {name} is in {spec.unit}; expected mm of rain")
        forecasts.append((name, reach_s))
    return tuple(forecasts)
