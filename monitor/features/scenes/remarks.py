"""Convert the warnings of a scene that was read for JSON, and find particular warnings among them."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from detection.imagery.footprints.records import COARSER
from detection.reasons import explanation_to_json
from monitor.api.text import Message, convert_reason, convert_reasons_within, list_parts

# Codes of warnings that state that no network read a scene.
UNREAD_CODES: Final = frozenset({"weights.unused", "weights.none_fits", "weights.none_serves"})
NO_NETWORK: Final = "no network was used"
EXPLANATION_LISTS: Final = frozenset({"warnings", "cautions"})  # keys of lists of explanations in a result


def result_to_json(value: Any) -> Any:
    """Return a result for `--json`: its `warnings` and `cautions` as objects, all other reasons as text.

    >>> from detection.reasons import Reason
    >>> result_to_json({"warnings": [Reason("caution.flat", {"slope": 3.2})], "why": Reason("tiles.empty")})["why"]
    'no pixel shows anything'
    >>> result_to_json({"warnings": [Reason("caution.flat", {"slope": 3.2})]})["warnings"]
    [{'code': 'caution.flat', 'text': 'flat ground (3 degrees)', 'values': {'slope': 3.2}}]
    """
    if isinstance(value, Mapping):
        described: dict[str, Any] = {}
        for key, item in value.items():
            if key in EXPLANATION_LISTS:
                described[key] = [explanation_to_json(explanation, convert_reason) for explanation in item]
            else:
                described[key] = result_to_json(item)
        return described
    if isinstance(value, list | tuple):
        return [result_to_json(item) for item in value]
    return convert_reasons_within(value)


def find_coarser(warnings: Iterable[str]) -> str | None:
    """Return the warning that a scene was read on larger pixels than its own; None if it was not."""
    return next((text for text in warnings if isinstance(text, Message) and text.id == COARSER), None)


def explain_unread(warnings: Iterable[str]) -> str:
    """Return the warning with the reason why no network read a scene. It is shown instead of a number of footprints."""
    return next((str(warning) for warning in warnings if _says_unread(warning)), NO_NETWORK)


def _says_unread(warning: str) -> bool:
    return any(isinstance(part, Message) and part.id in UNREAD_CODES for part in list_parts(warning))
