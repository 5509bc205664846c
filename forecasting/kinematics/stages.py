"""The stage a slope is in, and where it tends, as a state slow to change; the tangential angle, and words for both."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import atan, degrees, erf, isfinite, sqrt
from typing import Any, Final

from forecasting.errors import NotEnoughDataError
from forecasting.kinematics.velocity import DAY_S
from forecasting.reasons import Reason, Value, join_reasons

UP_ISSUES = 3
DOWN_S = 14.0 * DAY_S
QUIET_S = 14.0 * DAY_S  # |z| < 2 for so long is a constant rate
BENT = 2.0  # standard errors from which an acceleration is believed
SURE = 4.0  # standard errors from which a velocity is believed
FASTER = 1.5  # times v_eq from which steady motion is no creep
SLOWED = 0.7  # of the recent maximum: below it the acceleration is over
WINDOWS = 3  # velocity windows that must agree on an acceleration

RANK = {"creep": 0, "step": 1, "intermediate": 1, "progressive": 2}
StageState = dict[str, Any]  # JSON-ready; {} starts

TOO_FEW: Final = Reason("movement.too_few")


@dataclass(frozen=True, slots=True)
class Exceeded:
    """A velocity beyond a bound of the site file, in the bound's own window."""

    velocity: float  # units of the values per day
    error: float  # one standard error of it
    over: float  # the bound, in the same unit
    window_s: float  # window of both, seconds


@dataclass(frozen=True, slots=True)
class MovementFacts:
    """What one look at a series knows, along the movement (positive = forwards), in units of the values and days."""

    at_s: float  # newest datum used, epoch seconds: the clock of the hysteresis
    # velocity over the window that the motion allows (`assessment`); None where it could not be fitted
    velocity: float | None
    velocity_error: float | None  # one standard error of it
    accelerations_z: tuple[float, ...] = ()  # acceleration in standard errors, one per velocity window
    window_s: float | None = None  # window of the velocity, seconds; None where nobody says
    rising: bool = False  # the newest velocity is above the one before it
    v_eq: float | None = None  # reviewed velocity of the steady stage; None where nobody set one
    usual_velocity: float | None = None  # median of the past year: stands in for v_eq, said so in the reasons
    # lowest velocity that the site file warns of; beyond it nothing is creep because it was always so. None where there
    # is none. A reviewed v_eq stands above it.
    creep_most: float | None = None
    # the highest velocity of the site file that is really exceeded in its own window: no creep, at once
    exceeded: Exceeded | None = None
    recent_max: float | None = None  # largest velocity of the same window in the recent past
    stale: bool = False  # the series cannot be judged now
    failing: bool = False  # a trusted failure window stands


@dataclass(frozen=True, slots=True)
class Movement:
    """How a series moves."""

    stage: str  # creep, intermediate, progressive, step, unknown
    trend: str  # none, linear, regressive, progressive
    probability: float | None  # of the stage from this look alone, 0 to 1; None for unknown
    reasons: tuple[Reason, ...]  # the decisive one first


def classify_stage(state: Mapping[str, Any] | None, facts: MovementFacts) -> tuple[Movement, StageState]:
    """Judge one look and carry the state on.

    Three movement stages (creep, constant rate, progressive) with `step` for an acceleration that died away, as rain
    and reservoirs make it. A stage is entered upwards after three looks with new data that ask for it (creep is left at
    once where a velocity of the site file is exceeded: its bound has a window and errors of its own), and left
    downwards after fourteen days in which all do; a look that cannot see stands still and starts those days anew, so
    missing data never lowers. The same look twice changes nothing.

    `state` is what the last call returned, {} or None at the start; it may come from JSON.
    """
    kept: StageState = dict(state or {})
    if facts.stale or facts.velocity is None or facts.velocity_error is None:
        kept["lower_since_s"], kept["up"], kept["up_to"] = None, 0, None
        why = Reason("movement.stale") if facts.stale else TOO_FEW
        return Movement("unknown", kept.get("trend", "none"), None, (why,)), kept
    if kept.get("at_s") is not None and facts.at_s <= kept["at_s"] and kept.get("stage"):
        share = _shares(facts)[_share_of(kept["stage"])]
        return Movement(kept["stage"], kept["trend"], share, (Reason("movement.no_news"),)), kept
    first = kept.get("stage") is None
    requested, reasons = _find_stage(facts, kept)
    is_loud = any(abs(z) >= BENT for z in facts.accelerations_z)
    kept["quiet_since_s"] = None if is_loud else (kept.get("quiet_since_s") or facts.at_s)
    if facts.exceeded is not None and kept.get("stage") == "creep":
        kept["stage"] = "intermediate"
    _climb_or_fall(kept, requested, facts.at_s, reasons)
    bend = _bend(facts)
    # as with the stage: the first look decides alone, but progressive waits for its three
    if first or (facts.exceeded is not None and kept["trend"] == "none"):
        kept["trend"] = "linear" if bend == "progressive" else bend
    _turn(kept, bend)
    kept["at_s"] = facts.at_s
    stage = kept["stage"]
    return Movement(stage, kept["trend"], _shares(facts)[_share_of(stage)], tuple(reasons)), kept


