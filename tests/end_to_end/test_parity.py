"""The same information gives the same alert history, whatever the order, doubles, revisions, zones or database."""

import json
import os
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, text

from monitor.alerts.evaluate import evaluate_site
from monitor.alerts.tables import alert, alert_event
from monitor.sites.parsing import parse_site
from monitor.sites.queries.sites import save_site
from monitor.sites.records import Site
from monitor.storage.engine import Database
from monitor.storage.seals import ACTION as SEAL
from monitor.storage.view_tables import load_view_tables
from tests.data.playing import Clock, Player
from tests.data.site_text import FOUR, bounds, criterion, head, series, station, table
from tests.data.store_rows import ask, tell

pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.timeout(600)]

START = datetime(2026, 3, 1, tzinfo=UTC)
STEP = timedelta(minutes=30)
BLOCK = timedelta(hours=6)  # evaluated at its end only: there every order has brought the same information
BLOCKS = 8
Messages = list[tuple[str, bytes]]

MOVES = series("displacement", "mm", "30m", max_silence="3h", noise_floor_mm=0.5)
WHO = {"author": "test", "reason": "parity"}
OVER = {"stations": ["G*"], "direction": "norm"} | bounds(yellow="10 6h", orange="40 6h", red="80 6h")
SITE = (
    head("parity", "Parity", 46.2, 8.9, timezone="Europe/Zurich", levels=FOUR)
    + criterion("velocity", **OVER, dwell={"hits": 2, "of": 3}, recover=0.6, valid_for="12h", **WHO)
    + criterion("rain_sum", series="R1.rain", **bounds(yellow="60 24h"), **WHO)
    + table("[[recipient]]", name="duty", channels=["log"], levels=["yellow", "orange", "red"])
    + "".join(station(f"G{i}", MOVES) for i in range(3))
    + station("R1", series("rain", "mm", "30m", max_silence="3h"))
)


def record(solution: str | None = None) -> list[Messages]:
    """48 hours in blocks of six: creep, an acceleration of two stations from hour 18 on, and rain."""
    noise = random.Random(5)
    blocks: list[Messages] = []
    for block in range(BLOCKS):
        messages: Messages = []
        for step in range(int(BLOCK / STEP)):
            at = START + block * BLOCK + step * STEP
            hours = (at - START) / timedelta(hours=1)
            for i in range(3):
                moved = 0.02 * hours + (0.12 * max(0.0, hours - 18.0) ** 2 if i < 2 else 0.0)
                body: dict[str, Any] = {
                    "time": at.isoformat(),
                    "gnss": {
                        "enu_mm": [moved + noise.gauss(0, 0.1), noise.gauss(0, 0.1), noise.gauss(0, 0.3)],
                        "cov_mm2": [0.01, 0.01, 0.09, 0.0, 0.0, 0.0],
                        "epoch0": "2025-11-03T00:00:00Z",
                        "frame": "local",
                    },
                }
                if solution:
                    body["gnss"]["solution"] = solution
                messages.append((f"slopeward/v1/parity/G{i}/obs", json.dumps(body).encode()))
            rain = {"time": at.isoformat(), "rain_mm": 1.5 if 20 < hours < 46 else 0.0}
            messages.append(("slopeward/v1/parity/R1/obs", json.dumps(rain).encode()))
        blocks.append(messages)
    return blocks


def shuffled(blocks: Sequence[Messages]) -> list[Messages]:
    mixed = [list(b) for b in blocks]
    for b in mixed:
        random.Random(1).shuffle(b)
    return mixed


def doubled(blocks: Sequence[Messages]) -> list[Messages]:
    return [[m for m in b for _ in range(2)] for b in blocks]


def one_clock_ahead(blocks: Sequence[Messages]) -> list[Messages]:
    """A fourth station whose clock runs 26 h ahead speaks as well: stored, flagged, never in a window."""
    ahead: list[Messages] = []
    for index, block in enumerate(blocks):
        extra = []
        for step in range(int(BLOCK / STEP)):
            at = START + index * BLOCK + step * STEP + timedelta(hours=26)
            body = {"time": at.isoformat(), "displacement_mm": float(500 * step)}
            extra.append(("slopeward/v1/parity/G9/obs", json.dumps(body).encode()))
        ahead.append(list(block) + extra)
    return ahead


def rapid_then_final(_: Sequence[Messages]) -> list[Messages]:
    return [a + b for a, b in zip(record("rapid"), record("final"), strict=True)]


