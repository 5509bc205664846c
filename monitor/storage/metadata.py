"""The `MetaData` with which tables and public views are registered.

This module registers nothing itself. `monitor.storage.tables.load_metadata` returns `metadata` with every table, and
`monitor.storage.view_tables.load_views` every public view.

Every package or plugin declares its own tables and returns them from the hook `register_tables`.
`monitor.storage.branches.list_tables` returns the tables of all. `info` of a table or column has these keys:

Of a table:
    sealed: the rows are sealed in the audit log, see `monitor.storage.sealing.SealedColumns`. Not for third
        parties.

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
