"""Explain the landslide map of a window: Grad-CAM and occlusion, computed by captum.

Both explain the same number, the mean log odds of landslide over the landslide pixels of the window.
"""

import copy
from collections import Counter
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import torch
from captum.attr import FeatureAblation, LayerAttribution, LayerGradCam
from numpy.typing import NDArray
from torch import nn

from detection.imagery.errors import ModelError
from detection.imagery.neural.networks.blocks import LEAST_CELLS, pad_to_stride

Method = Literal["grad-cam", "occlusion"]
# Grad-CAM reads the last map that is coarser than the image by this factor. The deepest map of a U-Net has few cells,
# and the finest map is nearly the result itself.
COARSENESS: Final = 4
# Cells along the longer side of a window that occlusion hides one after the other.
OCCLUSION_CELLS: Final = 12
LEAST_CELL_PX: Final = 4
# Windows with a hidden cell that the network maps at once.
BATCH: Final = 4


@dataclass(frozen=True, slots=True)
class SceneExplanation:
    """The explanation of a window."""

    # H x W. Grad-CAM: relative to the largest value of the pixels that may be explained. Occlusion: fall of the mean
    # log odds of landslide.
    values: NDArray[np.float32]
    landslide_px: (
        int  # pixels that are explained: those above the threshold, or the most probable pixel if there is none
    )
    found: bool  # whether a pixel is above the threshold
    cell_px: int | None  # side of the hidden cells; None for Grad-CAM
    map_px: tuple[int, int] | None  # height and width of the map that Grad-CAM reads; None for occlusion


