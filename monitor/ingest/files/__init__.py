"""Readers of files that arrive: neutral CSV and Parquet, scenes."""
