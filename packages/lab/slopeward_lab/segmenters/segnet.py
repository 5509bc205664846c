"""SegNet: an encoder that remembers where its maxima were, and a decoder that puts them back there."""

import torch
from torch import nn

from detection.imagery.neural.networks.blocks import ConvUnit, SegmentationNetwork, initialise
from slopeward_lab.segmenters.vgg import CONVOLUTIONS, make_stages


def pool_with_places(features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Take the maximum of each 2 x 2 window, and which of its four cells (0 to 3, row by row) it came from.

    >>> values, places = pool_with_places(torch.tensor([[[[1.0, 2.0], [4.0, 3.0]]]]))
    >>> values.item(), places.item()
    (4.0, 2)
    """
    count, channels, height, width = features.shape
    windows = features.reshape(count, channels, height // 2, 2, width // 2, 2).transpose(3, 4)
    values, places = windows.flatten(4).max(dim=4)
    return values, places


def unpool(values: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """Put each value back to its cell of a map of twice the size; the other cells are zero.

    Written as a product, not with `max_unpool2d`: that one refuses deterministic training and has no ONNX form.

    >>> unpool(torch.tensor([[[[4.0]]]]), torch.tensor([[[[2]]]])).tolist()
    [[[[0.0, 0.0], [4.0, 0.0]]]]
    """
    count, channels, height, width = values.shape
    cells = values[..., None] * (places[..., None] == torch.arange(4, device=values.device))
    windows = cells.reshape(count, channels, height, width, 2, 2).transpose(3, 4)
    return windows.reshape(count, channels, 2 * height, 2 * width)


class Segnet(SegmentationNetwork):
    """SegNet (Badrinarayanan et al. 2017): VGG-16 with batch normalisation and its mirror image.

    Encoder 64, 128, 256, 512, 512 with 2, 2, 3, 3, 3 convolutions and a 2 x 2 max pool after each stage, down to 1/32;
    decoder with the same counts; its last 3 x 3 convolution gives the classes.
    """

    stride = 32

    def __init__(self, in_channels: int, classes: int = 2, width: float = 1.0) -> None:
        super().__init__()
        self.encoder, widths = make_stages(in_channels, width, normalised=True)
        self.decoder = nn.ModuleList()
        for level in reversed(range(len(widths))):
            stage = nn.Sequential(*(ConvUnit(widths[level], widths[level]) for _ in range(CONVOLUTIONS[level] - 1)))
            if level:
                stage.append(ConvUnit(widths[level], widths[level - 1]))
            else:
                stage.append(nn.Conv2d(widths[0], classes, 3, padding=1))
            self.decoder.append(stage)
        self.apply(initialise)

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        """Map padded images to logits."""
        features, memory = images, []
        for stage in self.encoder:
            features, places = pool_with_places(stage(features))
            memory.append(places)
        for stage in self.decoder:
            features = stage(unpool(features, memory.pop()))
        return features
