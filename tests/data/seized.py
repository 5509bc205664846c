"""Change a database as an attacker with write access could."""


def without_keys(c):
    """Disable foreign keys for the rest of the transaction, as an attacker could."""
    sqlite = c.dialect.name == "sqlite"
    c.exec_driver_sql("PRAGMA defer_foreign_keys = ON" if sqlite else "SET LOCAL session_replication_role = replica")
