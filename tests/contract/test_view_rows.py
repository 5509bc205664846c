"""The row types of `load_view` agree with the declared columns of their views."""

from types import NoneType
from typing import Any, get_args, get_overloads, get_type_hints

import pytest

from monitor.store.schema.view_rows import ScenePolygonRow
from monitor.store.schema.view_tables.all import view_metadata
from monitor.store.schema.views import NAMES, load_view

HINTS = [get_type_hints(overload) for overload in get_overloads(load_view)]
ROWS = [(view, get_args(hints["return"])[0]) for hints in HINTS for view in get_args(hints["name"])]


def python_types(annotation: Any) -> set[type]:
    """Return the types that an annotation allows, without None."""
    return set(get_args(annotation) or (annotation,)) - {NoneType}


def test_the_declared_views_are_those_of_the_database() -> None:
    assert set(view_metadata.tables) == set(NAMES)


@pytest.mark.parametrize(("view", "row"), ROWS)
def test_a_row_type_has_the_names_and_types_of_the_columns(view: str, row: Any) -> None:
    columns = {column.name: {column.type.python_type} for column in view_metadata.tables[view].c}
    hints = get_type_hints(row)
    declared = {name: python_types(hints[name]) for name in row.__required_keys__}
    if row is ScenePolygonRow:
        # The caller deserialises the geometry.
        declared["geometry"] = {str}
    assert declared == {name: columns.get(name) for name in declared}


def test_each_view_has_at_most_one_row_type() -> None:
    assert len(ROWS) >= 16
    assert len({view for view, _ in ROWS}) == len(ROWS)
