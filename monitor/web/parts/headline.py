"""What a site's headline says besides its level: the alert behind it, how fast it moves, what may come."""

from collections.abc import Set as AbstractSet
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection

from monitor.domain.alert import Ledger
from monitor.domain.decision import Memory
from monitor.domain.instants import epoch_s, parse
from monitor.domain.keys import VoteKey
from monitor.store.alerting.decisions import find_state

CALM: Final = frozenset({None, "unknown", "creep"})  # stages that are nothing to wake anybody for


def find_hazards(alerts: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The alert of each site that its headline is about: of open ones, the highest first, and no drill."""
    found: dict[str, dict[str, Any]] = {}
    for alert in alerts:
        if alert["ledger"] == Ledger.HAZARD and not alert["exercise"]:
            found.setdefault(alert["site"], alert)
    return found


def describe_motion(movement: list[dict[str, Any]], now: datetime, watched: AbstractSet[str]) -> dict[str, Any] | None:
    """The fastest series, how many stations are beyond creep, the next trusted window; None where none is judged.

    Args:
        movement: rows of `timeline.load_newest_movement`.
        now: the present; windows that ended before it are over.
        watched: stations on the slope that the site file declares; others moved once and are judged no more.
    """
    movement = [row for row in movement if row["station"] in watched]
    judged = [row for row in movement if row["velocity_mm_per_day"] is not None]
    if not judged:
        return None
    windows = [row["window"] for row in movement if row["window"] and row["window"]["trusted"]]
    ahead = sorted((w for w in windows if parse(w["window_to"]) > now), key=lambda w: str(w["window_from"]))
    return {
        "fastest": max(judged, key=lambda row: abs(row["velocity_mm_per_day"])),
        "beyond": len({row["station"] for row in movement if row["stage"] not in CALM}),
        "stations": len({row["station"] for row in movement}), "window": ahead[0] if ahead else None,
    }  # fmt: skip


def find_asks(c: Connection, site: str, top: int, now: datetime) -> dict[str, int]:
    """The highest level that each station asks for by itself, by votes that have not aged."""
    state = find_state(c, site)
    found: dict[str, int] = {}
    for key, vote in ({} if state is None else Memory.read(state.state).votes).items():
        if vote.level > 0 and vote.valid_until_s >= epoch_s(now):
            station = VoteKey.read(key).station
            found[station] = max(min(vote.level, top), found.get(station, 0))
    return found
