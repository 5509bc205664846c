"""Assess the movement of one series: stage and trend, velocity, acceleration, tangential angle and failure windows."""

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final

from forecasting.kinematics.acceleration import Acceleration, fit_acceleration
from forecasting.kinematics.failure import FailureIssue, FailureSpec, Watch
from forecasting.kinematics.stage_facts import WindowSlopes, find_shortest_window_s, measure_stage_facts
from forecasting.kinematics.stages import Movement, MovementFacts, classify_stage
from forecasting.kinematics.standing_window import FailureWindow, update_standing
from forecasting.kinematics.tangential_angle import tangential_angle_deg
from forecasting.kinematics.velocity import Velocity
from forecasting.reasons import reason_from_json, reason_to_json
from monitor.api.decision import REPEATS
from monitor.api.queries.models import ShownForecast
from monitor.api.sites import UNKNOWN_STAGE, Site
from monitor.api.text import Duration, Message, Template, Timestamp, convert_reason, join, plain_to_messages
from monitor.features.movement.cadence import find_first, find_next
from monitor.features.movement.forecast_window import WindowByForecast, find_window_by_forecast
from monitor.features.movement.moving_series import (
    MovementSeries,
    find_steady_velocity,
    find_velocity_history_s,
    list_velocity_bounds,
)
from monitor.features.movement.path import Path
from monitor.features.movement.queries import FORECAST, INVERSE_VELOCITY, MovementMemory

# Readings that one update of one series assesses. The next update continues, so that other series have their turn.
MAX_ASSESSMENTS: Final = 120
# The shown acceleration is fitted over so many velocity windows, from so many readings.
ACCELERATION_WINDOWS: Final = 2.0
MAX_ACCELERATION_READINGS: Final = 240
_JUMP: Final = Template("movement.step", "{n} jump taken out")
_JUMPS: Final = Template("movement.steps", "{n} jumps taken out")
_NOT_JOINED: Final = Template(
    "movement.not_joined", "no failure window by forecast: quantiles of single components cannot be joined"
)()
_NEVER: Final = Template("movement.never", "no usable reading")()
_SILENT: Final = Template("movement.silent", "no usable reading since {at}; {allowed} without one are allowed")


@dataclass(frozen=True, slots=True)
class IssuedWindow:
    """A failure window that an update issues; instants in epoch seconds."""

    method: str  # `INVERSE_VELOCITY` or `FORECAST`
    data_until_s: float
    from_s: float
    mid_s: float
    to_s: float
    trusted: bool
    reasons: Message
    velocity: float | None  # mm/day
    onset_s: float | None = None
    r2: float | None = None
    n_filters: int | None = None
    n_agree: int | None = None
    withdrawn: Message | None = None  # why a later reading of the same update withdrew it


@dataclass(frozen=True, slots=True)
class MovementAssessment:
    """One update of one series."""

    movement: Movement  # stage, trend and chance
    reasons: tuple[Message, ...]  # the decisive one first
    data_until_s: float | None  # newest reading that was assessed; None if there was none
    state: MovementMemory  # what the next update starts from
    velocity: Velocity | None = None  # at the newest reading; None if none could be fitted
    window_s: float | None = None  # window of the velocity, seconds
    acceleration: Acceleration | None = None  # over twice the window of the velocity
    angle_deg: float | None = None  # tangential angle; None without a reviewed velocity of uniform creep
    issues: tuple[IssuedWindow, ...] = ()  # failure windows, oldest reading first
    withdrawn: Mapping[str, Message] = field(default_factory=dict)  # method -> why earlier windows do not stand
    behind: bool = False  # whether more readings are due than one update assesses


