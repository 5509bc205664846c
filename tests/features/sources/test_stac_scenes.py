"""Test that scenes of a polled catalogue keep scale, offset, nodata and clouds of their item.

The items have the form of published catalogues: Earth Search v1 of Element 84 (sentinel-2-l2a, sentinel-2-c1-l2a),
Planetary Computer of Microsoft, and the Copernicus Data Space Ecosystem (STAC 1.1). They are written by hand, and
their images are drawn.
"""

import json
import shutil

import numpy as np
import pytest

from detection.imagery.errors import ManifestError
from detection.imagery.scene.reader import open_scene
from detection.imagery.scene.scene import find_missing, read_scene
from monitor.errors import RefusedError
from monitor.features.sources.download import download
from monitor.features.sources.fetching import FAILED, NEW, PollRequest, WantedFile
from monitor.features.sources.store import move_scene_to_inbox
from tests.data.products import SIDE, draw, write_image
from tests.data.servers.file_server import serve

KEYS = {
    "B2": ("blue", "B02", "B02_10m"),
    "B3": ("green", "B03", "B03_10m"),
    "B4": ("red", "B04", "B04_10m"),
    "B8": ("nir", "B08", "B08_10m"),
}
COMMON = {"B2": "blue", "B3": "green", "B4": "red", "B8": "nir"}
COG = "image/tiff; application=geotiff; profile=cloud-optimized"
STORED = {"nodata": 0, "data_type": "uint16", "bits_per_sample": 15, "spatial_resolution": 10}
EARTH_SEARCH_BAND = STORED | {"scale": 0.0001, "offset": -0.1}


def earth_search(key, band):
    return {
        "title": f"{key} (band) - 10m",
        "type": COG,
        "roles": ["data", "reflectance"],
        "eo:bands": [{"name": key, "common_name": COMMON[band], "center_wavelength": 0.665}],
        "gsd": 10,
        "raster:bands": [EARTH_SEARCH_BAND],
    }


def planetary(key, band):
    return {
        "title": f"Band {key} - 10m",
        "type": COG,
        "roles": ["data"],
        "gsd": 10,
        "eo:bands": [{"name": key, "common_name": COMMON[band]}],
    }


def copernicus(key, band):
    return {
        "title": f"{key} - 10m",
        "type": "image/jp2",
        "roles": ["data", "reflectance"],
        "nodata": 0,
        "bands": [{"name": key[:3], "eo:common_name": COMMON[band]}],
        "raster:scale": 0.0001,
        "raster:offset": -0.1,
        "alternate": {"https": {"href": "https://zipper.example.eu/odata?token=secret"}},
    }


APPLIED = {
    "s2:processing_baseline": "05.09",
    "earthsearch:boa_offset_applied": True,
    "processing:software": {"sentinel2-to-stac": "0.1.1"},
}
NOT_APPLIED = {"s2:processing_baseline": "05.00", "earthsearch:boa_offset_applied": False}
# catalogue -> which key, how an asset is described, key of the classification, properties, version, counts added
CATALOGUES = {
    "Earth Search, offset applied": (0, earth_search, "scl", APPLIED, "1.0.0", 0),
    "Earth Search, collection 1": (0, earth_search, "scl", NOT_APPLIED, "1.0.0", 1000),
    "Planetary Computer": (1, planetary, "SCL", {"s2:processing_baseline": "05.09"}, "1.0.0", 1000),
    "Planetary Computer, before 2022": (1, planetary, "SCL", {"s2:processing_baseline": "02.12"}, "1.0.0", 0),
    "Copernicus": (2, copernicus, "SCL_20m", {"processing:version": "05.11"}, "1.1.0", 1000),
}


