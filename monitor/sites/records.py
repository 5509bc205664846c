"""A slope as its site file declares it: stations, series, criteria, levels, recipients. Frozen records."""

import datetime as dt
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from functools import wraps
from typing import Annotated, Any, Final, Literal, TypeVar, cast
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field

from monitor.sections import Duration, Horizon, Key, Language, Zone
from monitor.sites.channels import traits_of
from monitor.sites.fusion import Fusion
from monitor.sites.kinds import Kind
from monitor.sites.quantities import MODELLED_MOTION_PREFIXES, QUANTITIES, PhysicalLimits
from monitor.sites.quiet_hours import QuietHours
from monitor.sites.topics import TOPIC_ROOT, reaches_own_topics
from monitor.text.names import fold_name, is_same_person

SITE_ID: Final = r"^[a-z0-9-]{1,64}$"
DEFAULT_WINDOW_S: Final = 86400.0  # window of a bound that declares none
STATION_ID: Final = r"^[A-Za-z0-9_-]{1,64}$"
IMPLIED_BY: Final = "slopeward"  # author of criteria that no site file contains
RESERVED: Final = frozenset({"status", "series"})  # a folder of the inbox is called series
StationId = Annotated[str, Field(pattern=STATION_ID)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}$")]
LATITUDE, LONGITUDE = Key("deg, WGS84", ge=-90.0, le=90.0), Key("deg, WGS84", ge=-180.0, le=180.0)
Corner = tuple[Annotated[float, Field(ge=-90.0, le=90.0)], Annotated[float, Field(ge=-180.0, le=180.0)]]
Corners = Annotated[tuple[Corner, ...], Field(min_length=3, max_length=100)]

_OF_SERIES: Final = re.compile(r"""(?<=['"])\w[\w-]*(?=\.)|\b[^\W\d]\w*(?=\.)""")  # stations in an expression


@dataclass(frozen=True, slots=True)
class Calculation:
    """How a series is computed from others of its site, which are named `STATION.quantity`."""

    expression: str
    inputs: tuple[str, ...]  # it has a value at each instant of the first, or at those of `every_s` that it passed
    within_s: float  # how near to an instant a reading lies that stands for it
    hold_s: float = 0.0  # instead the last one up to the instant does, so old at most
    agree_within: float = 0.0  # in the unit of the series: beyond it what it rests on disagrees; 0 = nobody asks
    every_s: float = 0.0  # between its instants, multiples of it since 1970; 0 = those of the first input

    @property
    def places(self) -> list[tuple[str, str]]:
        """Station and quantity of each input."""
        return [(station, quantity) for station, _, quantity in (one.partition(".") for one in self.inputs)]

    def __str__(self) -> str:
        """As the site file has it, the numbers first."""
        agree = f", agree_within {self.agree_within:g}" if self.agree_within else ""
        every = f"every {self.every_s:g} s, " if self.every_s else ""
        how = f"hold {self.hold_s:g} s" if self.hold_s else f"within {self.within_s:g} s"
        return f"{every}{how}{agree}: {self.expression}"


