"""The life of an alert after ISA-18.2 as one table: from which state which event leads where; all else is refused.

`docs/reference/alert-states.md` shows the same table; a test compares them, and walks every pair.
"""

from collections.abc import Iterable
from datetime import timedelta
from enum import StrEnum
from typing import Final

from monitor.alerts.records import AlertState
from monitor.decision.changes import AlertCategory
from monitor.errors import RefusedError
from monitor.text.message import Template, Term


class AlertStep(StrEnum):
    """What can happen to an alert."""

    RAISE = "raise"  # its condition begins
    WORSEN = "worsen"  # its level rises
    CHANGE = "change"  # its condition stands, at the same level or a lower one
    CLEAR = "clear"  # its condition is gone
    ANSWER = "answer"  # what it asked for has come: somebody confirmed the alert that it is about
    SHELF_ENDS = "shelf ends"
    SUPPRESS = "suppress"  # work on its station begins, which explains it
    RESUME = "resume"  # the work is over
    ACKNOWLEDGE = "acknowledge"
    NOTE = "note"
    SHELVE = "shelve"
    UNSHELVE = "unshelve"
    TAKE_OUT = "take out"  # of service: until a person puts it back
    PUT_BACK = "put back"
    CLOSE = "close"


NORMAL: Final = None  # no alert stands
_UNACKNOWLEDGED, _ACKNOWLEDGED = AlertState.UNACKNOWLEDGED, AlertState.ACKNOWLEDGED
_RETURNED, _SHELVED = AlertState.RETURNED_UNACKNOWLEDGED, AlertState.SHELVED
_SUPPRESSED, _OUT, _CLOSED = AlertState.SUPPRESSED, AlertState.OUT_OF_SERVICE, AlertState.CLOSED
OPEN: Final = (_UNACKNOWLEDGED, _ACKNOWLEDGED, _RETURNED, _SHELVED, _SUPPRESSED, _OUT)
PUT_ASIDE: Final = (_SHELVED, _SUPPRESSED, _OUT)  # nobody is notified, but of what is urgent
TRANSITIONS: Final[dict[tuple[AlertState | None, AlertStep], AlertState]] = {
    (NORMAL, AlertStep.RAISE): _UNACKNOWLEDGED,
    (_RETURNED, AlertStep.RAISE): _UNACKNOWLEDGED,
    # what grows worse is seen again, wherever it was put
    **{(state, AlertStep.WORSEN): _UNACKNOWLEDGED for state in OPEN},
    **{(state, AlertStep.CHANGE): state for state in OPEN if state is not _RETURNED},
    (_ACKNOWLEDGED, AlertStep.CLEAR): _CLOSED,
    (_UNACKNOWLEDGED, AlertStep.CLEAR): _RETURNED,
    (_SHELVED, AlertStep.CLEAR): _RETURNED,
    (_SUPPRESSED, AlertStep.CLEAR): _CLOSED,  # it came and went with the work that explains it
    (_OUT, AlertStep.CLEAR): _CLOSED,
    **{(state, AlertStep.ANSWER): _CLOSED for state in OPEN},
    (_SHELVED, AlertStep.SHELF_ENDS): _UNACKNOWLEDGED,
    (_SHELVED, AlertStep.UNSHELVE): _UNACKNOWLEDGED,
    (_UNACKNOWLEDGED, AlertStep.SUPPRESS): _SUPPRESSED,
    (_ACKNOWLEDGED, AlertStep.SUPPRESS): _SUPPRESSED,
    (_SUPPRESSED, AlertStep.RESUME): _UNACKNOWLEDGED,
    (_UNACKNOWLEDGED, AlertStep.ACKNOWLEDGE): _ACKNOWLEDGED,
    (_RETURNED, AlertStep.ACKNOWLEDGE): _CLOSED,
    **{(state, AlertStep.NOTE): state for state in (*OPEN, _CLOSED)},
    (_UNACKNOWLEDGED, AlertStep.SHELVE): _SHELVED,
    (_ACKNOWLEDGED, AlertStep.SHELVE): _SHELVED,
    (_SHELVED, AlertStep.SHELVE): _SHELVED,  # with another end
    **{(state, AlertStep.TAKE_OUT): _OUT for state in (_UNACKNOWLEDGED, _ACKNOWLEDGED, _SHELVED, _SUPPRESSED)},
    (_OUT, AlertStep.PUT_BACK): _UNACKNOWLEDGED,
    **{(state, AlertStep.CLOSE): _CLOSED for state in OPEN},
}
_NO_STEP: Final = Template("alert.no_step", "alert {number} is {state}: this does not happen to it")
_WHY_NOT: Final = {
    AlertStep.ACKNOWLEDGE: Template(
        "alert.no_acknowledge", "alert {number} is {state}: there is nothing to acknowledge"
    ),
    AlertStep.SHELVE: Template("alert.no_shelve", "alert {number} is {state}: it cannot be shelved"),
    AlertStep.UNSHELVE: Template("alert.no_unshelve", "alert {number} is {state}: it is on no shelf"),
    AlertStep.TAKE_OUT: Template("alert.no_take_out", "alert {number} is {state}: it cannot be taken out of service"),
    AlertStep.PUT_BACK: Template("alert.no_put_back", "alert {number} is {state}: it is not out of service"),
    AlertStep.CLOSE: Template("alert.no_close", "alert {number} is {state}: it cannot be closed"),
}
# how long one shelving lasts at most; the highest hazard level goes on no shelf
LONGEST_SHELF_TOP_BUT_ONE: Final = timedelta(hours=4)
LONGEST_SHELF_HAZARD: Final = timedelta(hours=24)
LONGEST_SHELF_URGENT: Final = timedelta(hours=4)
LONGEST_SHELF_NOTICE: Final = timedelta(days=7)
LONGEST_SHELF_ADVICE: Final = timedelta(days=30)


