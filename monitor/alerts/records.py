"""States of an alert by ISA-18.2, and which alerts are urgent."""

from enum import StrEnum
from typing import Final

URGENT_HEALTH: Final = 2  # the top route of health
# begins the key of the alarm that nobody confirmed an urgent alert: it goes to all at once, again and again
UNCONFIRMED: Final = "health:unconfirmed:"


class AlertState(StrEnum):
    """States of ISA-18.2, plus `closed` for history."""

    UNACKNOWLEDGED = "unacknowledged"
    ACKNOWLEDGED = "acknowledged"
    RETURNED_UNACKNOWLEDGED = "returned_unacknowledged"
    SHELVED = "shelved"
    SUPPRESSED = "suppressed"  # by design: work on its station explains it
    OUT_OF_SERVICE = "out_of_service"
    CLOSED = "closed"


def is_urgent(ledger: str, level: int, top_level: int | None) -> bool:
    """Whether nothing may hold this message back: the two highest hazard levels, and the top route of health.

    A hazard of a site whose ladder is unknown counts as urgent.

    >>> is_urgent("hazard", 2, 3), is_urgent("hazard", 1, 3), is_urgent("health", 2, None), is_urgent("advice", 2, 3)
    (True, False, True, False)
    """
    if ledger == "hazard":
        return top_level is None or (level >= max(top_level - 1, 1))
    return ledger == "health" and level >= URGENT_HEALTH
