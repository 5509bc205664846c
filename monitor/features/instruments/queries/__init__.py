"""SQL statements of the feature."""
