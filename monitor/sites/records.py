"""Frozen records of a site file: the site, its stations, series, criteria, levels and recipients."""

import datetime as dt
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Annotated, Any, Final, Literal, TypeVar, cast
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field

from monitor.sections import Duration, Horizon, Key, Language, Zone
from monitor.sites.channels import find_channel_traits
from monitor.sites.fusion import Fusion
from monitor.sites.kinds import Kind
from monitor.sites.quantities import MODELLED_MOTION_PREFIXES, QUANTITIES, PhysicalLimits, convert
from monitor.sites.quiet_hours import QuietHours
from monitor.sites.topics import TOPIC_ROOT, matches_service_topics
from monitor.text.names import fold_name, is_same_person

SITE_ID: Final = r"^[a-z0-9-]{1,64}$"
DEFAULT_WINDOW_S: Final = 86400.0  # window of a bound that declares none
DEFAULT_MIN_SIGMA: Final = 3.0  # standard errors by which a rate must be certain
DEFAULT_RECOVER: Final = 0.8  # recovery limit as a share of the bound
DEFAULT_VALID_FOR_S: Final = 86400.0  # how long a vote counts without newer data
STATION_ID: Final = r"^[A-Za-z0-9_-]{1,64}$"
# Author of the criteria that Slopeward adds to a site file.
IMPLIED_BY: Final = "slopeward"
# Not allowed as ids of sites: `status` is a topic of the service, `series` a folder of the inbox.
RESERVED: Final = frozenset({"status", "series"})
StationId = Annotated[str, Field(pattern=STATION_ID)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}$")]
LATITUDE, LONGITUDE = Key("deg, WGS84", ge=-90.0, le=90.0), Key("deg, WGS84", ge=-180.0, le=180.0)
Corner = tuple[Annotated[float, Field(ge=-90.0, le=90.0)], Annotated[float, Field(ge=-180.0, le=180.0)]]
Corners = Annotated[tuple[Corner, ...], Field(min_length=3, max_length=100)]

# Quantities that a series `displacement` contains.
_DISPLACEMENT_COMPONENTS: Final = tuple(name for name in QUANTITIES if name.startswith("displacement_"))
# Matches the station ids in the expression of a calculated series.
_STATION_IN_EXPRESSION: Final = re.compile(r"""(?<=['"])\w[\w-]*(?=\.)|\b[^\W\d]\w*(?=\.)""")


@dataclass(frozen=True, slots=True)
class Calculation:
    """How a series is computed from other series of the site.

    Attributes:
        expression: formula over the inputs.
        inputs: input series as `STATION.quantity`. Without `every_s`, the calculated series has a value at each epoch
            of the first input.
        within_s: largest difference between an epoch and the reading that is used for it.
        hold_s: if not 0, the newest reading up to the epoch is used instead, as long as it is not older than this.
        agree_within: largest difference between redundant inputs, in the unit of the series. 0 = not checked.
        every_s: interval between the epochs, which are multiples of it since 1970. 0 = the epochs of the first input.
    """

    expression: str
    inputs: tuple[str, ...]
    within_s: float
    hold_s: float = 0.0
    agree_within: float = 0.0
    every_s: float = 0.0

    @property
    def places(self) -> list[tuple[str, str]]:
        """Station and quantity of each input."""
        pairs = []
        for name in self.inputs:
            station, _, quantity = name.partition(".")
            pairs.append((station, quantity))
        return pairs

    def __str__(self) -> str:
        """Format the calculation on one line: interval, tolerances, expression."""
        interval = f"every {self.every_s:g} s, " if self.every_s else ""
        tolerance = f"hold {self.hold_s:g} s" if self.hold_s else f"within {self.within_s:g} s"
        agreement = f", agree_within {self.agree_within:g}" if self.agree_within else ""
        return f"{interval}{tolerance}{agreement}: {self.expression}"


