"""A row that the code reads of a public view has columns of that view, and none that is not there."""

from typing import Any, get_args, get_overloads, get_type_hints

import pytest
from sqlalchemy import create_engine, text

from monitor.store.schema.tables import metadata
from monitor.store.schema.view_sql import view_sql
from monitor.store.schema.views import load_view

HINTS = [get_type_hints(one) for one in get_overloads(load_view)]
ROWS = [(view, get_args(h["return"])[0]) for h in HINTS for view in get_args(h["name"])]


@pytest.fixture(scope="module")
def columns() -> dict[str, set[str]]:
    engine = create_engine("sqlite://")
    with engine.connect() as c:
        metadata.create_all(c)
        found = {}
        for name, select in view_sql(sqlite=True).items():
            c.exec_driver_sql(f"CREATE VIEW {name} AS {select}")
            found[name] = set(c.execute(text(f"SELECT * FROM {name} LIMIT 0")).keys())
    engine.dispose()
    return found


@pytest.mark.parametrize(("view", "row"), ROWS)
def test_a_row_has_columns_of_its_view(view: str, row: Any, columns: dict[str, set[str]]) -> None:
    assert row.__required_keys__ <= columns[view]


def test_every_kind_of_row_is_of_a_view() -> None:
    assert len(ROWS) >= 16
    assert len({view for view, _ in ROWS}) == len(ROWS)
