"""The service: ingestion, decisions, notifications, storage, web pages and the command line."""
