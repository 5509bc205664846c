"""What a change would have done, as a page draws it: levels and figures of both declarations side by side."""

from collections.abc import Mapping
from typing import Any

from monitor.alerting.acts.site_diff import list_hours, name_levels
from monitor.domain.decision import seconds
from monitor.domain.instants import parse
from monitor.web.parts.past_pictures import draw_levels


def picture_effect(effect: Mapping[str, Any]) -> dict[str, Any] | None:
    """Both runs of a stored effect; None where none was computed.

    Args:
        effect: of `monitor.replay.effect`, as it is stored with a proposal.
    """
    if "scorecard" not in effect:
        return None
    card = effect["scorecard"]
    ends = (effect[end] for end in ("from", "to"))
    from_s, to_s = (seconds(parse(end if "T" in end else f"{end}T00:00:00Z")) for end in ends)
    runs = []
    for name, run in zip(effect["names"], card["runs"], strict=True):
        names = name_levels(run)
        spans = tuple(
            (seconds(parse(s["from"])), seconds(parse(s["to"])), s["level"]) for s in run.get("level_history", ())
        )
        false_days = sum(run.get("false_alarm_days", {}).values())
        runs.append({
            "name": name, "blocks": draw_levels(from_s, to_s, names, spans), "hours": list_hours(run),
            "hazards": sum(a["ledger"] == "hazard" for a in run["alerts"]),
            "alarm_days": run["alarm_days"], "false_days": false_days, "misses": run["misses"],
            "events": len(run["events"]),
        })  # fmt: skip
    return {
        "from": effect["from"], "to": effect["to"], "runs": runs, "differences": card["differences"],
        "unproven": card.get("unproven", ()),
    }  # fmt: skip
