"""Pretrained forecasters that a user has downloaded: their files, their name, and what keeps one from being used."""

import hashlib
import json
from pathlib import Path
from typing import Any, Final, NamedTuple

from forecasting.errors import CheckpointError

WEIGHTS: Final = "model.safetensors"
CONFIG: Final = "config.json"
FAMILIES: Final = ("fracast",)  # each of a package of its name
PARTS: Final = ("core.", "head.")  # begin the names of its tensors
MOST_BYTES: Final = 16 << 20  # read and hashed with each site file that names it
UNREAD: Final = "zero-shot:unread"  # name of one that cannot be read


class ZeroShotFile(NamedTuple):
    """A pretrained forecaster on the disk."""

    name: str  # its family and the digest of its weights
    layout: dict[str, Any]  # what `config.json` says
    content: bytes  # its weights


def list_files(path: str | Path) -> tuple[Path, Path]:
    """Weights and configuration of a folder, or those that lie beside each other where the weights are named."""
    place = Path(path)
    weights = place / WEIGHTS if place.is_dir() else place
    return weights, weights.with_name(CONFIG)


def read_zero_shot(path: str | Path) -> ZeroShotFile:
    """Read weights and configuration; no code of the files runs, and no pickle is read.

    Raises CheckpointError: a file is absent, torn, too large or of another layout; one line.
    """
    from safetensors import SafetensorError, deserialize

    weights, config = list_files(path)
    try:
        if weights.stat().st_size > MOST_BYTES:
            raise CheckpointError(f"{weights}: more than {MOST_BYTES >> 20} MiB of weights")
        content, layout = weights.read_bytes(), json.loads(config.read_text(encoding="utf-8"))
        names = [name for name, _ in deserialize(content)]
    except SafetensorError:
        raise CheckpointError(f"{weights}: no whole safetensors file; nothing else is read") from None
    except OSError as error:
        raise CheckpointError(f"{error.filename or weights}: {error.strerror or error}") from None
    except ValueError:
        raise CheckpointError(f"{config}: no JSON") from None
    model = layout.get("model") if isinstance(layout, dict) else None
    family = model.get("family") if isinstance(model, dict) else None
    if family not in FAMILIES or not names or not all(name.startswith(PARTS) for name in names):
        raise CheckpointError(f"{weights}: of another layout; known: {', '.join(FAMILIES)} (model.family of {CONFIG})")
    return ZeroShotFile(f"{family}:{hashlib.sha256(content).hexdigest()[:12]}", layout, content)


def examine_zero_shot(path: str | Path) -> tuple[str, str]:
    """Under which name it forecasts, `UNREAD` where it cannot be read, and why that is, in one line."""
    try:
        return read_zero_shot(path).name, ""
    except CheckpointError as error:
        return UNREAD, str(error)
