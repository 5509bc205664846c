"""Ingest pipeline: isolate messages that break a transaction, and retry after temporary faults of the database."""

import json
import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import event, text

from monitor.errors import StoreBusyError
from monitor.ingest import pipeline as module
from monitor.ingest.message import BrokerMessage
from monitor.ingest.payload_limits import BEGINNING_BYTES, PAYLOAD_LIMIT
from monitor.ingest.pipeline import Pipeline
from monitor.ingest.queries.messages import (
    Quota,
    RejectedMessage,
    SequenceMark,
    add_rejected,
    load_rejected,
    note_sequences,
)
from monitor.ingest.replay import replay_rejected
from monitor.readings.queries.storing import add_observations
from monitor.sites.records import Level, Site
from tests.data.payloads import published
from tests.data.store_rows import tell
from tests.fixtures.databases import ON_BOTH

NOW = datetime(2026, 3, 1, 7, tzinfo=UTC)
SITE = Site("north", "North", 46.0, 9.0, "UTC", (Level(0, "green", False),), (), ())


@pytest.fixture
def pipeline(database):
    return Pipeline(database, {"north": SITE}, lambda: NOW)


def message(n, **more):
    at = (NOW + timedelta(minutes=n) - timedelta(days=1)).isoformat()
    payload = json.dumps({"time": at, "rain_mm": n, **more}).encode()
    return BrokerMessage("slopeward/v1/north/G1/obs", payload, NOW, "live")


def ask(database, sql):
    with database.read() as c:
        return [tuple(r) for r in c.execute(text(sql))]


@ON_BOTH
def test_one_message_that_the_database_refuses_does_not_stop_the_others(pipeline, database, monkeypatch):
    def refuse_seven(connection, observations, *rest, **more):
        if any(o.value == 7 for o in observations):
            raise ValueError("seven is poison")
        return add_observations(connection, observations, *rest, **more)

    monkeypatch.setattr(module, "add_observations", refuse_seven)
    outcome = pipeline.store([message(n) for n in range(10)])
    assert (outcome.added.stored, outcome.rejected, outcome.unwritten) == (9, 1, ())
    rejection = ("store_refused", "the database refused it: seven is poison")
    assert ask(database, "select code, reason from rejected_message") == [rejection]
    assert sorted(v for (v,) in ask(database, "select value_raw from observation")) == [0, 1, 2, 3, 4, 5, 6, 8, 9]


def test_sites_whose_news_cannot_change_a_vote_are_reported(pipeline):
    assert pipeline.store([message(1)]).without_votes == {"north"}
    assert not pipeline.store([message(2), message(3, displacement_east_mm=1.0)]).without_votes


def test_message_that_cannot_be_stored_or_quarantined_is_not_acknowledged(pipeline, database, monkeypatch):
    poison = message(7)
    monkeypatch.setattr(module, "add_observations", lambda *_: (_ for _ in ()).throw(ValueError("no")))
    monkeypatch.setattr(module, "add_rejected", lambda *_: (_ for _ in ()).throw(ValueError("no either")))
    assert pipeline.store([poison]).unwritten == (poison,)


def test_busy_database_stores_nothing_of_a_batch(pipeline, database, monkeypatch):
    def busy(*_):
        raise StoreBusyError("locked")

    batch = [message(n) for n in range(5)]
    with monkeypatch.context() as patch:
        patch.setattr(module, "note_sequences", busy)
        with pytest.raises(StoreBusyError):
            pipeline.store([*batch, message(9, source="a", boot_id=1, seq=1)])
    assert ask(database, "select count(*) from observation") == [(0,)]
    assert ask(database, "select count(*) from series") == [(0,)]
    assert (pipeline.store(batch).added.stored, pipeline.store(batch).added.duplicates) == (5, 5)


def test_readings_are_stored_before_the_quarantine(pipeline, database, monkeypatch):
    unreadable = BrokerMessage("slopeward/v1/north/G2/obs", b"{", NOW, "live")
    outcome = pipeline.store([unreadable, message(1), unreadable], readings_first=True)
    assert (outcome.added.stored, outcome.rejected, len(outcome.waiting)) == (1, 2, 2)
    counts = "select (select count(*) from observation), (select count(*) from rejected_message)"
    assert ask(database, counts) == [(1, 0)]
    with monkeypatch.context() as patch:
        patch.setattr(module, "add_rejected", lambda *_: (_ for _ in ()).throw(StoreBusyError("locked")))
        rejections = module.PendingRejections(list(outcome.waiting))
        with pytest.raises(StoreBusyError):
            pipeline.store_rejected(rejections)
    pipeline.store_rejected(rejections)
    assert rejections == module.PendingRejections([])
    assert ask(database, "select topic, times from rejected_message") == [("slopeward/v1/north/G2/obs", 2)]
    assert not pipeline.store([unreadable]).waiting, (
        "without `readings_first` rejected messages are stored in the same transaction"
    )


