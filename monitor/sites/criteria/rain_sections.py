"""What the tables of criteria on rain share: a gauge, and the series of rain that is expected."""

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

FORECAST: Final = "series:forecast:"  # + seconds that the forecast reaches; the text is STATION.quantity
EXPECTED: Final = re.compile(r"_next_(\d+[mhd])(?:_|$)")  # how a series of weather forecasts is named
Coverage = Annotated[Share, Field(description="a sum with less of its data may raise, never lower")]
ExpectedRain = Annotated[dict[str, str], Field(description='rain that is expected: {"24h" = "R1.rain_next_24h"}')]
IssueAge = Annotated[Duration, Field(description="how old an issue of them may be")]


class RainTable(RecoveringTable):
    """What criteria on a rain gauge share; `forecast` names the series of expected rain by how far it reaches."""

    min_coverage: Coverage = 0.8
    forecast: ExpectedRain = Field(default_factory=dict)
    forecast_valid: IssueAge = 43200.0

    def refuse_order(self, bounds: Sequence[Threshold], places: Places) -> None:
        """A smaller sum in a shorter window may well be the graver one; raises ConfigError."""
        refuse_falling(bounds, places, shorter_may=True)

    def complete(self, criterion: Criterion, places: Places) -> Criterion:
        """With the rain that is expected."""
        return self.join(criterion, places, [t.window_s for t in criterion.thresholds if t.window_s is not None])

    def join(self, criterion: Criterion, places: Places, windows_s: Sequence[float]) -> Criterion:
        """The same, whatever its windows."""
        criterion = add_params(criterion, min_coverage=self.min_coverage)
        return join_rain(criterion, places, self.forecast, self.forecast_valid, windows_s)


def join_rain(
    criterion: Criterion, places: Places, forecast: Mapping[str, str], valid_s: float, windows_s: Sequence[float]
) -> Criterion:
    """Name the series of expected rain; with them a criterion is advice unless the site file promotes it.

    Args:
        forecast: how far the rain reaches -> series of its issues.
        valid_s: how long an issue counts.

    Raises:
        ConfigError: no such series, or a window that holds no reading of the gauge.
    """
    expected = read_expected_rain(forecast, places.stations, f"{places.where}.forecast")
    texts = [(f"{FORECAST}{reach_s:g}", name) for name, reach_s in expected]
    if texts:
        role = places.raw.get("role", "advice")
        criterion = replace(criterion, texts=(*criterion.texts, *texts), role=role)
        criterion = add_params(criterion, forecast_valid_s=valid_s)
    _refuse_short(criterion, places, windows_s)
    return criterion


def _refuse_short(criterion: Criterion, places: Places, windows_s: Sequence[float]) -> None:
    """A window shorter than an interval of the gauge holds no reading: its sum would be nothing for ever."""
    for name in criterion.stations:
        spec = find_spec(name, criterion.quantity, places.stations)
        if spec is not None and spec.stamp != "event" and windows_s and min(windows_s) < spec.interval_s:
            raise ConfigError(
                f"{places.where}: a window of {format_duration(min(windows_s))} is shorter than the interval of "
                f"{name}.{criterion.quantity}, {format_duration(spec.interval_s)}"
            )


def find_spec(station: str, quantity: str, stations: Sequence[Station]) -> SeriesSpec | None:
    """The series that is declared by just this name."""
    return next((p for s in stations if s.id == station for p in s.series if p.quantity == quantity), None)


def refuse_expected(name: str, where: str) -> None:
    """Refuse a weather forecast where a measured driver is named: it would be read as rain that fell.

    Raises:
        ConfigError: The name of its quantity says that it looks ahead, as `rain_next_24h` does.
    """
    found = EXPECTED.search(name)
    if found is not None:
        raise ConfigError(
            f'{where}: {name} looks ahead; name it in forecast.expected_rain = {{"{found[1]}" = "{name}"}}'
        )


def read_expected_rain(
    table: Mapping[str, str], stations: Sequence[Station], where: str
) -> tuple[tuple[str, float], ...]:
    """(series of issues, how far each looks ahead in seconds) of a table `{"24h" = "R1.rain_next_24h"}`.

    Raises:
        ConfigError: No duration, no declared series, or one that is not mm of rain.
    """
    found = []
    for span, name in table.items():
        key = f"{where}.{span}"
        try:
            span_s = parse_duration_s(span)
        except ValueError as error:
            raise ConfigError(f"{key}: {error}") from None
        if span_s <= 0.0:
            raise ConfigError(f"{key}: expected a duration longer than nothing")
        station, _, quantity = name.partition(".")
        spec = find_spec(station, quantity, stations)
        if spec is None:
            raise ConfigError(f"{key}: expected 'STATION.quantity' of a declared series, got {name!r}")
        if spec.unit != "mm":
            raise ConfigError(f"{key}: {name} is in {spec.unit}; expected mm of rain")
        found.append((name, span_s))
    return tuple(found)
