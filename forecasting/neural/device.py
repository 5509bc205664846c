"""Choose the device of networks, and run them on it."""

import os

import torch
from torch import Tensor, nn

from forecasting.errors import ForecastingError

VARIABLE = "SLOPEWARD_DEVICE"
CHOICES = ("cpu", "cuda", "auto")


def pick_device() -> torch.device:
    """Return the device that SLOPEWARD_DEVICE names: `cpu` (default), `cuda`, or `auto` for `cuda` if available.

    Results are reproducible bit for bit on the processor only. The networks are small and gain little on an
    accelerator.

    Raises:
        ForecastingError: The name is unknown, or there is no accelerator for `cuda`.
    """
    name = os.environ.get(VARIABLE, "cpu").strip().lower() or "cpu"
    if name not in CHOICES:
        raise ForecastingError(f"{VARIABLE}={name}: expected one of {', '.join(CHOICES)}")
    has_accelerator = torch.cuda.is_available()
    if name == "cuda" and not has_accelerator:
        raise ForecastingError(f"{VARIABLE}=cuda: torch finds no accelerator")
    return torch.device("cuda" if has_accelerator and name != "cpu" else "cpu")


def run_network(network: nn.Module, *inputs: Tensor) -> Tensor:
    """Run a network on its own device with one thread, and return its output on the processor.

    The networks are so small that a second thread makes them slower.
    """
    first_parameter = next(network.parameters(), None)
    device = torch.device("cpu") if first_parameter is None else first_parameter.device
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        output: Tensor = network(*(tensor.to(device) for tensor in inputs))
    finally:
        torch.set_num_threads(threads)
    return output.cpu()
