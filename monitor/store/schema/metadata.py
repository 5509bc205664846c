"""The one `MetaData` with which all tables are registered.

This module alone registers no table. To get `metadata` with every table, import it from `monitor.store.schema.tables`.
"""

from typing import Final

from sqlalchemy import MetaData

metadata: Final = MetaData()
