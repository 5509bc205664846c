"""Changed readings of decisions are named, bulk inserts keep every value, and new data of people is detected."""

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
    watched_slope = WatchedSlope(database)
    watched_slope.fail()
    return watched_slope


def list_used(connection):
    series_column = series.c
    ids = {
        f"{series_row.station}.{series_row.quantity}": series_row.id
        for series_row in connection.execute(select(series_column.id, series_column.station, series_column.quantity))
    }
    evidence = [json.loads(item) for item in connection.execute(select(decision.c.evidence)).scalars()]
    rows = [pair for item in evidence if "view" in item for pair in item["view"]["readings"].items()]
    return sorted({(ids[name], name, row[0]) for name, readings in rows for row in readings})


@ON_SQLITE
def test_each_change_and_deletion_of_a_used_reading_is_named(slope):
    column = observation.c
    with slope.database.write() as connection:
        assert list(find_altered(connection)) == []
        used = list_used(connection)
        assert len(used) > 40
        for index, (series_id, name, observed_at) in enumerate(used):
            key = and_(column.series_id == series_id, type_coerce(column.observed_at, String) == observed_at)
            label, values = list(EDITS.items())[index % len(EDITS)]
            changed_values = values or {"observed_at": slope.now + HOUR}
            for statement in (update(observation).where(key).values(changed_values), delete(observation).where(key)):
                with connection.begin_nested() as attempt:
                    assert connection.execute(statement).rowcount == 1
                    (line,) = find_altered(connection)
                    assert line.startswith(f"observation bench {name} of {observed_at}, revision 0: "), (label, line)
                    attempt.rollback()
        series_id, name, observed_at = used[7]
        with connection.begin_nested() as attempt:
            connection.execute(text("DELETE FROM observation WHERE observed_at = :at").bindparams(at=observed_at))
            assert sum("the row is gone" in line for line in verify(connection)) == 2
            connection.execute(delete(observation))
            assert [line for line in find_altered(connection) if "more readings" in line]
            assert len(list(find_altered(connection))) == 2 * (MAX_LINES + 1)
            attempt.rollback()


def test_later_data_and_pruned_readings_are_no_findings(slope, monkeypatch):
    with slope.database.read() as connection:
        used = list_used(connection)
        series_id = find_series_id(connection, "bench", "G1", "crack_opening")
    middle = START + 30 * HOUR
    slope.publish("G1", 1.0, middle + HOUR / 2)  # a late reading
    slope.publish("G1", 99.0, middle, solution="corrected")  # a revision
    with slope.database.write() as connection:
        enter_offset(connection, series_id, middle, 5.0, slope.now, author=Actor("Ada"))
        for flag in ("doubtful", "-doubtful", "snow"):
            add_flag(connection, series_id, middle, flag, slope.now)
    slope.live(4)
    before_at = slope.now + 399 * HOUR
    limits = RetentionLimits(dict.fromkeys(("observations", "forecasts", "quarantine"), before_at))
    prune.RetentionRun(slope.database, limits, slope.now + 400 * HOUR, pause=lambda _: None).run()
    with slope.database.write() as connection:
        assert list(find_altered(connection)) == []
        assert len(list_used(connection)) > len(used)
        clock_steps.set_back(connection, 7200.0, slope.now - 2 * HOUR)
        assert list(find_altered(connection)) == []
    progress = []
    monkeypatch.setattr("monitor.alerts.queries.used_readings.MAX_READINGS", 50)
    assert list(ask(slope.database, find_altered, lambda done, total: progress.append((done, total)))) == []
    assert progress[-1][0] == progress[-1][1]
    assert 1 < len(progress) <= progress[-1][1] < MAX_READINGS


def test_missing_flag_of_a_used_reading_is_named(slope):
    with slope.database.write() as connection:
        add_flag(
            connection,
            find_series_id(connection, "bench", "G1", "crack_opening"),
            slope.now - 2 * HOUR,
            "doubtful",
            slope.now,
        )
    for _ in range(20):  # until the evidence of a decision contains the flag
        slope.live(1)
    with slope.database.write() as connection:
        assert any('"doubtful"' in evidence for evidence in connection.execute(select(decision.c.evidence)).scalars())
        assert list(find_altered(connection)) == []
        connection.execute(delete(observation_flag))
        assert "flags were doubtful and are none" in "\n".join(find_altered(connection))


@pytest.mark.parametrize("count", [3, COPY_FROM_ROWS + 1])
def test_inserted_rows_are_unchanged_and_a_repeated_key_is_rejected(database, count):
    rows = [(number, "s", f"\\N\t{number}\r\n'é", "los", "mm") for number in range(count)]
    tell(database, insert_rows, point_set, rows)
    with pytest.raises(IntegrityError), database.write() as connection:
        insert_rows(connection, point_set, rows)
    names = ask(
        database,
        lambda connection: connection.execute(select(point_set.c.name).order_by(point_set.c.id)).scalars().all(),
    )
    assert names == [row[2] for row in rows]


