"""A drawn scene of several rows of tiles: a small one again and again below itself, every second time mirrored."""

from pathlib import Path

import numpy as np
import rasterio

from tests.data.drawn_scenes import draw, may


def draw_tall(folder: Path, times: int, side_px: int = 128) -> None:
    """A scene of `times` x `side_px` rows, with a scar in each part."""
    draw(folder, may(7), 1.0, size_px=side_px)
    for path in sorted(folder.glob("*.tif")):
        with rasterio.open(path) as source:
            profile, values, names = source.profile, source.read(), source.descriptions
        parts = [values if number % 2 == 0 else values[:, ::-1] for number in range(times)]
        profile |= {"height": side_px * times, "driver": "GTiff"}
        path.unlink()
        with rasterio.open(path, "w", **profile) as target:
            target.write(np.concatenate(parts, axis=1))
            target.descriptions = names
    manifest = folder / "scene.toml"
    said = manifest.read_text().partition("[files]")[0]  # sizes and digests of the small one go
    manifest.write_text(f"complete = true\n{said}")
