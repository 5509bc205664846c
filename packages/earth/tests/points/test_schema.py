"""The migrations create the declared tables, and the public views have the declared columns."""

import re
from pathlib import Path
from types import SimpleNamespace
from typing import get_args, get_type_hints

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import select, text

from monitor.readings.queries import renames
from monitor.storage import views
from monitor.storage.actor import Actor
from monitor.storage.proof import verify
from slopeward_earth.points import tables
from slopeward_earth.points.views import VIEWS
from tests.data.filled import NOW
from tests.fixtures.databases import ON_BOTH, STORY_ON_BOTH

README = Path(__file__).parents[2] / "README.md"


@ON_BOTH
def test_migrations_create_the_declared_tables(database):
    def is_compared(_object, name, kind, _reflected, _compare_to):
        return kind != "table" or name in tables.METADATA.tables

    with database.read() as c:
        context = MigrationContext.configure(c, opts={"include_object": is_compared})
        assert compare_metadata(context, tables.METADATA) == []


@STORY_ON_BOTH
def test_views_have_rows_with_the_declared_columns(filled_database):
    with filled_database.read() as c:
        assert {view.table.name for view in VIEWS} <= set(views.list_installed(c))
        for view in VIEWS:
            rows = list(views.stream_view(c, view.table.name))
            assert rows, view.table.name
            assert list(rows[0]) == [column.name for column in view.table.c]


@STORY_ON_BOTH
def test_renaming_a_station_renames_it_in_events(filled_database):
    names = select(tables.earth_happening.c.station).where(tables.earth_happening.c.station.is_not(None))
    with filled_database.write() as c:
        assert set(c.execute(names).scalars()) == {"G1"}
        site = SimpleNamespace(id="north-bench", renamed_stations={"G1": "H1"})
        renames.apply_renames(c, site, Actor("Ada"), NOW, merge=False)
        assert set(c.execute(names).scalars()) == {"H1"}


@STORY_ON_BOTH
def test_verification_includes_the_tables(filled_database):
    with filled_database.write() as c:
        assert not [line for line in verify(c) if line.startswith("earth_")]
        c.execute(text("UPDATE earth_look SET looked_at = '2026-03-01'"))
        assert any(line.startswith("earth_look.looked_at: ") for line in verify(c))


@STORY_ON_BOTH
def test_every_query_of_the_readme_returns_rows(filled_database):
    text = README.read_text(encoding="utf-8")
    queries = re.findall(r"^```sql\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert queries
    with filled_database.read() as c:
        for query in queries:
            assert c.exec_driver_sql(query).all(), query


def test_row_types_have_the_names_and_types_of_the_columns():
    rows = [(view.table, view.table.info["row"]) for view in VIEWS if "row" in view.table.info]
    assert rows
    for table, row in rows:
        columns = {column.name: column.type.python_type for column in table.c}
        for name, hint in get_type_hints(row).items():
            allowed = set(get_args(hint) or (hint,)) - {type(None)}
            assert allowed == {columns[name]}, (table.name, name)


def test_every_column_of_a_view_has_a_description():
    for view in VIEWS:
        assert view.table.comment
        assert view.table.info["question"]
        assert not [
            column.name
            for column in view.table.c
            if not column.comment and not column.name.endswith(("_id", "_values"))
        ]
