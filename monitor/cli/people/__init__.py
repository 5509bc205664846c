"""Commands for accounts and access tokens."""
