"""A slope as its site file declares it: stations, series, criteria, levels, recipients. Frozen records."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from datetime import datetime
from functools import wraps
from typing import Any, Final, TypeVar, cast
from zoneinfo import ZoneInfo

from monitor.domain.duty.channels import traits_of
from monitor.domain.duty.quiet import Quiet
from monitor.domain.fusion import Fusion
from monitor.domain.kinds import Kind
from monitor.domain.names import fold_name, is_same_person
from monitor.domain.quantities import MOVING, QUANTITIES, Walls


@dataclass(frozen=True, slots=True)
class SeriesSpec:
    """A series that a station is expected to deliver."""

    station: str
    quantity: str  # canonical name; `displacement` with components east, north, up or a scalar
    unit: str  # canonical unit, or `index` for a covariate that no threshold may use
    interval_s: float
    max_silence_s: float
    noise_floor: float = 0.0  # same unit
    verify_step: float | None = None  # a jump beyond this is pending_verification
    stamp: str = "interval_end"  # rain: interval_end, counter or event
    low: float | None = None  # own range, else that of the quantity
    high: float | None = None
    empty: float | None = None  # battery_voltage and battery_level: at this the instrument stops
    physical: tuple[str, ...] = ()  # which ends of its own range nature cannot pass either
    may_fall: float | None = None  # how far below or above its newest reading a value can come, else as the quantity
    may_rise: float | None = None
    by_hand: bool = False  # a person reads it and types the value
    source: str = ""  # `IMAGE_CORRELATION`: `slopeward scenes track` writes it; `VELOCITY_MAP`: `velocity`
    over_mm_per_day: float = 0.0  # moving_share: of its ground what is faster, either way

    @property
    def walls(self) -> Walls:
        """What its values cannot pass: as it declares, else as its quantity has it."""
        standard, found = QUANTITIES.get(self.quantity), Walls()
        if standard is not None and standard.unit == self.unit:
            found = Walls(may_fall=standard.may_fall)
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

    since: datetime
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

    id: str
    latitude: float | None
    longitude: float | None
    height_m: float | None
    azimuth_deg: float | None  # downslope direction of movement
    plunge_deg: float | None
    reference: str | None  # shared reference station: not independent
    logger: str | None
    antenna: str | None
    on_slope: bool  # False = stable control station
    series: tuple[SeriesSpec, ...]
    area: str | None = None  # part of the slope, for votes counted by area
    footprint: str | None = None  # shared image pixel or radar footprint: not independent
    v_eq_mm_per_day: float | None = None  # reviewed velocity of uniform creep, for the tangential angle
    v_eq_reviewed: str = ""  # who reviewed it, when and on what
    gateway: str | None = None  # by which its readings come; with reference, logger and power what it hangs on
    power: str | None = None  # the supply it shares with others
    calibrated_on: str | None = None  # day of the last calibration
    calibrate_every_s: float | None = None
    origin: Origin | None = None  # of positions that its receiver sends
    outline: tuple[tuple[float, float], ...] = ()  # ground that maps of velocities are read on: latitude, longitude
    name: str = ""  # as people call it; empty = its id
    was: tuple[str, ...] = ()  # ids that it had before: its history, and what still comes under them, are its own

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
    """The bound of one level: `over` or `under` (value, rate or sum), and the window it is computed in."""

    level: int
    over: float | None = None
    under: float | None = None
    window_s: float | None = None
    probability: float | None = None  # forecast: the bound counts as crossed where its chance is more than this

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
    valid_until: str | None = None  # the bounds are to be reviewed by then; they go on counting, and it is said
    fast_track: float | None = None  # beyond so many times the bound, the dwell is waived
    declared: tuple[Threshold, ...] = ()  # while bounds are lowered: those of the site file, which say what a jump is


@dataclass(frozen=True, slots=True)
class Level:
    """One step of the site's ladder."""

    number: int
    name: str
    auto_lower: bool
    action: str = ""
    review_every_s: float | None = None


@dataclass(frozen=True, slots=True)
class StagePlan:
    """What one stage of movement asks for: how often to look and to forecast, and what people do."""

    stage: str  # creep, intermediate, progressive, step, unknown
    evaluate_every_s: float
    forecast_every_s: float
    action: str = ""


@dataclass(frozen=True, slots=True)
class MovementPlan:
    """How movement is judged: windows, failure velocity, and what each stage asks for."""

    stages: tuple[StagePlan, ...] = ()
    failure_velocity_mm_per_day: float | None = None  # where forecasts cross it, failure is expected
    history_s: float = 400.0 * 86400.0  # how far back velocities are compared

    def stage(self, name: str | None) -> StagePlan | None:
        """The plan of a stage; None where the site file says nothing of it."""
        return next((s for s in self.stages if s.stage == name), None)


@dataclass(frozen=True, slots=True)
class ForecastPlan:
    """Which models run for the site, how far and how often."""

    models: tuple[str, ...] = ("auto",)
    horizons_s: tuple[float, ...] = (86400.0, 604800.0, 2592000.0)
    covariates: tuple[str, ...] = ()
    every_s: float = 21600.0
    expected_rain: tuple[tuple[str, float], ...] = ()  # (station.quantity of its issues, how far each looks ahead, s)
    start_from: str = ""  # site whose newest network of the same kind is tuned; empty: each begins anew
    replay: tuple[str, ...] = ()  # sites whose records are learnt from beside


@dataclass(frozen=True, slots=True)
class AnomalyPlan:
    """Which detectors run for the site and the false alarms per sensor-month they may raise."""

    detectors: tuple[str, ...] = ("rules", "flatline", "replay", "unit-jump", "timing")
    budget_per_sensor_month: float = 0.1
    every_s: float = 3600.0


