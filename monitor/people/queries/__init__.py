"""SQL of accounts, sessions and tokens."""
