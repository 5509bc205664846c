"""Live = replay: what the service decided over thirty days, with faults, late data, people and a new site file, again.

The simulator's messages go through the real gate of ingest; the clock is moved as the service's loop would move it.
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
TERMS = BacktestOptions(
    known=VisibilityRule("received"), as_then=True, acts=True, coalesce_s=COALESCE_S, tick_s=STEP.total_seconds()
)


def make_model() -> SlopeModel:
    return SlopeModel(5, 2, START, duration=timedelta(days=DAYS), step=STEP)


def make_sites(model: SlopeModel) -> tuple[Site, Site]:
    """The simulator's own file, and a second version of it with other bounds."""
    text = write_site_toml(model)
    changed = text.replace("orange = {over = 12.0", "orange = {over = 8.0").replace(
        "hits = 3, of = 4", "hits = 2, of = 3"
    )
    assert changed != text
    return parse_site(text, "sim.toml"), parse_site(changed, "sim.toml")


def deliver(model: SlopeModel) -> Iterator[tuple[datetime, str, dict[str, Any]]]:
    """Every message with the instant at which it comes: seconds late, hours late, days late, twice, corrected."""
    luck = Random(11)
    for sample in model.samples():
        delay = timedelta(seconds=luck.uniform(5.0, 50.0))
        if luck.random() < 0.06:
            delay = timedelta(hours=luck.uniform(2.0, 60.0))
        yield sample.at + delay, f"{sample.station}/obs", sample.payload
        if "gnss" in sample.payload and luck.random() < 0.04:  # the final solution of an epoch, ten days later
            final = json.loads(json.dumps(sample.payload))
            final["gnss"] |= {"solution": "final", "enu_mm": [v + 0.4 for v in final["gnss"]["enu_mm"]]}
            yield sample.at + timedelta(days=10, seconds=7), f"{sample.station}/obs", final
    for fault in model.faults:
        if fault.kind == "dropout":  # what a logger kept comes in one piece when it speaks again
            logger = next(s.logger for s in model.stations if s.id == fault.target)
            for sample in model.missed(logger, 0, 10**6):
                yield fault.to_at + timedelta(hours=1), f"{sample.station}/backfill/obs", sample.payload


class Live:
    """The service on a clock of its own: messages as they come, evaluations as its loop orders them."""

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
        """All days until the end."""
        self._load(self.site)
        self._evaluate("start")
        messages = sorted(deliver(self.model), key=lambda m: (m[0], m[1]))
        acts = [
            (START + timedelta(days=12, minutes=11), self._declare_offset),
            (START + timedelta(days=14, minutes=3), self._flag),
            (START + timedelta(days=18, minutes=17), self._change_site),
            (START + timedelta(days=28, minutes=2), self._set_level),
        ]
        waiting: list[tuple[datetime, int, Any]] = [(at, 1, act) for at, act in acts]
        heapq.heapify(waiting)
        index = 0
        while True:
            first = messages[index][0] if index < len(messages) else self.end
            act_at = waiting[0][0] if waiting else self.end
            answer_at = self.answer_at or self.end
            limit = min(act_at, answer_at, *self.due)
            if min(first, limit) >= self.end:
                return
            if first <= limit:
                burst = []
                while index < len(messages) and messages[index][0] <= first + timedelta(seconds=COALESCE_S):
                    if messages[index][0] > limit:
                        break  # something is due before the burst is over: it is looked at in its own time
                    burst.append(messages[index])
                    index += 1
                cut = index < len(messages) and messages[index][0] <= first + timedelta(seconds=COALESCE_S)
                self.now = limit if cut else burst[-1][0]
                self._store(burst)
                self._evaluate("data")
            elif limit == act_at:
                self.now = act_at
                heapq.heappop(waiting)[2]()
            elif limit == answer_at:
                self.now, self.answer_at = answer_at, None
                self._answer()
            else:
                self.now = limit
                self._evaluate("tick")

    def _store(self, burst: list[tuple[datetime, str, dict[str, Any]]]) -> None:
        messages = [
            BrokerMessage(f"slopeward/v1/{SITE_ID}/{topic}", json.dumps(body).encode(), at, "live")
            for at, topic, body in burst
        ]
        assert self.pipeline.store(messages).rejected == 0

    def _evaluate(self, trigger: str) -> None:
        self.looks += 1
        self._follow(evaluate_site(self.db, self.site, self.now, trigger, cache=self.cache))

    def _follow(self, result: EvaluationResult) -> None:
        self.due = [self.now + STEP]
        if result.next_due_at is not None:
            self.due.append(max(result.next_due_at, self.now + timedelta(seconds=0.25)))
        asks = [c for c in result.changes if c.open and c.key.endswith(":verify")]
        if asks and self.now < START + timedelta(days=15):
            self.answer_at = self.now + timedelta(minutes=37)
            self.question = asks[0].key.removeprefix("health:").removesuffix(":verify")

    def _load(self, site: Site) -> None:
        tell(self.db, save_site, site, "test", "loaded", self.now)

    def _declare_offset(self) -> None:
        rezero = next(f for f in self.model.faults if f.kind == "rezero")
        with self.db.write() as c:
            series_id = find_series_id(c, SITE_ID, rezero.target, "displacement_east")
            assert series_id is not None
            facts = {"kind": "rezero", "author": GEOLOGIST, "reason": "antenna moved"}
            enter_offset(c, series_id, rezero.from_at, rezero.size, self.now, **facts)
        self._evaluate("data")

    def _flag(self) -> None:
        with self.db.write() as c:
            series_id = find_series_id(c, SITE_ID, "G1", "displacement_north")
            add_flag(c, series_id, START + timedelta(days=13), "doubtful", self.now)
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
        except NotFoundError:  # the question answered itself meanwhile
            return
        self.looks += 1
        self._follow(result)


