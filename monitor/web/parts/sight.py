"""What the sight of a site means, in words."""

from typing import Final

from forecasting.message import Message, Template, join
from monitor.domain.headline import SIGHT_WORDS
from monitor.store.pages import SiteCard

_BLIND: Final = Template(
    "sight.blind_decide", "no valid data from the stations behind this level: decide by other means"
)
_CATCHING_UP: Final = Template(
    "sight.catching_up", "catching up: readings that waited are being read, silence is judged when they are in"
)


def spell_sight(card: SiteCard, seen: str) -> Message:
    """What the sight of a site means, with the figure of its stations where both must be read together."""
    words: list[str] = [_BLIND() if seen == "blind" else SIGHT_WORDS.get(seen, seen)]
    if card.status.get("catching_up"):
        words.append(_CATCHING_UP())
    # a station may be sick in a series that has no vote: both are true, and only together they are understood
    if seen != "blind" and not set(card.stations) <= {"ok"}:
        words.append(card.stations_ok)
    return join(words)
