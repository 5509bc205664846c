"""The row types of `load_view` agree with the declared columns of their views."""

from types import NoneType
from typing import Any, get_args, get_type_hints

import pytest

from monitor.alerts.views import AlertRow
from monitor.features.scenes.views import ScenePolygonRow
from monitor.storage.engine import Database
from monitor.storage.metadata import view_metadata
from monitor.storage.view_tables import load_view_tables
from monitor.storage.views import load_view

ROWS = [(name, view.info["row"]) for name, view in load_view_tables().items() if "row" in view.info]


def python_types(annotation: Any) -> set[type]:
    """Return the types that an annotation allows, without None."""
    return set(get_args(annotation) or (annotation,)) - {NoneType}


def test_the_declared_views_are_those_of_the_database() -> None:
    assert set(load_view_tables()) == set(view_metadata.tables)


@pytest.mark.parametrize(("view", "row"), ROWS)
def test_a_row_type_has_the_names_and_types_of_the_columns(view: str, row: Any) -> None:
    columns = {column.name: {column.type.python_type} for column in load_view_tables()[view].c}
    hints = get_type_hints(row)
    declared = {name: python_types(hints[name]) for name in row.__required_keys__}
    if row is ScenePolygonRow:
        # The caller deserialises the geometry.
        declared["geometry"] = {str}
    assert declared == {name: columns.get(name) for name in declared}


def test_views_have_row_types() -> None:
    assert len(ROWS) >= 16


def test_the_row_type_of_another_view_is_refused(filled_database: Database) -> None:
    with filled_database.read() as connection:
        assert load_view(connection, "active_alerts", AlertRow)
        with pytest.raises(TypeError, match="site_status"):
            load_view(connection, "site_status", AlertRow)