def write_archive(folder, catalogue, change=lambda item: None):
    """Images beside their item, in which 0 means nothing though no file says so, and clouds above."""
    place, describe, clouds, more, version, added = CATALOGUES[catalogue]
    assets = {}
    for band, keys in KEYS.items():
        values = draw(level=added)
        values[:, :, :4] = 0
        write_image(folder / f"{keys[place]}.tif", values)
        assets[keys[place]] = {"href": f"./{keys[place]}.tif", **describe(keys[place], band)}
    scl = np.full((1, SIDE // 2, SIDE // 2), 4, np.uint8)
    scl[:, :8] = 9
    write_image(folder / f"{clouds}.tif", scl, 20.0)
    assets[clouds] = {"href": f"./{clouds}.tif", "type": COG, "roles": ["data"]}
    assets["thumbnail"] = {"href": "./thumbnail.jpg", "roles": ["thumbnail"]}
    taken = {"datetime": "2023-05-11T10:15:59.024000Z", "platform": "sentinel-2b", "constellation": "sentinel-2"}
    properties = {**taken, "instruments": ["msi"], **more}
    item = {"type": "Feature", "stac_version": version, "id": "S2B_32TMS_20230511_0_L2A", "geometry": None}
    item |= {"properties": properties, "links": [], "assets": assets}
    change(item)
    (folder / "item.json").write_text(json.dumps(item), encoding="utf-8")
    return folder


@pytest.fixture
def server():
    with serve() as file_server:
        yield file_server


def download_item(server, archive, folder, assets, **fields):
    """Download a catalogue with the item of the archive and return the outcome."""
    for path in archive.iterdir():
        server.files[f"/s/{path.name}"] = path.read_bytes()
    root = {
        "type": "Catalog",
        "stac_version": "1.0.0",
        "id": "c",
        "description": "d",
        "links": [{"rel": "item", "href": "./s/item.json"}],
    }
    server.files["/catalog.json"] = json.dumps(root).encode()
    folder.mkdir()
    wanted = (WantedFile("catalog", f"{server.url}/catalog.json"),)
    fields = {"max_file_bytes": 1_000_000, "assets": tuple(assets.items()), **fields}
    (item,) = download(PollRequest("stac", wanted, str(folder), ("127.0.0.1",), True, **fields)).files
    return item


def read_pixels(path):
    scene = read_scene(path)
    with open_scene(scene, ("B4", "B3", "B2", "B8")) as reader:
        return scene, *reader.read(0, 0, reader.grid.width, reader.grid.height)


@pytest.mark.parametrize("catalogue", CATALOGUES)
def test_downloaded_item_has_the_same_values_as_a_local_one(tmp_path, server, catalogue):
    place, *_ = CATALOGUES[catalogue]
    archive = write_archive(tmp_path / "archive", catalogue)
    item = download_item(server, archive, tmp_path / "f", {band: keys[place] for band, keys in KEYS.items()})
    assert item.state == NEW, item.reason
    inbox = tmp_path / "inbox"
    name = move_scene_to_inbox(tmp_path / "f" / item.etag, item.modified, item.acquired_at, item.files, inbox)
    assert find_missing(inbox / name) is None
    scene, values, valid = read_pixels(inbox / name)
    local_scene, local_values, local_valid = read_pixels(archive)
    assert (scene.gain, scene.offset, scene.nodata) == (local_scene.gain, local_scene.offset, local_scene.nodata)
    assert scene.acquired_at == local_scene.acquired_at
    assert np.array_equal(values, local_values)
    assert np.array_equal(valid, local_valid)
    assert np.median(values[:, valid]) == pytest.approx(1500, abs=20)  # with the offset missing: 2500
    assert not valid[: SIDE // 4].any()  # clouds
    if scene.nodata is not None:
        assert not valid[:, :4].any()
    assert {path.name for path in scene.files} >= {"scene.toml", "B4.tif"}
    assert "token=secret" not in (inbox / name / "item.json").read_text()
    assert "127.0.0.1" not in (inbox / name / "item.json").read_text()


def test_bands_with_different_scales_are_rejected(tmp_path, server):
    def set_thermal_scale(item):
        item["assets"]["nir"]["raster:bands"] = [{"scale": 0.00341802, "offset": 149.0}]

    archive = write_archive(tmp_path / "archive", "Earth Search, collection 1", set_thermal_scale)
    item = download_item(server, archive, tmp_path / "f", {"B4": "red", "B8": "nir"})
    name = move_scene_to_inbox(tmp_path / "f" / item.etag, item.modified, item.acquired_at, item.files, tmp_path / "in")
    with pytest.raises(ManifestError, match=r"differ in scale.*else name .bands. and `offset`"):
        read_scene(tmp_path / "in" / name)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda item: item.update(assets=[1]), "assets must be an object"),
        (lambda item: item.update(id=None), "id must be a text"),
        (lambda item: item["properties"].update(datetime="yesterday"), "not a valid STAC item"),
        (lambda item: item["properties"].update(datetime=None), "not a valid STAC item"),
    ],
)
def test_invalid_item_of_a_catalogue_is_refused_in_one_line(tmp_path, server, change, message):
    archive = write_archive(tmp_path / "archive", "Planetary Computer", change)
    item = download_item(server, archive, tmp_path / "f", {"B4": "B04"})
    assert item.state == FAILED
    assert message in item.reason
    assert "\n" not in item.reason
    assert "object has no attribute" not in item.reason


@pytest.mark.parametrize("document", [{"links": 7}, {"links": [{"rel": "child"}]}, {"id": "c", "description": "d"}])
def test_invalid_catalogue_is_refused_in_one_line(tmp_path, server, document):
    server.files["/catalog.json"] = json.dumps({"type": "Catalog", "stac_version": 5, **document}).encode()
    wanted = (WantedFile("catalog", f"{server.url}/catalog.json"),)
    (tmp_path / "f").mkdir()
    (item,) = download(
        PollRequest("stac", wanted, str(tmp_path / "f"), ("127.0.0.1",), True, max_file_bytes=1000)
    ).files
    assert (item.state, "not a valid STAC catalogue" in item.reason) == (FAILED, True)


def test_classification_is_subject_to_the_size_limit(tmp_path, server):
    archive = write_archive(tmp_path / "archive", "Planetary Computer")
    bands = {"B4": "B04"}
    size = (archive / "B04.tif").stat().st_size
    with (archive / "SCL.tif").open("ab") as file:
        file.write(bytes(size))
    item = download_item(server, archive, tmp_path / "f", bands, max_file_bytes=size)
    assert (item.state, "most_mb" in item.reason) == (FAILED, True)


def test_only_downloaded_bands_are_moved_to_the_inbox(tmp_path, server):
    item = download_item(
        server, write_archive(tmp_path / "archive", "Planetary Computer"), tmp_path / "f", {"B4": "B04"}
    )
    folder = tmp_path / "f" / item.etag
    for make_entry in (lambda: (folder / "x").symlink_to("/etc/passwd"), lambda: (folder / "x").mkdir()):
        make_entry()
        with pytest.raises(RefusedError, match="no name of a band"):
            move_scene_to_inbox(folder, "a", item.acquired_at, item.files, tmp_path / "inbox")
        (folder / "x").unlink() if (folder / "x").is_symlink() else shutil.rmtree(folder / "x")
    with pytest.raises(RefusedError, match="no band that was fetched"):
        move_scene_to_inbox(folder, "a", item.acquired_at, (("B4", "../../secret"),), tmp_path / "inbox")
