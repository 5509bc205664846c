"""Where a training run stands, on disk: written whole or not at all, so that a kill at any instant loses one epoch."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from detection.imagery.errors import TrainingRecipeError
from detection.whole_file import replacing


def write_place(path: Path, facts: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
    """Write plain facts and tensors by temporary name, synced, renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # cloned: safetensors refuses tensors that share memory, and wants them in rows
    whole = {key: value.detach().clone(memory_format=torch.contiguous_format) for key, value in tensors.items()}
    with replacing(path, flush=True) as partial:
        save_file(whole, partial, metadata={"place": json.dumps(facts)})


def read_place(path: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Return the facts and tensors of a place.

    Raises:
        TrainingRecipeError: it is damaged, or something else.
    """
    try:
        with safe_open(path, "pt") as source:
            facts = json.loads(source.metadata()["place"])
            return facts, {name: source.get_tensor(name) for name in source.keys()}  # noqa: SIM118 (not a mapping)
    except (SafetensorError, KeyError, TypeError, ValueError):
        raise TrainingRecipeError(
            f"{path}: not the place of a training run; remove it, or begin anew (--anew)"
        ) from None


def below(tensors: dict[str, torch.Tensor], head: str) -> dict[str, torch.Tensor]:
    """Return the tensors whose names begin with `head`, without it."""
    return {name.removeprefix(head): value for name, value in tensors.items() if name.startswith(head)}
