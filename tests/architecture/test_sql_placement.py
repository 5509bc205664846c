"""SQL statements are written in `monitor.store` and in `store` modules of extensions, and nowhere else."""

import ast
import re
from pathlib import Path

from tests.architecture.syntax import STATEMENTS, walk

ROOT = Path(__file__).parents[2]
MENTIONS_SQL = re.compile("sqlalchemy|schema|execute|exec_driver_sql")
ALLOWED_IMPORTS = {
    "sqlalchemy.Connection",
    "sqlalchemy.engine.make_url",
    "sqlalchemy.exc.IntegrityError",
    "sqlalchemy.exc.SQLAlchemyError",
}
"""Names of SQLAlchemy with which no statement can be built."""
SCHEMA = re.compile(r"(^|\.)store\.schema\.(?!views\b|view_tables\.\w+\.[A-Z]\w+Row$)")
"""Every name of the schema except those that load rows of public views, and the types of these rows."""


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


def test_only_the_store_builds_and_executes_sql():
    paths = [path.relative_to(ROOT) for path in (ROOT / "monitor").rglob("*.py")]
    outside = [path for path in paths if "store" not in path.parts and path.name != "store.py"]
    assert outside
    found = {str(path): uses for path in outside if (uses := find_sql((ROOT / path).read_text(encoding="utf-8")))}
    assert found == {}


def test_sql_is_found():
    source = "from sqlalchemy import select\nfrom monitor.store.schema import alerts\nconnection.execute(query)"
    assert sorted(find_sql(source)) == ["execute", "monitor.store.schema.alerts", "sqlalchemy.select"]
    assert find_sql("from monitor.store.schema.alerts import alert") == ["monitor.store.schema.alerts.alert"]
    assert find_sql("from monitor.store.schema.views import load_view") == []
    assert find_sql("from monitor.store.schema import views") == []
    assert find_sql("from monitor.store.schema.view_tables.alerts import AlertRow") == []
    assert find_sql("from monitor.store.schema.view_tables.alerts import active_alerts") != []
    assert find_sql("from sqlalchemy import Connection\nfrom monitor.store.people import users") == []
    assert find_sql("if TYPE_CHECKING:\n    from sqlalchemy import Table") == []
    assert find_sql("if TYPE_CHECKING:\n    pass\nelse:\n    from sqlalchemy import Table") == ["sqlalchemy.Table"]
