"""What a site file may contain, table by table; turning it into the domain's records is the reader's work."""

import datetime as dt
import math
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import Field, field_validator, model_validator

from monitor.domain.terms import Duration, Horizon, Section

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


class DepthBound(Section):
    """The bound of one level on a depth of rain in mm."""

    over: float = Field(gt=0.0)


class UnderBound(Section):
    """The bound of one level on a factor of safety."""

    under: float = Field(gt=0.0)


class ShakingBound(Section):
    """The bound of one level on peak ground acceleration (g), on Newmark displacement (cm), or both: either crosses."""

    over: float | None = Field(default=None, gt=0.0, le=5.0)
    newmark_cm: float | None = Field(default=None, gt=0.0)

    @model_validator(mode="after")
    def _something(self) -> "ShakingBound":
        if self.over is None and self.newmark_cm is None:
            raise ValueError("expected over (g), newmark_cm, or both")
        return self


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
    fast_track: float | None = Field(default=None, gt=1.0)


class RateTable(MeasuredTable):
    """kind = "rate"."""

    min_sigma: float = Field(default=3.0, ge=0.0)
    fast_track: float | None = Field(default=None, gt=1.0)


class RainTable(MeasuredTable):
    """What criteria on a rain gauge share; `forecast` names the series of expected rain by how far it reaches."""

    min_coverage: Share = 0.8
    forecast: dict[str, str] = Field(default_factory=dict)
    forecast_valid: Duration = 43200.0


class RainSumTable(RainTable):
    """kind = "rain_sum"."""


class RainAntecedentTable(RainTable):
    """kind = "rain_antecedent": sum of rain * decay**age, or recent rain + weight * rain before it, in mm."""

    decay: float | None = Field(default=None, gt=0.0, lt=1.0)
    span: Duration | None = None
    recent: Duration | None = None
    antecedent: Duration | None = None
    weight: float | None = Field(default=None, gt=0.0)

    @model_validator(mode="after")
    def _one_form(self) -> "RainAntecedentTable":
        index, split = (self.decay, self.span), (self.recent, self.antecedent, self.weight)
        if not ((None not in index and split == (None,) * 3) or (None not in split and index == (None,) * 2)):
            raise ValueError("expected either decay and span, or recent, antecedent and weight")
        return self


class RainReturnTable(RainTable):
    """kind = "rain_return_period": bounds in years, from the site's annual maxima or given quantiles (mm) by window."""

    method: Literal["gumbel", "gev"] = "gumbel"
    annual_maxima: dict[str, tuple[float, ...]] = Field(default_factory=dict)
    quantiles: dict[str, tuple[tuple[float, float], ...]] = Field(default_factory=dict)


class RainLearnedTable(RainTable):
    """kind = "rain_learned": what `slopeward thresholds learn` found on the site's own events."""

    window: Duration
    lag: Duration
    over: float = Field(gt=0.0)
    events: int = Field(ge=1)
    level: str


class SafetyTable(MeasuredTable):
    """kind = "factor_of_safety": an infinite slope; pore pressure measured, or from rain by infiltration."""

    method: Literal["measured", "infiltration"] = "measured"
    slope_deg: float = Field(gt=0.0, lt=90.0)
    depth_m: float = Field(gt=0.0)
    cohesion_kpa: float = Field(ge=0.0)
    friction_deg: float = Field(gt=0.0, lt=90.0)
    unit_weight_kn_m3: float = Field(gt=0.0)
    depth_sd_m: float = Field(default=0.0, ge=0.0)
    cohesion_sd_kpa: float = Field(default=0.0, ge=0.0)
    friction_sd_deg: float = Field(default=0.0, ge=0.0)
    unit_weight_sd_kn_m3: float = Field(default=0.0, ge=0.0)
    pressure_sd_kpa: float = Field(default=0.0, ge=0.0)
    judge: Literal["best", "low"] = "best"
    suction: bool = False
    sensor_depth_m: float | None = Field(default=None, gt=0.0)
    ground_level_m: float | None = None
    conductivity_m_per_s: float | None = Field(default=None, gt=0.0)
    diffusivity_m2_per_s: float | None = Field(default=None, gt=0.0)
    water_table_m: float | None = Field(default=None, ge=0.0)
    steady_flux_m_per_s: float = Field(default=0.0, ge=0.0)
    span: Duration = 864000.0
    ahead: Duration | None = None
    min_coverage: Share = 0.8
    recover: Share = 0.95


class DrawdownTable(MeasuredTable):
    """kind = "drawdown": how fast water falls, m/day."""

    min_sigma: float = Field(default=3.0, ge=0.0)


class EarthquakeTable(CriterionTable):
    """kind = "earthquake": declared shaking; asks for an inspection and may make bounds stricter for a time."""

    critical_acceleration_g: float | None = Field(default=None, ge=0.001)
    factor_of_safety: float | None = Field(default=None, gt=1.0)
    slope_deg: float | None = Field(default=None, gt=0.0, lt=90.0)
    lower_to: Share = 1.0
    lower_for: Duration | None = None

    @model_validator(mode="after")
    def _complete(self) -> "EarthquakeTable":
        if (self.factor_of_safety is None) != (self.slope_deg is None):
            raise ValueError("factor_of_safety: expected together with slope_deg")
        if self.critical_acceleration_g is not None and self.factor_of_safety is not None:
            raise ValueError("expected either critical_acceleration_g, or factor_of_safety with slope_deg")
        if (self.lower_to < 1.0) != (self.lower_for is not None):
            raise ValueError("lower_to: expected together with lower_for")
        return self


