"""Many rows by the driver itself: text comes back as it was, and a key twice is the error of any statement."""

import pytest
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from monitor.store.database.rows import MANY, insert_rows
from monitor.store.schema import tables as t
from tests.data.store_rows import tell


@pytest.mark.parametrize("count", [3, MANY + 1])
def test_rows_come_back_as_they_were_and_a_key_twice_is_refused(database, count):
    rows = [(k, "s", f"\\N\t{k}\r\n'é", "los", "mm") for k in range(count)]
    tell(database, insert_rows, t.point_set, rows)
    with pytest.raises(IntegrityError), database.write() as c:
        insert_rows(c, t.point_set, rows)
    with database.read() as c:
        found = c.execute(select(t.point_set.c.name).order_by(t.point_set.c.id)).scalars().all()
    assert found == [row[2] for row in rows]


@pytest.mark.parametrize("count", [4, MANY + 1])
def test_rows_that_are_there_are_passed_by_and_not_counted(database, count):
    rows = [(k, "s", f"{k}", "los", "mm") for k in range(count)]
    with database.write() as c:
        assert insert_rows(c, t.point_set, rows[:2], unless_there=True) == 2
        changed = [(*row[:3], "up", row[4]) for row in rows]
        assert insert_rows(c, t.point_set, changed, unless_there=True) == count - 2
        found = c.execute(select(t.point_set.c.direction).order_by(t.point_set.c.id)).scalars().all()
    assert found == ["los"] * 2 + ["up"] * (count - 2)


@pytest.mark.parametrize("count", [7, MANY + 1])
def test_numbers_keep_their_last_bit(database, count):
    odd = (0.1 + 0.2, -0.1, 5e-324, -1.7976931348623157e299, 3.0, 2**53 + 1.0, 1 / 3)
    at = "2026-01-01T00:00:00.000000Z"
    rows = [(2**62 + k, at, k, at, odd[k % 7], None if k % 2 else odd[k % 5]) for k in range(count)]
    tell(database, insert_rows, t.point_observation, rows)
    with database.read() as c:
        found = c.exec_driver_sql("SELECT * FROM point_observation ORDER BY point_id").all()
    assert [tuple(row) for row in found] == rows
    for bad in (float("nan"), float("inf")):
        with pytest.raises(IntegrityError), database.write() as c:
            insert_rows(c, t.point_observation, [(1, at, k, at, bad, None) for k in range(count)])


@pytest.mark.parametrize("count", [6, MANY + 2])
def test_whole_numbers_beside_others_are_numbers_all_the_same(database, count):
    """A decoder gives 3 for 3.0: the driver knows no list of both."""
    at, mixed = "2026-01-01T00:00:00.000000Z", (3, 0.5, None)
    rows = [(k, at, k, at, mixed[k % 2], mixed[k % 3]) for k in range(count)]
    tell(database, insert_rows, t.point_observation, rows)
    with database.read() as c:
        found = c.exec_driver_sql("SELECT value_raw, sigma FROM point_observation ORDER BY point_id").all()
    assert [tuple(row) for row in found] == [row[4:] for row in rows]
