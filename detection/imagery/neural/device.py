"""Where a segmentation network learns: the processor, or the accelerator that SLOPEWARD_DEVICE names."""

import os

import torch

from detection.imagery.errors import TrainingRecipeError

VARIABLE = "SLOPEWARD_DEVICE"
CHOICES = ("cpu", "cuda", "auto")
PROCESSOR = torch.device("cpu")


def pick_device() -> torch.device:
    """What SLOPEWARD_DEVICE names: `cpu` (default), `cuda`, or `auto` = an accelerator where there is one.

    The same bytes for the same seed are promised on the processor alone.

    Raises:
        TrainingRecipeError: another word, or `cuda` on a machine without.
    """
    wanted = os.environ.get(VARIABLE, "").strip().lower() or "cpu"
    if wanted not in CHOICES:
        raise TrainingRecipeError(f"{VARIABLE}={wanted}: expected one of {', '.join(CHOICES)}")
    there = wanted != "cpu" and torch.cuda.is_available()
    if wanted == "cuda" and not there:
        raise TrainingRecipeError(f"{VARIABLE}=cuda: torch finds no accelerator")
    return torch.device("cuda") if there else PROCESSOR
