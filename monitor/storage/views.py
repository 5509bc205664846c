"""Create, drop, check and read the public views, and manage who may read them."""

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple, TypeVar, overload

from sqlalchemy import Column, Connection, Table, select, text
from sqlalchemy.exc import DBAPIError, ProgrammingError

from monitor.errors import NotFoundError, StoreError
from monitor.plugin_isolation import clear_fault, note_fault
from monitor.plugins import implementations, is_built_in
from monitor.storage.branches import list_outdated_branches
from monitor.storage.public_view import PublicView
from monitor.storage.view_tables import load_view_tables, select_views
from monitor.text.message import plain_to_messages

Row = TypeVar("Row")

_MARK: Final = "slopeward view"
# Limits of a reader's role on PostgreSQL. A session cannot change the connection limit and `temp_file_limit`. It can
# change the timeouts, so `monitor.storage.readers` ends sessions that exceed them.
READER_LIMITS: Final = (
    "CONNECTION LIMIT 5",
    "SET statement_timeout = '60s'",
    "SET idle_in_transaction_session_timeout = '60s'",
    "SET lock_timeout = '10s'",
    "SET default_transaction_read_only = on",
    "SET temp_file_limit = '1GB'",
)
# Query for functions that a role may call by default and with which one login could use up the locks (advisory locks) or
# the disk (large objects) of the server.
_EXHAUSTING_FUNCTIONS: Final = (
    "SELECT CAST(p.oid AS regprocedure) FROM pg_proc p WHERE p.pronamespace = CAST('pg_catalog' AS regnamespace)"
    " AND (p.proname ~ '^pg_(try_)?advisory_' AND p.proname !~ 'unlock' OR p.proname IN ('lo_creat', 'lo_create',"
    " 'lo_from_bytea')) AND has_function_privilege(:role, p.oid, 'EXECUTE') ORDER BY 1"
)

# The views that each role may read.
Grants = dict[str, frozenset[str]]


class _PluginView(NamedTuple):
    plugin: str
    view: PublicView


def list_views() -> dict[str, Table]:
    """Return the columns of every public view by name, also of the views of third-party plugins."""
    plugin_views = _load_plugin_views(sqlite=True)
    return {**load_view_tables(), **{name: view.table for name, (_, view) in plugin_views.items()}}


def has_view(name: str) -> bool:
    """Return whether a public view exists. The views of a feature that is not installed do not exist."""
    return name in load_view_tables() or name in _load_plugin_views(sqlite=True)


def _load_plugin_views(*, sqlite: bool) -> dict[str, _PluginView]:
    """Return the views of third-party plugins by name. A view with a name that exists already is left out."""
    taken = load_view_tables()
    plugin_views: dict[str, _PluginView] = {}
    for implementation in implementations("register_views"):
        if not is_built_in(implementation.plugin):
            for view in implementation.call(sqlite=sqlite) or ():
                if view.table.name not in taken:
                    plugin_views.setdefault(view.table.name, _PluginView(implementation.plugin, view))
    return plugin_views


def list_installed(connection: Connection) -> list[str]:
    """Return the names of the public views in the database."""
    return sorted(_load_installed(connection))


def create_views(connection: Connection) -> None:
    """Create every view. None of them may exist. A view of a plugin that cannot be created is left out."""
    for name, statement in _make_own_statements(connection).items():
        _create_view(connection, name, statement)
    plugin_views = _load_plugin_views(sqlite=_is_sqlite(connection))
    for name, statement in _make_plugin_statements(connection).items():
        plugin, view = plugin_views[name]
        try:
            with connection.begin_nested():
                _create_view(connection, name, statement)
                _require_columns(connection, view.table)
        except (DBAPIError, StoreError) as error:
            note_fault(plugin, f"view {name}", error)
        else:
            clear_fault(plugin, f"view {name}")


def _create_view(connection: Connection, name: str, statement: str) -> None:
    connection.exec_driver_sql(statement)
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"COMMENT ON VIEW {name} IS '{_make_mark(statement)}'")


def _require_columns(connection: Connection, view: Table) -> None:
    """Make sure that a view can be read and has the declared columns. SQLite creates a view that cannot be read."""
    columns = list(connection.exec_driver_sql(f"SELECT * FROM {view.name} LIMIT 0").keys())
    if columns != view.c.keys():
        raise StoreError(f"it has the columns {', '.join(columns)}, declared are {', '.join(view.c.keys())}")