@dataclass(frozen=True, slots=True)
class SeriesSpec:
    """A series that a station is expected to deliver."""

    station: str
    quantity: Annotated[str, Key("a built-in quantity or one of [[quantity]]; `displacement` covers east, north, up")]
    unit: Annotated[str, Key("converted to the canonical unit; `index`: no threshold may use it")]
    interval_s: Annotated[float, Key("expected sampling interval")]
    max_silence_s: Annotated[
        float, Key("health alarm after this time; default three observed intervals", Duration | None, None)
    ]
    noise_floor: Annotated[
        float,
        Key("lower limit of the standard deviation; at most 10 m or a tenth of the range", float | None, None, ge=0.0),
    ] = 0.0
    verify_step: Annotated[float | None, Key("a larger jump must be verified by a person", gt=0.0)] = None
    stamp: Annotated[
        str, Key("rain: what a reading means; a `counter` is cumulative", Literal["interval_end", "counter", "event"])
    ] = "interval_end"
    low: Annotated[float | None, Key("lower end of the range; a value outside is stored and flagged")] = None
    high: Annotated[float | None, Key("upper end of the range")] = None
    empty: Annotated[float | None, Key("battery: value at which the instrument stops", gt=0.0)] = None
    physical: Annotated[
        tuple[str, ...],
        Key("ends of the range that are physical limits; forecasts stay within", tuple[Literal["low", "high"], ...]),
    ] = ()
    may_fall: Annotated[float | None, Key("largest fall below the newest value; 0 = never falls", ge=0.0)] = None
    may_rise: Annotated[float | None, Key("largest rise above the newest value; 0 = never rises", ge=0.0)] = None
    by_hand: Annotated[bool, Key("a person types the readings; a value that looks mistyped has no vote")] = False
    source: Annotated[
        str,
        Key("set by `slopeward scenes track` or `velocity`", Literal["", "image correlation", "velocity map"]),
    ] = ""
    over_mm_per_day: Annotated[float, Key("`moving_share`: ground counts as moving above this", ge=0.0)] = 0.0
    # True if the site file has no `max_silence`. Then longer intervals between readings lengthen it.
    learns_silence: bool = False
    # None for a measured series.
    calculation: Calculation | None = None
    # True if an expression or a profile computes the series. No instrument sends it.
    is_calculated: bool = False
    # Station that has this series minus the motion of a reference. Criteria and forecasts use the series of that
    # station. Empty if there is none.
    corrected_as: str = ""
    # Unit in the site file. Empty if it is `unit`.
    written_unit: str = ""

    @property
    def physical_limits(self) -> PhysicalLimits:
        """The physical limits of the values. Declared limits replace those of the quantity."""
        limits = PhysicalLimits()
        quantity = QUANTITIES.get(self.quantity)
        if quantity is not None and quantity.unit == self.unit:
            limits = limits._replace(may_fall=quantity.may_fall)
            limits = limits._replace(**{end: getattr(quantity, end) for end in quantity.physical})
        for name in (*self.physical, "may_fall", "may_rise"):
            declared = getattr(self, name)
            if declared is not None:
                limits = limits._replace(**{name: declared})
        return limits


IMAGE_CORRELATION: Final = "image correlation"
VELOCITY_MAP: Final = "velocity map"
# Reference surfaces of heights.
ELLIPSOID, GEOID = "ellipsoid", "geoid"
# Placeholders in the topic of a decoder.
PLACEHOLDERS: Final = ("{station}", "{quantity}")


@dataclass(frozen=True, slots=True)
class Origin:
    """Zero point of the displacement of a station: a position on Earth, or coordinates in a local or national grid.

    Attributes:
        since: start of the time in which this origin applies.
        place: latitude and longitude in degrees (WGS84), height in metres.
        baseline_m: east, north and up in metres: from the base station of a GNSS receiver, or coordinates in the grid
            of a survey. An axis that is not measured is None.
        height: reference surface of the height in `place`.
    """

    since: dt.datetime
    place: tuple[float, float, float] | None = None
    baseline_m: tuple[float | None, float | None, float | None] | None = None
    height: str = ELLIPSOID

    @property
    def complete_baseline_m(self) -> tuple[float, float, float] | None:
        """East, north and up in metres. None if the origin is a place on Earth or lacks an axis."""
        if self.baseline_m is None:
            return None
        east_m, north_m, up_m = self.baseline_m
        if east_m is None or north_m is None or up_m is None:
            return None
        return east_m, north_m, up_m

    @property
    def frame(self) -> str:
        """The text that is stored with readings. Positions from different origins have different frames."""
        if self.place is not None:
            above = "" if self.height == ELLIPSOID else f"{self.height} "
            return "WGS84 {}{:.9f} {:.9f} {:.4f}".format(above, *self.place)
        coordinates_m = self.baseline_m or (0.0, 0.0, 0.0)
        return " ".join(["baseline", *("-" if value is None else f"{value:.4f}" for value in coordinates_m)])


@dataclass(frozen=True, slots=True)
class TotalStation:
    """A [[total_station]]: an instrument that measures distance and angles to prisms, which are stations of the site.

    Attributes:
        references: prisms on stable ground. Their apparent motion corrects the other prisms.
    """

    id: Annotated[StationId, Key("id of the instrument")]
    east_m: Annotated[float, Key("easting of the point under the instrument, in the grid of the prisms")]
    north_m: Annotated[float, Key("northing of this point")]
    up_m: Annotated[float, Key("height of this point")]
    instrument_height_m: Annotated[float, Key("height of the tilting axis above this point", ge=-10.0, le=100.0)] = 0.0
    orientation: Annotated[
        float, Key("bearing from north at which the horizontal circle reads 0, in `angle_unit`", ge=-7000.0, le=7000.0)
    ] = 0.0
    angle_unit: Annotated[Literal["deg", "gon", "rad", "mrad"], Key("unit of `orientation`")] = "deg"
    prisms: Annotated[tuple[str, ...], Key("stations that it measures: ids or globs", min_length=1)] = ("*",)
    refraction: Annotated[
        float | None,
        Key("coefficient of refraction, usually 0.13: corrects heights for it and for the curvature of the Earth"),
    ] = None
    references: Annotated[
        tuple[StationId, ...], Key("at least two prisms on stable ground, which correct the others", max_length=8)
    ] = ()
    corrections: Annotated[
        tuple[Literal["scale", "orientation", "refraction"], ...],
        Key("what the references determine in each round: scale of distances, orientation, refraction", min_length=1),
    ] = ("scale", "orientation", "refraction")
    within_s: Annotated[float, Key("largest time between the readings of one round")] = 1800.0
    tolerance_mm: Annotated[
        float, Key("a reference that moves more than this against the others leaves the correction", gt=0.0)
    ] = 10.0

    @property
    def axis_height_m(self) -> float:
        """Height of the tilting axis in the grid, in metres."""
        return self.up_m + self.instrument_height_m

    @property
    def orientation_rad(self) -> float:
        """The orientation in radians."""
        return convert(self.orientation, self.angle_unit, "mrad") / 1000.0

    @property
    def frame(self) -> str:
        """The text that is stored with readings. Polar readings from different setups have different frames."""
        refraction = "-" if self.refraction is None else f"{self.refraction:g}"
        place = f"{self.east_m:.4f} {self.north_m:.4f} {self.axis_height_m:.4f}"
        return f"setup {place} {self.orientation_rad:.8f} {refraction}"

    def measures(self, station_id: str) -> bool:
        """Return whether the instrument measures a station."""
        return any(fnmatchcase(station_id, pattern) for pattern in self.prisms)


