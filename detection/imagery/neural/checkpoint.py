"""Weights on disk: safetensors plus a JSON card that says all that is needed to use them; never pickle."""

import json
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from detection.imagery.errors import ModelError
from detection.imagery.registry import build
from detection.whole_file import replacing

WEIGHTS_FOLDER = Path(__file__).resolve().parent.parent / "weights"
FORMAT = 1
CARD_KEYS = ("format", "name", "network", "bands", "radiometry", "normalisation", "threshold", "weights_sha256")


@dataclass(frozen=True, slots=True)
class Model:
    """A network with weights and everything its card says.

    Attributes:
        network: module in evaluation mode.
        card: the JSON card.
        model_hash: sha256 over weights and card: what a stored footprint names as its origin.
    """

    network: torch.nn.Module
    card: dict[str, Any]
    model_hash: str

    @property
    def bands(self) -> tuple[str, ...]:
        """Names of the input bands, in order."""
        return tuple(self.card["bands"])


def weights_path(weights: str) -> Path:
    """Resolve the name of shipped weights, or a path, to the .safetensors file."""
    shipped = WEIGHTS_FOLDER / f"{weights}.safetensors"
    if shipped.is_file():
        return shipped
    path = Path(weights)
    if path.suffix != ".safetensors" or not path.is_file():
        known = ", ".join(sorted(file.stem for file in WEIGHTS_FOLDER.glob("*.safetensors")))
        raise ModelError(f"no weights at {weights}; shipped: {known}")
    return path


def save_model(path: Path, network: torch.nn.Module, card: dict[str, Any]) -> None:
    """Write `path` (.safetensors) and the card beside it, each by temporary name, flushed to disk, renamed."""
    tensors = {name: value.detach().contiguous() for name, value in network.state_dict().items()}
    content = save_tensors(tensors)
    card = {"format": FORMAT, **card, "weights_sha256": sha256(content).hexdigest()}
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(card, indent=2, ensure_ascii=False) + "\n"
    for target, payload in ((path, content), (path.with_suffix(".json"), text.encode())):
        with replacing(target, flush=True) as partial:
            partial.write_bytes(payload)


def load_model(weights: str, *, ungated: bool = False) -> Model:
    """Load weights by shipped name or path.

    Args:
        weights: which.
        ungated: also a retraining candidate that did not pass its gate: to be scored, never to find footprints.

    Raises:
        ModelError: file or card missing, card incomplete, weights that are not the card's, or a gate not passed.
    """
    path = weights_path(weights)
    card_path = path.with_suffix(".json")
    try:
        card_text = card_path.read_bytes()
        card = json.loads(card_text)
    except FileNotFoundError:
        raise ModelError(f"{path}: the card {card_path.name} is missing beside the weights") from None
    except ValueError as error:
        raise ModelError(f"{card_path}: not JSON ({error})") from None
    missing = [key for key in CARD_KEYS if key not in card]
    if missing or card["format"] != FORMAT:
        raise ModelError(f"{card_path}: not a card of format {FORMAT} (missing: {', '.join(missing) or 'nothing'})")
    if not ungated and not card.get("gate", {"passed": True})["passed"]:
        raise ModelError(f"{path}: this candidate did not pass its gate: {'; '.join(card['gate']['reasons'])}")
    content = path.read_bytes()
    if sha256(content).hexdigest() != card["weights_sha256"]:
        raise ModelError(f"{path}: the weights are not those of the card (sha256 differs)")
    options = card["network"]
    network = build(options["name"], len(card["bands"]), options["classes"], options["width"], **options["options"])
    try:
        network.load_state_dict(load_tensors(content))
    except RuntimeError as error:
        raise ModelError(f"{path}: does not fit the network of the card ({str(error).splitlines()[0]})") from None
    network.eval()
    return Model(network, card, sha256(content + card_text).hexdigest())
