"""Displacement by depth from what instruments in a borehole read, its rate, and the depth of slip.

Both faces of a probe are averaged: that takes its bias away, and their sum, the checksum, shows what it leaves (Machan
and Bennett 2008, TRB E-C129). A bias that shifts during a survey tilts the whole profile: what the stable length shows
of it is taken off (Mikkelsen 2003). Grooves that spiral are turned back by their azimuth at each depth (Dunnicliff
1993). Slip is where the rate steps most between neighbours (Stark and Choi 2008), beyond the noise of the profile.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from itertools import pairwise
from math import cos, hypot, inf, log, radians, sin, sqrt
from statistics import median
from typing import Final, NamedTuple

from forecasting.message import Duration, Figure, Message, Template
from monitor.domain.quantities import OF_DEPTHS, UNITS, convert

DAY_S: Final = 86400.0
FACES: Final[dict[str, tuple[tuple[str, ...], ...]]] = {  # by axis
    "probe": (("a0", "a180"), ("b0", "b180")),
    "in_place": (("a",), ("b",)),
    "shape_array": (("a",), ("b",)),
    "strain": (("fibre",),),
    "extensometer": (("anchor",),),
    "piezometer": (("pressure",),),
    "thermistor": (("temperature",),),
}
OF_STATE: Final = frozenset({"piezometer", "thermistor"})  # their readings are no displacement
LEAST: Final = 8  # steps: of fewer the noise is not known
CHANCE: Final = 0.01  # of a profile at rest to show a slip
SAME_MM: Final = 1e-6  # a smaller difference comes from rounding
SCATTER: Final = 1.4826  # standard deviations in a median of absolute deviations
_NO_MOTION: Final = Template("profile.no_motion", "what it reads is no displacement")
_NO_RATE: Final = Template("profile.no_rate", "no second reading within {window}")
_FEW: Final = Template("profile.few", "{count} of {least} steps that are needed to know its noise")
_AT_REST: Final = Template("profile.at_rest", "the largest step, {rate} at {depth}, lies within its noise of {sigma}")
_UNREAD: Final = Template("profile.unread", "nothing came of {depth}, which may slip: read it again")
_CHECKSUM: Final = Template("profile.checksum", "the checksum at {depth} changed by {change}: read it again")
Column = list[float | None]  # a value by depth


@dataclass(frozen=True, slots=True)
class Profile:
    """One instrument by depth, as its site file declares it; a length reaches from a depth to the fixed end."""

    station: str
    kind: str
    depths_m: tuple[float, ...]  # downwards
    lengths_m: tuple[float, ...]
    unit: str
    axes: int = 1
    constant: float = 0.0  # what it reads at 90 deg; 0: `unit` is one of length, angle or strain
    fixed: str = "bottom"
    zero: datetime | None = None
    stable_m: tuple[float, float] | None = None
    twist_deg: tuple[tuple[float, float], ...] = ()  # depth, and azimuth of its groove from that of the reference
    within_s: float = 0.0
    window_s: float = 0.0

    @property
    def faces(self) -> list[str]:
        """What is read at each depth."""
        return [face for axis in FACES[self.kind][: self.axes] for face in axis]

    @property
    def outwards(self) -> Sequence[int]:
        """Places of depths, from the fixed end on."""
        places = range(len(self.depths_m))
        return places[::-1] if self.fixed == "bottom" else places

    def name(self, face: str, place: int) -> str:
        """The quantity that is read at a depth.

        >>> Profile("I1", "probe", (0.5, 1.0), (0.5, 0.5), "mm").name("a180", 0)
        'depth_a180_0m5'
        """
        return f"{OF_DEPTHS}{face}_{self.depths_m[place]:g}".replace(".", "m") + "m" * self.depths_m[place].is_integer()

    def bounds_m(self, place: int) -> tuple[float, float]:
        """From where to where a step reaches, by depth."""
        depth, length = self.depths_m[place], self.lengths_m[place]
        return (depth, depth + length) if self.fixed == "bottom" else (depth - length, depth)


@lru_cache(maxsize=256)
def list_names(profile: Profile) -> tuple[str, ...]:
    """The quantities that are read at all depths."""
    return tuple(profile.name(face, place) for face in profile.faces for place in range(len(profile.depths_m)))


class Survey(NamedTuple):
    """All depths at about one instant: steps in mm by axis and depth, and checksums in mm."""

    at_s: float
    steps: list[Column]
    checksums: Column


class Slip(NamedTuple):
    """The depth of slip; None throughout, with the reason, where none is real."""

    depth_m: float | None
    low_m: float | None
    high_m: float | None
    displacement_mm: float | None  # across it, since the zero reading
    rate_mm_per_day: float | None  # across it; 0 where the largest step is noise, None where nobody knows
    sigma_mm_per_day: float | None
    reason: Message | None


def read_survey(profile: Profile, at_s: float, faces: dict[str, Column]) -> Survey:
    """What was read at each depth, in mm across its length; of an extensometer from its neighbour at the fixed end.

    `faces`: by face a value in the unit of the profile, None where nothing usable came.
    """
    steps: list[Column] = []
    checksums: Column = [None] * len(profile.depths_m)
    for names in FACES[profile.kind][: profile.axes]:
        columns = [[_find_mm(profile, place, value) for place, value in enumerate(faces[name])] for name in names]
        if len(columns) == 1:
            steps.append(columns[0])
            continue
        pairs = list(zip(*columns, strict=True))
        steps.append([None if one is None or other is None else (one - other) / 2.0 for one, other in pairs])
        if len(steps) == 1:
            checksums = [None if one is None or other is None else one + other for one, other in pairs]
    if profile.kind == "extensometer":
        steps = [_subtract_neighbours(profile, column) for column in steps]
    return Survey(at_s, steps, checksums)


def _find_mm(profile: Profile, place: int, value: float | None) -> float | None:
    length_mm = 1000.0 * profile.lengths_m[place]
    canonical = UNITS.get(profile.unit, (profile.unit,))[0]
    if value is None or profile.kind in OF_STATE:
        return value
    if profile.constant:
        return length_mm * value / profile.constant
    if canonical == "mrad":
        return length_mm * sin(convert(value, profile.unit, "mrad") / 1000.0)
    if canonical == "microstrain":
        return length_mm * convert(value, profile.unit, "microstrain") * 1e-6
    return convert(value, profile.unit, "mm")


def _subtract_neighbours(profile: Profile, column: Column) -> Column:
    found: Column = [None] * len(column)
    for inner, outer in pairwise(profile.outwards):
        one, other = column[outer], column[inner]
        found[outer] = None if one is None or other is None else one - other
    return found


def subtract_zero(profile: Profile, survey: Survey, zero: Survey) -> Survey:
    """The change since the zero reading, freed of the shift of bias that the stable length shows, and of the spiral."""
    steps = [
        [None if one is None or other is None else one - other for one, other in zip(now, first, strict=True)]
        for now, first in zip(survey.steps, zero.steps, strict=True)
    ]
    if profile.stable_m is not None:
        steps = [_subtract_bias(profile, column, *profile.stable_m) for column in steps]
    if profile.twist_deg:
        steps = _turn_back(profile, *steps)
    checksums: Column = [
        None if one is None or other is None else one - other
        for one, other in zip(survey.checksums, zero.checksums, strict=True)
    ]
    return Survey(survey.at_s, steps, checksums)


def _subtract_bias(profile: Profile, column: Column, from_m: float, to_m: float) -> Column:
    places = [i for i, d in enumerate(profile.depths_m) if from_m <= d <= to_m]
    known = [(step, profile.lengths_m[i]) for i in places if (step := column[i]) is not None]
    total_m = sum(length for _, length in known)
    bias = sum(step for step, _ in known) / total_m if total_m else 0.0
    return [None if one is None else one - bias * profile.lengths_m[i] for i, one in enumerate(column)]


def _turn_back(profile: Profile, a: Column, b: Column) -> list[Column]:
    """Steps along the grooves at each depth as steps along those of the reference; B lies 90 deg clockwise of A."""
    found: list[Column] = [[], []]
    for depth, one, other in zip(profile.depths_m, a, b, strict=True):
        turn = radians(_interpolate(profile.twist_deg, depth))
        is_known = one is not None and other is not None
        found[0].append(one * cos(turn) - other * sin(turn) if is_known else None)  # type: ignore[operator]
        found[1].append(one * sin(turn) + other * cos(turn) if is_known else None)  # type: ignore[operator]
    return found


def _interpolate(points: Sequence[tuple[float, float]], x: float) -> float:
    if x <= points[0][0]:
        return points[0][1]
    for (x0, y0), (x1, y1) in pairwise(points):
        if x <= x1:
            return y0 + (y1 - y0) * (x - x0) / (x1 - x0)
    return points[-1][1]


def accumulate(profile: Profile, column: Column) -> Column:
    """The sum of steps from the fixed end to each depth; None beyond a depth that is missing."""
    found: Column = [None] * len(column)
    total: float | None = 0.0
    for count, place in enumerate(profile.outwards):
        step = 0.0 if profile.kind == "extensometer" and not count else column[place]
        total = None if total is None or step is None else total + step
        found[place] = total
    return found


def compute_rates(surveys: Sequence[Survey]) -> list[Column]:
    """By axis and depth the slope of a line through steps of surveys, the newest last, mm/day."""
    places, axes = range(len(surveys[-1].checksums)), range(len(surveys[-1].steps))
    return [[_fit_slope(surveys, axis, place) for place in places] for axis in axes]


def _fit_slope(surveys: Sequence[Survey], axis: int, place: int) -> float | None:
    known = [(one.at_s / DAY_S, step) for one in surveys if (step := one.steps[axis][place]) is not None]
    if surveys[-1].steps[axis][place] is None:
        return None
    middle = sum(x for x, _ in known) / len(known)
    spread = sum((x - middle) ** 2 for x, _ in known)
    return sum((x - middle) * y for x, y in known) / spread if spread else None


def compute_noise(column: Column, digit: float | None = None) -> tuple[float, float]:
    """The middle of values and their standard deviation, of which a few that differ are no part; inf where unknown.

    `digit`: what it is at least; default that of the smallest difference.
    """
    known = [one for one in column if one is not None]
    if len(known) < LEAST:
        return 0.0, inf
    middle = median(known)
    off = sorted(abs(one - middle) for one in known)
    # where most are equal to the last digit, that is what can be seen
    digit = next((one for one in off if one), inf) / sqrt(12.0) if digit is None else digit
    return middle, max(SCATTER * median(off), digit)


def _find_digit(surveys: Sequence[Survey], axis: int) -> float:
    """The standard deviation of a rate of which one last digit of the readings is all the noise; inf: none changes."""
    pairs = (each for one, other in pairwise(surveys) for each in zip(one.steps[axis], other.steps[axis], strict=True))
    sizes = (abs(one - other) for one, other in pairs if one is not None and other is not None)
    middle_s = sum(one.at_s for one in surveys) / len(surveys)
    spread = sum(((one.at_s - middle_s) / DAY_S) ** 2 for one in surveys)
    return min((one for one in sizes if one > SAME_MM), default=inf) / sqrt(12.0 * spread)


def find_slip(profile: Profile, surveys: Sequence[Survey]) -> Slip:
    """The depth of slip by surveys since the zero reading, the newest last.

    A step is real beyond what the largest of as many of pure noise reaches once in a hundred profiles; the noise is
    that of all depths. Slip reaches over neighbours that are real as well, and over all as large within the noise.
    """
    if profile.kind in OF_STATE:
        return _reject(_NO_MOTION())
    rates = compute_rates(surveys)
    if all(one is None for column in rates for one in column):
        return _reject(_NO_RATE(window=Duration(profile.window_s)))
    noise = [compute_noise(column, _find_digit(surveys, axis)) for axis, column in enumerate(rates)]
    known = [i for i in range(len(profile.depths_m)) if all(column[i] is not None for column in rates)]
    if len(known) < LEAST:
        return _reject(_FEW(count=len(known), least=LEAST))
    sizes = {i: _measure(rates, noise, i) for i in known}
    peak = max(sizes, key=lambda i: sizes[i])
    sigma = max((one for _, one in noise if one < inf), default=0.0)  # depths that all read alike show none
    low, high = profile.bounds_m(peak)
    depth = Figure(round((low + high) / 2.0, 3), "g", "m")
    rate = hypot(*(_find(column, peak) - middle for column, (middle, _) in zip(rates, noise, strict=True)))
    # the noise is itself estimated, from few depths the less well: 12 by 4,000 drawn profiles of 8 to 100 depths each
    bound = sqrt(-2.0 * log(CHANCE / len(known))) * (1.0 + 12.0 / len(known))
    if sizes[peak] <= bound:
        for i in range(len(profile.depths_m)):
            if i not in sizes and _may_slip(surveys, noise, bound, i):
                return _reject(_UNREAD(depth=Figure(profile.depths_m[i], "g", "m")))
        why = _AT_REST(rate=Figure(rate, ".2g", "mm/day"), depth=depth, sigma=Figure(sigma, ".2g", "mm/day"))
        return Slip(None, None, None, None, 0.0, sigma, why)
    span_day = (surveys[-1].at_s - surveys[0].at_s) / DAY_S
    change = _find_checksum_change(surveys, peak)
    if abs(change) >= rate * span_day > 0.0:  # one face alone differs: it moves the checksum twice as much as the step
        return _reject(_CHECKSUM(depth=depth, change=Figure(change, ".2g", "mm")))
    run = _find_run(sizes, peak, bound)
    near = [i for i in known if sizes[i] > bound and sizes[i] > sizes[peak] - sqrt(8.0)]
    edges = [edge for i in {*run, *near} for edge in profile.bounds_m(i)]
    total = sum(sizes[i] for i in run)
    return Slip(
        sum(sizes[i] * sum(profile.bounds_m(i)) / 2.0 for i in run) / total,
        min(edges),
        max(edges),
        hypot(*(sum(_find(column, i) for i in run) for column in surveys[-1].steps)),
        hypot(*(sum(_find(c, i) - middle for i in run) for c, (middle, _) in zip(rates, noise, strict=True))),
        sigma * sqrt(len(run)),
        None,
    )


def _find_run(sizes: Mapping[int, float], peak: int, bound: float) -> list[int]:
    """The depths beside each other that are all real, with the largest step first."""
    run = [peak]
    for way in (-1, 1):
        place = peak + way
        while sizes.get(place, 0.0) > bound:
            run.append(place)
            place += way
    return run


def _reject(reason: Message) -> Slip:
    return Slip(None, None, None, None, None, None, reason)


def _may_slip(surveys: Sequence[Survey], noise: Sequence[tuple[float, float]], bound: float, place: int) -> bool:
    """Whether a depth without a rate was read, and slipped or nobody knows; one that fell out long ago counts not."""
    read = [[one for one in surveys if one.steps[axis][place] is not None] for axis in range(len(noise))]
    rates = [[_fit_slope(rows, axis, place)] for axis, rows in enumerate(read) if rows]
    return len(rates) == len(noise) and ([None] in rates or _measure(rates, noise, 0) > bound)


def _find(column: Column, place: int) -> float:
    return column[place] or 0.0


def _measure(rates: Sequence[Column], noise: Sequence[tuple[float, float]], place: int) -> float:
    """A step in standard deviations."""
    return hypot(*((_find(c, place) - middle) / sigma for c, (middle, sigma) in zip(rates, noise, strict=True)))


def _find_checksum_change(surveys: Sequence[Survey], place: int) -> float:
    """How much more than that of other depths a checksum differs from the first survey, mm."""
    pairs = zip(surveys[-1].checksums, surveys[0].checksums, strict=True)
    changes = [None if one is None or other is None else one - other for one, other in pairs]
    known = [one for one in changes if one is not None]
    return _find(changes, place) - median(known) if known else 0.0
