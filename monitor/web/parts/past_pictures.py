"""Small pictures of the levels of a past as plain SVG facts."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, TypedDict

from monitor.alerting.acts.site_diff import StoredEffect, list_hours, name_levels
from monitor.domain.decision import seconds
from monitor.domain.instants import parse

RIBBON: Final = 1000.0
LEAST: Final = 2.0  # of a span of levels: what was short is to be seen


def format_day(at_s: float) -> str:
    """The day of an instant.

    >>> format_day(1.0e9)
    '2001-09-09'
    """
    return f"{datetime.fromtimestamp(at_s, UTC):%Y-%m-%d}"


class LevelBlock(TypedDict):
    """A time at one level."""

    x: float
    width: float
    level: int
    name: str
    text: str


def draw_levels(
    from_s: float, to_s: float, names: Mapping[int, str], spans: Iterable[tuple[float, float, int]]
) -> list[LevelBlock]:
    """The times at one level (from, to, number) as blocks of a ribbon."""
    whole_s = (to_s - from_s) or 1.0
    blocks: list[LevelBlock] = []
    for low_s, high_s, level in spans:
        x = min(max((low_s - from_s) / whole_s, 0.0), 1.0) * RIBBON
        width = max((high_s - low_s) / whole_s * RIBBON, LEAST)
        blocks.append(
            {
                "x": round(min(x, RIBBON - width), 1),
                "width": round(width, 1),
                "level": level,
                "name": names[level],
                "text": f"{format_day(low_s)} – {format_day(high_s)}",
            }
        )
    return blocks


class RunPicture(TypedDict):
    """What a declaration would have done."""

    name: str
    blocks: list[LevelBlock]
    hours: list[tuple[str, float]]
    hazards: int
    alarm_days: int
    false_days: int
    misses: int
    events: int


EffectPicture = TypedDict(
    "EffectPicture", {"from": str, "to": str, "runs": list[RunPicture], "differences": Any, "unproven": Any}
)


def picture_effect(effect: StoredEffect) -> EffectPicture | None:
    """Both runs of a stored effect; None where none was computed.

    Args:
        effect: of `monitor.replay.effect`, as it is stored with a proposal.
    """
    if "scorecard" not in effect:
        return None
    card = effect["scorecard"]
    ends = (effect["from"], effect["to"])
    from_s, to_s = (seconds(parse(end if "T" in end else f"{end}T00:00:00Z")) for end in ends)
    runs: list[RunPicture] = []
    for name, run in zip(effect["names"], card["runs"], strict=True):
        names = name_levels(run)
        spans = tuple(
            (seconds(parse(s["from"])), seconds(parse(s["to"])), s["level"]) for s in run.get("level_history", ())
        )
        false_days = sum(run.get("false_alarm_days", {}).values())
        runs.append(
            {
                "name": name,
                "blocks": draw_levels(from_s, to_s, names, spans),
                "hours": list_hours(run),
                "hazards": sum(a["ledger"] == "hazard" for a in run["alerts"]),
                "alarm_days": run["alarm_days"],
                "false_days": false_days,
                "misses": run["misses"],
                "events": len(run["events"]),
            }
        )
    return {
        "from": effect["from"],
        "to": effect["to"],
        "runs": runs,
        "differences": card["differences"],
        "unproven": card.get("unproven", ()),
    }
