"""The row types of `load_view` agree with the declared columns of their views."""

import re
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_type_hints

import pytest

from monitor.alerts.views import AlertRow
from monitor.features.scenes.views import ScenePolygonRow
from monitor.storage.engine import Database
from monitor.storage.metadata import view_metadata
from monitor.storage.view_tables import load_view_tables
from monitor.storage.views import load_optional_view, load_view

ROOT = Path(__file__).parents[2]
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


def test_optional_views_exist_if_every_feature_is_installed() -> None:
    """A misspelt name would never return a row."""
    call = re.compile(r'load_optional_view\(\s*\w+,\s*"(\w+)"')
    names = {name for path in (ROOT / "monitor").rglob("*.py") for name in call.findall(path.read_text("utf-8"))}
    assert names <= set(load_view_tables())


def test_an_optional_view_of_a_missing_feature_has_no_rows(filled_database: Database) -> None:
    with filled_database.read() as connection:
        assert load_optional_view(connection, "active_alerts", AlertRow) == load_view(connection, "active_alerts")
        assert load_optional_view(connection, "view_of_a_missing_feature", site="north-bench") == []


def test_views_have_row_types() -> None:
    assert len(ROWS) >= 16


def test_the_row_type_of_another_view_is_refused(filled_database: Database) -> None:
    with filled_database.read() as connection:
        assert load_view(connection, "active_alerts", AlertRow)
        with pytest.raises(TypeError, match="site_status"):
            load_view(connection, "site_status", AlertRow)