@dataclass(frozen=True, slots=True)
class Station:
    """A place with instruments, and the equipment that it shares with other stations."""

    id: Annotated[StationId, Key("third part of the MQTT topic")]
    latitude: Annotated[float | None, LATITUDE] = None
    longitude: Annotated[float | None, LONGITUDE] = None
    height_m: Annotated[float | None, Key("for the map and for distances")] = None
    azimuth_deg: Annotated[
        float | None, Key("downslope direction from north; default horizontal speed", ge=0.0, le=360.0)
    ] = None
    plunge_deg: Annotated[float | None, Key("inclination of the movement below the horizon", ge=-90.0, le=90.0)] = None
    reference: Annotated[
        str | None, Key("base station; stations that share it, a logger or an antenna are one witness")
    ] = None
    logger: Annotated[str | None, Key("shared logger")] = None
    antenna: Annotated[str | None, Key("shared antenna")] = None
    on_slope: Annotated[bool, Key("false = control station on stable ground; shows the motion of the reference")] = True
    series: tuple[SeriesSpec, ...] = ()
    area: Annotated[str | None, Key("part of the slope, for fusion rules with `areas`", pattern=STATION_ID)] = None
    footprint: Annotated[str | None, Key("shared image pixel or radar cell")] = None
    v_eq_mm_per_day: Annotated[float | None, Key("velocity of steady creep, for the tangential angle", gt=0.0)] = None
    v_eq_reviewed: Annotated[str, Key("who reviewed `v_eq_mm_per_day`, when and on which data")] = ""
    gateway: Annotated[str | None, Key("shared gateway; if it fails, one notice covers all its stations")] = None
    power: Annotated[str | None, Key("shared power supply")] = None
    calibrated_on: Annotated[str | None, Key("date of the last calibration", dt.date | None)] = None
    calibrate_every_s: Annotated[
        float | None, Key("calibration interval; a notice is sent when a calibration is due")
    ] = None
    # Zero point of the positions that a GNSS receiver sends.
    origin: Origin | None = None
    outline: Annotated[
        tuple[tuple[float, float], ...],
        Key("area that velocity maps are averaged over; default `near_m` of [scenes]", Corners | None, None),
    ] = ()
    name: Annotated[str, Key("name for people, shown next to the id", max_length=80)] = ""
    was: Annotated[tuple[StationId, ...], Key("former ids; their history belongs to this station")] = ()

    @property
    def has_ground(self) -> bool:
        """Whether the station has an outline or a position, so that velocity maps can be read for it."""
        return bool(self.outline) or (self.latitude is not None and self.longitude is not None)

    @property
    def lacks_plunge(self) -> bool:
        """Whether the site file has an azimuth of the movement and no plunge."""
        return self.azimuth_deg is not None and self.plunge_deg is None

    @property
    def shortest_interval_s(self) -> float | None:
        """The shortest sampling interval of the series, in seconds. None if the station has no series."""
        return min((spec.interval_s for spec in self.series), default=None)

    def find_series(self, quantity: str) -> SeriesSpec | None:
        """Return the declared series of a quantity. A component of displacement matches a series `displacement`."""
        is_component = quantity.startswith("displacement_") and quantity in QUANTITIES
        for spec in self.series:
            if spec.quantity == quantity or (is_component and spec.quantity == "displacement"):
                return spec
        return None


@dataclass(frozen=True, slots=True)
class Threshold:
    """Bound of one level: the value, rate or sum that must be exceeded (`over`) or undercut (`under`).

    A bound in both directions of an axis is two thresholds of one level, first the upper one.

    Attributes:
        window_s: The declared window in seconds; None if the bound declares none. See `effective_window_s`.
        probability: Of a forecast: the bound is crossed if the chance of exceeding it is greater than this.
    """

    level: int
    over: float | None = None
    under: float | None = None
    window_s: float | None = None
    probability: float | None = None

    @property
    def effective_window_s(self) -> float:
        """The window that a rate or sum is computed in: one day if the bound declares none."""
        return self.window_s or DEFAULT_WINDOW_S

    @property
    def side(self) -> str:
        """The side of the bound: `over`, `under`, or empty for a threshold without one."""
        if self.over is not None:
            return "over"
        return "" if self.under is None else "under"

    @property
    def bound(self) -> float | None:
        """`over` or `under`, depending on which is set."""
        return self.over if self.over is not None else self.under


def find_bound(threshold: Threshold) -> tuple[float, float]:
    """Return bound and sign of a threshold. A value crosses the bound if `sign * value > sign * bound`.

    Raises:
        ValueError: The threshold has neither `over` nor `under`.
    """
    if threshold.over is not None:
        return threshold.over, 1.0
    if threshold.under is not None:
        return threshold.under, -1.0
    raise ValueError("a threshold needs over or under")


