"""Stacks of unwrapped interferograms with a known rate, as a processor leaves them."""

from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from detection.imagery.raster.grid import grid_around
from detection.imagery.raster.raster import write_geotiff
from packages.earth.tests.data.phases import draw_atmosphere, draw_bowl

WAVELENGTH_M = 0.0555


def write_stack(
    folder: Path,
    seed: int,
    dates: list[datetime],
    *,
    size_px: int = 48,
    rate_mm_per_year: float = -120.0,
    atmosphere_rad: float = 0.3,
    lon: float = 8.9,
    lat: float = 46.2,
    links: int = 3,
) -> NDArray[np.float64]:
    """Write a folder of unwrapped interferograms and coherences with `stack.toml`."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    grid = grid_around(lon, lat, size_px, 40.0)
    rate = draw_bowl(rng, size_px) * rate_mm_per_year
    delays = [draw_atmosphere(rng, size_px, atmosphere_rad) for _ in dates]
    years = [(d - dates[0]).total_seconds() / 86_400 / 365.25 for d in dates]
    per_mm = -4 * np.pi / (WAVELENGTH_M * 1000)  # phase falls as the ground comes toward the satellite
    lines = [f"wavelength_m = {WAVELENGTH_M}", "toward_positive = false"]
    for first in range(len(dates)):
        for second in range(first + 1, min(len(dates), first + 1 + links)):
            phase = rate * (years[second] - years[first]) * per_mm + delays[second] - delays[first]
            coherence = np.clip(rng.normal(0.8, 0.05, (size_px, size_px)), 0.35, 0.98)
            # as it comes from unwrapping: any constant, and noise by coherence
            phase = phase + rng.normal(0, 8) + rng.standard_normal(phase.shape) * np.sqrt((1 - coherence**2) / 10)
            name = f"{dates[first]:%Y%m%d}-{dates[second]:%Y%m%d}"
            for kind, values in (("unw", phase), ("cc", coherence)):
                write_geotiff(folder / f"{name}_{kind}.tif", values[None].astype(np.float32), grid, nodata=0.0)
            lines += ["[[pair]]", f'unwrapped = "{name}_unw.tif"', f'coherence = "{name}_cc.tif"']
            lines += [f'from = "{dates[first].isoformat()}"', f'to = "{dates[second].isoformat()}"']
    (folder / "stack.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return rate