def test_large_payloads_are_quarantined_in_separate_portions(pipeline, monkeypatch):
    sizes = []
    monkeypatch.setattr(
        module, "add_rejected", lambda _c, rejected, _q: sizes.append([len(m.payload) for m in rejected]) or 0
    )
    lengths = (5, 6, 1 << 20, 7, 100_000, 150_000, 8)
    unreadable = [BrokerMessage("slopeward/v1/north/G2/obs", b"x" * n, NOW, "live") for n in lengths]
    rejections = module.PendingRejections(list(pipeline.store(unreadable, readings_first=True).waiting))
    while rejections.waiting:
        pipeline.store_rejected(rejections)
    assert sizes == [[5, 6, 7, 8], [1 << 20], [100_000, 150_000]], "the small payloads come first, in one portion"


def test_message_that_cannot_be_quarantined_does_not_affect_the_others(pipeline, database, monkeypatch):
    busy = [StoreBusyError("locked")]

    def refuse(connection, messages, quota=None):
        if any(m.payload == b"poison" for m in messages):
            raise ValueError("no")
        if len(messages) == 1 and len(messages[0].payload) == 2 and busy:
            raise busy.pop()
        return add_rejected(connection, messages, quota)

    monkeypatch.setattr(module, "add_rejected", refuse)
    poison = BrokerMessage("slopeward/v1/north/G2/obs", b"poison", NOW, "live")
    others = [BrokerMessage("slopeward/v1/north/G3/obs", b"{" * n, NOW, "live") for n in (1, 2)]
    outcome = pipeline.store([message(1), others[0], poison, others[1]], readings_first=True)
    rejections = module.PendingRejections([*outcome.waiting[:2], *outcome.waiting[1:]])  # two rejections of one message
    with pytest.raises(StoreBusyError):
        pipeline.store_rejected(rejections)
    assert rejections.waiting == [outcome.waiting[2]], "a stored rejection was kept in the list"
    pipeline.store_rejected(rejections)
    assert rejections == module.PendingRejections([], 0, [poison])
    assert ask(database, "select times from rejected_message") == [(1,), (1,)]


@ON_BOTH
def test_retained_rejection_becomes_live_when_the_message_arrives_live(pipeline, database):
    topic, later = "slopeward/v1/north/G2/obs", NOW + timedelta(minutes=5)
    retained_message = BrokerMessage(topic, b"{", NOW, "live", retained=True)
    live_message = BrokerMessage(topic, b"{", later, "live")
    pipeline.store([retained_message])
    pipeline.store([retained_message, live_message])
    pipeline.store([retained_message])
    with database.read() as c:
        (row,) = load_rejected(c)
    assert (row.retained, row.received_at, row.times) == (False, later, 4)


@pytest.mark.parametrize("quota", [Quota(), Quota(0, 0)], ids=["kept", "counted only"])
def test_number_of_statements_does_not_grow_with_rejected_messages(database, quota):
    """Readings wait during each statement. This holds for new and known messages and for those above the quota."""

    def count_statements(messages):
        statements = []
        with database.write() as c:
            event.listen(c, "before_cursor_execute", lambda *arguments: statements.append(arguments[2]))
            add_rejected(c, messages, quota)
        return len(statements)

    def refuse(numbers):
        return [RejectedMessage(NOW, f"slopeward/v1/north/G{k}/obs", b"%d" % k, "no", "no", "live") for k in numbers]

    for name in ("new", "known"):
        assert count_statements(refuse(range(2))) == count_statements(refuse(range(2, 200))), name


@ON_BOTH
def test_oversized_payload_is_stored_in_part_and_not_replayed(pipeline, database):
    reading_payload = message(1).payload
    for size in (PAYLOAD_LIMIT, PAYLOAD_LIMIT + 1):  # the beginning of the payload is a valid reading
        text = BrokerMessage(
            "slopeward/v1/nowhere/G1/obs", reading_payload + b" " * (size - len(reading_payload)), NOW, "live"
        )
        assert pipeline.store([text]).rejected == 1
    rows = ask(database, "select payload_bytes, length(payload) from rejected_message order by id")
    assert rows == [(PAYLOAD_LIMIT, PAYLOAD_LIMIT), (PAYLOAD_LIMIT + 1, BEGINNING_BYTES)]
    extended_pipeline = Pipeline(database, {"nowhere": replace(SITE, id="nowhere")}, lambda: NOW + timedelta(days=1))
    result = replay_rejected(extended_pipeline, lambda: NOW + timedelta(days=1))
    assert (result.accepted, result.waiting) == (1, 1)


@ON_BOTH
def test_a_second_process_may_write_the_same_keys(pipeline, database):
    other = Pipeline(database, {"north": SITE}, lambda: NOW)
    pipeline.store([message(0)])
    other.store([message(n) for n in range(3)])
    outcome = pipeline.store([message(n) for n in range(5)])
    assert (outcome.added.stored, outcome.added.duplicates) == (2, 3)


def gnss(epoch0, n=0):
    at = (NOW + timedelta(minutes=n) - timedelta(days=1)).isoformat()
    block = {"enu_mm": [1 + n, 2, 3], "frame": "local", "epoch0": epoch0}
    return BrokerMessage("slopeward/v1/north/G1/obs", json.dumps({"time": at, "gnss": block}).encode(), NOW, "live")


