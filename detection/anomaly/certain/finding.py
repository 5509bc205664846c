"""A fault that is certain and needs no score."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CertainFault:
    """A certain fault: when it could first be known, its kind, and what was seen in words."""

    at_s: float
    kind: str  # stuck, replay, gap, unit, timing
    detail: str
