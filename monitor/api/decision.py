"""The decision: criteria, votes, levels and evidence, as pure functions."""

from monitor.decision.decide import (
    decide,  # decides once about a site; returns the level and its evidence
)
from monitor.decision.records import (
    DecisionInputs,  # readings and facts of a decision
    FactRequest,  # the argument of the hook `evaluation_facts`
    Memory,  # what one decision leaves for the next one
)
from monitor.decision.series.assessment import (
    DecisionContext,  # site, readings, facts and memory at one instant; the argument of a rule
)
from monitor.decision.series.tracks import (
    Track,  # the cleaned readings of a station
)

__all__ = [
    "DecisionContext",
    "DecisionInputs",
    "FactRequest",
    "Memory",
    "Track",
    "decide",
]
