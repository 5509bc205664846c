"""Drawn point clouds whose ground is known by formula, as LAS or LAZ files."""

import laspy
import numpy as np
import pyproj

ORIGIN = 500_000.0, 5_100_000.0


def ground(x, y):
    """A slope of 31° with ridges; x and y in metres from the corner."""
    return 800 + 0.6 * x + 1.5 * np.sin(y / 7) + 0.8 * np.cos(x / 5)


def draw(rng, side_m=40.0, per_m2=30, noise_m=0.03, raised=lambda x, y: 0.0 * x, trees=0):
    """Points n x 3 and which of them are trees."""
    n = int(side_m * side_m * per_m2)
    x, y = rng.uniform(0, side_m, (2, n))
    z = ground(x, y) + raised(x, y) + rng.normal(0, noise_m, n)
    wood = np.zeros(n, bool)
    for cx, cy in rng.uniform(4, side_m - 4, (trees, 2)):
        crown = (np.hypot(x - cx, y - cy) < 2) & (rng.random(n) < 0.8)
        z[crown] += rng.uniform(1, 6, crown.sum())
        wood |= crown
    return np.column_stack([x, y, z]), wood


def write_cloud(path, points, *, kind=None, crs="EPSG:32632", unit_m=1.0, version="1.4", point_format=6):
    header = laspy.LasHeader(version=version, point_format=point_format)
    header.scales, header.offsets = [0.001] * 3, [*ORIGIN, 0.0]
    if crs is not None:
        header.add_crs(pyproj.CRS(crs))
    las = laspy.LasData(header)
    las.x, las.y = points[:, 0] / unit_m + ORIGIN[0], points[:, 1] / unit_m + ORIGIN[1]
    las.z = points[:, 2] / unit_m
    if kind is not None:
        las.classification = kind
    las.write(path)
    return path
