"""Damaged files that a VRT is made of: a block whose checksum differs is no ground, wherever the mosaic shows it."""

import json
import shutil

import numpy as np
import pytest
import rasterio

from detection.imagery.data.generate import draw_scene
from detection.imagery.errors import TruncatedRasterError
from detection.imagery.raster.grid import Grid, grid_around
from detection.imagery.scene.reader import BandReader
from monitor.cli.main import run_verb
from tests.data.surveys.rasters import write_raster

SIZE, HALF = 96, 48
PLACE = grid_around(141.95, 42.73, SIZE, 10.0)
NAMES = ("B4", "B3", "B2")
MOSAIC = """<VRTDataset rasterXSize="{w}" rasterYSize="96"><SRS>EPSG:32654</SRS>
<GeoTransform>{x}, 10, 0, {y}, 0, -10</GeoTransform>
<VRTRasterBand dataType="UInt16" band="1"><NoDataValue>0</NoDataValue>{parts}</VRTRasterBand></VRTDataset>"""
PART = """<SimpleSource><SourceFilename relativeToVRT="1">{file}</SourceFilename><SourceBand>1</SourceBand>
<SrcRect xOff="0" yOff="0" xSize="48" ySize="96"/><DstRect xOff="{at}" yOff="0" xSize="48" ySize="96"/>
</SimpleSource>"""


def write_half(path, array, column: int) -> None:
    """A deflated half of the scene in blocks of 16 px."""
    place = Grid(PLACE.moved(column, 0), PLACE.crs_wkt, HALF, SIZE)
    half = array[None, :, column : column + HALF].astype(np.uint16)
    blocks = {"tiled": True, "blockxsize": 16, "blockysize": 16, "compress": "deflate"}
    write_raster(path, half, crs=place.crs_wkt, transform=place.transform, nodata=0, **blocks)


def write_mosaic(path, name: str, *, nested: bool = False) -> None:
    """The two halves beside each other; the right one by a VRT of its own where that is wanted."""
    a = PLACE.transform
    right = f"{name}-right.tif"
    if nested:
        inner = MOSAIC.format(w=HALF, x=a.c + HALF * 10, y=a.f, parts=PART.format(file=right, at=0))
        (path.parent / "inner.vrt").write_text(inner)
        right = "inner.vrt"
    parts = PART.format(file=f"{name}-left.tif", at=0) + PART.format(file=right, at=HALF)
    path.write_text(MOSAIC.format(w=SIZE, x=a.c, y=a.f, parts=parts))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mosaic") / "scene"
    folder.mkdir()
    drawn = draw_scene(5, SIZE, scars=1)
    for name in NAMES:
        write_half(folder / f"{name}-left.tif", drawn.bands[name], 0)
        write_half(folder / f"{name}-right.tif", drawn.bands[name], HALF)
        write_mosaic(folder / f"{name}.vrt", name)
    bands = "".join(f'{name} = "{name}.vrt"\n' for name in NAMES)
    (folder / "scene.toml").write_text(
        f'acquired_at = 2024-05-06T00:00:00Z\nrole = "post"\ncomplete = true\n[bands]\n{bands}'
    )
    return folder


@pytest.fixture
def scene(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "scene")


def spoil(path, column: int, row: int) -> None:
    """Flip bits in the middle of one block: GDAL reads it without complaint, its checksum differs."""
    with rasterio.open(path) as source:
        start, size = (
            int(source.get_tag_item(f"BLOCK_{key}_{column}_{row}", "TIFF", bidx=1)) for key in ("OFFSET", "SIZE")
        )
    content = bytearray(path.read_bytes())
    content[start + size // 2] ^= 0x55
    path.write_bytes(content)


@pytest.mark.parametrize("nested", [False, True])
def test_a_damaged_block_is_known_where_the_mosaic_shows_it(scene, nested):
    write_mosaic(scene / "B3.vrt", "B3", nested=nested)
    spoil(scene / "B3-right.tif", 1, 2)
    bands = {"B4": (scene / "B4.vrt", 1), "B3": (scene / "B3.vrt", 1)}
    with BandReader(bands) as reader:
        for beside in ((0, 0, 64, 96), (80, 0, 16, 96), (48, 0, 48, 32), (48, 48, 48, 48)):
            assert reader.read(*beside)[1].all()
        with pytest.raises(TruncatedRasterError, match=r"B3\.vrt: a block of B3-right\.tif over row 32 is damaged"):
            reader.read(63, 31, 2, 2)
        with pytest.raises(TruncatedRasterError):
            reader.read(0, 0, SIZE, SIZE)


def test_a_scene_of_a_damaged_mosaic(scene, tmp_path, capsys):
    """Refused in one line; with --partial the ground of the block is nodata, is said to be, and the exit is 3."""
    spoil(scene / "B3-right.tif", 1, 2)
    words = ["scenes", "detect", "--model", "generated", str(scene), "--out", str(tmp_path / "out"), "--json"]
    assert run_verb(words) == 1
    assert "B3.vrt: a block of B3-right.tif over row 32 is damaged" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert run_verb([*words, "--partial"]) == 3
    answer = json.loads(capsys.readouterr().out)
    assert answer["unreadable_share"] > 0
    with rasterio.open(tmp_path / "out" / "mask.tif") as source:
        mask = source.read(1)
    assert (mask[32:48, 64:80] == 255).all()
    assert np.count_nonzero(mask == 255) == round(answer["unreadable_share"] * SIZE * SIZE)
