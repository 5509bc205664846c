"""Products as providers hand them out: bands, time, offset, clouds; broken downloads, archives and hostile ones."""

import gzip
import io
import json
import os
import socket
import tarfile
import time
import zipfile
from datetime import UTC, datetime
from functools import partial

import numpy as np
import pystac
import pytest

from detection.imagery.errors import ManifestError, NotARasterError, SceneError, TooLargeError
from detection.imagery.scene.products.product import is_product
from detection.imagery.scene.products.texts import read_pairs
from detection.imagery.scene.products.unpack import strip_suffix, unpack
from detection.imagery.scene.reader import open_scene
from detection.imagery.scene.scene import Band, find_missing, read_scene
from monitor.errors import RefusedError
from monitor.features.scenes.cli.app import _open, _put
from tests.data.products import draw, write_image, write_landsat, write_planet, write_safe, write_stac

TAKEN = datetime(2023, 5, 11, 10, 15, 59, tzinfo=UTC)
RGBN = ("B4", "B3", "B2", "B8")


def settle(folder):
    for file in folder.rglob("*"):
        os.utime(file, (1.7e9, 1.7e9))


def look(path, names=RGBN):
    with open_scene(read_scene(path), names) as reader:
        return reader.read(0, 0, reader.grid.width, reader.grid.height)


def test_a_safe_folder_is_read_with_its_offset_its_clouds_and_its_finest_bands(tmp_path):
    root = write_safe(tmp_path)
    assert "younger than 30 s" in find_missing(root)
    settle(root)
    assert find_missing(root) is None
    scene = read_scene(root)
    assert scene.acquired_at.replace(microsecond=0) == TAKEN
    finest = dict.fromkeys(("B2", "B3", "B4", "B8"), "R10m") | {"B5": "R20m", "B11": "R20m"}
    assert {name: band.path.parent.name for name, band in scene.bands.items()} == finest
    assert (scene.gain, scene.offset, scene.calibration) == (1.0, -1000.0, "BOA_ADD_OFFSET in MTD_MSIL2A.xml")
    values, valid = look(root)
    assert np.median(values[:, valid]) == pytest.approx(1500, abs=20)  # counts without what was added
    assert valid.mean() == pytest.approx(0.75)  # the upper quarter is cloud
    assert read_scene(tmp_path).bands.keys() == scene.bands.keys()  # the folder that an archive was unpacked into
    assert len(scene.files) == 7  # the bands and the classification: what the hash rests on


@pytest.mark.parametrize(("baseline", "said", "offset"), [("05.09", None, -1000), ("02.14", None, 0), ("05.09", 0, 0)])
def test_without_an_offset_the_processing_baseline_says_it(tmp_path, baseline, said, offset):
    assert read_scene(write_safe(tmp_path, offset=said, baseline=baseline)).offset == offset


def test_level_1c_is_said(tmp_path):
    scene = read_scene(write_safe(tmp_path, level="1C"))
    assert scene.classification is None
    assert (scene.offset, "top of the atmosphere" in scene.remarks[0]) == (-1000.0, True)


def test_a_download_that_broke_off_waits(tmp_path):
    root = write_safe(tmp_path, size=10_000_000)
    settle(root)
    assert "the manifest states 10000000" in find_missing(root)
    next(root.rglob("*B04_10m.jp2")).unlink()
    assert "has not arrived" in find_missing(root)
    with pytest.raises(SceneError, match="has not arrived"):
        read_scene(root)


@pytest.mark.parametrize("as_json", [False, True])
def test_landsat_becomes_counts_of_reflectance_without_clouds(tmp_path, as_json):
    write_landsat(tmp_path, as_json=as_json)
    scene = read_scene(tmp_path)
    assert set(scene.bands) == {"B1", "B2", "B3", "B4", "B8", "B11", "B12"}
    assert scene.acquired_at == datetime(2023, 5, 11, 10, 10, 21, 123456, tzinfo=UTC)
    values, valid = look(tmp_path)
    assert (np.median(values[0][valid]), valid.mean()) == (pytest.approx((0.0000275 * 9500 - 0.2) * 1e4, abs=15), 0.5)
    assert not valid[:32].any()
    settle(tmp_path)
    assert find_missing(tmp_path) is None


