"""States of a step, and the answers that people give to the question what a step was.

`Step` in `monitor.decision.records` describes the states.
"""

from typing import Final

PENDING: Final = "pending"
# Stored name: nobody answered before the deadline, so the step counts for the lowest level. "A step that counts" means
# any state in `ACTIVE`.
COUNTED: Final = "counted"
MOVEMENT: Final = "movement"
INSTRUMENT: Final = "instrument"
EVENT: Final = "event"
BEFORE: Final = "before"
DOUBTFUL: Final = "doubtful"
RETURNED: Final = "returned"
# Steps in these states count for a level.
ACTIVE: Final = frozenset({COUNTED, MOVEMENT})
# Steps in these states may form a pair with a step of an independent station.
PAIRABLE: Final = frozenset({PENDING, COUNTED, MOVEMENT})
# Steps in these states do not keep the votes of their station from falling.
NOT_BLOCKING: Final = frozenset({INSTRUMENT, BEFORE, RETURNED})
# Answers that state that a step was no movement of the slope.
CAUSES: Final = ("instrument", "weather", "work", "earthquake", "other")
EARTHQUAKE: Final = "earthquake"


def denies_movement(answer: str | None) -> bool:
    """Return whether an answer states that a step was no movement of the slope.

    >>> denies_movement("weather"), denies_movement("movement"), denies_movement(None)
    (True, False, False)
    """
    return answer is not None and answer != MOVEMENT


def find_state_after(answer: str) -> str:
    """Return the state of a step after an answer."""
    return INSTRUMENT if denies_movement(answer) else MOVEMENT
