"""Where a segmentation network learns: the processor, or the accelerator that SLOPEWARD_DEVICE names."""

import ctypes
import os
from contextlib import suppress
from typing import Final

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


# mallopt(3): sizes from which memory goes back at once, and above which what is free at the end does.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
KEPT_BYTES: Final = 128 << 20


def keep_freed() -> None:
    """Let the C library keep what a network frees, which takes it again for its next map; glibc alone can.

    Otherwise each map is made of pages that the system clears anew: half of the processor time of a tile.
    """
    with suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        library.mallopt(M_MMAP_THRESHOLD, KEPT_BYTES)
        library.mallopt(M_TRIM_THRESHOLD, 2 * KEPT_BYTES)
