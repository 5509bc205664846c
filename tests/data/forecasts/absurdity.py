"""Forecasts that nobody who sees the slope would believe: each rule names one, from what is known at the issue."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from forecasting.kinematics.noise import measure_sigma, median
from forecasting.kinematics.velocity import DAY_S, Velocity, fit_velocity

CLEAR: Final = 8.0  # standard errors above which the velocity is beyond doubt
STILL: Final = 2.0  # standard errors below which nothing moves
BEYOND: Final = 3.0  # noises that are more than chance
LEAST_MM: Final = 0.1  # less than this is no absurdity, however smooth the record
FASTER: Final = 5.0  # times the largest velocity of the record
LOPSIDED: Final = 3.0  # one half of an interval by the other
LEAST_SHARE: Final = 0.8  # of the width that noise asks for: it is an estimate, and so is a quantile
NARROWED: Final = 0.9  # of the width of an earlier target
WIDTH_80: Final = 2.5631  # standard deviations between the 10 % and 90 % quantile of a normal
LENGTHS: Final = (4, 6, 9, 13, 20, 30)  # readings of a velocity
RECENT: Final = 7

RULES: Final = {
    "heals": "the slope moves one way and the median goes the other",
    "turns back": "the median of a later target lies behind that of an earlier one",
    "runs away": f"the median implies more than {FASTER:g} times the largest velocity of the record",
    "stops": "the 95 % interval ends before where the present velocity leads",
    "below noise": "the 80 % interval is narrower than the noise of one reading allows",
    "narrows": "the 80 % interval of a later target is narrower than that of an earlier one",
    "drifts": "nothing moves and the median leaves the level",
    "lopsided": f"nothing moves and one half of the interval is {LOPSIDED:g} times the other",
}


@dataclass(frozen=True, slots=True)
class Fan:
    horizon_s: float
    q025: float
    q10: float
    q50: float
    q90: float
    q975: float


@dataclass(frozen=True, slots=True)
class Present:
    """What the readings up to the issue say."""

    value: float
    level: float
    velocity: float
    error: float
    mid_s: float
    noise: float
    fastest: float

    @property
    def moves(self) -> bool:
        return abs(self.velocity) > CLEAR * self.error

    @property
    def is_still(self) -> bool:
        return abs(self.velocity) < STILL * self.error


def see_present(times_s: Sequence[float], values: Sequence[float], *, noise: float | None = None) -> Present | None:
    """What a person at the screen sees: level, velocity with its error, noise. None below 4 readings."""
    sigma = measure_sigma(times_s[-365:], values[-365:]) if noise is None else noise
    best: Velocity | None = None
    for n in LENGTHS:
        if n > len(times_s):
            break
        found = fit_velocity(times_s[-n:], values[-n:], [sigma] * n)
        best = found or best
        if found is not None and abs(found.rate) > CLEAR * found.error:
            break
    if best is None:
        return None
    rates = [
        abs(v.rate)
        for i in range(4, len(times_s) + 1)
        if (v := fit_velocity(times_s[i - 4 : i], values[i - 4 : i], [sigma] * 4)) is not None
    ]
    fastest = max((*rates, abs(best.rate)))
    level = median(values[-RECENT:])
    return Present(values[-1], level, best.rate, best.error, best.mid_s, sigma, fastest)


def find_absurd(fans: Sequence[Fan], present: Present) -> dict[float, tuple[str, ...]]:
    """Rules that the forecasts of one issue break, by horizon in seconds; horizons that break none are left out."""
    ordered = sorted(fans, key=lambda f: f.horizon_s)
    found = {f.horizon_s: _of_one(f, present) for f in ordered}
    way, slack = (1.0 if present.velocity > 0.0 else -1.0), max(BEYOND * present.noise, LEAST_MM)
    for near, far in pairwise(ordered):
        if present.moves and way * (far.q50 - near.q50) < -slack:
            found[far.horizon_s].append("turns back")
        if far.q90 - far.q10 < NARROWED * (near.q90 - near.q10):
            found[far.horizon_s].append("narrows")
    return {h: tuple(rules) for h, rules in found.items() if rules}


def _of_one(fan: Fan, present: Present) -> list[str]:
    days, slack = fan.horizon_s / DAY_S, max(BEYOND * present.noise, LEAST_MM)
    ahead = fan.q50 - present.value
    out = []
    if abs(ahead) - slack > FASTER * present.fastest * days:
        out.append("runs away")
    if fan.q90 - fan.q10 < LEAST_SHARE * WIDTH_80 * present.noise:
        out.append("below noise")
    if present.moves:
        way = 1.0 if present.velocity > 0.0 else -1.0
        edge = fan.q975 if way > 0.0 else fan.q025
        if way * ahead < -slack:
            out.append("heals")
        certain = (abs(present.velocity) - STILL * present.error) * days - slack
        if way * (edge - present.value) < certain:
            out.append("stops")
    if present.is_still:
        if abs(fan.q50 - present.level) > STILL * present.noise:
            out.append("drifts")
        above, below = fan.q90 - fan.q50, fan.q50 - fan.q10
        if max(above, below) > LOPSIDED * max(0.0, min(above, below)):
            out.append("lopsided")
    return out
