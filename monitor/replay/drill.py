"""A drill: a failure decided in memory, told by the real channels as an exercise, answered by people, and measured."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from forecasting.message import Template
from monitor.alerting.decision.evaluate import freeze, rule_version
from monitor.domain.alert import Actor, AlertChange, Ledger
from monitor.domain.canonical import canonical_json
from monitor.domain.decision import ProofFact, seconds
from monitor.domain.site import Site
from monitor.errors import RefusedError, SlopewardError
from monitor.replay.apart import Tell
from monitor.replay.clock import Pace, play
from monitor.replay.history import History
from monitor.replay.known import Known
from monitor.replay.offline import open_empty, open_files
from monitor.replay.scenario import DAY_S, make_collapse
from monitor.store.alerting.alerts import apply_changes
from monitor.store.alerting.decisions import add_decision
from monitor.store.alerting.drills import (
    REFUSED,
    RUNNING,
    add_drill,
    as_exercise,
    beat,
    count_on_the_way,
    count_open,
    end_dead_drills,
    end_drill,
    find_drill,
)
from monitor.store.alerting.history import find_span
from monitor.store.database.engine import Database
from monitor.store.models.proofs import load_proof_facts
from monitor.store.readings.observations import add_observations

COLLAPSE: Final = "collapse"
LASTS_S: Final = 600.0  # without a given speed the scenario is told in ten minutes
BEAT_S: Final = 5.0
LOOK_S: Final = 1.0
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
class DrillTerms:
    """How a drill is held.

    Attributes:
        scenario: `collapse`, or a file of readings in the long form.
        speed: simulated seconds per second; None tells the scenario in `lasts_s`.
        hold_s: how long the alarms stand after the last reading while nobody has answered.
        quiet: health and advice alerts of the scenario are not told, only the hazard level.
        lasts_s: how long the scenario is told, where no speed is given.
    """

    scenario: str = COLLAPSE
    speed: float | None = None
    hold_s: float = 600.0
    quiet: bool = True
    lasts_s: float = LASTS_S


def hold_drill(
    db: Database, site: Site, by: Actor, terms: DrillTerms, *, clock: Clock, wait: Callable[[float], None],
    on_turn: Callable[[datetime, AlertChange], None] = lambda _at, _change: None,
) -> tuple[int, dict[str, Any]]:  # fmt: skip
    """Hold a drill from its first to its last word; returns its number and what was measured.

    Decisions are taken on a database of the drill's own. Of the real one nothing is written but the drill, its frozen
    decisions, its alerts with their messages (exercise, keys `drill:N:...`), the stamp that it lives, and the audit.

    Args:
        db: the real database.
        site: the declaration.
        by: who holds it.
        terms: what and how fast.
        clock: gives the present, aware UTC.
        wait: sleeps for seconds.
        on_turn: called for each change that was told.

    Raises:
        RefusedError: another drill runs, nobody is named, or the scenario cannot be made; the last stays on record.
    """
    with db.write() as c:
        end_dead_drills(c, {site.id: site}, clock())
        drill_id = add_drill(c, site.id, by, terms.scenario, clock())
    reason: str = _DONE()
    state = "ended"
    try:
        pulse = _Pulse(db, drill_id, clock, wait)
        with db.read() as c:
            proofs = load_proof_facts(c, site, clock())
        turns = rehearse(site, terms, pulse.is_running, proofs)
        if tell(db, site, drill_id, turns, terms, clock, pulse, on_turn):
            pulse.stand(terms.hold_s)
    except RefusedError as error:
        reason, state = error.message, REFUSED
        raise
    except BaseException as error:
        reason = _BROKEN(problem=type(error).__name__)
        raise
    finally:
        with db.write() as c:
            outcome = end_drill(c, drill_id, by, reason, clock(), site=site, state=state)
    return drill_id, outcome


def hold_apart(tell: Tell, url: str, site: Site, by: Actor, terms: DrillTerms) -> None:
    """The part of a process that a page started: it tells once whether the drill began, and holds it to its end."""
    told: list[bool] = []

    def begun(_at: datetime, _change: AlertChange) -> None:
        if not told:
            told.append(True)
            tell({"began": True})

    with Database(url) as db:
        try:
            hold_drill(db, site, by, terms, clock=lambda: datetime.now(UTC), wait=time.sleep, on_turn=begun)
        except SlopewardError as error:
            tell({"refused": error.message})


@dataclass(frozen=True, slots=True)
class DrillTurn:
    """What a drill tells at one instant of its scenario, with the frozen inputs of that decision."""

    at: datetime
    changes: tuple[AlertChange, ...]
    frozen: str


def rehearse(
    site: Site, terms: DrillTerms, is_running: Callable[[], bool], proofs: Sequence[ProofFact] = ()
) -> tuple[DrillTurn, ...]:
    """Decide the whole scenario in memory, from before the first level on; nobody is told anything.

    With `proofs` of the real database a model counts as it does in the service.

    Raises:
        RefusedError: the scenario holds no reading of the site, or raises no level; or somebody ended the drill.
    """
    with open_scenario(site, terms.scenario) as past, past.read() as c:
        span = find_span(c, site.id)
        if span is None:
            raise RefusedError(_EMPTY(scenario=terms.scenario, site=site.id))
        from_s, to_s = seconds(span[0]), seconds(span[1])
        history = History(c, [site], span[0], span[1], Known("observed"), proofs=proofs)
        turns = []
        pace = Pace(0.0, max((s.interval_s for x in site.stations for s in x.series), default=DAY_S))
        for look in play(history, [(from_s, site)], from_s, to_s, pace):
            if not is_running():
                raise RefusedError(_ENDED())
            changes = [x for x in look.decision.changes if x.ledger == Ledger.HAZARD or not terms.quiet]
            if changes:
                frozen = canonical_json(freeze(site, look.before, look.view, look.decision, look.at))
                turns.append(DrillTurn(look.at, tuple(changes), frozen))
    if not any(x.ledger == Ledger.HAZARD for turn in turns for x in turn.changes):
        raise RefusedError(_NO_LEVEL(scenario=terms.scenario, site=site.id))
    return tuple(turns)


@contextmanager
def open_scenario(site: Site, scenario: str) -> Iterator[Database]:
    """A database of the drill's own that holds the readings of the scenario."""
    if scenario != COLLAPSE:
        with open_files(Path(scenario), site, accept_units=True) as past:
            yield past.db
        return
    with open_empty(site) as db:
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


