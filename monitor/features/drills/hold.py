"""A drill: a failure decided in memory, told by the real channels as an exercise, answered by people, and measured."""

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
LASTS_S: Final = 600.0  # without a given speed the scenario is told in ten minutes
BEAT_S: Final = 5.0
POLL_S: Final = 1.0
CHUNK: Final = 5000
_DONE: Final = Template("drill.scenario_over", "the scenario is over")
_BROKEN: Final = Template("drill.broken_off", "it was broken off: {problem}")
_ENDED: Final = Template("drill.ended_early", "the drill was ended before it began")
_EMPTY: Final = Template("drill.no_reading", "{scenario}: no reading of {site}")
_NO_LEVEL: Final = Template(
    "drill.no_level", "{scenario}: no level of {site} is raised by it; no message would be sent"
)
Clock = Callable[[], datetime]


@dataclass(frozen=True, slots=True)
class DrillOptions:
    """How a drill is held."""

    scenario: str = COLLAPSE  # `collapse`, or a file of readings in the long form
    speed: float | None = None  # simulated seconds per second; None tells the scenario in `lasts_s`
    hold_s: float = 600.0  # how long the alarms stand after the last reading while nobody has answered
    quiet: bool = True  # health and advice alerts of the scenario are not told, only the hazard level
    lasts_s: float = LASTS_S  # how long the scenario is told, where no speed is given


def hold_drill(
    db: Database,
    site: Site,
    by: Actor,
    terms: DrillOptions,
    *,
    clock: Clock,
    wait: Callable[[float], None],
    on_turn: Callable[[datetime, AlertChange], None] = lambda _at, _change: None,
) -> tuple[int, dict[str, Any]]:
    """Hold a drill from its first to its last word; returns its number and what was measured.

    Decisions are taken on a database of the drill's own. Of the real one nothing is written but the drill, its frozen
    decisions, its alerts with their messages (exercise, keys `drill:N:...`), the stamp that it lives, and the audit.

    `on_turn`: called for each change that was told. Raises RefusedError: another drill runs, nobody is named, or the
    scenario cannot be made; the last stays on record.
    """
    with db.write() as c:
        drills.end_dead_drills(c, {site.id: site}, clock())
        drill_id = drills.add_drill(c, site.id, by, terms.scenario, clock())
    reason: str = _DONE()
    state = "ended"
    try:
        pulse = _DrillHeartbeat(db, drill_id, clock, wait)
        with db.read() as c:
            proofs = load_proof_facts(c, site, clock())
        turns = rehearse(site, terms, pulse.is_running, proofs)
        if notify_turns(db, site, drill_id, turns, terms, clock, pulse, on_turn):
            until = clock() + timedelta(seconds=terms.hold_s)
            while clock() < until and pulse.is_running():
                with db.read() as c:
                    # who is quick answers before the channel has said that it delivered: that instant is measured too
                    if not drills.count_open(c, drill_id) and not drills.count_on_the_way(c, drill_id):
                        break
                wait(min(POLL_S, terms.hold_s))
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


def hold_apart(send: SendLine, url: str, site: Site, by: Actor, terms: DrillOptions) -> None:
    """The part of a process that a page started: it tells once whether the drill began, and holds it to its end."""
    reported: list[bool] = []

    def begun(_at: datetime, _change: AlertChange) -> None:
        if not reported:
            reported.append(True)
            send({"began": True})

    with Database(url) as db:
        try:
            hold_drill(db, site, by, terms, clock=lambda: datetime.now(UTC), wait=time.sleep, on_turn=begun)
        except SlopewardError as error:
            send({"refused": error.message})


@dataclass(frozen=True, slots=True)
class DrillStep:
    """What a drill tells at one instant of its scenario, with the frozen inputs of that decision."""

    at: datetime
    changes: tuple[AlertChange, ...]
    frozen: str


def rehearse(
    site: Site, terms: DrillOptions, is_running: Callable[[], bool], proofs: Sequence[ProofFact] = ()
) -> tuple[DrillStep, ...]:
    """Decide the whole scenario in memory, from before the first level on; nobody is told anything.

    With `proofs` of the real database a model counts as it does in the service. Raises RefusedError: the scenario holds
    no reading of the site, or raises no level; or somebody ended the drill.
    """
    with open_scenario(site, terms.scenario) as past, past.read() as c:
        span = find_span(c, site.id)
        if span is None:
            raise RefusedError(_EMPTY(scenario=terms.scenario, site=site.id))
        from_s, to_s = epoch_s(span[0]), epoch_s(span[1])
        history = History(c, [site], span[0], span[1], VisibilityRule("observed"), proofs=proofs)
        turns = []
        pace = ReplaySchedule(0.0, max((s.interval_s for x in site.stations for s in x.series), default=DAY_S))
        for step in play(history, [(from_s, site)], from_s, to_s, pace):
            if not is_running():
                raise RefusedError(_ENDED())
            changes = [x for x in step.decision.changes if x.ledger == AlertCategory.HAZARD or not terms.quiet]
            if changes:
                frozen = canonical_json(freeze_evidence(site, step.before, step.inputs, step.decision, step.at))
                turns.append(DrillStep(step.at, tuple(changes), frozen))
    if not any(x.ledger == AlertCategory.HAZARD for turn in turns for x in turn.changes):
        raise RefusedError(_NO_LEVEL(scenario=terms.scenario, site=site.id))
    return tuple(turns)