def find_recovery_limit(threshold: Threshold, recover: float) -> float:
    """Return the value below which (for `under`: above which) a level may fall.

    >>> find_recovery_limit(Threshold(1, over=10.0), 0.6), find_recovery_limit(Threshold(1, under=-0.5), 0.6)
    (6.0, -0.3)
    """
    bound, sign = find_bound(threshold)
    return round(bound - sign * (1.0 - recover) * abs(bound), 12)


@dataclass(frozen=True, slots=True)
class BoundInForce:
    """The bound of one level, with values derived from it.

    Attributes:
        sign: 1 for `over`, -1 for `under`. The bound is crossed if `sign * rate > sign * value`.
        limit: recovery limit, multiplied by the sign.
        window_s: window of the rate or sum, in seconds.
    """

    threshold: Threshold
    level: int
    value: float
    sign: float
    limit: float
    window_s: float


@dataclass(frozen=True, slots=True)
class Dwell:
    """Condition that `hits` of the last `of` distinct data epochs, within `within_s`, are beyond the bound."""

    hits: int = 1
    of: int = 1
    within_s: float | None = None


@dataclass(frozen=True)
class Criterion:
    """A rule that can vote for a level. `params` and `texts` hold the values that only its kind uses."""

    id: str
    kind: Kind
    stations: tuple[str, ...]
    quantity: str
    # By rising level. A level has two if it is bounded in both directions.
    thresholds: tuple[Threshold, ...]
    # `downslope` or `norm`.
    direction: str = "downslope"
    min_sigma: float = DEFAULT_MIN_SIGMA
    dwell: Dwell = Dwell()
    # The vote is withdrawn only below this share of the crossed bound.
    recover: float = DEFAULT_RECOVER
    valid_for_s: float = DEFAULT_VALID_FOR_S
    # `witness`, `advice`, or `part`, which counts only inside a fusion rule.
    role: str = "witness"
    author: str = ""
    reason: str = ""
    params: tuple[tuple[str, float], ...] = ()
    # Texts of the kind, for example names of further series or of a method.
    texts: tuple[tuple[str, str], ...] = ()
    # Kinds of field report that vote.
    kinds: tuple[str, ...] = ()
    # Date by which the bounds must be reviewed. They still count afterwards, and a health alarm is raised.
    valid_until: str | None = None
    # No dwell is needed beyond this multiple of the bound.
    fast_track: float | None = None
    # Thresholds of the site file while lowered bounds are in force. They determine which change is a jump.
    declared: tuple[Threshold, ...] = ()

    @property
    def is_implied(self) -> bool:
        """Whether Slopeward added the criterion. The site file does not contain it."""
        return self.author == IMPLIED_BY and self.role == "advice"

    @cached_property
    def bounds(self) -> tuple[BoundInForce, ...]:
        """The bounds in the order of the thresholds.

        Raises:
            ValueError: A threshold has neither `over` nor `under`.
        """
        bounds = []
        for threshold in self.thresholds:
            value, sign = find_bound(threshold)
            limit = sign * find_recovery_limit(threshold, self.recover)
            bounds.append(BoundInForce(threshold, threshold.level, value, sign, limit, threshold.effective_window_s))
        return tuple(bounds)


@dataclass(frozen=True, slots=True)
class Level:
    """A warning level of the site."""

    number: int
    name: str
    auto_lower: bool
    action: Annotated[str, Key("what people do at this level; shown on the page and in messages")] = ""
    review_every_s: Annotated[float | None, Key("how often a person must review the level")] = None


@dataclass(frozen=True, slots=True)
class StagePlan:
    """Settings of one stage of movement: how often to evaluate and to forecast, and what people do."""

    # creep, intermediate, progressive, step or unknown
    stage: str
    evaluate_every_s: Annotated[
        float, Key("longest time between two evaluations", Duration | None, None, alias="every")
    ]
    forecast_every_s: Annotated[
        float, Key("time between two forecasts; default as in [forecast]", Duration | None, None)
    ]
    action: Annotated[str, Key("what people do at this stage")] = ""


@dataclass(frozen=True, slots=True)
class MovementPlan:
    """Settings of the movement assessment: history, failure velocity, and each stage."""

    stages: tuple[StagePlan, ...] = ()
    failure_velocity_mm_per_day: Annotated[
        float | None, Key("velocity that counts as failure in forecasts", gt=0.0)
    ] = None
    history_s: Annotated[float, Key("length of the history that velocities are compared with")] = 400.0 * 86400.0

    def stage(self, name: str | None) -> StagePlan | None:
        """Return the settings of a stage, or None if the plan does not contain it."""
        return next((plan for plan in self.stages if plan.stage == name), None)


def _check_rising(values: tuple[float, ...]) -> tuple[float, ...]:
    if list(values) != sorted(set(values)):
        raise ValueError("expected rising horizons")
    return values


# Word in `forecast.covariates` for all series of a site that can drive its motion.
MEASURED: Final = "measured"


