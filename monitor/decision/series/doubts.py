"""Jumps that an instrument itself does not vouch for: a question for a person, and never a level by themselves."""

from bisect import bisect_left, bisect_right
from math import fsum
from operator import mul
from statistics import median
from typing import Final

from forecasting.message import Figure, Message, Template
from monitor.decision.series.step_detector import AGREEING, Jump
from monitor.decision.series.tracks import Track, direction
from monitor.decision.series.vectors import norm
from monitor.domain.decision import DecisionInputs, seconds
from monitor.domain.site import Station

_UPSLOPE: Final = Template("step.upslope", "it goes {distance} mm upslope")
_UNSURE: Final = Template("step.unsure", "its stated error is {n} times the usual")
DOUBTED_SIGMAS: Final = 3.0  # the stated error of a fix over the usual one of its series
USUAL_EPOCHS: Final = 24  # before the jump, of which the usual error is the median
UPSLOPE_MM: Final = 500.0  # slopes do not climb; half a metre upslope is a fault of the instrument or of its frame
DOWNSLOPE: Final = frozenset({"displacement", "displacement_downslope"})  # single series that know where down is


def find_doubt(view: DecisionInputs, station: Station, track: Track, jump: Jump) -> Message | None:
    """Why a jump is doubted; None where it is not, or where later epochs have shown it with usual errors.

    Args:
        view: the readings; the newest epoch of a track may wait for the next one before it is part of it.
    """
    upslope_mm = _upslope_mm(station, track, jump)
    if upslope_mm >= UPSLOPE_MM:
        return _UPSLOPE(distance=Figure(upslope_mm, ",.0f"))
    place = bisect_left(track.times_s, jump.at_s)
    before = [norm(s) for s in track.sigmas[max(0, place - USUAL_EPOCHS) : place]]
    after = track.sigmas[bisect_right(track.times_s, jump.at_s) :]
    usual = median(before) if before else 0.0
    stated = norm(tuple(_stated(view, f"{station.id}.{q}", jump.at_s) for q in track.quantity.split("+")))
    if usual <= 0.0 or stated <= DOUBTED_SIGMAS * usual:
        return None
    # another epoch that is as sure as usual, or so many that agree, says more than the error of the first
    if len(after) >= AGREEING or any(norm(s) <= DOUBTED_SIGMAS * usual for s in after):
        return None
    return _UNSURE(n=Figure(stated / usual, ".1f"))


def _stated(view: DecisionInputs, key: str, at_s: float) -> float:
    readings = view.readings.get(key, ())
    place = bisect_left(readings, at_s, key=lambda r: seconds(r.observed_at))
    if place >= len(readings) or seconds(readings[place].observed_at) != at_s:
        return 0.0
    return readings[place].sigma or 0.0


def _upslope_mm(station: Station, track: Track, jump: Jump) -> float:
    """How far a jump goes against the direction of movement; 0 where nobody declared it, or mostly aside."""
    if len(jump.size) == 1:
        return -jump.size[0] if track.quantity in DOWNSLOPE else 0.0
    unit = direction(station, len(jump.size))
    if unit is None:
        return 0.0
    against = -fsum(map(mul, jump.size, unit))
    return against if against >= 0.5 * jump.length else 0.0
