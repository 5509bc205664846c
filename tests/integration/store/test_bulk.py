"""Many rows by the driver itself: text comes back as it was, and a key twice is the error of any statement."""

import pytest
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from monitor.store.database.bulk import MANY, insert_rows
from monitor.store.database.engine import Database
from monitor.store.schema import tables as t

COLUMNS = dict.fromkeys(("site", "name", "direction", "unit"), "text")


@pytest.mark.parametrize("count", [3, MANY + 1])
def test_rows_come_back_as_they_were_and_a_key_twice_is_refused(database: Database, count: int) -> None:
    rows = [("s", f"\\N\t{k}\r\n'é", "los", "mm") for k in range(count)]
    with database.write() as c:
        insert_rows(c, "point_set", COLUMNS, rows)
    with pytest.raises(IntegrityError), database.write() as c:
        insert_rows(c, "point_set", COLUMNS, rows)
    with database.read() as c:
        found = c.execute(select(t.point_set.c.name).order_by(t.point_set.c.id)).scalars().all()
    assert found == [row[1] for row in rows]