def tell(
    db: Database, site: Site, drill_id: int, turns: Sequence[DrillTurn], terms: DrillTerms, clock: Clock,
    pulse: "_Pulse", on_turn: Callable[[datetime, AlertChange], None],
) -> bool:  # fmt: skip
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


def _write(db: Database, site: Site, drill_id: int, turn: DrillTurn, now: datetime) -> None:
    """Freeze the decision of the drill and tell it, in one transaction."""
    with db.write() as c:
        basis = add_decision(c, site.id, now, site.version, turn.frozen)
        told = [replace(x, data_time=None) for x in as_exercise(drill_id, turn.changes)]
        apply_changes(
            c, site.id, told, site=site, recipients=site.recipients, actor=Actor(f"drill {drill_id}", "program"),
            now=now, decision_id=basis, rule_version=rule_version(site), exercise=True,
        )  # fmt: skip


class _Pulse:
    """Says that the drill lives, and hears when somebody ends it."""

    def __init__(self, db: Database, drill_id: int, clock: Clock, wait: Callable[[float], None]) -> None:
        self._db, self._drill_id, self._clock, self._wait = db, drill_id, clock, wait
        self._looked_at: datetime | None = None
        self._beat_at: datetime | None = None

    def is_running(self) -> bool:
        """False when the drill is over; looks at most once a second."""
        now = self._clock()
        if self._looked_at is not None and now - self._looked_at < timedelta(seconds=LOOK_S):
            return True
        self._looked_at = now
        with self._db.read() as c:
            if find_drill(c, self._drill_id).state != RUNNING:
                return False
        if self._beat_at is None or now - self._beat_at >= timedelta(seconds=BEAT_S):
            self._beat_at = now
            with self._db.write() as c:
                beat(c, self._drill_id, now)
        return True

    def wait_until(self, due: datetime) -> bool:
        """Wait for an instant; False when the drill is over."""
        while (left_s := (due - self._clock()).total_seconds()) > 0.0:
            if not self.is_running():
                return False
            self._wait(min(left_s, LOOK_S))
        return self.is_running()

    def stand(self, hold_s: float) -> None:
        """Let the alarms stand until all are answered and no message is on its way, or for a time."""
        until = self._clock() + timedelta(seconds=hold_s)
        while self._clock() < until and self.is_running():
            with self._db.read() as c:
                # who is quick answers before the channel has said that it delivered: that instant is measured too
                if not count_open(c, self._drill_id) and not count_on_the_way(c, self._drill_id):
                    return
            self._wait(min(LOOK_S, hold_s))
