"""Damaged GeoTIFFs cause no crash, no false footprint and no change of the output folder.

VRT files in any spelling and under any name are refused before GDAL reads them.
"""

import hashlib
import struct
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import rasterio

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
    if kind == "zeroed":  # zeros in place of a lost disk sector
        start = int(rng.integers(0, len(spoiled)))
        spoiled[start : start + 512] = bytes(len(spoiled[start : start + 512]))
        return bytes(spoiled)
    if kind == "swapped":  # two exchanged disk blocks
        one, other = (int(value) * 512 for value in rng.choice(len(spoiled) // 512, 2, replace=False))
        spoiled[one : one + 512], spoiled[other : other + 512] = content[other : other + 512], content[one : one + 512]
        return bytes(spoiled)
    first = struct.unpack_from("<I", content, 4)[0]
    entries = struct.unpack_from("<H", content, first)[0]
    places = {"header": (0, 16), "directory": (first, first + 2 + 12 * entries), "blocks": (16, len(content))}
    for place in rng.integers(*places[kind], size=int(rng.integers(1, 5))):
        spoiled[place] ^= 1 << int(rng.integers(8))
    return bytes(spoiled)


@pytest.mark.soak
@pytest.mark.usefixtures("one_torch_thread")
@pytest.mark.parametrize("count", with_soak(36, 500))
def test_damaged_files_are_refused_or_have_no_false_footprint(tmp_path, whole, count):
    """A damaged file that is still read has no footprint, because the undamaged ground has none."""
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


def test_undamaged_file_has_no_footprint(tmp_path, whole):
    for layout, content in whole.items():
        path = tmp_path / layout / "20240506.tif"
        path.parent.mkdir()
        path.write_bytes(content)
        answer = detect({"weights": "generated", "scene_path": str(path)})
        assert (answer["polygons"], answer["valid_share"]) == ([], 1.0)


ROOTS = ("VRTDataset", "VRTDATASET", "vrtdataset", "VrtDataset")
DECLARATION = "<?xml version='1.0'?>"
STARTS = ("", "\ufeff", " \n\t", DECLARATION, "<!-- a mosaic -->", f"{DECLARATION}<!DOCTYPE VRTDataset>")
NAMES = ("a.vrt", "a.VRT", "a.tif", "a.jp2", "a", "own.tif.vrt")
SOURCES = ("own.tif", "../secret.tif", "/etc/passwd", "/vsicurl/http://127.0.0.1:9/a.tif", "vrt://own.tif")
SUBCLASSES = ("", ' subClass="VRTRawRasterBand"', ' subClass="VRTDerivedRasterBand"', ' SUBCLASS="VRTWarpedDataset"')


def test_every_spelling_of_a_vrt_is_refused_before_gdal_reads_it(tmp_path, monkeypatch):
    monkeypatch.setattr(rasterio, "open", lambda *_, **__: pytest.fail("GDAL was called"))
    for root, start, name, source, subclass in product(ROOTS, STARTS, NAMES, SOURCES, SUBCLASSES):
        path = tmp_path / name
        path.write_text(
            f'{start}<{root} rasterXSize="8" rasterYSize="8"><VRTRasterBand dataType="Byte" band="1"{subclass}>'
            f"<SimpleSource><SourceFilename>{source}</SourceFilename></SimpleSource></VRTRasterBand></{root}>",
            encoding="utf-8",
        )
        with pytest.raises(ForbiddenSourceError, match="convert it: gdal_translate -of COG"), open_raster(path):
            pass
        path.unlink()