@dataclass(frozen=True, slots=True)
class LocalGrid:
    """How coordinates of the site's own system become those of a known one: x' = a x + b y + c, y' = d x + e y + f."""

    into: str  # EPSG:code
    affine: tuple[float, float, float, float, float, float]  # a, b, c, d, e, f


@dataclass(frozen=True, slots=True)
class ScenePlan:
    """Which segmentation runs on scenes of the site."""

    weights: str = "auto"
    minimum_area_m2: float = 900.0
    near_m: float = 500.0  # a footprint within this distance of a station is named in the advice
    triage: bool = False  # pass over tiles in which a coarse network is sure to see nothing
    local: LocalGrid | None = None  # places files in a local system, such as a mine's grid
    prior: str = ""  # susceptibility map that lies below footprints: which ground resembles that of landslides
    dem: str = ""  # heights of the ground, a file or a folder of tiles, for scenes that bring none


@dataclass(frozen=True, slots=True)
class Recipient:
    """Who is told of which levels by which channels (`kind:address`; secrets by environment name)."""

    name: str
    channels: tuple[str, ...]
    levels: tuple[int, ...]  # hazard levels
    ledgers: tuple[str, ...] = ("hazard", "health")
    escalate_after_s: float | None = None
    people: tuple[str, ...] = ()  # who acts for this recipient, beside the one who signs with its own name
    language: str = ""  # of the messages; empty = that of the service
    exercises: bool = False  # of sirens: they sound in an exercise as well
    by_team: bool = False  # belongs to a team and asks for no level: notified by way of the team alone
    team: "Team | None" = None  # this recipient is whoever of the team is on duty
    phone: str = ""  # to be called by people; no channel
    quiet: Quiet | None = None  # when only what is urgent is sent
    digest: int | None = None  # minutes after local midnight at which the daily digest is sent; None = never

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
    asked = [(r.levels, one.exercises) for r in recipients for one in r.everybody if channel in one.channels]
    in_drills = [levels for levels, exercises in asked if exercises]
    counted = in_drills if exercise and in_drills else [levels for levels, _ in asked]
    return min((number for levels in counted for number in levels), default=None), bool(in_drills)


TEAM: Final = "team:"  # begins the name of a recipient that is a team


@dataclass(frozen=True, slots=True)
class Team:
    """People who are on duty in turn; who is when stands in the database (`monitor.domain.duty`)."""

    site: str
    name: str
    zone: str  # of the site: plans are in its time
    members: tuple[Recipient, ...]
    lead: str = ""

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


@dataclass(frozen=True, slots=True)
class Binding:
    """A decoder bound to topics, with what the site file tells it; which of that it reads is said where it stands."""

    pattern: str  # a topic filter, in which {station} and {quantity} stand for a level
    name: str
    station: str = ""  # whose the readings are, where the messages do not say
    series: tuple[tuple[str, str], ...] = ()  # a name of the device -> [STATION.]QUANTITY_UNIT
    told: tuple[tuple[str, str], ...] = ()  # key of the site file -> word or expression

    @property
    def topic(self) -> str:
        """The topic filter as a broker knows it."""
        return "/".join("+" if part in PLACEHOLDERS else part for part in self.pattern.split("/"))

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
    """What a landslide would reach: a road, houses, a shore; part of a warning from a level on.

    Attributes:
        name: what people call it.
        corners: latitude and longitude of each, deg, in their order; the last is not the first again.
        level: from which on it is in danger.
    """

    name: str
    corners: tuple[tuple[float, float], ...]
    level: int


@dataclass(frozen=True, slots=True)
class Site:
    """One slope; `version` is the SHA-256 of the file it came from."""

    id: str
    name: str
    latitude: float
    longitude: float
    timezone: str
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
        """All series of what moves."""
        return [spec for station in self.stations for spec in station.series if spec.quantity.startswith(MOVING)]

    @property
    def anomalies_vote(self) -> bool:
        """Whether what detectors say counts for the warning level: then their thresholds stay as they were proven."""
        return any(one.kind.facts == "anomalies" and one.role != "advice" for one in self.criteria)

    def station(self, station_id: str) -> Station | None:
        """The declared station of an id that it has or had, or None."""
        for station in self.stations:  # asked many times in every decision: the plain loop costs least
            if station.id == station_id:
                return station
        return next((s for s in self.stations if station_id in s.was), None)

    def now_called(self, station_id: str) -> str:
        """The id of today of a station that had another one; any other id as it is."""
        return find_renamed(self).get(station_id, station_id)

    def series(self, station_id: str, quantity: str) -> SeriesSpec | None:
        """The declared series; components of displacement answer to `displacement`."""
        station = self.station(station_id)
        return None if station is None else station.find_series(quantity)

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


KEPT_SITES: Final = 64
Found = TypeVar("Found")


def once_per_site(find: Callable[[Site], Found]) -> Callable[[Site], Found]:
    """Keep what a function found for the very sites it was asked about last: every decision asks it again.

    Sites are frozen and told apart by identity, since to compare two of them costs more than to find anew. What is
    found must not be changed by who asks.
    """
    kept: dict[int, tuple[Site, Found]] = {}

    @wraps(find)
    def ask(site: Site) -> Found:
        known = kept.get(id(site))
        if known is None or known[0] is not site:
            if len(kept) >= KEPT_SITES:
                kept.clear()
            known = kept[id(site)] = (site, find(site))
        return known[1]

    return ask


@once_per_site
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
    return cast("Found", renamed)


def gather_recipients(sites: Iterable[Site]) -> tuple[Recipient, ...]:
    """Everybody that any site names, each name once: who is told when the service itself is sick.

    Somebody whom several sites name is told by all the channels that they name.
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
