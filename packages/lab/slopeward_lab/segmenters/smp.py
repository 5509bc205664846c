"""Networks of the library segmentation-models-pytorch, by names such as `smp:Unet/resnet18`.

The library is optional and is not a dependency of this package: it needs torchvision, whose builds on the Python
Package Index do not load beside the build of PyTorch for the CPU.
"""

from importlib import import_module
from typing import Any, Final

import torch

from detection.imagery.neural.networks.blocks import SegmentationNetwork

LIBRARY: Final = "segmentation_models_pytorch"
INSTALL: Final = "pip install 'segmentation-models-pytorch>=0.5', with a torchvision for the installed PyTorch"


class SmpNetwork(SegmentationNetwork):
    """An architecture of the library on one of its encoders, with random weights.

    The library offers its networks in one width. Weights of an encoder can be loaded from a file (`encoder` in a
    recipe); the library downloads none.

    Args:
        in_channels: number of bands.
        classes: number of output classes.
        width: must be 1.
        member: architecture and encoder with the names of the library, separated by a slash.

    Raises:
        ValueError: the library cannot be imported or has no such network, or `width` is not 1.
    """

    stride = 32

    def __init__(self, in_channels: int, classes: int = 2, width: float = 1.0, *, member: str) -> None:
        super().__init__()
        if width != 1.0:
            raise ValueError(f"networks of {LIBRARY} have one width: set width = 1.0, not {width:g}")
        model = _create_model(member, in_channels, classes)
        self.encoder = model.encoder
        self.decoder = model.decoder
        self.segmentation_head = model.segmentation_head

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        """Map padded images to logits."""
        logits: torch.Tensor = self.segmentation_head(self.decoder(self.encoder(images)))
        return logits


def _create_model(member: str, in_channels: int, classes: int) -> Any:
    """Return a model of the library without downloaded weights."""
    architecture, _, encoder = member.partition("/")
    if not architecture or not encoder:
        raise ValueError(f"{member!r} is not ARCHITECTURE/ENCODER, such as Unet/resnet18")
    try:
        library = import_module(LIBRARY)
    # A torchvision that does not fit the installed PyTorch raises a RuntimeError.
    except (ImportError, OSError, RuntimeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f"{LIBRARY} cannot be imported ({reason}): {INSTALL}") from None
    try:
        return library.create_model(
            architecture, encoder_name=encoder, encoder_weights=None, in_channels=in_channels, classes=classes
        )
    except KeyError as error:
        raise ValueError(f"{LIBRARY}: {error.args[0]}") from None
