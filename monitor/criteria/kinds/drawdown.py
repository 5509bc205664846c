"""Water that falls faster than the slope behind it can drain: reservoir, lake, river or pit water."""

from dataclasses import dataclass, replace
from typing import Final

from pydantic import Field

from forecasting.message import Duration, Figure, Template
from monitor.criteria.entry import Entry
from monitor.criteria.kinds.velocity import judge_rates
from monitor.criteria.tables import MeasuredTable, OverBound
from monitor.domain.kinds import Kind
from monitor.domain.site import Criterion
from monitor.series.assessment import Assessment, Windows, measure_nothing, open_track

_FALLS: Final = Template(
    "criterion.drawdown", "water falls {rate} ± {error} in {window}, bound {bound}, level {height}"
)


class DrawdownTable(MeasuredTable):
    """kind = "drawdown": how fast water falls, m/day."""

    min_sigma: float = Field(default=3.0, ge=0.0)


@dataclass(frozen=True, slots=True)
class DrawdownRule:
    """The error-aware rate of a water level, in m per day and downwards, against `over`; rising water never crosses.

    The gauge may stand off the slope: its station need not be `on_slope`.
    """

    criterion: Criterion

    def assess(self, windows: Windows) -> tuple[Assessment, ...]:
        """One answer per gauge."""
        falling = replace(
            self.criterion,
            thresholds=tuple(replace(t, over=None, under=-(t.over or 0.0)) for t in self.criterion.thresholds),
        )
        return tuple(self._assess(windows, falling, s) for s in self.criterion.stations)

    def _assess(self, windows: Windows, falling: Criterion, station: str) -> Assessment:
        found = open_track(windows, self.criterion, station)
        if isinstance(found, Assessment):
            return found
        track, spec = found
        word = judge_rates(falling, track, spec, windows, norm=False)
        known = [b for b in word.facts["bounds"] if "rate" in b]
        if not known:
            return replace(word, measure=measure_nothing)
        said = next((b for b in known if b["level"] == word.raise_level), known[0])
        per_day = f"{spec.unit}/day"
        reason = _FALLS(
            rate=Figure(-said["rate"], ".3g"), error=Figure(said["error"], ".2g", per_day),
            window=Duration(said["window_s"]), bound=Figure(-said["bound"], "g", per_day),
            height=Figure(track.along[-1], ".2f", spec.unit),
        )  # fmt: skip
        facts = {**word.facts, "drawdown_per_day": -said["rate"], "level_now": track.along[-1]}
        # water that falls is no motion of the slope: it neither accuses nor clears a reference
        return replace(word, reason=reason, facts=facts, measure=measure_nothing)


ENTRY: Final = Entry(
    Kind(
        id="drawdown", quantity="reservoir_level", per="/day", followed=True, trigger=True, scaled=True,
        loosening="bounds", drawn=("rain",),
    ),
    DrawdownTable, OverBound, DrawdownRule,
    example="""
stations = ["S1"]
yellow = {over = 0.5, window = "1d"}
""",
)  # fmt: skip
