"""What the shown forecast says: the mean velocity that its median implies until the horizon of each level."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pydantic import Field

from monitor.criteria.entry import Entry
from monitor.criteria.places import Places
from monitor.criteria.tables import MeasuredTable
from monitor.domain.decision import ForecastFact
from monitor.domain.instants import spell_duration
from monitor.domain.kinds import Kind
from monitor.domain.site import Criterion, Threshold
from monitor.domain.terms import Horizon, Section
from monitor.errors import ConfigError
from monitor.series.assessment import Assessment, Windows


class ForecastBound(Section):
    """The bound of one level on the forecast mean velocity (mm/day) until a horizon."""

    over: float = Field(gt=0.0)
    window: Horizon


class ForecastTable(MeasuredTable):
    """kind = "forecast"."""

    def refuse_bound(self, bound: Threshold, places: Places, key: str) -> None:
        """A bound asks for a horizon that the site forecasts; raises ConfigError."""
        if bound.window_s not in places.horizons_s:
            horizons = ", ".join(spell_duration(h) for h in places.horizons_s)
            raise ConfigError(f"{key}.window: expected one of forecast.horizons: {horizons}")


@dataclass(frozen=True, slots=True)
class ForecastRule:
    """Mean velocity that the shown forecast's median implies until the horizon of each level."""

    criterion: Criterion

    def assess(self, windows: Windows) -> tuple[Assessment, ...]:
        """One answer per station that has a shown forecast."""
        found = []
        for station in self.criterion.stations:
            rows = [f for f in windows.view.forecasts if f.station == station and f.shown and self._is_asked(f)]
            if not rows:
                found.append(Assessment(self.criterion.id, station, reason="no forecast is shown"))
                continue
            newest_s = max(f.data_until_s for f in rows)
            crossed = [t.level for t in self.criterion.thresholds if self._fastest(rows, t) > (t.over or 0.0)]
            level = max(crossed, default=0)
            fastest = max(self._fastest(rows, t) for t in self.criterion.thresholds)
            found.append(
                Assessment(
                    self.criterion.id,
                    station,
                    level,
                    level,
                    heard=True,
                    fresh=windows.is_fresh(newest_s, windows.site.series(station, self.criterion.quantity)),
                    newest_s=newest_s,
                    reason=f"forecast velocity {fastest:.2f} mm/day",
                    facts={"velocity_mm_per_day": fastest},
                )
            )
        return tuple(found)

    def _is_asked(self, fact: ForecastFact) -> bool:
        wanted = self.criterion.quantity
        return fact.quantity == wanted or (wanted == "displacement" and fact.quantity.startswith("displacement"))

    @staticmethod
    def _fastest(rows: Sequence[ForecastFact], threshold: Threshold) -> float:
        rates = [
            (f.q50 - f.data_value) / ((f.target_s - f.data_until_s) / 86400.0)
            for f in rows
            if f.target_s > f.data_until_s and (threshold.window_s is None or f.horizon_s == threshold.window_s)
        ]
        return max(rates, default=0.0)


ENTRY: Final = Entry(
    Kind(
        id="forecast", role="advice", source="suggestion", quantity="displacement", unit="mm/day", facts="forecasts",
        plan="forecast", loosening="bounds",
    ),
    ForecastTable, ForecastBound, ForecastRule,
    example="""
stations = ["S1"]
yellow = {over = 5.0, window = "1d"}
""",
)  # fmt: skip
