"""A drawn landscape whose susceptibility is known: heights, rock, a river, and landslides by a law of them."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import shapely
from scipy import ndimage

from detection.imagery.raster.grid import Grid, grid_around
from detection.imagery.raster.raster import write_geotiff
from detection.imagery.raster.terrain import derive_terrain

PIXEL_M = 20.0
RIVER_REACH_M = 400.0


@dataclass(frozen=True)
class Landscape:
    """What was drawn: the study file, the true probability of each pixel, and its grid."""

    study: Path
    truth: np.ndarray
    grid: Grid
    slides: np.ndarray  # where landslides were drawn


def smooth(rng, size, sigma):
    """A random field of mean 0 and deviation 1 that resembles itself over `sigma` pixels."""
    field = ndimage.gaussian_filter(rng.standard_normal((size, size)), sigma, mode="wrap")
    return (field - field.mean()) / field.std()


def draw(
    folder: Path, *, seed=0, size=200, base=-4.2, strength=1.0, hidden=0.0, lumps_px=0.0, noise=0.0, points=True
) -> Landscape:
    """Draw heights, rock of three classes and a river, and landslides by a logistic law of slope, rock and river."""
    rng = np.random.default_rng(seed)
    grid = grid_around(12.0, 46.0, size, PIXEL_M)
    dem = 900 + 160 * smooth(rng, size, 12) + 12 * smooth(rng, size, 3)
    slope = derive_terrain(np.pad(dem, 1, mode="edge"), PIXEL_M, PIXEL_M, ("slope",))["slope"].astype(float)
    rock = np.digitize(smooth(rng, size, 15), (-0.4, 0.5)) + 1
    middle = size / 2 + 0.2 * size * np.sin(np.arange(size + 1) / size * 5)
    rows, columns = np.indices((size, size)) + 0.5
    away = PIXEL_M * np.abs(rows - np.interp(columns, np.arange(size + 1), middle))
    odds = strength * (
        0.09 * slope + np.choose(rock - 1, (0.0, -1.2, 1.2)) - 1.5 * np.minimum(away, RIVER_REACH_M) / RIVER_REACH_M
    )
    truth = 1 / (1 + np.exp(-(base + odds)))
    swarm = truth if not hidden else 1 / (1 + np.exp(-(base + odds + hidden * smooth(rng, size, lumps_px))))
    chance = (1 - noise) * swarm + noise * swarm.mean()
    slides = rng.random(truth.shape) < chance

    folder.mkdir(parents=True, exist_ok=True)
    write_geotiff(folder / "dem.tif", dem[None].astype(np.float32), grid)
    write_geotiff(folder / "rock.tif", rock[None].astype(np.uint8), grid, nodata=0)
    line = np.stack(grid.to_crs(np.arange(size + 1.0), middle), axis=1)
    write_geojson(folder / "river.geojson", [shapely.LineString(line)], grid)
    at = np.argwhere(slides)[:, ::-1] + 0.5
    shapes = [shapely.Point(*grid.to_crs(*one)) for one in at]
    if not points:
        shapes = list(shapely.buffer(np.array(shapes), 1.6 * PIXEL_M))
    write_geojson(folder / "slides.geojson", shapes, grid)
    study = folder / "study.toml"
    study.write_text(f"""
[factors]
slope = {{ dem = "dem.tif" }}
aspect = {{ dem = "dem.tif" }}
rock = {{ classes = "rock.tif" }}
river = {{ lines = "river.geojson", most_m = {RIVER_REACH_M} }}
[inventory]
file = "slides.geojson"
from = 2018-09-06
to = 2018-09-06
source = "drawn"
licence = "none needed"
""")
    return Landscape(study, truth, grid, slides)


def write_geojson(path: Path, shapes, grid: Grid) -> None:
    """Write shapes of the grid's coordinates as GeoJSON in longitude and latitude."""
    placed = (shapely.transform(one, lambda xy: np.stack(grid.to_lonlat(*xy.T), 1)) for one in shapes)
    features = [{"type": "Feature", "properties": {}, "geometry": shapely.geometry.mapping(one)} for one in placed]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
