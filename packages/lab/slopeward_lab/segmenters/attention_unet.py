"""Attention U-Net: what the decoder knows from the coarser scale weighs the encoder's map before it is joined."""

import torch
from torch import nn
from torch.nn import functional

from detection.imagery.neural.networks.blocks import ConvUnit, enlarge, initialise
from detection.imagery.neural.networks.unet import Unet, encode


class AttentionGate(nn.Module):
    """Additive attention at half the size of the skip (Oktay et al. 2018, eq. 1 and 2), as large as the skip inside."""

    def __init__(self, skip_channels: int, gate_channels: int) -> None:
        super().__init__()
        self.skip = nn.Conv2d(skip_channels, skip_channels, 2, stride=2, bias=False)
        self.gate = nn.Conv2d(gate_channels, skip_channels, 1)
        self.share = nn.Conv2d(skip_channels, 1, 1)
        self.mix = ConvUnit(skip_channels, skip_channels, 1, active=False)

    def forward(self, skip: torch.Tensor, gate: torch.Tensor) -> torch.Tensor:
        """Weigh N x C x 2H x 2W by the map N x D x H x W of the coarser scale."""
        share = torch.sigmoid(self.share(functional.relu(self.skip(skip) + self.gate(gate))))
        weighed: torch.Tensor = self.mix(skip * enlarge(share, skip))
        return weighed


class AttentionUnet(Unet):
    """The plain U-Net with a gate on each joined map but the one of full size, as the paper has it.

    Everything but the gates, options too, is as in `Unet`. All of it sees nearby only, so tiles stay exact.
    """

    def __init__(
        self, in_channels: int, classes: int = 2, width: float = 1.0, *, peak: int = 512, up: str = "bilinear"
    ) -> None:
        super().__init__(in_channels, classes, width, peak=peak, up=up)
        *skips, bottom = (level[1][0].out_channels for level in self.encoder)  # type: ignore[index]
        below = (bottom, *(block[1][0].out_channels for block in self.decoder))  # type: ignore[index]
        self.gates = nn.ModuleList(map(AttentionGate, reversed(skips[1:]), below))
        self.gates.apply(initialise)

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        """Map padded images to logits."""
        skips = encode(self.encoder, images)
        features = skips.pop()
        for lift, block, gate in zip(self.lifts, self.decoder, (*self.gates, None), strict=True):
            skip = skips.pop()
            features = block(torch.cat([gate(skip, features) if gate else skip, lift(features)], dim=1))
        logits: torch.Tensor = self.head(features)
        return logits

    def open_stream(self) -> None:
        """None: the gates are not drawn row by row."""
