"""Checkpoints of networks: a safetensors file that contains the recipe, and a JSON card beside it."""

import hashlib
import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from forecasting.errors import CheckpointError, ForecastingError, OutdatedCheckpointError
from forecasting.neural.forecaster import NeuralForecaster, Recipe, build_network
from forecasting.whole_file import write_bytes


def to_bytes(forecaster: NeuralForecaster, data_hash: str) -> bytes:
    """Return weights and recipe as safetensors. The same training gives the same bytes."""
    # A single metadata key, because the format does not define the order of several keys.
    metadata = json.dumps({"recipe": forecaster.recipe.to_json(), "data_hash": data_hash}, sort_keys=True)
    tensors = {name: tensor.contiguous() for name, tensor in sorted(forecaster.network.state_dict().items())}
    return bytes(save_tensors(tensors, metadata={"slopeward": metadata}))


def model_hash(content: bytes) -> str:
    """Return the name of a checkpoint, the sha256 of its safetensors file."""
    return hashlib.sha256(content).hexdigest()


def write(folder: str | Path, content: bytes, card: dict[str, Any]) -> Path:
    """Write a checkpoint as `<model_hash>.safetensors` and `.json` and return the path of the former.

    The folder is created if it is missing. Each file is complete when it becomes visible.
    """
    folder_path = Path(folder)
    folder_path.mkdir(parents=True, exist_ok=True)
    target = folder_path / f"{model_hash(content)}.safetensors"
    # The card is written first, so that weights always have a card.
    write_bytes(target.with_suffix(".json"), json.dumps(card, indent=1, sort_keys=True, allow_nan=False).encode())
    write_bytes(target, content)
    return target


def read(path: str | Path) -> tuple[NeuralForecaster, dict[str, Any]]:
    """Load a checkpoint by the path of its safetensors or JSON file.

    Raises:
        CheckpointError: A file is missing or damaged, or does not match its card.
        OutdatedCheckpointError: The network has other weights in this version of the program.
    """
    weights = Path(path).with_suffix(".safetensors")
    try:
        content = weights.read_bytes()
        card = json.loads(weights.with_suffix(".json").read_text())
    except (OSError, ValueError) as error:
        raise CheckpointError(f"checkpoint {weights}: {error}") from error
    digest = model_hash(content)
    if not isinstance(card, dict) or card.get("model_hash") != digest:
        raise CheckpointError(f"checkpoint {weights}: content does not match the model_hash of its card")
    try:
        with safe_open(weights, framework="pt") as file:
            recipe = Recipe.from_json(json.loads(file.metadata()["slopeward"])["recipe"])
        network = build_network(recipe)
        states = load_tensors(content)
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError, ForecastingError) as error:
        raise CheckpointError(f"checkpoint {weights}: not a forecaster ({error})") from error
    try:
        network.load_state_dict(states)
    except RuntimeError as error:
        raise OutdatedCheckpointError(
            f"the weights are of an earlier version of {recipe.model}: it must be trained again"
        ) from error
    network.eval()
    return NeuralForecaster(recipe, network), card
