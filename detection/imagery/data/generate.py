"""Draw synthetic scenes with known scars, which test detection from files to outlines without real imagery."""

from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import shapely
import shapely.affinity
from numpy.typing import NDArray
from scipy import ndimage

from detection.whole_file import replacing

BANDS = ("B2", "B3", "B4", "B8")
PIXEL_M = 10.0
REFLECTANCE_SCALE = 10_000
# Surface reflectance by band, of the order of Sentinel-2 over forested hills.
FOREST = np.array([0.030, 0.055, 0.035, 0.300])
GRASS = np.array([0.045, 0.085, 0.070, 0.270])
FIELD = np.array([0.080, 0.105, 0.125, 0.200])
SCAR = np.array([0.075, 0.105, 0.155, 0.230])
ROAD = np.array([0.140, 0.145, 0.150, 0.180])
AUTUMN = np.array([0.038, 0.052, 0.062, 0.220])
WATER = np.array([0.060, 0.065, 0.045, 0.030])
CLOUD = np.array([0.400, 0.390, 0.380, 0.400])
# Haze brightens the blue end most (Rayleigh scattering).
HAZE = np.array([1.0, 0.55, 0.35, 0.05])


@dataclass(frozen=True, slots=True)
class GeneratedScene:
    """One drawn scene."""

    bands: dict[str, NDArray[np.uint16]]  # by name, H x W, reflectance times 10 000, at least 1
    truth: NDArray[np.uint8]  # H x W, 1 where the centre of the pixel lies in a scar
    dem_m: NDArray[np.float32]  # H x W
    # outlines in pixel coordinates (column, row); (0, 0) is the outer corner of the first pixel
    scars: tuple[shapely.Polygon, ...]