@dataclass(frozen=True, slots=True)
class SeriesSpec:
    """A series that a station is expected to deliver."""

    station: str
    quantity: Annotated[str, Key("a known quantity or one of [[quantity]]; `displacement` covers east, north, up")]
    unit: Annotated[str, Key("any that fits, kept in the canonical one; `index`: no threshold may use it")]
    interval_s: Annotated[float, Key("expected sampling interval")]
    max_silence_s: Annotated[
        float, Key("then a health alarm; default three intervals, as readings really come", Duration | None, None)
    ]
    noise_floor: Annotated[
        float,
        Key(
            "smallest standard deviation ever assumed, at most 10 m or a tenth of the range", float | None, None, ge=0.0
        ),
    ] = 0.0
    verify_step: Annotated[float | None, Key("a jump beyond this asks for verification", gt=0.0)] = None
    stamp: Annotated[
        str, Key("rain: how a reading counts; a `counter` adds up", Literal["interval_end", "counter", "event"])
    ] = "interval_end"
    low: Annotated[float | None, Key("own range: a value outside is stored and flagged")] = None
    high: Annotated[float | None, Key("the upper end of it")] = None
    empty: Annotated[float | None, Key("of a battery: at this the instrument stops", gt=0.0)] = None
    physical: Annotated[
        tuple[str, ...],
        Key("which ends of its range nature cannot pass: no forecast does", tuple[Literal["low", "high"], ...]),
    ] = ()
    may_fall: Annotated[float | None, Key("most that a value lies below the newest; 0 = never falls", ge=0.0)] = None
    may_rise: Annotated[float | None, Key("most that a value lies above the newest; 0 = never rises", ge=0.0)] = None
    by_hand: Annotated[bool, Key("a person reads it and types the value: what looks mistyped has no vote")] = False
    source: Annotated[
        str,
        Key("what writes it: `slopeward scenes track` or `velocity`", Literal["", "image correlation", "velocity map"]),
    ] = ""
    over_mm_per_day: Annotated[float, Key("`moving_share`: what is slower does not move", ge=0.0)] = 0.0
    learns_silence: bool = False  # nobody declared `max_silence`: readings that come more seldom lengthen it
    calculation: Calculation | None = None  # it is computed, not measured
    is_calculated: bool = False  # by an expression or a profile: nothing is to send it
    corrected_as: str = ""  # the station that has it less the motion of a reference: there it is judged and forecast
    written_unit: str = ""  # of the site file, where another one than `unit`

    @property
    def walls(self) -> PhysicalLimits:
        """What its values cannot pass: as it declares, else as its quantity has it."""
        standard, found = QUANTITIES.get(self.quantity), PhysicalLimits()
        if standard is not None and standard.unit == self.unit:
            found = PhysicalLimits(may_fall=standard.may_fall)
            found = found._replace(**{end: getattr(standard, end) for end in standard.physical})
        own = {end: getattr(self, end) for end in (*self.physical, "may_fall", "may_rise")}
        return found._replace(**{end: value for end, value in own.items() if value is not None})


IMAGE_CORRELATION: Final = "image correlation"
VELOCITY_MAP: Final = "velocity map"
ELLIPSOID, GEOID = "ellipsoid", "geoid"  # above which a height counts
PLACEHOLDERS: Final = ("{station}", "{quantity}")  # of the topics of a decoder


@dataclass(frozen=True, slots=True)
class Origin:
    """What displacement of a station counts from: a place on the earth, or a baseline in a local frame."""

    since: dt.datetime
    place: tuple[float, float, float] | None = None  # latitude and longitude, deg; height, m
    baseline_m: tuple[float, float, float] | None = None  # east, north, up from the base
    height: str = ELLIPSOID  # above which the height of a place counts

    @property
    def frame(self) -> str:
        """How it is kept beside readings: positions from another origin are another frame."""
        if self.place is not None:
            above = "" if self.height == ELLIPSOID else f"{self.height} "
            return "WGS84 {}{:.9f} {:.9f} {:.4f}".format(above, *self.place)
        return "baseline {:.4f} {:.4f} {:.4f}".format(*(self.baseline_m or (0.0, 0.0, 0.0)))


