"""States of an alert after ISA-18.2, and the steps that lead from one to the next.

`TRANSITIONS` lists all steps that are allowed; every other step is refused. `docs/reference/alert-states.md` shows the
same table, and a test compares them.
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

    # Steps of the service.
    RAISE = "raise"  # the condition starts
    WORSEN = "worsen"  # the level rises
    CHANGE = "change"  # the condition continues at the same level or a lower one
    CLEAR = "clear"  # the condition ends
    ANSWER = "answer"  # ends the alarm that nobody confirmed an alert, because somebody has confirmed that alert
    SHELF_ENDS = "shelf ends"
    SUPPRESS = "suppress"  # maintenance of the station starts, which explains the alert
    RESUME = "resume"  # the maintenance ends
    # Steps of people.
    ACKNOWLEDGE = "acknowledge"
    NOTE = "note"
    SHELVE = "shelve"
    UNSHELVE = "unshelve"
    TAKE_OUT = "take out"  # out of service, until a person puts the alert back
    PUT_BACK = "put back"
    CLOSE = "close"


# The state without an open alert.
NORMAL: Final = None
_UNACKNOWLEDGED: Final = AlertState.UNACKNOWLEDGED
_ACKNOWLEDGED: Final = AlertState.ACKNOWLEDGED
_RETURNED: Final = AlertState.RETURNED_UNACKNOWLEDGED
_SHELVED: Final = AlertState.SHELVED
_SUPPRESSED: Final = AlertState.SUPPRESSED
_OUT: Final = AlertState.OUT_OF_SERVICE
_CLOSED: Final = AlertState.CLOSED
OPEN: Final = (_UNACKNOWLEDGED, _ACKNOWLEDGED, _RETURNED, _SHELVED, _SUPPRESSED, _OUT)
# In these states people are notified of urgent alerts only.
PUT_ASIDE: Final = (_SHELVED, _SUPPRESSED, _OUT)
# The state after each step, by the state before it and the step.
TRANSITIONS: Final[dict[tuple[AlertState | None, AlertStep], AlertState]] = {
    (NORMAL, AlertStep.RAISE): _UNACKNOWLEDGED,
    (_RETURNED, AlertStep.RAISE): _UNACKNOWLEDGED,
    # An alert that gets worse is shown again, also if a person had put it aside.
    **{(state, AlertStep.WORSEN): _UNACKNOWLEDGED for state in OPEN},
    **{(state, AlertStep.CHANGE): state for state in OPEN if state is not _RETURNED},
    (_ACKNOWLEDGED, AlertStep.CLEAR): _CLOSED,
    (_UNACKNOWLEDGED, AlertStep.CLEAR): _RETURNED,
    (_SHELVED, AlertStep.CLEAR): _RETURNED,
    # The maintenance that suppressed the alert explains it, so nobody has to acknowledge it.
    (_SUPPRESSED, AlertStep.CLEAR): _CLOSED,
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
    # Shelving again changes the end.
    (_SHELVED, AlertStep.SHELVE): _SHELVED,
    **{(state, AlertStep.TAKE_OUT): _OUT for state in (_UNACKNOWLEDGED, _ACKNOWLEDGED, _SHELVED, _SUPPRESSED)},
    (_OUT, AlertStep.PUT_BACK): _UNACKNOWLEDGED,
    **{(state, AlertStep.CLOSE): _CLOSED for state in OPEN},
}
_NO_STEP: Final = Template("alert.no_step", "alert {number} is {state}: this step is not possible")
_REFUSALS: Final = {
    AlertStep.ACKNOWLEDGE: Template(
        "alert.no_acknowledge", "alert {number} is {state}: there is nothing to acknowledge"
    ),
    AlertStep.SHELVE: Template("alert.no_shelve", "alert {number} is {state}: it cannot be shelved"),
    AlertStep.UNSHELVE: Template("alert.no_unshelve", "alert {number} is {state}: it is not shelved"),
    AlertStep.TAKE_OUT: Template("alert.no_take_out", "alert {number} is {state}: it cannot be taken out of service"),
    AlertStep.PUT_BACK: Template("alert.no_put_back", "alert {number} is {state}: it is not out of service"),
    AlertStep.CLOSE: Template("alert.no_close", "alert {number} is {state}: it cannot be closed"),
}
# Longest time for which an alert can be shelved at once. The highest hazard level cannot be shelved.
_LONGEST_SHELF_SECOND_HIGHEST: Final = timedelta(hours=4)
_LONGEST_SHELF_HAZARD: Final = timedelta(hours=24)
_LONGEST_SHELF_URGENT: Final = timedelta(hours=4)
_LONGEST_SHELF_NOTICE: Final = timedelta(days=7)
_LONGEST_SHELF_ADVICE: Final = timedelta(days=30)
# Durations that the page offers, as far as the alert can be shelved for so long.
_SHELF_HOURS: Final = (1, 2, 4, 8, 24, 72, 168, 720)


def find_next_state(state: AlertState | None, step: AlertStep, alert_id: int) -> AlertState:
    """Return the state of an alert after a step.

    Args:
        state: The state before the step; None without an open alert.

    Raises:
        RefusedError: This step is not allowed in this state.

    >>> str(find_next_state(AlertState.RETURNED_UNACKNOWLEDGED, AlertStep.ACKNOWLEDGE, 7))
    'closed'
    """
    next_state = TRANSITIONS.get((state, step))
    if next_state is None:
        state_name = Term("normal" if state is None else str(state))
        raise RefusedError(_REFUSALS.get(step, _NO_STEP)(number=alert_id, state=state_name))
    return next_state


def find_longest_shelf(ledger: str, level: int, top_level: int) -> timedelta | None:
    """Return how long an alert can be shelved at once; None if it cannot be shelved.

    >>> [str(find_longest_shelf("hazard", level, 3)) for level in (3, 2, 1)]
    ['None', '4:00:00', '1 day, 0:00:00']
    """
    if ledger == AlertCategory.HAZARD:
        if level >= top_level:
            return None
        return _LONGEST_SHELF_SECOND_HIGHEST if level >= max(1, top_level - 1) else _LONGEST_SHELF_HAZARD
    if ledger == AlertCategory.HEALTH:
        return _LONGEST_SHELF_URGENT if level >= 2 else _LONGEST_SHELF_NOTICE
    return _LONGEST_SHELF_ADVICE


def list_shelf_hours(ledger: str, level: int, top_level: int) -> list[int]:
    """Return the durations of a shelving that people can choose from, in hours; empty if it cannot be shelved.

    >>> list_shelf_hours("hazard", 2, 3), list_shelf_hours("hazard", 3, 3)
    ([1, 2, 4], [])
    """
    longest = find_longest_shelf(ledger, level, top_level)
    return [] if longest is None else [hours for hours in _SHELF_HOURS if timedelta(hours=hours) <= longest]


def may_be_suppressed(ledger: str, level: int, key: str) -> bool:
    """Return whether maintenance may suppress an alert: a notice about an instrument that is not a question."""
    return ledger == AlertCategory.HEALTH and level == 1 and key.startswith("health:") and not key.endswith(":verify")


def find_station_at_work(ledger: str, level: int, key: str, stations: Iterable[str]) -> str | None:
    """Return the station whose maintenance explains an alert; None if no maintenance does.

    Args:
        stations: The stations at which maintenance is in progress.

    >>> find_station_at_work("health", 1, "health:G1.displacement:stale", ["G1"])
    'G1'
    >>> find_station_at_work("health", 1, "health:G10.tilt:stale", ["G1"])
    >>> find_station_at_work("health", 2, "health:G1.displacement:stale", ["G1"])
    """
    if not may_be_suppressed(ledger, level, key):
        return None
    for station in stations:
        prefixes = (
            f"health:{station}.",
            f"health:{station}:",
            f"health:station:{station}:",
            f"health:instrument:{station}:",
        )
        if key.startswith(prefixes):
            return station
    return None
