"""Where a network runs: the one place that chooses between the processor and an accelerator."""

import os

import torch
from torch import Tensor, nn

from forecasting.errors import ForecastingError

VARIABLE = "SLOPEWARD_DEVICE"
CHOICES = ("cpu", "cuda", "auto")


def pick_device() -> torch.device:
    """What SLOPEWARD_DEVICE names: `cpu` (default), `cuda`, or `auto` = an accelerator where there is one.

    The same bytes for the same seed are promised on the processor; these networks are small and gain little elsewhere.
    """
    wanted = os.environ.get(VARIABLE, "cpu").strip().lower() or "cpu"
    if wanted not in CHOICES:
        raise ForecastingError(f"{VARIABLE}={wanted}: expected one of {', '.join(CHOICES)}")
    there = torch.cuda.is_available()
    if wanted == "cuda" and not there:
        raise ForecastingError(f"{VARIABLE}=cuda: torch finds no accelerator")
    return torch.device("cuda" if there and wanted != "cpu" else "cpu")


def run_network(network: nn.Module, *inputs: Tensor) -> Tensor:
    """What a network answers, on the processor, wherever the network itself lies; by one thread.

    These networks are small: a second thread is slower, and on a machine that others use they wait for each other.
    """
    first = next(network.parameters(), None)
    place = torch.device("cpu") if first is None else first.device
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        out: Tensor = network(*(one.to(place) for one in inputs))
    finally:
        torch.set_num_threads(threads)
    return out.cpu()