@dataclass(frozen=True, slots=True)
class Station:
    """An instrument location with what makes it dependent on others."""

    id: Annotated[StationId, Key("third part of the MQTT topic")]
    latitude: Annotated[float | None, LATITUDE] = None
    longitude: Annotated[float | None, LONGITUDE] = None
    height_m: Annotated[float | None, Key("for the map and for distances")] = None
    azimuth_deg: Annotated[float | None, Key("downslope, from north; else horizontal speed", ge=0.0, le=360.0)] = None
    plunge_deg: Annotated[float | None, Key("of the movement below the horizon", ge=-90.0, le=90.0)] = None
    reference: Annotated[str | None, Key("stations that share it, a logger or an antenna are one witness")] = None
    logger: Annotated[str | None, Key("the logger that it shares with others")] = None
    antenna: Annotated[str | None, Key("the antenna that it shares with others")] = None
    on_slope: Annotated[bool, Key("false = stable control station: shows what the reference does")] = True
    series: tuple[SeriesSpec, ...] = ()
    area: Annotated[str | None, Key("part of the slope, where rules count areas", pattern=STATION_ID)] = None
    footprint: Annotated[str | None, Key("image pixel or radar cell that it shares with others")] = None
    v_eq_mm_per_day: Annotated[float | None, Key("velocity of uniform creep, for the tangential angle", gt=0.0)] = None
    v_eq_reviewed: Annotated[str, Key("who reviewed that velocity, when and on which data")] = ""
    gateway: Annotated[str | None, Key("by which its readings come: their silence is one notice")] = None
    power: Annotated[str | None, Key("the supply that it shares with others")] = None
    calibrated_on: Annotated[str | None, Key("day of the last calibration", dt.date | None)] = None
    calibrate_every_s: Annotated[float | None, Key("how long a calibration holds; a notice says when it is due")] = None
    origin: Origin | None = None  # of positions that its receiver sends
    outline: Annotated[
        tuple[tuple[float, float], ...],
        Key("ground that maps of velocities are read on; default within `near_m` of [scenes]", Corners | None, None),
    ] = ()
    name: Annotated[str, Key("what people call it; stands beside its id on the page", max_length=80)] = ""
    was: Annotated[tuple[StationId, ...], Key("ids that it had before: their history is its own")] = ()

    @property
    def has_ground(self) -> bool:
        """Whether it is known where a map is read for it."""
        return bool(self.outline) or (self.latitude is not None and self.longitude is not None)

    @property
    def lacks_plunge(self) -> bool:
        """An azimuth alone is declared: nobody said how steeply the slope goes."""
        return self.azimuth_deg is not None and self.plunge_deg is None

    def find_series(self, quantity: str) -> SeriesSpec | None:
        """The series it declares; the known components of displacement answer to `displacement`."""
        is_component = quantity.startswith("displacement_") and quantity in QUANTITIES
        for spec in self.series:
            if spec.quantity == quantity or (is_component and spec.quantity == "displacement"):
                return spec
        return None


@dataclass(frozen=True, slots=True)
class Threshold:
    """The bound of one level: `over` or `under` (value, rate or sum), and the window it is computed in.

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
        """Return the window that a rate or sum is computed in: one day if the bound declares none."""
        return self.window_s or DEFAULT_WINDOW_S

    @property
    def bound(self) -> float | None:
        """`over` or `under`, whichever there is."""
        return self.over if self.over is not None else self.under


@dataclass(frozen=True, slots=True)
class Dwell:
    """`hits` of the last `of` distinct data epochs within a time must be over the bound."""

    hits: int = 1
    of: int = 1
    within_s: float | None = None


@dataclass(frozen=True, slots=True)
class Criterion:
    """One rule that can vote for a level; `params` holds what only its kind knows (rain: a, b, c, duration...)."""

    id: str
    kind: Kind
    stations: tuple[str, ...]  # resolved ids
    quantity: str
    thresholds: tuple[Threshold, ...]  # by rising level
    direction: str = "downslope"  # downslope or norm
    min_sigma: float = 3.0
    dwell: Dwell = Dwell()
    recover: float = 0.8  # share of the crossed threshold below which it may fall
    valid_for_s: float = 86400.0
    role: str = "witness"  # witness, advice, or part (speaks only inside a fusion rule)
    author: str = ""
    reason: str = ""
    params: tuple[tuple[str, float], ...] = ()
    texts: tuple[tuple[str, str], ...] = ()  # what only its kind knows in words: names of further series, of a method
    kinds: tuple[str, ...] = ()  # report: the kinds of report that vote
    valid_until: str | None = None  # the bounds are to be reviewed by then; they go on counting, and an alarm reminds
    fast_track: float | None = None  # beyond so many times the bound, the dwell is waived
    declared: tuple[Threshold, ...] = ()  # while bounds are lowered: those of the site file, which say what a jump is

    @property
    def is_implied(self) -> bool:
        """Whether the site file does not contain it: advice that is always raised."""
        return self.author == IMPLIED_BY and self.role == "advice"


@dataclass(frozen=True, slots=True)
class Level:
    """One step of the site's ladder."""

    number: int
    name: str
    auto_lower: bool
    action: Annotated[str, Key("what people do at this level; goes into page and message")] = ""
    review_every_s: Annotated[float | None, Key("how often the level is to be looked at again")] = None


