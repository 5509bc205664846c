"""Any table that somebody brings: understood, asked about, accepted, and its past shown."""
