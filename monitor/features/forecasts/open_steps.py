"""Jumps of stations that nobody has explained yet, as a note on their forecasts.

A forecast does not count a jump as motion until a person answers that it was movement. While the question is open, the
reason of the forecast says so.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection

from monitor.api.queries.alerts import find_state
from monitor.api.text import Message, Template, Timestamp, parse_time

_OPEN_STEP: Final = Template(
    "forecast.open_step",
    "the jump at {at} is an open question; the forecast continues from the level after it and does not count it as "
    "motion",
)
# States of a step that a person can still answer. `monitor.decision.records.Step` describes them.
_OPEN: Final = frozenset({"pending", "counted", "doubtful"})


def load_open_steps(connection: Connection, site_id: str) -> dict[str, Message]:
    """Return the note on the newest open jump of each station of a site."""
    state = find_state(connection, site_id)
    return {} if state is None else describe_open_steps(state.state["steps"])


def describe_open_steps(steps: Mapping[str, Any]) -> dict[str, Message]:
    """Return the note on the newest open jump of each station.

    Args:
        steps: `STATION@INSTANT` -> step, as the evaluation stores them.
    """
    newest: dict[str, datetime] = {}
    for key, step in steps.items():
        station, _, instant = key.rpartition("@")
        if step["state"] not in _OPEN:
            continue
        at = parse_time(instant)
        if station not in newest or at > newest[station]:
            newest[station] = at
    return {station: _OPEN_STEP(at=Timestamp.of(at, "minute")) for station, at in newest.items()}
