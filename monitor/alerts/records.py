"""States of an alert by ISA-18.2, and which alerts are urgent."""

from enum import StrEnum
from typing import Final

# Level of urgent health alerts.
URGENT_HEALTH: Final = 2
# Prefix of the key of the alarm that nobody confirmed an urgent alert. It is sent to all recipients repeatedly.
UNCONFIRMED: Final = "health:unconfirmed:"


class AlertState(StrEnum):
    """States of ISA-18.2, and `closed` for alerts that are over."""

    UNACKNOWLEDGED = "unacknowledged"
    ACKNOWLEDGED = "acknowledged"
    RETURNED_UNACKNOWLEDGED = "returned_unacknowledged"
    SHELVED = "shelved"
    SUPPRESSED = "suppressed"  # suppressed by design: maintenance of the station explains it
    OUT_OF_SERVICE = "out_of_service"
    CLOSED = "closed"


def is_urgent(ledger: str, level: int, top_level: int | None) -> bool:
    """Return whether messages of an alert are sent at once: the two highest hazard levels, and urgent health alerts.

    Args:
        top_level: The highest level of the site. If it is unknown (None), each hazard alert is urgent.

    >>> is_urgent("hazard", 2, 3), is_urgent("hazard", 1, 3), is_urgent("health", 2, None), is_urgent("advice", 2, 3)
    (True, False, True, False)
    """
    if ledger == "hazard":
        return top_level is None or (level >= max(top_level - 1, 1))
    return ledger == "health" and level >= URGENT_HEALTH
