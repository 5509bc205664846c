"""Device on which segmentation networks are trained, as the environment variable SLOPEWARD_DEVICE names it."""

import os

import torch

from detection.imagery.errors import TrainingRecipeError

VARIABLE = "SLOPEWARD_DEVICE"
CHOICES = ("cpu", "cuda", "auto")
PROCESSOR = torch.device("cpu")


def pick_device() -> torch.device:
    """Return the device that SLOPEWARD_DEVICE names: `cpu` (default), `cuda`, or `auto` (an accelerator if present).

    Only on the processor does the same seed give the same weights bit for bit.

    Raises:
        TrainingRecipeError: another value, or `cuda` on a machine without an accelerator.
    """
    name = os.environ.get(VARIABLE, "").strip().lower() or "cpu"
    if name not in CHOICES:
        raise TrainingRecipeError(f"{VARIABLE}={name}: expected one of {', '.join(CHOICES)}")
    has_accelerator = name != "cpu" and torch.cuda.is_available()
    if name == "cuda" and not has_accelerator:
        raise TrainingRecipeError(f"{VARIABLE}=cuda: torch finds no accelerator")
    return torch.device("cuda") if has_accelerator else PROCESSOR
