"""Rasters as tests need them."""

import rasterio

from detection.imagery.raster.raster import write_geotiff

COLOURS = ("red", "green", "blue")


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
