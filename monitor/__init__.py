"""The service: ingest, decide, notify, store, show."""
