"""The movement job: assess every series of a site for new readings, and store the stage of its worst station."""

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from forecasting.kinematics.velocity import find_inverse
from monitor.api.database import Database
from monitor.api.decision import Memory
from monitor.api.errors import JobError, StoreBusyError
from monitor.api.queries.alerts import find_state, load_newest
from monitor.api.queries.models import load_shown_forecasts
from monitor.api.settings import ServiceConfig
from monitor.api.sites import UNKNOWN_STAGE, Site, stage_cadence
from monitor.api.text import epoch_s, from_epoch_s, join
from monitor.features.movement import assessment, cadence, queries
from monitor.features.movement.assessment import IssuedWindow, MovementAssessment
from monitor.features.movement.moving_series import MovementSeries, find_moving, find_steady_velocity
from monitor.features.movement.path import load_path
from monitor.features.movement.queries import FailureRow, MovementRow

log = logging.getLogger(__name__)
# An update takes at most so long, or this share of the pause between two updates if that is more. The series that it
# did not reach are the first ones of the next update.
BUDGET_S: Final = 20.0
BUDGET_SHARE: Final = 0.25
# A series is silent if this many times its allowed silence contain no usable reading. Shorter spans could contain too
# few readings to show that they are less frequent than declared.
SILENCE_SPANS: Final = 8.0
RANK: Final[Mapping[str, int]] = {"creep": 0, "intermediate": 1, UNKNOWN_STAGE: 2, "step": 3, "progressive": 4}


@dataclass(frozen=True, slots=True)
class MovementReport:
    """What an update did."""

    stage: str  # of the site: that of its worst station
    trend: str  # of that station
    updated: tuple[str, ...] = ()  # series with a new row
    windows: int = 0  # failure windows issued
    withdrawn: Mapping[str, str] = field(default_factory=dict)  # series and method whose window was withdrawn -> why
    failed: Mapping[str, str] = field(default_factory=dict)  # series that could not be assessed -> why
    waiting: tuple[str, ...] = ()  # series left for the next update


@dataclass(frozen=True, slots=True)
class _MovementInputs:
    rows: Mapping[int, MovementRow]  # newest of each series
    series: list[MovementSeries]  # the series that was assessed longest ago is the first one
    entries_marks: Mapping[int, str]  # by series id
    risen_at: datetime | None
    newest_s: Mapping[str, float]  # newest reading by `STATION.quantity`
    memory: Memory


@dataclass(slots=True)
class _Progress:
    """What the update has done so far."""

    rows: dict[int, MovementRow]
    updated: list[str] = field(default_factory=list)
    windows: int = 0
    withdrawn: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    waiting: list[str] = field(default_factory=list)


def run(db: Database, config: ServiceConfig, site: Site, now: datetime) -> str:  # noqa: ARG001 - the shape of a job
    """Update the movement of a site; return one line.

    Raises:
        JobError: A series could not be assessed. All others were.
    """
    report = update_movement(db, site, now)
    if report.failed:
        raise JobError("; ".join(f"{label}: {reason}" for label, reason in report.failed.items()))
    parts = [f"{report.stage}, {report.trend}", f"{len(report.updated)} series updated"]
    if report.windows:
        parts.append(f"{report.windows} failure windows")
    parts += [f"window of {label} withdrawn: {reason}" for label, reason in report.withdrawn.items()]
    if report.waiting:
        parts.append(f"{len(report.waiting)} wait")
    return "; ".join(parts)


def update_movement(
    db: Database, site: Site, now: datetime, *, clock_s: Callable[[], float] = time.monotonic
) -> MovementReport:
    """Assess every series of movement for readings that are new since its last row, and store the results.

    Each series is a transaction of its own. So an interrupted update leaves complete rows, and the next update
    continues. A second update at the same instant writes nothing. A series that cannot be assessed is reported.

    Args:
        db: The database.
        site: The site.
        now: The instant of the update.
        clock_s: Clock in seconds that limits the duration of the update.

    Raises:
        StoreBusyError: The database is locked. What was written remains, and the next update continues.
    """
    inputs = _load_inputs(db, site, now)
    progress = _Progress(dict(inputs.rows))
    started_s = clock_s()
    pause_s = stage_cadence(site, find_worst(inputs.rows.values())[0])[0]
    budget_s = max(BUDGET_S, BUDGET_SHARE * pause_s)

    def is_over_budget() -> bool:
        return clock_s() - started_s > budget_s

    for moving in inputs.series:
        try:
            _update_series(db, site, moving, inputs, now, progress, is_over_budget)
        except StoreBusyError:
            raise
        except Exception as error:  # a series with a fault must not stop the others
            log.exception("movement of %s in %s", moving.label, site.id)
            progress.failed[moving.label] = f"{type(error).__name__}: {' '.join(str(error).split())}"
    rows = progress.rows
    stage, trend = find_worst(rows[moving.series_id] for moving in inputs.series if moving.series_id in rows)
    with db.write() as c:
        queries.save_stage(c, site.id, stage, trend)
    return MovementReport(
        stage,
        trend,
        tuple(sorted(progress.updated)),
        progress.windows,
        progress.withdrawn,
        progress.failed,
        tuple(progress.waiting),
    )


def find_worst(rows: Iterable[MovementRow]) -> tuple[str, str]:
    """Return the stage and trend of the worst station.

    * A station that fell silent counts with its last stage: missing data do not show rest.
    * A station without any stage so far counts as `unknown`, but not while its record is too short for a first
      velocity and another station has a stage. The record of a new inclinometer that people read every 14 days is too
      short for two months.
    """
    worst: tuple[int, str, str] = (-1, UNKNOWN_STAGE, "none")
    for row in rows:
        stage = row.stage
        if stage == UNKNOWN_STAGE:
            stage = str((row.state.get("stage") or {}).get("stage") or UNKNOWN_STAGE)
        if stage == UNKNOWN_STAGE and row.state.get("is_new", False):
            continue
        worst = max(worst, (RANK.get(stage, -1), stage, row.trend), key=lambda candidate: candidate[0])
    return worst[1], worst[2]


