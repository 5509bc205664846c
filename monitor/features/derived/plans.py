"""Prepare the calculated series of a site: which series each one reads, and in which order they are computed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from graphlib import TopologicalSorter
from math import ceil, floor
from typing import Final, NamedTuple

from monitor.api.sites import Calculation, SeriesSpec, Site
from monitor.features.derived.expression import Expression, parse_expression
from monitor.features.derived.relative import list_components
from monitor.features.derived.samples import Series
from monitor.features.derived.units import parse_unit

# Instants are stored to the microsecond. Multiples of `every` are compared with this tolerance.
INSTANT_TOLERANCE_S: Final = 1e-6


@dataclass(frozen=True, eq=False)
class Plan:
    """One calculated series, ready to be computed."""

    name: str  # `STATION.quantity`
    spec: SeriesSpec
    calculation: Calculation
    expression: Expression
    first: Series  # the input that gives the instants, or that completes an instant of `every`
    scales: Mapping[Series, float]  # base units in one unit of each input
    scale: float  # base units in one unit of the series
    low: float  # lowest expected value
    high: float  # highest expected value
    early_s: float  # how far after an instant a reading may lie that represents it
    slack_s: float  # how far before an instant such a reading may lie
    behind_s: float  # how far before an instant the expression reads at all
    level: int  # 0 reads measured series only; n reads at least one series of level n - 1
    silences_s: Mapping[Series, float]  # how long each input may be silent, where the site file declares it

    @property
    def place(self) -> Series:
        """Return station and quantity."""
        return self.spec.station, self.spec.quantity

    @property
    def interval_s(self) -> float:
        """Return the expected time between two values."""
        return self.calculation.every_s or self.spec.interval_s

    def list_grid(self, from_s: float, to_s: float) -> list[float]:
        """Return the instants of `every` in [from_s, to_s]."""
        every_s = self.calculation.every_s
        first = ceil((from_s - INSTANT_TOLERANCE_S) / every_s)
        last = floor((to_s + INSTANT_TOLERANCE_S) / every_s)
        return [k * every_s for k in range(first, last + 1)]


class SitePlans(NamedTuple):
    """The calculated series of a site."""

    each: Sequence[Plan]  # every series after those that it reads
    by_name: Mapping[str, Plan]
    scales: Mapping[Series, float]  # base units in one unit of each series that an expression reads
    readers: Mapping[Series, Sequence[Plan]]  # by series, the calculated series that read it


@lru_cache(maxsize=64)
def plan_site(site: Site) -> SitePlans:
    """Return the calculated series of a site in the order in which they are computed.

    Ingest calls this function for each message, so the result is cached.
    """
    specs = {
        (component.station, component.quantity): component
        for station in site.stations
        for spec in station.series
        for component in list_components(spec)
    }
    calculations = {place: spec.calculation for place, spec in specs.items() if spec.calculation is not None}
    order = TopologicalSorter({place: calculation.places for place, calculation in calculations.items()})
    plans: dict[Series, Plan] = {}
    for place in order.static_order():
        if place in calculations:
            inputs = calculations[place].places
            level = max((plans[one].level + 1 for one in inputs if one in plans), default=0)
            plans[place] = _make_plan(site, specs[place], calculations[place], level)
    readers: dict[Series, list[Plan]] = {}
    for plan in plans.values():
        for place in plan.scales:
            readers.setdefault(place, []).append(plan)
    each = sorted(plans.values(), key=lambda plan: plan.level)
    scales = {place: scale for plan in each for place, scale in plan.scales.items()}
    return SitePlans(each, {plan.name: plan for plan in each}, scales, readers)


def _list_silences(site: Site, places: Sequence[Series]) -> dict[Series, float]:
    """List how long inputs may be silent, in seconds, where the site file declares it."""
    specs = {place: site.series(*place) for place in places}
    return {place: spec.max_silence_s for place, spec in specs.items() if spec is not None and not spec.learns_silence}


def _make_plan(site: Site, spec: SeriesSpec, calculation: Calculation, level: int) -> Plan:
    def find_unit(place: Series) -> str | None:
        expected = site.find_expected_range(*place)
        return None if expected is None else expected.unit

    own_units = {unit for _, unit in site.quantities}
    expected = site.find_expected_range(spec.station, spec.quantity)
    assert expected is not None
    expression = parse_expression(calculation.expression, find_unit, own_units)
    slack_s = max(calculation.within_s, calculation.hold_s)
    return Plan(
        name=f"{spec.station}.{spec.quantity}",
        spec=spec,
        calculation=calculation,
        expression=expression,
        first=calculation.places[0],
        scales={place: unit.scale for place, unit in zip(expression.inputs, expression.units, strict=True)},
        scale=parse_unit(spec.unit, own_units).scale,
        low=expected.low,
        high=expected.high,
        early_s=0.0 if calculation.hold_s else calculation.within_s,
        slack_s=slack_s,
        behind_s=slack_s + expression.reach_s,
        level=level,
        silences_s=_list_silences(site, calculation.places),
    )
