"""From the tables of rain, water and shaking to what their criteria calculate with; what cannot be is refused here."""

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from forecasting.hydrology.newmark import critical_acceleration_g
from forecasting.hydrology.return_period import (
    TooFewYearsError,
    fit_extremes,
    join_quantiles,
    require_record,
)
from monitor.config import site_schema as schema
from monitor.domain.instants import parse_duration_s, spell_duration
from monitor.domain.site import Criterion, Level, SeriesSpec, Station, Threshold
from monitor.errors import ConfigError

EXPECTED: Final = re.compile(r"_next_(\d+[mhd])(?:_|$)")  # how a series of weather forecasts is named
FORECAST: Final = "series:forecast:"  # + seconds that the forecast reaches; the text is STATION.quantity
_PRESSURES: Final = frozenset({"pore_pressure"})
_LEVELS: Final = frozenset({"groundwater_level", "water_level"})
_SLOPE: Final = (
    "slope_deg", "depth_m", "cohesion_kpa", "friction_deg", "unit_weight_kn_m3", "depth_sd_m", "cohesion_sd_kpa",
    "friction_sd_deg", "unit_weight_sd_kn_m3", "pressure_sd_kpa", "sensor_depth_m", "ground_level_m",
    "conductivity_m_per_s", "diffusivity_m2_per_s", "water_table_m", "steady_flux_m_per_s",
)  # fmt: skip
LEAST_CRITICAL_G: Final = 0.001
_SHAKING: Final = ("critical_acceleration_g", "factor_of_safety", "slope_deg", "lower_to")


def complete_criterion(
    criterion: Criterion, table: schema.CriterionTable, raw: Mapping[str, Any], levels: Sequence[Level],
    stations: Sequence[Station], where: str,
) -> Criterion:  # fmt: skip
    """The criterion with what only its kind knows; others come back as they are.

    Raises:
        ConfigError: one line with the key and what was expected.
    """
    if isinstance(table, schema.RainTable | schema.RainCurveTable):
        criterion = _add_forecast(criterion, table, stations, where)
        _refuse_short(criterion, table, stations, where)
    if isinstance(table, schema.RainCurveTable):
        return _add(criterion, dry_gap_s=table.dry_gap, dry_mm=table.dry_mm)
    if isinstance(table, schema.RainAntecedentTable):
        span = table.span if table.span is not None else (table.recent or 0.0) + (table.antecedent or 0.0)
        return _add(
            criterion, decay=table.decay, span_s=span, recent_s=table.recent, weight=table.weight, history_s=span
        )
    if isinstance(table, schema.RainReturnTable):
        return _fit_depths(criterion, table, where)
    if isinstance(table, schema.RainLearnedTable):
        learned = replace(
            criterion, thresholds=(replace(criterion.thresholds[0], over=table.over, window_s=table.window),)
        )
        return _add(learned, lag_s=table.lag, events=table.events, history_s=table.window + table.lag)
    if isinstance(table, schema.SafetyTable):
        return _read_slope(criterion, table, stations, where)
    if isinstance(table, schema.EarthquakeTable):
        return _read_shaking(criterion, table, raw, levels, where)
    return criterion


def _add(criterion: Criterion, **params: float | None) -> Criterion:
    found = tuple((k, float(v)) for k, v in params.items() if v is not None)
    return replace(criterion, params=(*criterion.params, *found))


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
        spec = _find(station, quantity, stations)
        if spec is None:
            raise ConfigError(f"{key}: expected 'STATION.quantity' of a declared series, got {name!r}")
        if spec.unit != "mm":
            raise ConfigError(f"{key}: {name} is in {spec.unit}; expected mm of rain")
        found.append((name, span_s))
    return tuple(found)