@dataclass(frozen=True, slots=True)
class StagePlan:
    """What one stage of movement asks for: how often to look and to forecast, and what people do."""

    stage: str  # creep, intermediate, progressive, step, unknown
    evaluate_every_s: Annotated[float, Key("the least rhythm of decisions", Duration | None, None, alias="every")]
    forecast_every_s: Annotated[float, Key("default that of [forecast]", Duration | None, None)]
    action: Annotated[str, Key("what people do at this stage")] = ""


@dataclass(frozen=True, slots=True)
class MovementPlan:
    """How movement is assessed: history, failure velocity, and the plan of each stage."""

    stages: tuple[StagePlan, ...] = ()
    failure_velocity_mm_per_day: Annotated[float | None, Key("a forecast that crosses it is failure", gt=0.0)] = None
    history_s: Annotated[float, Key("how far back velocities are compared")] = 400.0 * 86400.0

    def stage(self, name: str | None) -> StagePlan | None:
        """The plan of a stage; None where the site file says nothing of it."""
        return next((s for s in self.stages if s.stage == name), None)


def _check_rising(values: tuple[float, ...]) -> tuple[float, ...]:
    if list(values) != sorted(set(values)):
        raise ValueError("expected rising horizons")
    return values


@dataclass(frozen=True, slots=True)
class ForecastPlan:
    """Which models run for the site, how far and how often."""

    models: Annotated[
        tuple[str, ...], Key("`auto`, simple forecasts, networks: see `slopeward forecast models --all`", min_length=1)
    ] = ("auto",)
    horizons_s: Annotated[
        tuple[float, ...],
        AfterValidator(_check_rising),
        Key("rising; each series gets those that reach its next reading", tuple[Horizon, ...], min_length=1),
    ] = (86400.0, 604800.0, 2592000.0)
    covariates: Annotated[tuple[str, ...], Key("what networks read: `STATION.quantity`, `season`, `station`")] = ()
    every_s: Annotated[float, Key("how often forecasts are issued")] = 21600.0
    expected_rain: Annotated[
        tuple[tuple[str, float], ...],  # (station.quantity of its issues, how far each looks ahead, s)
        Key(
            'series of weather forecasts, mm, by how far each looks ahead: {"24h" = "R1.rain_next_24h"}',
            dict[str, str],
            {},
        ),
    ] = ()
    start_from: Annotated[str, Key("the site whose newest network is tuned to this one; empty: none")] = ""
    replay: Annotated[tuple[str, ...], Key("sites whose records are learnt from as well")] = ()


@dataclass(frozen=True, slots=True)
class AnomalyPlan:
    """Which detectors run for the site and the false alarms per sensor-month they may raise."""

    detectors: Annotated[tuple[str, ...], Key("see `slopeward forecast models --all`", min_length=1)] = (
        "rules",
        "flatline",
        "replay",
        "unit-jump",
        "timing",
    )
    budget_per_sensor_month: Annotated[float, Key("false alarms that thresholds allow a sensor", gt=0.0)] = 0.1
    every_s: Annotated[float, Key("how often readings are scored")] = 3600.0


def _check_area(affine: tuple[float, ...]) -> tuple[float, ...]:
    if not all(map(math.isfinite, affine)) or affine[0] * affine[4] == affine[1] * affine[3]:
        raise ValueError("six finite numbers a, b, c, d, e, f with a e - b d not 0")
    return affine


@dataclass(frozen=True, slots=True)
class LocalGrid:
    """How coordinates of the site's own system become those of a known one: x' = a x + b y + c, y' = d x + e y + f."""

    into: Annotated[str, Key("the known system", pattern=r"^EPSG:\d{4,6}$")]
    affine: Annotated[
        tuple[float, float, float, float, float, float], AfterValidator(_check_area), Key("[a, b, c, d, e, f]")
    ]


