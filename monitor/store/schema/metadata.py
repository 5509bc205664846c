"""The `MetaData` with which tables and public views are registered.

This module alone registers nothing. Import `metadata` from `monitor.store.schema.tables` to get every table, and
`view_metadata` from `monitor.store.schema.view_tables.all` to get every public view.
"""

from typing import Final

from sqlalchemy import MetaData

metadata: Final = MetaData()
view_metadata: Final = MetaData()
