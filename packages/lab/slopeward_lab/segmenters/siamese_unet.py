"""U-Nets that read two dates of one ground: one encoder sees each, the decoder sees both (Daudt et al. 2018)."""

import torch

from detection.imagery.neural.networks.row_stream import RowStream
from detection.imagery.neural.networks.unet import Unet, encode


class SiameseUnet(Unet):
    """N x bands x H x W, the bands of the date before and then those of the date after, to logits of what is new.

    The maps of both dates lie side by side at each scale; at the bottom stands that of the date after, as in the code
    of the authors. With an odd number of bands the one in the middle (a slope, say) belongs to both dates.
    """

    skip_maps = 2

    def __init__(self, in_channels: int, classes: int = 2, width: float = 1.0) -> None:
        super().__init__(-(-in_channels // 2), classes, width)

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        """Map padded images to logits."""
        bands = -(-images.shape[1] // 2)
        # as one batch: the normalisation has to be the same for both dates
        maps = encode(self.encoder, torch.cat([images[:, :bands], images[:, -bands:]]))
        pairs = [level.chunk(2) for level in maps]
        return self.decode([*(self.join(*pair) for pair in pairs[:-1]), pairs[-1][1]])

    def join(self, before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
        """What the decoder is fed with at one scale."""
        return torch.cat([before, after], dim=1)

    def open_stream(self) -> RowStream | None:
        """None: it is shown tiles."""
        return None


class SiameseDifferenceUnet(SiameseUnet):
    """The same with the absolute difference of the maps in place of both."""

    skip_maps = 1

    def join(self, before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
        """What the decoder is fed with at one scale."""
        return (after - before).abs()
