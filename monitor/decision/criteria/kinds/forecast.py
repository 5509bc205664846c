"""Chance that the mean velocity downslope until the horizon of a level exceeds a bound, from forecasts."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import fsum, sqrt
from typing import Any, Final

from pydantic import Field

from forecasting.kinematics.chance import DISTRIBUTION, QUANTILES, Chance, chance_over
from forecasting.kinematics.velocity import DAY_S
from monitor.decision.criteria.history import no_window
from monitor.decision.records import ForecastFact
from monitor.decision.series.assessment import Assessment, DecisionContext, each_station
from monitor.errors import ConfigError
from monitor.readings.cleaned.tracks import compute_unit_vector
from monitor.sections import Horizon, Section
from monitor.sites.criteria.entry import KindEntry
from monitor.sites.criteria.places import Places
from monitor.sites.criteria.sections import RecoveringTable
from monitor.sites.kinds import Kind
from monitor.sites.records import Criterion, Station, Threshold, find_recovery_limit
from monitor.text.instants import format_duration
from monitor.text.message import Duration, Figure, Message, Template, join

MEDIAN: Final = 0.5
_NONE: Final = Template("criterion.forecast.none", "no forecast is available for this station")()
_CHANCE: Final = Template(
    "criterion.forecast.exact",
    "{n} % chance of more than {bound} mm/day within {duration}; the bound is crossed above {counts} %",
)
_AT_LEAST: Final = Template(
    "criterion.forecast.at_least",
    "at least {n} % chance of more than {bound} mm/day within {duration}; the bound is crossed above {counts} %",
)
_AT_MOST: Final = Template(
    "criterion.forecast.at_most",
    "at most {n} % chance of more than {bound} mm/day within {duration}; the bound is crossed above {counts} %",
)
_VELOCITY: Final = Template(
    "criterion.forecast.velocity", "forecast velocity {velocity} mm/day, 80 % interval {low} to {high} mm/day"
)
EAST, NORTH, UP = "displacement_east", "displacement_north", "displacement_up"


class ForecastBound(Section):
    """The bound of one level on the chance that the mean velocity (mm/day) until a horizon exceeds a value."""

    over: float = Field(gt=0.0, description="mm/day on average until the horizon")
    window: Horizon = Field(description="the horizon, one of `forecast.horizons`")
    probability: float = Field(MEDIAN, ge=0.05, le=0.95, description="crossed by a greater chance than this")


class VelocityForecastTable(RecoveringTable):
    """kind = "forecast"."""

    def refuse_bound(self, bound: Threshold, places: Places, key: str) -> None:
        """Raise ConfigError if the site has no forecasts with the horizon of the bound."""
        if bound.window_s not in places.horizons_s:
            horizons = ", ".join(format_duration(h) for h in places.horizons_s)
            raise ConfigError(f"{key}.window: expected one of forecast.horizons: {horizons}")


@dataclass(frozen=True, slots=True)
class VelocityQuantiles:
    """Quantiles of the mean velocity downslope until one target.

    Attributes:
        data_until_s: Time of the newest reading that the forecast is computed from.
        velocity: Velocity in mm/day by the name of the quantile, rising.
    """

    data_until_s: float
    model: str
    velocity: Mapping[str, float]

    def chance_over(self, bound: float) -> Chance:
        """Return the chance that the velocity exceeds a bound in mm/day."""
        known = [(share, self.velocity[name]) for name, share in QUANTILES if name in self.velocity]
        return chance_over([share for share, _ in known], [value for _, value in known], bound)


def assess_forecast(criterion: Criterion, context: DecisionContext, station: Station) -> Assessment:
    """Compare the forecast of the horizon of every level with the bound of that level.

    A level is raised if the chance that its bound is exceeded is greater than its probability. A horizon without a
    forecast, or with one whose target has passed, neither raises nor lowers a level.
    """
    facts: list[dict[str, Any]] = []
    raise_level = 0
    newest_s: float | None = None
    pending = _list_pending_forecasts(criterion, context, station)
    for threshold in criterion.thresholds:
        rows = [forecast for forecast in pending if forecast.horizon_s == threshold.window_s]
        forecasts = list(find_velocity_quantiles(criterion, station, rows))
        if not forecasts:
            continue
        bound, probability = threshold.over or 0.0, threshold.probability or MEDIAN
        quantiles = max(
            forecasts, key=lambda f: (f.chance_over(bound).high, f.chance_over(bound).low, f.velocity["q50"])
        )
        chance = quantiles.chance_over(bound)
        limit = find_recovery_limit(threshold, criterion.recover)
        is_crossed = chance.low > probability
        if is_crossed:
            raise_level = max(raise_level, threshold.level)
        newest_s = quantiles.data_until_s if newest_s is None else max(newest_s, quantiles.data_until_s)
        facts.append(
            {
                "level": threshold.level,
                "over_mm_per_day": bound,
                "window_s": threshold.window_s,
                "probability": probability,
                "chance_from": chance.low,
                "chance_to": chance.high,
                "crossed": is_crossed,
                "recovered": all(f.chance_over(limit).high <= probability for f in forecasts),
                "velocity_mm_per_day": dict(quantiles.velocity),
                "model": quantiles.model,
                "data_until_s": quantiles.data_until_s,
            }
        )
    if newest_s is None:
        return Assessment(criterion.id, station.id, reason=_NONE)
    recovered_levels = {fact["level"] for fact in facts if fact["recovered"]}
    held_levels = {threshold.level for threshold in criterion.thresholds} - recovered_levels
    explained = next((fact for fact in facts if fact["level"] == raise_level), facts[0])
    velocity = {name: Figure(value, ".2f") for name, value in explained["velocity_mm_per_day"].items()}
    return Assessment(
        criterion.id,
        station.id,
        raise_level,
        max([raise_level, *held_levels]),
        has_data=True,
        fresh=context.is_fresh(newest_s, context.site.series(station.id, criterion.quantity)),
        newest_s=newest_s,
        reason=join(
            [describe_chance(explained), _VELOCITY(velocity=velocity["q50"], low=velocity["q10"], high=velocity["q90"])]
        ),
        facts={"bounds": facts, "distribution": DISTRIBUTION},
    )


def _list_pending_forecasts(criterion: Criterion, context: DecisionContext, station: Station) -> list[ForecastFact]:
    """Return the forecasts of a station that are shown to people and whose target is in the future."""
    return [
        forecast
        for forecast in context.inputs.forecasts
        if forecast.station == station.id
        and forecast.shown
        and forecast.target_s > max(forecast.data_until_s, context.now_s)
        and _has_quantity(criterion, forecast)
    ]


def find_velocity_quantiles(
    criterion: Criterion, station: Station, rows: Sequence[ForecastFact]
) -> Iterator[VelocityQuantiles]:
    """Yield the forecasts of a station for one horizon as velocities.

    * Components are projected onto the declared direction of the station. Their errors are taken as fully correlated.
    * Without an azimuth, east and north are projected onto the direction of their medians. A component without a
      partner counts as a speed.
    * Up counts as a speed if no plunge is declared.
    * If the criterion names a component, only this component counts, with its sign.
    """
    if criterion.quantity in {EAST, NORTH, UP}:
        yield from (_project(((1.0, forecast),)) for forecast in rows)
        return
    has_azimuth = station.azimuth_deg is not None
    joined: set[ForecastFact] = set()
    for parts in _join_components(rows, with_up=has_azimuth and not station.lacks_plunge):
        unit = compute_unit_vector(station, len(parts))
        if unit is None:
            east, north = (forecast.q50 - forecast.data_value for forecast in parts)
            length = sqrt(east * east + north * north)
            unit = (east / length, north / length) if length > 0.0 else (0.0, 1.0)
        joined |= set(parts)
        yield _project(tuple(zip(unit, parts, strict=True)))
    for forecast in rows:
        if forecast in joined or (has_azimuth and forecast.quantity in {EAST, NORTH}):
            continue
        is_negative = forecast.quantity in {EAST, NORTH, UP} and forecast.q50 < forecast.data_value
        yield _project(((-1.0 if is_negative else 1.0, forecast),))


def _join_components(rows: Sequence[ForecastFact], *, with_up: bool) -> Iterator[tuple[ForecastFact, ...]]:
    """Yield east and north forecasts for the same target, with up if `with_up` is set and up has a forecast."""
    east_forecasts = [forecast for forecast in rows if forecast.quantity == EAST]
    north_forecasts = [forecast for forecast in rows if forecast.quantity == NORTH]
    for east, north in product(east_forecasts, north_forecasts):
        times = (east.target_s, east.data_until_s)
        if times != (north.target_s, north.data_until_s):
            continue
        up_forecasts = [
            forecast
            for forecast in rows
            if with_up and forecast.quantity == UP and (forecast.target_s, forecast.data_until_s) == times
        ]
        if not up_forecasts:
            yield east, north
        for up in up_forecasts:
            yield east, north, up


def _has_quantity(criterion: Criterion, forecast: ForecastFact) -> bool:
    """Return whether a forecast is of the quantity of a criterion. `displacement` includes its components."""
    if criterion.quantity == "displacement":
        return forecast.quantity.startswith("displacement")
    return forecast.quantity == criterion.quantity


def _project(parts: Sequence[tuple[float, ForecastFact]]) -> VelocityQuantiles:
    """Return the weighted sum of forecasts as a velocity.

    Quantiles add, because the errors are taken as fully correlated. A negative weight exchanges low and high quantiles.
    """
    first = parts[0][1]
    days = (first.target_s - first.data_until_s) / DAY_S
    names = [name for name, _ in QUANTILES]
    opposite_names = dict(zip(names, reversed(names), strict=True))
    velocity = {}
    for name in names:
        changes = []
        for weight, forecast in parts:
            quantile = getattr(forecast, name if weight >= 0.0 else opposite_names[name])
            changes.append(weight * (quantile - forecast.data_value))
        velocity[name] = fsum(changes) / days
    models = "+".join(sorted({forecast.model for _, forecast in parts}))
    return VelocityQuantiles(first.data_until_s, models, velocity)


def describe_chance(fact: Mapping[str, Any]) -> Message:
    """Return a text about the chance of one level, with the probability above which its bound is crossed.

    The chance is known as a range. Its ends differ if the bound is outside the quantiles of the forecast.
    """
    low, high = fact["chance_from"], fact["chance_to"]
    if low == high:
        template = _CHANCE
    elif low == 0.0:
        template = _AT_MOST
    else:
        template = _AT_LEAST
    return template(
        n=Figure(100.0 * (high if low == 0.0 else low), ".0f" if low == high else "g"),
        bound=Figure(fact["over_mm_per_day"]),
        duration=Duration(fact["window_s"]),
        counts=Figure(100.0 * fact["probability"]),
    )


def describe_quantiles(fact: Mapping[str, Any]) -> str:
    """Return a text with the quantiles of the mean velocity of one level.

    >>> describe_quantiles({"velocity_mm_per_day": {"q10": 2.0, "q50": 8.0, "q90": 14.0}})
    'mean velocity 2.00 mm/day (10 %), 8.00 mm/day (50 %), 14.00 mm/day (90 %)'
    """
    velocity = fact["velocity_mm_per_day"]
    texts = [f"{velocity[name]:.2f} mm/day ({100.0 * share:g} %)" for name, share in QUANTILES if name in velocity]
    return f"mean velocity {', '.join(texts)}"


ENTRY: Final = KindEntry(
    Kind(
        id="forecast",
        role="advice",
        source="suggestion",
        quantity="displacement",
        unit="mm/day",
        facts="forecasts",
        feature="forecasts",
        plan="forecast",
        loosening="bounds",
    ),
    VelocityForecastTable,
    ForecastBound,
    each_station(assess_forecast),
    history_s=no_window,
    fact_type=ForecastFact,
    example="""
stations = ["S1"]
yellow = {over = 5.0, window = "1d", probability = 0.3}
""",
)
