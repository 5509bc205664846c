"""The sheet of the worst cases: image, truth and map side by side, to be looked at before any figure is believed."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from detection.imagery.data.patches import IGNORED, as_values, resize_bands, resize_mask
from detection.imagery.training.pictures import BLACK, save_picture, start_picture

SIDE_PX = 160
GAP_PX = 8
HIT, FALSE_ALARM, MISS, UNKNOWN = (60, 160, 60), (220, 60, 40), (40, 90, 220), (150, 150, 150)

Case = tuple[str, NDArray[Any], NDArray[np.uint8], NDArray[np.bool_], float | None]
"""Name, image, mask, map, mean IoU."""


def draw_sheet(cases: Sequence[Case], path: Path) -> None:
    """Write the sheet: one row per case with image, truth, map and what is right, a false alarm, missed."""
    width, height = 4 * (SIDE_PX + GAP_PX) + GAP_PX, 40 + len(cases) * (SIDE_PX + 24)
    sheet, pen = start_picture(width, height)
    for column, words in enumerate(("image", "truth", "map", "hit/miss/false")):
        pen.text((GAP_PX + column * (SIDE_PX + GAP_PX), 14), words, BLACK)
    for row, (name, image, mask, found, miou) in enumerate(cases):
        top = 36 + row * (SIDE_PX + 24)
        size = SIDE_PX, SIDE_PX
        truth, seen = resize_mask(mask, size), resize_mask(found.astype(np.uint8), size) == 1
        for column, picture in enumerate((show_image(image), _paint(truth == 1), _paint(seen), _compare(truth, seen))):
            sheet.paste(Image.fromarray(picture), (GAP_PX + column * (SIDE_PX + GAP_PX), top))
        value = "none" if miou is None else f"{miou:.3f}"
        pen.text((GAP_PX, top + SIDE_PX + 6), f"{name}  mean iou {value}", BLACK)
    save_picture(sheet, path)


def show_image(image: NDArray[Any], side_px: int = SIDE_PX) -> NDArray[np.uint8]:
    """Show the first three bands (or the first one) between their 1st and 99th percentile: rows x columns x 3."""
    values = as_values(image)[:3] if len(image) >= 3 else np.repeat(as_values(image)[:1], 3, axis=0)
    low, high = (np.quantile(values, q, axis=(1, 2), keepdims=True) for q in (0.01, 0.99))
    shown = np.clip((values - low) / np.maximum(high - low, 1e-9), 0, 1)
    pixels = (resize_bands(shown.astype(np.float32), (side_px, side_px)) * 255).astype(np.uint8)
    return np.ascontiguousarray(pixels.transpose(1, 2, 0))


def _paint(mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    return np.repeat((mask * np.uint8(255))[:, :, None], 3, axis=2)


def _compare(truth: NDArray[np.uint8], seen: NDArray[np.bool_]) -> NDArray[np.uint8]:
    picture = np.full((*truth.shape, 3), 245, np.uint8)
    picture[(truth == 1) & seen] = HIT
    picture[(truth == 0) & seen] = FALSE_ALARM
    picture[(truth == 1) & ~seen] = MISS
    picture[truth == IGNORED] = UNKNOWN
    return picture