# ---- one look ---------------------------------------------------------------------------------------------------
def _find_stage(facts: MovementFacts, kept: Mapping[str, Any]) -> tuple[str, list[Reason]]:
    velocity, error = float(facts.velocity or 0.0), float(facts.velocity_error or 0.0)
    speed = _in_window(velocity, facts.window_s)
    bent = _bent_windows(facts, 1.0)
    if facts.failing:
        return "progressive", [Reason("movement.failing")]
    if bent >= WINDOWS and velocity > SURE * error and facts.rising:
        return "progressive", [Reason("movement.accelerates", {"count": bent, "velocity": speed, "errors": SURE})]
    after_rise = kept.get("stage") in {"progressive", "step"}
    slowed = facts.recent_max is not None and velocity < SLOWED * facts.recent_max
    if (over := facts.exceeded) is not None:
        exceeding = _in_window(over.velocity, over.window_s)
        reason = Reason("movement.exceeds", {"velocity": exceeding, "bound": over.over})
        return _steady(after_rise=after_rise, slowed=slowed), [reason]
    if velocity <= 2.0 * error:
        with_error = Reason("movement.with_error", {"velocity": velocity, "error": error})
        return "creep", [Reason("movement.still", {"velocity": _in_window(with_error, facts.window_s)})]
    reference = _reference(facts)
    if (most := _creep_most(facts)) is not None and velocity > most:
        reason = Reason("movement.over_lowest", {"velocity": speed, "bound": most})
        return _steady(after_rise=after_rise, slowed=slowed), [reason]
    if reference is None:
        moves = join_reasons([Reason("movement.moves", {"velocity": speed}), Reason("movement.no_reference")])
        return _steady(after_rise=after_rise, slowed=slowed), [moves]
    compared: dict[str, Value] = {
        "velocity": speed,
        "reference": Reason("movement.v_eq" if _is_reviewed(facts) else "movement.usual", {"velocity": reference}),
    }
    if velocity <= reference:
        return "creep", [Reason("movement.creep", compared)]
    if velocity > FASTER * reference:
        quiet = kept.get("quiet_since_s")
        is_steady = quiet is not None and facts.at_s - quiet >= QUIET_S
        reason = Reason("movement.steady" if is_steady else "movement.not_steady", {**compared, "times": FASTER})
        return _steady(after_rise=after_rise, slowed=slowed), [reason]
    # between 1 and 1.5 v_eq neither is said: stay
    stays = kept.get("stage") or "creep"
    stays = "step" if stays == "progressive" else stays
    return stays, [Reason("movement.between", {**compared, "times": FASTER})]


def _steady(*, after_rise: bool, slowed: bool) -> str:
    return "step" if after_rise and slowed else "intermediate"


def _is_reviewed(facts: MovementFacts) -> bool:
    """Return whether a person has reviewed the velocity of uniform creep."""
    return facts.v_eq is not None and facts.v_eq > 0.0


def _reference(facts: MovementFacts) -> float | None:
    """Return the reviewed velocity of uniform creep, else the usual velocity; None if neither is positive."""
    if _is_reviewed(facts):
        return facts.v_eq
    usual = facts.usual_velocity
    return usual if usual is not None and usual > 0.0 else None


def _creep_most(facts: MovementFacts) -> float | None:
    """The bound of the site file; None where a person reviewed what creep is here."""
    return None if _is_reviewed(facts) else facts.creep_most


def _bent_windows(facts: MovementFacts, sign: float) -> int:
    return sum(sign * z >= BENT for z in facts.accelerations_z)


def _bend(facts: MovementFacts) -> str:
    velocity, error = float(facts.velocity or 0.0), float(facts.velocity_error or 0.0)
    slowed = facts.recent_max is not None and velocity < SLOWED * facts.recent_max
    if _bent_windows(facts, 1.0) >= min(WINDOWS, max(1, len(facts.accelerations_z))) and facts.rising:
        return "progressive"
    if velocity <= 2.0 * error and facts.exceeded is None:
        return "none"
    if _bent_windows(facts, -1.0) >= 2 or (slowed and not facts.rising):
        return "regressive"
    return "linear"


def _shares(facts: MovementFacts) -> tuple[float, float, float]:
    """Chances of creep, constant rate and progressive, were the errors Gaussian and this look the only one."""
    velocity, error = float(facts.velocity or 0.0), max(float(facts.velocity_error or 0.0), 1e-12)
    reference = _reference(facts)
    limit = FASTER * reference if reference is not None else 2.0 * error
    if (most := _creep_most(facts)) is not None:
        limit = min(limit, most)
    moves = _normal((velocity - limit) / error)
    if (over := facts.exceeded) is not None:
        moves = max(moves, _normal((over.velocity - over.over) / max(over.error, 1e-12)))
    ordered = sorted(facts.accelerations_z, reverse=True)
    third = ordered[WINDOWS - 1] if len(ordered) >= WINDOWS else 0.0
    bends = max(0.0, 2.0 * _normal(third) - 1.0)
    return 1.0 - moves, moves * (1.0 - bends), moves * bends