def _load_inputs(db: Database, site: Site, now: datetime) -> _MovementInputs:
    with db.read() as c:
        rows = queries.latest_movement(c, site.id, now)
        series = find_moving(c, site)
        series_ids = sorted({series_id for moving in series for series_id in moving.ids})
        entries_marks = queries.load_entries_marks(c, series_ids, now)
        risen_at = queries.find_rise(c, site.id)
        newest_s = {key: newest.observed_s for key, newest in load_newest(c, site.id, now).items()}
        state = find_state(c, site.id)
    memory = Memory() if state is None else Memory.read(state.state)

    def find_updated_s(moving: MovementSeries) -> float:
        row = rows.get(moving.series_id)
        return float("-inf") if row is None else epoch_s(row.at)

    series.sort(key=lambda moving: (find_updated_s(moving), moving.label))
    return _MovementInputs(rows, series, entries_marks, risen_at, newest_s, memory)


def _update_series(
    db: Database,
    site: Site,
    moving: MovementSeries,
    inputs: _MovementInputs,
    now: datetime,
    progress: _Progress,
    is_over_budget: Callable[[], bool],
) -> None:
    """Assess one series if an assessment is due, and store the result."""
    before = inputs.rows.get(moving.series_id)
    state = None if before is None else before.state
    newest_s = max((inputs.newest_s[key] for key in inputs.newest_s.keys() & moving.keys), default=None)
    entries_mark = "|".join(inputs.entries_marks[series_id] for series_id in moving.ids).strip("|")
    has_risen = before is not None and inputs.risen_at is not None and before.at < inputs.risen_at
    is_due = cadence.is_due(site, moving, state, newest_s, epoch_s(now), entries_mark, has_risen=has_risen)
    if not is_due:
        if not cadence.may_be_silent(moving, state, epoch_s(now)):
            return
        # This comes before the budget: a series without news that is not silent does not wait for its turn.
        if _has_fresh_data(db, site, moving, now, inputs.memory):
            return
    if is_over_budget():
        progress.waiting.append(moving.label)
        return
    with db.read() as c:
        path = load_path(c, site, moving, now, inputs.memory)
        forecast = load_shown_forecasts(c, [moving.series_id], now).get(moving.series_id)
    result = assessment.assess_movement(
        site, moving, path, state, forecast, epoch_s(now), entries_mark, has_risen=has_risen
    )
    if result is None:
        return
    row = _make_row(moving, result, now)
    windows = [_make_window_row(moving, window, now) for window in result.issues]
    with db.write() as c:
        withdrawn_methods = queries.add_update(c, row, windows, result.withdrawn)
    if withdrawn_methods is not None:
        progress.rows[moving.series_id] = row
        progress.updated.append(moving.label)
        progress.windows += len(windows)
        for method in withdrawn_methods:
            progress.withdrawn[f"{moving.label} by {method}"] = result.withdrawn[method]
    if result.behind:
        progress.waiting.append(moving.label)


def _has_fresh_data(db: Database, site: Site, moving: MovementSeries, now: datetime, memory: Memory) -> bool:
    """Return whether usable readings were received within the allowed silence.

    The answer does not need the whole history. It may contain 20,000 epochs, and while they are cleaned, live readings
    wait for the interpreter.
    """
    with db.read() as c:
        path = load_path(c, site, moving, now, memory, SILENCE_SPANS * moving.spec.max_silence_s)
    return path.is_fresh(epoch_s(now)) and not path.stuck


def _make_row(moving: MovementSeries, result: MovementAssessment, now: datetime) -> MovementRow:
    velocity, acceleration, until_s = result.velocity, result.acceleration, result.data_until_s
    return MovementRow(
        series_id=moving.series_id,
        at=now,
        data_until=None if until_s is None else from_epoch_s(until_s),
        stage=result.movement.stage,
        trend=result.movement.trend,
        velocity_mm_per_day=None if velocity is None else velocity.rate,
        velocity_error_mm_per_day=None if velocity is None else velocity.error,
        velocity_window_s=result.window_s,
        acceleration_mm_per_day2=None if acceleration is None else acceleration.rate,
        acceleration_error_mm_per_day2=None if acceleration is None else acceleration.error,
        tangential_angle_deg=result.angle_deg,
        v_eq_mm_per_day=find_steady_velocity(moving),
        inverse_velocity_day_per_mm=find_inverse(velocity),
        probability=result.movement.probability,
        reasons=join(result.reasons),
        state=result.state,
    )


def _make_window_row(moving: MovementSeries, window: IssuedWindow, now: datetime) -> FailureRow:
    return FailureRow(
        series_id=moving.series_id,
        issued_at=now,
        data_until=from_epoch_s(window.data_until_s),
        window_from=from_epoch_s(window.from_s),
        window_mid=from_epoch_s(window.mid_s),
        window_to=from_epoch_s(window.to_s),
        n_filters=window.n_filters,
        n_agree=window.n_agree,
        r2=window.r2,
        velocity_mm_per_day=window.velocity,
        trusted=window.trusted,
        reasons=window.reasons,
        method=window.method,
        onset_at=None if window.onset_s is None else from_epoch_s(window.onset_s),
        withdrawn_at=None if window.withdrawn is None else now,
        withdrawn_reason=window.withdrawn,
    )
