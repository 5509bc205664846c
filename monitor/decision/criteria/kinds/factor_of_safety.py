"""Factor of safety of an infinite slope, from measured water pressure or from rain."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from functools import cache, partial
from math import cos, radians
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from forecasting.hydrology.slope_stability import (
    WATER_KN_M3,
    Ground,
    InfiniteSlope,
    Safety,
    compute_safety,
    pore_pressure_kpa,
    pressure_below_table,
    pressure_head,
)
from monitor.decision.criteria.rain_coverage import fill_gaps, find_rain_losses
from monitor.decision.criteria.rain_gauge import RAIN_SAFE_PARAMS, Gauge, find_gauge
from monitor.decision.criteria.rainfall import find_min_coverage
from monitor.decision.criteria.values import list_value_epochs, read_values
from monitor.decision.keys import VoteKey
from monitor.decision.series.assessment import REPEATS, Assessment, DecisionContext, find_levels
from monitor.errors import ConfigError
from monitor.readings.cleaned.coverage import format_share
from monitor.sections import Duration as Span
from monitor.sections import Section
from monitor.sites.criteria.entry import KindEntry
from monitor.sites.criteria.places import Places
from monitor.sites.criteria.rain_sections import DEFAULT_MIN_COVERAGE, Coverage, find_spec
from monitor.sites.criteria.sections import MeasuredTable, Recovery, add_params
from monitor.sites.kinds import Kind
from monitor.sites.records import Criterion, find_recovery_limit
from monitor.text.message import Duration, Figure, Message, MessageList, Template, Value
from monitor.text.names import split_table

# Number of instants within `ahead` at which the future pore pressure is computed, besides the present.
STEPS_AHEAD: Final = 8
DEFAULT_SPAN_S: Final = 864000.0
_MEASURED: Final = Template(
    "criterion.safety.from_water",
    "factor of safety {best} ({low} to {high}) from the measured water, {share} probability of a value below 1, bounds "
    "{bounds}",
)
_FROM_RAIN: Final = Template(
    "criterion.safety.infiltration",
    "factor of safety {best} ({low} to {high}) from the rain, {share} probability of a value below 1, bounds {bounds}; "
    "the gauge measured {known} % of this time",
)
_AFTER_RAIN: Final = Template(
    "criterion.safety.ahead",
    "factor of safety {best} ({low} to {high}) in {duration} if no more rain falls, {share} probability "
    "of a value below 1, bounds {bounds}; the gauge measured {known} % of this time",
)
_PRESSURES: Final = frozenset({"pore_pressure"})
_LEVELS: Final = frozenset({"groundwater_level", "water_level"})
# Keys of the table that become parameters of the criterion under the same name.
_SLOPE_KEYS: Final = split_table("""
    slope_deg; depth_m; cohesion_kpa; friction_deg; unit_weight_kn_m3; depth_sd_m; cohesion_sd_kpa; friction_sd_deg;
    unit_weight_sd_kn_m3; pressure_sd_kpa; sensor_depth_m; ground_level_m; conductivity_m_per_s; diffusivity_m2_per_s;
    water_table_m; steady_flux_m_per_s