def test_reference_of_a_station_survives_a_restart(pipeline, database):
    pipeline.store([gnss("2025-01-01T00:00:00Z")])
    later = Pipeline(database, {"north": SITE}, lambda: NOW)
    outcome = later.store([gnss("2025-06-01T00:00:00Z", 1), gnss("2025-01-01T00:00:00+00:00", 2)])
    assert (outcome.added.stored, outcome.rejected) == (3, 1)
    assert ask(database, "select code from rejected_message") == [("other_epoch0",)]


@ON_BOTH
def test_shuffled_and_repeated_messages_leave_no_gap_and_no_duplicate(pipeline, database):
    order = [3, 1, 2, 0, 2, 5, 4, 3, 9, 8, 7, 6]
    for start in range(0, len(order), 4):
        pipeline.store([message(n, source="l", boot_id=1, seq=n) for n in order[start : start + 4]])
    assert ask(database, "select count(*) from observation") == [(10,)]
    assert ask(database, "select count(*) from sequence_gap where filled_at is null") == [(0,)]
    assert ask(database, "select last_seq from sequence_state") == [(9,)]


def test_replay_reads_sparkplug_data_after_the_birth_of_the_node(database):
    node = "spBv1.0/tedge/{}/sim-cnc01"
    undeclared = Pipeline(database, {}, lambda: NOW)
    birth = published.NBIRTH[:-1] + b"\x0d"  # sequence number 13; that of the data is 14
    messages = [(node.format("NBIRTH"), birth), (node.format("NDATA"), published.NDATA)]
    assert undeclared.store([BrokerMessage(topic, payload, NOW, "live") for topic, payload in messages]).rejected == 2
    pipeline = Pipeline(database, {"north": published.SITE}, lambda: NOW + timedelta(days=1))
    replay = replay_rejected(pipeline, lambda: NOW + timedelta(days=1))
    assert (replay.accepted, replay.stored, replay.waiting) == (2, 6, 0)


def test_replay_does_not_date_retained_messages_by_reception(database):
    pipeline = Pipeline(database, {"north": published.SITE}, lambda: NOW)
    retained_message = BrokerMessage("homie/super-car/engine/temperature", b"21.5", NOW, "live", retained=True)
    assert pipeline.store([retained_message]).rejected == 1
    replay = replay_rejected(pipeline, lambda: NOW + timedelta(days=1))
    assert (replay.stored, replay.reasons) == (0, {"retained": 1})
    undeclared = Pipeline(database, {}, lambda: NOW)  # the site is not declared yet
    retained_message = BrokerMessage("homie/super-car/engine/speed", b"7", NOW, "live", retained=True)
    assert undeclared.store([retained_message]).rejected == 1
    replay = replay_rejected(pipeline, lambda: NOW + timedelta(days=1))
    assert (replay.stored, replay.accepted) == (0, 0)


# ---- sequence numbers --------------------------------------------------------------------------------------------
def note_counts(database, *batches):
    for batch in batches:
        times = [NOW + timedelta(seconds=k) for k in range(len(batch))]
        marks = [SequenceMark("north", "G1", "logger", 7, seq, at) for seq, at in zip(batch, times, strict=True)]
        tell(database, note_sequences, marks, NOW)
    with database.read() as c:
        gaps = c.execute(text("select from_seq, to_seq from sequence_gap where filled_at is null order by from_seq"))
        return {seq for first, last in gaps for seq in range(first, last + 1)}


@pytest.mark.parametrize("modulus", [2**16, 2**32])
@pytest.mark.parametrize(
    ("sent", "missing"),
    [
        (((-3, -2, -1, 0, 1),), ()),
        (((-3, -2), (-1, 0, 1), (2,)), ()),
        (((-3, -2), (1, 2)), (-1, 0)),
        (((-3,), (4,), (-1, 0), (5,)), (-2, 1, 2, 3)),
        (((-3,), (4,), (-2, -1, 0, 1, 2, 3), (5,)), ()),
    ],
)
def test_sequence_number_wraps_to_zero(database, modulus, sent, missing):
    batches = [[seq % modulus for seq in batch] for batch in sent]
    assert note_counts(database, *batches) == {seq % modulus for seq in missing}


@pytest.mark.parametrize("seed", range(10))
def test_gaps_are_the_numbers_that_were_not_received(database, seed):
    rng = random.Random(seed)
    modulus = rng.choice([2**16, 2**32])
    numbers = range(rng.randint(-60, -2), rng.randint(2, 60))
    received = [numbers[0], *[n for n in numbers[1:-1] if rng.random() < 0.7], numbers[-1]]
    cuts = sorted(rng.sample(range(1, len(received)), min(3, len(received) - 1)))
    batches = [received[a:b] for a, b in zip([0, *cuts], [*cuts, len(received)], strict=True)]
    missing = {n % modulus for n in {*numbers} - {*received}}
    assert note_counts(database, *[[n % modulus for n in batch] for batch in batches]) == missing
