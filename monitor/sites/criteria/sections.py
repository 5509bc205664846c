"""Base tables of [[criterion]] and of its bounds, which the kinds of criteria extend."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Annotated, Final, Literal

from pydantic import Field, model_validator

from monitor.errors import ConfigError
from monitor.sections import Duration, Section
from monitor.sites.criteria.places import Places, find_series, match_stations, refuse_index
from monitor.sites.quantities import LARGEST
from monitor.sites.records import DEFAULT_RECOVER, DEFAULT_VALID_FOR_S, Criterion, Threshold

Share = Annotated[float, Field(gt=0.0, le=1.0)]
# Chance alone never reaches 20 standard errors. A higher value would suppress real motion.
Sureness = Annotated[float, Field(ge=0.0, le=20.0, description="required value in multiples of its standard error")]
Recovery = Annotated[Share, Field(description="the vote ends only below this share of the crossed bound")]
FastTrack = Annotated[float | None, Field(gt=1.0, description="no dwell is needed beyond this multiple of the bound")]
Direction = Annotated[Literal["downslope", "norm"], Field(description="`norm`: horizontal speed in any direction")]
LevelName = Annotated[str, Field(description="level that the criterion votes for")]
Window = Annotated[Duration, Field(description="time that the compared value is computed over")]
STATIONS: Final = "ids or globs; a glob does not match control stations"
OVER, UNDER = "crossed by a higher value", "crossed by a lower value"
# mm/day. A slide is very rapid from 3 m/min on (Cruden and Varnes 1996). A warning would be too late.
FASTEST: Final = 4.32e6
# mm. More than the highest yearly rain on Earth (Cherrapunji 1860/61: 26461 mm).
WETTEST: Final = 30_000.0
Strings = tuple[str, ...]
# Ids of stations, and the quantity.
Target = tuple[tuple[str, ...], str]


class DwellTable(Section):
    """`dwell` of a [[criterion]]."""

    hits: int = Field(default=1, ge=1, description="epochs that must be beyond the bound")
    of: int = Field(default=1, ge=1, description="number of newest distinct epochs that are checked")
    within: Duration | None = Field(default=None, description="all these epochs must be within this time")

    @model_validator(mode="after")
    def _check_hits(self) -> "DwellTable":
        if self.hits > self.of:
            raise ValueError(f"hits: expected at most of = {self.of}, got {self.hits}")
        return self


Dwelling = Annotated[DwellTable, Field(description="epochs that must be beyond the bound")]


# ---- bounds of one level ---------------------------------------------------------------------------------------
class LevelBound(Section):
    """The bound of one level: an upper bound, a lower bound, or both."""

    over: float | None = Field(default=None, ge=-LARGEST, le=LARGEST, description=OVER)
    under: float | None = Field(default=None, ge=-LARGEST, le=LARGEST, description=UNDER)

    @model_validator(mode="after")
    def _check_side(self) -> "LevelBound":
        if self.over is None and self.under is None:
            raise ValueError("expected over, under or both")
        if self.over is not None and self.under is not None and self.under >= self.over:
            raise ValueError(f"under: expected less than over = {self.over:g}, got {self.under:g}")
        return self


class OverBound(Section):
    """The bound of one level on a positive value: rain in mm, or drawdown in m/day."""

    over: float = Field(gt=0.0, le=WETTEST, description=OVER)
    window: Window


class SpeedBound(Section):
    """The bound of one level on a velocity in mm/day, or an acceleration in mm/day2."""

    over: float = Field(gt=0.0, le=FASTEST, description=OVER)
    window: Window


class DepthBound(Section):
    """The bound of one level on a depth of rain in mm."""

    over: float = Field(gt=0.0, le=WETTEST, description=OVER)


# ---- keys ------------------------------------------------------------------------------------------------------
class CriterionTable(Section):
    """Keys that every [[criterion]] has. The table of a kind adds its own."""

    kind: str = Field(description="kind of the criterion")
    id: str | None = Field(None, pattern=r"^[A-Za-z0-9_.-]{1,64}$", description="default: kind and number")
    role: Literal["witness", "advice", "part"] | None = Field(
        None, description="`part`: counts only inside fusion rules"
    )
    valid_for: Duration = Field(
        DEFAULT_VALID_FOR_S,
        description="how long a vote counts without newer data; default 1d, or the longest `max_silence`",
    )
    author: str = Field("", description="who set the bounds")
    reason: str = Field("", description="reason for the bounds")
    valid_until: dt.date | None = Field(None, description="date of review; an alarm is raised, the bounds still count")

    def find_target(self, places: Places) -> Target:
        """Return the stations and the quantity that the criterion reads. The base class has none.

        Raises:
            ConfigError: the table does not name them correctly.
        """
        del places
        return (), ""

    def refuse_bound(self, bound: Threshold, places: Places, key: str) -> None:
        """Reject the bound of a level that contradicts other parts of the site file. The base class accepts all.

        Raises:
            ConfigError: the bound is contradictory.
        """

    def refuse_order(self, bounds: Sequence[Threshold], places: Places) -> None:
        """Reject a bound of a higher level that is easier to cross than the bound of a lower level.

        Raises:
            ConfigError: the bounds are in the wrong order.
        """
        refuse_falling(bounds, places)

    def complete(self, criterion: Criterion, places: Places) -> Criterion:
        """Return the criterion with the values that only its kind has.

        Raises:
            ConfigError: a value of the kind is wrong.
        """
        del places
        return criterion


class StationsTable(CriterionTable):
    """A criterion over series of stations."""

    stations: Strings = Field((), description=STATIONS)
    series: str | Strings = Field((), description="`STATION.quantity`, or a list of these")
    quantity: str | None = Field(None, description="quantity for `stations`, if the kind has no default")

    def find_target(self, places: Places) -> Target:
        """Return the target of `series`, or of `stations` with a quantity."""
        where = places.where
        names = (self.series,) if isinstance(self.series, str) and self.series else tuple(self.series)
        if names:
            if self.stations or self.quantity:
                raise ConfigError(f"{where}.series: expected either series, or stations with quantity, not both")
            pairs = [find_series(name, places.stations, f"{where}.series") for name in names]
            for _, spec in pairs:
                refuse_index(spec, f"{where}.series")
            if len({spec.quantity for _, spec in pairs}) > 1:
                raise ConfigError(f"{where}.series: expected series of one quantity")
            return tuple(dict.fromkeys(station for station, _ in pairs)), pairs[0][1].quantity
        quantity = self.quantity or places.kind.quantity
        if not self.stations or quantity is None:
            raise ConfigError(f"{where}: expected series = 'STATION.quantity', or stations with quantity")
        return match_stations(self.stations, places.stations, quantity, f"{where}.stations"), quantity


class AroundTable(CriterionTable):
    """A criterion over the surroundings of stations. The series of the stations do not matter."""

    stations: Strings = Field(("*",), description=STATIONS)

    def find_target(self, places: Places) -> Target:
        """Return the stations, without a quantity."""
        return match_stations(self.stations, places.stations, None, f"{places.where}.stations"), ""


class RecoveringTable(StationsTable):
    """A criterion over series of stations whose rule applies `recover`."""

    recover: Recovery = DEFAULT_RECOVER


class MeasuredTable(RecoveringTable):
    """A criterion over series of stations whose rule applies `recover` and `dwell`."""

    dwell: Dwelling = DwellTable()


# ---- helpers of tables -----------------------------------------------------------------------------------------
def refuse_falling(bounds: Sequence[Threshold], places: Places, *, shorter_may: bool = False) -> None:
    """Reject a bound of a higher level that is easier to cross than the bound of the level below.

    Args:
        bounds: bounds by rising level.
        places: the criterion.
        shorter_may: accept a lower bound in a shorter window. The same rain in a shorter time is more dangerous.

    Raises:
        ConfigError: the bounds are in the wrong order.
    """
    sides: dict[int, set[str]] = {}
    for bound in bounds:
        sides.setdefault(bound.level, set()).add(bound.side)
    for (_, sides_below), (level, sides_above) in pairwise(sides.items()):
        if sides_below != sides_above:
            key = f"{places.where}.{places.levels[level].name}"
            raise ConfigError(f"{key}: expected the same sides (over, under or both) as the level below")
    for side in ("over", "under", ""):
        _refuse_falling_side([bound for bound in bounds if bound.side == side], places, shorter_may=shorter_may)


def _refuse_falling_side(bounds: Sequence[Threshold], places: Places, *, shorter_may: bool) -> None:
    """Reject bounds of one side of which a higher level is easier to cross than the level below."""
    for lower, higher in pairwise(bounds):
        key = f"{places.where}.{places.levels[higher.level].name}"
        if shorter_may and (higher.window_s or 0.0) < (lower.window_s or 0.0):
            continue
        if lower.over is not None and higher.over is not None and higher.over < lower.over:
            raise ConfigError(f"{key}.over: expected at least {lower.over:g}, the bound of the level below")
        if lower.under is not None and higher.under is not None and higher.under > lower.under:
            raise ConfigError(f"{key}.under: expected at most {lower.under:g}, the bound of the level below")


def add_params(criterion: Criterion, **params: float | None) -> Criterion:
    """Return the criterion with further numbers of its kind. Values of None are left out."""
    added = tuple((name, float(value)) for name, value in params.items() if value is not None)
    return replace(criterion, params=(*criterion.params, *added))
