"""What a network looked at and how unsure it is: Grad-CAM, occlusion, entropy, disagreement under flips."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.nn import functional

from detection.imagery.data.catalogue import open_data
from detection.imagery.data.patches import Patch, as_values, hold_arrays, resize_bands
from detection.imagery.errors import RecipeError
from detection.imagery.neural.checkpoint import Model, load_model
from detection.imagery.neural.losses import log_odds
from detection.imagery.registry import find_entry
from detection.imagery.training.pictures import BLACK, save_picture, start_picture
from detection.imagery.training.shown import show_by
from detection.imagery.training.worst_cases import show_image

SIDE_PX = 200
COARSE = 4
OCCLUSIONS = 8
"""An occlusion picture has so many cells a side."""


def grad_cam(network: torch.nn.Module, image: torch.Tensor) -> NDArray[np.float32]:
    """Where coarse features speak for landslide (Selvaraju et al. 2017), for a map: sum over the found pixels.

    Looked at is the last map at a quarter of the image's side or less, or the last one of all where there is none: the
    deepest one of a U-Net knows no places, the finest one is the answer itself.

    Args:
        network: a segmenter in evaluation mode.
        image: 1 x C x H x W, normalised.

    Returns:
        H x W between 0 and 1.
    """
    maps: dict[bool, torch.Tensor] = {}

    def watch(_: torch.nn.Module, __: Any, output: Any) -> None:
        if not isinstance(output, torch.Tensor) or output.ndim != 4 or not output.requires_grad:
            return
        if output.shape[1] > 2 and output.shape[2] * output.shape[3] > 1:
            maps[output.shape[2] * COARSE <= image.shape[2]] = output

    handles = [module.register_forward_hook(watch) for module in network.modules() if not list(module.children())]
    try:
        with torch.enable_grad():
            odds = log_odds(network(image.clone().requires_grad_()))
            target = odds[odds > 0].sum() if bool((odds > 0).any()) else odds.max()
            features = maps[True] if True in maps else maps[False]
            (slope,) = torch.autograd.grad(target, features)
    finally:
        for handle in handles:
            handle.remove()
    weights = slope.mean(dim=(2, 3), keepdim=True)
    cam = functional.relu((weights * features).sum(dim=1, keepdim=True))
    cam = functional.interpolate(cam, size=image.shape[-2:], mode="bilinear", align_corners=False)[0, 0]
    return np.asarray((cam / cam.max().clamp_min(1e-12)).detach().numpy())


def occlude(network: torch.nn.Module, image: torch.Tensor, cells: int = OCCLUSIONS) -> NDArray[np.float32]:
    """How much of the found landslide goes when a cell of the image is replaced by its mean: cells x cells, 0 to 1."""
    height, width = image.shape[-2:]
    rows, columns = (np.linspace(0, size, cells + 1).astype(int) for size in (height, width))
    out = np.zeros((cells, cells), np.float32)
    with torch.inference_mode():
        before = torch.sigmoid(log_odds(network(image)))
        total = float(before.sum())
        for row in range(cells):
            for column in range(cells):
                hidden = image.clone()
                hidden[..., rows[row] : rows[row + 1], columns[column] : columns[column + 1]] = 0
                lost = (before - torch.sigmoid(log_odds(network(hidden)))).clamp_min(0)
                # what lies beneath the cell itself is left out: it cannot be found when it is hidden
                lost[..., rows[row] : rows[row + 1], columns[column] : columns[column + 1]] = 0
                out[row, column] = float(lost.sum()) / max(total, 1e-9)
    return out


def entropy(probabilities: NDArray[np.floating]) -> NDArray[np.float64]:
    """Entropy of a two-class probability in bits, 0 to 1.

    >>> entropy(np.array([0.5, 1.0])).tolist()
    [1.0, 0.0]
    """
    p = np.clip(probabilities.astype(np.float64), 1e-12, 1 - 1e-12)
    return np.asarray(np.round(-(p * np.log2(p) + (1 - p) * np.log2(1 - p)), 9))


def flip_maps(network: torch.nn.Module, image: torch.Tensor, temperature: float = 1.0) -> NDArray[np.float32]:
    """Calibrated probabilities under the four flips, brought back: 4 x H x W."""
    maps = []
    with torch.inference_mode():
        for axes in ((), (2,), (3,), (2, 3)):
            odds = log_odds(network(torch.flip(image, axes)))
            maps.append(torch.sigmoid(torch.flip(odds, [axis - 1 for axis in axes]) / temperature)[0].numpy())
    return np.stack(maps)


def measure_doubt(model: Model, values: NDArray[np.float32]) -> dict[str, Any]:
    """How unsure a model is of one tile, bands x H x W in its values.

    Returns:
        probability (mean over flips, H x W), entropy (H x W, bits), spread (standard deviation over flips, H x W),
        flip_disagreement (share of pixels on which the flips do not agree at the card's threshold).
    """
    image = _prepare(model, values)
    maps = flip_maps(model.network, image, float(model.card.get("temperature", 1.0)))
    votes = (maps >= float(model.card["threshold"])).mean(axis=0)
    return {
        "probability": maps.mean(axis=0),
        "entropy": entropy(maps.mean(axis=0)),
        "spread": maps.std(axis=0),
        "flip_disagreement": float(((votes > 0) & (votes < 1)).mean()),
    }


def explain_patch(weights: str, data_folder: Path | None, name: str, out: Path) -> dict[str, Any]:
    """Write a picture that explains one patch of the weights' own data; return the figures.

    Raises:
        RecipeError: no patch of that name.
    """
    model = load_model(weights, ungated=True)
    find_entry(model.card["network"]["name"])
    card = model.card
    parts = open_data(card["data"]["recipe"], model.bands, int(card["training"]["seed"]), data_folder)
    patch = _find(parts, name)
    values = as_values(patch.image)
    if card.get("resize_px"):
        values = resize_bands(values, (card["resize_px"], card["resize_px"]))
    patches = hold_arrays(values[None], np.zeros((1, *values.shape[1:]), np.uint8), model.bands)
    values = show_by(card["radiometry"])(patches).read(0).image
    doubt = measure_doubt(model, values)
    image = _prepare(model, values)
    pictures = {
        "image": None,
        "truth": (patch.mask == 1).astype(np.float32),
        "probability": doubt["probability"],
        "grad-cam": grad_cam(model.network, image),
        "occlusion": occlude(model.network, image),
        "entropy": doubt["entropy"],
    }
    peak = float(np.max(pictures["occlusion"]))
    sheet, pen = start_picture(3 * (SIDE_PX + 10) + 10, 2 * (SIDE_PX + 30) + 10)
    for number, (word, picture) in enumerate(pictures.items()):
        column, row = 10 + number % 3 * (SIDE_PX + 10), 10 + number // 3 * (SIDE_PX + 30)
        pen.text((column, row), word, BLACK)
        scaled = picture if word != "occlusion" or picture is None else picture / max(peak, 1e-9)
        shown = show_image(patch.image, SIDE_PX) if scaled is None else _heat(scaled)
        sheet.paste(Image.fromarray(shown), (column, row + 16))
    save_picture(sheet, out)
    return {
        "weights": card["name"],
        "patch": name,
        "picture": str(out),
        "entropy": round(float(doubt["entropy"].mean()), 5),
        "flip_disagreement": round(doubt["flip_disagreement"], 5),
        "occlusion_peak": round(peak, 5),
    }


def _find(parts: tuple[Any, ...], name: str) -> Patch:
    for patches in reversed(parts):
        if name in patches.names:
            found: Patch = patches.read(patches.names.index(name))
            return found
    raise RecipeError(f"no patch {name!r}; the first ones are {', '.join(parts[-1].names[:5])}")


def _prepare(model: Model, values: NDArray[np.float32]) -> torch.Tensor:
    mean, std = (np.array(model.card["normalisation"][key], np.float32)[:, None, None] for key in ("mean", "std"))
    return torch.from_numpy(((values - mean) / std)[None])


def _heat(values: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Black over red and yellow to white: rows x columns x 3."""
    shown = resize_bands(np.clip(values, 0, 1)[None].astype(np.float32), (SIDE_PX, SIDE_PX))[0]
    return np.stack([np.clip(shown * 3 - step, 0, 1) * 255 for step in range(3)], axis=2).astype(np.uint8)