@contextmanager
def open_scenario(site: Site, scenario: str) -> Iterator[Database]:
    """A database of the drill's own that holds the readings of the scenario."""
    if scenario != COLLAPSE:
        with open_imported_files(Path(scenario), site, accept_units=True, accept_times=True) as past:
            yield past.db
        return
    with open_empty_database(site) as db:
        rows = []
        start_at = datetime.fromisoformat("2000-01-01T00:00:00+00:00")
        for observation in make_collapse(site, start_at):
            rows.append(observation)
            if len(rows) == CHUNK:
                _store(db, rows, start_at)
        _store(db, rows, start_at)
        yield db


def _store(db: Database, rows: list[Any], now: datetime) -> None:
    with db.write() as c:
        add_observations(c, rows, now)
    rows.clear()


def notify_turns(
    db: Database,
    site: Site,
    drill_id: int,
    turns: Sequence[DrillStep],
    terms: DrillOptions,
    clock: Clock,
    pulse: "_DrillHeartbeat",
    on_turn: Callable[[datetime, AlertChange], None],
) -> bool:
    """Write the turns to the real outbox as fast as the drill goes; False when somebody ended it before the last."""
    lasts_s = (turns[-1].at - turns[0].at).total_seconds()
    speed = terms.speed or max(lasts_s / terms.lasts_s, 1.0)
    began = clock()
    for turn in turns:
        if not pulse.wait_until(began + timedelta(seconds=(turn.at - turns[0].at).total_seconds() / speed)):
            return False
        _write(db, site, drill_id, turn, clock())
        for change in turn.changes:
            on_turn(turn.at, change)
    return True


def _write(db: Database, site: Site, drill_id: int, turn: DrillStep, now: datetime) -> None:
    """Freeze the decision of the drill and tell it, in one transaction."""
    with db.write() as c:
        basis = add_decision(c, site.id, now, site.version, turn.frozen)
        changes = [replace(x, data_time=None) for x in drills.as_exercise(drill_id, turn.changes)]
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
                basis,
                exercise=True,
            ),
        )


class _DrillHeartbeat:
    """Stamps a running drill, and finds out when somebody ends it."""

    def __init__(self, db: Database, drill_id: int, clock: Clock, wait: Callable[[float], None]) -> None:
        self._db, self._drill_id, self._clock, self._wait = db, drill_id, clock, wait
        self._looked_at: datetime | None = None
        self._beat_at: datetime | None = None

    def is_running(self) -> bool:
        """False when the drill is over; looks at most once a second."""
        now = self._clock()
        if self._looked_at is not None and now - self._looked_at < timedelta(seconds=POLL_S):
            return True
        self._looked_at = now
        with self._db.read() as c:
            if drills.find_drill(c, self._drill_id).state != drills.RUNNING:
                return False
        if self._beat_at is None or now - self._beat_at >= timedelta(seconds=BEAT_S):
            self._beat_at = now
            with self._db.write() as c:
                drills.beat(c, self._drill_id, now)
        return True

    def wait_until(self, due: datetime) -> bool:
        """Wait for an instant; False when the drill is over."""
        while (left_s := (due - self._clock()).total_seconds()) > 0.0:
            if not self.is_running():
                return False
            self._wait(min(left_s, POLL_S))
        return self.is_running()


DAY_S: Final = 86400.0
DENSE: Final = 500  # epochs before the end at which every interval is there
# stations of one mass move alike, not equally: equal motion on one reference would be asked about as a common fault
FACTORS: Final = (1.0, 1.35, 0.75, 1.7, 0.9, 1.2, 1.5, 0.8)
WINDOW_SIZE: Final = 100.0  # noise floors: the size of a curve that no bound on a velocity sets
WINDOW_READINGS: Final = 100.0  # that such a curve lasts at least
NEVER_BELOW: Final = {"pore_pressure": 20.0, "reservoir_level": 100.0, "water_level": 100.0, "groundwater_level": 100.0}


