"""The database schema: one module of tables per subject, their column types, and the public views."""
