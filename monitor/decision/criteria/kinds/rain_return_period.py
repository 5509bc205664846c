"""Return period of the rain in a window, in years, from annual maxima or from given quantiles."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final, Literal

from pydantic import Field

from forecasting.hydrology.return_period import (
    Extremes,
    TooFewYearsError,
    fit_extremes,
    join_quantiles,
    require_record,
    years_of_depth,
)
from monitor.decision.criteria.history import longest_rain_window
from monitor.decision.criteria.rain_gauge import Gauge, rain_kind
from monitor.decision.criteria.rainfall import Fact, each_gauge, measure_sums
from monitor.errors import ConfigError
from monitor.sites.criteria.entry import KindEntry
from monitor.sites.criteria.places import Places
from monitor.sites.criteria.rain_sections import RainTable
from monitor.sites.criteria.sections import OverBound, add_params
from monitor.sites.records import Criterion, Threshold
from monitor.text.instants import format_duration, parse_duration_s


class RainReturnTable(RainTable):
    """kind = "rain_return_period": bounds in years, from the site's annual maxima or given quantiles (mm) by window."""

    method: Literal["gumbel", "gev"] = Field("gumbel", description="the distribution that is fitted")
    annual_maxima: dict[str, tuple[float, ...]] = Field({}, description='{"24h" = [mm, ...]}, 10 years at least')
    quantiles: dict[str, tuple[tuple[float, float], ...]] = Field({}, description='{"24h" = [[years, mm], ...]}')

    def complete(self, criterion: Criterion, places: Places) -> Criterion:
        """Return the criterion with its bounds converted from years to mm."""
        return _fit_depths(super().complete(criterion, places), self, places.where)


def _fit_depths(criterion: Criterion, table: RainReturnTable, where: str) -> Criterion:
    maxima = {_read_window(k, f"{where}.annual_maxima"): v for k, v in table.annual_maxima.items()}
    quantiles = {_read_window(k, f"{where}.quantiles"): v for k, v in table.quantiles.items()}
    if maxima.keys() & quantiles.keys():
        raise ConfigError(f"{where}.quantiles: expected either annual_maxima or quantiles for a window, not both")
    thresholds: list[Threshold] = []
    params: dict[str, float] = {}
    for threshold in criterion.thresholds:
        years, window_s = threshold.over or 0.0, threshold.window_s or 0.0
        name = format_duration(window_s)
        if years <= 1.0:
            raise ConfigError(f"{where}: over: expected a return period of more than 1 year, got {years:g} years")
        if window_s not in maxima and window_s not in quantiles:
            raise ConfigError(f"{where}: no annual_maxima or quantiles for the window {name}")
        try:
            if window_s in quantiles:
                values = quantiles[window_s]
                if len(values) < 2:
                    raise ValueError("expected at least two quantiles [years, mm]")
                ordered = sorted(values)
                if any(t <= 1.0 for t, _ in ordered) or any(
                    b[1] <= a[1] or b[0] <= a[0] for a, b in itertools.pairwise(ordered)
                ):
                    raise ValueError("expected return periods above 1 year with rising depths")
                params |= {f"quantile:{window_s:g}:{t:g}": x for t, x in ordered}
                depth = join_quantiles(quantiles[window_s], years)
            else:
                fitted = fit_extremes(maxima[window_s], table.method)
                require_record(fitted, years)
                depth = fitted.depth(years)
                params |= {
                    f"location:{window_s:g}": fitted.location,
                    f"scale:{window_s:g}": fitted.scale,
                    f"shape:{window_s:g}": fitted.shape,
                    f"record:{window_s:g}": float(fitted.years),
                }
        except (TooFewYearsError, ValueError) as error:
            raise ConfigError(f"{where}: window {name}: {error}") from None
        thresholds.append(replace(threshold, over=depth))
        params[f"years:{threshold.level}"] = years
    return add_params(replace(criterion, thresholds=tuple(thresholds)), **params)


def _read_window(text: str, where: str) -> float:
    try:
        return parse_duration_s(text)
    except ValueError as error:
        raise ConfigError(f"{where}.{text}: {error}") from None


def measure_rarity(criterion: Criterion, gauge: Gauge) -> Sequence[Fact]:
    """Return one fact for each level, with the return period of the sum if it is known.

    The depths of the return periods were fitted when the site file was parsed.
    """
    params = dict(criterion.params)
    facts = []
    for fact in measure_sums(criterion, gauge):
        bound_years = params[f"years:{fact['level']}"]
        years = _find_return_years(params, fact["duration_s"], fact["sum_mm"])
        facts.append({**fact, "bound_years": bound_years, "years": years})
    return facts


def _find_return_years(params: Mapping[str, float], window_s: float, total_mm: float) -> float | None:
    """Return the return period of a sum; None beyond twice the record or outside the given quantiles."""
    window = f"{window_s:g}"
    if f"scale:{window}" in params:
        record = params[f"record:{window}"]
        fitted = Extremes(
            params[f"location:{window}"], params[f"scale:{window}"], params[f"shape:{window}"], int(record)
        )
        years = fitted.return_years(total_mm)
        return years if years <= 2.0 * record else None
    prefix = f"quantile:{window}:"
    quantiles = [(float(key.removeprefix(prefix)), depth) for key, depth in params.items() if key.startswith(prefix)]
    return years_of_depth(quantiles, total_mm)


ENTRY: Final = KindEntry(
    rain_kind(id="rain_return_period"),
    RainReturnTable,
    OverBound,
    each_gauge(measure_rarity),
    history_s=longest_rain_window,
    example="""
series = "S1.rain"
quantiles = {1d = [[2.0, 50.0], [10.0, 80.0]]}
yellow = {over = 5.0, window = "1d"}
""",
)
