"""A trained detector as a file that describes itself: weights and card in safetensors, the card again as JSON."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from detection.anomaly.errors import DetectorCheckpointError
from detection.whole_file import replacing

Weights = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Weights, card and the sha256 of the file that holds both."""

    weights: dict[str, NDArray[Any]]
    card: dict[str, Any]
    model_hash: str


def save_checkpoint(folder: Path, weights: Weights, card: Mapping[str, Any]) -> tuple[str, Path]:
    """Write ``<hash>.safetensors`` and ``<hash>.json`` whole or not at all.

    The card lies inside the safetensors file too, so that the hash covers thresholds and settings, not weights alone.

    Returns the model hash and the path of the safetensors file.
    """
    tensors = {name: np.ascontiguousarray(value) for name, value in sorted(weights.items())}
    content = save(tensors, metadata={"card": json.dumps(card, sort_keys=True, allow_nan=False)})
    model_hash = hashlib.sha256(content).hexdigest()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{model_hash}.safetensors"
    with replacing(path, flush=True) as partial:
        partial.write_bytes(content)
    text = json.dumps({"model_hash": model_hash, **card}, sort_keys=True, indent=1, allow_nan=False)
    with replacing(path.with_suffix(".json"), flush=True) as partial:
        partial.write_text(text, encoding="utf-8")
    return model_hash, path


def load_checkpoint(path: Path) -> Checkpoint:
    """Read and verify a checkpoint.

    Raises:
        CheckpointError: the file is absent, no checkpoint, or its content is not what its name promises.
    """
    try:
        content = path.read_bytes()
        with safe_open(path, framework="numpy") as file:
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 -- the handle is no mapping
            card = json.loads((file.metadata() or {})["card"])
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise DetectorCheckpointError(f"{path.name} cannot be read as an anomaly checkpoint: {error}") from error
    model_hash = hashlib.sha256(content).hexdigest()
    if len(path.stem) == len(model_hash) and path.stem != model_hash:
        raise DetectorCheckpointError(f"{path.name} was altered: its sha256 is {model_hash}")
    return Checkpoint(weights, card, model_hash)
