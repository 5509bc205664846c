"""What the default weights say of radar under the names of colours, and what the same look costs real pictures.

    python -m tests.bench.imagery.bench_speckle [--radar 160] [--every 4] [--odd | --real]

Pictures of radar are drawn by lot from a family (`tests.data.surveys.radar_pictures`) and read by each default weights
at pixels that they take. Real pictures are those of SLOPEWARD_DATA, each as a scene of its own: the hardest case, for
a scene has many windows and most of them must look so. `by_grain` are the pictures that nothing but the grain doubts.

With `--odd` validation pictures are read, and the rest is kept as it was. Crops of Bijie: as they are at three pixel
sizes, as a negative, with a gamma, and said to have pixels of 10 m; one of `--every` with two colours exchanged and
smeared along a way. Pictures of Landslide4Sense (one of `--every`) and windows of Hokkaido: as a negative and with a
gamma. With `--real` real pictures are read again.
"""

import argparse
import json
import os
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from scipy import ndimage

from detection.imagery.data import bijie, landslide4sense
from detection.imagery.errors import ImageryError
from detection.imagery.footprints.detect import detect
from tests.bench.record import read_figures, record
from tests.data.surveys.radar_pictures import choose, draw_radar, write_picture

DATA = Path(os.environ.get("SLOPEWARD_DATA", Path(__file__).resolve().parents[4] / "shared" / "data")) / "imagery"
L4S = "landslide4sense-standard"
SIDES = {"bijie": (0.6, 1.2, 2.4), L4S: (10.0,)}
GAMMA = 0.45
COMMAND = "python -m tests.bench.imagery.bench_speckle"
BLAMED = {
    "by_grain": "the grain is as even as",
    "by_smear": "one direction is",
    "by_green": "red has",
    "by_detail_or_colour": ("fine detail is", "steps have", "green is darker"),
}
EXCHANGED = {"red and green": (1, 0, 2), "green and blue": (0, 2, 1), "red and blue": (2, 1, 0)}
SMEARED_PX, SMEARED_DEG = (3, 5, 9), (0, 22, 45, 90)


def ask(path: Path, weights: str) -> str:
    """What comes of a picture: refused, doubted, by one of `BLAMED` alone, nothing, or outlines without a word."""
    try:
        answer = detect({"scene_path": str(path), "weights": weights})
    except ImageryError:
        return "refused"
    if answer["doubts"]:
        alone = (by for by, words in BLAMED.items() if all(doubt.startswith(words) for doubt in answer["doubts"]))
        return next(alone, "doubted")
    return "outlines" if answer["polygons"] else "nothing"


def read_radar(path: Path, count: int) -> dict[str, Any]:
    """Radar by weights and pixel size; which pictures got outlines without a word."""
    found: dict[str, Counter[str]] = {}
    silent: list[dict[str, Any]] = []
    for number, how in enumerate(choose(count)):
        bands = draw_radar(how, 128, seed=number)
        for weights, sides in SIDES.items():
            side = sides[number % len(sides)]
            said = ask(write_picture(path, bands, side), weights)
            found.setdefault(f"{weights}, {side:g} m", Counter())[said] += 1
            if said == "outlines":
                silent.append({"weights": weights, "pixel_m": side, **how._asdict(), "seed": number})
    return {**{kind: dict(counts) for kind, counts in found.items()}, "silent": silent}


def list_real(every: int) -> Iterator[tuple[str, str, float, np.ndarray]]:
    """Name of the set, weights, pixel size, and bands."""
    for part in ("train", "validation"):
        crops = bijie.read(DATA / "bijie", part).resize(160)
        for k in range(0, len(crops), every if part == "train" else 1):
            image = crops.read(k).image.astype(float)
            half = image.reshape(3, 80, 2, 80, 2).mean(axis=(2, 4))
            twice = np.stack([ndimage.zoom(band, 2, order=1) for band in image])
            for side, bands in ((1.2, image), (2.4, half), (0.6, twice)):
                yield f"Bijie {part}, {side:g} m", "bijie", side, bands.round().clip(1, 255).astype(np.uint8)
        tiles = landslide4sense.read_png(DATA / "landslide4sense-rgb", part)
        for k in range(0, len(tiles), 4 * every if part == "train" else every):
            yield f"Landslide4Sense {part}", "landslide4sense-standard", 10.0, tiles.read(k).image
    for date in ("pre", "post"):
        folder = DATA / "hokkaido-2018-s2-scene"
        with rasterio.open(folder / f"{date}_event_B4.tif") as red:
            shape = red.shape
        bands = np.stack([rasterio.open(folder / f"{date}_event_{name}.tif").read(1) for name in ("B4", "B3", "B2")])
        for row in range(0, shape[0] - 127, 128):
            for column in range(0, shape[1] - 127, 128):
                window = bands[:, row : row + 128, column : column + 128]
                if (window > 0).all():
                    yield f"Hokkaido {date}, 128 px", "landslide4sense-standard", 10.0, window


