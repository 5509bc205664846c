"""The commands that import files of unknown layout."""