@dataclass(frozen=True, slots=True)
class ScenePlan:
    """Which segmentation runs on scenes of the site."""

    weights: Annotated[str, Key("`auto`, the name of shipped weights, a file, or `index`: no network")] = "auto"
    minimum_area_m2: Annotated[float, Key("smaller footprints are left out", ge=0.0)] = 900.0
    near_m: Annotated[float, Key("so near to a station a footprint counts for it", gt=0.0)] = 500.0
    local: LocalGrid | None = None  # places files in a local system, such as a mine's grid
    prior: Annotated[str, Key("susceptibility map below footprints, GeoTIFF", max_length=1000)] = ""
    dem: Annotated[str, Key("heights for scenes without, m: GeoTIFF or folder", max_length=1000)] = ""

    @property
    def placed(self) -> tuple[str, tuple[float, ...]]:
        """The system that a local grid is brought into, and how; empty where there is none."""
        return ("", ()) if self.local is None else (self.local.into, self.local.affine)


@dataclass(frozen=True, slots=True)
class Recipient:
    """Who is notified of which levels by which channels (`kind:address`; secrets by environment name)."""

    name: Annotated[str, Key("unique in the site; `team:NAME` is whoever of that team is on duty", min_length=1)]
    channels: Annotated[tuple[str, ...], Key("`kind:address`; secrets by the name of a variable", default=())]
    levels: Annotated[
        tuple[int, ...],  # hazard levels
        Key("levels it is notified of; default all above the lowest", tuple[str, ...] | None, None),
    ]
    ledgers: Annotated[
        tuple[str, ...],
        Key("`advice` comes grouped, and never as an alarm", tuple[Literal["hazard", "health", "advice"], ...]),
    ] = ("hazard", "health")
    escalate_after_s: Annotated[float | None, Key("the next recipient is notified when nobody acknowledged")] = None
    people: Annotated[tuple[str, ...], Key("who acts for it, beside the one who signs with its own name")] = ()
    language: Annotated[str, Key("of its messages; default that of the service", Language | None, None)] = ""
    exercises: Annotated[bool, Key("its sirens sound in an exercise as well")] = False
    by_team: bool = False  # belongs to a team and asks for no level: notified by way of the team alone
    team: "Team | None" = None  # this recipient is whoever of the team is on duty
    phone: Annotated[str, Key("to be called by people; no channel", pattern=r"^(\+?[0-9][0-9 ()/.-]{2,30})?$")] = ""
    quiet: Annotated[QuietHours | None, Key("when only what is urgent is sent: 22:00-06:00", str, "")] = None
    digest: Annotated[
        int | None,  # minutes after local midnight
        Key('"07:00": the state of the site every day at this local time, also when all is well', str, ""),
    ] = None

    @property
    def everybody(self) -> tuple["Recipient", ...]:
        """Who may get messages by it: each member of a team, else itself; who is notified by teams alone is nobody."""
        return self.team.members if self.team is not None else () if self.by_team else (self,)

    @property
    def readable(self) -> tuple[str, ...]:
        """The channels that bring people a message; a siren takes orders alone, and those of hazards."""
        return tuple(channel for channel in self.channels if not traits_of(channel).orders)

    def is_person(self, name: str) -> bool:
        """Whether a name is this recipient, or one of the people behind it."""
        return bool(fold_name(name)) and any(is_same_person(known, name) for known in (self.name, *self.people))


def find_sounding(recipients: Iterable[Recipient], channel: str, *, exercise: bool) -> tuple[int | None, bool]:
    """The lowest level from which a siren sounds for any of them, None where nobody has it; whether a drill sounds it.

    In a drill the levels of those count for whom it sounds in drills.
    """
    declared = [(r.levels, one.exercises) for r in recipients for one in r.everybody if channel in one.channels]
    in_drills = [levels for levels, exercises in declared if exercises]
    counted = in_drills if exercise and in_drills else [levels for levels, _ in declared]
    return min((number for levels in counted for number in levels), default=None), bool(in_drills)


TEAM: Final = "team:"  # begins the name of a recipient that is a team


