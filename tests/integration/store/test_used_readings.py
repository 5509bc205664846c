"""A reading that a decision used is named where its row is edited or deleted; what may come later is no fault."""

import json

import pytest
from sqlalchemy import String, and_, delete, select, text, type_coerce, update

from monitor.domain.alert import Actor
from monitor.store.readings.observations import find_series_id
from monitor.store.schema import tables as t
from monitor.store.upkeep import clock_steps, prune
from monitor.store.upkeep.proof import verify
from monitor.store.upkeep.used_readings import AT_ONCE, MOST, find_altered
from tests.data.store_rows import add_flag, ask, enter_offset
from tests.data.watched_slope import HOUR, START, WatchedSlope

EDITS = {
    "value": {"value_raw": 12345.5},
    "error": {"sigma": 9.0},
    "quality": {"flags": "out_of_range"},
    "what came with it": {"extra": '{"fix":"float"}'},
    "its time": None,
    "its reception": {"received_at": START + 999 * HOUR},
}


@pytest.fixture
def slope(database):
    found = WatchedSlope(database)
    found.fail()
    return found


def list_used(c):
    s = t.series.c
    ids = {f"{r.station}.{r.quantity}": r.id for r in c.execute(select(s.id, s.station, s.quantity))}
    frozen = [json.loads(one) for one in c.execute(select(t.decision.c.evidence)).scalars()]
    rows = [pair for one in frozen if "view" in one for pair in one["view"]["readings"].items()]
    return sorted({(ids[name], name, row[0]) for name, some in rows for row in some})


def test_each_edit_and_each_deletion_of_a_used_reading_is_named(slope):
    o = t.observation.c
    with slope.database.write() as c:
        assert list(find_altered(c)) == []
        used = list_used(c)
        assert len(used) > 40
        for k, (series_id, name, at) in enumerate(used):
            key = and_(o.series_id == series_id, type_coerce(o.observed_at, String) == at)
            label, values = list(EDITS.items())[k % len(EDITS)]
            moved = values or {"observed_at": slope.now + HOUR}
            for act in (update(t.observation).where(key).values(moved), delete(t.observation).where(key)):
                with c.begin_nested() as attempt:
                    assert c.execute(act).rowcount == 1
                    (line,) = find_altered(c)
                    assert line.startswith(f"observation bench {name} of {at}, revision 0: "), (label, line)
                    attempt.rollback()
        series_id, name, at = used[7]
        with c.begin_nested() as attempt:
            c.execute(text("DELETE FROM observation WHERE observed_at = :at").bindparams(at=at))
            assert sum("the row is gone" in line for line in verify(c)) == 2
            c.execute(delete(t.observation))
            assert [line for line in find_altered(c) if "more readings" in line]
            assert len(list(find_altered(c))) == 2 * (MOST + 1)
            attempt.rollback()


def test_what_comes_later_and_what_retention_lets_go_is_no_fault(slope, monkeypatch):
    with slope.database.read() as c:
        used = list_used(c)
        series_id = find_series_id(c, "bench", "G1", "crack_opening")
    middle = START + 30 * HOUR
    slope.publish("G1", 1.0, middle + HOUR / 2)  # a late reading
    slope.publish("G1", 99.0, middle, solution="corrected")  # a revision
    with slope.database.write() as c:
        enter_offset(c, series_id, middle, 5.0, slope.now, author=Actor("Ada"))
        for flag in ("doubtful", "-doubtful", "snow"):
            add_flag(c, series_id, middle, flag, slope.now)
    slope.live(4)
    limits = prune.RetentionLimits(*[slope.now + 399 * HOUR] * 3)
    prune.RetentionRun(slope.database, limits, slope.now + 400 * HOUR, pause=lambda _: None).run()
    with slope.database.write() as c:
        assert list(find_altered(c)) == []
        assert len(list_used(c)) > len(used)
        clock_steps.set_back(c, 7200.0, slope.now - 2 * HOUR)
        assert list(find_altered(c)) == []
    noted = []
    monkeypatch.setattr("monitor.store.upkeep.used_readings.AT_ONCE", 50)
    assert list(ask(slope.database, find_altered, lambda n, of: noted.append((n, of)))) == []
    assert noted[-1][0] == noted[-1][1]
    assert 1 < len(noted) <= noted[-1][1] < AT_ONCE


def test_a_flag_that_a_decision_saw_is_missed(slope):
    with slope.database.write() as c:
        series_id = find_series_id(c, "bench", "G1", "crack_opening")
        add_flag(c, series_id, slope.now - 2 * HOUR, "doubtful", slope.now)
    for _ in range(20):  # until a decision is frozen that saw it
        slope.live(1)
    with slope.database.write() as c:
        assert any('"doubtful"' in one for one in c.execute(select(t.decision.c.evidence)).scalars())
        assert list(find_altered(c)) == []
        c.execute(delete(t.observation_flag))
        assert "flags were doubtful and are none" in "\n".join(find_altered(c))