def _add_forecast(
    criterion: Criterion, table: schema.RainTable | schema.RainCurveTable, stations: Sequence[Station], where: str
) -> Criterion:
    """Name the series of expected rain; with them a criterion is advice unless the site file promotes it."""
    expected = read_expected_rain(table.forecast, stations, f"{where}.forecast")
    texts = [(f"{FORECAST}{reach_s:g}", name) for name, reach_s in expected]
    if not texts:
        return criterion
    promoted = replace(
        criterion, texts=(*criterion.texts, *texts), role=table.role or "advice"
    )  # fmt: skip
    return _add(promoted, forecast_valid_s=table.forecast_valid, history_s=table.forecast_valid)


def _refuse_short(
    criterion: Criterion, table: schema.RainTable | schema.RainCurveTable, stations: Sequence[Station], where: str
) -> None:
    """A window shorter than an interval of the gauge holds no reading: its sum would be nothing for ever."""
    names = ("recent", "antecedent", "span", "window")
    windows = [getattr(table, k) for k in names if getattr(table, k, None) is not None]
    windows += [t.window_s for t in criterion.thresholds if t.window_s is not None]
    if isinstance(table, schema.RainCurveTable):
        windows = [table.duration[1]]
    for name in criterion.stations:
        spec = _find(name, criterion.quantity, stations)
        if spec is not None and spec.stamp != "event" and windows and min(windows) < spec.interval_s:
            raise ConfigError(
                f"{where}: a window of {spell_duration(min(windows))} is shorter than the interval of "
                f"{name}.{criterion.quantity}, {spell_duration(spec.interval_s)}"
            )


def _find(station: str, quantity: str, stations: Sequence[Station]) -> SeriesSpec | None:
    return next((p for s in stations if s.id == station for p in s.series if p.quantity == quantity), None)


def _fit_depths(criterion: Criterion, table: schema.RainReturnTable, where: str) -> Criterion:
    """Turn bounds in years into bounds in mm, each for its window."""
    maxima = {_read_window(k, f"{where}.annual_maxima"): v for k, v in table.annual_maxima.items()}
    quantiles = {_read_window(k, f"{where}.quantiles"): v for k, v in table.quantiles.items()}
    if maxima.keys() & quantiles.keys():
        raise ConfigError(f"{where}.quantiles: expected either annual_maxima or quantiles for a window, not both")
    thresholds: list[Threshold] = []
    params: dict[str, float] = {}
    for threshold in criterion.thresholds:
        years, window_s = threshold.over or 0.0, threshold.window_s or 0.0
        name = spell_duration(window_s)
        if years <= 1.0:
            raise ConfigError(f"{where}: over: expected a return period of more than 1 year, got {years:g} years")
        if window_s not in maxima and window_s not in quantiles:
            raise ConfigError(f"{where}: no annual_maxima or quantiles for the window {name}")
        try:
            if window_s in quantiles:
                params |= _keep_quantiles(quantiles[window_s], window_s)
                depth = join_quantiles(quantiles[window_s], years)
            else:
                fitted = fit_extremes(maxima[window_s], table.method)
                require_record(fitted, years)
                depth = fitted.depth(years)
                params |= {
                    f"location:{window_s:g}": fitted.location, f"scale:{window_s:g}": fitted.scale,
                    f"shape:{window_s:g}": fitted.shape, f"record:{window_s:g}": float(fitted.years),
                }  # fmt: skip
        except (TooFewYearsError, ValueError) as error:
            raise ConfigError(f"{where}: window {name}: {error}") from None
        thresholds.append(replace(threshold, over=depth))
        params[f"years:{threshold.level}"] = years
    return _add(replace(criterion, thresholds=tuple(thresholds)), **params)


def _keep_quantiles(values: Sequence[tuple[float, float]], window_s: float) -> dict[str, float]:
    if len(values) < 2:
        raise ValueError("expected at least two quantiles [years, mm]")
    ordered = sorted(values)
    if any(t <= 1.0 for t, _ in ordered) or any(b[1] <= a[1] or b[0] <= a[0] for a, b in itertools.pairwise(ordered)):
        raise ValueError("expected return periods above 1 year with rising depths")
    return {f"quantile:{window_s:g}:{t:g}": x for t, x in ordered}


