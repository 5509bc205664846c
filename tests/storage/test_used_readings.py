"""Rows that decisions used are named where they are edited, many rows come as they were, and news is noticed."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import String, and_, delete, select, text, type_coerce, update
from sqlalchemy.exc import IntegrityError

from monitor.alerts.evaluation_tables import decision
from monitor.alerts.queries.events import ChangeDetector, add_event, confirm_event
from monitor.alerts.queries.offsets import confirm_offset, revoke_offset
from monitor.alerts.queries.reports import add_report
from monitor.alerts.queries.used_readings import MAX_LINES, MAX_READINGS, find_altered
from monitor.readings.point_tables import point_observation, point_set
from monitor.readings.queries.observations import find_series_id
from monitor.readings.queries.storing import add_observations
from monitor.readings.records import Observation, ObserverReport, SiteEvent
from monitor.readings.tables import observation, observation_flag, series
from monitor.storage import clock_steps, prune
from monitor.storage.actor import Actor
from monitor.storage.proof import verify
from monitor.storage.retention import RetentionLimits
from monitor.storage.rows import COPY_FROM_ROWS, insert_rows
from tests.data.store_rows import add_flag, ask, enter_offset, tell
from tests.data.watched_slope import HOUR, START, WatchedSlope
from tests.fixtures.databases import ON_SQLITE

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
    s = series.c
    ids = {f"{r.station}.{r.quantity}": r.id for r in c.execute(select(s.id, s.station, s.quantity))}
    frozen = [json.loads(one) for one in c.execute(select(decision.c.evidence)).scalars()]
    rows = [pair for one in frozen if "view" in one for pair in one["view"]["readings"].items()]
    return sorted({(ids[name], name, row[0]) for name, some in rows for row in some})


@ON_SQLITE
def test_each_edit_and_each_deletion_of_a_used_reading_is_named(slope):
    o = observation.c
    with slope.database.write() as c:
        assert list(find_altered(c)) == []
        used = list_used(c)
        assert len(used) > 40
        for k, (series_id, name, at) in enumerate(used):
            key = and_(o.series_id == series_id, type_coerce(o.observed_at, String) == at)
            label, values = list(EDITS.items())[k % len(EDITS)]
            moved = values or {"observed_at": slope.now + HOUR}
            for act in (update(observation).where(key).values(moved), delete(observation).where(key)):
                with c.begin_nested() as attempt:
                    assert c.execute(act).rowcount == 1
                    (line,) = find_altered(c)
                    assert line.startswith(f"observation bench {name} of {at}, revision 0: "), (label, line)
                    attempt.rollback()
        series_id, name, at = used[7]
        with c.begin_nested() as attempt:
            c.execute(text("DELETE FROM observation WHERE observed_at = :at").bindparams(at=at))
            assert sum("the row is gone" in line for line in verify(c)) == 2
            c.execute(delete(observation))
            assert [line for line in find_altered(c) if "more readings" in line]
            assert len(list(find_altered(c))) == 2 * (MAX_LINES + 1)
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
    before_at = slope.now + 399 * HOUR
    limits = RetentionLimits(dict.fromkeys(("observations", "forecasts", "quarantine"), before_at))
    prune.RetentionRun(slope.database, limits, slope.now + 400 * HOUR, pause=lambda _: None).run()
    with slope.database.write() as c:
        assert list(find_altered(c)) == []
        assert len(list_used(c)) > len(used)
        clock_steps.set_back(c, 7200.0, slope.now - 2 * HOUR)
        assert list(find_altered(c)) == []
    noted = []
    monkeypatch.setattr("monitor.alerts.queries.used_readings.MAX_READINGS", 50)
    assert list(ask(slope.database, find_altered, lambda n, of: noted.append((n, of)))) == []
    assert noted[-1][0] == noted[-1][1]
    assert 1 < len(noted) <= noted[-1][1] < MAX_READINGS


def test_a_flag_that_a_decision_saw_is_missed(slope):
    with slope.database.write() as c:
        add_flag(c, find_series_id(c, "bench", "G1", "crack_opening"), slope.now - 2 * HOUR, "doubtful", slope.now)
    for _ in range(20):  # until a decision is frozen that saw it
        slope.live(1)
    with slope.database.write() as c:
        assert any('"doubtful"' in one for one in c.execute(select(decision.c.evidence)).scalars())
        assert list(find_altered(c)) == []
        c.execute(delete(observation_flag))
        assert "flags were doubtful and are none" in "\n".join(find_altered(c))


@pytest.mark.parametrize("count", [3, COPY_FROM_ROWS + 1])
def test_rows_come_back_as_they_were_and_a_key_twice_is_refused(database, count):
    rows = [(k, "s", f"\\N\t{k}\r\n'é", "los", "mm") for k in range(count)]
    tell(database, insert_rows, point_set, rows)
    with pytest.raises(IntegrityError), database.write() as c:
        insert_rows(c, point_set, rows)
    found = ask(database, lambda c: c.execute(select(point_set.c.name).order_by(point_set.c.id)).scalars().all())
    assert found == [row[2] for row in rows]


@pytest.mark.parametrize("count", [4, COPY_FROM_ROWS + 1])
def test_rows_that_are_there_are_passed_by_and_not_counted(database, count):
    rows = [(k, "s", f"{k}", "los", "mm") for k in range(count)]
    with database.write() as c:
        assert insert_rows(c, point_set, rows[:2], unless_there=True) == 2
        assert insert_rows(c, point_set, [(*row[:3], "up", row[4]) for row in rows], unless_there=True) == count - 2
        found = c.execute(select(point_set.c.direction).order_by(point_set.c.id)).scalars().all()
    assert found == ["los"] * 2 + ["up"] * (count - 2)


@pytest.mark.parametrize("count", [7, COPY_FROM_ROWS + 1])
def test_numbers_keep_their_last_bit(database, count):
    odd = (0.1 + 0.2, -0.1, 5e-324, -1.7976931348623157e299, 3.0, 2**53 + 1.0, 1 / 3)
    at = "2026-01-01T00:00:00.000000Z"
    rows = [(2**62 + k, at, k, at, odd[k % 7], None if k % 2 else odd[k % 5]) for k in range(count)]
    tell(database, insert_rows, point_observation, rows)
    found = ask(database, lambda c: c.exec_driver_sql("SELECT * FROM point_observation ORDER BY point_id").all())
    assert [tuple(row) for row in found] == rows
    for bad in (float("nan"), float("inf")):
        with pytest.raises(IntegrityError), database.write() as c:
            insert_rows(c, point_observation, [(1, at, k, at, bad, None) for k in range(count)])


@pytest.mark.parametrize("count", [6, COPY_FROM_ROWS + 2])
def test_whole_numbers_beside_others_are_numbers_all_the_same(database, count):
    """A decoder gives 3 for 3.0: the driver knows no list of both."""
    at, mixed = "2026-01-01T00:00:00.000000Z", (3, 0.5, None)
    rows = [(k, at, k, at, mixed[k % 2], mixed[k % 3]) for k in range(count)]
    tell(database, insert_rows, point_observation, rows)
    with database.read() as c:
        found = c.exec_driver_sql("SELECT value_raw, sigma FROM point_observation ORDER BY point_id").all()
    assert [tuple(row) for row in found] == [row[4:] for row in rows]


T0 = datetime(2026, 3, 1, 6, tzinfo=UTC)
ANNA = Actor("anna")


@pytest.fixture
def look(database):
    with database.write() as c:
        add_observations(c, [Observation(s, "G1", "displacement", "mm", T0, T0, 1.0) for s in ("north", "south")], T0)
    news = ChangeDetector()
    assert ask(database, news.find_changed) == frozenset()
    return lambda: ask(database, news.find_changed)


def test_reports_and_events_of_any_process_are_news_once(database, look):
    seen = ObserverReport("north", T0, "crack", "5 cm", "anna")
    tell(database, add_report, seen, T0, actor=ANNA, credential="account anna")
    assert (look(), look()) == ({"north"}, frozenset())
    with database.write() as c:
        add_event(c, SiteEvent("south", T0, T0, "blasting", "quarry"), T0, "anna", via="mqtt")
        add_report(c, ObserverReport("west", T0, "crack", "6 cm", "anna"), T0, actor=ANNA, credential="account anna")
    assert look() == {"south", "west"}
    number = tell(database, add_event, SiteEvent("south", T0, T0, "earthquake", "M 5"), T0, "feed", via="mqtt")
    assert look() == {"south"}
    tell(database, confirm_event, number, ANNA, "felt", T0 + timedelta(hours=1))
    assert look() == {"south"}


def test_offsets_are_news_when_added_confirmed_and_revoked_and_flags_when_set(database, look):
    with database.write() as c:
        sid = find_series_id(c, "south", "G1", "displacement")
        offset = enter_offset(c, sid, T0, 3.0, T0 + timedelta(hours=1), author=ANNA, known_from=T0)
    assert look() == {"south"}
    for change, hour in ((confirm_offset, 2), (revoke_offset, 3)):
        tell(database, change, offset, ANNA, "seen", T0 + timedelta(hours=hour))
        assert look() == {"south"}
    tell(database, add_flag, sid, T0, "spike", T0)
    assert (look(), look()) == ({"south"}, frozenset())


def test_readings_are_no_news_they_bring_their_own_evaluation(database, look):
    with database.write() as c:
        add_observations(c, [Observation("north", "G1", "displacement", "mm", T0 + timedelta(hours=1), T0, 2.0)], T0)
        c.execute(text("UPDATE station SET declared = declared"))
    assert look() == frozenset()