def test_planet_is_read_by_its_names(tmp_path):
    write_planet(tmp_path)
    scene = read_scene(tmp_path)
    assert scene.acquired_at == TAKEN
    named = ("B1", "B2", "green_i", "B3", "yellow", "B4", "B5", "B8")
    assert [(name, band.index) for name, band in scene.bands.items()] == [(name, k) for k, name in enumerate(named, 1)]
    assert look(tmp_path)[1].mean() == 0.5
    (tmp_path / "order" / "PSScene").mkdir(parents=True)
    for one in tmp_path.glob("*.tif"):
        one.rename(tmp_path / "order" / "PSScene" / one.name)
    moved = {k: Band(tmp_path / "order" / "PSScene" / one.path.name, one.index) for k, one in scene.bands.items()}
    assert read_scene(tmp_path).bands == moved


@pytest.mark.parametrize(("applied", "offset", "remarks"), [(None, -1000.0, 0), (True, 0.0, 0), (False, -1000.0, 1)])
def test_a_stac_item_says_scale_offset_and_bands_of_what_lies_beside_it(tmp_path, applied, offset, remarks):
    write_stac(tmp_path, applied=applied)
    scene = read_scene(tmp_path)
    assert (scene.gain, scene.offset, len(scene.remarks)) == (1.0, offset, remarks)
    assert (set(scene.bands), scene.classification) == (set(RGBN), tmp_path / "SCL.tif")


def edit_item(folder, change):
    path = write_stac(folder) / "item.json"
    item = json.loads(path.read_text())
    change(item)
    path.write_text(json.dumps(item))
    return folder


def test_item_is_read_without_network(tmp_path, monkeypatch):
    def link(item):
        item["links"] = [
            {"rel": "self", "href": "https://example.com/item.json"},
            {"rel": "collection", "href": "https://example.com/collection.json"},
            {"rel": "parent"},
        ]
        item["stac_extensions"] = ["https://stac-extensions.github.io/eo/v1.1.0/schema.json"]
        item["collection"] = {"href": "https://example.com/collection.json"}

    def refuse(*_, **__):
        pytest.fail("the network was used")

    folder = edit_item(tmp_path, link)
    monkeypatch.setattr(pystac.stac_io.DefaultStacIO, "read_text", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert set(read_scene(folder).bands) == set(RGBN)


def test_catalogue_beside_an_item_is_no_second_item(tmp_path):
    write_stac(tmp_path)
    pystac.Catalog("archive", "scenes").save_object(dest_href=str(tmp_path / "catalog.json"), include_self_link=False)
    assert set(read_scene(tmp_path).bands) == set(RGBN)
    (tmp_path / "other.json").write_text((tmp_path / "item.json").read_text())
    with pytest.raises(ManifestError, match="several STAC items"):
        read_scene(tmp_path)


def test_item_of_a_period_is_of_its_first_instant(tmp_path):
    def stretch(item):
        item["properties"] = {"datetime": None, "start_datetime": "2023-05-11T10:15:59"}
        item["properties"]["end_datetime"] = "2023-05-12T10:15:59Z"

    assert read_scene(edit_item(tmp_path, stretch)).acquired_at == TAKEN


def set_field(path, value):
    """Return a change of an item that sets a field, which is named by its keys."""

    def change(item):
        for key in path[:-1]:
            item = item[key]
        item[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("assets",), [1], "assets must be an object"),
        (("properties",), None, "properties must be an object"),
        (("assets", "red"), 1, "asset 'red' must be an object"),
        (("assets", "red", "href"), 5, "asset 'red' must be an object"),
        (("assets", "red", "href"), "/etc/passwd.tif", "outside of the scene's folder"),
        (("assets", "red", "href"), "../other/red.tif", "outside of the scene's folder"),
        (("assets", "red", "raster:bands"), [{"scale": "x"}], "is no number"),
        (("properties", "datetime"), 3, "not a valid STAC item"),
        (("properties", "datetime"), "yesterday", "not a valid STAC item"),
        (("properties", "datetime"), "0001-01-01T00:00:00+14:00", "is no time"),
        (("properties", "datetime"), None, "not a valid STAC item .*start_datetime"),
        (("id",), 5, "id must be a text"),
        (("stac_version",), 5, "not a valid STAC item"),
        (("stac_extensions",), [5], "not a valid STAC item"),
    ],
)
def test_invalid_item_is_refused_in_one_line(tmp_path, path, value, message):
    folder = edit_item(tmp_path / "scene", set_field(path, value))
    with pytest.raises(ManifestError, match=message) as refused:
        read_scene(folder)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("assets", "red", "eo:bands"), 7),
        (("assets", "red", "roles"), 7),
        (("assets", "red", "raster:bands"), [{"scale": 0.0001, "offset": -0.1, "nodata": 10**400}]),
        (("assets", "other"), {"href": "notes.txt", "alternate": {"a": []}}),
        (("bbox",), "x"),
        (("geometry",), 3),
    ],
)
def test_fields_that_a_scene_does_not_need_may_have_any_value(tmp_path, path, value):
    scene = read_scene(edit_item(tmp_path / "scene", set_field(path, value)))
    assert set(scene.bands) >= set(RGBN) - {"B4"}


