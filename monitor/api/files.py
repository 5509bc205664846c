"""Readers of file formats for `slopeward ingest --format`."""

from monitor.ingest.files.reader import (
    Content,  # whether a file contains readings or points
    FileReader,  # one format
    ImportOptions,  # the options of the command
    ReadingLine,  # what one line of a file contains
)

__all__ = [
    "Content",
    "FileReader",
    "ImportOptions",
    "ReadingLine",
]
