"""The movement update of a site: every series is judged by what is new, and the site shows its worst station."""

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
from monitor.features.movement import movement_state
from monitor.features.movement import queries as movement

log = logging.getLogger(__name__)
BUDGET_S: Final = 20.0  # of one update; series that were not reached come first in the next
BUDGET_SHARE: Final = 0.25  # or of the pause between two, where that is more
LOOKED_BACK: Final = 8.0  # longest silences declared: they hold readings enough to show that these come more seldom
RANK: Final[Mapping[str, int]] = {"creep": 0, "intermediate": 1, UNKNOWN_STAGE: 2, "step": 3, "progressive": 4}


@dataclass(frozen=True, slots=True)
class MovementReport:
    """What an update did."""

    stage: str  # of the site: that of its worst station; `unknown` when none is known
    trend: str  # of that station
    updated: tuple[str, ...] = ()  # series with a new row
    windows: int = 0  # failure windows issued
    withdrawn: Mapping[str, str] = field(default_factory=dict)  # series and method whose window was withdrawn -> why
    failed: Mapping[str, str] = field(default_factory=dict)  # series that could not be judged, with the reason
    waiting: tuple[str, ...] = ()  # series left for the next update


@dataclass(frozen=True, slots=True)
class _MovementInputs:
    rows: Mapping[int, movement.MovementRow]  # newest of each series
    series: list[movement_state.MovementSeries]  # what was judged longest ago comes first
    marks: Mapping[int, str]
    risen: datetime | None
    newest_s: Mapping[str, float]  # epochs by station.quantity
    memory: Memory


def run(db: Database, config: ServiceConfig, site: Site, now: datetime) -> str:  # noqa: ARG001 - the shape of a job
    """Update the movement of a site; returns one line.

    Raises:
        JobError: a series could not be judged; all others were.
    """
    report = update_movement(db, site, now)
    if report.failed:
        raise JobError("; ".join(f"{label}: {why}" for label, why in report.failed.items()))
    parts = [f"{report.stage}, {report.trend}", f"{len(report.updated)} series updated"]
    parts += [f"{report.windows} failure windows"] if report.windows else []
    parts += [f"window of {label} withdrawn: {why}" for label, why in report.withdrawn.items()]
    parts += [f"{len(report.waiting)} wait"] if report.waiting else []
    return "; ".join(parts)


def update_movement(
    db: Database, site: Site, now: datetime, *, clock_s: Callable[[], float] = time.monotonic
) -> MovementReport:
    """Judge every series of movement by what is new since its last row, and store what is believed at `now`.

    Each series is a transaction of its own: a kill leaves whole rows, and the next update goes on from there. The same
    `now` again writes nothing. A series that cannot be judged is reported; `clock_s` bounds what the update costs.

    Raises:
        StoreBusyError: the database is locked; what was written stays, the rest is done next time.
    """
    inputs = _load_inputs(db, site, now)
    known, memory = inputs.rows, inputs.memory
    began_s = clock_s()
    rows: dict[int, movement.MovementRow] = dict(known)
    updated: list[str] = []
    withdrawn: dict[str, str] = {}
    failed: dict[str, str] = {}
    waiting: list[str] = []
    windows = 0
    budget_s = max(BUDGET_S, BUDGET_SHARE * stage_cadence(site, find_worst(known.values())[0])[0])
    for moving in inputs.series:
        before = known.get(moving.series_id)
        newest_s = max((inputs.newest_s[k] for k in inputs.newest_s.keys() & moving.keys), default=None)
        mark = _make_mark(moving, inputs.marks)
        rose = before is not None and inputs.risen is not None and before.at < inputs.risen
        looked = None if before is None else before.state
        has_news = movement_state.is_due(site, moving, looked, newest_s, epoch_s(now), mark, rose=rose)
        if not has_news and not movement_state.may_be_silent(moving, looked, epoch_s(now)):
            continue
        try:
            # before the budget: what is well and has no news waits for nothing
            if not has_news and _has_fresh_data(db, site, moving, now, memory):
                continue
            if clock_s() - began_s > budget_s:
                waiting.append(moving.label)
                continue
            found = _assess(db, site, moving, before, now, mark, memory, rose=rose)
            if found is None:
                continue
            row, issues = _row(moving, found, now), [_window(moving, i, now) for i in found.issues]
            with db.write() as c:
                gone = movement.add_update(c, row, issues, found.withdrawn)
        except StoreBusyError:
            raise
        except Exception as error:  # one poisoned series must not silence the others
            log.exception("movement of %s in %s", moving.label, site.id)
            failed[moving.label] = f"{type(error).__name__}: {' '.join(str(error).split())}"
            continue
        if gone is not None:
            rows[moving.series_id] = row
            updated.append(moving.label)
            windows += len(issues)
            withdrawn |= {f"{moving.label} by {method}": found.withdrawn[method] for method in gone}
        if found.behind:
            waiting.append(moving.label)
    stage, trend = find_worst(rows[m.series_id] for m in inputs.series if m.series_id in rows)
    with db.write() as c:
        movement.save_stage(c, site.id, stage, trend)
    return MovementReport(stage, trend, tuple(sorted(updated)), windows, withdrawn, failed, tuple(waiting))


