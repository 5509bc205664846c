"""Rate of change per day of any series against bounds on either side: pressure, water, drawdown, tilt, crack."""

from dataclasses import dataclass
from typing import Final

from pydantic import Field

from monitor.criteria.entry import Entry
from monitor.criteria.kinds.velocity import judge_rates
from monitor.criteria.tables import Bound, MeasuredTable
from monitor.domain.kinds import Kind
from monitor.domain.site import Criterion
from monitor.domain.terms import Duration
from monitor.series.assessment import Assessment, Windows, stations_of


class RateBound(Bound):
    """The bound of one level on a rate (per day) in a window."""

    window: Duration


class RateTable(MeasuredTable):
    """kind = "rate"."""

    min_sigma: float = Field(default=3.0, ge=0.0)
    fast_track: float | None = Field(default=None, gt=1.0)


@dataclass(frozen=True, slots=True)
class RateRule:
    """The same error-aware fit as velocity; `under` with a negative bound watches a drawdown."""

    criterion: Criterion

    def assess(self, windows: Windows) -> tuple[Assessment, ...]:
        """One answer per station on the slope."""
        found = []
        for station in stations_of(windows, self.criterion):
            track = windows.track(self.criterion, station.id)
            spec = windows.site.series(station.id, self.criterion.quantity)
            if track.usable_s is None or spec is None or track.stuck:
                reason = "the instrument repeats one value" if track.stuck else "no usable data"
                found.append(Assessment(self.criterion.id, station.id, newest_s=track.usable_s, reason=reason))
                continue
            found.append(judge_rates(self.criterion, track, spec, windows, norm=False))
        return tuple(found)


ENTRY: Final = Entry(
    Kind(
        id="rate", per="/day", motion=True, rate=True, followed=True, scaled=True, loosening="bounds",
        drawn=("ray",),
    ),
    RateTable, RateBound, RateRule,
    example="""
series = "S1.tilt"
yellow = {under = -1.0, window = "1d"}
""",
)  # fmt: skip
