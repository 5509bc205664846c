"""Store readings with revisions, solutions and flags, and load them as known at an instant."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, text

from monitor.errors import StoreError
from monitor.readings.queries.observations import find_series_id, latest_reading, load_readings, load_series
from monitor.readings.queries.storing import add_observations
from monitor.readings.records import Observation
from monitor.readings.tables import series_latest
from tests.data.store_rows import add_flag, ask, tell
from tests.fixtures.databases import on_both_databases  # noqa: F401 - a fixture

T0 = datetime(2026, 3, 1, 6, tzinfo=UTC)
DAY = timedelta(days=1)


def reading(value=1.0, *, at=T0, received=None, station="G1", quantity="displacement_east", **more):
    return Observation("north", station, quantity, "mm", at, received or at + timedelta(minutes=1), value, **more)


def add(database, *items):
    return tell(database, add_observations, items, T0)


def series_id(database, station="G1", quantity="displacement_east"):
    return ask(database, find_series_id, "north", station, quantity)


def test_repeated_value_is_a_duplicate_and_another_value_a_revision(database):
    first = add(database, reading(1.0), reading(1.0), reading(2.0))
    second = add(database, reading(1.0), reading(2.0), reading(3.0), reading(3.0, sigma=0.5))
    assert (first.stored, first.duplicates, first.revisions, first.sites) == (2, 1, 1, frozenset({"north"}))
    assert (second.stored, second.duplicates, second.revisions) == (2, 2, 2)
    with database.read() as c:
        rows = c.execute(text("select revision, value_raw from observation order by revision")).all()
    assert [tuple(r) for r in rows] == [(0, 1.0), (1, 2.0), (2, 3.0), (3, 3.0)]


def test_batch_may_contain_older_and_newer_epochs(database):
    add(database, *(reading(float(i), at=T0 + i * DAY) for i in range(0, 10, 2)))
    result = add(database, *(reading(float(i), at=T0 + i * DAY) for i in range(12)))
    assert (result.stored, result.duplicates) == (7, 5)
    readings = ask(database, load_readings, series_id(database), None, T0 + 99 * DAY, T0 + 99 * DAY)
    assert [r.value for r in readings] == [float(i) for i in range(12)]


def test_final_solution_takes_precedence_over_a_later_rapid_one(database):
    for order in ((("final", 2.0), ("rapid", 1.0)), (("rapid", 1.0), ("final", 2.0))):
        station = f"S-{order[0][0]}"
        for k, (solution, value) in enumerate(order):
            add(database, reading(value, solution=solution, station=station, received=T0 + k * DAY))
        sid = series_id(database, station)
        with database.read() as c:
            (current,) = load_readings(c, sid, None, T0, T0 + 9 * DAY)
            latest = c.execute(select(series_latest).where(series_latest.c.series_id == sid)).one()
            (earlier,) = load_readings(c, sid, None, T0, T0)
        assert (current.value, latest.value_raw, earlier.value) == (2.0, 2.0, order[0][1])


def test_latest_reading_is_the_newest_by_observation_time_without_future_ones(database):
    add(database, reading(5.0, at=T0 + 5 * DAY), reading(3.0, at=T0 + 3 * DAY))
    future = reading(9.0, at=T0 + 999 * DAY, flags=("future",), received=T0 + 6 * DAY)
    add(database, future, reading(4.0, at=T0 + 4 * DAY))
    sid = series_id(database)
    with database.read() as c:
        assert c.execute(select(series_latest.c.value_raw)).scalars().all() == [5.0]
        newest = latest_reading(c, sid, T0 + 10 * DAY)
        assert latest_reading(c, sid, T0) is None
    assert (newest.value, newest.observed_at) == (5.0, T0 + 5 * DAY)


def test_period_excludes_its_start_and_includes_its_end(database):
    add(database, *(reading(float(i), at=T0 + i * DAY) for i in range(4)))
    readings = ask(database, load_readings, series_id(database), T0, T0 + 2 * DAY, T0 + 99 * DAY)
    assert [r.value for r in readings] == [1.0, 2.0]


def test_a_series_keeps_its_unit(database):
    add(database, reading())
    with pytest.raises(StoreError, match="stored in mm"), database.write() as c:
        add_observations(c, [replace(reading(at=T0 + DAY), unit="index")], T0)
    with database.read() as c:
        assert [(s.station, s.unit) for s in load_series(c, "north")] == [("G1", "mm")]
        assert c.execute(text("select count(*) from observation")).scalar() == 1


def test_cache_of_series_ids_is_shared_between_batches(database):
    series_ids = {}
    for i in range(3):
        rows = [reading(at=T0 + i * DAY, station=f"G{i}"), reading(at=T0 + i * DAY)]
        tell(database, add_observations, rows, T0, series_ids)
    assert len(series_ids) == 4 - 1


def test_one_revision_counts_and_flags_apply_from_their_known_time(database):
    add(database, *(reading(float(i), at=T0 + i * DAY, flags=("undeclared", "late")) for i in range(3)))
    add(database, reading(9.0, at=T0 + DAY, solution="corrected"), reading(8.0, at=T0 + DAY, solution="rapid"))
    sid = series_id(database)
    changes = (("-late", 0, 1), ("spike", 0, 1), ("spike", 0, 2), ("-undeclared", 0, 3), ("spike", 1, 1))
    with database.write() as c:
        for flag, day, known in changes:
            add_flag(c, sid, T0 + day * DAY, flag, T0 + known * DAY)

    def load(known):
        return ask(database, load_readings, sid, None, T0 + 9 * DAY, T0 + known * DAY)

    assert [(r.value, r.flags) for r in load(1.5)] == [(0.0, ("undeclared", "spike")), (9.0, ())]
    assert [(r.value, r.flags) for r in load(9)] == [(0.0, ("spike",)), (9.0, ()), (2.0, ("undeclared", "late"))]
    assert all(r.observed_at.tzinfo == UTC and r.received_at.tzinfo == UTC for r in load(9))
