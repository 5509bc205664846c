"""What the tables of several kinds of criteria share: keys, bounds, and how they become a criterion."""

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
from monitor.sites.records import Criterion, Threshold

Share = Annotated[float, Field(gt=0.0, le=1.0)]
# chance alone never makes 20 standard errors, and whoever asks for more hears of no motion
Sureness = Annotated[float, Field(ge=0.0, le=20.0, description="how many of its own standard errors it must be")]
Recovery = Annotated[Share, Field(description="it falls only below this share of the bound that it crossed")]
FastTrack = Annotated[float | None, Field(gt=1.0, description="beyond so many times the bound no dwell is needed")]
Direction = Annotated[Literal["downslope", "norm"], Field(description="`norm`: horizontal speed, whatever its way")]
LevelName = Annotated[str, Field(description="the level that it asks for")]
Window = Annotated[Duration, Field(description="the time that the bound is computed over")]
STATIONS: Final = "ids or globs; a glob leaves control stations out"
OVER, UNDER = "crossed by what is more", "crossed by what is less"
FASTEST: Final = 4.32e6  # mm/day: from 3 m/min on a slide is very rapid (Cruden and Varnes 1996), and no warning helps
WETTEST: Final = 30_000.0  # mm: no place on earth had so much rain in a year (Cherrapunji 1860/61: 26461 mm)
Strings = tuple[str, ...]
Target = tuple[tuple[str, ...], str]  # ids of stations, and the quantity


class DwellTable(Section):
    """criterion.dwell."""

    hits: int = Field(default=1, ge=1, description="so many")
    of: int = Field(default=1, ge=1, description="of the last distinct data epochs must be over the bound")
    within: Duration | None = Field(default=None, description="and all within this time")

    @model_validator(mode="after")
    def _possible(self) -> "DwellTable":
        if self.hits > self.of:
            raise ValueError(f"hits: expected at most of = {self.of}, got {self.hits}")
        return self


Dwelling = Annotated[DwellTable, Field(description="distinct data epochs that must be over the bound")]


# ---- bounds of one level ---------------------------------------------------------------------------------------
class LevelBound(Section):
    """The bound of one level."""

    over: float | None = Field(default=None, ge=-LARGEST, le=LARGEST, description=OVER)
    under: float | None = Field(default=None, ge=-LARGEST, le=LARGEST, description=UNDER)

    @model_validator(mode="after")
    def _one_side(self) -> "LevelBound":
        if (self.over is None) == (self.under is None):
            raise ValueError("expected exactly one of over, under")
        return self


class OverBound(Section):
    """The bound of one level on something that only rises: rain in mm, how fast water falls in m/day."""

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
    """What every [[criterion]] has. A kind says in its own table what differs."""

    kind: str = Field(description="what is compared with the bound of each level")
    id: str | None = Field(None, pattern=r"^[A-Za-z0-9_.-]{1,64}$", description="default kind and number")
    role: Literal["witness", "advice", "part"] | None = Field(None, description="`part`: inside fusion rules only")
    valid_for: Duration = Field(
        86400.0, description="how long a vote counts without newer data; default that, or the longest `max_silence`"
    )
    author: str = Field("", description="who set these numbers")
    reason: str = Field("", description="on what grounds")
    valid_until: dt.date | None = Field(None, description="day of review, of which an alarm reminds; bounds go on")

    def find_target(self, places: Places) -> Target:
        """The stations and the quantity that it looks at; none here. Raises ConfigError."""
        del places
        return (), ""

    def refuse_bound(self, bound: Threshold, places: Places, key: str) -> None:
        """Refuse one level's bound for what the site file says elsewhere; nothing here."""

    def refuse_order(self, bounds: Sequence[Threshold], places: Places) -> None:
        """Refuse bounds of which a graver level asks for less."""
        refuse_falling(bounds, places)

    def complete(self, criterion: Criterion, places: Places) -> Criterion:
        """The criterion with what only its kind knows; raises ConfigError."""
        del places
        return criterion


class StationsTable(CriterionTable):
    """A criterion over series of stations."""

    stations: Strings = Field((), description=STATIONS)
    series: str | Strings = Field((), description="`STATION.quantity`, or a list of them")
    quantity: str | None = Field(None, description="of stations, where the kind names none")

    def find_target(self, places: Places) -> Target:
        """Either `series`, or `stations` with a quantity."""
        where = places.where
        names = (self.series,) if isinstance(self.series, str) and self.series else tuple(self.series)
        if names:
            if self.stations or self.quantity:
                raise ConfigError(f"{where}.series: expected either series, or stations with quantity")
            pairs = [find_series(n, places.stations, f"{where}.series") for n in names]
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
    """A criterion over what lies around stations, whatever these measure."""

    stations: Strings = Field(("*",), description=STATIONS)

    def find_target(self, places: Places) -> Target:
        """The stations."""
        return match_stations(self.stations, places.stations, None, f"{places.where}.stations"), ""


class RecoveringTable(StationsTable):
    """A criterion over series of stations whose rule applies `recover`."""

    recover: Recovery = 0.8


class MeasuredTable(RecoveringTable):
    """A criterion over series of stations whose rule applies `recover` and `dwell`."""

    dwell: Dwelling = DwellTable()


# ---- what tables do with them ----------------------------------------------------------------------------------
def refuse_falling(bounds: Sequence[Threshold], places: Places, *, shorter_may: bool = False) -> None:
    """Refuse bounds that fall with a rising level; `shorter_may`: a smaller sum in a shorter window may be graver."""
    for lower, higher in pairwise(bounds):
        key = f"{places.where}.{places.levels[higher.level].name}"
        if (lower.over is None) != (higher.over is None):
            raise ConfigError(f"{key}: expected the same side (over or under) as the level below")
        if shorter_may and (higher.window_s or 0.0) < (lower.window_s or 0.0):
            continue
        if lower.over is not None and higher.over is not None and higher.over < lower.over:
            raise ConfigError(f"{key}.over: expected at least {lower.over:g}, the bound of the level below")
        if lower.under is not None and higher.under is not None and higher.under > lower.under:
            raise ConfigError(f"{key}.under: expected at most {lower.under:g}, the bound of the level below")


def add_params(criterion: Criterion, **params: float | None) -> Criterion:
    """The criterion with further numbers of its kind; what is None is left out."""
    found = tuple((k, float(v)) for k, v in params.items() if v is not None)
    return replace(criterion, params=(*criterion.params, *found))