VARIANTS: dict[str, Callable[[Sequence[Messages]], list[Messages]]] = {
    "shuffled": shuffled,
    "doubled": doubled,
    "one clock ahead": one_clock_ahead,
    "rapid then final": rapid_then_final,
}


@pytest.fixture
def shanghai() -> Iterator[None]:
    """The service's own process lives in another zone than its database and its site."""
    before = os.environ.get("TZ")
    os.environ["TZ"] = "Asia/Shanghai"
    time.tzset()
    yield
    os.environ.pop("TZ") if before is None else os.environ.update(TZ=before)
    time.tzset()


def run(database: Database, broker_url: str, blocks: Sequence[Messages], name: str) -> None:
    site: Site = parse_site(SITE, "parity.toml")
    site = replace(site, version="0" * 64) if not site.version else site
    clock = Clock(START)
    tell(database, save_site, site, "test", "parity", START)
    with Player(database, broker_url, {site.id: site}, clock, client_id=f"parity-{name.replace(' ', '-')}") as player:
        for index, block in enumerate(blocks):
            clock.now = START + (index + 1) * BLOCK
            player.publish(block)
            evaluate_site(database, site, clock.now, "data")


def history(database: Database) -> list[tuple[Any, ...]]:
    """What people were told: every change of every alert, without surrogate keys."""
    a, e = alert.c, alert_event.c
    query = (
        select(a.site, a.ledger, a.key, e.sequence, e.at, e.data_time, e.from_level, e.to_level, e.to_state, e.reason)
        .join(alert, a.id == e.alert_id)
        .order_by(e.at, a.ledger, a.key, e.sequence)
    )
    return [tuple(row) for row in ask(database, lambda c: c.execute(query))]


def views(database: Database) -> dict[str, list[str]]:
    """Every public view as sorted canonical JSON."""
    found = {}
    with database.read() as c:
        for name in load_view_tables():
            rows = c.execute(text(f"SELECT * FROM {name}")).mappings().all()
            plain = [_without_clock({k: _plain(v) for k, v in row.items()}) for row in rows]
            found[name] = sorted(json.dumps(row, sort_keys=True, default=str) for row in plain)
    return found


def _without_clock(row: dict[str, Any]) -> dict[str, Any]:
    """A row without what the machine's own clock puts there: the instant of a seal, and every hash behind it."""
    if row.get("action") == SEAL:
        row.pop("at")
    return {k: v for k, v in row.items() if k not in ("hash", "previous_hash")}


def _plain(value: Any) -> Any:
    # SQLite has no boolean of its own: 0 and 1 stand for it
    return int(value) if isinstance(value, bool) else value


@pytest.fixture
def sqlite_database(sqlite_url: str) -> Iterator[Database]:
    opened = Database(sqlite_url)
    yield opened
    opened.close()


@pytest.fixture
def postgresql_database(postgresql_url: str) -> Iterator[Database]:
    opened = Database(postgresql_url)
    yield opened
    opened.close()


@pytest.mark.usefixtures("shanghai")
def test_both_databases_show_the_same(sqlite_database: Database, postgresql_database: Database, mosquitto: Any) -> None:
    blocks = record()
    run(sqlite_database, mosquitto.url, blocks, "sqlite")
    run(postgresql_database, mosquitto.url, blocks, "postgresql")
    told = history(sqlite_database)
    assert max(row[7] for row in told if row[1] == "hazard") == 3, "the record must reach the top, or it proves nothing"
    assert told == history(postgresql_database)
    left, right = views(sqlite_database), views(postgresql_database)
    for name in load_view_tables():
        assert left[name] == right[name], name
    assert len([name for name in load_view_tables() if left[name]]) >= 8


@pytest.fixture(scope="module")
def told_in_order() -> list[list[tuple[Any, ...]]]:
    """SQLite's history where everything came in order, once for all variants: empty before the first of them."""
    return []


@pytest.mark.usefixtures("shanghai")
@pytest.mark.parametrize("variant", sorted(VARIANTS))
def test_the_way_it_came_does_not_matter(sqlite_database, postgresql_database, mosquitto, variant, told_in_order):
    if not told_in_order:
        run(sqlite_database, mosquitto.url, record(), "reference")
        told_in_order.append(history(sqlite_database))
    run(postgresql_database, mosquitto.url, VARIANTS[variant](record()), variant)
    assert told_in_order == [history(postgresql_database)]
