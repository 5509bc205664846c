"""Checkpoints that describe themselves: safetensors with the recipe inside, and a JSON card beside it."""

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
    """Weights and recipe as safetensors; the same training gives the same bytes."""
    # one metadata key only: the format does not promise an order of several
    recipe = json.dumps({"recipe": forecaster.recipe.to_json(), "data_hash": data_hash}, sort_keys=True)
    tensors = {name: tensor.contiguous() for name, tensor in sorted(forecaster.network.state_dict().items())}
    return bytes(save_tensors(tensors, metadata={"slopeward": recipe}))


def model_hash(content: bytes) -> str:
    """The name of a checkpoint: sha256 of its safetensors bytes."""
    return hashlib.sha256(content).hexdigest()


def write(folder: str | Path, content: bytes, card: dict[str, Any]) -> Path:
    """Write `<model_hash>.safetensors` and `.json` into an existing or new folder; both appear whole or not at all."""
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    target = place / f"{model_hash(content)}.safetensors"
    # the card first: whoever sees the weights finds their description
    write_bytes(target.with_suffix(".json"), json.dumps(card, indent=1, sort_keys=True, allow_nan=False).encode())
    write_bytes(target, content)
    return target


def read(path: str | Path) -> tuple[NeuralForecaster, dict[str, Any]]:
    """Load a checkpoint by the path of its safetensors or JSON file.

    Raises:
        CheckpointError: A file is absent, damaged, or not what its name says.
        OutdatedCheckpointError: The network has other weights in this version.
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
        network, states = build_network(recipe), load_tensors(content)
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