@pytest.mark.parametrize("count", [4, COPY_FROM_ROWS + 1])
def test_existing_rows_are_skipped_and_not_counted(database, count):
    rows = [(number, "s", f"{number}", "los", "mm") for number in range(count)]
    with database.write() as connection:
        assert insert_rows(connection, point_set, rows[:2], unless_there=True) == 2
        assert (
            insert_rows(connection, point_set, [(*row[:3], "up", row[4]) for row in rows], unless_there=True)
            == count - 2
        )
        directions = connection.execute(select(point_set.c.direction).order_by(point_set.c.id)).scalars().all()
    assert directions == ["los"] * 2 + ["up"] * (count - 2)


@pytest.mark.parametrize("count", [7, COPY_FROM_ROWS + 1])
def test_inserted_numbers_keep_their_last_bit(database, count):
    values = (0.1 + 0.2, -0.1, 5e-324, -1.7976931348623157e299, 3.0, 2**53 + 1.0, 1 / 3)
    observed_at = "2026-01-01T00:00:00.000000Z"
    rows = [
        (
            2**62 + number,
            observed_at,
            number,
            observed_at,
            values[number % 7],
            None if number % 2 else values[number % 5],
        )
        for number in range(count)
    ]
    tell(database, insert_rows, point_observation, rows)
    stored_rows = ask(
        database,
        lambda connection: connection.exec_driver_sql("SELECT * FROM point_observation ORDER BY point_id").all(),
    )
    assert [tuple(row) for row in stored_rows] == rows
    for invalid_value in (float("nan"), float("inf")):
        with pytest.raises(IntegrityError), database.write() as connection:
            insert_rows(
                connection,
                point_observation,
                [(1, observed_at, number, observed_at, invalid_value, None) for number in range(count)],
            )


@pytest.mark.parametrize("count", [6, COPY_FROM_ROWS + 2])
def test_integers_and_floats_can_be_inserted_together(database, count):
    """A decoder may return 3 for 3.0. The driver rejects a list of both types."""
    observed_at, values = "2026-01-01T00:00:00.000000Z", (3, 0.5, None)
    rows = [
        (number, observed_at, number, observed_at, values[number % 2], values[number % 3]) for number in range(count)
    ]
    tell(database, insert_rows, point_observation, rows)
    with database.read() as connection:
        stored_rows = connection.exec_driver_sql(
            "SELECT value_raw, sigma FROM point_observation ORDER BY point_id"
        ).all()
    assert [tuple(row) for row in stored_rows] == [row[4:] for row in rows]


T0 = datetime(2026, 3, 1, 6, tzinfo=UTC)
ANNA = Actor("anna")


@pytest.fixture
def find_changed_sites(database):
    with database.write() as connection:
        add_observations(
            connection,
            [Observation(site_id, "G1", "displacement", "mm", T0, T0, 1.0) for site_id in ("north", "south")],
            T0,
        )
    detector = ChangeDetector()
    assert ask(database, detector.find_changed) == frozenset()
    return lambda: ask(database, detector.find_changed)


def test_reports_and_events_of_any_process_are_detected_once(database, find_changed_sites):
    crack_report = ObserverReport("north", T0, "crack", "5 cm", "anna")
    tell(database, add_report, crack_report, T0, actor=ANNA, credential="account anna")
    assert (find_changed_sites(), find_changed_sites()) == ({"north"}, frozenset())
    with database.write() as connection:
        add_event(connection, SiteEvent("south", T0, T0, "blasting", "quarry"), T0, "anna", via="mqtt")
        add_report(
            connection, ObserverReport("west", T0, "crack", "6 cm", "anna"), T0, actor=ANNA, credential="account anna"
        )
    assert find_changed_sites() == {"south", "west"}
    number = tell(database, add_event, SiteEvent("south", T0, T0, "earthquake", "M 5"), T0, "feed", via="mqtt")
    assert find_changed_sites() == {"south"}
    tell(database, confirm_event, number, ANNA, "felt", T0 + timedelta(hours=1))
    assert find_changed_sites() == {"south"}


def test_added_confirmed_and_revoked_offsets_and_flags_are_detected(database, find_changed_sites):
    with database.write() as connection:
        series_id = find_series_id(connection, "south", "G1", "displacement")
        offset = enter_offset(connection, series_id, T0, 3.0, T0 + timedelta(hours=1), author=ANNA, known_from=T0)
    assert find_changed_sites() == {"south"}
    for change, hour in ((confirm_offset, 2), (revoke_offset, 3)):
        tell(database, change, offset, ANNA, "seen", T0 + timedelta(hours=hour))
        assert find_changed_sites() == {"south"}
    tell(database, add_flag, series_id, T0, "spike", T0)
    assert (find_changed_sites(), find_changed_sites()) == ({"south"}, frozenset())


def test_readings_are_not_detected_because_ingest_triggers_their_evaluation(database, find_changed_sites):
    with database.write() as connection:
        add_observations(
            connection, [Observation("north", "G1", "displacement", "mm", T0 + timedelta(hours=1), T0, 2.0)], T0
        )
        connection.execute(text("UPDATE station SET declared = declared"))
    assert find_changed_sites() == frozenset()
