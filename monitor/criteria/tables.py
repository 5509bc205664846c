"""What the tables of several kinds of criteria share: keys, bounds, and how they become a criterion."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Annotated, Final, Literal

from pydantic import Field, model_validator

from monitor.criteria.places import Places, find_series, match_stations, refuse_index
from monitor.domain.site import Criterion, Threshold
from monitor.domain.terms import Duration, Section
from monitor.errors import ConfigError
from monitor.series.tracks import LARGEST

Share = Annotated[float, Field(gt=0.0, le=1.0)]
# standard errors: chance alone never makes so many, and whoever asks for more hears of no motion
Sureness = Annotated[float, Field(ge=0.0, le=20.0)]
FASTEST: Final = 4.32e6  # mm/day: from 3 m/min on a slide is very rapid (Cruden and Varnes 1996), and no warning helps
WETTEST: Final = 30_000.0  # mm: no place on earth had so much rain in a year (Cherrapunji 1860/61: 26461 mm)
Strings = tuple[str, ...]
Target = tuple[tuple[str, ...], str]  # ids of stations, and the quantity


class DwellTable(Section):
    """criterion.dwell."""

    hits: int = Field(default=1, ge=1)
    of: int = Field(default=1, ge=1)
    within: Duration | None = None

    @model_validator(mode="after")
    def _possible(self) -> "DwellTable":
        if self.hits > self.of:
            raise ValueError(f"hits: expected at most of = {self.of}, got {self.hits}")
        return self


# ---- bounds of one level ---------------------------------------------------------------------------------------
class LevelBound(Section):
    """The bound of one level."""

    over: float | None = Field(default=None, ge=-LARGEST, le=LARGEST)
    under: float | None = Field(default=None, ge=-LARGEST, le=LARGEST)

    @model_validator(mode="after")
    def _one_side(self) -> "LevelBound":
        if (self.over is None) == (self.under is None):
            raise ValueError("expected exactly one of over, under")
        return self


class OverBound(Section):
    """The bound of one level on something that only rises: rain in mm, how fast water falls in m/day."""

    over: float = Field(gt=0.0, le=WETTEST)
    window: Duration


class SpeedBound(Section):
    """The bound of one level on a velocity in mm/day, or an acceleration in mm/day2."""

    over: float = Field(gt=0.0, le=FASTEST)
    window: Duration


class DepthBound(Section):
    """The bound of one level on a depth of rain in mm."""

    over: float = Field(gt=0.0, le=WETTEST)


# ---- keys ------------------------------------------------------------------------------------------------------
class CriterionTable(Section):
    """What every [[criterion]] has. A kind says in its own table what differs."""

    kind: str
    id: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_.-]{1,64}$")
    role: Literal["witness", "advice", "part"] | None = None
    valid_for: Duration = 86400.0
    author: str = ""
    reason: str = ""
    valid_until: dt.date | None = None

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

    stations: Strings = ()
    series: str | Strings = ()
    quantity: str | None = None

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

    stations: Strings = ("*",)

    def find_target(self, places: Places) -> Target:
        """The stations."""
        return match_stations(self.stations, places.stations, None, f"{places.where}.stations"), ""


class MeasuredTable(StationsTable):
    """A criterion over series of stations, with a dwell."""

    dwell: DwellTable = DwellTable()
    recover: Share = 0.8


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