def test_pictures_for_people_are_no_bands(tmp_path):
    def put_first(item):
        picture = {"href": "PVI.tif", "roles": ["overview"], "eo:bands": [{"common_name": k} for k in ("red", "blue")]}
        item["assets"] = {"overview": picture, **item["assets"]}

    write_image(edit_item(tmp_path, put_first) / "PVI.tif", draw())
    assert {band.path.stem for band in read_scene(tmp_path).bands.values()} == {"red", "green", "blue", "nir"}


NUMBERS_OF_LANDSAT_7 = {"blue": "B1", "green": "B2", "red": "B3", "nir": "B4"}


@pytest.mark.parametrize(
    ("platform", "common", "bands"),
    [
        ("LANDSAT_7", True, {"B2": "blue", "B3": "green", "B4": "red", "B8": "nir"}),
        ("LANDSAT_7", False, None),
        ("", False, None),
        ("Sentinel-2A", False, {"B1": "blue", "B2": "green", "B3": "red", "B4": "nir"}),
        ("Sentinel-2A", True, {"B2": "blue", "B3": "green", "B4": "red", "B8": "nir"}),
    ],
)
def test_a_common_name_says_what_a_band_is_and_a_number_only_of_sentinel_2(tmp_path, platform, common, bands):
    def number(item):
        item["properties"] = {"datetime": item["properties"]["datetime"], "platform": platform}
        assets = {}
        for key, name in NUMBERS_OF_LANDSAT_7.items():
            told = [{"name": name, **({"common_name": key} if common else {})}]
            assets[name] = {**item["assets"][key], "eo:bands": told}
        item["assets"] = assets

    folder = edit_item(tmp_path, number)
    if bands is None:
        with pytest.raises(ManifestError, match="numbers alone, which mean something else on each satellite"):
            read_scene(folder)
    else:
        assert {name: band.path.stem for name, band in read_scene(folder).bands.items()} == bands


@pytest.mark.parametrize(("baseline", "offset"), [("05.09", -1000.0), ("02.14", 0.0)])
def test_an_item_without_offsets_has_that_of_its_baseline(tmp_path, baseline, offset):
    def drop(item):
        item["properties"]["s2:processing_baseline"] = baseline
        for asset in item["assets"].values():
            asset.pop("raster:bands", None)

    assert read_scene(edit_item(tmp_path, drop)).offset == offset


def test_a_description_of_blanks_takes_no_time():
    begun = time.process_time()
    assert read_pairs("\n" * 1_000_000) == {}
    assert read_pairs("A = " + " " * 1_000_000 + '"x"y') == {"A": '"x"y'.strip('"')}
    assert time.process_time() - begun < 2.0


def bend(write, name, *text):
    """A product in whose description one text stands for another."""

    def make(folder):
        path = (write(folder) or folder) / name
        path.write_text(path.read_text().replace(*text))

    return make


bend_safe = partial(bend, write_safe, "MTD_MSIL2A.xml")


def too_large(item):
    item["assets"]["red"]["raster:bands"][0].update(scale=10**400)


def write_two_planet(folder):
    write_planet(folder)
    write_planet(folder, "20230511_101601_12_2461_3B_AnalyticMS_SR.tif")