class SeriesWatch:
    """Compute the failure windows and stage facts of one path, and keep what does not change while the path grows.

    For a year of hourly readings an assessment takes 20 to 40 ms with an empty cache, and a few milliseconds otherwise.
    """

    def __init__(self, site: Site, moving: MovementSeries) -> None:
        self._site = site
        self._moving = moving
        self._spec = FailureSpec(moving.spec.interval_s, moving.spec.noise_floor, site.movement.history_s)
        self._path: Path | None = None
        self._reset()

    def find_issue(self, path: Path, index: int) -> FailureIssue:
        """Return the failure window once reading `index` of the path is known, from the readings up to it alone."""
        self._follow(path, index)
        return self._watch.issue(index)

    def measure_facts(self, path: Path, index: int, *, failing: bool) -> tuple[MovementFacts, Velocity | None]:
        """Return the facts that decide the stage once reading `index` of the path is known."""
        self._follow(path, index)
        return measure_stage_facts(
            path.times_s,
            path.values,
            path.sigmas,
            now_s=path.times_s[index],
            interval_s=self._moving.spec.interval_s,
            v_eq=find_steady_velocity(self._moving),
            bounds=list_velocity_bounds(self._site, self._moving),
            failing=failing,
            history_s=find_velocity_history_s(self._site, self._moving.spec),
            cache=self._slopes,
        )

    def _follow(self, path: Path, index: int) -> None:
        """Take over the readings of a path up to `index`. A path that differs in earlier readings starts again."""
        count = len(self._times_s)
        if path is not self._path or count > index + 1:
            has_grown = (
                count <= index + 1
                and path.times_s[:count] == tuple(self._times_s)
                and path.values[:count] == tuple(self._values)
                and path.sigmas[:count] == tuple(self._sigmas)
            )
            if not has_grown:
                self._reset()
                count = 0
            self._path = path
        self._times_s += path.times_s[count : index + 1]
        self._values += path.values[count : index + 1]
        self._sigmas += path.sigmas[count : index + 1]

    def _reset(self) -> None:
        self._times_s: list[float] = []
        self._values: list[float] = []
        self._sigmas: list[float] = []
        self._watch = Watch(self._times_s, self._values, self._sigmas, self._spec)
        self._slopes = WindowSlopes()


def assess_movement(
    site: Site,
    moving: MovementSeries,
    path: Path,
    before: MovementMemory | None,
    forecast: ShownForecast | None,
    now_s: float,
    entries_mark: str = "",
    *,
    has_risen: bool = False,
    watch: SeriesWatch | None = None,
    with_stage: bool = True,
) -> MovementAssessment | None:
    """Assess the readings of a series that are due; None if there is no new result.

    After people have entered something about the series (an offset, a flag) the newest reading is assessed once more.
    It does not count as another assessment of the stage, but a window that depended on a re-zeroed instrument is
    withdrawn at once.

    Args:
        site: The site.
        moving: The series.
        path: Its path.
        before: State after the previous update; None before the first one.
        forecast: The shown forecast of the series; None if there is none.
        now_s: The instant in epoch seconds.
        entries_mark: Text that changes with every offset and flag that people enter.
        has_risen: Whether the level of the site has risen since the previous update. The newest reading is then
            assessed at once.
        watch: What earlier calls computed for this path. It changes no result.
        with_stage: False computes the failure windows alone, which takes half the time. Only valid if
            `has_stage_cadence` is false: otherwise the stage decides which reading is assessed next.
    """
    state: MovementMemory = plain_to_messages(before or {})  # a copy
    newest_s = path.times_s[-1] if path.times_s else None
    if newest_s is None or path.stuck or not path.is_fresh(now_s):
        return _assess_silent(path, state, newest_s)
    watch = SeriesWatch(site, moving) if watch is None else watch
    previous_s = state.get("assessed_s")
    is_first_update = previous_s is None
    index = find_first(site, moving, path.times_s, state, entries_mark, has_risen=has_risen)
    if state.get("mark", "") != entries_mark:
        # The window may depend on readings that people have changed.
        state["window"] = None
    state["mark"] = entries_mark
    windows = _WindowLog(state)
    movement: Movement | None = None
    velocity: Velocity | None = None
    until_s, window_s = newest_s, None
    count = 0
    while index < len(path.times_s) and count < MAX_ASSESSMENTS:
        issue = watch.find_issue(path, index)
        windows.add(issue)
        until_s = path.times_s[index]
        if with_stage:
            facts, velocity = watch.measure_facts(path, index, failing=issue.trusted)
            movement, state["stage"] = classify_stage(state.get("stage"), facts)
            window_s = facts.window_s
        else:
            movement = Movement(UNKNOWN_STAGE, "none", None, ())
        state["assessed_s"] = until_s if previous_s is None else max(until_s, previous_s)
        count += 1
        index = find_next(site, moving, path.times_s, index, state, is_first_update=is_first_update)
    if movement is None:
        return None
    state["silent"] = False
    state["is_new"] = newest_s - path.times_s[0] < find_shortest_window_s(moving.spec.interval_s)
    state["window"] = windows.save_standing()
    by_forecast = find_window_by_forecast(site, moving, forecast, state)
    if by_forecast is not None:
        windows.add_forecast(by_forecast, velocity)
    v_eq = find_steady_velocity(moving)
    remarks = []
    if path.jumps:
        remarks.append((_JUMPS if path.jumps > 1 else _JUMP)(n=path.jumps))
    if len(moving.ids) > 1 and site.movement.failure_velocity_mm_per_day is not None:
        remarks.append(_NOT_JOINED)
    return MovementAssessment(
        movement=movement,
        reasons=(*map(convert_reason, movement.reasons), *remarks),
        data_until_s=until_s,
        state=state,
        velocity=velocity,
        window_s=window_s,
        acceleration=_fit_shown_acceleration(path, velocity),
        angle_deg=None if velocity is None or v_eq is None else tangential_angle_deg(velocity.rate, v_eq),
        issues=tuple(windows.issued),
        withdrawn=windows.withdrawn,
        behind=index < len(path.times_s),
    )


