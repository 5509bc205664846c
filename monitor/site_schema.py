"""What a site file may contain, table by table; turning it into the domain's records is the reader's work."""

import datetime as dt
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import Field, field_validator, model_validator

from monitor.config_terms import Duration, Horizon, Section

SITE_ID = r"^[a-z0-9-]{1,64}$"
STATION_ID = r"^[A-Za-z0-9_-]{1,64}$"
NAME = r"^[a-z][a-z0-9_]{0,31}$"
Latitude = Annotated[float, Field(ge=-90.0, le=90.0)]
Longitude = Annotated[float, Field(ge=-180.0, le=180.0)]
Share = Annotated[float, Field(gt=0.0, le=1.0)]
Name = Annotated[str, Field(pattern=NAME)]
Strings = tuple[str, ...]


class SiteTable(Section):
    """[site]."""

    id: str = Field(pattern=SITE_ID)
    name: str = Field(min_length=1)
    latitude: Latitude
    longitude: Longitude
    timezone: str = "UTC"

    @field_validator("id")
    @classmethod
    def _not_reserved(cls, value: str) -> str:
        if value == "status":
            raise ValueError("'status' is reserved for the service itself; expected another id")
        return value

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (KeyError, ValueError, OSError):
            raise ValueError(f"expected an IANA time zone such as 'Europe/Zurich', got {value!r}") from None
        return value


class LevelsTable(Section):
    """[levels] without the tables of the single levels."""

    names: tuple[Name, ...] = Field(default=("green", "yellow", "orange", "red"), min_length=2)
    auto_lower: Strings | None = None

    @model_validator(mode="after")
    def _consistent(self) -> "LevelsTable":
        if len(set(self.names)) != len(self.names):
            raise ValueError("names: expected different names")
        for name in self.auto_lower or ():
            if name not in self.names:
                raise ValueError(f"auto_lower: {name!r} is no level; expected some of: {', '.join(self.names)}")
        return self


class LevelTable(Section):
    """[levels.<name>]."""

    action: str = ""
    review_every: Duration | None = None


class SeriesTable(Section):
    """[[station.series]]; numbers are in `unit` unless the key names another."""

    quantity: str
    unit: str
    interval: Duration
    max_silence: Duration | None = None
    noise_floor: float | None = Field(default=None, ge=0.0)
    noise_floor_mm: float | None = Field(default=None, ge=0.0)
    verify_step: float | None = Field(default=None, gt=0.0)
    verify_step_mm: float | None = Field(default=None, gt=0.0)
    stamp: Literal["interval_end", "counter", "event"] = "interval_end"
    low: float | None = None
    high: float | None = None


class StationTable(Section):
    """[[station]]."""

    id: str = Field(pattern=STATION_ID)
    latitude: Latitude | None = None
    longitude: Longitude | None = None
    height_m: float | None = None
    azimuth_deg: float | None = Field(default=None, ge=0.0, le=360.0)
    plunge_deg: float | None = Field(default=None, ge=-90.0, le=90.0)
    reference: str | None = None
    logger: str | None = None
    antenna: str | None = None
    footprint: str | None = None
    area: str | None = Field(default=None, pattern=STATION_ID)
    on_slope: bool = True
    v_eq_mm_per_day: float | None = Field(default=None, gt=0.0)
    v_eq_reviewed: str = ""
    series: tuple[SeriesTable, ...] = ()

    @model_validator(mode="after")
    def _reviewed(self) -> "StationTable":
        if self.v_eq_mm_per_day is not None and not self.v_eq_reviewed.strip():
            raise ValueError("v_eq_reviewed: expected who reviewed v_eq_mm_per_day, when and on which data")
        return self


class QuantityTable(Section):
    """[[quantity]]: a quantity of the site's own."""

    name: Name
    unit: str = Field(min_length=1, max_length=32)
    low: float | None = None
    high: float | None = None


class DecoderTable(Section):
    """[[decoder]]: which decoder reads the messages of a topic filter."""

    topic: str = Field(min_length=1)
    name: str = Field(min_length=1)


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


class Bound(Section):
    """The bound of one level."""

    over: float | None = None
    under: float | None = None

    @model_validator(mode="after")
    def _one_side(self) -> "Bound":
        if (self.over is None) == (self.under is None):
            raise ValueError("expected exactly one of over, under")
        return self


class RateBound(Bound):
    """The bound of one level on a rate (per day) in a window."""

    window: Duration


class OverBound(Section):
    """The bound of one level on something that only rises: velocity in mm/day, rain in mm."""

    over: float = Field(gt=0.0)
    window: Duration


class ForecastBound(Section):
    """The bound of one level on the forecast mean velocity (mm/day) until a horizon."""

    over: float = Field(gt=0.0)
    window: Horizon


