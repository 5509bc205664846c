"""Sites: site files, their records, parsing and validation."""
