"""Stage of a movement and its trend, as a state that changes slowly, and the situation of a station."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import erf, sqrt
from typing import Any, Final

from forecasting.kinematics.velocity import DAY_S
from forecasting.reasons import Reason, Value, join_reasons

# A higher stage is entered after so many assessments that request it, a lower one after so many days.
ASSESSMENTS_UP: Final = 3
DAYS_DOWN_S: Final = 14.0 * DAY_S
# A rate is constant if all accelerations have been below two standard errors for so long.
CONSTANT_RATE_S: Final = 14.0 * DAY_S
# Standard errors from which an acceleration and a velocity count as real.
ACCELERATION_ERRORS: Final = 2.0
VELOCITY_ERRORS: Final = 4.0
DISTINCT_ERRORS: Final = 2.0
# Velocity windows in which an acceleration, and a deceleration, must be real.
ACCELERATING_WINDOWS: Final = 3
DECELERATING_WINDOWS: Final = 2
# Times the velocity of uniform creep from which a motion is no creep.
TIMES_UNIFORM_CREEP: Final = 1.5
# Share of the recent maximum below which an acceleration is over.
SLOWED_SHARE: Final = 0.7

RANK: Final = {"creep": 0, "step": 1, "intermediate": 1, "progressive": 2}
StageState = dict[str, Any]  # JSON-ready; {} at the start

TOO_FEW: Final = Reason("movement.too_few")


@dataclass(frozen=True, slots=True)
class Exceeded:
    """A velocity above a bound of the site file, in the window of that bound."""

    velocity: float  # units of the values per day
    error: float  # one standard error of it
    over: float  # the bound, in the same unit
    window_s: float  # window of both, seconds


@dataclass(frozen=True, slots=True)
class MovementFacts:
    """What one assessment measures along the movement (positive = forwards), in units of the values and days."""

    at_s: float  # newest reading, epoch seconds: the clock of the stage
    # velocity over the window that `stage_facts` chooses; None if it could not be fitted
    velocity: float | None
    velocity_error: float | None  # one standard error of it
    accelerations_z: tuple[float, ...] = ()  # acceleration in standard errors, one per window
    window_s: float | None = None  # window of the velocity, seconds; None if it is unknown
    rising: bool = False  # whether the velocity is higher than in the window before
    v_eq: float | None = None  # reviewed velocity of uniform creep; None if nobody has entered one
    usual_velocity: float | None = None  # median of the past year, used if there is no `v_eq`
    # Lowest velocity that the site file warns of; None if there is none. Above it no motion is creep, even if it was
    # always as fast. A reviewed `v_eq` has priority.
    creep_most: float | None = None
    # Highest bound of the site file that is exceeded in its own window. The motion is then no creep, at once.
    exceeded: Exceeded | None = None
    recent_max: float | None = None  # largest velocity of the same window in the recent past
    stale: bool = False  # whether the series cannot be assessed now
    failing: bool = False  # whether a trusted failure window stands


@dataclass(frozen=True, slots=True)
class Movement:
    """How a series moves."""

    stage: str  # creep, intermediate, progressive, step, unknown
    trend: str  # none, linear, regressive, progressive
    probability: float | None  # of the stage from this assessment alone, 0 to 1; None for unknown
    reasons: tuple[Reason, ...]  # the decisive one first


def classify_stage(state: Mapping[str, Any] | None, facts: MovementFacts) -> tuple[Movement, StageState]:
    """Classify the movement from one assessment and the state before it.

    The stages are creep, constant rate (`intermediate`) and `progressive`, and `step` for an acceleration that died
    away, as rain and reservoirs cause it. A higher stage is entered after three assessments with new readings that
    request it. Creep ends at once if a bound of the site file is exceeded, because the bound has a window and errors of
    its own. A lower stage is entered after fourteen days in which all assessments request it. A stale assessment keeps
    the stage and restarts these days, so missing data never lower a stage. The same facts twice change nothing.

    Args:
        state: What the previous call returned; {} or None at the start. It may have been stored as JSON.
        facts: The assessment.

    Returns:
        The movement and the new state.
    """
    new_state: StageState = dict(state or {})
    if facts.stale or facts.velocity is None or facts.velocity_error is None:
        new_state["lower_since_s"], new_state["up"], new_state["up_to"] = None, 0, None
        reason = Reason("movement.stale") if facts.stale else TOO_FEW
        return Movement("unknown", new_state.get("trend", "none"), None, (reason,)), new_state
    has_stage = new_state.get("stage") is not None
    if new_state.get("at_s") is not None and facts.at_s <= new_state["at_s"] and has_stage:
        movement = Movement(
            new_state["stage"],
            new_state["trend"],
            _estimate_probability(facts, new_state["stage"]),
            (Reason("movement.no_news"),),
        )
        return movement, new_state
    requested, reasons = _find_requested_stage(facts, new_state)
    has_acceleration = any(abs(z) >= ACCELERATION_ERRORS for z in facts.accelerations_z)
    new_state["quiet_since_s"] = None if has_acceleration else (new_state.get("quiet_since_s") or facts.at_s)
    if facts.exceeded is not None and new_state.get("stage") == "creep":
        new_state["stage"] = "intermediate"
    _change_stage(new_state, requested, facts.at_s, reasons)
    trend = _find_requested_trend(facts)
    if not has_stage or (facts.exceeded is not None and new_state["trend"] == "none"):
        # The first assessment decides alone, but `progressive` needs three assessments, as a stage does.
        new_state["trend"] = "linear" if trend == "progressive" else trend
    _change_trend(new_state, trend)
    new_state["at_s"] = facts.at_s
    stage = new_state["stage"]
    return Movement(stage, new_state["trend"], _estimate_probability(facts, stage), tuple(reasons)), new_state


# ---- one assessment ---------------------------------------------------------------------------------------------
def _find_requested_stage(facts: MovementFacts, state: Mapping[str, Any]) -> tuple[str, list[Reason]]:
    """Return the stage that an assessment requests, with the reason."""
    velocity, error = float(facts.velocity or 0.0), float(facts.velocity_error or 0.0)
    shown_velocity = _add_window(velocity, facts.window_s)
    if facts.failing:
        return "progressive", [Reason("movement.failing")]
    accelerating = _count_accelerating(facts)
    if accelerating >= ACCELERATING_WINDOWS and velocity > VELOCITY_ERRORS * error and facts.rising:
        values: dict[str, Value] = {"count": accelerating, "velocity": shown_velocity, "errors": VELOCITY_ERRORS}
        return "progressive", [Reason("movement.accelerates", values)]
    # Motion without acceleration is a step if it follows an acceleration and has slowed down.
    is_after_acceleration = state.get("stage") in {"progressive", "step"}
    moving = "step" if is_after_acceleration and _has_slowed(facts) else "intermediate"
    if facts.exceeded is not None:
        exceeding = _add_window(facts.exceeded.velocity, facts.exceeded.window_s)
        return moving, [Reason("movement.exceeds", {"velocity": exceeding, "bound": facts.exceeded.over})]
    if velocity <= DISTINCT_ERRORS * error:
        with_error = Reason("movement.with_error", {"velocity": velocity, "error": error})
        return "creep", [Reason("movement.still", {"velocity": _add_window(with_error, facts.window_s)})]
    fastest_creep = _find_fastest_creep(facts)
    if fastest_creep is not None and velocity > fastest_creep:
        return moving, [Reason("movement.over_lowest", {"velocity": shown_velocity, "bound": fastest_creep})]
    reference = _find_reference(facts)
    if reference is None:
        moves = Reason("movement.moves", {"velocity": shown_velocity})
        return moving, [join_reasons([moves, Reason("movement.no_reference")])]
    reference_values: dict[str, Value] = {"velocity": reference}
    is_reviewed = _is_reviewed(facts)
    compared: dict[str, Value] = {
        "velocity": shown_velocity,
        "reference": Reason("movement.v_eq" if is_reviewed else "movement.usual", reference_values),
    }
    if velocity <= reference:
        return "creep", [Reason("movement.creep", compared)]
    compared["times"] = TIMES_UNIFORM_CREEP
    if velocity > TIMES_UNIFORM_CREEP * reference:
        quiet_since_s = state.get("quiet_since_s")
        is_constant = quiet_since_s is not None and facts.at_s - quiet_since_s >= CONSTANT_RATE_S
        return moving, [Reason("movement.steady" if is_constant else "movement.not_steady", compared)]
    # Between the reference and 1.5 times the reference the stage does not change.
    stage = state.get("stage") or "creep"
    return "step" if stage == "progressive" else stage, [Reason("movement.between", compared)]


def _find_requested_trend(facts: MovementFacts) -> str:
    velocity, error = float(facts.velocity or 0.0), float(facts.velocity_error or 0.0)
    needed = min(ACCELERATING_WINDOWS, max(1, len(facts.accelerations_z)))
    if _count_accelerating(facts) >= needed and facts.rising:
        return "progressive"
    if velocity <= DISTINCT_ERRORS * error and facts.exceeded is None:
        return "none"
    if _count_accelerating(facts, sign=-1.0) >= DECELERATING_WINDOWS or (_has_slowed(facts) and not facts.rising):
        return "regressive"
    return "linear"


def _has_slowed(facts: MovementFacts) -> bool:
    velocity = float(facts.velocity or 0.0)
    return facts.recent_max is not None and velocity < SLOWED_SHARE * facts.recent_max


def _count_accelerating(facts: MovementFacts, sign: float = 1.0) -> int:
    """Return in how many windows the acceleration is real; with a sign of -1 the deceleration."""
    return sum(sign * z >= ACCELERATION_ERRORS for z in facts.accelerations_z)


def _is_reviewed(facts: MovementFacts) -> bool:
    """Return whether a person has reviewed the velocity of uniform creep."""
    return facts.v_eq is not None and facts.v_eq > 0.0


def _find_reference(facts: MovementFacts) -> float | None:
    """Return the reviewed velocity of uniform creep, else the usual velocity; None if neither is positive."""
    if _is_reviewed(facts):
        return facts.v_eq
    usual = facts.usual_velocity
    return usual if usual is not None and usual > 0.0 else None


def _find_fastest_creep(facts: MovementFacts) -> float | None:
    """Return the lowest bound of the site file; None if a person has reviewed the velocity of uniform creep."""
    return None if _is_reviewed(facts) else facts.creep_most


def _estimate_probability(facts: MovementFacts, stage: str) -> float:
    """Return the probability of a stage if the errors were Gaussian and this assessment the only one."""
    velocity, error = float(facts.velocity or 0.0), max(float(facts.velocity_error or 0.0), 1e-12)
    reference = _find_reference(facts)
    limit = TIMES_UNIFORM_CREEP * reference if reference is not None else DISTINCT_ERRORS * error
    fastest_creep = _find_fastest_creep(facts)
    if fastest_creep is not None:
        limit = min(limit, fastest_creep)
    moves = _compute_normal((velocity - limit) / error)
    if facts.exceeded is not None:
        excess = facts.exceeded.velocity - facts.exceeded.over
        moves = max(moves, _compute_normal(excess / max(facts.exceeded.error, 1e-12)))
    ordered = sorted(facts.accelerations_z, reverse=True)
    third = ordered[ACCELERATING_WINDOWS - 1] if len(ordered) >= ACCELERATING_WINDOWS else 0.0
    accelerates = max(0.0, 2.0 * _compute_normal(third) - 1.0)
    if stage == "creep":
        return 1.0 - moves
    if stage == "progressive":
        return moves * accelerates
    return moves * (1.0 - accelerates)


def _compute_normal(z: float) -> float:
    """Return the share of the standard normal distribution below a value."""
    return 0.5 * (1.0 + erf(z / sqrt(2.0)))


def _add_window(velocity: float | Reason, window_s: float | None) -> float | Reason:
    """Add the window of a velocity, if it is known.

    >>> print(_add_window(3.14159, 172800.0), _add_window(3.14159, None))
    movement.in_window: velocity=3.14159, window=172800.0 3.14159
    """
    return velocity if window_s is None else Reason("movement.in_window", {"velocity": velocity, "window": window_s})


# ---- the state --------------------------------------------------------------------------------------------------
def _change_stage(state: StageState, requested: str, at_s: float, reasons: list[Reason]) -> None:
    """Move the stage of a state towards the requested one, and add a reason if the stage stays."""
    stage = state.get("stage")
    if stage is None:
        # The first assessment decides alone, but `progressive` needs three assessments.
        state["stage"] = stage = "intermediate" if requested == "progressive" else requested
    if RANK[requested] > RANK[stage]:
        state["lower_since_s"] = None
        state["up"] = state.get("up", 0) + 1
        state["up_to"] = min(state.get("up_to") or requested, requested, key=RANK.__getitem__)
        if state["up"] >= ASSESSMENTS_UP:
            state["stage"], state["up"], state["up_to"] = state["up_to"], 0, None
        else:
            values: dict[str, Value] = {"stage": requested, "n": state["up"], "needed": ASSESSMENTS_UP}
            reasons.append(join_reasons([Reason("movement.looks", values), Reason("movement.stays", {"stage": stage})]))
        return
    state["up"], state["up_to"] = 0, None
    if RANK[requested] == RANK[stage]:
        # A step remains a step until creep is requested.
        state["lower_since_s"] = None
        return
    since_s = state.get("lower_since_s")
    if since_s is None:
        since_s = at_s
    state["lower_since_s"] = since_s
    if at_s - since_s >= DAYS_DOWN_S:
        # A progressive stage that ended without a failure is a step until creep is requested.
        state["stage"] = "step" if stage == "progressive" else requested
        state["lower_since_s"] = at_s if state["stage"] != requested else None
    else:
        days = Reason("movement.days", {"stage": requested, "days": (at_s - since_s) / DAY_S})
        reasons.append(join_reasons([days, Reason("movement.stays", {"stage": stage})]))


def _change_trend(state: StageState, requested: str) -> None:
    """Change the trend of a state after three assessments that request another one."""
    if requested == state.get("trend"):
        state["turn"], state["turn_to"] = 0, None
        return
    state["turn"] = state.get("turn", 0) + 1 if state.get("turn_to") == requested else 1
    state["turn_to"] = requested
    if state["turn"] >= ASSESSMENTS_UP:
        state["trend"], state["turn"], state["turn_to"] = requested, 0, None


# ---- situations -------------------------------------------------------------------------------------------------
SITUATIONS: Final = ("critical", "accelerating", "after a step", "after rain", "steady", "creep")


def name_situation(stage: str | None, *, critical: bool, wet: bool) -> str | None:
    """Return the first of `SITUATIONS` that applies; None if none does.

    Args:
        stage: Stage of the station; None if its movement was not assessed.
        critical: Whether the situation is critical.
        wet: Whether there was rain.

    >>> name_situation("progressive", critical=True, wet=True), name_situation("creep", critical=False, wet=True)
    ('critical', 'after rain')
    """
    if critical:
        return "critical"
    if stage == "progressive":
        return "accelerating"
    if stage == "step":
        return "after a step"
    if wet:
        return "after rain"
    return {"intermediate": "steady", "creep": "creep"}.get(stage or "")
