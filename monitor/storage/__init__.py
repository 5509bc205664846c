"""Storage: database engine, schema, migrations, views, backup, retention."""