@dataclass(frozen=True, slots=True)
class Team:
    """People who are on duty in turn; who is when stands in the database (`monitor.people.duty_tables`)."""

    site: str
    name: Annotated[str, Key("unique in the site", pattern=r"^[\w][\w .-]{0,39}$")]
    zone: str  # of the site: plans are in its time
    members: Annotated[
        tuple[Recipient, ...],
        Key(
            "names of recipients; one without `levels` is notified by way of the team alone",
            tuple[str, ...],
            min_length=1,
            max_length=100,
        ),
    ]
    lead: Annotated[str, Key("one of the members, notified after who is on duty and the second")] = ""

    def list_steps(self, on_duty: Iterable[str], like: Recipient) -> list[tuple[Recipient, ...]]:
        """Whom to notify, one step after the other: who is on duty, the second, the lead, then all; each person once.

        Args:
            on_duty: names, first who is called first; where nobody is, the first step is the whole team.
            like: the recipient that is this team: its members get the levels, ledgers and clock of that one.
        """
        found = {
            m.name: replace(
                m, levels=like.levels, ledgers=like.ledgers, escalate_after_s=like.escalate_after_s, by_team=False
            )
            for m in self.members
        }
        everybody = [m.name for m in self.members]
        turns = [[name] for name in on_duty]
        steps = []
        for names in (*turns, [self.lead], everybody) if turns else (everybody,):
            step = tuple(found.pop(known) for name in names for known in list(found) if is_same_person(known, name))
            steps += [step] if step else []
        return steps


def _open_filter(pattern: str) -> str:
    return "/".join("+" if part in PLACEHOLDERS else part for part in pattern.split("/"))


def _check_filter(pattern: str) -> str:
    levels = pattern.split("/")
    for part in levels:
        if ("{" in part or "}" in part) and part not in PLACEHOLDERS:
            raise ValueError(f"{part!r}: expected {' or '.join(PLACEHOLDERS)} as a whole level")
    for one in PLACEHOLDERS:
        if levels.count(one) > 1:
            raise ValueError(f"{one} stands twice")
    if reaches_own_topics(_open_filter(pattern)):
        raise ValueError(f"expected a filter that reaches nothing below {TOPIC_ROOT}/, which the service reads itself")
    return pattern


@dataclass(frozen=True, slots=True)
class Binding:
    """A decoder bound to topics, with its settings in the site file; the decoder declares which of that it reads."""

    pattern: Annotated[
        str,
        AfterValidator(_check_filter),
        Key("a topic filter, in which {station} and {quantity} may stand for a level", alias="topic", min_length=1),
    ]
    name: Annotated[str, Key("the decoder that reads its messages", min_length=1)]
    station: Annotated[str, Key("whose the readings are", pattern=r"^[A-Za-z0-9_-]{0,64}$")] = ""
    series: Annotated[
        tuple[tuple[str, str], ...],
        Key('names of the device and what they are: {"Tilt X" = "T1.tilt_x_deg"}', dict[str, str], {}),
    ] = ()
    told: tuple[tuple[str, str], ...] = ()  # key of the site file -> word or expression

    @property
    def topic(self) -> str:
        """The topic filter as a broker knows it."""
        return _open_filter(self.pattern)

    @property
    def zone(self) -> ZoneInfo | None:
        """In which times without a zone count."""
        name = dict(self.told).get("zone", "")
        return ZoneInfo(name) if name else None

    def read(self, placeholder: str, topic: str) -> str:
        """The level of a topic that a placeholder stands for; empty where the pattern has none."""
        parts = self.pattern.split("/")
        return topic.split("/")[parts.index(placeholder)] if placeholder in parts else ""


@dataclass(frozen=True, slots=True)
class Expected:
    """What a site file lets expect of a series: its unit, the range outside which a value is flagged, whether named."""

    unit: str
    low: float
    high: float
    declared: bool


@dataclass(frozen=True, slots=True)
class Exposed:
    """What a landslide would reach: a road, houses, a shore; part of a warning from a level on."""

    name: Annotated[str, Key("what people call it; unique in the site", min_length=1, max_length=200)]
    corners: Annotated[
        tuple[tuple[float, float], ...],  # the last is not the first again
        Key("[latitude, longitude] of each, in the order of a walk around it, at most 100 km from the site", Corners),
    ]
    level: Annotated[int, Key("from which on it is in danger; default the first above the lowest", Name | None, None)]


def _check_free(site_id: str) -> str:
    if site_id in RESERVED:
        raise ValueError(f"{site_id!r} is reserved for the service itself; expected another id")
    return site_id


