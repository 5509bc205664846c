"""What the sight of a site means, in words."""

from monitor.domain.headline import SIGHT_WORDS
from monitor.store.pages import SiteCard


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
