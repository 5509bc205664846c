"""The database: connections, rows, public views, audit, upkeep."""

from monitor.storage.engine import (
    Database,  # a database by URL
)

__all__ = [
    "Database",
]