@dataclass(frozen=True, slots=True)
class ForecastPlan:
    """Forecast models of a site, their horizons and their interval."""

    models: Annotated[tuple[str, ...], Key("networks to train; list them with `slopeward forecast models --all`")] = ()
    horizons_s: Annotated[
        tuple[float, ...],
        AfterValidator(_check_rising),
        Key("rising; a series gets those beyond its sampling interval", tuple[Horizon, ...], min_length=1),
    ] = (86400.0, 604800.0, 2592000.0)
    covariates: Annotated[
        tuple[str, ...],
        Key(
            "what drives the motion: `measured` (all rain, water levels and pore pressures of the site), "
            "`STATION.quantity`, `season`, `station`"
        ),
    ] = (MEASURED,)
    exclude_covariates: Annotated[tuple[str, ...], Key("series that `measured` leaves out: `STATION.quantity`")] = ()
    every_s: Annotated[float, Key("how often forecasts are issued")] = 21600.0
    expected_rain: Annotated[
        # (STATION.quantity of the weather forecast, how far it reaches in seconds)
        tuple[tuple[str, float], ...],
        Key(
            'series of forecast rain in mm, by reach: {"24h" = "R1.rain_next_24h"}',
            dict[str, str],
            {},
        ),
    ] = ()
    start_from: Annotated[str, Key("site whose newest network is fine-tuned to this site; empty = none")] = ""
    replay: Annotated[tuple[str, ...], Key("further sites whose records are used for training")] = ()


@dataclass(frozen=True, slots=True)
class AnomalyPlan:
    """Anomaly detectors of a site, and how many false alarms they may raise."""

    detectors: Annotated[tuple[str, ...], Key("list them with `slopeward forecast models --all`", min_length=1)] = (
        "rules",
        "flatline",
        "replay",
        "unit-jump",
        "timing",
    )
    budget_per_sensor_month: Annotated[
        float, Key("false alarms per sensor and month that thresholds are set for", gt=0.0)
    ] = 0.1
    every_s: Annotated[float, Key("how often readings are scored")] = 3600.0


def _check_affine(affine: tuple[float, ...]) -> tuple[float, ...]:
    if not all(map(math.isfinite, affine)) or affine[0] * affine[4] == affine[1] * affine[3]:
        raise ValueError("expected six finite numbers a, b, c, d, e, f with a e - b d not 0")
    return affine


@dataclass(frozen=True, slots=True)
class LocalGrid:
    """Transformation of local coordinates to an EPSG system: x' = a x + b y + c, y' = d x + e y + f."""

    into: Annotated[str, Key("target system", pattern=r"^EPSG:\d{4,6}$")]
    affine: Annotated[
        tuple[float, float, float, float, float, float], AfterValidator(_check_affine), Key("[a, b, c, d, e, f]")
    ]


@dataclass(frozen=True, slots=True)
class ScenePlan:
    """Settings of satellite and aerial scenes of a site."""

    weights: Annotated[str, Key("`auto`, the name of shipped weights, a file, or `index` for no network")] = "auto"
    quality: Annotated[
        Literal["standard", "best"], Key("`best`: mean of eight flips and rotations, takes eight times as long")
    ] = "standard"
    minimum_area_m2: Annotated[float, Key("smaller footprints are ignored", ge=0.0)] = 900.0
    near_m: Annotated[float, Key("a footprint counts for stations within this distance", gt=0.0)] = 500.0
    # Used for files in a local system, such as a mine grid.
    local: LocalGrid | None = None
    prior: Annotated[str, Key("susceptibility map for footprints, GeoTIFF", max_length=1000)] = ""
    dem: Annotated[str, Key("elevation model for scenes without heights, m: GeoTIFF or folder", max_length=1000)] = ""

    @property
    def placed(self) -> tuple[str, tuple[float, ...]]:
        """Target system and coefficients of the local grid; both empty without a local grid."""
        return ("", ()) if self.local is None else (self.local.into, self.local.affine)


@dataclass(frozen=True, slots=True)
class Recipient:
    """A person or team to notify, with channels (`kind:address`) and levels."""

    name: Annotated[str, Key("unique in the site; `team:NAME` = the members of a team on duty", min_length=1)]
    channels: Annotated[
        tuple[str, ...], Key("`kind:address`; secrets as the name of an environment variable", default=())
    ]
    levels: Annotated[
        tuple[int, ...],
        Key("hazard levels to notify of; default all above the lowest", tuple[str, ...] | None, None),
    ]
    ledgers: Annotated[
        tuple[str, ...],
        Key("`advice` is sent in groups and never as an alarm", tuple[Literal["hazard", "health", "advice"], ...]),
    ] = ("hazard", "health")
    escalate_after_s: Annotated[float | None, Key("notify the next recipient if nobody acknowledged in this time")] = (
        None
    )
    people: Annotated[tuple[str, ...], Key("further people who may act as this recipient")] = ()
    language: Annotated[str, Key("language of messages; default as in the service file", Language | None, None)] = ""
    exercises: Annotated[bool, Key("sirens also sound in exercises")] = False
    # True for a member of a team that has no levels of its own. It is notified only through the team.
    by_team: bool = False
    # Set if the recipient stands for the members of a team who are on duty.
    team: "Team | None" = None
    phone: Annotated[str, Key("number for people to call; no channel", pattern=r"^(\+?[0-9][0-9 ()/.-]{2,30})?$")] = ""
    quiet: Annotated[QuietHours | None, Key("hours in which only urgent messages are sent: 22:00-06:00", str, "")] = (
        None
    )
    digest: Annotated[
        # Minutes after local midnight.
        int | None,
        Key('local time of a daily summary, also without news: "07:00"', str, ""),
    ] = None
    trial: Annotated[bool, Key("also notified while the site is in shadow mode")] = False

    @property
    def everybody(self) -> tuple["Recipient", ...]:
        """Who gets messages through this recipient: the members of its team, or the recipient itself.

        A recipient that is notified only through teams returns nobody.
        """
        if self.team is not None:
            return self.team.members
        return () if self.by_team else (self,)

    @property
    def readable(self) -> tuple[str, ...]:
        """The channels that carry messages for people. Channels that carry commands (sirens) are left out."""
        return tuple(channel for channel in self.channels if not find_channel_traits(channel).orders)

    def is_person(self, name: str) -> bool:
        """Return whether a name is that of this recipient or of one of its people."""
        if not fold_name(name):
            return False
        return any(is_same_person(own_name, name) for own_name in (self.name, *self.people))