class CriterionTable(Section):
    """What every [[criterion]] has."""

    kind: str
    id: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_.-]{1,64}$")
    role: Literal["witness", "advice", "part"] | None = None
    valid_for: Duration = 86400.0
    author: str = ""
    reason: str = ""
    valid_until: dt.date | None = None


class MeasuredTable(CriterionTable):
    """A criterion over series of stations, with a bound for each level."""

    stations: Strings = ()
    series: str | Strings = ()
    quantity: str | None = None
    dwell: DwellTable = DwellTable()
    recover: Share = 0.8


class VelocityTable(MeasuredTable):
    """kind = "velocity"."""

    direction: Literal["downslope", "norm"] = "downslope"
    min_sigma: float = Field(default=3.0, ge=0.0)


class RateTable(MeasuredTable):
    """kind = "rate"."""

    min_sigma: float = Field(default=3.0, ge=0.0)


class RainSumTable(MeasuredTable):
    """kind = "rain_sum"."""

    min_coverage: Share = 0.8


class RainCurveTable(CriterionTable):
    """kind = "rain_intensity_duration": I = c + a * D**-b, I in mm/h, D in h."""

    series: str
    a: float = Field(gt=0.0)
    b: float = Field(gt=0.0)
    c: float = 0.0
    duration: tuple[Duration, Duration]
    min_coverage: Share = 0.8
    level: str
    recover: Share = 0.8


class AnomalyTable(CriterionTable):
    """kind = "anomaly"."""

    stations: Strings = ("*",)
    level: str


class SceneTable(CriterionTable):
    """kind = "scene"."""

    stations: Strings = ("*",)
    level: str
    near_m: float = Field(default=500.0, gt=0.0)


class ReportTable(CriterionTable):
    """kind = "report"."""

    kinds: tuple[str, ...] = Field(min_length=1)
    level: str


# kind -> (its keys, the bound of each level or None where one `level` is named, role when none is given)
KINDS: dict[str, tuple[type[CriterionTable], type[Section] | None, str]] = {
    "velocity": (VelocityTable, OverBound, "witness"),
    "level": (MeasuredTable, Bound, "witness"),
    "rate": (RateTable, RateBound, "witness"),
    "rain_sum": (RainSumTable, OverBound, "witness"),
    "rain_intensity_duration": (RainCurveTable, None, "witness"),
    "forecast": (MeasuredTable, ForecastBound, "advice"),
    "anomaly": (AnomalyTable, None, "advice"),
    "scene": (SceneTable, None, "advice"),
    "report": (ReportTable, None, "witness"),
}


class FusionTable(Section):
    """[fusion]."""

    top_needs: int = Field(default=2, ge=1)
    hold_when_missing: Duration = 259200.0
    verify_within: Duration = 3600.0


class ForecastTable(Section):
    """[forecast]."""

    models: Strings = Field(default=("auto",), min_length=1)
    horizons: tuple[Horizon, ...] = Field(default=(86400.0, 604800.0, 2592000.0), min_length=1)
    covariates: Strings = ()
    every: Duration = 21600.0

    @field_validator("horizons")
    @classmethod
    def _rising(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if list(value) != sorted(set(value)):
            raise ValueError("expected rising horizons")
        return value


class AnomalyPlanTable(Section):
    """[anomaly]."""

    detectors: Strings = Field(default=("persistence-z",), min_length=1)
    budget_per_sensor_month: float = Field(default=0.1, gt=0.0)
    every: Duration = 3600.0


class ScenesTable(Section):
    """[scenes]."""

    weights: str = "generated"
    minimum_area_m2: float = Field(default=900.0, ge=0.0)
    near_m: float = Field(default=500.0, gt=0.0)


class RecipientTable(Section):
    """[[recipient]]."""

    name: str = Field(min_length=1)
    channels: Strings = Field(min_length=1)
    levels: Strings | None = None
    ledgers: tuple[Literal["hazard", "health", "advice"], ...] = ("hazard", "health")
    escalate_after: Duration | None = None


class SiteFile(Section):
    """The whole file; levels and criteria are read apart because their keys depend on the level names."""

    site: SiteTable
    levels: dict[str, Any] = Field(default_factory=dict)
    station: tuple[StationTable, ...] = Field(min_length=1)
    quantity: tuple[QuantityTable, ...] = ()
    criterion: tuple[dict[str, Any], ...] = ()
    fusion: FusionTable = FusionTable()
    forecast: ForecastTable = ForecastTable()
    anomaly: AnomalyPlanTable = AnomalyPlanTable()
    scenes: ScenesTable = ScenesTable()
    recipient: tuple[RecipientTable, ...] = ()
    decoder: tuple[DecoderTable, ...] = ()
