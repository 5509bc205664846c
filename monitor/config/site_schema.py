"""What a site file may contain, table by table; turning it into the domain's records is the reader's work."""

import datetime as dt
import math
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from monitor.domain.site import PLACEHOLDERS, Binding
from monitor.domain.terms import Duration, Horizon, Language, Section, Zone
from monitor.domain.topics import ROOT, reaches_own_topics

SITE_ID = r"^[a-z0-9-]{1,64}$"
STATION_ID = r"^[A-Za-z0-9_-]{1,64}$"
NAME = r"^[a-z][a-z0-9_]{0,31}$"
Latitude = Annotated[float, Field(ge=-90.0, le=90.0)]
Longitude = Annotated[float, Field(ge=-180.0, le=180.0)]
Name = Annotated[str, Field(pattern=NAME)]
Strings = tuple[str, ...]
Corners = Annotated[tuple[tuple[Latitude, Longitude], ...], Field(min_length=3, max_length=100)]


class SiteTable(Section):
    """[site]."""

    id: str = Field(pattern=SITE_ID)
    name: str = Field(min_length=1)
    latitude: Latitude
    longitude: Longitude
    timezone: Zone = "UTC"

    @field_validator("id")
    @classmethod
    def _not_reserved(cls, value: str) -> str:
        if value in {"status", "series"}:  # a folder of the inbox is called series
            raise ValueError(f"{value!r} is reserved for the service itself; expected another id")
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
    empty: float | None = Field(default=None, gt=0.0)
    physical: tuple[Literal["low", "high"], ...] = ()
    may_fall: float | None = Field(default=None, ge=0.0)
    may_rise: float | None = Field(default=None, ge=0.0)
    by_hand: bool = False
    source: Literal["", "image correlation", "velocity map"] = ""
    over_mm_per_day: float = Field(default=0.0, ge=0.0)


class OriginTable(Section):
    """`origin` of [[station]]: a place on the earth, or a baseline in a local frame."""

    since: dt.datetime
    latitude: Latitude | None = None
    longitude: Longitude | None = None
    height_m: float | None = None
    height: Literal["ellipsoid", "geoid"] = "ellipsoid"
    east_m: float | None = None
    north_m: float | None = None
    up_m: float | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> "OriginTable":
        if self.since.tzinfo is None:
            raise ValueError("since: expected a time with its zone, such as 2026-03-01T00:00:00Z")
        place, baseline = (self.latitude, self.longitude, self.height_m), (self.east_m, self.north_m, self.up_m)
        given = [part for part in (place, baseline) if part != (None, None, None)]
        if len(given) != 1 or None in given[0]:
            raise ValueError("expected latitude, longitude and height_m, or east_m, north_m and up_m")
        return self


class StationTable(Section):
    """[[station]]."""

    id: str = Field(pattern=STATION_ID)
    name: str = Field(default="", max_length=80)
    was: tuple[Annotated[str, Field(pattern=STATION_ID)], ...] = ()
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
    gateway: str | None = None
    power: str | None = None
    calibrated_on: dt.date | None = None
    calibrate_every: Duration | None = None
    on_slope: bool = True
    v_eq_mm_per_day: float | None = Field(default=None, gt=0.0)
    v_eq_reviewed: str = ""
    origin: OriginTable | None = None
    outline: Corners | None = None
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
    """[[decoder]]: which decoder reads the messages of a topic filter, and what it must be told."""

    topic: str = Field(min_length=1)
    name: str = Field(min_length=1)
    station: str = Field(default="", pattern=r"^[A-Za-z0-9_-]{0,64}$")
    series: dict[str, str] = Field(default_factory=dict)
    each: str = ""
    time: str = ""
    time_unit: str = ""
    device: str = ""
    quantity: str = ""
    unit: str = ""
    value: str = ""
    positions: str = ""
    date: str = ""
    zone: Zone = ""
    rain: str = ""

    @field_validator("topic")
    @classmethod
    def _whole_levels(cls, value: str) -> str:
        for part in value.split("/"):
            if ("{" in part or "}" in part) and part not in PLACEHOLDERS:
                raise ValueError(f"{part!r}: expected {' or '.join(PLACEHOLDERS)} as a whole level")
        for one in PLACEHOLDERS:
            if value.split("/").count(one) > 1:
                raise ValueError(f"{one} stands twice")
        if reaches_own_topics(Binding(value, "").topic):
            raise ValueError(f"expected a filter that reaches nothing below {ROOT}/, which the service reads itself")
        return value


class FusionRuleTable(Section):
    """[[fusion.rule]]; `when` is a tree: all, any, not, at_least with of, and leaves that name a criterion."""

    id: str = Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")
    level: str
    when: dict[str, Any]
    author: str = ""
    reason: str = ""