def drop_views(connection: Connection) -> None:
    """Drop every view that this or an earlier version of Slopeward created, so that migrations can change the tables.

    Raises:
        StoreError: a view of someone else depends on one of them.
    """
    for name in _load_installed(connection):
        try:
            connection.exec_driver_sql(f'DROP VIEW "{name}"')
        except DBAPIError as error:
            if getattr(error.orig, "sqlstate", "") == "2BP01":
                detail = str(error.orig).splitlines()[0]
                raise StoreError(f"a view of your own depends on a public view; drop it first: {detail}") from error
            raise


def has_current_views(connection: Connection) -> bool:
    """Return whether the views in the database are exactly those of this version and of the plugins."""
    statements = _make_own_statements(connection) | _make_plugin_statements(connection)
    return _load_installed(connection) == {name: _make_mark(sql) for name, sql in statements.items()}


def has_own_views(connection: Connection) -> bool:
    """Return whether the views in the database include those of this version. Views of plugins may be missing."""
    installed = _load_installed(connection)
    return all(installed.get(name) == _make_mark(sql) for name, sql in _make_own_statements(connection).items())


@overload
def load_view(connection: Connection, name: str, /, **query: Any) -> list[dict[str, Any]]: ...
@overload
def load_view(connection: Connection, name: str, row_type: type[Row], /, **query: Any) -> list[Row]: ...
def load_view(
    connection: Connection,
    name: str,
    row_type: Any = None,
    /,
    *,
    order_by: Sequence[str] = (),
    limit: int | None = None,
    without: str = "",
    within: "ColumnSpan | None" = None,
    **equals: Any,
) -> list[Any]:
    """Load rows of a view as dictionaries.

    Rows are the same on both databases: booleans are `bool`; instants and JSON are text. A text with the columns
    `NAME_id` and `NAME_values` becomes one `Message` under `NAME`.

    Args:
        connection: an open connection.
        name: the name of the view.
        row_type: the `TypedDict` of the rows, which the module of the view declares. Without it, rows are plain
            dictionaries.
        order_by: names of columns, with a leading `-` for descending order.
        limit: the largest number of rows.
        without: the name of a column to leave out, because its text is long.
        within: the range in which an instant of the rows must be.
        equals: for each column the value that rows must have, a frozenset of allowed values, or None for any value.
            Instants are passed as text.

    Raises:
        NotFoundError: there is no such view or column.
        TypeError: the view has another row type.
    """
    declared = _find_view(name).info.get("row")
    if row_type not in (None, declared):
        raise TypeError(f"rows of the view {name!r} are of type {declared}, not {row_type}")
    rows = stream_view(connection, name, order_by=order_by, limit=limit, without=without, within=within, **equals)
    return [plain_to_messages(row) for row in rows]


@overload
def load_optional_view(connection: Connection, name: str, /, **query: Any) -> list[dict[str, Any]]: ...
@overload
def load_optional_view(connection: Connection, name: str, row_type: type[Row], /, **query: Any) -> list[Row]: ...
def load_optional_view(connection: Connection, name: str, row_type: Any = None, /, **query: Any) -> list[Any]:
    """Load rows of a view of a feature as `load_view` does, or no rows if the feature is not installed."""
    return load_view(connection, name, row_type, **query) if has_view(name) else []


class ColumnSpan(NamedTuple):
    """A range of instants, passed as text: `after` is exclusive, `until` inclusive, None means unbounded.

    Attributes:
        column: the column of the instant; the end of rows that are periods.
        after: the begin of the range.
        until: the end of the range.
        begin_column: the begin of rows that are periods. Such a row matches if its period and the range overlap.
    """

    column: str
    after: str | None = None
    until: str | None = None
    begin_column: str = ""


