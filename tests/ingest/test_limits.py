"""Limits for senders that flood, invent stations or send unreadable messages. Other senders are not affected."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import event, func, select, text

from monitor.decision import cost
from monitor.errors import StoreBusyError
from monitor.ingest import admission
from monitor.ingest import pipeline as module
from monitor.ingest.message import BrokerMessage
from monitor.ingest.pipeline import Pipeline
from monitor.ingest.queries import messages
from monitor.ingest.queries.messages import MOST_BOOTS, MOST_SENDERS, OTHERS
from monitor.ingest.replay import replay_rejected
from monitor.ingest.tables import rejected_message, sequence_state
from monitor.readings.queries.storing import add_observations
from monitor.settings.service import parse_service
from monitor.sites.parsing import parse_site
from monitor.sites.records import Binding, Level, Site, Station
from monitor.storage import prune
from monitor.storage.retention import RetentionLimits
from monitor.storage.views import load_view

NOW = datetime(2026, 3, 1, 7, tzinfo=UTC)
LIMITS = """
[limits]
readings_per_s = 10.0
readings_at_once = 100
undeclared_stations = 3
quarantine_mb = 1
quarantine_source_mb = 1
"""


def make_station(name):
    return Station(name, 46.0, 9.0, None, None, None, None, None, None, True, ())


SITE = Site(
    "north", "North", 46.0, 9.0, "UTC", (Level(0, "green", False),), (make_station("G1"), make_station("G2")), ()
)


class Clock:
    now = NOW

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def pipeline(database, clock):
    return Pipeline(database, {"north": SITE}, clock, parse_service(LIMITS, "test").limits)


def make_reading(n, station="G1", at=NOW, client="live"):
    body = {"time": (NOW - timedelta(days=2) + timedelta(seconds=n)).isoformat(), "rain_mm": 1.0}
    return BrokerMessage(f"slopeward/v1/north/{station}/obs", json.dumps(body).encode(), at, client)


def make_unreadable_message(n, topic="slopeward/v1/north/G9/obs", size=20_000):
    return BrokerMessage(topic, b"%d %s" % (n, b"x" * size), NOW, "live")


def count_rows(database, table):
    with database.read() as c:
        return c.execute(select(func.count()).select_from(table)).scalar_one()


def load_sources(database):
    with database.read() as c:
        return {row["source"]: row for row in load_view(c, "quarantine_sources")}


# ---- one device that sends too fast ----------------------------------------------------------------------------
def test_flooding_device_is_slowed_and_others_are_not(pipeline, database):
    flood = [make_reading(n) for n in range(500)]
    outcome = pipeline.store([*flood, *(make_reading(n, "G2") for n in range(50))])
    assert (outcome.added.stored, outcome.rejected) == (150, 400)
    with database.read() as c:
        rows = c.execute(text("SELECT code, min(reason), count(*) FROM rejected_messages GROUP BY code")).all()
    assert [(code, n) for code, _, n in rows] == [("rate_limited", 400)]
    assert "slopeward/v1/north/G1 sends more than 10 readings a second" in rows[0][1]
    later = NOW + timedelta(seconds=5)
    assert pipeline.store([make_reading(1000 + n, at=later) for n in range(80)]).added.stored == 50
    pipeline._clock.now = NOW + timedelta(hours=1)
    assert replay_rejected(pipeline, pipeline._clock).stored == 430, (
        "the limit applied to a replay that an operator requested"
    )


def test_windows_of_a_station_are_limited_and_others_keep_theirs(database, clock, monkeypatch):
    monkeypatch.setattr(cost, "SLOW_ROWS", 100)
    site = parse_site(Path("configs/sites/north-bench.toml").read_text(), "north-bench.toml")
    pipeline = Pipeline(database, {site.id: site}, clock)

    def crack(n, station="E1", days=0.0):
        at = (NOW - timedelta(seconds=n, days=days)).isoformat()
        body = {"time": at, "crack_opening_mm" if station == "E1" else "displacement_up_mm": 1.0 + n}
        return BrokerMessage(f"slopeward/v1/{site.id}/{station}/obs", json.dumps(body).encode(), NOW, "live")

    limit = int(cost.compute_reading_limits(site)["E1"].rows)
    assert 100 <= limit < 2000
    outcome = pipeline.store([crack(n) for n in range(limit + 300)])
    assert (outcome.added.stored, outcome.rejected) == (limit, 300)
    assert pipeline.store([crack(n, "G1") for n in range(50)]).rejected == 0
    assert pipeline.store([crack(n, days=60.0) for n in range(300)]).rejected == 0  # older than every window
    with database.read() as c:
        [reason] = c.execute(text("SELECT DISTINCT reason FROM rejected_messages")).scalars()
    assert reason.startswith("north-bench/E1 sends more readings than an evaluation of its site can read")


def test_senders_of_new_names_do_not_use_the_limit_of_declared_stations(pipeline, monkeypatch):
    monkeypatch.setattr(admission, "MOST_SENDERS", 3)
    pipeline.store([make_reading(n, f"X{n}") for n in range(300)])  # uses up the common share of undeclared senders
    outcome = pipeline.store([make_reading(n) for n in range(50)])
    assert (outcome.added.stored, outcome.rejected) == (50, 0)
    assert pipeline.store([make_reading(n, "X400") for n in range(5)]).rejected == 5


def test_new_topics_of_a_decoder_do_not_use_the_limit_of_declared_stations(database, clock, monkeypatch):
    """A flood for invented stations or for one declared station does not affect the limits of other stations."""
    monkeypatch.setattr(admission, "MOST_SENDERS", 3)
    site = replace(SITE, decoders=(Binding("app/+/up", "rows"),))
    pipeline = Pipeline(database, {"north": site}, clock, parse_service(LIMITS, "test").limits)

    def by_device(n, station, device):
        body = {**json.loads(make_reading(n).payload), "station": station, "quantity": "rain_mm", "value": 1.0}
        body.pop("rain_mm")
        return BrokerMessage(f"app/{device}/up", json.dumps({"rows": [body]}).encode(), NOW, "live")

    for station in ("X", "G1"):
        assert pipeline.store([by_device(n, station, f"{station}{n}") for n in range(400)]).rejected >= 290
    outcome = pipeline.store([by_device(n, "G2", "an honest one") for n in range(60)])
    assert (outcome.added.stored, outcome.rejected) == (60, 0)
    assert pipeline.store([make_reading(1000 + n, "G1") for n in range(60)]).rejected == 0, (
        "the flood on other topics used up the limit of the topic of G1"
    )


def test_retries_while_the_database_is_locked_do_not_use_up_the_limit(pipeline, database, monkeypatch):
    def busy(*_, **__):
        raise StoreBusyError("locked")

    monkeypatch.setattr(module, "add_observations", busy)
    for _ in range(20):
        with pytest.raises(StoreBusyError):
            pipeline.store([make_reading(n) for n in range(90)])
    monkeypatch.setattr(module, "add_observations", add_observations)
    assert pipeline.store([make_reading(n) for n in range(90)]).added.stored == 90


def test_imported_files_have_no_rate_limit(pipeline):
    assert pipeline.store([make_reading(n, client="file:a.csv") for n in range(500)]).added.stored == 500


def test_clock_that_jumps_back_neither_refills_nor_blocks_the_limit(pipeline, database):
    assert pipeline.store([make_reading(n) for n in range(100)]).added.stored == 100
    back = NOW - timedelta(hours=1)
    assert pipeline.store([make_reading(200, at=back)]).added.stored == 0
    assert pipeline.store([make_reading(300, at=back + timedelta(seconds=1))]).added.stored == 1


# ---- undeclared stations -------------------------------------------------------------------------------
def test_invented_stations_are_limited_and_declared_ones_always_stored(pipeline, database, clock):
    outcome = pipeline.store([make_reading(n, f"X{n}") for n in range(40)])
    assert (outcome.added.stored, outcome.rejected) == (3, 37)
    assert pipeline.store([make_reading(0), make_reading(0, "G2"), make_reading(99, "X1")]).added.stored == 3
    # The count of undeclared stations survives a restart.
    restarted = Pipeline(database, {"north": SITE}, clock, parse_service(LIMITS, "test").limits)
    assert restarted.store([make_reading(1, "Y"), make_reading(100, "X2")]).added.stored == 1
    with database.read() as c:
        reason = c.execute(text("SELECT reason FROM rejected_messages WHERE code = 'too_many_stations'")).scalar()
        stations = c.execute(text("SELECT count(DISTINCT station) FROM series")).scalar()
    assert "no site file declares station" in reason
    assert stations == 5
    extended_site = Site(
        "north", "North", 46.0, 9.0, "UTC", (Level(0, "green", False),), (make_station("G1"), make_station("X39")), ()
    )
    clock.now = NOW + timedelta(minutes=1)
    extended_pipeline = Pipeline(database, {"north": extended_site}, clock, parse_service(LIMITS, "test").limits)
    assert replay_rejected(extended_pipeline, clock).stored == 1  # X39 is declared now


# ---- sequence numbers ---------------------------------------------------------------------------------
def make_counted_reading(boot_id, seq, station="G1", source="logger", at=NOW):
    body = {"time": (NOW - timedelta(days=1) + timedelta(seconds=boot_id + seq)).isoformat(), "rain_mm": 1.0}
    payload = json.dumps({**body, "source": source, "boot_id": boot_id, "seq": seq}).encode()
    return BrokerMessage(f"slopeward/v1/north/{station}/obs", payload, at, "live")


def test_invented_boots_and_sources_are_dropped_and_others_stay(database, clock):
    pipeline = Pipeline(database, {"north": SITE}, clock, parse_service("", "test").limits)
    pipeline.store([make_counted_reading(1, 1, "G2", "honest"), make_counted_reading(1, 3, "G2", "honest")])
    for start in (0, 1000):  # within one batch, and over two batches
        invented = [make_counted_reading(start + n, 5, source=f"s{n % 7}") for n in range(1000)]
        assert pipeline.store(invented).added.stored == 1000  # the readings are stored
    with database.read() as c:
        rows = c.execute(text("SELECT station, count(*), max(boot_id) FROM sequence_state GROUP BY station")).all()
    assert sorted(tuple(row) for row in rows) == [("G1", MOST_BOOTS, 1999), ("G2", 1, 1)]
    assert (
        pipeline.store([make_counted_reading(1999, 8, source=f"s{999 % 7}")]).gaps == 1
    )  # the state of the newest boot is still stored
    pipeline.store([make_counted_reading(1, 2, "G2", "honest")])
    with database.read() as c:
        waiting = c.execute(text("SELECT station FROM sequence_gap WHERE filled_at IS NULL")).scalars().all()
    assert waiting == ["G1"]


def test_number_of_statements_does_not_grow_with_the_number_of_boots(database, clock):
    pipeline = Pipeline(database, {"north": SITE}, clock, parse_service("", "test").limits)
    statements = []
    event.listen(database.engine, "before_cursor_execute", lambda _c, _cursor, sql, *_: statements.append(sql))

    def count_statements(messages):
        statements.clear()
        pipeline.store(messages)
        return sum("sequence_state" in sql for sql in statements)

    single_boot_count = count_statements([make_counted_reading(7, n) for n in range(900)])
    assert count_statements([make_counted_reading(10_000 + n, 1) for n in range(900)]) <= single_boot_count + 6


def test_gaps_in_the_counters_of_one_sender_are_limited(database, clock, monkeypatch):
    monkeypatch.setattr(messages, "MOST_GAPS", 20)
    pipeline = Pipeline(database, {"north": SITE}, clock, parse_service("", "test").limits)
    assert pipeline.store([make_counted_reading(1, 2 * n) for n in range(50)]).gaps == 20
    assert pipeline.store([make_counted_reading(1, 200 + 2 * n) for n in range(50)]).gaps == 0
    assert pipeline.store([make_counted_reading(1, 2 * n, "G2", "other") for n in range(10)]).gaps == 9
    assert pipeline.store([make_counted_reading(1, 2 * n + 1) for n in range(10)]).gaps == 0  # fills ten gaps
    assert pipeline.store([make_counted_reading(1, 900), make_counted_reading(1, 902)]).gaps == 2


def test_sequence_state_of_rejected_stations_is_not_stored(pipeline, database):
    empty = json.dumps({"time": NOW.isoformat(), "rain_mm": None, "source": "l", "boot_id": 1, "seq": 1}).encode()
    for n in range(30):
        nothing = BrokerMessage(f"slopeward/v1/north/Y{n}/obs", empty, NOW, "live")
        pipeline.store([make_counted_reading(1, n, f"X{n}", f"l{n}"), nothing])
    assert count_rows(database, sequence_state) == 3


# ---- unreadable messages -------------------------------------------------------------------------------------------
def test_invalid_messages_of_one_sender_are_limited_and_counted(database, clock):
    limits = LIMITS.replace("quarantine_mb = 1", "quarantine_mb = 2")
    pipeline = Pipeline(database, {"north": SITE}, clock, parse_service(limits, "test").limits)
    outcomes = [
        pipeline.store([make_unreadable_message(n) for n in range(start, start + 40)]) for start in range(0, 200, 40)
    ]
    source, other_source = "slopeward/v1/north/G9", "slopeward/v1/north/G2"
    quarantine = load_sources(database)[source]
    assert quarantine["kept_bytes"] <= 1_000_000
    assert quarantine["kept_rows"] == count_rows(database, rejected_message) == 48
    assert quarantine["unkept"] == sum(o.unkept for o in outcomes) == 152
    # Other sources keep their own quota.
    assert pipeline.store([BrokerMessage(f"{other_source}/obs", b"{", NOW, "live")]).unkept == 0
    assert load_sources(database)[other_source]["kept_rows"] == 1


def test_invalid_messages_of_new_names_share_one_limit(pipeline, database):
    for start in range(0, 3000, 500):
        pipeline.store([make_unreadable_message(n, f"slopeward/v1/s{n}/g/obs", 400) for n in range(start, start + 500)])
    rows = load_sources(database)
    assert len(rows) == MOST_SENDERS + 1
    assert rows[OTHERS]["unkept"] > 0
    with database.read() as c:
        size = c.execute(text("SELECT sum(length(payload)), count(*) FROM rejected_message")).one()
    assert size[0] + 512 * size[1] <= 1_000_000
    assert sum(row["kept_rows"] for row in rows.values()) == size[1]
    assert sum(row["kept_rows"] + row["unkept"] for row in rows.values()) == 3000


def test_repeated_unreadable_message_takes_no_additional_quota(pipeline, database):
    for _ in range(30):
        assert pipeline.store([make_unreadable_message(1), make_unreadable_message(1)]).unkept == 0
    with database.read() as c:
        assert c.execute(text("SELECT times FROM rejected_message")).scalars().all() == [60]


def test_pruning_the_quarantine_frees_its_quota(pipeline, database):
    pipeline.store([make_unreadable_message(n) for n in range(100)])
    before = load_sources(database)["slopeward/v1/north/G9"]
    assert before["unkept"] > 0

    def prune_all(now):
        prune.RetentionRun(database, RetentionLimits({"quarantine": now - timedelta(days=90)}), now).run()

    prune_all(NOW + timedelta(days=89))
    assert load_sources(database)["slopeward/v1/north/G9"] == before
    prune_all(NOW + timedelta(days=91))
    assert (count_rows(database, rejected_message), load_sources(database)) == (0, {})
    assert pipeline.store([make_unreadable_message(n) for n in range(10)]).unkept == 0
