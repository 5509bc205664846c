"""Drawn interferograms with known movement: bowls that sink, an atmosphere, noise; wrapped, and as stacks of pairs."""

from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

WAVELENGTH_M = 0.0555
# A pixel of a patch belongs to the moving zone where its phase exceeds this share of the bowl's greatest.
ZONE_SHARE = 0.3


def draw_bowl(rng: np.random.Generator, size_px: int) -> NDArray[np.float64]:
    """Draw one elliptic bowl of depth 1 at a random place, H x W (a Gaussian, as of a subsiding or creeping zone)."""
    angle, row, column = rng.uniform(0, np.pi), *rng.uniform(0.2, 0.8, 2) * size_px
    long, wide = rng.uniform(0.08, 0.22) * size_px, rng.uniform(0.04, 0.12) * size_px
    rows, columns = np.indices((size_px, size_px), dtype=np.float64)
    along = (columns - column) * np.cos(angle) + (rows - row) * np.sin(angle)
    across = (rows - row) * np.cos(angle) - (columns - column) * np.sin(angle)
    return np.asarray(np.exp(-0.5 * ((along / long) ** 2 + (across / wide) ** 2)))


def draw_atmosphere(rng: np.random.Generator, size_px: int, radians: float) -> NDArray[np.float64]:
    """Draw a turbulent delay of one date, radians: power falls with the 8/3 power of the wave number (Hanssen 2001)."""
    rows = np.fft.fftfreq(size_px)[:, None]
    columns = np.fft.rfftfreq(size_px)[None, :]
    wave = np.hypot(rows, columns)
    wave[0, 0] = np.inf
    spectrum = np.fft.rfft2(rng.standard_normal((size_px, size_px))) * wave ** (-8 / 6)
    field = np.fft.irfft2(spectrum, s=(size_px, size_px))
    return np.asarray(field / field.std() * radians)


def wrap(phase: NDArray[np.floating]) -> NDArray[np.floating]:
    """Wrap radians into -pi .. pi.

    >>> round(float(wrap(np.array(7.0))), 4)
    0.7168
    """
    return np.asarray((phase + np.pi) % (2 * np.pi) - np.pi)


def draw_phase_patches(seed: int, count: int, size_px: int) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Draw wrapped interferograms: N x 3 x H x W (cosine, sine, coherence), and the moving zone, N x H x W of 0, 1.

    A third of them hold no movement at all, so that an atmosphere alone must not be called one.
    """
    rng = np.random.default_rng(seed)
    images = np.empty((count, 3, size_px, size_px), np.float32)
    masks = np.zeros((count, size_px, size_px), np.uint8)
    for number in range(count):
        phase = draw_atmosphere(rng, size_px, rng.uniform(0.3, 1.8))
        ramp = np.indices((size_px, size_px)) / size_px
        phase = phase + rng.normal(0, 2) * ramp[0] + rng.normal(0, 2) * ramp[1]
        for _ in range(int(rng.integers(0, 3))):
            bowl = draw_bowl(rng, size_px)
            phase += bowl * rng.uniform(4, 22) * rng.choice([-1, 1])
            masks[number] |= (bowl > ZONE_SHARE).astype(np.uint8)
        coherence = np.clip(
            0.65 + 0.2 * ndimage.gaussian_filter(rng.standard_normal((size_px, size_px)), 3) * 6, 0.1, 0.95
        )
        noise = rng.standard_normal((size_px, size_px)) * np.sqrt((1 - coherence**2) / (2 * 8 * coherence**2))
        wrapped = wrap(phase + noise)
        images[number] = np.stack([np.cos(wrapped), np.sin(wrapped), coherence])
    return images, masks


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
    """Write a folder of unwrapped interferograms and coherences with `stack.toml`.

    Args:
        folder: made if absent.
        seed: everything follows from it.
        dates: acquisitions, aware UTC; each is paired with the next `links`.
        size_px: side, pixels of 40 m.
        rate_mm_per_year: greatest rate of one bowl, toward the satellite.
        atmosphere_rad: of each date.
        lon: of the centre.
        lat: of the centre.
        links: later dates that each date is paired with.

    Returns:
        The true rate, H x W, mm per year toward the satellite.
    """
    from detection.imagery.raster.grid import grid_around
    from detection.imagery.raster.raster import write_geotiff

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
            lines += ["[[pair]]", f'from = "{dates[first].isoformat()}"', f'to = "{dates[second].isoformat()}"',
                      f'unwrapped = "{name}_unw.tif"', f'coherence = "{name}_cc.tif"']  # fmt: skip
    (folder / "stack.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return rate