@dataclass(frozen=True, slots=True)
class Site:
    """One slope; `version` is the SHA-256 of the file it came from."""

    id: Annotated[str, AfterValidator(_check_free), Key("also the second part of the MQTT topic", pattern=SITE_ID)]
    name: Annotated[str, Key("what people call it", min_length=1)]
    latitude: Annotated[float, LATITUDE]
    longitude: Annotated[float, LONGITUDE]
    timezone: Annotated[str, Key("of times for people, such as Europe/Zurich; all that is stored is UTC", Zone, "UTC")]
    levels: tuple[Level, ...]
    stations: tuple[Station, ...]
    criteria: tuple[Criterion, ...]
    fusion: Fusion = field(default_factory=Fusion)
    forecast: ForecastPlan = ForecastPlan()
    anomaly: AnomalyPlan = AnomalyPlan()
    scenes: ScenePlan = ScenePlan()
    movement: MovementPlan = MovementPlan()
    recipients: tuple[Recipient, ...] = ()
    teams: tuple[Team, ...] = ()
    quantities: tuple[tuple[str, str], ...] = ()  # own quantities: name -> unit
    decoders: tuple[Binding, ...] = ()
    exposed: tuple[Exposed, ...] = ()
    version: str = ""
    source: str = field(default="", compare=False)  # the text itself

    @property
    def places(self) -> dict[str, tuple[float, float]]:
        """Stations that have a place: id -> longitude, latitude."""
        return {
            s.id: (s.longitude, s.latitude) for s in self.stations if s.longitude is not None and s.latitude is not None
        }

    @property
    def top_level(self) -> int:
        """Number of the highest level."""
        return self.levels[-1].number

    @property
    def slowest_motion_s(self) -> float | None:
        """The slowest declared interval of what moves: of it forecasts make their grid; None where nothing does."""
        return max((spec.interval_s for spec in self.moving), default=None)

    @property
    def watched_step_s(self) -> float | None:
        """Step at which detectors look at what moves; None where nothing does.

        The slowest interval up to a day: what comes more rarely (satellites), and what a person reads and types, makes
        detectors wait for nothing that an instrument measures more often. It counts where nothing else moves.
        """
        measured = [spec.interval_s for spec in self.moving if not spec.by_hand]
        daily = [interval_s for interval_s in measured if interval_s <= 86400.0]
        return max(daily or measured, default=self.slowest_motion_s)

    @property
    def moving(self) -> list[SeriesSpec]:
        """All series of what moves, but for those that stand elsewhere less the motion of a reference."""
        series = (spec for station in self.stations for spec in station.series)
        return [spec for spec in series if spec.quantity.startswith(MODELLED_MOTION_PREFIXES) and not spec.corrected_as]

    @property
    def anomalies_vote(self) -> bool:
        """Whether detectors count for the warning level: then their thresholds stay as they were proven."""
        return any(one.kind.facts == "anomalies" and one.role != "advice" for one in self.criteria)

    def station(self, station_id: str) -> Station | None:
        """The declared station of an id that it has or had, or None."""
        return _find_stations(self).get(station_id)

    def now_called(self, station_id: str) -> str:
        """The id of today of a station that had another one; any other id as it is."""
        return find_renamed(self).get(station_id, station_id)

    def series(self, station_id: str, quantity: str) -> SeriesSpec | None:
        """The declared series; components of displacement answer to `displacement`."""
        known, key = _remember_series(self), (station_id, quantity)
        if key not in known:
            station = self.station(station_id)
            known[key] = None if station is None else station.find_series(quantity)
        return known[key]

    def expect(self, station_id: str, quantity: str) -> Expected | None:
        """What a value of a series should be like; None where nobody knows the quantity."""
        spec, standard = self.series(station_id, quantity), QUANTITIES.get(quantity)
        unit = spec.unit if spec else standard.unit if standard else dict(self.quantities).get(quantity)
        if unit is None:
            return None
        usual = standard if standard is not None and standard.unit == unit else None
        low = spec.low if spec is not None and spec.low is not None else usual.low if usual else -float("inf")
        high = spec.high if spec is not None and spec.high is not None else usual.high if usual else float("inf")
        return Expected(unit, low, high, spec is not None)


