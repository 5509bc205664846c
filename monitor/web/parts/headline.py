"""What a site's headline says besides its level: the alert behind it, how fast it moves, what may come."""

from collections.abc import Set as AbstractSet
from datetime import datetime, timedelta
from typing import Any, Final

from monitor.domain.alert import Ledger
from monitor.domain.instants import parse

SPARK: Final = timedelta(days=1)
SPARK_MOST: Final = 160  # points of a small picture
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