class RainCurveTable(CriterionTable):
    """kind = "rain_intensity_duration": I = c + a * D**-b, I in mm/h, D in h."""

    series: str
    a: float = Field(gt=0.0)
    b: float = Field(gt=0.0)
    c: float = 0.0
    duration: tuple[Duration, Duration]
    dry_gap: Duration | None = None
    dry_mm: float = Field(default=0.0, ge=0.0)
    forecast: dict[str, str] = Field(default_factory=dict)
    forecast_valid: Duration = 43200.0
    min_coverage: Share = 0.8
    level: str
    recover: Share = 0.8


class AccelerationTable(MeasuredTable):
    """kind = "acceleration": mm/day2 along the direction of movement."""

    min_sigma: float = Field(default=3.0, ge=0.0)
    dwell: DwellTable = DwellTable(hits=2, of=3)


class TangentialTable(MeasuredTable):
    """kind = "tangential_angle": degrees against the reviewed velocity of uniform creep."""

    direction: Literal["downslope", "norm"] = "downslope"
    min_sigma: float = Field(default=3.0, ge=0.0)
    dwell: DwellTable = DwellTable(hits=2, of=3)


class AngleBound(Section):
    """The bound of one level on the tangential angle, in degrees."""

    over: float = Field(gt=0.0, lt=90.0)
    window: Duration


class InverseVelocityTable(CriterionTable):
    """kind = "inverse_velocity": how near the failure window is."""

    stations: Strings = ()
    series: str | Strings = ()
    quantity: str | None = None
    edge: Literal["mid", "from"] = "mid"
    recover: Share = 0.8


class WithinBound(Section):
    """The bound of one level on the time that is left until the failure window."""

    within: Horizon


class AnomalyTable(CriterionTable):
    """kind = "anomaly"."""

    stations: Strings = ("*",)
    level: str


class SceneTable(CriterionTable):
    """kind = "scene"; where it says nothing of `near_m`, that of [scenes] holds."""

    stations: Strings = ("*",)
    level: str
    near_m: float | None = Field(default=None, gt=0.0)


class InsarTable(CriterionTable):
    """kind = "insar_rate": radar points around stations."""

    stations: Strings = ("*",)
    window: Duration
    near_m: float = Field(default=150.0, gt=0.0)
    min_sigma: float = Field(default=3.0, ge=0.0)
    recover: Share = 0.8
    valid_for: Duration = 24.0 * 86400.0


class ReportTable(CriterionTable):
    """kind = "report"."""

    kinds: tuple[str, ...] = Field(min_length=1)
    needs: int = Field(default=1, ge=1)
    level: str


# kind -> (its keys, the bound of each level or None where one `level` is named, role when none is given)
KINDS: dict[str, tuple[type[CriterionTable], type[Section] | None, str]] = {
    "velocity": (VelocityTable, OverBound, "witness"),
    "level": (MeasuredTable, Bound, "witness"),
    "rate": (RateTable, RateBound, "witness"),
    "rain_sum": (RainSumTable, OverBound, "witness"),
    "rain_intensity_duration": (RainCurveTable, None, "witness"),
    "rain_antecedent": (RainAntecedentTable, DepthBound, "witness"),
    "rain_return_period": (RainReturnTable, OverBound, "witness"),
    "rain_learned": (RainLearnedTable, None, "witness"),
    "factor_of_safety": (SafetyTable, UnderBound, "witness"),
    "drawdown": (DrawdownTable, OverBound, "witness"),
    "earthquake": (EarthquakeTable, ShakingBound, "advice"),
    "acceleration": (AccelerationTable, OverBound, "witness"),
    "tangential_angle": (TangentialTable, AngleBound, "witness"),
    "inverse_velocity": (InverseVelocityTable, WithinBound, "advice"),
    "forecast": (MeasuredTable, ForecastBound, "advice"),
    "anomaly": (AnomalyTable, None, "advice"),
    "scene": (SceneTable, None, "advice"),
    "insar_rate": (InsarTable, DepthBound, "advice"),
    "report": (ReportTable, None, "witness"),
}


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
    edges: Literal["measured", "slope"] = "measured"

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

    detectors: Strings = Field(default=("persistence-z",), min_length=1)
    budget_per_sensor_month: float = Field(default=0.1, gt=0.0)
    every: Duration = 3600.0


class ScenesTable(Section):
    """[scenes]."""

    weights: str = "generated"
    minimum_area_m2: float = Field(default=900.0, ge=0.0)
    near_m: float = Field(default=500.0, gt=0.0)
    triage: bool = False


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
    movement: MovementTable = MovementTable()
    anomaly: AnomalyPlanTable = AnomalyPlanTable()
    scenes: ScenesTable = ScenesTable()
    crs: CrsTable = CrsTable()
    recipient: tuple[RecipientTable, ...] = ()
    decoder: tuple[DecoderTable, ...] = ()