def live_history(db: Database) -> list[tuple[datetime, str, str, int, str]]:
    """Every change of an alert that the decision or the person who set the level made; a reminder changes nothing."""
    query = (
        select(alert_event.c.at, alert.c.ledger, alert.c.key, alert_event.c.to_level, alert_event.c.reason)
        .join(alert, alert.c.id == alert_event.c.alert_id)
        .where(alert_event.c.reason_id.is_distinct_from(GROWN.id))
    )
    return sorted((r.at, r.ledger, r.key, r.to_level, r.reason) for r in ask(db, lambda c: c.execute(query)))


def replayed(
    db: Database, site: Site, terms: BacktestOptions, end: datetime = END
) -> tuple[Run, list[tuple[datetime, str, str, int, str]]]:
    run = run_backtest(db, site, START, end, terms=terms).runs[0]
    return run, sorted((t.at, a.ledger, a.key, t.level, t.reason) for a in run.alerts for t in a.turns)


@ON_SQLITE
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_replay_decides_what_the_service_decided(database: Database) -> None:
    live = Live(database, make_model())
    live.run()
    told = live_history(database)
    stored = ask(database, lambda c: c.execute(select(evaluation.c.at)).scalars().all())
    hazards = [(f"{at:%d %H:%M}", level) for at, ledger, _, level, _ in told if ledger == "hazard"]
    print(f"{live.looks} looks, {len(told)} changes of alerts, {hazards}")

    run, found = replayed(database, live.site, TERMS)
    assert found == told
    assert run.looks >= live.looks, "also when the clock comes to what was stamped in the future"
    run, found = replayed(database, live.site, replace(TERMS, stored_instants=True))
    assert (found, run.looks) == (told, len(set(stored)))

    # the comparison can fail: another rule of knowledge, the first site file all the time, nobody who acts; each as
    # long as it takes to differ
    others = [
        (5, live.site, replace(TERMS, known=VisibilityRule("observed"))),
        (DAYS, live.sites[0], replace(TERMS, as_then=False)),
        (6, live.site, replace(TERMS, acts=False)),
    ]
    for days, site, other in others:
        end = START + timedelta(days=days)
        assert replayed(database, site, other, end)[1] != [one for one in told if one[0] < end]

    kinds = {(ledger, key.rpartition(":")[2]) for _, ledger, key, _, _ in told}
    assert {("hazard", "hazard"), ("health", "verify"), ("health", "stale")} <= kinds, "movement, faults, silence"
    assert max(s.level for s in run.levels) >= 2
    assert any(t.by == "person" for a in run.hazards for t in a.turns)


@pytest.mark.slow
@pytest.mark.server
def test_a_replay_on_postgresql_decides_the_first_days_alike(postgresql_url: str) -> None:
    """Two weeks: late and final readings, a declared offset and a flag, found by the SQL of the other database."""
    end = START + timedelta(days=14, hours=6)
    with closing(Database(postgresql_url)) as database:
        live = Live(database, make_model(), end)
        live.run()
        told = live_history(database)
        assert any(ledger == "hazard" for _, ledger, *_ in told)
        assert replayed(database, live.site, TERMS, end)[1] == told