ENTITIES = '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><x>&a;</x>'


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda folder: write_landsat(folder, level="L1TP"), "expected level 2"),
        (
            lambda folder: write_planet(folder, "20230511_101559_12_2461_3B_AnalyticMS.tif"),
            "order the surface reflectance",
        ),
        (write_two_planet, "2 images"),
        (lambda folder: (write_safe(folder) / "MTD_MSIL2A.xml").write_text(ENTITIES), "document type"),
        (bend_safe("<IMAGE_FILE>GRANULE", "<IMAGE_FILE>../../../GRANULE"), "outside of the scene's folder"),
        (bend_safe('band_id="3">-1000', 'band_id="3">-900'), "differs between bands"),
        (bend(write_stac, "item.json", '"./', '"https://example.com/'), "download them"),
        (bend_safe(">10000<", ">nan<"), "is no number"),
        (bend_safe(">10000<", ">-10000<"), "no divisor"),
        (bend_safe(">10000<", ">1<"), "no counts of reflectance"),
        (bend_safe(">-1000<", ">inf<"), "is no number"),
        (lambda folder: edit_item(folder, too_large), "differ in scale|is no number|no counts"),
        (lambda folder: (folder / "x_MTL.json").write_text("[1]"), "no JSON object"),
        (lambda folder: (folder / "x_MTL.txt").write_bytes(b"\xff\xfe"), "no UTF-8"),
        (lambda folder: (folder / "a.txt").write_text("a"), "no product of: Sentinel-2"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_line(tmp_path, make, said):
    make(tmp_path)
    with pytest.raises((ManifestError, SceneError), match=said) as refused:
        read_scene(tmp_path)
    assert "\n" not in str(refused.value)
    assert is_product(tmp_path) is ("no product" not in said)


def pack_zip(path, files):
    with zipfile.ZipFile(path, "w") as packed:
        for name, content in files.items():
            packed.writestr(name, content)


def pack_tar(path, files):
    with tarfile.open(path, "w:gz" if path.name.endswith("gz") else "w") as packed:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            packed.addfile(member, io.BytesIO(content))
        link = tarfile.TarInfo("passwords")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        packed.addfile(link)


def bring(archive, inbox):
    with _open(archive, inbox) as content:
        _put(content, inbox / content.name, move=True)


def test_an_archive_is_brought_into_the_inbox_as_what_it_holds(tmp_path, capsys):
    root, inbox = write_safe(tmp_path / "from"), tmp_path / "inbox"
    files = {str(f.relative_to(root.parent)): f.read_bytes() for f in root.rglob("*") if f.is_file()}
    pack_zip(tmp_path / "s.zip", files)
    bring(tmp_path / "s.zip", inbox)
    assert read_scene(inbox / "s").bands.keys() == read_scene(root).bands.keys()
    assert "12 files unpacked" in capsys.readouterr().err
    (tmp_path / "s.zip").write_bytes((tmp_path / "s.zip").read_bytes()[:-400])
    with pytest.raises(NotARasterError):
        bring(tmp_path / "s.zip", inbox)
    write_image(tmp_path / "x" / "lone.tif", draw())
    pack_zip(tmp_path / "one.zip", {"x/lone.tif": (tmp_path / "x" / "lone.tif").read_bytes(), "x/readme.txt": b"x"})
    bring(tmp_path / "one.zip", inbox)
    for name, held in (("none.zip", {}), ("nest.zip", {"s.zip": b"x"}), ("two.zip", {"a.tif": b"x", "b.tif": b"x"})):
        pack_zip(tmp_path / name, held)
        with pytest.raises(RefusedError, match="expected one of them"):
            bring(tmp_path / name, inbox)
    assert sorted(one.name for one in inbox.iterdir()) == ["lone.tif", "s"]  # what was there stays, and nothing else
    with pytest.raises(RefusedError, match="scenes clouds grid"):
        bring(tmp_path / "flight.laz", inbox)


def test_a_header_that_claims_much_is_refused_before_it_is_read(tmp_path):
    header = tarfile.TarInfo("x")
    header.type, header.size = tarfile.XHDTYPE, 1 << 30
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(header.tobuf() + bytes(1 << 20)))
    (tmp_path / "out").mkdir()
    with pytest.raises(NotARasterError, match="a header of"):
        unpack(tmp_path / "a.tar.gz", tmp_path / "out")


