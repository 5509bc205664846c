"""A pretrained forecaster as a user has it on the disk: random weights, and a package beside that can run them."""

import json

import torch
from safetensors.torch import save_file

CONFIG = {"model": {"family": "fracast", "W": 32, "horizon": 12, "quantiles": [0.1, 0.5, 0.9]}, "pyramid": {}}
MODEL = """
from torch import nn

def build_from_cfg(cfg):
    return nn.Linear(cfg["model"]["W"], 4), nn.Linear(4, cfg["model"]["horizon"])
"""
PACKAGE = """
import numpy as np
import torch

class FracastModel:
    def __init__(self, core, head, cfg):
        self.core, self.head = core, head
        self.context_length, self.quantiles = cfg["model"]["W"], cfg["model"]["quantiles"]

    def forecast_batch(self, context, horizon):
        seen = np.nan_to_num(np.asarray(context, np.float32))
        with torch.inference_mode():
            middle = self.head(torch.tanh(self.core(torch.from_numpy(seen)))).numpy()[:, :horizon]
        return np.stack([middle - 1.0, middle, middle + 1.0], axis=-1)
"""


def write_package(folder):
    """A package `fracast` with the names that are used of it, to be put on the path."""
    place = folder / "fracast" / "_core"
    place.mkdir(parents=True)
    (place / "__init__.py").touch()
    (place / "model.py").write_text(MODEL)
    (place.parent / "__init__.py").write_text(PACKAGE)
    return folder


def write_files(folder, config=CONFIG, seed=0, **sizes):
    """Weights and configuration; `sizes` are those of tensors that shall not fit."""
    folder.mkdir(parents=True, exist_ok=True)
    shapes = {"core.weight": (4, 32), "core.bias": (4,), "head.weight": (12, 4), "head.bias": (12,)} | sizes
    source = torch.Generator().manual_seed(seed)
    tensors = {name: torch.randn(size, generator=source) for name, size in shapes.items() if size}
    save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config))
    return folder
