"""A database in the hands of somebody who respects nothing."""


def without_keys(c):
    """Foreign keys away for the rest of the transaction: an attacker has no respect for them."""
    sqlite = c.dialect.name == "sqlite"
    c.exec_driver_sql("PRAGMA defer_foreign_keys = ON" if sqlite else "SET LOCAL session_replication_role = replica")