def step(state: AlertState | None, event: AlertStep, number: int) -> AlertState:
    """The state after an event.

    Args:
        state: before it; None = normal, no alert stands.

    Raises:
        RefusedError: the table has no such step.

    >>> str(step(AlertState.RETURNED_UNACKNOWLEDGED, AlertStep.ACKNOWLEDGE, 7))
    'closed'
    """
    after = TRANSITIONS.get((state, event))
    if after is None:
        stands = Term("normal" if state is None else str(state))
        raise RefusedError(_WHY_NOT.get(event, _NO_STEP)(number=number, state=stands))
    return after


def longest_shelf(ledger: str, level: int, top_level: int) -> timedelta | None:
    """How long an alert may be shelved at once; None = not at all.

    >>> [str(longest_shelf("hazard", level, 3)) for level in (3, 2, 1)]
    ['None', '4:00:00', '1 day, 0:00:00']
    """
    if ledger == AlertCategory.HAZARD:
        if level >= top_level:
            return None
        return LONGEST_SHELF_TOP_BUT_ONE if level >= max(1, top_level - 1) else LONGEST_SHELF_HAZARD
    if ledger == AlertCategory.HEALTH:
        return LONGEST_SHELF_URGENT if level >= 2 else LONGEST_SHELF_NOTICE
    return LONGEST_SHELF_ADVICE


def list_hours(ledger: str, level: int, top_level: int) -> list[int]:
    """How many hours a shelving may last, as people choose; empty where there is no shelf for it.

    >>> list_hours("hazard", 2, 3), list_hours("hazard", 3, 3)
    ([1, 2, 4], [])
    """
    longest = longest_shelf(ledger, level, top_level)
    return [] if longest is None else [h for h in (1, 2, 4, 8, 24, 72, 168, 720) if timedelta(hours=h) <= longest]


def may_be_suppressed(ledger: str, level: int, key: str) -> bool:
    """Whether work on a station may explain an alert: what an instrument says of itself, and never what is urgent."""
    return ledger == AlertCategory.HEALTH and level == 1 and key.startswith("health:") and not key.endswith(":verify")


def find_cause(ledger: str, level: int, key: str, stations: Iterable[str]) -> str | None:
    """The station whose work explains an alert, of those that are worked on; None where none does.

    >>> find_cause("health", 1, "health:G1.displacement:stale", ["G1"])
    'G1'
    >>> find_cause("health", 1, "health:G10.tilt:stale", ["G1"])
    >>> find_cause("health", 2, "health:G1.displacement:stale", ["G1"])
    """
    if not may_be_suppressed(ledger, level, key):
        return None
    for station in stations:
        own = (
            f"health:{station}.",
            f"health:{station}:",
            f"health:station:{station}:",
            f"health:instrument:{station}:",
        )
        if key.startswith(own):
            return station
    return None
