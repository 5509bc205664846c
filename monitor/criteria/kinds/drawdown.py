"""Water that falls faster than the slope behind it can drain: reservoir, lake, river or pit water."""

from dataclasses import dataclass, replace
from typing import Final

from pydantic import Field

from monitor.criteria.entry import Entry
from monitor.criteria.kinds.velocity import judge_rates
from monitor.criteria.tables import MeasuredTable, OverBound
from monitor.domain.instants import spell_duration
from monitor.domain.kinds import Kind
from monitor.domain.site import Criterion
from monitor.series.assessment import Assessment, Windows, measure_nothing


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
        track = windows.track(self.criterion, station)
        spec = windows.site.series(station, self.criterion.quantity)
        if track.usable_s is None or spec is None or track.stuck:
            reason = "the instrument repeats one value" if track.stuck else "no usable data"
            return Assessment(self.criterion.id, station, newest_s=track.usable_s, reason=reason)
        word = judge_rates(falling, track, spec, windows, norm=False)
        known = [b for b in word.facts["bounds"] if "rate" in b]
        if not known:
            return replace(word, measure=measure_nothing)
        said = next((b for b in known if b["level"] == word.raise_level), known[0])
        reason = (
            f"water falls {-said['rate']:.3g} ± {said['error']:.2g} {spec.unit}/day in "
            f"{spell_duration(said['window_s'])}, bound {-said['bound']:g} {spec.unit}/day, "
            f"level {track.along[-1]:.2f} {spec.unit}"
        )
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