class LandslideScore(nn.Module):
    """Mean log odds of landslide, against all other classes, over some pixels of a window.

    Args:
        network: a segmentation network that returns logits.
        pixels: H x W, the pixels that count.
    """

    def __init__(self, network: nn.Module, pixels: torch.Tensor) -> None:
        super().__init__()
        self.network = network
        self.pixels = pixels

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map images N x C x H x W to N numbers."""
        return compute_odds(self.network(images))[:, self.pixels].mean(dim=1)


def compute_odds(logits: torch.Tensor) -> torch.Tensor:
    """Return the log odds of class 1 against all other classes, N x H x W."""
    others = torch.cat([logits[:, :1], logits[:, 2:]], dim=1)
    return logits[:, 1] - others.logsumexp(dim=1)


def explain_window(
    network: nn.Module,
    image: torch.Tensor,
    valid: NDArray[np.bool_],
    *,
    method: Method,
    threshold: float,
    temperature: float = 1.0,
    show_progress: bool = False,
) -> SceneExplanation:
    """Explain which parts of a window the network relies on.

    Args:
        network: a segmentation network.
        image: input of the network, 1 x C x H x W.
        valid: H x W, the pixels that may be explained. All others are only read by the network.
        method: `grad-cam` (Selvaraju et al. 2017) or `occlusion` (Zeiler and Fergus 2014).
        threshold: probability from which a pixel is a landslide.
        temperature: divides the logits before they become probabilities.
        show_progress: print the progress of occlusion to stderr.

    Raises:
        ModelError: the network has no map that Grad-CAM can read.
    """
    height, width = valid.shape
    network = _copy_without_overwriting(network)
    stride = int(getattr(network, "stride", 1))
    # The network would pad the image itself. Padded here, the cells of its maps are in proportion to the image.
    padded = pad_to_stride(image, stride, LEAST_CELLS * stride)
    with torch.no_grad():
        logits = network(padded)[0, :, :height, :width]
    probabilities = (logits / temperature).softmax(dim=0)[1].masked_fill(~torch.from_numpy(valid), -1.0)
    found = probabilities >= threshold
    pixels = found if bool(found.any()) else probabilities == probabilities.max()
    explained = torch.zeros(padded.shape[-2:], dtype=torch.bool)
    explained[:height, :width] = pixels
    score = LandslideScore(network, explained).eval()
    cell_px, map_px = None, None
    if method == "grad-cam":
        name, map_px = _find_layer(network, padded)
        values = _compute_grad_cam(score, network.get_submodule(name), padded)
    else:
        cell_px, cells = _number_cells(valid, (padded.shape[-2], padded.shape[-1]))
        values = _compute_occlusion(score, padded, cells, show_progress=show_progress)
    values = values[:height, :width].astype(np.float32)
    if method == "grad-cam":
        values /= max(float(values[valid].max()), 1e-12)
    return SceneExplanation(
        values=values,
        landslide_px=int(pixels.sum()),
        found=bool(found.any()),
        cell_px=cell_px,
        map_px=map_px,
    )


def _copy_without_overwriting(network: nn.Module) -> nn.Module:
    """Return a copy whose layers do not overwrite their input, which captum reads after the forward pass."""
    copied = copy.deepcopy(network).eval()
    for module in copied.modules():
        if hasattr(module, "inplace"):
            setattr(module, "inplace", False)  # noqa: B010 - the type of a module does not declare it
    return copied


def _find_layer(network: nn.Module, image: torch.Tensor) -> tuple[str, tuple[int, int]]:
    """Return the last layer whose map is coarser than the image by `COARSENESS`, and the size of its map."""
    calls = Counter[str]()
    sizes: dict[str, tuple[int, int]] = {}

    def make_hook(name: str) -> Any:
        def note(_: nn.Module, __: Any, output: Any) -> None:
            calls[name] += 1
            if not isinstance(output, torch.Tensor) or output.ndim != 4:
                return
            height, width = output.shape[-2:]
            if height * COARSENESS <= image.shape[-2] and height * width > 1:
                sizes.pop(name, None)  # the order of the keys is that of the last calls
                sizes[name] = (height, width)

        return note

    leaves = {name: module for name, module in network.named_modules() if name and not list(module.children())}
    handles = [module.register_forward_hook(make_hook(name)) for name, module in leaves.items()]
    try:
        with torch.no_grad():
            network(image)
    finally:
        for handle in handles:
            handle.remove()
    # A layer that reads several images, such as both dates, has no single map.
    single = [name for name in sizes if calls[name] == 1]
    if not single:
        raise ModelError("Grad-CAM needs a network with a coarse map, and this one has none; use --method occlusion")
    return single[-1], sizes[single[-1]]


def _compute_grad_cam(score: LandslideScore, layer: nn.Module, image: torch.Tensor) -> NDArray[np.float32]:
    attribution = LayerGradCam(score, layer).attribute(image, relu_attributions=True)
    enlarged = LayerAttribution.interpolate(attribution, tuple(image.shape[-2:]), interpolate_mode="bilinear")
    return np.asarray(enlarged.detach()[0, 0].numpy())


def _number_cells(valid: NDArray[np.bool_], shape: tuple[int, int]) -> tuple[int, NDArray[np.int64]]:
    """Divide an image into cells that are hidden one after the other.

    Args:
        valid: H x W, the pixels that may be explained.
        shape: height and width of the padded image.

    Returns:
        The side of the cells in pixels, and the number of the cell of each pixel of the padded image. All pixels
        outside of the cells of the window are one more cell.
    """
    rows, columns = np.nonzero(valid)
    longer_px = 1 + int(max(np.ptp(rows), np.ptp(columns)))
    cell_px = max(LEAST_CELL_PX, -(-longer_px // OCCLUSION_CELLS))
    # The cells start at the first explained pixel. Those above and left of it have negative numbers.
    cell_rows = (np.arange(shape[0]) - rows.min()) // cell_px
    cell_columns = (np.arange(shape[1]) - columns.min()) // cell_px
    is_near = np.outer(
        (cell_rows >= 0) & (cell_rows <= cell_rows[rows.max()]),
        (cell_columns >= 0) & (cell_columns <= cell_columns[columns.max()]),
    )
    numbers = np.where(is_near, 1 + cell_rows[:, None] * (1 + cell_columns.max()) + cell_columns, 0)
    return cell_px, np.unique(numbers, return_inverse=True)[1].reshape(shape)


def _compute_occlusion(
    score: LandslideScore, image: torch.Tensor, cells: NDArray[np.int64], *, show_progress: bool
) -> NDArray[np.float32]:
    """Return by how much the score falls if a cell is replaced by the mean of the training (0), per pixel."""
    with torch.no_grad():
        # `captum.attr.Occlusion` would also hide cells of the margin, one after the other.
        attribution = FeatureAblation(score).attribute(
            image,
            baselines=0.0,
            feature_mask=torch.from_numpy(cells)[None, None].expand(1, image.shape[1], -1, -1),
            perturbations_per_eval=BATCH,
            show_progress=show_progress,
        )
    # All channels of a cell are hidden together, so they have the same value.
    return np.asarray(attribution[0, 0].numpy())
