"""The ribbon of a site as plain SVG facts: level over time, and below it where nobody could see."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from monitor.domain.headline import SIGHT_WORDS
from monitor.domain.instants import parse
from monitor.store.pages import SiteCard

WIDTH: Final = 1000.0
LEAST_WIDTH: Final = 4.0


def draw_ribbon(
    segments: Sequence[Mapping[str, Any]], levels: Sequence[Mapping[str, Any]], low: datetime, high: datetime
) -> dict[str, Any] | None:
    """Blocks in drawing units; None when there was no evaluation in the range.

    Args:
        segments: rows of `timeline.load_ribbon`.
        levels: the ladder of the site, `number` and `name`.
        low: left end.
        high: right end.
    """
    if not segments:
        return None
    names = {v["number"]: v["name"] for v in levels}
    whole_s = (high - low).total_seconds()

    def place(text: str) -> float:
        return min(max((parse(text) - low).total_seconds() / whole_s, 0.0), 1.0) * WIDTH

    blocks = []
    for segment in segments:
        x, end = place(segment["from_at"]), place(segment["to_at"])
        # what began minutes ago is to be seen at the right end too, not to lie on its edge
        width = max(end - x, LEAST_WIDTH)
        x = min(x, WIDTH - width)
        name = names.get(segment["level"], str(segment["level"]))
        seen = segment["observability"]
        blocks.append({
            "x": round(x, 1), "width": round(width, 1), "level": segment["level"], "name": name,
            "seen": seen,
            "text": f"{name}, {SIGHT_WORDS.get(seen, seen)}: {segment['from_at'][:16]}Z to {segment['to_at'][:16]}Z",
        })  # fmt: skip
    keys = {b["level"]: {"level": b["level"], "name": b["name"]} for b in blocks}
    return {
        "width": WIDTH, "blocks": blocks, "ticks": list(_ticks(low, high)),
        "keys": [keys[level] for level in sorted(keys)], "since": blocks[0]["x"],
    }  # fmt: skip


def spell_sight(card: SiteCard, seen: str) -> str:
    """What the sight of a site means, with the figure of its stations where both must be read together."""
    words = SIGHT_WORDS.get(seen, seen)
    if seen == "blind":
        words = f"{words}: decide by other means"
    if card.status.get("catching_up"):
        words = f"{words}; catching up: readings that waited are being read, silence is judged when they are in"
    if seen == "blind":
        return words
    # a station may be sick in a series that has no vote: both are true, and only together they are understood
    return words if set(card.stations) <= {"ok"} else f"{words}; {card.station_words}"


def _ticks(low: datetime, high: datetime) -> list[dict[str, Any]]:
    """Six marks at even distances, so that labels in six equal cells stand where they belong."""
    cells = 6
    found = []
    for k in range(cells):
        at = low + (high - low) * k / cells
        found.append({"x": round(WIDTH * k / cells, 1), "text": f"{at:%b} {at.day}"})
    return found
