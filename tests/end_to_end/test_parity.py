"""The same information leads to the same alert history in any order, time zone and database."""

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
BLOCK = timedelta(hours=6)  # evaluated only at its end, where every order has delivered the same readings
BLOCKS = 8
Messages = list[tuple[str, bytes]]

DISPLACEMENT = series("displacement", "mm", "30m", max_silence="3h", noise_floor_mm=0.5)
AUTHOR = {"author": "test", "reason": "parity"}
BOUNDS = {"stations": ["G*"], "direction": "norm"} | bounds(yellow="10 6h", orange="40 6h", red="80 6h")
SITE = (
    head("parity", "Parity", 46.2, 8.9, timezone="Europe/Zurich", levels=FOUR)
    + criterion("velocity", **BOUNDS, dwell={"hits": 2, "of": 3}, recover=0.6, valid_for="12h", **AUTHOR)
    + criterion("rain_sum", series="R1.rain", **bounds(yellow="60 24h"), **AUTHOR)
    + table("[[recipient]]", name="duty", channels=["log"], levels=["yellow", "orange", "red"])
    + "".join(station(f"G{i}", DISPLACEMENT) for i in range(3))
    + station("R1", series("rain", "mm", "30m", max_silence="3h"))
)


def make_record(solution: str | None = None) -> list[Messages]:
    """Return 48 hours in blocks of six: creep, an acceleration of two stations from hour 18 on, and rain."""
    random_source = random.Random(5)
    blocks: list[Messages] = []
    for block in range(BLOCKS):
        messages: Messages = []
        for step in range(int(BLOCK / STEP)):
            observed_at = START + block * BLOCK + step * STEP
            hours = (observed_at - START) / timedelta(hours=1)
            for station_number in range(3):
                moved_mm = 0.02 * hours + (0.12 * max(0.0, hours - 18.0) ** 2 if station_number < 2 else 0.0)
                body: dict[str, Any] = {
                    "time": observed_at.isoformat(),
                    "gnss": {
                        "enu_mm": [
                            moved_mm + random_source.gauss(0, 0.1),
                            random_source.gauss(0, 0.1),
                            random_source.gauss(0, 0.3),
                        ],
                        "cov_mm2": [0.01, 0.01, 0.09, 0.0, 0.0, 0.0],
                        "epoch0": "2025-11-03T00:00:00Z",
                        "frame": "local",
                    },
                }
                if solution:
                    body["gnss"]["solution"] = solution
                messages.append((f"slopeward/v1/parity/G{station_number}/obs", json.dumps(body).encode()))
            rain = {"time": observed_at.isoformat(), "rain_mm": 1.5 if 20 < hours < 46 else 0.0}
            messages.append(("slopeward/v1/parity/R1/obs", json.dumps(rain).encode()))
        blocks.append(messages)
    return blocks


def shuffled(blocks: Sequence[Messages]) -> list[Messages]:
    shuffled_blocks = [list(block) for block in blocks]
    for block in shuffled_blocks:
        random.Random(1).shuffle(block)
    return shuffled_blocks


def doubled(blocks: Sequence[Messages]) -> list[Messages]:
    return [[message for message in block for _ in range(2)] for block in blocks]


def one_clock_ahead(blocks: Sequence[Messages]) -> list[Messages]:
    """Add a fourth station whose clock is 26 h ahead. Its readings are stored and flagged, and never in a window."""
    extended_blocks: list[Messages] = []
    for index, block in enumerate(blocks):
        extra_messages = []
        for step in range(int(BLOCK / STEP)):
            observed_at = START + index * BLOCK + step * STEP + timedelta(hours=26)
            body = {"time": observed_at.isoformat(), "displacement_mm": float(500 * step)}
            extra_messages.append(("slopeward/v1/parity/G9/obs", json.dumps(body).encode()))
        extended_blocks.append(list(block) + extra_messages)
    return extended_blocks


def rapid_then_final(_: Sequence[Messages]) -> list[Messages]:
    return [rapid + final for rapid, final in zip(make_record("rapid"), make_record("final"), strict=True)]


VARIANTS: dict[str, Callable[[Sequence[Messages]], list[Messages]]] = {
    "shuffled": shuffled,
    "doubled": doubled,
    "one clock ahead": one_clock_ahead,
    "rapid then final": rapid_then_final,
}


