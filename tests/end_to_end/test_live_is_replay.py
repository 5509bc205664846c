"""A replay repeats every decision of thirty days with faults, late data, actions and a new site file.

The messages of the simulator pass through the pipeline of ingest. The clock advances as in the loop of the service.
"""

import heapq
import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest
from sqlalchemy import select

from monitor.alerts.acts.operator_acts import set_level, verify
from monitor.alerts.evaluate import EvaluationResult, evaluate_site
from monitor.alerts.evaluation_tables import evaluation
from monitor.alerts.queries.evaluations import find_state
from monitor.alerts.reading_cache import SiteReadingCache
from monitor.alerts.replay.backtest import BacktestOptions, run_backtest
from monitor.alerts.replay.history import VisibilityRule
from monitor.alerts.replay.scorecard import Run
from monitor.alerts.tables import alert, alert_event
from monitor.decision.alert_texts import GROWN
from monitor.errors import NotFoundError
from monitor.features.demo.slope import SITE_ID, SlopeModel
from monitor.ingest.message import BrokerMessage
from monitor.ingest.pipeline import Pipeline
from monitor.readings.queries.observations import find_series_id
from monitor.sites.parsing import parse_site
from monitor.sites.queries.sites import save_site
from monitor.sites.records import Site
from monitor.storage.actor import Actor
from monitor.storage.engine import Database
from tests.data.simulated_slope import write_site_toml
from tests.data.store_rows import add_flag, ask, enter_offset, tell
from tests.fixtures.databases import ON_SQLITE

STEP = timedelta(hours=4)
START = datetime(2026, 1, 1, tzinfo=UTC)
DAYS = 30
END = START + timedelta(days=DAYS)
COALESCE_S = 60.0
GEOLOGIST = Actor("geologist")
OPTIONS = BacktestOptions(
    known=VisibilityRule("received"), as_then=True, acts=True, coalesce_s=COALESCE_S, tick_s=STEP.total_seconds()
)


def make_model() -> SlopeModel:
    return SlopeModel(5, 2, START, duration=timedelta(days=DAYS), step=STEP)


def make_sites(model: SlopeModel) -> tuple[Site, Site]:
    """Return the site file of the simulator and a second version of it with other bounds."""
    text = write_site_toml(model)
    changed = text.replace("orange = {over = 12.0", "orange = {over = 8.0").replace(
        "hits = 3, of = 4", "hits = 2, of = 3"
    )
    assert changed != text
    return parse_site(text, "sim.toml"), parse_site(changed, "sim.toml")


def schedule_messages(model: SlopeModel) -> Iterator[tuple[datetime, str, dict[str, Any]]]:
    """Yield every message with the time of its arrival: seconds, hours or days late, repeated, or corrected."""
    random = Random(11)
    for sample in model.samples():
        delay = timedelta(seconds=random.uniform(5.0, 50.0))
        if random.random() < 0.06:
            delay = timedelta(hours=random.uniform(2.0, 60.0))
        yield sample.at + delay, f"{sample.station}/obs", sample.payload
        if "gnss" in sample.payload and random.random() < 0.04:  # the final solution of an epoch arrives ten days later
            final = json.loads(json.dumps(sample.payload))
            final["gnss"] |= {"solution": "final", "enu_mm": [value + 0.4 for value in final["gnss"]["enu_mm"]]}
            yield sample.at + timedelta(days=10, seconds=7), f"{sample.station}/obs", final
    for fault in model.faults:
        if fault.kind == "dropout":  # a logger sends all its stored readings when its connection returns
            logger = next(candidate.logger for candidate in model.stations if candidate.id == fault.target)
            for sample in model.missed(logger, 0, 10**6):
                yield fault.to_at + timedelta(hours=1), f"{sample.station}/backfill/obs", sample.payload


