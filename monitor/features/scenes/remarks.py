"""Questions about the doubts and warnings of a scene that was read, as the messages that are stored and shown."""

from collections.abc import Iterable
from typing import Final

from detection.imagery.footprints.records import COARSER
from monitor.api.text import Message, list_parts

# Codes of warnings that say that no network read a scene.
UNREAD: Final = frozenset({"weights.unused", "weights.none_fits", "weights.none_serves"})
NO_NETWORK: Final = "no network was used"


def find_coarser(doubts: Iterable[str]) -> str | None:
    """Return the doubt that a scene was read on larger pixels than its own; None if it was not."""
    return next((doubt for doubt in doubts if isinstance(doubt, Message) and doubt.id == COARSER), None)


def explain_unread(warnings: Iterable[str]) -> str:
    """Return the warning that says why no network read a scene, to show in place of the number of footprints."""
    return next((str(warning) for warning in warnings if _is_unread(warning)), NO_NETWORK)


def _is_unread(warning: str) -> bool:
    return any(isinstance(part, Message) and part.id in UNREAD for part in list_parts(warning))
