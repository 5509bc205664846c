"""Save and load a network as a safetensors file with its JSON card. Pickle is never used, because it can run code."""

import ctypes
import json
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from detection.imagery.errors import ModelError
from detection.imagery.optional_bands import count_channels
from detection.imagery.registry import build
from detection.imagery.weights_file import FORMAT, ModelCard, read_weights
from detection.whole_file import replacing

# Parameters of mallopt(3).
M_TRIM_THRESHOLD: Final = -1
M_MMAP_THRESHOLD: Final = -3
# glibc returns freed blocks of at least this size to the system.
MMAP_BYTES: Final = 128 << 20


@dataclass(frozen=True, slots=True)
class SegmentationModel:
    """A network with its weights and card."""

    network: torch.nn.Module  # in evaluation mode
    card: ModelCard
    model_hash: str  # sha256 over weights and card, stored with each footprint

    @property
    def bands(self) -> tuple[str, ...]:
        """Names of the bands that every scene must have, in order."""
        return tuple(self.card["bands"])


def save_model(path: Path, network: torch.nn.Module, card: ModelCard) -> None:
    """Write `path` (.safetensors) and the card beside it, each atomically."""
    tensors = {name: value.detach().contiguous() for name, value in network.state_dict().items()}
    content = save_tensors(tensors)
    card = {"format": FORMAT, **card, "weights_sha256": sha256(content).hexdigest()}
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(card, indent=2, ensure_ascii=False) + "\n"
    for target, payload in ((path, content), (path.with_suffix(".json"), text.encode())):
        with replacing(target, flush=True) as partial:
            partial.write_bytes(payload)


def load_model(weights: str, *, ungated: bool = False) -> SegmentationModel:
    """Load weights by shipped name or path.

    Args:
        ungated: also load a candidate that did not pass its gate. It may be scored, but must not find footprints.

    Raises:
        ModelError: the file or the card is missing, the card is incomplete or of other weights, or the gate is not
            passed.
    """
    # Make glibc keep the memory that a network frees. The system clears new pages, which would take half of the time.
    with suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        library.mallopt(M_MMAP_THRESHOLD, MMAP_BYTES)
        library.mallopt(M_TRIM_THRESHOLD, 2 * MMAP_BYTES)
    file = read_weights(weights, ungated=ungated)
    card = file.card
    spec = card["network"]
    network = build(spec["name"], count_channels(card), spec["classes"], spec["width"], **spec["options"])
    try:
        network.load_state_dict(load_tensors(file.content))
    except (RuntimeError, SafetensorError) as error:
        raise ModelError(f"{file.path}: does not fit the network of the card ({str(error).splitlines()[0]})") from None
    network.eval()
    return SegmentationModel(network, card, file.model_hash)