@dataclass(frozen=True, slots=True)
class FailureCurve:
    """Displacement before a failure: x = -size * ln(days left), so that 1 / velocity falls in a line (Voight 1989)."""

    size: float  # unit of the series; velocity = size / days left
    start_days: float  # days before the failure at which it begins
    end_days: float  # days before the failure at which the instruments are gone

    def value(self, days_left: float) -> float:
        """Displacement since the beginning."""
        return self.size * (log(self.start_days) - log(max(days_left, self.end_days)))


def plan_curves(site: Site) -> dict[tuple[str, str], FailureCurve]:
    """For each series that a criterion of velocity, rate or failure window reads: a curve that crosses all its levels.

    One window before the failure it has twice the velocity of the highest bound; the record ends when the mean over the
    shortest window is well beyond that bound. Raises RefusedError: no criterion of the site measures how something
    moves.
    """
    found: dict[tuple[str, str], FailureCurve] = {}
    for criterion in site.criteria:
        reads_windows = criterion.kind.facts == "failures"
        if not (criterion.kind.rate or reads_windows) or criterion.role != "witness":
            continue
        for number, station_id in enumerate(criterion.stations):
            station = site.station(station_id)
            if station is None or not station.on_slope:
                continue
            spec = station.find_series(criterion.quantity)
            if spec is None and reads_windows:
                spec = find_motion(station)
            if spec is None:
                continue
            factor = FACTORS[number % len(FACTORS)]
            curve = _plan_window_curve(criterion, spec, factor) if reads_windows else _plan_curve(criterion, factor)
            key = (station_id, spec.quantity)
            if curve is not None and (key not in found or curve.size > found[key].size):
                found[key] = curve
    if not found:
        raise RefusedError(
            f"site {site.id} has no criterion of velocity, rate or failure window that a collapse could cross; give a "
            "recorded FILE"
        )
    end_days = min(c.end_days for c in found.values())
    start_days = max(c.start_days for c in found.values())
    return {k: FailureCurve(c.size, start_days, end_days) for k, c in found.items()}


def _plan_curve(criterion: Criterion, factor: float) -> FailureCurve | None:
    bounds = [(t.over, t.effective_window_s / DAY_S) for t in criterion.thresholds if t.over is not None and t.over > 0]
    if not bounds:
        return None
    top, window_days = bounds[-1]
    lowest, slowest_days = bounds[0]
    size = 2.0 * top * window_days * factor
    # from half the lowest bound on, and long enough before it to fill the widest window twice
    return FailureCurve(size, max(2.0 * size / lowest, size / lowest + 2.0 * slowest_days), 0.6 * window_days)


def _plan_window_curve(criterion: Criterion, spec: SeriesSpec, factor: float) -> FailureCurve | None:
    """Return a curve whose failure window comes within the time of every level before the record ends.

    The motion is well above the noise before the time of the lowest level begins, so that the window is trusted then.
    """
    within_days = [t.window_s / DAY_S for t in criterion.thresholds if t.window_s]
    if not within_days:
        return None
    interval_days = spec.interval_s / DAY_S
    size = WINDOW_SIZE * (spec.noise_floor or 1.0) * factor
    start_days = max(4.0 * max(within_days), WINDOW_READINGS * interval_days)
    return FailureCurve(size, start_days, max(0.3 * min(within_days), interval_days))


def make_collapse(site: Site, start_at: datetime) -> Iterator[Observation]:
    """Readings of every declared series from `start_at` until the mass is gone; known at their epochs.

    Raises RefusedError: nothing of the site measures movement.
    """
    curves = plan_curves(site)
    one = next(iter(curves.values()))
    lasts_s = (one.start_days - one.end_days) * DAY_S
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
    luck = Random(f"1|{station.id}|{spec.quantity}")
    spread = 0.5 * spec.noise_floor or 1e-3
    still = NEVER_BELOW.get(spec.quantity, 0.0)  # within the range of the series, for what stands still
    if spec.low is not None and spec.high is not None:
        still = (spec.low + spec.high) / 2.0
    elif spec.low is not None or spec.high is not None:
        still = max(still, spec.low) if spec.low is not None else min(still, spec.high or 0.0)
    known = QUANTITIES.get(spec.quantity)
    i, epochs = 0, int(lasts_s // spec.interval_s) + 1
    # while little happens a fast series speaks when the slowest does, never so rarely that it seems silent
    slowest_s = max(s.interval_s for other in site.stations for s in other.series)
    stride = max(1, int(min(slowest_s, spec.max_silence_s / 2.0) // spec.interval_s))
    while i < epochs:
        at = start_at + timedelta(seconds=i * spec.interval_s)
        value = still
        if curve is not None:
            value += curve.value(curve.start_days - i * spec.interval_s / DAY_S)
        if spec.quantity != "rain":
            value += luck.gauss(0.0, spread)
        if known is not None:
            value = min(max(value, known.low), known.high)
        yield Observation(site.id, station.id, spec.quantity, spec.unit, at, at, value, None)
        i += stride if i < epochs - DENSE else 1
