"""Hold a drill: evaluate a failure in a temporary database, send its messages as an exercise, and wait for answers."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from math import log
from pathlib import Path
from random import Random
from typing import Any, Final

from monitor.api.database import Actor, Database
from monitor.api.decision import AlertCategory, AlertChange, ProofFact, find_motion
from monitor.api.errors import RefusedError, SlopewardError
from monitor.api.queries.alerts import (
    ChangeContext,
    History,
    ReplaySchedule,
    VisibilityRule,
    add_decision,
    apply_changes,
    find_span,
    freeze_evidence,
    play,
    rule_version,
)
from monitor.api.queries.ingest import open_empty_database, open_imported_files
from monitor.api.queries.models import load_proof_facts
from monitor.api.queries.readings import add_observations
from monitor.api.readings import Observation
from monitor.api.sites import QUANTITIES, Criterion, SeriesSpec, Site, Station
from monitor.api.text import Template, canonical_json, epoch_s
from monitor.api.worker import SendLine
from monitor.features.drills import queries as drills

COLLAPSE: Final = "collapse"
LASTS_S: Final = 600.0  # duration of a scenario without a given speed
BEAT_S: Final = 5.0  # time between heartbeats
POLL_S: Final = 1.0  # time between checks whether somebody ended the drill
READINGS_PER_TRANSACTION: Final = 5000
_DONE: Final = Template("drill.scenario_over", "the scenario is over")
_BROKEN: Final = Template("drill.broken_off", "it was aborted: {problem}")
_ENDED: Final = Template("drill.ended_early", "the drill was ended before it started")
_EMPTY: Final = Template("drill.no_reading", "{scenario} contains no reading of {site}")
_NO_LEVEL: Final = Template("drill.no_level", "{scenario} raises no level of {site}, so no message would be sent")
Clock = Callable[[], datetime]


@dataclass(frozen=True, slots=True)
class DrillOptions:
    """Options of a drill.

    Attributes:
        scenario: `collapse`, or a file of readings in the long form.
        speed: simulated seconds per second; None for a scenario that takes `lasts_s`.
        hold_s: how long the alarms stay open after the last reading if nobody acknowledges.
        quiet: whether only messages of the hazard level are sent, without health and advice alerts.
        lasts_s: duration of the scenario without a speed.
    """

    scenario: str = COLLAPSE
    speed: float | None = None
    hold_s: float = 600.0
    quiet: bool = True
    lasts_s: float = LASTS_S


def hold_drill(
    db: Database,
    site: Site,
    by: Actor,
    options: DrillOptions,
    *,
    clock: Clock,
    wait: Callable[[float], None],
    on_change: Callable[[datetime, AlertChange], None] = lambda _at, _change: None,
) -> tuple[int, dict[str, Any]]:
    """Hold a drill from start to end. Return its number and its outcome.

    Decisions are made on a separate database. The real database gets only the drill, the evidence of its decisions, its
    alerts and messages (exercises with keys `drill:N:...`), its heartbeat, and entries of the audit log.

    Args:
        db: the real database.
        site: the site.
        by: the person who holds the drill.
        options: options of the drill.
        clock: returns the present.
        wait: sleeps for some seconds.
        on_change: called with the time in the scenario and each change whose message was queued.

    Raises:
        RefusedError: another drill is running, no person is named, or the scenario raises no level.
    """
    with db.write() as c:
        drills.end_dead_drills(c, {site.id: site}, clock())
        drill_id = drills.add_drill(c, site.id, by, options.scenario, clock())
    reason: str = _DONE()
    state = "ended"
    try:
        heartbeat = _DrillHeartbeat(db, drill_id, clock, wait)
        with db.read() as c:
            proofs = load_proof_facts(c, site, clock())
        steps = rehearse(site, options, heartbeat.is_running, proofs)
        if notify_steps(db, site, drill_id, steps, options, clock, heartbeat, on_change):
            until = clock() + timedelta(seconds=options.hold_s)
            while clock() < until and heartbeat.is_running():
                with db.read() as c:
                    # A person can acknowledge before the channel reports the delivery. Wait until it does, so that the
                    # outcome contains the time of the first message.
                    if not drills.count_unacknowledged(c, drill_id) and not drills.count_sending(c, drill_id):
                        break
                wait(min(POLL_S, options.hold_s))
    except RefusedError as error:
        reason, state = error.message, drills.REFUSED
        raise
    except BaseException as error:
        reason = _BROKEN(problem=type(error).__name__)
        raise
    finally:
        with db.write() as c:
            outcome = drills.end_drill(c, drill_id, by, reason, clock(), site=site, state=state)
    return drill_id, outcome


def hold_in_process(send: SendLine, url: str, site: Site, by: Actor, options: DrillOptions) -> None:
    """Hold a drill in a process that the page started. Send one line: the drill has started, or it is refused."""
    has_started = False

    def report_start(_at: datetime, _change: AlertChange) -> None:
        nonlocal has_started
        if not has_started:
            has_started = True
            send({"began": True})

    with Database(url) as db:
        try:
            hold_drill(db, site, by, options, clock=lambda: datetime.now(UTC), wait=time.sleep, on_change=report_start)
        except SlopewardError as error:
            send({"refused": error.message})


@dataclass(frozen=True, slots=True)
class DrillStep:
    """The changes of alerts at one instant of a scenario, with the evidence of that decision as JSON."""

    at: datetime
    changes: tuple[AlertChange, ...]
    evidence: str


def rehearse(
    site: Site, options: DrillOptions, is_running: Callable[[], bool], proofs: Sequence[ProofFact] = ()
) -> tuple[DrillStep, ...]:
    """Evaluate the whole scenario in memory and return its changes. No message is sent.

    Args:
        site: the site.
        options: options of the drill.
        is_running: returns False once somebody has ended the drill.
        proofs: proofs of models in the real database, so that models count as they do in the service.

    Raises:
        RefusedError: the scenario contains no reading of the site or raises no level, or somebody ended the drill.
    """
    with open_scenario(site, options.scenario) as scenario_db, scenario_db.read() as c:
        span = find_span(c, site.id)
        if span is None:
            raise RefusedError(_EMPTY(scenario=options.scenario, site=site.id))
        from_s, to_s = epoch_s(span[0]), epoch_s(span[1])
        history = History(c, [site], span[0], span[1], VisibilityRule("observed"), proofs=proofs)
        steps = []
        pace = ReplaySchedule(0.0, max((s.interval_s for x in site.stations for s in x.series), default=DAY_S))
        for step in play(history, [(from_s, site)], from_s, to_s, pace):
            if not is_running():
                raise RefusedError(_ENDED())
            changes = [
                change for change in step.decision.changes if change.ledger == AlertCategory.HAZARD or not options.quiet
            ]
            if changes:
                evidence = canonical_json(freeze_evidence(site, step.before, step.inputs, step.decision, step.at))
                steps.append(DrillStep(step.at, tuple(changes), evidence))
    if not any(change.ledger == AlertCategory.HAZARD for step in steps for change in step.changes):
        raise RefusedError(_NO_LEVEL(scenario=options.scenario, site=site.id))
    return tuple(steps)


@contextmanager
def open_scenario(site: Site, scenario: str) -> Iterator[Database]:
    """Open a temporary database with the readings of the scenario."""
    if scenario != COLLAPSE:
        with open_imported_files(Path(scenario), site, accept_units=True, accept_times=True) as imported:
            yield imported.db
        return
    with open_empty_database(site) as db:
        rows = []
        start_at = datetime.fromisoformat("2000-01-01T00:00:00+00:00")
        for observation in make_collapse(site, start_at):
            rows.append(observation)
            if len(rows) == READINGS_PER_TRANSACTION:
                _store_readings(db, rows, start_at)
        _store_readings(db, rows, start_at)
        yield db


def _store_readings(db: Database, rows: list[Any], now: datetime) -> None:
    """Store readings, and empty the list."""
    with db.write() as c:
        add_observations(c, rows, now)
    rows.clear()


def notify_steps(
    db: Database,
    site: Site,
    drill_id: int,
    steps: Sequence[DrillStep],
    options: DrillOptions,
    clock: Clock,
    heartbeat: "_DrillHeartbeat",
    on_change: Callable[[datetime, AlertChange], None],
) -> bool:
    """Queue the messages of each step at its time. Return False if somebody ended the drill before the last step."""
    lasts_s = (steps[-1].at - steps[0].at).total_seconds()
    speed = options.speed or max(lasts_s / options.lasts_s, 1.0)
    started_at = clock()
    for step in steps:
        elapsed_s = (step.at - steps[0].at).total_seconds() / speed
        if not heartbeat.wait_until(started_at + timedelta(seconds=elapsed_s)):
            return False
        _write_step(db, site, drill_id, step, clock())
        for change in step.changes:
            on_change(step.at, change)
    return True


def _write_step(db: Database, site: Site, drill_id: int, step: DrillStep, now: datetime) -> None:
    """Store evidence, alerts and messages of one instant of the drill in one transaction."""
    with db.write() as c:
        decision_id = add_decision(c, site.id, now, site.version, step.evidence)
        changes = [replace(change, data_time=None) for change in drills.as_exercise(drill_id, step.changes)]
        apply_changes(
            c,
            changes,
            ChangeContext(
                site.id,
                site,
                site.recipients,
                Actor(f"drill {drill_id}", "program"),
                now,
                rule_version(site),
                decision_id,
                exercise=True,
            ),
        )


class _DrillHeartbeat:
    """Writes the heartbeat of a running drill, and checks whether somebody ended it."""

    def __init__(self, db: Database, drill_id: int, clock: Clock, wait: Callable[[float], None]) -> None:
        self._db, self._drill_id, self._clock, self._wait = db, drill_id, clock, wait
        self._checked_at: datetime | None = None
        self._beat_at: datetime | None = None

    def is_running(self) -> bool:
        """Return whether the drill is running. The database is read once a second at most."""
        now = self._clock()
        if self._checked_at is not None and now - self._checked_at < timedelta(seconds=POLL_S):
            return True
        self._checked_at = now
        with self._db.read() as c:
            if drills.find_drill(c, self._drill_id).state != drills.RUNNING:
                return False
        if self._beat_at is None or now - self._beat_at >= timedelta(seconds=BEAT_S):
            self._beat_at = now
            with self._db.write() as c:
                drills.beat(c, self._drill_id, now)
        return True

    def wait_until(self, due: datetime) -> bool:
        """Wait until an instant. Return False if the drill ended before."""
        left_s = (due - self._clock()).total_seconds()
        while left_s > 0.0:
            if not self.is_running():
                return False
            self._wait(min(left_s, POLL_S))
            left_s = (due - self._clock()).total_seconds()
        return self.is_running()


DAY_S: Final = 86400.0
FULL_RATE_READINGS: Final = 500  # number of last readings of a series at its declared interval
# Stations of one mass move at different speeds. Equal motion of all stations would be taken for a fault of their
# common reference.
SPEED_FACTORS: Final = (1.0, 1.35, 0.75, 1.7, 0.9, 1.2, 1.5, 0.8)
WINDOW_SIZE: Final = 100.0  # size of a curve without a bound on velocity, in noise floors
WINDOW_READINGS: Final = 100.0  # least number of readings of such a curve
# Value of quantities for which 0 would be out of range, in their units.
CONSTANT_VALUES: Final = {
    "pore_pressure": 20.0,
    "reservoir_level": 100.0,
    "water_level": 100.0,
    "groundwater_level": 100.0,
}


@dataclass(frozen=True, slots=True)
class FailureCurve:
    """Displacement before a failure: x = -size * ln(days left), so that 1 / velocity falls linearly (Voight 1989).

    Attributes:
        size: factor in the unit of the series; the velocity is size / days left.
        start_days: days before the failure at which the curve starts.
        end_days: days before the failure at which the readings end.
    """

    size: float
    start_days: float
    end_days: float

    def value(self, days_left: float) -> float:
        """Return the displacement since the start, at some days before the failure."""
        return self.size * (log(self.start_days) - log(max(days_left, self.end_days)))


def plan_curves(site: Site) -> dict[tuple[str, str], FailureCurve]:
    """Return a curve that crosses all levels for each series of a criterion of velocity, rate or failure window.

    One window before the failure, the velocity is twice that of the highest bound. The readings end when the mean over
    the shortest window is clearly above that bound.

    Raises:
        RefusedError: the site has no such criterion.
    """
    curves: dict[tuple[str, str], FailureCurve] = {}
    for criterion in site.criteria:
        is_window_criterion = criterion.kind.facts == "failures"
        if not (criterion.kind.rate or is_window_criterion) or criterion.role != "witness":
            continue
        for number, station_id in enumerate(criterion.stations):
            station = site.station(station_id)
            if station is None or not station.on_slope:
                continue
            spec = station.find_series(criterion.quantity)
            if spec is None and is_window_criterion:
                spec = find_motion(station)
            if spec is None:
                continue
            factor = SPEED_FACTORS[number % len(SPEED_FACTORS)]
            curve = (
                _plan_window_curve(criterion, spec, factor) if is_window_criterion else _plan_curve(criterion, factor)
            )
            key = (station_id, spec.quantity)
            if curve is not None and (key not in curves or curve.size > curves[key].size):
                curves[key] = curve
    if not curves:
        raise RefusedError(
            f"site {site.id} has no criterion of velocity, rate or failure window that a collapse could cross; give a "
            "recorded FILE"
        )
    end_days = min(curve.end_days for curve in curves.values())
    start_days = max(curve.start_days for curve in curves.values())
    return {key: FailureCurve(curve.size, start_days, end_days) for key, curve in curves.items()}


def _plan_curve(criterion: Criterion, factor: float) -> FailureCurve | None:
    bounds = [(t.over, t.effective_window_s / DAY_S) for t in criterion.thresholds if t.over is not None and t.over > 0]
    if not bounds:
        return None
    top, window_days = bounds[-1]
    lowest, slowest_days = bounds[0]
    size = 2.0 * top * window_days * factor
    # The curve starts at half the lowest bound, and early enough to fill the widest window twice.
    return FailureCurve(size, max(2.0 * size / lowest, size / lowest + 2.0 * slowest_days), 0.6 * window_days)


def _plan_window_curve(criterion: Criterion, spec: SeriesSpec, factor: float) -> FailureCurve | None:
    """Return a curve whose failure window comes within the time of every threshold before the readings end.

    The motion exceeds the noise clearly before that, so that the window is trusted.
    """
    within_days = [t.window_s / DAY_S for t in criterion.thresholds if t.window_s]
    if not within_days:
        return None
    interval_days = spec.interval_s / DAY_S
    size = WINDOW_SIZE * (spec.noise_floor or 1.0) * factor
    start_days = max(4.0 * max(within_days), WINDOW_READINGS * interval_days)
    return FailureCurve(size, start_days, max(0.3 * min(within_days), interval_days))


def make_collapse(site: Site, start_at: datetime) -> Iterator[Observation]:
    """Yield readings of every declared series from `start_at` until shortly before the failure.

    Each reading is received at the time of its observation.

    Raises:
        RefusedError: no criterion of the site measures motion.
    """
    curves = plan_curves(site)
    curve = next(iter(curves.values()))
    lasts_s = (curve.start_days - curve.end_days) * DAY_S
    for station in site.stations:
        for spec in station.series:
            yield from _make_series(site, station, spec, curves, start_at, lasts_s)


def _make_series(
    site: Site,
    station: Station,
    spec: SeriesSpec,
    curves: Mapping[tuple[str, str], FailureCurve],
    start_at: datetime,
    lasts_s: float,
) -> Iterator[Observation]:
    curve = curves.get((station.id, spec.quantity))
    random = Random(f"1|{station.id}|{spec.quantity}")
    spread = 0.5 * spec.noise_floor or 1e-3
    # The value of a series without motion must be within the range of the series.
    constant = CONSTANT_VALUES.get(spec.quantity, 0.0)
    if spec.low is not None and spec.high is not None:
        constant = (spec.low + spec.high) / 2.0
    elif spec.low is not None or spec.high is not None:
        constant = max(constant, spec.low) if spec.low is not None else min(constant, spec.high or 0.0)
    quantity = QUANTITIES.get(spec.quantity)
    number = 0
    epochs = int(lasts_s // spec.interval_s) + 1
    # Before its last readings, a fast series is thinned to the interval of the slowest series, but never so much that
    # it would count as silent.
    slowest_s = max(s.interval_s for other in site.stations for s in other.series)
    stride = max(1, int(min(slowest_s, spec.max_silence_s / 2.0) // spec.interval_s))
    while number < epochs:
        at = start_at + timedelta(seconds=number * spec.interval_s)
        value = constant
        if curve is not None:
            value += curve.value(curve.start_days - number * spec.interval_s / DAY_S)
        if spec.quantity != "rain":
            value += random.gauss(0.0, spread)
        if quantity is not None:
            value = min(max(value, quantity.low), quantity.high)
        yield Observation(site.id, station.id, spec.quantity, spec.unit, at, at, value, None)
        number += stride if number < epochs - FULL_RATE_READINGS else 1