KEPT_SITES: Final = 512
KEPT_CRITERIA: Final = 1024
KEPT_SERIES: Final = 16384  # names that were asked for, also those that nobody declared
Record = TypeVar("Record")
Found = TypeVar("Found")


def once_per_record(find: Callable[[Record], Found]) -> Callable[[Record], Found]:
    """Keep what a function found for the very records that it was called with last: every decision calls it again.

    Sites and criteria are frozen and distinguished by identity, since to compare two of them costs more than to find
    anew. What is found must not be changed by the caller.
    """
    kept: dict[int, tuple[Record, Found]] = {}

    @wraps(find)
    def find_once(record: Record) -> Found:
        known = kept.get(id(record))
        if known is None or known[0] is not record:
            if len(kept) >= (KEPT_SITES if isinstance(record, Site) else KEPT_CRITERIA):
                kept.clear()
            known = kept[id(record)] = (record, find(record))
        return known[1]

    return find_once


class BoundedMemo(dict[Record, Found]):
    """What was found by what it was found for; it begins anew where it has grown to `most`."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most

    def __setitem__(self, key: Record, value: Found) -> None:
        """Keep one more."""
        if len(self) >= self._most:
            self.clear()
        super().__setitem__(key, value)


@once_per_record
def _remember_series(_: Site) -> BoundedMemo[tuple[str, str], SeriesSpec | None]:
    """The declared series that were asked for, by station and quantity: every decision asks for them again."""
    return BoundedMemo(KEPT_SERIES)


@once_per_record
def _find_stations(site: Site) -> Mapping[str, Station]:
    """The stations by the ids that they have or had."""
    before = {name: one for one in reversed(site.stations) for name in one.was}
    return before | {one.id: one for one in reversed(site.stations)}


@once_per_record
def find_renamed(site: Site) -> Mapping[str, str]:
    """Ids that stations of a site had before, each with the one of today."""
    return {old: station.id for station in site.stations for old in station.was}


def rename_stations(value: Found, names: Mapping[str, str]) -> Found:
    """A declaration as it reads once its stations are renamed: wherever an id stands alone or before its quantity."""
    renamed: Any = value
    if isinstance(value, str) and type(value) is str:
        head, dot, tail = value.partition(".")
        renamed = f"{names.get(head, head)}{dot}{tail}"
    elif isinstance(value, tuple) and type(value) is tuple:
        renamed = tuple(rename_stations(one, names) for one in value)
    elif is_dataclass(value) and not isinstance(value, type | Kind):
        known = {f.name: getattr(value, f.name) for f in fields(value)}
        renamed = replace(value, **{k: rename_stations(v, names) for k, v in known.items() if k != "was"})
        if isinstance(value, Calculation):
            expression = _OF_SERIES.sub(lambda found: names.get(found[0], found[0]), value.expression)
            renamed = replace(renamed, expression=expression)
    return cast("Found", renamed)


def gather_recipients(sites: Iterable[Site]) -> tuple[Recipient, ...]:
    """Everybody that any site names, each name once: who is notified when the service itself is sick.

    Somebody whom several sites name is notified by all the channels that they name.
    """
    found: dict[str, Recipient] = {}
    for recipient in (r for site in sites for r in site.recipients):
        # two sites may have each a team of one name
        key = fold_name(recipient.name if recipient.team is None else f"{recipient.team.site}/{recipient.name}")
        known = found.get(key)
        found[key] = recipient if known is None else _join(known, recipient)
    return tuple(found.values())


def _join(one: Recipient, other: Recipient) -> Recipient:
    waits = [s for s in (one.escalate_after_s, other.escalate_after_s) if s is not None]
    return replace(
        one,
        channels=tuple(dict.fromkeys((*one.channels, *other.channels))),
        levels=tuple(sorted({*one.levels, *other.levels})),
        ledgers=tuple(dict.fromkeys((*one.ledgers, *other.ledgers))),
        escalate_after_s=min(waits, default=None),
        people=tuple(dict.fromkeys((*one.people, *other.people))),
        language=one.language or other.language,
        by_team=one.by_team and other.by_team,
        phone=one.phone or other.phone,
        quiet=one.quiet if one.quiet == other.quiet else None,  # two sites disagree: nothing waits
    )
