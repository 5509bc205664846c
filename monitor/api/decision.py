"""The decision: criteria, votes, levels and evidence, as pure functions."""

from monitor.decision.decide import (
    decide,  # decides once about a site; returns the level and its evidence
)
from monitor.decision.records import (
    Memory,  # what one decision leaves for the next one
)

__all__ = [
    "Memory",
    "decide",
]
