"""People: accounts, sessions, roles and duty."""
