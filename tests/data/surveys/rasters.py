"""Rasters as tests need them."""

import rasterio

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
