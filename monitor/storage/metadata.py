"""The `MetaData` with which tables and public views are registered.

This module alone registers nothing. Import `metadata` from `monitor.storage.tables` to get every table, and
`view_metadata` from `monitor.storage.view_tables` to get every public view.

Storage knows no table of a subject by name. A subject describes its tables and columns in their `info`. Plugins do the
same: the hook `register_tables` returns their tables, and `monitor.storage.branches.list_tables` all tables.

Of a table:
    sealed: the rows are sealed in the audit log, see `monitor.storage.sealing.SealedColumns`. Not for plugins.

Of a column:
    refers_to: every value is a value of this `table.column`. `db verify` checks it. If a station is renamed and one
        series takes over the readings of another one, values of "series.id" are updated.
    names: "station" if the column has the id of a station. Renaming a station updates it.
    sha256: the column with the SHA-256 of this text. `db verify` compares both.
    own_clock: True for an instant of the service's own clock. It is moved back after the clock was wrong.
    own_clock_keys: the keys of a JSON value under which instants of the service's own clock are stored, in seconds.
"""

from typing import Final

from sqlalchemy import MetaData

metadata: Final = MetaData()
view_metadata: Final = MetaData()