class _WindowLog:
    """The failure windows that one update issues and withdraws.

    Attributes:
        issued: Windows in the order of their readings.
        withdrawn: By method, why windows of earlier updates do not stand any more.
    """

    def __init__(self, state: MovementMemory) -> None:
        self._standing = _read_standing(state.get("window"))
        self.issued: list[IssuedWindow] = []
        self.withdrawn: dict[str, Message] = {}

    def add(self, issue: FailureIssue) -> None:
        """Add the issue of the next reading."""
        update = update_standing(self._standing, issue)
        self._standing = update.standing
        if update.withdrawn is not None:
            reason = convert_reason(update.withdrawn)
            # Windows of earlier updates were withdrawn by the first such reading.
            self.withdrawn.setdefault(INVERSE_VELOCITY, reason)
            self.issued = [
                window if window.withdrawn is not None else replace(window, withdrawn=reason) for window in self.issued
            ]
        if update.issued is not None:
            self.issued.append(_convert_window(update.issued))

    def add_forecast(self, by_forecast: WindowByForecast, velocity: Velocity | None) -> None:
        """Add the window by the newest forecast. It replaces the windows of earlier forecasts."""
        self.withdrawn[FORECAST] = by_forecast.withdrawn
        if by_forecast.edges_s is None:
            return
        from_s, mid_s, to_s = by_forecast.edges_s
        self.issued.append(
            IssuedWindow(
                FORECAST,
                by_forecast.data_until_s,
                from_s,
                mid_s,
                to_s,
                by_forecast.trusted,
                by_forecast.reasons,
                None if velocity is None else velocity.rate,
            )
        )

    def save_standing(self) -> dict[str, Any] | None:
        """Return the window that stands as plain data; None if there is none."""
        if self._standing is None:
            return None
        plain = {item.name: getattr(self._standing, item.name) for item in fields(self._standing)}
        return plain | {"reasons": [reason_to_json(reason) for reason in self._standing.reasons]}


def _read_standing(plain: Mapping[str, Any] | None) -> FailureWindow | None:
    if plain is None:
        return None
    return FailureWindow(**{**plain, "reasons": tuple(reason_from_json(reason) for reason in plain["reasons"])})


def _convert_window(window: FailureWindow) -> IssuedWindow:
    return IssuedWindow(
        INVERSE_VELOCITY,
        window.data_until_s,
        window.from_s,
        window.mid_s,
        window.to_s,
        window.trusted,
        join(map(convert_reason, window.reasons)),
        window.velocity,
        window.onset_s,
        window.r2,
        window.n_filters,
        window.n_agree,
    )


def _fit_shown_acceleration(path: Path, velocity: Velocity | None) -> Acceleration | None:
    if velocity is None:
        return None
    window_s = ACCELERATION_WINDOWS * 2.0 * (velocity.newest_s - velocity.mid_s)
    last = bisect_right(path.times_s, velocity.newest_s)
    first = bisect_right(path.times_s, velocity.newest_s - window_s, 0, last)
    stride = max(1, -(-(last - first) // MAX_ACCELERATION_READINGS))
    chosen = range(last - 1, first - 1, -stride)[::-1]
    return fit_acceleration(
        [path.times_s[i] for i in chosen], [path.values[i] for i in chosen], [path.sigmas[i] for i in chosen], window_s
    )


def _assess_silent(path: Path, state: MovementMemory, newest_s: float | None) -> MovementAssessment | None:
    """Return an unknown stage for a silent or stuck instrument, once. It withdraws no window."""
    if state.get("silent"):
        return None
    if newest_s is None:
        reason = _NEVER
    elif path.stuck:
        reason = REPEATS()
    else:
        reason = _SILENT(at=Timestamp(newest_s), allowed=Duration(path.silence_s))
    unknown = MovementFacts(newest_s or 0.0, None, None, stale=True)
    movement, state["stage"] = classify_stage(state.get("stage"), unknown)
    state["silent"] = True
    state["is_new"] = False
    return MovementAssessment(replace(movement, probability=None, reasons=()), (reason,), newest_s, state)
