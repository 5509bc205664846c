"""A network on a sensor that it was not trained on: histogram transfer and AdaBN at prediction, without any label.

    python -m tests.bench.imagery.bench_scarce [--only NAMES]

Shipped weights, at the threshold of their card, on held-out patches of their own sensor and on patches of others. The
patches of a set stand for one scene. Histogram transfer brings the values of each band to those of the training, which
the card keeps: a line through the 5 % and 95 % points, of the scene or of each tile, or a path through the 1, 5, 50, 95
and 99 % points of the scene. AdaBN (Li et al. 2016, arXiv 1603.04779) takes the mean and variance of each
normalisation from the scene, half of them, or those of each tile. Nothing is chosen here. Differences of F1 to the
plain look are paired over the images.
"""

import argparse
import copy
import os
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from detection.imagery.data import bijie, folder, landslide4sense
from detection.imagery.data.patches import Patches, as_values, hold_arrays
from detection.imagery.neural.checkpoint import SegmentationModel, load_model
from detection.imagery.neural.training import predict_maps
from detection.imagery.training.model_card import read_normalisation
from detection.imagery.training.scoring import ScoringResult, compare, score_maps
from tests.bench.record import read_figures, record

DATA = Path(os.environ.get("SLOPEWARD_DATA", Path(__file__).resolve().parents[4] / "shared" / "data"))
KEPT = Path(__file__).resolve().parents[3] / "build" / "bench_scarce"
RED_FIRST = ("B4", "B3", "B2")
Images = list[NDArray[np.float32]]


def open_coseismic() -> Patches:
    """Hokkaido 2018, 3 m, 256 px; the tile with a fourth band is left out."""
    if not (KEPT / "labelled").is_dir():
        with zipfile.ZipFile(DATA / "imagery/coseismic-vhr-256/tiles.zip") as archive:
            archive.extractall(
                KEPT, [name for name in archive.namelist() if name.startswith("labelled/") and "742" not in name]
            )
    return folder.read(KEPT, "labelled", bands=RED_FIRST, pixel_size_m=3.0)


def open_pictures() -> Patches:
    """Every third picture of the validation part."""
    patches = landslide4sense.read_png(DATA / "imagery/landslide4sense-rgb", "validation")
    return patches.take(range(0, len(patches), 3))


def open_fourteen() -> Patches:
    """Red, green and blue of the two labelled patches of 14 bands."""
    path = DATA / "imagery/landslide4sense-14band/patches.zip"
    return landslide4sense.read_hdf5(path, "train").choose(RED_FIRST)


SETS: dict[str, Callable[[], Patches]] = {
    "bijie": lambda: bijie.read(DATA / "imagery/bijie", "validation"),
    "landslide4sense-rgb": open_pictures,
    "landslide4sense, 14 bands": open_fourteen,
    "coseismic-vhr-256": open_coseismic,
}
OWN = {"bijie": "bijie", "landslide4sense": "landslide4sense-rgb"}


def quantiles(values: NDArray[np.floating], at: tuple[float, ...]) -> NDArray[np.float64]:
    """Of each band, bands x points."""
    return np.quantile(values.reshape(len(values), -1), at, axis=1).T


def through(images: Images, card: dict[str, Any], at: tuple[float, ...], *, by_tile: bool) -> Images:
    """Bring the values at some quantiles of each band to those of the training, beyond the outer ones by a line."""
    kept = card["domain"]["quantiles"]
    wanted = np.array(kept["by_band"])[:, [kept["of"].index(one) for one in at]]
    pooled = np.concatenate([image.reshape(len(image), -1)[:, ::7] for image in images], axis=1)
    scene = quantiles(pooled, at)
    out = []
    for image in images:
        points = quantiles(image, at) if by_tile else scene
        moved = np.empty_like(image)
        for band, (have, want) in enumerate(zip(points, wanted, strict=True)):
            have = have + np.arange(len(have)) * 1e-6  # a flat tile has one value
            moved[band] = np.interp(image[band], have, want)
            for end, beyond in ((0, image[band] < have[0]), (-1, image[band] > have[-1])):
                gain = (want[-1] - want[0]) / max(have[-1] - have[0], 1e-3)
                moved[band][beyond] = want[end] + gain * (image[band][beyond] - have[end])
        out.append(moved)
    return out


