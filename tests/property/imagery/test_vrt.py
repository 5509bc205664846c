"""A thousand VRT files bent to read another file: each is refused, or shows its own folder and nothing else."""

import random
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import rasterio
from affine import Affine

from detection.imagery.errors import ForbiddenSourceError, ImageryError
from detection.imagery.raster.untrusted import open_raster
from tests.data.surveys.rasters import write_raster

OWN, SECRET = 7, 83
PLAIN = """<VRTDataset rasterXSize="8" rasterYSize="8"><SRS>EPSG:32632</SRS>
<GeoTransform>600000, 10, 0, 5100000, 0, -10</GeoTransform>
<Metadata><MDI key="AREA_OR_POINT">Area</MDI></Metadata>
<VRTRasterBand dataType="Byte" band="1"><NoDataValue>0</NoDataValue><ColorInterp>Gray</ColorInterp>
<SimpleSource><SourceFilename relativeToVRT="1">own.tif</SourceFilename><SourceBand>1</SourceBand>
<SourceProperties RasterXSize="8" RasterYSize="8" DataType="Byte" BlockXSize="8" BlockYSize="8"/>
<SrcRect xOff="0" yOff="0" xSize="8" ySize="8"/><DstRect xOff="0" yOff="0" xSize="8" ySize="8"/></SimpleSource>
</VRTRasterBand></VRTDataset>"""
OFFSETS = (("ImageOffset", "0"), ("PixelOffset", "1"), ("LineOffset", "8"), ("ByteOrder", "LSB"))
RAW = (("subClass", "VRTRawRasterBand"), ("SourceFilename", "{secret}"), ("relativeToVRT", "0"), *OFFSETS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A scene's folder with a raster of sevens, and beside it what nobody may see: a raster and raw bytes of 83."""
    root = tmp_path_factory.mktemp("outside")
    inside = root / "scene"
    inside.mkdir()
    place = {"transform": Affine(10, 0, 600_000, 0, -10, 5_100_000), "crs": "EPSG:32632"}
    for path, value in ((inside / "own.tif", OWN), (root / "secret.tif", SECRET)):
        write_raster(path, np.full((1, 8, 8), value, np.uint8), **place)
    (root / "secret.bin").write_bytes(bytes([SECRET]) * 256)
    return inside


def read(path: Path) -> set[int]:
    with open_raster(path) as source:
        return {int(value) for value in np.unique(source.read())}


def any_case(name: str, dice: random.Random) -> str:
    return "".join(dice.choice((letter.lower(), letter.upper())) for letter in name) if dice.random() < 0.7 else name


def bend(folder: Path, dice: random.Random) -> str:
    """The plain mosaic with one to four tricks."""
    tree = ET.fromstring(PLAIN)
    targets = [folder.parent / name for name in ("secret.tif", "secret.bin")]
    names = [*map(str, targets), "../secret.tif", "/vsicurl/http://127.0.0.1:9/a.tif", f"/vsisubfile/0,{targets[0]}"]
    names += ["http://127.0.0.1:9/a.tif", "/vsizip/a.zip/b.tif"]
    for _ in range(dice.randint(1, 4)):
        elements = list(tree.iter())
        element, trick = dice.choice(elements), dice.randrange(6)
        secret = dice.choice(names)
        if trick == 0:  # attributes that the driver takes for elements
            for name, value in dice.sample(RAW, dice.randint(1, len(RAW))):
                element.set(any_case(name, dice), value.format(secret=secret))
        elif trick == 1:  # an element in another place or spelling
            child = ET.SubElement(element, any_case(dice.choice(("SourceFilename", "Overview", "MaskBand")), dice))
            child.text = secret
        elif trick == 2:
            element.tag = any_case(element.tag, dice)
        elif trick == 3:
            element.text = secret
        elif trick == 4:
            element.append(ET.fromstring(f"<SimpleSource><SourceFilename>{secret}</SourceFilename></SimpleSource>"))
        else:
            element.set(any_case(dice.choice(("domain", "format", "shared", "key", "OpenOptions")), dice), secret)
    return ET.tostring(tree, encoding="unicode")


def test_the_plain_mosaic_is_read(folder):
    (folder / "plain.vrt").write_text(PLAIN)
    assert read(folder / "plain.vrt") == {OWN}
    (folder / "nested.vrt").write_text(PLAIN.replace("own.tif", "plain.vrt"))
    assert read(folder / "nested.vrt") == {OWN}


@pytest.mark.parametrize("spelling", ["subClass", "SUBCLASS", "subclass", "SubClass"])
def test_raw_bytes_asked_for_by_attributes_are_refused(folder, spelling):
    secret = folder.parent / "secret.bin"
    words = " ".join(f'{spelling if k == "subClass" else k}="{v.format(secret=secret)}"' for k, v in RAW)
    text = PLAIN.partition("<SimpleSource>")[0].replace('band="1"', f'band="1" {words}')
    (folder / "raw.vrt").write_text(text + "</VRTRasterBand></VRTDataset>")
    with pytest.raises(ForbiddenSourceError, match=r"raw\.vrt: .* is not allowed in a VRT; only mosaics and stacks"):
        read(folder / "raw.vrt")


def test_a_thousand_bent_mosaics_show_nothing_outside_of_their_folder(folder):
    refused = 0
    for seed in range(1000):
        path = folder / "bent.vrt"
        path.write_text(bend(folder, random.Random(seed)))
        try:
            seen = read(path)
        except ImageryError:
            refused += 1
        except rasterio.errors.RasterioError:
            continue  # what is left of it is no mosaic
        else:
            assert seen <= {0, OWN}, seed
    assert refused > 800