def find_siren_trigger(recipients: Iterable[Recipient], channel: str, *, exercise: bool) -> tuple[int | None, bool]:
    """Return the lowest level at which a siren sounds, and whether it also sounds in exercises.

    The level is None if no recipient has the channel. In an exercise, only the levels of recipients with
    `exercises = true` count, if there are any.
    """
    all_levels: list[tuple[int, ...]] = []
    exercise_levels: list[tuple[int, ...]] = []
    for recipient in recipients:
        for person in recipient.everybody:
            if channel in person.channels:
                all_levels.append(recipient.levels)
                if person.exercises:
                    exercise_levels.append(recipient.levels)
    selected = exercise_levels if exercise and exercise_levels else all_levels
    lowest = min((number for levels in selected for number in levels), default=None)
    return lowest, bool(exercise_levels)


# Prefix of the name of a recipient that stands for a team.
TEAM: Final = "team:"


@dataclass(frozen=True, slots=True)
class Team:
    """People who are on duty in turn. The rota is in the database (`monitor.people.duty_tables`)."""

    site: str
    name: Annotated[str, Key("unique in the site", pattern=r"^[\w][\w .-]{0,39}$")]
    # Time zone of the site. Times of the rota are in this zone.
    zone: str
    members: Annotated[
        tuple[Recipient, ...],
        Key(
            "names of recipients; a member without `levels` is notified only through the team",
            tuple[str, ...],
            min_length=1,
            max_length=100,
        ),
    ]
    lead: Annotated[str, Key("member who is notified after the people on duty")] = ""

    def list_notification_steps(self, on_duty: Iterable[str], like: Recipient) -> list[tuple[Recipient, ...]]:
        """Return who is notified at each step of the escalation: people on duty, the lead, then all members.

        Each person is in one step only.

        Args:
            on_duty: names of the people on duty, in the order in which they are notified. If there are none, the first
                step is the whole team.
            like: the recipient that stands for this team. Members get its levels, ledgers and escalation time.
        """
        remaining = {
            member.name: replace(
                member, levels=like.levels, ledgers=like.ledgers, escalate_after_s=like.escalate_after_s, by_team=False
            )
            for member in self.members
        }
        everybody = [member.name for member in self.members]
        names_of_steps = [[name] for name in on_duty]
        if names_of_steps:
            names_of_steps.append([self.lead])
        names_of_steps.append(everybody)
        steps = []
        for names in names_of_steps:
            step: list[Recipient] = []
            for name in names:
                matches = [member for member in remaining if is_same_person(member, name)]
                step += [remaining.pop(member) for member in matches]
            if step:
                steps.append(tuple(step))
        return steps


def _replace_placeholders(pattern: str) -> str:
    """Return the MQTT topic filter of a pattern with placeholders."""
    return "/".join("+" if part in PLACEHOLDERS else part for part in pattern.split("/"))


def _check_filter(pattern: str) -> str:
    levels = pattern.split("/")
    for part in levels:
        if ("{" in part or "}" in part) and part not in PLACEHOLDERS:
            raise ValueError(f"{part!r}: expected {' or '.join(PLACEHOLDERS)} as a whole level of the topic")
    for placeholder in PLACEHOLDERS:
        if levels.count(placeholder) > 1:
            raise ValueError(f"{placeholder} appears twice; use it once")
    if matches_service_topics(_replace_placeholders(pattern)):
        raise ValueError(f"{pattern!r} matches topics below {TOPIC_ROOT}/, which Slopeward reads itself; narrow it")
    return pattern


@dataclass(frozen=True, slots=True)
class Binding:
    """A [[decoder]]: a topic filter, the decoder of its messages, and settings of that decoder."""

    pattern: Annotated[
        str,
        AfterValidator(_check_filter),
        Key("topic filter; {station} and {quantity} may replace a level", alias="topic", min_length=1),
    ]
    name: Annotated[str, Key("decoder of the messages", min_length=1)]
    station: Annotated[str, Key("station of the readings", pattern=r"^[A-Za-z0-9_-]{0,64}$")] = ""
    series: Annotated[
        tuple[tuple[str, str], ...],
        Key('names that the device sends, and their series: {"Tilt X" = "T1.tilt_x_deg"}', dict[str, str], {}),
    ] = ()
    # Key of the site file, and its value.
    settings: tuple[tuple[str, str], ...] = ()

    @property
    def topic(self) -> str:
        """The MQTT topic filter."""
        return _replace_placeholders(self.pattern)

    @property
    def zone(self) -> ZoneInfo | None:
        """The time zone of times without an offset, or None."""
        name = dict(self.settings).get("zone", "")
        return ZoneInfo(name) if name else None

    def read(self, placeholder: str, topic: str) -> str:
        """Return the level of a topic at a placeholder. Empty if the pattern does not contain the placeholder."""
        parts = self.pattern.split("/")
        return topic.split("/")[parts.index(placeholder)] if placeholder in parts else ""