class NeighboursTable(Section):
    """[fusion.neighbours]."""

    above: str
    step_m: float = Field(gt=0.0)
    steps: int = Field(default=2, ge=1, le=10)
    criteria: Strings = ()


class FusionTable(Section):
    """[fusion]."""

    top_needs: int = Field(default=2, ge=1)
    hold_when_missing: Duration = 259200.0
    verify_within: Duration = 3600.0
    fast_track: bool = False
    rule: tuple[FusionRuleTable, ...] = ()
    neighbours: NeighboursTable | None = None


class ForecastTable(Section):
    """[forecast]."""

    models: Strings = Field(default=("auto",), min_length=1)
    horizons: tuple[Horizon, ...] = Field(default=(86400.0, 604800.0, 2592000.0), min_length=1)
    covariates: Strings = ()
    every: Duration = 21600.0
    expected_rain: dict[str, str] = Field(default_factory=dict)
    start_from: str = ""
    replay: Strings = ()

    @field_validator("horizons")
    @classmethod
    def _rising(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if list(value) != sorted(set(value)):
            raise ValueError("expected rising horizons")
        return value


class StageTable(Section):
    """[movement.<stage>]."""

    every: Duration | None = None
    forecast_every: Duration | None = None
    action: str = ""


class MovementTable(Section):
    """[movement]."""

    failure_velocity_mm_per_day: float | None = Field(default=None, gt=0.0)
    history: Duration = 400.0 * 86400.0
    creep: StageTable = StageTable()
    intermediate: StageTable = StageTable()
    progressive: StageTable = StageTable()
    step: StageTable = StageTable()
    unknown: StageTable = StageTable()


class AnomalyPlanTable(Section):
    """[anomaly]."""

    detectors: Strings = Field(default=("rules", "flatline", "replay", "unit-jump", "timing"), min_length=1)
    budget_per_sensor_month: float = Field(default=0.1, gt=0.0)
    every: Duration = 3600.0


class ScenesTable(Section):
    """[scenes]."""

    weights: str = "auto"
    minimum_area_m2: float = Field(default=900.0, ge=0.0)
    near_m: float = Field(default=500.0, gt=0.0)
    triage: bool = False
    prior: str = Field(default="", max_length=1000)
    dem: str = Field(default="", max_length=1000)


class LocalTable(Section):
    """`local` of [crs]."""

    into: str = Field(pattern=r"^EPSG:\d{4,6}$")
    affine: tuple[float, float, float, float, float, float]

    @field_validator("affine")
    @classmethod
    def _check_area(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if not all(map(math.isfinite, value)) or value[0] * value[4] == value[1] * value[3]:
            raise ValueError("six finite numbers a, b, c, d, e, f with a e - b d not 0")
        return value


class CrsTable(Section):
    """[crs]."""

    local: LocalTable | None = None


class RecipientTable(Section):
    """[[recipient]]."""

    name: str = Field(min_length=1)
    people: Strings = ()
    channels: Strings = ()
    levels: Strings | None = None
    ledgers: tuple[Literal["hazard", "health", "advice"], ...] = ("hazard", "health")
    escalate_after: Duration | None = None
    language: Language | None = None
    exercises: bool = False
    quiet: str = ""
    digest: str = ""
    phone: str = Field(default="", pattern=r"^(\+?[0-9][0-9 ()/.-]{2,30})?$")


class TeamTable(Section):
    """[[team]]."""

    name: str = Field(pattern=r"^[\w][\w .-]{0,39}$")
    members: Strings = Field(min_length=1, max_length=100)
    lead: str = ""


class ExposedTable(Section):
    """[[exposed]]."""

    name: str = Field(min_length=1, max_length=200)
    corners: Corners
    level: Name | None = None


class SiteFile(Section):
    """The whole file; levels and criteria are read apart because their keys depend on the level names."""

    site: SiteTable
    levels: dict[str, Any] = Field(default_factory=dict)
    station: tuple[StationTable, ...] = Field(min_length=1)
    quantity: tuple[QuantityTable, ...] = ()
    criterion: tuple[dict[str, Any], ...] = ()
    fusion: FusionTable = FusionTable()
    forecast: ForecastTable = ForecastTable()
    movement: MovementTable = MovementTable()
    anomaly: AnomalyPlanTable = AnomalyPlanTable()
    scenes: ScenesTable = ScenesTable()
    crs: CrsTable = CrsTable()
    recipient: tuple[RecipientTable, ...] = ()
    team: tuple[TeamTable, ...] = ()
    decoder: tuple[DecoderTable, ...] = ()
    exposed: tuple[ExposedTable, ...] = ()
