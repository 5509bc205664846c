"""Readings: records, quality flags."""

from monitor.readings.records import (
    Reading,  # one stored value, as a decision reads it
)

__all__ = [
    "Reading",
]