def stream_view(
    connection: Connection,
    name: str,
    *,
    order_by: Sequence[str] = (),
    limit: int | None = None,
    without: str = "",
    within: ColumnSpan | None = None,
    block: int = 0,
    **equals: Any,
) -> Iterator[dict[str, Any]]:
    """Yield rows of a view one by one while the transaction is open. Texts are not combined into messages.

    Args:
        connection: an open connection.
        name: the name of the view.
        order_by: as for `load_view`.
        limit: as for `load_view`.
        without: as for `load_view`.
        within: as for `load_view`.
        block: how many rows to hold in memory at a time. 0 means all.
        equals: as for `load_view`.

    Raises:
        NotFoundError: there is no such view or column.
    """
    view = _find_view(name)
    query = select(*(column for column in view.c if column.name != without))
    for column_name, value in equals.items():
        column = _find_column(view, column_name)
        if isinstance(value, frozenset):
            query = query.where(column.in_(sorted(value)))
        elif value is not None:
            query = query.where(column == value)
    if within is not None:
        column = _find_column(view, within.column)
        if within.after is not None:
            query = query.where(column > within.after)
        if within.until is not None:
            begin = _find_column(view, within.begin_column) if within.begin_column else column
            query = query.where(begin <= within.until)
    for key in order_by:
        column = _find_column(view, key.removeprefix("-"))
        query = query.order_by(column.desc() if key.startswith("-") else column)
    if limit is not None:
        query = query.limit(limit)
    # A server-side cursor costs two more round trips, so it is used only if the caller reads in blocks.
    options = {"yield_per": block} if block else {}
    result = connection.execute(query, execution_options=options)
    names = tuple(result.keys())
    for row in result if block else result.all():
        yield dict(zip(names, row, strict=True))


def _find_view(name: str) -> Table:
    views = load_view_tables()
    if name in views:
        return views[name]
    public_views = list_views()
    if name not in public_views:
        raise NotFoundError(f"there is no view {name!r}; one of {', '.join(public_views)}")
    return public_views[name]


def _find_column(view: Table, name: str) -> Column[Any]:
    if name not in view.c:
        raise NotFoundError(f"there is no column {name!r} in view {view.name}")
    return view.c[name]


def load_grants(connection: Connection) -> Grants:
    """Return which roles may read which public views. The result is empty on SQLite."""
    if connection.dialect.name != "postgresql":
        return {}
    rows = connection.execute(
        text(
            "SELECT grantee, table_name FROM information_schema.role_table_grants"
            " WHERE privilege_type = 'SELECT' AND table_schema = current_schema() AND grantee <> current_user"
        )
    )
    installed_views = set(_load_installed(connection))
    grants: dict[str, set[str]] = {}
    for role, view in rows:
        if view in installed_views:
            grants.setdefault(role, set()).add(view)
    every_view = frozenset(list_views())
    return {role: every_view if installed_views <= views else frozenset(views) for role, views in grants.items()}


def grant_views(connection: Connection, grants: Grants) -> None:
    """Restore grants after the views were created again. A role that could read every view can read new views too."""
    quote = connection.dialect.identifier_preparer.quote_identifier
    for role, views in grants.items():
        grantee = "PUBLIC" if role == "PUBLIC" else quote(role)
        for view in sorted(views & set(_load_installed(connection))):
            connection.exec_driver_sql(f"GRANT SELECT ON {view} TO {grantee}")


def grant_readonly(connection: Connection, role: str) -> None:
    """Allow an existing PostgreSQL role to read every public view, and no table.

    Raises:
        StoreError: the database is SQLite, which has no roles.
        NotFoundError: there is no such role.
    """
    if connection.dialect.name != "postgresql":
        raise StoreError("SQLite has no roles; give readers a copy of the views: slopeward db publish FILE")
    if connection.execute(text("SELECT 1 FROM pg_roles WHERE rolname = :role"), {"role": role}).first() is None:
        raise NotFoundError(f"there is no role {role!r}; create it: CREATE ROLE {role} LOGIN PASSWORD '...'")
    schema = connection.execute(text("SELECT current_schema()")).scalar_one()
    quote = connection.dialect.identifier_preparer.quote_identifier
    connection.exec_driver_sql(f"GRANT USAGE ON SCHEMA {quote(str(schema))} TO {quote(role)}")
    grant_views(connection, {role: frozenset(list_views())})