class Live:
    """Simulate the service with its own clock: store messages as they arrive and evaluate as its loop would."""

    def __init__(self, db: Database, model: SlopeModel, end: datetime = END) -> None:
        self.db, self.model, self.end = db, model, end
        self.sites = make_sites(model)
        self.site = self.sites[0]
        self.cache = SiteReadingCache(self.site)
        self.now = START
        self.pipeline = Pipeline(db, {SITE_ID: self.site}, lambda: self.now)
        self.due: list[datetime] = []
        self.answer_at: datetime | None = None
        self.looks = 0

    def run(self) -> None:
        """Simulate all days until `end`."""
        self._load(self.site)
        self._evaluate("start")
        messages = sorted(schedule_messages(self.model), key=lambda message: (message[0], message[1]))
        actions = [
            (START + timedelta(days=12, minutes=11), self._declare_offset),
            (START + timedelta(days=14, minutes=3), self._flag),
            (START + timedelta(days=18, minutes=17), self._change_site),
            (START + timedelta(days=28, minutes=2), self._set_level),
        ]
        action_heap: list[tuple[datetime, int, Any]] = [(action_at, 1, action) for action_at, action in actions]
        heapq.heapify(action_heap)
        index = 0
        while True:
            next_message_at = messages[index][0] if index < len(messages) else self.end
            act_at = action_heap[0][0] if action_heap else self.end
            answer_at = self.answer_at or self.end
            limit = min(act_at, answer_at, *self.due)
            if min(next_message_at, limit) >= self.end:
                return
            if next_message_at <= limit:
                burst = []
                while index < len(messages) and messages[index][0] <= next_message_at + timedelta(seconds=COALESCE_S):
                    if messages[index][0] > limit:
                        break  # an evaluation is due before the burst ends
                    burst.append(messages[index])
                    index += 1
                is_interrupted = index < len(messages) and messages[index][0] <= next_message_at + timedelta(
                    seconds=COALESCE_S
                )
                self.now = limit if is_interrupted else burst[-1][0]
                self._store(burst)
                self._evaluate("data")
            elif limit == act_at:
                self.now = act_at
                heapq.heappop(action_heap)[2]()
            elif limit == answer_at:
                self.now, self.answer_at = answer_at, None
                self._answer()
            else:
                self.now = limit
                self._evaluate("tick")

    def _store(self, burst: list[tuple[datetime, str, dict[str, Any]]]) -> None:
        messages = [
            BrokerMessage(f"slopeward/v1/{SITE_ID}/{topic}", json.dumps(body).encode(), received_at, "live")
            for received_at, topic, body in burst
        ]
        assert self.pipeline.store(messages).rejected == 0

    def _evaluate(self, trigger: str) -> None:
        self.looks += 1
        self._follow(evaluate_site(self.db, self.site, self.now, trigger, cache=self.cache))

    def _follow(self, result: EvaluationResult) -> None:
        self.due = [self.now + STEP]
        if result.next_due_at is not None:
            self.due.append(max(result.next_due_at, self.now + timedelta(seconds=0.25)))
        open_questions = [change for change in result.changes if change.open and change.key.endswith(":verify")]
        if open_questions and self.now < START + timedelta(days=15):
            self.answer_at = self.now + timedelta(minutes=37)
            self.question = open_questions[0].key.removeprefix("health:").removesuffix(":verify")

    def _load(self, site: Site) -> None:
        tell(self.db, save_site, site, "test", "loaded", self.now)

    def _declare_offset(self) -> None:
        rezero = next(fault for fault in self.model.faults if fault.kind == "rezero")
        with self.db.write() as connection:
            series_id = find_series_id(connection, SITE_ID, rezero.target, "displacement_east")
            assert series_id is not None
            details = {"kind": "rezero", "author": GEOLOGIST, "reason": "antenna moved"}
            enter_offset(connection, series_id, rezero.from_at, rezero.size, self.now, **details)
        self._evaluate("data")

    def _flag(self) -> None:
        with self.db.write() as connection:
            series_id = find_series_id(connection, SITE_ID, "G1", "displacement_north")
            add_flag(connection, series_id, START + timedelta(days=13), "doubtful", self.now)
        self._evaluate("data")

    def _change_site(self) -> None:
        self.site = self.sites[1]
        self.cache = SiteReadingCache(self.site)
        self._load(self.site)
        self._evaluate("start")

    def _set_level(self) -> None:
        row = ask(self.db, find_state, SITE_ID)
        assert row is not None
        set_level(self.db, self.site, 2 if row.level == 1 else 1, GEOLOGIST, "looked at the slope", self.now)
        self._evaluate("person")

    def _answer(self) -> None:
        try:
            result = verify(self.db, self.site, self.question, "instrument", GEOLOGIST, "seen on site", self.now)
        except NotFoundError:  # the question closed by itself
            return
        self.looks += 1
        self._follow(result)