def adapt(network: torch.nn.Module, tensors: list[torch.Tensor], share: float) -> torch.nn.Module:
    """Take so much of the mean and variance of every normalisation from these images."""
    adapted = copy.deepcopy(network).eval()
    norms = [module for module in adapted.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    before = [(norm.running_mean.clone(), norm.running_var.clone()) for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    with torch.inference_mode():
        for tensor in tensors:
            adapted(tensor)
    for norm, (mean, variance) in zip(norms, before, strict=True):
        norm.eval()
        norm.running_mean.copy_(share * norm.running_mean + (1 - share) * mean)
        norm.running_var.copy_(share * norm.running_var + (1 - share) * variance)
    return adapted


def look(
    model: SegmentationModel, patches: Patches, images: Images, share: float = 0.0, *, by_tile: bool = False
) -> ScoringResult:
    """Score the maps of these images at the threshold of the card."""
    mean, std = read_normalisation(model.card)
    size_px = model.card.get("resize_px") if patches.names[0].startswith(("ls_", "nls_")) else None
    masks = [patch.mask for patch in patches]
    seen = [hold_arrays(image[None], mask[None], RED_FIRST) for image, mask in zip(images, masks, strict=True)]

    def tensor(one: Patches) -> torch.Tensor:
        image = as_values((one.resize(size_px) if size_px else one).read(0).image)
        return torch.from_numpy((image - mean[:, None, None]) / std[:, None, None])[None]

    network = model.network
    if share and not by_tile:
        network = adapt(network, [tensor(one) for one in seen], share)

    def maps() -> Any:
        for name, one in zip(patches.names, seen, strict=True):
            own = adapt(network, [tensor(one)], share) if by_tile else network
            for _, probabilities, mask in predict_maps(own, one, (mean, std), model.card["temperature"], size_px):
                yield name, probabilities, mask

    return score_maps(maps(), float(model.card["threshold"]), objects=False)


def measure(weights: str, name: str) -> dict[str, Any]:
    """All ways to look at one set with one network."""
    model, patches = load_model(weights), SETS[name]().remember()
    images = [as_values(patch.image) for patch in patches]
    ends, path = (0.05, 0.95), (0.01, 0.05, 0.5, 0.95, 0.99)
    line = through(images, model.card, ends, by_tile=False)
    bent = through(images, model.card, path, by_tile=False)
    looks: dict[str, Callable[[], ScoringResult]] = {
        "plain": lambda: look(model, patches, images),
        "histogram, line": lambda: look(model, patches, line),
        "histogram, line of each tile": lambda: look(model, patches, through(images, model.card, ends, by_tile=True)),
        "histogram, five points": lambda: look(model, patches, bent),
        "AdaBN": lambda: look(model, patches, images, 1.0),
        "AdaBN, half": lambda: look(model, patches, images, 0.5),
        "AdaBN of each tile": lambda: look(model, patches, images, 1.0, by_tile=True),
        "histogram, five points, and AdaBN": lambda: look(model, patches, bent, 1.0),
    }
    told: dict[str, Any] = {"images": len(patches), "own_sensor": OWN[weights] == name}
    plain: ScoringResult | None = None
    for word, how in looks.items():
        begun = time.process_time()
        scored = how()
        plain = plain or scored
        found = {key: scored.report[key] for key in ("f1", "precision", "recall")}
        told[word] = {key: None if value is None else round(value, 4) for key, value in found.items()}
        told[word]["cpu_s"] = round(time.process_time() - begun, 1)
        if word != "plain":
            told[word]["less_plain"] = compare(scored.confusions, plain.confusions)
        print(weights, name, word, told[word], flush=True)
    return told


def main() -> None:
    """Measure and write docs/benchmarks/scarce.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="pairs WEIGHTS/SET, joined by commas")
    given = parser.parse_args()
    torch.set_num_threads(1)
    wanted = [one for one in given.only.split(",") if one]
    figures: dict[str, Any] = (read_figures("scarce") or {}) if wanted else {}
    for weights in OWN:
        for name in SETS:
            if not wanted or f"{weights}/{name}" in wanted:
                figures[f"{weights} on {name}"] = measure(weights, name)
    print(record("scarce", "python -m tests.bench.imagery.bench_scarce", figures))


if __name__ == "__main__":
    main()
