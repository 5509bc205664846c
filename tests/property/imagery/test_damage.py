"""Damaged GeoTIFFs: no crash, no false footprint, the output folder unchanged.
A thousand VRT files bent to read another file: each is refused, or shows its own folder and nothing else.
"""

import hashlib
import random
import struct
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import rasterio
from affine import Affine

from detection.imagery.data.generate import draw_scene
from detection.imagery.errors import ForbiddenSourceError, ImageryError, IncompleteSceneError
from detection.imagery.raster.grid import grid_around
from detection.imagery.raster.untrusted import open_raster
from tests.data.asked_detection import detect
from tests.data.surveys.rasters import COLOURS, write_raster
from tests.fixtures.soak import with_soak

SIZE = 128
# A sector lost or written in another's place needs a checksum to be seen: plain bytes have none.
SINGLE = ("truncated", "header", "directory", "blocks")
KINDS = {"deflate": (*SINGLE, "zeroed", "swapped"), "strips": (*SINGLE, "zeroed", "swapped"), "plain": SINGLE}


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> dict[str, bytes]:
    """The same quiet ground, without a landslide: tiles and strips that carry a checksum, and plain bytes."""
    scene = draw_scene(900_702, SIZE, scars=0)
    data = np.stack([scene.bands[name] for name in ("B4", "B3", "B2")])
    grid = grid_around(141.95, 42.73, SIZE, 10.0)
    profile = {"crs": grid.crs_wkt, "transform": grid.transform, "nodata": 0}
    layouts = {
        "deflate": {"tiled": True, "blockxsize": 64, "blockysize": 64, "compress": "deflate", "predictor": 2},
        "strips": {"compress": "deflate", "blockysize": 16},
        "plain": {"interleave": "band"},
    }
    found = {}
    for name, layout in layouts.items():
        path = tmp_path_factory.mktemp("whole") / "20240506.tif"
        found[name] = write_raster(path, data, COLOURS, **profile, **layout).read_bytes()
    return found


def damage(content: bytes, kind: str, rng: np.random.Generator) -> bytes:
    spoiled = bytearray(content)
    if kind == "truncated":
        return bytes(spoiled[: int(rng.integers(0, len(spoiled)))])
    if kind == "zeroed":  # a hole of a disk that lost a sector
        start = int(rng.integers(0, len(spoiled)))
        spoiled[start : start + 512] = bytes(len(spoiled[start : start + 512]))
        return bytes(spoiled)
    if kind == "swapped":  # two blocks of a disk that were written in the other's place
        one, other = (int(value) * 512 for value in rng.choice(len(spoiled) // 512, 2, replace=False))
        spoiled[one : one + 512], spoiled[other : other + 512] = content[other : other + 512], content[one : one + 512]
        return bytes(spoiled)
    first = struct.unpack_from("<I", content, 4)[0]
    entries = struct.unpack_from("<H", content, first)[0]
    places = {"header": (0, 16), "directory": (first, first + 2 + 12 * entries), "blocks": (16, len(content))}
    for place in rng.integers(*places[kind], size=int(rng.integers(1, 5))):
        spoiled[place] ^= 1 << int(rng.integers(8))
    return bytes(spoiled)


@pytest.mark.usefixtures("one_torch_thread")
@pytest.mark.parametrize("count", with_soak(36, 500))
def test_damaged_files_are_refused_or_say_nothing_false(tmp_path, whole, count):
    """What is read in spite of its damage shows no footprint, for on the whole ground there is none."""
    out = tmp_path / "out"
    out.mkdir()
    (out / "old.txt").write_text("kept")
    path = tmp_path / "20240506.tif"
    refused = read = 0
    for seed in range(count):
        rng = np.random.default_rng([2_024, seed])
        layout = sorted(whole)[seed % len(whole)]
        kind = KINDS[layout][seed // len(whole) % len(KINDS[layout])]
        content = damage(whole[layout], kind, rng)
        path.write_bytes(content)
        answer, line = None, ""
        try:
            answer = detect({"weights": "generated", "scene_path": str(path), "out_dir": str(out)})
        except ImageryError as error:
            line = str(error)
        if answer is None:
            refused += 1
            assert "\n" not in line
            assert [file.name for file in out.iterdir()] == ["old.txt"], (seed, layout, kind)
            continue
        assert answer["polygons"] == [], (seed, layout, kind)
        read += 1
        for name in answer["outputs"].values():
            if isinstance(name, str):
                Path(name).unlink()
    assert refused > count / 3
    assert read > 0


@pytest.mark.parametrize("count", with_soak(36, 500))
def test_a_manifest_with_checksums_catches_what_a_format_without_one_cannot(tmp_path, whole, count):
    """ZSTD, LZW and plain blocks carry no checksum: garbage in them decodes to values that may well be real."""
    folder = tmp_path / "scene"
    folder.mkdir()
    bands = "".join(f'B{4 - index} = {{ file = "a.tif", index = {index + 1} }}\n' for index in range(3))
    digest = hashlib.sha256(whole["plain"]).hexdigest()
    listed = f'"a.tif" = {{ size = {len(whole["plain"])}, sha256 = "{digest}" }}\n'
    (folder / "scene.toml").write_text(f"acquired_at = 2024-05-06T00:00:00Z\n[bands]\n{bands}[files]\n{listed}")
    for seed in range(count):
        content = damage(whole["plain"], KINDS["strips"][seed % 6], np.random.default_rng([7, seed]))
        (folder / "a.tif").write_bytes(content)
        if content != whole["plain"]:
            with pytest.raises(IncompleteSceneError, match=r"a\.tif"):
                detect({"weights": "generated", "scene_path": str(folder)})


def test_the_whole_file_is_read_and_shows_nothing(tmp_path, whole):
    for layout, content in whole.items():
        path = tmp_path / layout / "20240506.tif"
        path.parent.mkdir()
        path.write_bytes(content)
        answer = detect({"weights": "generated", "scene_path": str(path)})
        assert (answer["polygons"], answer["valid_share"]) == ([], 1.0)


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