def smear(bands: np.ndarray, pixels: int, degrees: float) -> np.ndarray:
    """A picture that moved while it was taken."""
    kernel, along = np.zeros((2 * pixels + 1, 2 * pixels + 1)), np.linspace(-pixels / 2, pixels / 2, 8 * pixels)
    way = np.radians(degrees)
    kernel[np.rint(pixels + along * np.sin(way)).astype(int), np.rint(pixels + along * np.cos(way)).astype(int)] = 1
    soft = [ndimage.convolve(band.astype(float), kernel / kernel.sum(), mode="nearest") for band in bands]
    return np.stack(soft).round().clip(1, 255).astype(np.uint8)


def negate(bands: np.ndarray) -> np.ndarray:
    """Dark for bright, in the type that it has; 0 stays free for nodata."""
    return (int(bands.max()) + 1 - bands.astype(int)).astype(bands.dtype)


def bend(bands: np.ndarray) -> np.ndarray:
    """With a gamma, as pictures for the eye have it."""
    share = bands.astype(float) / (255 if bands.dtype == np.uint8 else bands.max())
    return (255 * share**GAMMA).round().clip(1, 255).astype(np.uint8)


def read_odd(path: Path, every: int) -> dict[str, dict[str, int]]:
    """What is said of pictures that were made odd."""
    found: dict[str, Counter[str]] = {}
    crops = 0
    for kind, weights, side, bands in list_real(every):
        if " train" in kind:
            continue
        aerial = kind.startswith("Bijie")
        if aerial:
            found.setdefault(kind, Counter())[ask(write_picture(path, bands, side), weights)] += 1
            if side != 1.2:
                continue
        name = "" if aerial else f"{kind}: "
        for case, changed in (("as a negative", negate(bands)), (f"with a gamma of {GAMMA:g}", bend(bands))):
            found.setdefault(f"{name}{case}", Counter())[ask(write_picture(path, changed, side), weights)] += 1
        if not aerial:
            continue
        said_m = SIDES[L4S][0]
        found.setdefault(f"pixels said to be of {said_m:g} m", Counter())[
            ask(write_picture(path, bands, said_m), L4S)
        ] += 1
        crops += 1
        if crops % every:
            continue
        cases = {f"{names} exchanged": bands[list(order)] for names, order in EXCHANGED.items()}
        for pixels in SMEARED_PX:
            cases |= {f"smeared by {pixels} px, {way} degrees": smear(bands, pixels, way) for way in SMEARED_DEG}
        for case, changed in cases.items():
            found.setdefault(case, Counter())[ask(write_picture(path, changed, side), weights)] += 1
    return {kind: dict(counts) for kind, counts in found.items()}


def main() -> None:
    """Ask, count, keep the figures."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--radar", type=int, default=160)
    options.add_argument("--every", type=int, default=4, help="of the training (and validation) pictures")
    only = options.add_mutually_exclusive_group()
    only.add_argument("--odd", action="store_true", help="only pictures that were made odd")
    only.add_argument("--real", action="store_true", help="only real pictures as they are")
    given = options.parse_args()
    figures: dict[str, Any] = read_figures("speckle") or {} if given.odd or given.real else {}
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "a.tif"
        if not (given.odd or given.real):
            figures["radar"] = read_radar(path, given.radar)
            print(json.dumps(figures), flush=True)
        if not given.odd:
            real: dict[str, Counter[str]] = {}
            for kind, weights, side, bands in list_real(given.every):
                real.setdefault(kind, Counter())[ask(write_picture(path, bands, side), weights)] += 1
            figures["real"] = {kind: dict(counts) for kind, counts in real.items()}
            print(json.dumps(figures["real"]), flush=True)
        if not given.real:
            figures["odd"] = read_odd(path, given.every)
            print(json.dumps(figures["odd"], indent=1))
    added = "--odd" if given.odd else "--real" if given.real else ""
    print(record("speckle", COMMAND, figures, added))


if __name__ == "__main__":
    main()
