"""A small convolutional network on the factors around each cell: 15 x 15 pixels, about seven thousand weights."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from detection.susceptibility.learners.table import HALO_PX, Cells, Numbers

WIDTH: Final = 16
DILATIONS: Final = (1, 2, 4)  # 1 + 2 + 4 pixels to each side
EPOCHS: Final = 12
BATCH: Final = 128
RATE: Final = 3e-3
DECAY: Final = 1e-2


class PatchNet(nn.Sequential):
    """Three dilated convolutions without padding, then one number for each pixel."""

    def __init__(self, columns: int) -> None:
        layers: list[nn.Module] = []
        for number, dilation in enumerate(DILATIONS):
            layers += [nn.Conv2d(columns if not number else WIDTH, WIDTH, 3, dilation=dilation), nn.ReLU()]
        super().__init__(*layers, nn.Conv2d(WIDTH, 1, 1))


@dataclass(frozen=True, slots=True)
class Network:
    """The network with what its columns were standardised by; what is not known is 0, which is the mean."""

    mean: NDArray[np.float32]
    deviation: NDArray[np.float32]
    net: PatchNet
    halo: int = HALO_PX["cnn"]

    def score(self, columns: NDArray[np.float32], known: NDArray[np.bool_]) -> Numbers:
        """See `learners.Fitted`."""
        return np.asarray(self._run(columns[None], known[None])[0, 0])

    def score_cells(self, cells: Cells) -> Numbers:
        """See `learners.Fitted`."""
        assert cells.patches is not None
        assert cells.known is not None
        parts = range(0, len(cells.patches), 2048)
        found = [self._run(cells.patches[k : k + 2048], cells.known[k : k + 2048])[:, 0, 0, 0] for k in parts]
        return np.concatenate(found)

    def _run(self, columns: NDArray[np.float32], known: NDArray[np.bool_]) -> Numbers:
        ready = _standardise(columns, known, self.mean, self.deviation)
        with torch.inference_mode():
            return np.asarray(self.net(torch.from_numpy(ready)).numpy(), np.float64)

    def tell(self) -> dict[str, Any]:
        """As JSON has it; the weights as lists are exact: a float32 is a number of JSON."""
        weights = {name: value.tolist() for name, value in self.net.state_dict().items()}
        return {"mean": self.mean.tolist(), "deviation": self.deviation.tolist(), "weights": weights}


def _standardise(
    columns: NDArray[np.float32], known: NDArray[np.bool_], mean: NDArray[np.float32], deviation: NDArray[np.float32]
) -> NDArray[np.float32]:
    ready = (columns - mean[:, None, None]) / deviation[:, None, None]
    return np.where(known[:, None], ready, np.float32(0)).astype(np.float32)


def fit(cells: Cells, label: NDArray[np.int64], seed: int) -> Network:
    """Fit by AdamW on balanced cross-entropy; the same seed gives the same weights on one machine."""
    assert cells.patches is not None
    assert cells.known is not None
    mean = cells.columns.mean(axis=0, dtype=np.float64).astype(np.float32)
    deviation = np.maximum(cells.columns.std(axis=0, dtype=np.float64), 1e-6).astype(np.float32)
    torch.manual_seed(seed)
    net = PatchNet(len(mean))
    optimiser = torch.optim.AdamW(net.parameters(), lr=RATE, weight_decay=DECAY)
    steps = EPOCHS * (len(label) // BATCH + 1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps)
    positive = torch.tensor(float((label == 0).sum() / max(1, (label == 1).sum())))
    measure = nn.BCEWithLogitsLoss(pos_weight=positive)
    truth, rng = torch.from_numpy(label.astype(np.float32)), np.random.default_rng(seed)
    for _ in range(EPOCHS):
        order = rng.permutation(len(label))
        for first in range(0, len(order), BATCH):
            chosen = order[first : first + BATCH]
            ready = _standardise(cells.patches[chosen], cells.known[chosen], mean, deviation)
            loss = measure(net(torch.from_numpy(ready))[:, 0, 0, 0], truth[chosen])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    net.eval()
    return Network(mean, deviation, net)


def read(told: Mapping[str, Any]) -> Network:
    """Read back what `tell` gave."""
    mean, deviation = (np.asarray(told[name], np.float32) for name in ("mean", "deviation"))
    net = PatchNet(len(mean))
    net.load_state_dict({name: torch.tensor(value, dtype=torch.float32) for name, value in told["weights"].items()})
    net.eval()
    return Network(mean, deviation, net)