@dataclass(frozen=True, slots=True)
class ExpectedRange:
    """Unit of a series, and the range outside which its values are flagged.

    `declared` is whether the site file declares the series. If not, the range is that of the quantity.
    """

    unit: str
    low: float
    high: float
    declared: bool


@dataclass(frozen=True, slots=True)
class Exposed:
    """Something that a landslide would reach, such as a road or houses. Warnings from `level` on name it."""

    name: Annotated[str, Key("name for people; unique in the site", min_length=1, max_length=200)]
    corners: Annotated[
        # The first corner is not repeated at the end.
        tuple[tuple[float, float], ...],
        Key("[latitude, longitude] of each corner along the outline, at most 100 km from the site", Corners),
    ]
    level: Annotated[
        int, Key("lowest level at which it is in danger; default the first above the lowest", Name | None, None)
    ]


def _check_reserved(site_id: str) -> str:
    if site_id in RESERVED:
        raise ValueError(f"{site_id!r} is reserved for Slopeward; choose another id")
    return site_id


@dataclass(frozen=True)
class Site:
    """A slope. `version` is the SHA-256 of its site file, `source` the text of the file."""

    id: Annotated[str, AfterValidator(_check_reserved), Key("second part of the MQTT topic", pattern=SITE_ID)]
    name: Annotated[str, Key("name for people", min_length=1)]
    latitude: Annotated[float, LATITUDE]
    longitude: Annotated[float, LONGITUDE]
    timezone: Annotated[str, Key("for times shown to people, such as Europe/Zurich; stored times are UTC", Zone, "UTC")]
    levels: tuple[Level, ...]
    stations: tuple[Station, ...]
    criteria: tuple[Criterion, ...]
    fusion: Fusion = field(default_factory=Fusion)
    forecast: ForecastPlan = ForecastPlan()
    anomaly: AnomalyPlan = AnomalyPlan()
    scenes: ScenePlan = ScenePlan()
    movement: MovementPlan = MovementPlan()
    shadow: Annotated[
        bool, Key("shadow mode: judge and show everything, and notify only recipients with `trial = true`")
    ] = False
    # Who is notified. In shadow mode these are the people of the trial (`monitor.sites.shadow`).
    recipients: tuple[Recipient, ...] = ()
    # In shadow mode, all recipients of the file. Otherwise empty, because all of them are notified.
    recipients_outside_shadow: tuple[Recipient, ...] = ()
    teams: tuple[Team, ...] = ()
    # Name and unit of each [[quantity]].
    quantities: tuple[tuple[str, str], ...] = ()
    decoders: tuple[Binding, ...] = ()
    exposed: tuple[Exposed, ...] = ()
    total_stations: tuple[TotalStation, ...] = ()
    version: str = ""
    source: str = field(default="", compare=False)

    def __hash__(self) -> int:
        """Return a hash of id and version, because a hash of all fields would take long."""
        return hash((self.id, self.version))

    @property
    def places(self) -> dict[str, tuple[float, float]]:
        """Longitude and latitude, in degrees, by the id of each station that has a position."""
        return {
            station.id: (station.longitude, station.latitude)
            for station in self.stations
            if station.longitude is not None and station.latitude is not None
        }

    @property
    def all_recipients(self) -> tuple[Recipient, ...]:
        """All recipients of the site file, also those who are not notified while the site is in shadow mode.

        They are notified of faults of the service itself, and of the site as soon as shadow mode ends.
        """
        return self.recipients_outside_shadow if self.shadow else self.recipients

    @property
    def top_level(self) -> int:
        """The number of the highest level."""
        return self.levels[-1].number

    @property
    def slowest_motion_s(self) -> float | None:
        """The longest interval of the motion series, in seconds. Forecasts use it as time step.

        None if the site has no motion series.
        """
        return max((spec.interval_s for spec in self.modelled_motion_series), default=None)

    @property
    def watched_step_s(self) -> float | None:
        """The time step of anomaly detectors on motion series, in seconds.

        This is the longest interval up to one day. Series with longer intervals (satellites) and series that a person
        types would delay the detection on faster instruments, so they count only if there are no others. None if the
        site has no motion series.
        """
        measured = [spec.interval_s for spec in self.modelled_motion_series if not spec.by_hand]
        up_to_one_day = [interval_s for interval_s in measured if interval_s <= 86400.0]
        return max(up_to_one_day or measured, default=self.slowest_motion_s)

    @property
    def modelled_motion_series(self) -> list[SeriesSpec]:
        """Motion series that models learn. Of a series and its reference-corrected copy, only the copy is included."""
        series = (spec for station in self.stations for spec in station.series)
        return [spec for spec in series if spec.quantity.startswith(MODELLED_MOTION_PREFIXES) and not spec.corrected_as]

    @property
    def has_voting_anomalies(self) -> bool:
        """Whether anomaly detectors vote. Their thresholds must then stay those of the stored proof."""
        return any(criterion.kind.facts == "anomalies" and criterion.role != "advice" for criterion in self.criteria)

    @cached_property
    def renamed_stations(self) -> Mapping[str, str]:
        """The current station id by former id."""
        return {former_id: station.id for station in self.stations for former_id in station.was}

    @cached_property
    def _stations_by_id(self) -> Mapping[str, Station]:
        """The stations by current and former id."""
        by_former_id = {former_id: station for station in reversed(self.stations) for former_id in station.was}
        by_id = {station.id: station for station in reversed(self.stations)}
        return by_former_id | by_id

    @cached_property
    def _series_by_place(self) -> Mapping[tuple[str, str], SeriesSpec]:
        """The declared series by station id and quantity, including the components of displacement."""
        by_place: dict[tuple[str, str], SeriesSpec] = {}
        for station_id, station in self._stations_by_id.items():
            for spec in station.series:
                by_place.setdefault((station_id, spec.quantity), spec)
                if spec.quantity == "displacement":
                    for component in _DISPLACEMENT_COMPONENTS:
                        by_place.setdefault((station_id, component), spec)
        return by_place

    def station(self, station_id: str) -> Station | None:
        """Return the station with a current or former id, or None."""
        return self._stations_by_id.get(station_id)

    def find_total_station(self, station_id: str) -> TotalStation | None:
        """Return the instrument that measures a station, or None."""
        return next((one for one in self.total_stations if one.measures(station_id)), None)

    def find_current_id(self, station_id: str) -> str:
        """Return the current id of a station for a former id. Any other id is returned unchanged."""
        return self.renamed_stations.get(station_id, station_id)

    def series(self, station_id: str, quantity: str) -> SeriesSpec | None:
        """Return the declared series, or None. A component of displacement matches a series `displacement`."""
        return self._series_by_place.get((station_id, quantity))

    def find_expected_range(self, station_id: str, quantity: str) -> ExpectedRange | None:
        """Return unit and expected range of a series, or None if the quantity is unknown."""
        spec = self.series(station_id, quantity)
        standard = QUANTITIES.get(quantity)
        if spec is not None:
            unit: str | None = spec.unit
        elif standard is not None:
            unit = standard.unit
        else:
            unit = dict(self.quantities).get(quantity)
        if unit is None:
            return None
        low = -math.inf
        high = math.inf
        if standard is not None and standard.unit == unit:
            low = standard.low
            high = standard.high
        if spec is not None and spec.low is not None:
            low = spec.low
        if spec is not None and spec.high is not None:
            high = spec.high
        return ExpectedRange(unit, low, high, spec is not None)