def _read_window(text: str, where: str) -> float:
    try:
        return parse_duration_s(text)
    except ValueError as error:
        raise ConfigError(f"{where}.{text}: {error}") from None


def _read_slope(criterion: Criterion, table: schema.SafetyTable, stations: Sequence[Station], where: str) -> Criterion:
    quantity = criterion.quantity
    for key, unit in (("depth", "m"), ("unit_weight", "kn_m3")):
        if getattr(table, f"{key}_sd_{unit}") >= 0.5 * getattr(table, f"{key}_{unit}"):
            raise ConfigError(f"{where}.{key}_sd_{unit}: expected less than half of {key}_{unit}")
    if table.friction_deg + table.friction_sd_deg >= 80.0 or table.friction_sd_deg >= 0.5 * table.friction_deg:
        raise ConfigError(f"{where}.friction_sd_deg: expected less than half of friction_deg, and 80 in all")
    params: dict[str, float | None] = {k: getattr(table, k) for k in _SLOPE}
    if table.method == "infiltration":
        if quantity != "rain":
            raise ConfigError(f"{where}.series: method 'infiltration' expects a rain series, got {quantity!r}")
        for key in ("conductivity_m_per_s", "diffusivity_m2_per_s", "water_table_m"):
            if getattr(table, key) is None:
                raise ConfigError(f"{where}.{key}: this key is required by method 'infiltration'")
        for name in criterion.stations:
            spec = _find(name, quantity, stations)
            if spec is not None and spec.stamp == "event":
                raise ConfigError(
                    f"{where}.series: infiltration needs rain by interval or counter, {name} sends events"
                )
        params["span_s"] = params["history_s"] = table.span
        params["ahead_s"] = table.ahead
        if table.ahead is not None:
            # what the pressure will be is a forecast, although the rain has fallen
            criterion = replace(criterion, role=table.role or "advice")
    elif table.ahead is not None:
        raise ConfigError(f"{where}.ahead: expected with method 'infiltration' only")
    elif quantity in _LEVELS:
        if table.ground_level_m is None:
            raise ConfigError(f"{where}.ground_level_m: this key is required with a {quantity}, in its datum")
    elif quantity not in _PRESSURES:
        expected = ", ".join(sorted(_PRESSURES | _LEVELS))
        raise ConfigError(f"{where}.series: method 'measured' expects one of {expected}, got {quantity!r}")
    params |= {"judge_low": float(table.judge == "low"), "suction": float(table.suction)}
    return _add(replace(criterion, texts=(*criterion.texts, ("method", table.method))), **params)


def _read_shaking(
    criterion: Criterion, table: schema.EarthquakeTable, raw: Mapping[str, Any], levels: Sequence[Level], where: str
) -> Criterion:
    params: dict[str, float | None] = {k: getattr(table, k) for k in _SHAKING}
    params["lower_for_s"] = table.lower_for
    if table.factor_of_safety is not None and table.slope_deg is not None:
        critical = critical_acceleration_g(table.factor_of_safety, table.slope_deg)
        if critical < LEAST_CRITICAL_G:
            raise ConfigError(
                f"{where}.factor_of_safety: gives a critical acceleration of {critical:.2g} g; expected at least "
                f"{LEAST_CRITICAL_G:g}"
            )
    able = table.critical_acceleration_g is not None or table.factor_of_safety is not None
    for level in levels:
        limit = raw.get(level.name, {}).get("newmark_cm") if level.name in raw else None
        if limit is not None and not able:
            raise ConfigError(
                f"{where}.{level.name}.newmark_cm: expected critical_acceleration_g, or factor_of_safety with slope_deg"
            )
        if limit is not None:
            params[f"newmark_cm:{level.number}"] = float(limit)
    return _add(criterion, **params)
