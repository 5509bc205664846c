"""SQL of the ingest: quarantine, sequences, outages."""