Value = TypeVar("Value")


def rename_stations(value: Value, names: Mapping[str, str]) -> Value:
    """Return a copy of a record with renamed stations.

    Every text that is a station id, or starts with one followed by a dot, is changed. `was` keeps the former ids.

    Args:
        value: a record of this module, or a part of one.
        names: new station id by old station id.
    """
    renamed: Any = value
    # A subclass of `str` or `tuple`, such as a message, contains no ids.
    if isinstance(value, str) and type(value) is str:
        station, dot, quantity = value.partition(".")
        renamed = f"{names.get(station, station)}{dot}{quantity}"
    elif isinstance(value, tuple) and type(value) is tuple:
        renamed = tuple(rename_stations(item, names) for item in value)
    elif is_dataclass(value) and not isinstance(value, type | Kind):
        values = {item.name: getattr(value, item.name) for item in fields(value) if item.name != "was"}
        renamed = replace(value, **{name: rename_stations(item, names) for name, item in values.items()})
        if isinstance(value, Calculation):
            expression = _STATION_IN_EXPRESSION.sub(lambda match: names.get(match[0], match[0]), value.expression)
            renamed = replace(renamed, expression=expression)
    return cast("Value", renamed)


def gather_recipients(sites: Iterable[Site]) -> tuple[Recipient, ...]:
    """Return the recipients of all sites, who are notified of faults of the service itself. Each name occurs once.

    A recipient of several sites has the channels of all of them. Shadow mode of a site changes nothing here, because a
    fault of the service is no message of a site.
    """
    recipients: dict[str, Recipient] = {}
    for site in sites:
        for recipient in site.all_recipients:
            # Teams of different sites may have the same name.
            name = recipient.name if recipient.team is None else f"{recipient.team.site}/{recipient.name}"
            key = fold_name(name)
            recipients[key] = _merge(recipients[key], recipient) if key in recipients else recipient
    return tuple(recipients.values())


def _merge(first: Recipient, second: Recipient) -> Recipient:
    escalations_s = [s for s in (first.escalate_after_s, second.escalate_after_s) if s is not None]
    return replace(
        first,
        channels=tuple(dict.fromkeys((*first.channels, *second.channels))),
        levels=tuple(sorted({*first.levels, *second.levels})),
        ledgers=tuple(dict.fromkeys((*first.ledgers, *second.ledgers))),
        escalate_after_s=min(escalations_s, default=None),
        people=tuple(dict.fromkeys((*first.people, *second.people))),
        language=first.language or second.language,
        by_team=first.by_team and second.by_team,
        phone=first.phone or second.phone,
        # If the sites have different quiet hours, no message is delayed.
        quiet=first.quiet if first.quiet == second.quiet else None,
    )
