"""Boxes as points: what CenterNet should answer for a mask, how wrong it is, and the boxes in its answer."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from detection.imagery.data.boxes import Box, find_boxes

CELL_PX = 4
MOST_BOXES = 50
LEAST_SCORE = 0.05
# Weights of size and place beside the middles, as the paper has them.
SIZE_WEIGHT, PLACE_WEIGHT = 0.1, 1.0
FOCUS, NEAR = 2, 4
OVERLAP = 0.7


def spread_cells(height: float, width: float) -> float:
    """How far a middle may be off, in cells, that a box of that size still overlaps by `OVERLAP` (Law and Deng 2018).

    The least of three cases: the box moved, shrunk at both corners, grown at both.

    >>> round(spread_cells(10, 10), 2)
    0.82
    """
    around, area = height + width, height * width
    moved = (around - np.sqrt(around**2 - 4 * area * (1 - OVERLAP) / (1 + OVERLAP))) / 2
    shrunk = (2 * around - np.sqrt(4 * around**2 - 16 * (1 - OVERLAP) * area)) / 8
    grown = (-2 * OVERLAP * around + np.sqrt(4 * OVERLAP**2 * around**2 + 16 * OVERLAP * (1 - OVERLAP) * area)) / (
        8 * OVERLAP
    )
    return float(min(moved, shrunk, grown))


def draw_targets(mask: NDArray[np.uint8], rows: int, columns: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return how near each cell is to a middle (rows x columns, 1 at it), and per cell of a middle what to answer.

    The second, 5 x rows x columns: width, height (cells), place of the middle in its cell (across, down), 1 at middles.
    Where two boxes have one cell the larger is kept.
    """
    heat, facts = np.zeros((rows, columns), np.float32), np.zeros((5, rows, columns), np.float32)
    across, down = np.arange(columns), np.arange(rows)[:, None]
    for left, top, right, bottom in sorted(find_boxes(mask), key=lambda b: (b[2] - b[0]) * (b[3] - b[1])):
        width, height = (right - left) / CELL_PX, (bottom - top) / CELL_PX
        x, y = (left + right) / 2 / CELL_PX, (top + bottom) / 2 / CELL_PX
        column, row = min(int(x), columns - 1), min(int(y), rows - 1)
        sigma = max(2 * int(spread_cells(height, width)) + 1, 1) / 6
        near = np.exp(-((across - column) ** 2 + (down - row) ** 2) / (2 * sigma**2)).astype(np.float32)
        np.maximum(heat, near, out=heat)
        facts[:, row, column] = width, height, x - column, y - row, 1.0
    return heat, facts


def centre_loss(answer: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Focal loss of the middles, lessened near them, plus the absolute errors of size and place at them (eq. 1 to 3).

    Args:
        answer: N x 5 x H/4 x W/4, of `networks.centernet`.
        truth: N x H x W masks; boxes are drawn around what is connected.
    """
    rows, columns = answer.shape[-2:]
    drawn = [draw_targets(mask, rows, columns) for mask in truth.numpy().astype(np.uint8)]
    heat = torch.from_numpy(np.stack([pair[0] for pair in drawn]))
    facts = torch.from_numpy(np.stack([pair[1] for pair in drawn]))
    at = facts[:, 4:]
    count = at.sum().clamp_min(1)
    odds = answer[:, 0]
    chance = torch.sigmoid(odds)
    hit = (1 - chance) ** FOCUS * functional.logsigmoid(odds) * at[:, 0]
    miss = (1 - heat) ** NEAR * chance**FOCUS * functional.logsigmoid(-odds) * (1 - at[:, 0])
    size = ((answer[:, 1:3] - facts[:, :2]).abs() * at).sum()
    place = ((answer[:, 3:5] - facts[:, 2:4]).abs() * at).sum()
    return (-(hit + miss).sum() + SIZE_WEIGHT * size + PLACE_WEIGHT * place) / count


def read_boxes(answer: torch.Tensor, height: int, width: int) -> list[tuple[float, Box]]:
    """Return (score, box in pixels of the image) of the peaks of one answer 5 x h x w, the surest first.

    A peak is not less than its eight neighbours; no suppression among boxes is needed.
    """
    heat = torch.sigmoid(answer[:1])
    peak = heat == functional.max_pool2d(heat[None], 3, stride=1, padding=1)[0]
    scores, places = torch.where(peak, heat, 0.0).flatten().topk(min(MOST_BOXES, heat.numel()))
    found = []
    for score, place in zip(scores.tolist(), places.tolist(), strict=True):
        if score < LEAST_SCORE:
            break
        row, column = divmod(place, answer.shape[-1])
        wide, high, x, y = answer[1:5, row, column].tolist()
        middle_x, middle_y = (column + x) * CELL_PX, (row + y) * CELL_PX
        half_x, half_y = max(wide, 0.0) * CELL_PX / 2, max(high, 0.0) * CELL_PX / 2
        left, right = (min(max(value, 0.0), width) for value in (middle_x - half_x, middle_x + half_x))
        top, bottom = (min(max(value, 0.0), height) for value in (middle_y - half_y, middle_y + half_y))
        if right > left and bottom > top:
            found.append((score, (left, top, right, bottom)))
    return found