@pytest.mark.parametrize(("name", "pack"), [("a.zip", pack_zip), ("a.tar", pack_tar), ("a.tar.gz", pack_tar)])
def test_archives_are_unpacked_within_their_folder_and_their_bounds(tmp_path, name, pack):
    pack(tmp_path / name, {"x/a.tif": b"1" * 900, "x/b.tif": b"2" * 900})
    assert strip_suffix(name) == "a"
    for k, most in enumerate((10_000, 1000, 100)):
        out = tmp_path / str(k)
        out.mkdir()
        if most > 1800:
            assert unpack(tmp_path / name, out, most) == (2, 0 if name == "a.zip" else 1)
            assert sorted(p.name for p in out.rglob("*") if p.is_file()) == ["a.tif", "b.tif"]
        else:
            with pytest.raises(TooLargeError):
                unpack(tmp_path / name, out, most)
    pack(tmp_path / f"bad-{name}", {"../../evil.tif": b"1"})
    with pytest.raises(SceneError, match="leads out"):
        unpack(tmp_path / f"bad-{name}", tmp_path / "0")
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) // 8])
    (tmp_path / "torn").mkdir()
    with pytest.raises(NotARasterError, match="cannot be unpacked"):
        unpack(tmp_path / name, tmp_path / "torn")


FACTS = ("gain", "offset", "calibration", "acquired_at")


def test_a_manifest_beside_a_product_adds_to_it(tmp_path):
    root = write_safe(tmp_path)
    write_image(root / "dem.tif", draw())
    manifest = root / "scene.toml"
    manifest.write_text('dem = "dem.tif"\nrole = "post"\n')
    assert "states neither" in find_missing(root)  # the list of the product says nothing of what lies beside it
    manifest.write_text('dem = "dem.tif"\nrole = "post"\ncomplete = true\n')
    assert find_missing(root) is None
    scene, plain = read_scene(root), read_scene(write_safe(tmp_path / "plain"))
    assert (scene.role, scene.dem) == ("post", root / "dem.tif")
    assert [getattr(scene, key) for key in FACTS] == [getattr(plain, key) for key in FACTS]
    assert look(root)[1].mean() == pytest.approx(0.75)
    next(root.rglob("*B04_10m.jp2")).unlink()
    assert "has not arrived" in find_missing(root)


def test_bands_that_a_manifest_names_are_all_bands_and_know_whose_they_are(tmp_path):
    root = write_safe(tmp_path).rename(tmp_path / "plain")  # its name says an offset too
    red = next(root.rglob("*B04_10m.jp2")).relative_to(root).as_posix()
    manifest = root / "scene.toml"
    manifest.write_text(f'complete = true\n[bands]\nred = "{red}"\n')
    scene = read_scene(root)
    assert (list(scene.bands), scene.offset, scene.classification is not None) == (["B4"], -1000.0, True)
    write_image(root / "own.tif", draw())
    manifest.write_text('complete = true\n[bands]\nred = "own.tif"\n')
    assert (read_scene(root).offset, read_scene(root).calibration) == (0.0, "")  # nobody says that it has one
    manifest.write_text(f'complete = true\n[bands]\nred = "{red}"\nslope = "own.tif"\n')
    assert read_scene(root).offset == -1000.0  # terrain is no count
    manifest.write_text(f'complete = true\n[bands]\nred = "{red}"\nblue = "own.tif"\n')
    with pytest.raises(ManifestError, match="of the product and others"):
        read_scene(root)
    manifest.write_text(f'complete = true\noffset = -900\n[bands]\nred = "{red}"\nblue = "own.tif"\n')
    assert (read_scene(root).offset, read_scene(root).calibration) == (-900.0, "scene.toml")


def test_an_offset_of_a_manifest_keeps_the_gain_of_the_product(tmp_path):
    write_landsat(tmp_path)
    (tmp_path / "scene.toml").write_text("complete = true\noffset = -1990\n")
    scene = read_scene(tmp_path)
    assert (scene.gain, scene.offset, scene.calibration) == (0.275, -1990.0, "scene.toml")


def test_a_product_that_cannot_be_used_needs_a_manifest_that_says_bands_and_offset(tmp_path):
    write_landsat(tmp_path, level="L1TP")
    write_image(tmp_path / "own.tif", draw())
    said = 'acquired_at = 2023-05-11T10:15:59Z\ncomplete = true\n[bands]\nred = "own.tif"\n'
    (tmp_path / "scene.toml").write_text(said)
    with pytest.raises(ManifestError, match=r"expected level 2.*else name .bands. and `offset`"):
        read_scene(tmp_path)
    (tmp_path / "scene.toml").write_text(f"offset = 0\n{said}")
    assert read_scene(tmp_path).offset == 0.0
