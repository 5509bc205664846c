"""Synthetic products in the layouts of their providers: small images and their metadata files."""

import json

import numpy as np
from affine import Affine

from tests.data.surveys.rasters import write_raster

SIDE = 64
CRS = "EPSG:32632"
SAFE = "S2B_MSIL2A_20230511T101559_N0509_R065_T32TMS_20230511T131801"


def write_image(path, values, pixel_m=10.0, driver="GTiff"):
    """Write an array (bands, height, width) as a raster with a fixed upper left corner."""
    options = {"QUALITY": "100", "REVERSIBLE": "YES"} if driver == "JP2OpenJPEG" else {}
    place = Affine(pixel_m, 0.0, 500_000.0, 0.0, -pixel_m, 5_120_000.0)
    write_raster(path, values, driver=driver, crs=CRS, transform=place, **options)


def draw(side=SIDE, level=0, seed=1):
    """Return counts of uniform ground with one band, shape (1, side, side)."""
    return (np.random.default_rng(seed).normal(1500, 150, (1, side, side)) + level).astype(np.uint16)


def write_safe(folder, *, level="2A", offset=-1000, baseline="05.09", size=None):
    """Write a SAFE folder of Sentinel-2 whose counts have 1000 added, and return its root."""
    root = folder / f"{SAFE.replace('MSIL2A', f'MSIL{level}')}.SAFE"
    granule = f"GRANULE/L{level}_T32TMS_A032_20230511T101600/IMG_DATA"
    images, listed = [], []
    for band in ("B02", "B03", "B04", "B08", "B05", "B11"):
        sizes = (
            ((10, SIDE), (20, SIDE // 2)) if band < "B05" else ((10, SIDE),) if band == "B08" else ((20, SIDE // 2),)
        )
        for metres, side in sizes if level == "2A" else sizes[:1]:
            name = f"{granule}/R{metres}m/T32TMS_20230511T101559_{band}_{metres}m"
            images.append(name if level == "2A" else f"{granule}/T32TMS_20230511T101559_{band}")
            write_image(root / f"{images[-1]}.jp2", draw(side, 1000), float(metres), "JP2OpenJPEG")
    if level == "2A":
        images.append(f"{granule}/R20m/T32TMS_20230511T101559_SCL_20m")
        scl = np.full((1, SIDE // 2, SIDE // 2), 4, np.uint8)
        scl[:, :8] = 9  # clouds
        write_image(root / f"{images[-1]}.jp2", scl, 20.0, "JP2OpenJPEG")
    for image in images:
        stated = (root / f"{image}.jp2").stat().st_size if size is None else size
        listed.append(f'<byteStream size="{stated}"><fileLocation href="./{image}.jp2"/></byteStream>')
    tag = {"2A": "BOA_ADD_OFFSET", "1C": "RADIO_ADD_OFFSET"}[level]
    offsets = "" if offset is None else "".join(f'<{tag} band_id="{k}">{offset}</{tag}>' for k in range(13))
    (root / f"MTD_MSIL{level}.xml").write_text(
        f'<?xml version="1.0"?><n1:Level-{level}_User_Product xmlns:n1="https://psd-14.sentinel2.eo.esa.int/x.xsd">'
        "<n1:General_Info><Product_Info><PRODUCT_START_TIME>2023-05-11T10:15:59.024Z</PRODUCT_START_TIME>"
        f"<PROCESSING_BASELINE>{baseline}</PROCESSING_BASELINE><Granule_List><Granule>"
        + "".join(f"<IMAGE_FILE>{image}</IMAGE_FILE>" for image in images)
        + "</Granule></Granule_List></Product_Info><QUANTIFICATION_VALUES_LIST><BOA_QUANTIFICATION_VALUE>10000"
        f"</BOA_QUANTIFICATION_VALUE></QUANTIFICATION_VALUES_LIST>{offsets}</n1:General_Info>"
        f"</n1:Level-{level}_User_Product>",
        encoding="utf-8",
    )
    (root / "manifest.safe").write_text(f"<xfdu>{''.join(listed)}</xfdu>", encoding="utf-8")
    return root


def write_landsat(folder, *, level="L2SP", as_json=False):
    """Write a folder of Landsat 8, Collection 2, with clouds in the upper half (scale 0.0000275, offset -0.2)."""
    stem = f"LC08_{level}_194027_20230511_20230518_02_T1"
    metadata = {
        "PROCESSING_LEVEL": level,
        "SPACECRAFT_ID": "LANDSAT_8",
        "DATE_ACQUIRED": "2023-05-11",
        "SCENE_CENTER_TIME": "10:10:21.1234560Z",
        "FILE_NAME_QUALITY_L1_PIXEL": f"{stem}_QA_PIXEL.TIF",
        **{f"FILE_NAME_BAND_{k}": f"{stem}_SR_B{k}.TIF" for k in range(1, 8)},
    }
    for k in range(1, 8):
        write_image(folder / metadata[f"FILE_NAME_BAND_{k}"], draw(level=8000, seed=k), 30.0)
    quality = np.full((1, SIDE, SIDE), 21824, np.uint16)  # clear land
    quality[:, : SIDE // 2] = 22280  # cloud of high confidence
    write_image(folder / metadata["FILE_NAME_QUALITY_L1_PIXEL"], quality, 30.0)
    if as_json:
        text = json.dumps({"LANDSAT_METADATA_FILE": {"PRODUCT_CONTENTS": metadata}})
    else:
        text = "GROUP = LANDSAT_METADATA_FILE\n" + "".join(f'    {k} = "{v}"\n' for k, v in metadata.items()) + "END\n"
    (folder / f"{stem}_MTL.{'json' if as_json else 'txt'}").write_text(text, encoding="utf-8")
    return folder


def write_planet(folder, name="20230511_101559_12_2461_3B_AnalyticMS_SR_8b_clip.tif"):
    """Write a folder of PlanetScope with a usable data mask whose left half is clear."""
    write_image(folder / name, np.concatenate([draw(seed=k) for k in range(8 if "8b" in name else 4)]), 3.0)
    usable = np.zeros((8, SIDE, SIDE), np.uint8)
    usable[0, :, : SIDE // 2] = 1
    write_image(folder / "20230511_101559_12_2461_3B_udm2_clip.tif", usable, 3.0)
    return folder


def write_stac(folder, *, applied=None, offset=-0.1):
    """Write a STAC item with local assets and one remote asset."""
    assets = {"thumbnail": {"href": "https://example.com/t.jpg"}}
    for key in ("blue", "green", "red", "nir"):
        write_image(folder / f"{key}.tif", draw(level=1000))
        assets[key] = {
            "href": f"./{key}.tif",
            "eo:bands": [{"name": key, "common_name": key}],
            "raster:bands": [{"scale": 0.0001, "offset": offset}],
        }
    write_image(folder / "SCL.tif", np.full((1, SIDE // 2, SIDE // 2), 4, np.uint8), 20.0)
    assets["scl"] = {"href": "SCL.tif"}
    properties = {"datetime": "2023-05-11T10:15:59.024000Z"}
    properties |= {} if applied is None else {"earthsearch:boa_offset_applied": applied}
    item = {"type": "Feature", "stac_version": "1.0.0", "id": "x", "properties": properties, "assets": assets}
    (folder / "item.json").write_text(json.dumps(item), encoding="utf-8")
    return folder