def draw_scene(
    seed: int,
    size_px: int = 256,
    *,
    scars: int = 3,
    clouds: bool = False,
    scar_at: tuple[float, float] | None = None,
    scar_growth: float = 1.0,
) -> GeneratedScene:
    """Draw hills, forest, bare fields, roads and scars that run downhill.

    Args:
        size_px: side of the square scene, pixels of 10 m.
        scar_at: (column, row) of the middle of the first scar; a random steep place if None.
        scar_growth: factor on the length and width of all scars. One seed with several factors gives several dates of
            one ground.

    >>> scene = draw_scene(1, 64, scars=1)
    >>> scene.bands["B4"].shape, scene.truth.max()
    ((64, 64), np.uint8(1))
    """
    rng = np.random.default_rng(seed)
    shape = (size_px, size_px)
    # Folded noise makes sharp ridges and valleys; broad noise makes some of the ground flat.
    ridged = -abs(_draw_noise(rng, shape, 9)) * np.clip(60 * (0.6 + _draw_noise(rng, shape, 30)), 5, 110)
    dem = 400.0 + ridged + _draw_noise(rng, shape, 40) * 140.0 + _draw_noise(rng, shape, 4) * 6.0
    down_row, down_column = _find_downhill(dem, 1.5)
    slope = np.hypot(down_row, down_column)

    cover = _draw_cover(rng, shape, slope)
    # Scars have a random generator of their own, so that one seed gives the same ground with and without scars.
    scar_rng = np.random.default_rng([seed, 1])
    outlines = []
    for number in range(scars):
        if number == 0 and scar_at is not None:
            place = scar_at
        else:
            # The steepest of a few places away from the border.
            margin = min(12, shape[0] // 4)
            places = scar_rng.uniform(margin, shape[0] - margin, (6, 2))
            column, row = places[int(np.argmax([slope[int(row), int(column)] for column, row in places]))]
            place = float(column), float(row)
        outlines.append(_draw_scar_outline(scar_rng, place, *_find_downhill(dem, 4)))
    if scar_growth != 1.0:
        outlines = [shapely.affinity.scale(outline, scar_growth, scar_growth) for outline in outlines]
    truth = np.zeros(shape, bool)
    for outline in outlines:
        truth |= _find_inside(outline, shape)
    blend = ndimage.gaussian_filter(truth.astype(np.float64), 0.45)
    soil = SCAR * scar_rng.uniform(0.95, 1.45) * (1 + scar_rng.normal(0, 0.05, 4))
    soil_texture = 1 + 0.12 * _draw_noise(scar_rng, shape, 2) + 0.10 * scar_rng.standard_normal(shape)
    soil_map = soil[:, None, None] * soil_texture
    reflectance = cover * (1 - blend) + soil_map * blend

    sun = rng.uniform(0, 2 * np.pi)
    shade = 1 + rng.uniform(0.5, 1.0) * (np.cos(sun) * down_row + np.sin(sun) * down_column)
    reflectance *= np.clip(shade, 0.5, 1.6)
    reflectance = reflectance * rng.uniform(0.8, 1.25) + HAZE[:, None, None] * rng.uniform(0.0, 0.07)
    if clouds:
        opacity = np.clip(_draw_noise(rng, shape, 8) - rng.uniform(1.4, 2.2), 0, 0.9)
        # Clouds hide no scar.
        opacity *= 1 - ndimage.gaussian_filter(ndimage.binary_dilation(truth, iterations=4) * 1.0, 1)
        reflectance = reflectance * (1 - opacity) + CLOUD[:, None, None] * opacity
    reflectance += rng.normal(0, 0.0015, reflectance.shape)
    counts = np.clip(np.rint(reflectance * REFLECTANCE_SCALE), 1, 20_000).astype(np.uint16)
    return GeneratedScene(
        bands=dict(zip(BANDS, counts, strict=True)),
        truth=truth.astype(np.uint8),
        dem_m=dem.astype(np.float32),
        scars=tuple(outlines),
    )


def draw_patches(seed: int, count: int, size_px: int, bands: tuple[str, ...]) -> tuple[NDArray[Any], NDArray[np.uint8]]:
    """Draw scenes with 0 to 5 scars each.

    Args:
        bands: names of `BANDS`, and `slope`.

    Returns:
        Reflectance (`slope` in degrees), count x bands x H x W, and the truth, count x H x W, 1 in scars.
    """
    from detection.imagery.raster.terrain import derive_terrain

    rng = np.random.default_rng(seed)
    images = np.empty((count, len(bands), size_px, size_px), np.float32)
    masks = np.empty((count, size_px, size_px), np.uint8)
    for number in range(count):
        scene = draw_scene(int(rng.integers(2**31)), size_px, scars=int(rng.integers(0, 6)), clouds=rng.random() < 0.25)
        for position, name in enumerate(bands):
            if name == "slope":
                heights = np.pad(scene.dem_m.astype(np.float64), 1, mode="edge")
                images[number, position] = derive_terrain(heights, PIXEL_M, PIXEL_M, ("slope",))["slope"]
            else:
                images[number, position] = scene.bands[name] / np.float32(REFLECTANCE_SCALE)
        masks[number] = scene.truth
    return images, masks


def write_scene(
    folder: Path,
    seed: int,
    with_scar: bool = True,
    center_lon: float = 141.95,
    center_lat: float = 42.73,
    size_px: int = 256,
    acquired_at: datetime | None = None,
    scar_lonlat: tuple[float, float] | None = None,
    *,
    role: str = "single",
    geographic: bool = False,
    scar_growth: float = 1.0,
) -> dict[str, Any]:
    """Write one drawn scene as a folder with its bands, its DEM and the manifest `scene.toml`.

    The manifest is written last, so that a program that watches the folder never reads half of a scene.

    Args:
        seed: determines hills and cover. One seed without and with a scar gives the dates before and after a landslide.
        size_px: side, pixels of 10 m.
        acquired_at: with a time zone; the start of the year 2000 if None.
        scar_lonlat: place of the scar; a random steep place if None.
        role: value of `role` in the manifest.
        geographic: whether the grid is in degrees instead of metres.
        scar_growth: factor on the length and width of the scar, for a slope that fails further from date to date.

    Returns:
        The truth: outlines of the scar as GeoJSON (longitude, latitude) with their true area, the share of its pixels,
        and the names of the files.

    Raises:
        ValueError: `acquired_at` has no time zone.
    """
    from detection.imagery.raster.areas import map_outline, true_area_m2
    from detection.imagery.raster.grid import grid_around
    from detection.imagery.raster.raster import write_geotiff

    acquired_at = acquired_at or datetime(2000, 1, 1, tzinfo=UTC)
    if acquired_at.tzinfo is None:
        raise ValueError("acquired_at needs a time zone")
    folder.mkdir(parents=True, exist_ok=True)
    grid = grid_around(center_lon, center_lat, size_px, PIXEL_M, geographic=geographic)
    scar_at = grid.pixel_of(*scar_lonlat) if scar_lonlat else None
    scene = draw_scene(seed, size_px, scars=int(with_scar), scar_at=scar_at, scar_growth=scar_growth)
    files = {f"{name}.tif": band for name, band in scene.bands.items()} | {"dem.tif": scene.dem_m}
    for name, array in files.items():
        nodata = None if name == "dem.tif" else 0
        write_geotiff(folder / name, array[None], grid, nodata=nodata)
    lines = [f"acquired_at = {acquired_at.astimezone(UTC).isoformat()}", f'role = "{role}"', 'dem = "dem.tif"', ""]
    lines += ["[bands]", *(f'{name} = "{name}.tif"' for name in scene.bands), "", "[files]"]
    for name in files:
        content = (folder / name).read_bytes()
        lines.append(f'"{name}" = {{ size = {len(content)}, sha256 = "{sha256(content).hexdigest()}" }}')
    with replacing(folder / "scene.toml") as partial:
        partial.write_text("\n".join(lines) + "\n", encoding="utf-8")
    outlines = [map_outline(scar, grid.to_crs) for scar in scene.scars]
    return {
        "folder": str(folder),
        "seed": seed,
        "acquired_at": acquired_at.astimezone(UTC).isoformat(),
        "crs": grid.crs_name,
        "scar_pixel_share": float(scene.truth.mean()),
        "scars": [
            {
                "geometry": shapely.geometry.mapping(map_outline(outline, grid.to_lonlat)),
                "area_m2": true_area_m2(outline, grid),
            }
            for outline in outlines
        ],
        "files": sorted(files),
    }


def _draw_noise(rng: np.random.Generator, shape: tuple[int, int], sigma: float) -> NDArray[np.float64]:
    """Draw smooth noise of about unit variance."""
    smooth = ndimage.gaussian_filter(rng.standard_normal(shape), sigma, mode="wrap")
    return np.asarray(smooth * (2 * sigma * np.sqrt(np.pi)))


def _find_downhill(dem: NDArray[np.float64], smoothing_px: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the steepest descent of smoothed heights, m per m: down the rows and along the columns."""
    by_row, by_column = np.gradient(ndimage.gaussian_filter(dem, smoothing_px), PIXEL_M)
    return -by_row, -by_column


def _draw_cover(rng: np.random.Generator, shape: tuple[int, int], slope: NDArray[np.float64]) -> NDArray[np.float64]:
    """Draw the reflectance of forest, grass, fields, roads and rivers, bands x H x W."""
    grass = 1 / (1 + np.exp(-3 * (_draw_noise(rng, shape, 12) - rng.uniform(0.3, 1.5))))
    autumn = 1 / (1 + np.exp(-2 * (_draw_noise(rng, shape, 9) - rng.uniform(-2.0, 2.5))))
    leaves = AUTUMN * rng.uniform(0.8, 1.25) * (1 + rng.normal(0, 0.08, 4))
    forest = FOREST[:, None, None] * (1 - autumn) + leaves[:, None, None] * autumn
    ground = forest * (1 - grass) + GRASS[:, None, None] * grass
    # Crown texture is coarser and darker in forest than the sward of grass.
    texture = 0.12 * _draw_noise(rng, shape, 1.2) + 0.10 * rng.standard_normal(shape)
    ground *= np.clip(1 + texture * (1.3 - 0.8 * grass), 0.3, 2.0)
    for _ in range(int(rng.integers(0, 1 + max(1, shape[0] * shape[1] // 4000)))):
        along, across = _draw_axes(rng, shape)
        plot = (abs(along) < rng.uniform(4, 14)) & (abs(across) < rng.uniform(3, 9)) & (slope < 0.25)
        soil = FIELD * rng.uniform(0.7, 1.4) * (1 + rng.normal(0, 0.06, 4))
        furrows = 1 + 0.04 * np.sin(across * rng.uniform(1.0, 3.0)) + 0.03 * rng.standard_normal(shape)
        ground = np.where(plot, soil[:, None, None] * furrows, ground)
    for _ in range(int(rng.integers(0, 3))):
        along, across = _draw_axes(rng, shape)
        line = abs(across + rng.uniform(-0.004, 0.004) * along**2)
        river = rng.random() < 0.4
        half_width = rng.uniform(1.5, 4.0) if river else 0.5
        share = np.clip(half_width + 0.5 - line, 0, 1) * (1.0 if river else 0.8)
        ground = ground * (1 - share) + (WATER if river else ROAD)[:, None, None] * share
    return np.asarray(ground)


def _draw_axes(rng: np.random.Generator, shape: tuple[int, int]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the distances of all pixels along and across a random line."""
    angle, row, column = rng.uniform(0, np.pi), rng.uniform(0, shape[0]), rng.uniform(0, shape[1])
    rows, columns = np.indices(shape, dtype=np.float64)
    along = (columns - column) * np.cos(angle) + (rows - row) * np.sin(angle)
    across = (rows - row) * np.cos(angle) - (columns - column) * np.sin(angle)
    return along, across


def _draw_scar_outline(
    rng: np.random.Generator,
    place: tuple[float, float],
    down_row: NDArray[np.float64],
    down_column: NDArray[np.float64],
) -> shapely.Polygon:
    """Draw the outline of a scar that runs downhill through a place (column, row)."""
    length, half_width = rng.uniform(10, 44), rng.uniform(1.8, 5.0)
    height, width = down_row.shape

    def direction(point: NDArray[np.float64]) -> NDArray[np.float64]:
        row, column = int(np.clip(point[1], 0, height - 1)), int(np.clip(point[0], 0, width - 1))
        step = np.array([down_column[row, column], down_row[row, column]])
        norm = np.hypot(*step)
        return step / norm if norm > 0 else np.array([1.0, 0.0])

    steps = max(6, int(length))
    middle = [np.asarray(place, np.float64)]
    for sign in (-1.0, 1.0):
        point = np.asarray(place, np.float64)
        heading = direction(point) * sign
        run: list[NDArray[np.float64]] = []
        for _ in range(steps // 2):
            # Keeping half of the old heading stops the path from jittering in a gully.
            heading = 0.6 * heading + 0.4 * sign * direction(point)
            heading /= max(float(np.hypot(*heading)), 1e-9)
            point = point + heading * length / steps
            run.append(point)
        middle = [*reversed(run), *middle] if sign < 0 else [*middle, *run]
    path = np.array(middle)
    share = np.linspace(0, 1, len(path))
    profile = half_width * (0.45 + 0.75 * np.sin(np.pi * np.clip(share * 0.85 + 0.08, 0, 1)))
    tangent = np.gradient(path, axis=0)
    tangent /= np.maximum(np.hypot(tangent[:, 0], tangent[:, 1]), 1e-9)[:, None]
    normal = np.stack([-tangent[:, 1], tangent[:, 0]], axis=1)
    ragged = 1 + 0.15 * rng.standard_normal((2, len(path)))
    left = path + normal * (profile * ragged[0])[:, None]
    right = path - normal * (profile * ragged[1])[:, None]
    body = shapely.Polygon(np.concatenate([left, right[::-1]])).buffer(0.6).buffer(-0.2)
    parts = sorted(shapely.get_parts(body), key=lambda part: -part.area)
    return shapely.Polygon(parts[0].exterior)


def _find_inside(outline: shapely.Polygon, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Return the pixels whose centres lie in an outline."""
    inside = np.zeros(shape, bool)
    left, top, right, bottom = outline.bounds
    rows = np.arange(max(0, int(top)), min(shape[0], int(bottom) + 1))
    columns = np.arange(max(0, int(left)), min(shape[1], int(right) + 1))
    if rows.size and columns.size:
        x, y = np.meshgrid(columns + 0.5, rows + 0.5)
        inside[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = shapely.contains_xy(outline, x, y)
    return inside