@pytest.fixture
def process_in_shanghai() -> Iterator[None]:
    """Run the process in another time zone than those of the database and the site."""
    previous_zone = os.environ.get("TZ")
    os.environ["TZ"] = "Asia/Shanghai"
    time.tzset()
    yield
    os.environ.pop("TZ") if previous_zone is None else os.environ.update(TZ=previous_zone)
    time.tzset()


def run_service(database: Database, broker_url: str, blocks: Sequence[Messages], name: str) -> None:
    site: Site = parse_site(SITE, "parity.toml")
    site = replace(site, version="0" * 64) if not site.version else site
    clock = Clock(START)
    tell(database, save_site, site, "test", "parity", START)
    with Player(database, broker_url, {site.id: site}, clock, client_id=f"parity-{name.replace(' ', '-')}") as player:
        for index, block in enumerate(blocks):
            clock.now = START + (index + 1) * BLOCK
            player.publish(block)
            evaluate_site(database, site, clock.now, "data")


def load_history(database: Database) -> list[tuple[Any, ...]]:
    """Return every change of every alert without surrogate keys."""
    alert_column, event_column = alert.c, alert_event.c
    query = (
        select(
            alert_column.site,
            alert_column.ledger,
            alert_column.key,
            event_column.sequence,
            event_column.at,
            event_column.data_time,
            event_column.from_level,
            event_column.to_level,
            event_column.to_state,
            event_column.reason,
        )
        .join(alert, alert_column.id == event_column.alert_id)
        .order_by(event_column.at, alert_column.ledger, alert_column.key, event_column.sequence)
    )
    return [tuple(row) for row in ask(database, lambda connection: connection.execute(query))]


def load_views(database: Database) -> dict[str, list[str]]:
    """Return the rows of every public view as sorted canonical JSON."""
    rows_by_view = {}
    with database.read() as connection:
        for name in load_view_tables():
            rows = connection.execute(text(f"SELECT * FROM {name}")).mappings().all()
            plain_rows = [_remove_machine_times({key: _to_plain(value) for key, value in row.items()}) for row in rows]
            rows_by_view[name] = sorted(json.dumps(row, sort_keys=True, default=str) for row in plain_rows)
    return rows_by_view


def _remove_machine_times(row: dict[str, Any]) -> dict[str, Any]:
    """Return the row without values that depend on the machine's clock: the time of a seal, and hashes."""
    if row.get("action") == SEAL:
        row.pop("at")
    return {key: value for key, value in row.items() if key not in ("hash", "previous_hash")}


def _to_plain(value: Any) -> Any:
    # SQLite stores booleans as 0 and 1.
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


@pytest.mark.usefixtures("process_in_shanghai")
def test_both_databases_contain_the_same_history_and_views(
    sqlite_database: Database, postgresql_database: Database, mosquitto: Any
) -> None:
    blocks = make_record()
    run_service(sqlite_database, mosquitto.url, blocks, "sqlite")
    run_service(postgresql_database, mosquitto.url, blocks, "postgresql")
    history_rows = load_history(sqlite_database)
    assert max(row[7] for row in history_rows if row[1] == "hazard") == 3, (
        "the record must reach the top, or it proves nothing"
    )
    assert history_rows == load_history(postgresql_database)
    sqlite_views, postgresql_views = load_views(sqlite_database), load_views(postgresql_database)
    for name in load_view_tables():
        assert sqlite_views[name] == postgresql_views[name], name
    assert len([name for name in load_view_tables() if sqlite_views[name]]) >= 8


@pytest.fixture(scope="module")
def ordered_history() -> list[list[tuple[Any, ...]]]:
    """Return a list for the history on SQLite with readings in order. The first variant fills it."""
    return []


@pytest.mark.one_case_in(4)
@pytest.mark.usefixtures("process_in_shanghai")
@pytest.mark.parametrize("variant", sorted(VARIANTS))
def test_order_and_repetition_of_messages_do_not_change_the_history(
    sqlite_database, postgresql_database, mosquitto, variant, ordered_history
):
    if not ordered_history:
        run_service(sqlite_database, mosquitto.url, make_record(), "reference")
        ordered_history.append(load_history(sqlite_database))
    run_service(postgresql_database, mosquitto.url, VARIANTS[variant](make_record()), variant)
    assert ordered_history == [load_history(postgresql_database)]