""")
StandardDeviation = Annotated[float, Field(ge=0.0, description="its standard deviation")]


class UnderBound(Section):
    """The bound of one level on a factor of safety."""

    under: float = Field(gt=0.0, description="factor of safety")


class SafetyTable(MeasuredTable):
    """kind = "factor_of_safety": an infinite slope with pore pressure from measurements, or from rain."""

    method: Literal["measured", "infiltration"] = Field("measured", description="from water pressure, or from rain")
    slope_deg: float = Field(gt=0.0, lt=90.0, description="of the slip surface")
    depth_m: float = Field(gt=0.0, description="of the slip surface, vertical")
    cohesion_kpa: float = Field(ge=0.0, description="effective cohesion")
    friction_deg: float = Field(gt=0.0, lt=90.0, description="effective angle of friction")
    unit_weight_kn_m3: float = Field(gt=0.0, description="of the soil")
    depth_sd_m: StandardDeviation = 0.0
    cohesion_sd_kpa: StandardDeviation = 0.0
    friction_sd_deg: StandardDeviation = 0.0
    unit_weight_sd_kn_m3: StandardDeviation = 0.0
    pressure_sd_kpa: StandardDeviation = 0.0
    judge: Literal["best", "low"] = Field("best", description="the best estimate or its 5 % limit")
    suction: bool = Field(False, description="whether suction holds the slope")
    sensor_depth_m: float | None = Field(None, gt=0.0, description="where it is not that of the slip surface")
    ground_level_m: float | None = Field(None, description="in the datum of a water level")
    conductivity_m_per_s: float | None = Field(None, gt=0.0, description="infiltration: of the saturated soil")
    diffusivity_m2_per_s: float | None = Field(default=None, gt=0.0, description="infiltration: hydraulic diffusivity")
    water_table_m: float | None = Field(default=None, ge=0.0, description="infiltration: depth before the rain")
    steady_flux_m_per_s: float = Field(default=0.0, ge=0.0, description="infiltration: rate before the rain")
    span: Span = Field(DEFAULT_SPAN_S, description="of rain that counts")
    ahead: Span | None = Field(None, description="the greatest pressure until then if no more rain falls")
    min_coverage: Coverage = DEFAULT_MIN_COVERAGE
    recover: Recovery = 0.95

    def complete(self, criterion: Criterion, places: Places) -> Criterion:
        """Return the criterion with the parameters of the slope and of the rain."""
        return _read_slope(criterion, self, places)


def _read_slope(criterion: Criterion, table: SafetyTable, places: Places) -> Criterion:
    quantity, where = criterion.quantity, places.where
    # The error propagation is linear, so a standard deviation must be small compared with the value.
    for key, unit in (("depth", "m"), ("unit_weight", "kn_m3")):
        if getattr(table, f"{key}_sd_{unit}") >= 0.5 * getattr(table, f"{key}_{unit}"):
            raise ConfigError(f"{where}.{key}_sd_{unit}: expected less than half of {key}_{unit}")
    if table.friction_deg + table.friction_sd_deg >= 80.0 or table.friction_sd_deg >= 0.5 * table.friction_deg:
        raise ConfigError(f"{where}.friction_sd_deg: expected less than half of friction_deg, and 80 in all")
    params: dict[str, float | None] = {key: getattr(table, key) for key in ("min_coverage", *_SLOPE_KEYS)}
    if table.method == "infiltration":
        if quantity != "rain":
            raise ConfigError(f"{where}.series: method 'infiltration' expects a rain series, got {quantity!r}")
        for key in ("conductivity_m_per_s", "diffusivity_m2_per_s", "water_table_m"):
            if getattr(table, key) is None:
                raise ConfigError(f"{where}.{key}: this key is required by method 'infiltration'")
        for name in criterion.stations:
            spec = find_spec(name, quantity, places.stations)
            if spec is not None and spec.stamp == "event":
                raise ConfigError(
                    f"{where}.series: infiltration needs rain by interval or counter, {name} sends events"
                )
        params["span_s"] = table.span
        params["ahead_s"] = table.ahead
        if table.ahead is not None:
            # The future pressure is a forecast, although the rain has already fallen.
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
    return add_params(replace(criterion, texts=(*criterion.texts, ("method", table.method))), **params)


def assess_safety(criterion: Criterion, context: DecisionContext) -> tuple[Assessment, ...]:
    """Compare the factor of safety with the bound `under` of every level.

    The best estimate is compared, or its 5 % limit if `judge` is "low".
    """
    is_from_rain = dict(criterion.texts).get("method") == "infiltration"
    assess = _assess_from_rain if is_from_rain else _assess_from_water
    return tuple(assess(criterion, context, station) for station in criterion.stations)


def _assess_from_water(criterion: Criterion, context: DecisionContext, station: str) -> Assessment:
    """Compare the factors of the newest readings. A level needs `dwell.hits` of them, at least two."""
    spec = context.site.series(station, criterion.quantity)
    if spec is None:
        return Assessment(criterion.id, station)
    if context.track(criterion, station).is_stuck:
        return Assessment(criterion.id, station, reason=REPEATS())
    values = read_values(context, criterion, station)
    times_s = sorted(values)
    if not times_s:
        return Assessment(criterion.id, station)
    newest_s = times_s[-1]
    dwell_epochs, needed = list_value_epochs(context, criterion, station, times_s)
    newest_epochs = times_s[-needed:]
    factors = {epoch: compute_safety_from_water(criterion, values[epoch]) for epoch in {*dwell_epochs, *newest_epochs}}
    newest = factors[newest_s]
    bounds = _compare_bounds(
        criterion,
        raising=[factors[epoch] for epoch in dwell_epochs],
        needed=needed,
        recovering=[factors[epoch] for epoch in newest_epochs],
        is_known=len(newest_epochs) >= needed,
    )
    pressure_kpa = compute_slip_pressure_kpa(criterion, values[newest_s])
    facts = {"bounds": bounds, **_list_figures(newest), "pressure_kpa": pressure_kpa}
    reason = _explain(_MEASURED, criterion, newest)
    return Assessment(
        criterion.id,
        station,
        *find_levels(bounds),
        has_data=True,
        fresh=context.is_fresh(newest_s, spec),
        newest_s=newest_s,
        reason=reason,
        facts=facts,
    )


def _assess_from_rain(criterion: Criterion, context: DecisionContext, station: str) -> Assessment:
    """Compare the factor of safety that follows from the rain of the span.

    Missing rain would have lowered the factor, so incomplete data can raise a level but not lower one.
    """
    spec = context.site.series(station, criterion.quantity)
    gauge = None if spec is None else find_gauge(context, station, criterion.quantity, spec)
    if (
        spec is None
        or gauge is None
        or gauge.times_s[-1] <= context.find_answered_until_s(VoteKey(criterion.id, station))
    ):
        return Assessment(criterion.id, station, newest_s=gauge.times_s[-1] if gauge else None)
    params = dict(criterion.params)
    newest_s = gauge.times_s[-1]
    losses = find_rain_losses(context, spec, gauge)
    span_s = params["span_s"]
    whole_span = {"duration_s": span_s, "coverage": gauge.total(span_s)[1]}
    share: float = losses.lower_coverage(whole_span)["coverage"]
    safety, pressure_kpa, later_s = compute_safety_from_rain(criterion, gauge)
    # A level must not fall while rain in the gaps of the gauge could keep the factor low.
    filled = fill_gaps(gauge)
    recovering = [safety] if filled is None else [compute_safety_from_rain(criterion, filled)[0], safety]
    is_known = share >= find_min_coverage(criterion)
    bounds = _compare_bounds(criterion, raising=[safety], needed=1, recovering=recovering, is_known=is_known)
    raise_level, hold_level = find_levels(bounds)
    if_complete = _compare_bounds(criterion, raising=[safety], needed=1, recovering=[safety], is_known=True)
    _, hold_level_if_complete = find_levels(if_complete)
    known = format_share(share)
    if later_s == 0.0:
        reason = _explain(_FROM_RAIN, criterion, safety, known=known)
    else:
        reason = _explain(_AFTER_RAIN, criterion, safety, duration=Duration(later_s), known=known)
    return Assessment(
        criterion.id,
        station,
        raise_level,
        hold_level,
        has_data=True,
        fresh=context.is_fresh(newest_s, spec),
        newest_s=newest_s,
        reason=reason,
        coverage=replace(losses.measure(span_s, share), holds=hold_level > hold_level_if_complete),
        facts={
            "bounds": bounds,
            **_list_figures(safety),
            "pressure_kpa": pressure_kpa,
            "coverage": share,
            "later_s": later_s,
        },
    )


def _compare_bounds(
    criterion: Criterion, *, raising: Sequence[Safety], needed: int, recovering: Sequence[Safety], is_known: bool
) -> list[dict[str, Any]]:
    """Compare factors of safety with every bound, and return one fact for each.

    Args:
        raising: Factors that can raise a level.
        needed: How many of them must be below the bound.
        recovering: Factors that must all be above the recovery limit for a level to fall, the newest last.
        is_known: Whether the data are complete enough for a level to fall.
    """
    facts = []
    for threshold in criterion.thresholds:
        bound = threshold.under or 0.0
        limit = find_recovery_limit(threshold, criterion.recover)
        facts.append(
            {
                "level": threshold.level,
                "bound": bound,
                "needs": needed,
                "hits": sum(_pick_compared(criterion, safety) < bound for safety in raising),
                "recovered": is_known and all(_pick_compared(criterion, safety) > limit for safety in recovering),
                "margin": bound - _pick_compared(criterion, recovering[-1]),
            }
        )
    return facts


def make_slope(criterion: Criterion) -> InfiniteSlope:
    """Return the slope that a criterion declares."""
    params = dict(criterion.params)
    return InfiniteSlope(**{field.name: params[field.name] for field in fields(InfiniteSlope)})


def compute_slip_pressure_kpa(criterion: Criterion, value: float, depth_m: float | None = None) -> float:
    """Return the pore pressure at the slip surface in kPa.

    Water is assumed to flow parallel to the slope between the sensor and the slip surface. Suction counts as zero
    unless the site file declares `suction = true`, because dry soil can become wet within hours.

    Args:
        value: Reading: pressure in kPa at the depth of the sensor, or level of the water in m.
        depth_m: Depth of the slip surface; the declared depth by default.
    """
    params = dict(criterion.params)
    depth = params["depth_m"] if depth_m is None else depth_m
    if criterion.quantity == "pore_pressure":
        below = depth - params.get("sensor_depth_m", params["depth_m"])
        pressure = value + WATER_KN_M3 * below * cos(radians(params["slope_deg"])) ** 2
    else:
        pressure = pressure_below_table(depth, params["ground_level_m"] - value, params["slope_deg"])
    return pressure if params.get("suction", 0.0) > 0.0 else max(0.0, pressure)


def compute_safety_from_water(criterion: Criterion, value: float) -> Safety:
    """Return the factor of safety, with its range, from one reading of water pressure or water level."""
    pressure_at_depth = partial(compute_slip_pressure_kpa, criterion, value)
    return compute_safety(make_slope(criterion), pressure_at_depth(), pressure_at_depth)


def compute_safety_from_rain(criterion: Criterion, gauge: Gauge) -> tuple[Safety, float, float]:
    """Compute the factor of safety from the rain of the span.

    The pore pressure at depth continues to rise after the rain. With `ahead`, the greatest pressure within this time
    counts, on the assumption that no more rain falls.

    Returns:
        The factor of safety with its range, the pore pressure in kPa, and how many seconds after the newest amount of
        rain the pressure is reached.
    """
    params = dict(criterion.params)
    ground = Ground(
        params["slope_deg"],
        params["conductivity_m_per_s"],
        params["diffusivity_m2_per_s"],
        params["water_table_m"],
        params["steady_flux_m_per_s"],
    )
    end_s = gauge.times_s[-1]
    # Start, end and mm of each interval. The amount of a counter after a gap begins at the amount before it.
    rain = []
    for i, (at_s, amount) in enumerate(zip(gauge.times_s, gauge.amounts_mm, strict=True)):
        begin_s = at_s - gauge.interval_s
        if gauge.stamp == "counter" and i > 0:
            begin_s = min(begin_s, gauge.times_s[i - 1])
        if at_s > end_s - params["span_s"] and amount > 0.0:
            rain.append((begin_s, at_s, amount))

    def compute_pressure(depth_m: float, later_s: float = 0.0) -> float:
        pressure = pore_pressure_kpa(pressure_head(ground, depth_m, rain, end_s + later_s))
        return pressure if params.get("suction", 0.0) > 0.0 else max(0.0, pressure)

    steps = STEPS_AHEAD if "ahead_s" in params else 0
    instants_s = [params.get("ahead_s", 0.0) * k / STEPS_AHEAD for k in range(steps + 1)]
    # The greatest pressure; of equal ones that of the earliest instant.
    pressure_kpa, negative_later_s = max((compute_pressure(params["depth_m"], s), -s) for s in instants_s)
    later_s = -negative_later_s
    pressure_at_depth = cache(lambda depth_m: compute_pressure(depth_m, later_s))
    return compute_safety(make_slope(criterion), pressure_kpa, pressure_at_depth), pressure_kpa, later_s


def _pick_compared(criterion: Criterion, safety: Safety) -> float:
    """Return the 5 % limit if the site file declares `judge = "low"`, otherwise the best estimate."""
    return safety.low if dict(criterion.params).get("judge_low", 0.0) > 0.0 else safety.best


def _list_figures(safety: Safety) -> Mapping[str, Any]:
    return {
        "factor_of_safety": safety.best,
        "low": safety.low,
        "high": safety.high,
        "sd": safety.sd,
        "below_one": safety.below_one,
    }


def _explain(template: Template, criterion: Criterion, safety: Safety, **further: Value) -> Message:
    bounds = tuple(Figure(t.under or 0.0) for t in criterion.thresholds)
    return template(
        best=Figure(safety.best, ".2f"),
        low=Figure(safety.low, ".2f"),
        high=Figure(safety.high, ".2f"),
        share=Figure(safety.below_one, ".0%"),
        bounds=MessageList(bounds, ", "),
        **further,
    )


def find_history_s(criterion: Criterion) -> float:
    """Return the span of rain of the method "infiltration", in seconds; zero for the method "measured"."""
    return dict(criterion.params).get("span_s", 0.0)


ENTRY: Final = KindEntry(
    Kind(id="factor_of_safety", followed=True, loosening="bounds", safe_params=RAIN_SAFE_PARAMS, drawn=("rain",)),
    SafetyTable,
    UnderBound,
    assess_safety,
    history_s=find_history_s,
    example="""
series = "S1.pore_pressure"
slope_deg = 30.0
depth_m = 2.0
cohesion_kpa = 10.0
friction_deg = 32.0
unit_weight_kn_m3 = 19.0
yellow = {under = 1.3}
""",
)