def _in_window(velocity: float | Reason, window_s: float | None) -> float | Reason:
    """Add the window of a velocity, if it is known.

    >>> print(_in_window(3.14159, 172800.0), _in_window(3.14159, None))
    movement.in_window: velocity=3.14159, window=172800.0 3.14159
    """
    return velocity if window_s is None else Reason("movement.in_window", {"velocity": velocity, "window": window_s})


def _share_of(stage: str) -> int:
    return {"creep": 0, "progressive": 2}.get(stage, 1)


def _normal(z: float) -> float:
    return 0.5 * (1.0 + erf(z / sqrt(2.0)))


# ---- the state --------------------------------------------------------------------------------------------------
def _climb_or_fall(kept: StageState, requested: str, at_s: float, reasons: list[Reason]) -> None:
    stage = kept.get("stage")
    if stage is None:
        # the first look decides alone, but progressive waits for its three
        kept["stage"] = stage = "intermediate" if requested == "progressive" else requested
    if RANK[requested] > RANK[stage]:
        kept["lower_since_s"] = None
        kept["up"] = kept.get("up", 0) + 1
        kept["up_to"] = min(kept.get("up_to") or requested, requested, key=RANK.__getitem__)
        if kept["up"] >= UP_ISSUES:
            kept["stage"], kept["up"], kept["up_to"] = kept["up_to"], 0, None
        else:
            looks = Reason("movement.looks", {"stage": requested, "n": kept["up"], "needed": UP_ISSUES})
            reasons.append(join_reasons([looks, Reason("movement.stays", {"stage": stage})]))
        return
    kept["up"], kept["up_to"] = 0, None
    if RANK[requested] == RANK[stage]:  # a step stays labelled so until creep is seen
        kept["lower_since_s"] = None
        return
    since = kept.get("lower_since_s")
    kept["lower_since_s"] = since = at_s if since is None else since
    if at_s - since >= DOWN_S:
        # progressive that ended without a failure is a step until creep is seen
        kept["stage"] = "step" if stage == "progressive" else requested
        kept["lower_since_s"] = at_s if kept["stage"] != requested else None
    else:
        days = Reason("movement.days", {"stage": requested, "days": (at_s - since) / DAY_S})
        reasons.append(join_reasons([days, Reason("movement.stays", {"stage": stage})]))


def _turn(kept: StageState, bend: str) -> None:
    if bend == kept.get("trend"):
        kept["turn"], kept["turn_to"] = 0, None
        return
    kept["turn"] = kept.get("turn", 0) + 1 if kept.get("turn_to") == bend else 1
    kept["turn_to"] = bend
    if kept["turn"] >= UP_ISSUES:
        kept["trend"], kept["turn"], kept["turn_to"] = bend, 0, None


SITUATIONS: Final = ("critical", "accelerating", "after a step", "after rain", "steady", "creep")


def name_situation(stage: str | None, *, critical: bool, wet: bool) -> str | None:
    """The word: the first of `SITUATIONS` that fits.

    `stage`: how the station moved: creep, intermediate, progressive, step, unknown; None where nobody looked.

    >>> name_situation("progressive", critical=True, wet=True), name_situation("creep", critical=False, wet=True)
    ('critical', 'after rain')
    """
    if critical:
        return "critical"
    if stage in {"progressive", "step"}:
        return "accelerating" if stage == "progressive" else "after a step"
    if wet:
        return "after rain"
    return {"intermediate": "steady", "creep": "creep"}.get(stage or "")


def tangential_angle_deg(velocity: float, v_eq: float) -> float:
    """Angle of the displacement-time curve in degrees, atan(v / v_eq) (Xu, Tang, Li and others 2009).

    The curve S(t) is drawn as T(t) with T = S / v_eq, so that steady creep stands at 45 degrees and the unit of the
    axes no longer decides the angle. It is only as good as v_eq: a reviewed, dated parameter of the site. On a curve
    that moves in steps (rain, reservoir) it shows "critical" without a failure to come.

    Returns degrees in -90 to 90; negative for motion backwards.

    >>> round(tangential_angle_deg(2.0, 2.0), 6), round(tangential_angle_deg(11.43, 1.0), 1)
    (45.0, 85.0)
    """
    if not (isfinite(v_eq) and v_eq > 0.0):
        raise NotEnoughDataError(f"tangential angle: v_eq must be a positive velocity, not {v_eq!r}")
    return degrees(atan(velocity / v_eq))
