"""Weights and their card as files: found, read and checked without the libraries that run them."""

import json
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from detection.imagery.errors import ModelError

WEIGHTS_FOLDER: Final = Path(__file__).resolve().parent / "weights"
FORMAT: Final = 1
CARD_KEYS: Final = (
    "format", "name", "network", "bands", "radiometry", "normalisation", "threshold", "weights_sha256"
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class WeightsFile:
    """Weights that are those of their card: `content` is safetensors, `model_hash` covers both files."""

    path: Path
    content: bytes
    card: dict[str, Any]
    model_hash: str


def weights_path(weights: str) -> Path:
    """Resolve the name of shipped weights, or a path, to the .safetensors file."""
    shipped, path = WEIGHTS_FOLDER / f"{weights}.safetensors", Path(weights)
    try:
        if shipped.is_file():
            return shipped
        is_there = path.suffix == ".safetensors" and path.is_file()
    except OSError as error:  # a folder that may not be read, a name that is too long
        raise ModelError(f"{weights}: cannot be read ({error.strerror})") from None
    if not is_there:
        known = ", ".join(sorted(file.stem for file in WEIGHTS_FOLDER.glob("*.safetensors")))
        raise ModelError(f"no weights at {weights}; shipped: {known}")
    return path


def read_weights(weights: str, *, ungated: bool = False) -> WeightsFile:
    """Read weights and card by shipped name or path.

    Args:
        weights: which.
        ungated: also a candidate that did not pass its gate.

    Raises:
        ModelError: file or card missing or unreadable, card incomplete, weights not the card's, a gate not passed.
    """
    path = weights_path(weights)
    card_path = path.with_suffix(".json")
    try:
        card_text = card_path.read_bytes()
        content = path.read_bytes()
        card = json.loads(card_text)
    except FileNotFoundError:
        raise ModelError(f"{path}: the card {card_path.name} is missing beside the weights") from None
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{card_path}: not JSON ({error})") from None
    missing = [key for key in CARD_KEYS if not isinstance(card, dict) or key not in card]
    if missing or card["format"] != FORMAT:
        raise ModelError(f"{card_path}: not a card of format {FORMAT} (missing: {', '.join(missing) or 'nothing'})")
    gate = card.get("gate", {"passed": True})
    if not isinstance(gate, dict) or "passed" not in gate:
        raise ModelError(f"{card_path}: its gate says nothing")
    if not ungated and not gate["passed"]:
        reasons = "; ".join(map(str, gate.get("reasons") or ()))
        raise ModelError(f"{path}: this candidate did not pass its gate: {reasons}")
    if sha256(content).hexdigest() != card["weights_sha256"]:
        raise ModelError(f"{path}: the weights are not those of the card (sha256 differs)")
    return WeightsFile(path, content, card, sha256(content + card_text).hexdigest())


def find_fault(weights: str) -> str | None:
    """Why weights cannot be read, in one line; None where they can."""
    try:
        read_weights(weights)
    except ModelError as error:
        return " ".join(str(error).split())
    return None


def spell_own(weights: str) -> str:
    """Weights of one's own as people recognise them: the file and its folder, not the path of the server.

    >>> spell_own("/srv/models/scenes/bench/20261122-101500/bench.safetensors")
    '20261122-101500/bench.safetensors'
    """
    return "/".join(Path(weights).parts[-2:])
