"""SQL statements are written in `monitor.storage` and in files for queries, tables and views, and nowhere else."""

import ast
import re
from pathlib import Path

from tests.architecture.syntax import STATEMENTS, walk

ROOT = Path(__file__).parents[2]
MENTIONS_SQL = re.compile("sqlalchemy|tables|views|execute|exec_driver_sql")
ALLOWED_IMPORTS = {
    "sqlalchemy.Connection",
    "sqlalchemy.engine.make_url",
    "sqlalchemy.exc.ArgumentError",
    "sqlalchemy.exc.IntegrityError",
    "sqlalchemy.exc.SQLAlchemyError",
}
"""Names of SQLAlchemy with which no statement can be built."""
SCHEMA = re.compile(
    r"^monitor\.(?!storage\.|features\.exports\.|ingest\.files\.)(\w+\.)*(\w+_)?(tables|views)\.(?!\w+Row$)"
)
"""Every name of tables and views, except the types of rows of public views."""


def find_imports_for_annotations(tree):
    """Return the imports below `if TYPE_CHECKING:`. At run time their names do not exist."""
    return {
        statement
        for node in walk(tree, inside=STATEMENTS)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for statement in node.body
    }


def find_sql(source):
    """Return the imports and calls of a module that build or execute SQL."""
    uses = []
    if not MENTIONS_SQL.search(source):
        return uses
    tree = ast.parse(source)
    for_annotations = find_imports_for_annotations(tree)
    for node in walk(tree):
        if node in for_annotations:
            continue
        imported = []
        if isinstance(node, ast.Import):
            imported = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            imported = [f"{node.module}.{alias.name}" for alias in node.names]
        uses += [name for name in imported if name.startswith("sqlalchemy") and name not in ALLOWED_IMPORTS]
        uses += [name for name in imported if SCHEMA.search(name)]
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            uses += [node.func.attr] if node.func.attr in {"execute", "exec_driver_sql"} else []
    return uses


OTHER_DATABASES = Path("monitor/features/sources/sql.py")
"""Reads tables of databases that do not belong to Slopeward."""


def may_hold_sql(path):
    """Return whether a module is one of those for SQL: `queries.py`, `queries/*.py`, `tables.py`, `views.py`."""
    is_storage = path.parts[:2] == ("monitor", "storage")
    is_place_for_sql = "queries" in path.with_suffix("").parts or path.stem.endswith(("tables", "views"))
    return path == OTHER_DATABASES or is_storage or is_place_for_sql


def test_only_modules_for_sql_build_and_execute_statements():
    paths = [path.relative_to(ROOT) for path in (ROOT / "monitor").rglob("*.py")]
    outside = [path for path in paths if not may_hold_sql(path)]
    assert outside
    found = {str(path): uses for path in outside if (uses := find_sql((ROOT / path).read_text(encoding="utf-8")))}
    assert found == {}


def test_sql_is_found():
    source = "from sqlalchemy import select\nfrom monitor.alerts.tables import alert\nconnection.execute(query)"
    assert sorted(find_sql(source)) == ["execute", "monitor.alerts.tables.alert", "sqlalchemy.select"]
    assert find_sql("from monitor.people.duty_tables import duty_turn") == ["monitor.people.duty_tables.duty_turn"]
    assert find_sql("from monitor.storage.views import load_view") == []
    assert find_sql("from monitor.alerts.views import AlertRow") == []
    assert find_sql("from monitor.alerts.views import active_alerts") != []
    assert find_sql("from sqlalchemy import Connection\nfrom monitor.people.queries import users") == []
