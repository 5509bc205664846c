"""Functions that read and write the database, one module per subject. They take a connection or a `Database`."""
