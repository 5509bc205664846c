"""The database: connections, rows, public views, audit, upkeep."""

from monitor.storage.actor import (
    PAGE,  # way of acting: the web page, `page`
    SERVICE_ACTOR,  # actor: the service itself
    Actor,  # who acts: name, kind (person, service or program) and way
)
from monitor.storage.audit import (
    add_audit,  # add an entry to the audit log at the end of the transaction
)
from monitor.storage.backup import (
    count_rows,  # return the number of rows of each table
)
from monitor.storage.core_lease import (
    CoreLease,  # lock and lease that let only one core process write to PostgreSQL
)
from monitor.storage.engine import (
    Database,  # a database by URL
    add_all_absent,  # insert rows whose keys do not exist yet; returns how many
    add_if_absent,  # insert a row unless its key exists; returns whether it was inserted
    insert,  # return an INSERT that supports ON CONFLICT on both databases
    translate_database_errors,  # context manager: turn database errors into StoreBusyError or StoreError
)
from monitor.storage.locks import (
    CORE_VIEW,  # name of the PostgreSQL view that the running core locks
    LEASE_TABLE,  # name of the PostgreSQL table with the lease of the running core
    create_core_locks,  # create the private lock table and view in PostgreSQL if missing
)
from monitor.storage.migrate import (
    load_current_revision,  # return the revision of the database schema; empty if there is none
    require_current,  # raise StoreError unless the database schema is current
    upgrade,  # migrate the database to the current schema; returns the copy made before or None
)
from monitor.storage.reserve import (
    MEGABYTE,  # bytes in a megabyte, 1,000,000
    find_database_folder,  # return a folder on the disk of the database, or None
)
from monitor.storage.retention import (
    RetentionRule,  # which rows of a table may be deleted after what time
    Sweep,  # deletes rows in short transactions during one retention run
    sweep_table,  # return a `RetentionRule.sweep` that deletes rows of one table
)
from monitor.storage.rows import (
    add_row,  # insert a row into a table; returns its id
    columns_of,  # return the columns of a table that a record has fields for
    fill_row,  # build a row of a table from an object's attributes and given values
    find_record,  # return the first row of a query as a record, or None
    insert_rows,  # insert many rows in stored form; returns how many
    load_objects,  # load all rows of a query as objects of a class, with texts as messages
    load_records,  # load all rows of a query as records
    match_given,  # return SQL conditions: column equals a value, is one of several, or any (None)
    message_to_cells,  # return the three stored values of a text or message
    record_to_dict,  # return the fields of a record by name, not copied
    row_to_record,  # build a record from a database row
    save_rows,  # insert or update rows by their key
)
from monitor.storage.service_state import (
    IDLE,  # result of a job run that had nothing to do; it is not stored
    DeniedMessages,  # messages on a topic that the broker refused, with the login
    find_heartbeat,  # return time and content of a heartbeat, or None
    load_heartbeats,  # load the all heartbeats: time and content by name
    remove_heartbeat,  # delete a heartbeat
    write_heartbeat,  # write or replace a heartbeat
)
from monitor.storage.views import (
    ColumnSpan,  # range of instants of a column, after (exclusive) to until (inclusive)
    has_view,  # return whether a public view exists
    list_views,  # return all public SQL views with their columns, by name
    load_optional_view,  # return the rows of a public view; no rows if its feature is absent
    load_view,  # load rows of a public SQL view
    stream_view,  # iterate over rows of a public SQL view
)

__all__ = [
    "CORE_VIEW",
    "IDLE",
    "LEASE_TABLE",
    "MEGABYTE",
    "PAGE",
    "SERVICE_ACTOR",
    "Actor",
    "ColumnSpan",
    "CoreLease",
    "Database",
    "DeniedMessages",
    "RetentionRule",
    "Sweep",
    "add_all_absent",
    "add_audit",
    "add_if_absent",
    "add_row",
    "columns_of",
    "count_rows",
    "create_core_locks",
    "fill_row",
    "find_database_folder",
    "find_heartbeat",
    "find_record",
    "has_view",
    "insert",
    "insert_rows",
    "list_views",
    "load_current_revision",
    "load_heartbeats",
    "load_objects",
    "load_optional_view",
    "load_records",
    "load_view",
    "match_given",
    "message_to_cells",
    "record_to_dict",
    "remove_heartbeat",
    "require_current",
    "row_to_record",
    "save_rows",
    "stream_view",
    "sweep_table",
    "translate_database_errors",
    "upgrade",
    "write_heartbeat",
]
