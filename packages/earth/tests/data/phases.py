"""Drawn interferograms with known movement: bowls that sink, an atmosphere, noise; wrapped."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from slopeward_earth.insar.outputs import wrap

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


def draw_phase_patches(seed: int, count: int, size_px: int) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Draw wrapped interferograms: N x 3 x H x W (cosine, sine, coherence), and the moving zone, N x H x W of 0, 1."""
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
