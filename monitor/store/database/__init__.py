"""One way into the database: transactions, locks, files, the audit log and its seals."""
