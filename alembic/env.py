"""Environment of alembic. It uses the open connection that `monitor.storage.migrate` passes in the configuration."""

from typing import Any

from alembic import context
from alembic.operations.ops import CreateTableOp
from sqlalchemy.sql.elements import False_

from monitor.storage.column_types import Instant, Json
from monitor.storage.tables import load_metadata


def _render(kind: str, item: Any, _autogen: Any) -> Any:
    """Render column types of Slopeward as types of SQLAlchemy, so that migrations do not depend on later code."""
    if kind == "server_default" and isinstance(getattr(item, "arg", None), False_):
        # The default would be written as the database of this connection writes it.
        return "sa.false()"
    if kind != "type":
        return False
    if isinstance(item, Instant):
        return "Instant"
    if isinstance(item, Json):
        return "sa.Text()"
    return "BigId" if repr(item) == "BigInteger()" else False


def _leave_out_info(_context: Any, _revision: Any, directives: list[Any]) -> None:
    """Remove `Table.info` of new tables. It describes stored rows and cannot be written into a migration."""
    for script in directives:
        for operation in script.upgrade_ops.ops:
            if isinstance(operation, CreateTableOp):
                operation.info = {}


connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=load_metadata(),
    render_as_batch=connection.dialect.name == "sqlite",
    render_item=_render,
    process_revision_directives=_leave_out_info,
    compare_server_default=False,
    version_table=context.config.attributes["version_table"],
)
with context.begin_transaction():
    context.run_migrations()