def limit_reader(connection: Connection, role: str) -> list[str]:
    """Limit the connections, query times, temporary files and locks of a reader's role.

    Returns:
        The statements for which this account lacks the privilege, and which an administrator of the server has to run.
        Empty if every limit is set.
    """
    quote = connection.dialect.identifier_preparer.quote_identifier
    limits = (f"ALTER ROLE {quote(role)} {limit}" for limit in READER_LIMITS)
    refused = [f"{statement};" for statement in limits if not _try(connection, statement)]
    for statement in _find_shared_rights(connection, role):
        _try(connection, statement)
    # PostgreSQL ignores a REVOKE without the privilege, so the rights are read again.
    refused += [f"{statement};" for statement in _find_shared_rights(connection, role)]
    account, may_end = connection.execute(text("SELECT current_user, pg_has_role('pg_signal_backend', 'USAGE')")).one()
    return refused if may_end else [*refused, f"GRANT pg_signal_backend TO {quote(account)};"]


def _try(connection: Connection, statement: str) -> bool:
    try:
        with connection.begin_nested():
            connection.exec_driver_sql(statement)
    except ProgrammingError as error:
        if getattr(error.orig, "sqlstate", "") != "42501":  # insufficient_privilege
            raise
        return False
    return True


def _find_shared_rights(connection: Connection, role: str) -> list[str]:
    """Return the statements that revoke rights with which the role could exhaust resources shared with others."""
    quote = connection.dialect.identifier_preparer.quote_identifier
    database, has_temporary = connection.execute(
        text("SELECT current_database(), has_database_privilege(:role, current_database(), 'TEMP')"), {"role": role}
    ).one()
    rights = [f"REVOKE TEMPORARY ON DATABASE {quote(database)} FROM PUBLIC"] if has_temporary else []
    functions = list(connection.execute(text(_EXHAUSTING_FUNCTIONS), {"role": role}).scalars())
    if functions:
        rights.append(f"REVOKE EXECUTE ON FUNCTION {', '.join(functions)} FROM PUBLIC")
    return rights


def end_readers(connection: Connection) -> None:
    """End sessions of readers that hold a lock on a public view, as far as this account may end them.

    An open transaction that has read a view would block replacing the view, and with it the start of the service.
    """
    if connection.dialect.name != "postgresql":
        return
    connection.exec_driver_sql(
        "SELECT pg_terminate_backend(l.pid) FROM pg_locks l JOIN pg_class k ON k.oid = l.relation"
        " JOIN pg_stat_activity a ON a.pid = l.pid"
        " WHERE k.relkind = 'v' AND k.relnamespace = CAST(current_schema() AS regnamespace)"
        " AND a.usename <> current_user AND (pg_has_role(current_user, a.usesysid, 'USAGE') OR"
        " pg_has_role('pg_signal_backend', 'USAGE') AND NOT (SELECT rolsuper FROM pg_roles WHERE oid = a.usesysid))"
    )


def _is_sqlite(connection: Connection) -> bool:
    return connection.dialect.name == "sqlite"


def _make_own_statements(connection: Connection) -> dict[str, str]:
    selects = select_views(sqlite=_is_sqlite(connection))
    return {name: _write_statement(name, select) for name, select in selects.items()}


def _make_plugin_statements(connection: Connection) -> dict[str, str]:
    """Return the statements of plugins whose tables are at the revision that they need."""
    outdated = {branch.name for branch in list_outdated_branches(connection)}
    return {
        name: _write_statement(name, view.select)
        for name, (plugin, view) in _load_plugin_views(sqlite=_is_sqlite(connection)).items()
        if plugin not in outdated
    }


def _write_statement(name: str, select_statement: str) -> str:
    return f"CREATE VIEW {name} AS /* {_MARK} */ {select_statement}"


def _make_mark(statement: str) -> str:
    return f"{_MARK} {hashlib.sha256(statement.encode()).hexdigest()}"


def _load_installed(connection: Connection) -> dict[str, str]:
    if connection.dialect.name == "sqlite":
        rows = connection.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE type = 'view'")
        return {name: _make_mark(sql) for name, sql in rows if f"/* {_MARK} */" in sql}
    rows = connection.exec_driver_sql(
        "SELECT relname, obj_description(oid, 'pg_class') FROM pg_class"
        " WHERE relkind = 'v' AND relnamespace = CAST(current_schema() AS regnamespace)"
    )
    return {name: mark for name, mark in rows if mark and mark.startswith(_MARK)}
