"""Rasters as tests need them."""

import rasterio
from affine import Affine

from detection.imagery.raster.raster import write_geotiff

COLOURS = ("red", "green", "blue")
# a mine's own grid, and the entry of a site file that places it
MINE = 'LOCAL_CS["mine grid",UNIT["metre",1,AUTHORITY["EPSG","9001"]],AXIS["E",EAST],AXIS["N",NORTH]]'
AT_MINE = Affine(10, 0, 5_000, 0, -10, 9_000)
# turned by about 7 degrees and moved: the mine's (5000, 9000) is (577870, 4729510) in UTM 54
AFFINE = (0.992, -0.126, 574_044.0, 0.126, 0.992, 4_719_952.0)
CRS = f'[crs]\nlocal = {{ into = "EPSG:32654", affine = {list(AFFINE)} }}\n'


def write_raster(path, bands, names=(), acquired_at=None, **profile):
    """Bands x height x width as a GeoTIFF; `profile` as rasterio takes it, `names` describe the first bands."""
    path.parent.mkdir(parents=True, exist_ok=True)
    count, height, width = bands.shape
    shape = {"driver": "GTiff", "count": count, "height": height, "width": width, "dtype": bands.dtype}
    with rasterio.open(path, "w", **shape | profile) as target:
        target.write(bands)
        if acquired_at:
            target.update_tags(ACQUIRED_AT=acquired_at)
        for index, name in enumerate(names[:count], start=1):
            target.set_band_description(index, name)
    return path


def change_raster(path, change=None, **tags):
    """Write over all bands what a function makes of them, and tags."""
    with rasterio.open(path, "r+") as target:
        if change is not None:
            target.write(change(target.read()))
        target.update_tags(**tags)


def read_values(path, *band):
    """All bands as they are stored, or one of them."""
    with rasterio.open(path) as source:
        return source.read(*band)


def write_folder(folder, bands, grid, extra="", at="2024-05-06T00:00:00Z"):
    """A complete scene with a file for each band by its name, 0 for nodata; `extra` stands above the bands."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, values in bands.items():
        write_geotiff(folder / f"{name}.tif", values[None], grid, nodata=0)
    files = "".join(f'{name} = "{name}.tif"\n' for name in bands)
    (folder / "scene.toml").write_text(f"acquired_at = {at}\ncomplete = true\n{extra}[bands]\n{files}")
    return folder