def _load_inputs(db: Database, site: Site, now: datetime) -> _MovementInputs:
    with db.read() as c:
        rows = movement.latest_movement(c, site.id, now)
        series = movement_state.find_moving(c, site)
        marks = movement.load_marks(c, sorted({i for m in series for i in m.ids}), now)
        risen = movement.find_rise(c, site.id)
        newest_s = {k: n.observed_s for k, n in load_newest(c, site.id, now).items()}
        state = find_state(c, site.id)
    memory = Memory() if state is None else Memory.read(state.state)
    series.sort(key=lambda m: (epoch_s(rows[m.series_id].at) if m.series_id in rows else float("-inf"), m.label))
    return _MovementInputs(rows, series, marks, risen, newest_s, memory)


def find_worst(rows: Iterable[movement.MovementRow]) -> tuple[str, str]:
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
        worst = max(worst, (RANK.get(stage, -1), stage, row.trend), key=lambda w: w[0])
    return worst[1], worst[2]


def _make_mark(moving: movement_state.MovementSeries, marks: Mapping[int, str]) -> str:
    return "|".join(marks[i] for i in moving.ids).strip("|")


def _has_fresh_data(
    db: Database, site: Site, moving: movement_state.MovementSeries, now: datetime, memory: Memory
) -> bool:
    """Whether data that count came within the silence that is allowed: the whole history is read for no less.

    It is 20,000 epochs, and while they are cleaned live readings wait for the interpreter.
    """
    with db.read() as c:
        path = movement_state.load_path(c, site, moving, now, memory, LOOKED_BACK * moving.spec.max_silence_s)
    return path.is_fresh(epoch_s(now)) and not path.stuck


def _assess(
    db: Database,
    site: Site,
    moving: movement_state.MovementSeries,
    before: movement.MovementRow | None,
    now: datetime,
    mark: str,
    memory: Memory,
    *,
    rose: bool,
) -> movement_state.MovementAssessment | None:
    with db.read() as c:
        path = movement_state.load_path(c, site, moving, now, memory)
        shown = load_shown_forecasts(c, [moving.series_id], now).get(moving.series_id)
    state = None if before is None else before.state
    return movement_state.assess_movement(site, moving, path, state, shown, epoch_s(now), mark, rose=rose)


def _row(
    moving: movement_state.MovementSeries, found: movement_state.MovementAssessment, now: datetime
) -> movement.MovementRow:
    velocity, bend, until_s = found.velocity, found.acceleration, found.data_until_s
    return movement.MovementRow(
        series_id=moving.series_id,
        at=now,
        data_until=None if until_s is None else from_epoch_s(until_s),
        stage=found.movement.stage,
        trend=found.movement.trend,
        velocity_mm_per_day=None if velocity is None else velocity.rate,
        velocity_error_mm_per_day=None if velocity is None else velocity.error,
        velocity_window_s=found.window_s,
        acceleration_mm_per_day2=None if bend is None else bend.rate,
        acceleration_error_mm_per_day2=None if bend is None else bend.error,
        tangential_angle_deg=found.angle_deg,
        v_eq_mm_per_day=movement_state.v_eq_of(moving),
        inverse_velocity_day_per_mm=find_inverse(velocity),
        probability=found.movement.probability,
        reasons=join(found.reasons),
        state=found.state,
    )


def _window(
    moving: movement_state.MovementSeries, issue: movement_state.BelievedWindow, now: datetime
) -> movement.FailureRow:
    return movement.FailureRow(
        series_id=moving.series_id,
        issued_at=now,
        data_until=from_epoch_s(issue.data_until_s),
        window_from=from_epoch_s(issue.from_s),
        window_mid=from_epoch_s(issue.mid_s),
        window_to=from_epoch_s(issue.to_s),
        n_filters=issue.n_filters,
        n_agree=issue.n_agree,
        r2=issue.r2,
        velocity_mm_per_day=issue.velocity,
        trusted=issue.trusted,
        reasons=issue.reasons,
        method=issue.method,
        onset_at=None if issue.onset_s is None else from_epoch_s(issue.onset_s),
        withdrawn_at=None if issue.withdrawn is None else now,
        withdrawn_reason=issue.withdrawn,
    )