def load_live_history(db: Database) -> list[tuple[datetime, str, str, int, str]]:
    """Return every change of an alert that a decision or a person made. Reminders change nothing and are omitted."""
    query = (
        select(alert_event.c.at, alert.c.ledger, alert.c.key, alert_event.c.to_level, alert_event.c.reason)
        .join(alert, alert.c.id == alert_event.c.alert_id)
        .where(alert_event.c.reason_id.is_distinct_from(GROWN.id))
    )
    return sorted(
        (row.at, row.ledger, row.key, row.to_level, row.reason)
        for row in ask(db, lambda connection: connection.execute(query))
    )


def run_replay(
    db: Database, site: Site, options: BacktestOptions, end: datetime = END
) -> tuple[Run, list[tuple[datetime, str, str, int, str]]]:
    run = run_backtest(db, site, START, end, terms=options).runs[0]
    return run, sorted(
        (turn.at, replayed_alert.ledger, replayed_alert.key, turn.level, turn.reason)
        for replayed_alert in run.alerts
        for turn in replayed_alert.turns
    )


@pytest.mark.soak
@ON_SQLITE
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_replay_repeats_the_decisions_of_the_service(database: Database) -> None:
    live = Live(database, make_model())
    live.run()
    live_changes = load_live_history(database)
    evaluation_times = ask(database, lambda connection: connection.execute(select(evaluation.c.at)).scalars().all())
    hazard_levels = [
        (f"{changed_at:%d %H:%M}", level) for changed_at, ledger, _, level, _ in live_changes if ledger == "hazard"
    ]
    print(f"{live.looks} looks, {len(live_changes)} changes of alerts, {hazard_levels}")

    run, replayed_changes = run_replay(database, live.site, OPTIONS)
    assert replayed_changes == live_changes
    assert run.looks >= live.looks, "the replay also evaluates when readings with future times become due"
    run, replayed_changes = run_replay(database, live.site, replace(OPTIONS, stored_instants=True))
    assert (replayed_changes, run.looks) == (live_changes, len(set(evaluation_times)))

    # The comparison must be able to fail: with another visibility rule, only the first site file, or without actions.
    # Each replay lasts until the difference shows.
    other_settings = [
        (5, live.site, replace(OPTIONS, known=VisibilityRule("observed"))),
        (DAYS, live.sites[0], replace(OPTIONS, as_then=False)),
        (6, live.site, replace(OPTIONS, acts=False)),
    ]
    for days, site, options in other_settings:
        end = START + timedelta(days=days)
        assert run_replay(database, site, options, end)[1] != [change for change in live_changes if change[0] < end]

    kinds = {(ledger, key.rpartition(":")[2]) for _, ledger, key, _, _ in live_changes}
    assert {("hazard", "hazard"), ("health", "verify"), ("health", "stale")} <= kinds, "movement, faults, silence"
    assert max(s.level for s in run.levels) >= 2
    assert any(turn.by == "person" for replayed_alert in run.hazards for turn in replayed_alert.turns)


@pytest.mark.soak
@pytest.mark.slow
@pytest.mark.server
def test_replay_on_postgresql_repeats_the_decisions_of_two_weeks(postgresql_url: str) -> None:
    """Late and final readings, a declared offset and a flag are read by the SQL of the other database."""
    end = START + timedelta(days=14, hours=6)
    with closing(Database(postgresql_url)) as database:
        live = Live(database, make_model(), end)
        live.run()
        live_changes = load_live_history(database)
        assert any(ledger == "hazard" for _, ledger, *_ in live_changes)
        assert run_replay(database, live.site, OPTIONS, end)[1] == live_changes
