"""The lane of a scene from files to footprints, on drawn scenes and on a measured one."""

import json
import os
import shutil
import signal
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import rasterio
import shapely
import torch
from shapely.geometry import shape

from detection.imagery.data.generate import draw_scene, write_scene
from detection.imagery.data.metrics import Confusion, compute_scores, count_confusion
from detection.imagery.errors import OutputError
from detection.imagery.footprints import detect as detecting
from detection.imagery.footprints import outputs, preview
from detection.imagery.footprints.outputs import FILES, make_files, read_stored_result
from detection.imagery.footprints.records import NOT_MADE, SceneFilesRequest, SceneFilesResult
from detection.imagery.neural.inference import Segmenter
from detection.imagery.neural.model_file import load_model, save_model
from detection.imagery.raster.grid import grid_around
from detection.imagery.raster.raster import decode_png, is_cog, read_grid
from detection.imagery.registry import build
from detection.imagery.scene.scene import read_scene
from detection.reasons import reasons_from_json
from monitor.text.reasons import convert_reasons_within
from tests.data.asked_detection import detect
from tests.data.forked import fork, run_forked
from tests.data.surveys.rasters import read_values, write_folder, write_raster

OUTPUTS = ["landslides.geojson", "landslides.gpkg", "mask.tif", "preview.png", "prob.tif", "qa.tif", "run.json"]


def read_mask(path: Path) -> np.ndarray:
    return read_values(path, 1)


def test_unseen_drawn_scenes_are_mapped_by_the_shipped_weights(tmp_path):
    """F1 of at least .90 over scenes that no training has seen, scars of every kind, pixels pooled."""
    pooled = Confusion()
    for seed in (900_001, 900_002):
        scene, folder = draw_scene(seed, 256, scars=4), tmp_path / str(seed)
        write_folder(folder, scene.bands, grid_around(141.95, 42.73, 256, 10.0))
        detect({"scene_path": str(folder), "out_dir": str(tmp_path / "out"), "weights": "generated"})
        pooled += count_confusion(read_mask(tmp_path / "out" / "mask.tif") == 1, scene.truth > 0)
    assert compute_scores(pooled)["f1"] >= 0.90


@pytest.mark.soak
@pytest.mark.parametrize("geographic", [False, True])
def test_the_simulators_scar_becomes_a_footprint_in_its_place(tmp_path, geographic):
    taken_at = datetime(2024, 5, 6, 7, 8, tzinfo=UTC)
    place = (141.9551, 42.7262)
    where = {"center_lon": 141.95, "center_lat": 42.73, "scar_lonlat": place, "geographic": geographic}
    truth = write_scene(tmp_path / "scene", 5, acquired_at=taken_at, **where)
    result = detect({"weights": "generated", "scene_path": str(tmp_path / "scene")})
    scar = shape(truth["scars"][0]["geometry"])
    assert scar.distance(shapely.Point(place)) < 0.0005
    best = max(result["polygons"], key=lambda item: shape(item["geometry"]).intersection(scar).area)
    outline = shape(best["geometry"])
    assert outline.intersection(scar).area / outline.union(scar).area > 0.6
    if not geographic:
        assert best["area_m2"] == pytest.approx(truth["scars"][0]["area_m2"], rel=0.3)
    assert result["acquired_at"] == "2024-05-06T07:08:00+00:00"
    assert result["crs"] == ("EPSG:4326" if geographic else "EPSG:32654")
    assert result["outputs"] == {}
    json.dumps(result)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What is asked for, its answer and the folder of its results."""
    folder = tmp_path_factory.mktemp("whole")
    write_scene(folder / "scene", 5, size_px=128)
    asked = {"weights": "generated", "scene_path": str(folder / "scene"), "out_dir": str(folder / "out")}
    return asked, detect(asked), folder / "out"


def read_files(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.mark.soak
def test_a_second_run_gives_the_same_bytes_and_a_third_does_nothing(whole, tmp_path, monkeypatch):
    asked, found, out = whole
    detect({**asked, "out_dir": str(tmp_path / "b")})
    assert sorted(read_files(out)) == OUTPUTS
    assert read_files(out) == read_files(tmp_path / "b")
    assert found["polygons"]
    assert found["outputs"]["prob"] == str(out / "prob.tif")
    monkeypatch.setattr(detecting, "measure_stretch", lambda *_: pytest.fail("the work was done again"))
    assert json.dumps(detect(asked), sort_keys=True) == json.dumps(found, sort_keys=True)


def test_other_options_are_another_run(whole, tmp_path):
    asked = {**whole[0], "out_dir": str(shutil.copytree(whole[2], tmp_path / "out"))}
    assert detect({**asked, "minimum_area_m2": 1e9})["polygons"] == []
    assert detect({**asked, "threshold": 0.9})["threshold"] == 0.9


PLACES = {
    "outlining": (detecting, "find_footprints"),
    "picture": (outputs, "write_preview"),
    "renaming": (Path, "replace"),
}


def run_killed(place: str, payload: dict) -> int:
    """Run in a child that is killed by signal 9 at this place; the third file at the renaming."""
    return run_forked(lambda: _die_at(place, payload))


def _die_at(place: str, payload: dict) -> None:
    holder, name = PLACES[place]
    real, calls = getattr(holder, name), []

    def die(*arguments, **options):
        if place == "renaming" and len(calls) < 2:
            calls.append(1)
            return real(*arguments, **options)
        os.kill(os.getpid(), signal.SIGKILL)
        return None

    setattr(holder, name, die)
    detect(payload)


def fail(*_, **__):
    raise OSError(28, "No space left on device")


def test_a_failure_half_way_leaves_what_was_there(whole, tmp_path, monkeypatch):
    out = shutil.copytree(whole[2], tmp_path / "out")
    monkeypatch.setattr(outputs, "write_preview", fail)
    with pytest.raises(OutputError, match=r"out: cannot write the results \(No space left"):
        detect({**whole[0], "out_dir": str(out), "threshold": 0.9})
    assert read_files(out) == read_files(whole[2])


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """A scene that was read, whose other files are to be made: what was asked for, its answer, and its folder."""
    folder = tmp_path_factory.mktemp("first")
    write_scene(folder / "scene", 5, size_px=96)
    asked = {"weights": "generated", "scene_path": str(folder / "scene"), "threshold": 0.4}
    found = detect({**asked, "out_dir": str(folder / "out"), "later": True})
    detect({**asked, "out_dir": str(folder / "clean")})
    return asked, found, folder


def ask_for_files(first, out: Path, scene: Path | None = None) -> SceneFilesRequest:
    """To make the files of results that lie somewhere else by now."""
    if not out.exists():
        shutil.copytree(first[2] / "out", out)
    return SceneFilesRequest(out, scene or first[2] / "scene", datetime.fromisoformat(first[1]["acquired_at"]))


@pytest.mark.soak
def test_a_killed_run_is_mended_by_the_next(first, tmp_path):
    """Killed at three places: what the next run leaves has the same bytes as a run that nobody disturbed."""
    torch.set_num_threads(1)
    # An older result of other options lies there: it must not be taken for this run's.
    detect({**first[0], "threshold": 0.8, "out_dir": str(tmp_path / "older")})
    for place in PLACES:
        out = {**first[0], "out_dir": str(shutil.copytree(tmp_path / "older", tmp_path / place))}
        assert run_killed(place, out) == signal.SIGKILL
        detect(out)
        assert read_files(tmp_path / place) == read_files(first[2] / "clean")


def test_files_that_are_made_later_have_the_same_bytes(first, tmp_path):
    clean = convert_reasons_within(reasons_from_json(json.loads((first[2] / "clean" / "run.json").read_text())))
    out = tmp_path / "later"
    later = {**first[0], "out_dir": str(out), "later": True}
    detect({**later, "threshold": 0.8, "later": False})  # an older result of other options goes
    found = detect(later)
    assert set(read_files(out)) == {"prob.tif", "making.json"}
    assert json.dumps(found) == json.dumps(detect(later))  # taken as it lies there
    assert (found["polygons"], found["outputs"]["bounds"]) == (clean["polygons"], clean["outputs"]["bounds"])
    assert {Path(found["outputs"][key]).name for key in FILES} == set(FILES.values())
    assert not is_cog(out / "prob.tif"), "nothing that the rows do not need is done before them"
    for _ in range(2):
        assert make_files(ask_for_files(first, out)) == SceneFilesResult()
        assert read_files(out) == read_files(first[2] / "clean")
    assert sorted(read_files(out)) == OUTPUTS


def test_files_of_a_record_that_cannot_be_read_are_an_error_and_not_made(tmp_path):
    for torn in ('{"making": ', "", "{}", "\0" * 512):
        (tmp_path / "making.json").write_text(torn)
        assert read_stored_result(tmp_path, {}, later=True) is None, "the scene can be read again"
        made = make_files(SceneFilesRequest(tmp_path, None, datetime(2024, 5, 6, tzinfo=UTC)))
        assert made.error == f"{tmp_path / 'making.json'}: cannot be read; read the scene again"


def test_files_are_made_without_a_picture_where_the_image_is_gone(first, tmp_path):
    out = tmp_path / "out"
    assert make_files(ask_for_files(first, out, tmp_path / "gone")) == SceneFilesResult()
    assert set(read_files(out)) == set(OUTPUTS) - {"preview.png"}
    assert "preview" not in json.loads((out / "run.json").read_text())["outputs"]


@pytest.mark.soak
def test_a_kill_at_each_rename_and_removal_is_mended(first, tmp_path):
    """After the record is there nothing is made anew: the image may be gone by then."""
    clean, steps = read_files(first[2] / "clean"), 0
    while True:
        out = tmp_path / f"after-{steps}"
        asked = ask_for_files(first, out)
        (out / NOT_MADE).write_text("{}")
        if place_killed(asked, steps) == 0:
            break
        scene = tmp_path / "gone" if (out / "run.json").is_file() else None
        assert make_files(ask_for_files(first, out, scene)) == SceneFilesResult()
        assert read_files(out) == clean
        steps += 1
    assert steps >= len(clean) + 2


def test_each_file_is_on_the_disk_before_it_has_its_name(first, tmp_path, monkeypatch):
    """By the calls made: a power cut may keep a rename and lose what was written."""
    flushed, named, place = set(), [], tmp_path / "out"
    fsync, replace_ = os.fsync, Path.replace

    def note_flush(number):
        facts = os.fstat(number)
        flushed.add((facts.st_ino, facts.st_size))
        fsync(number)

    def note_name(path, target):
        if Path(target).parent == place:
            facts = path.stat()
            named.append((path.name, (facts.st_ino, facts.st_size) in flushed))
        return replace_(path, target)

    monkeypatch.setattr(os, "fsync", note_flush)
    monkeypatch.setattr(Path, "replace", note_name)
    payload = {**first[0], "out_dir": str(place)}
    detect({**payload, "later": True})
    assert dict(named) == {"prob.tif": True, "making.json": True}
    named.clear()
    assert make_files(ask_for_files(first, place)) == SceneFilesResult()
    assert dict(named) == dict.fromkeys(OUTPUTS, True)
    named.clear()
    detect({**payload, "threshold": 0.5})
    assert dict(named) == dict.fromkeys(OUTPUTS, True)


def place_killed(asked: SceneFilesRequest, after: int) -> int:
    """Make the files in a child that is killed before a rename or removal in their folder; 0: it came to its end."""
    left = [None] * after

    def count(real):
        def act(path, *arguments, **options):
            if asked.out_dir in (path.parent, path.parent.parent):
                if not left:
                    os.kill(os.getpid(), signal.SIGKILL)
                left.pop()
            return real(path, *arguments, **options)

        return act

    def make_counting():
        Path.replace, Path.unlink = count(Path.replace), count(Path.unlink)
        make_files(asked)

    return run_forked(make_counting)


def test_of_two_processes_one_waits_for_the_other(tmp_path):
    """Neither empties the workplace of the other."""
    out = tmp_path / "out"
    out.mkdir()

    def take():
        with outputs.open_workplace(out):
            os._exit(7)

    with outputs.open_workplace(out) as work:
        (work / "half").write_text("mine")
        child = fork(take)
        time.sleep(0.3)
        assert ((work / "half").read_text(), os.waitpid(child, os.WNOHANG)) == ("mine", (0, 0))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def test_a_file_that_lacks_is_no_result(first, tmp_path, monkeypatch):
    out, real = tmp_path / "out", outputs.write_preview

    def lose(scene, footprints, path, grid):
        (path.parent / "qa.tif").unlink()
        return real(scene, footprints, path, grid)

    monkeypatch.setattr(outputs, "write_preview", lose)
    assert "qa.tif is gone" in make_files(ask_for_files(first, out)).error
    assert set(read_files(out)) == {"prob.tif", "making.json"}


def test_files_that_cannot_be_made_leave_what_is_there(first, tmp_path, monkeypatch):
    out, before = tmp_path / "out", read_files(first[2] / "out")
    monkeypatch.setattr(outputs, "write_geopackage", fail)
    assert "cannot write the results (No space left" in make_files(ask_for_files(first, out)).error
    assert {**read_files(out), "prob.tif": before["prob.tif"]} == before
    assert np.array_equal(read_mask(out / "prob.tif"), read_mask(first[2] / "out" / "prob.tif"))


def test_the_files_say_what_the_result_says(whole):
    _, result, out = whole
    collection = json.loads((out / "landslides.geojson").read_text())
    assert [feature["id"] for feature in collection["features"]] == [item["polygon_id"] for item in result["polygons"]]
    assert collection["features"][0]["properties"]["area_m2"] == result["polygons"][0]["area_m2"]
    with rasterio.open(out / "prob.tif") as source:
        assert (source.tags(ns="IMAGE_STRUCTURE")["LAYOUT"], source.nodata) == ("COG", 255)
        assert source.tags()["MODEL_HASH"] == result["model_hash"]
        steps = source.read(1)
    mask = read_mask(out / "mask.tif")
    assert np.array_equal(mask == 1, (steps >= np.ceil(result["threshold"] * 200)) & (steps != 255))


def test_the_preview_shows_the_footprints_in_their_place(whole):
    _, result, out = whole
    left, bottom, right, top = result["outputs"]["bounds"]
    image = decode_png((out / "preview.png").read_bytes())
    assert image.shape[0] == 4
    rows, columns = np.nonzero((image[0] == 255) & (image[1] == 40) & (image[2] == 40))
    lon = left + (columns + 0.5) / image.shape[2] * (right - left)
    lat = top - (rows + 0.5) / image.shape[1] * (top - bottom)
    outlines = shapely.union_all([shape(item["geometry"]).boundary for item in result["polygons"]])
    assert len(rows) > 20
    assert shapely.distance(outlines, shapely.points(lon, lat)).max() < 0.0002


@pytest.mark.parametrize("sides", [{"tiled": True, "blockxsize": 64, "blockysize": 64}, {"blockysize": 8}])
@pytest.mark.parametrize("overviews", [(), (2, 4)])
def test_the_picture_of_a_large_file_is_read_by_windows_and_shows_the_same(tmp_path, monkeypatch, sides, overviews):
    """Files in tiles and in strips, with overviews and without; a hole of nodata stays one."""
    rows, columns = np.mgrid[:200, :330]
    values = (1000 + 4 * columns + 6 * rows).astype(np.uint16)
    values[80:120, 150:200] = 0
    grid = grid_around(141.95, 42.73, 330, 10.0)
    path = tmp_path / "20240506.tif"
    write_raster(path, values[None], ["red"], crs=grid.crs_wkt, transform=grid.transform, nodata=0, **sides)
    if overviews:
        with rasterio.open(path, "r+") as target:
            target.build_overviews(overviews)
    scene = read_scene(path, datetime(2024, 5, 6, tzinfo=UTC))
    whole, _ = preview.paint_scene(scene, read_grid(path), 20)
    monkeypatch.setattr(preview, "STRIP", 3)
    by_windows, _ = preview.paint_scene(scene, read_grid(path), 20)
    assert (whole == by_windows).all() if not overviews else abs(whole.astype(int) - by_windows).max() <= 8
    shown = whole[3] > 0
    assert 0.9 < shown.mean() < 1
    assert (np.diff(np.where(shown, whole[0].astype(int), 0)[2]) > 0).mean() > 0.9  # brighter to the east


def test_progress_names_what_is_done_and_ends_when_the_files_are_there(tmp_path):
    """No stage is told after one that it comes before, shares only rise, and the last word is true."""
    write_scene(tmp_path / "scene", 5, size_px=96)
    told = []

    def tell(stage, share):
        told.append((stage, share, (tmp_path / "out" / "run.json").exists()))

    detect({"weights": "generated", "scene_path": str(tmp_path / "scene"), "out_dir": str(tmp_path / "out")}, tell)
    assert list(dict.fromkeys(stage for stage, *_ in told)) == ["map", "outlines", "files"]
    for stage in ("map", "outlines", "files"):
        shares = [share for one, share, _ in told if one == stage]
        assert shares == sorted(shares)
        assert shares[-1] <= 1
    assert told[-1] == ("files", 1.0, True)
    assert not any(there for *_, there in told[:-1])


@pytest.mark.soak
def test_the_tile_size_does_not_show_in_the_result(tmp_path):
    """Nor does it in the stretch by the brightest value nearby, which is a matter of the scene."""
    write_scene(tmp_path / "scene", 8, size_px=200)
    payload = {"scene_path": str(tmp_path / "scene"), "weights": "landslide4sense", "threshold": 0.3}
    files = []
    for tile in (512, 128):
        out = tmp_path / str(tile)
        detect({**payload, "out_dir": str(out), "tile": tile})
        files.append(read_mask(out / "prob.tif").astype(int))
    assert files[0].max() > 100
    assert np.abs(files[0] - files[1]).max() <= 1
    assert np.count_nonzero(files[0] != files[1]) < 20


def save_untrained(path: Path, network: str, classes: list[str]) -> str:
    """A network with fresh weights and the card of the shipped one; the head is turned up, so that it finds much."""
    torch.manual_seed(4)
    card = load_model("generated").card
    built = build(network, 3, len(classes) + 1, 0.125)
    for parameter in list(built.parameters())[-2:]:
        parameter.data *= 6
    facts = {"name": network, "classes": len(classes) + 1, "width": 0.125, "options": {}}
    facts = {"name": "untrained", "network": facts, "classes": classes, "threshold": 0.5, "tile_px": 128}
    save_model(path, built, card | facts)
    return str(path)


@pytest.mark.soak
def test_tiles_of_a_network_without_end_are_blended_and_the_flips_are_said(tmp_path):
    """Means over the window enter the DRs-UNet: its tiles are blended, and what that costs stands in the record."""
    weights = save_untrained(tmp_path / "drs.safetensors", "drs-unet", ["landslide"])
    write_scene(tmp_path / "scene", 5, size_px=150)
    payload = {"scene_path": str(tmp_path / "scene"), "weights": weights}
    first, second = (detect({**payload, "out_dir": str(tmp_path / name)}) for name in ("a", "b"))
    assert (first["blend"], first["tile"], first["halo"]) == ("hann", 128, 0)
    assert 0 <= first["flip_rate"] < 1
    assert first["flip_pixels"] == 150 * 150
    assert any("change sides when the tiles are moved" in warning for warning in first["warnings"])
    assert json.loads((tmp_path / "a" / "run.json").read_text())["flip_rate"] == first["flip_rate"]
    assert read_files(tmp_path / "a") == read_files(tmp_path / "b")
    assert second["polygons"] == first["polygons"]


def test_classes_have_maps_and_footprints_of_their_own(tmp_path, monkeypatch):
    weights = save_untrained(tmp_path / "two.safetensors", "unet", ["landslide", "crack"])
    write_scene(tmp_path / "scene", 5, size_px=96)

    def draw(_, parts, again=False):
        ((tile, _),) = parts
        drawn = np.zeros((2, *tile.shape[1:]), np.float32)
        drawn[0, 10:30, 10:30] = 0.9
        drawn[1, 50:53, 10:80] = 0.8  # a line, and a part of it under the more likely other class
        drawn[1, 20:25, 5:30] = 0.7
        yield drawn

    monkeypatch.setattr(Segmenter, "stream", draw)
    out = tmp_path / "out"
    result = detect({"scene_path": str(tmp_path / "scene"), "weights": weights, "out_dir": str(out)})
    with rasterio.open(out / "prob.tif") as source:
        assert source.descriptions == ("landslide", "crack")
        steps = source.read()
    assert np.array_equal(read_mask(out / "mask.tif"), np.where(steps.max(axis=0) >= 100, steps.argmax(axis=0) + 1, 0))
    assert result["classes"] == ["landslide", "crack"]
    slide, short, long = result["polygons"]
    assert [item["class"] for item in (slide, short, long)] == ["landslide", "crack", "crack"]
    assert slide["area_m2"] == pytest.approx(40_000)
    assert short["area_m2"] == pytest.approx(2_500)  # the other class owns the rest
    assert (long["length_m"], long["width_m"]) == (pytest.approx(700, rel=0.01), pytest.approx(30, rel=0.01))
    assert min(abs(long["azimuth_deg"] - 90), 90) < 1
    assert len({item["polygon_id"] for item in result["polygons"]}) == 3


@pytest.fixture
def hokkaido(measured, tmp_path):
    def make(date: str) -> Path:
        taken = {"pre": "2017-11-21T01:20:00Z", "post": "2018-10-25T01:20:00Z"}[date]
        folder = write_folder(tmp_path / date, {}, None, f'role = "{date}"\n', taken)
        for band in ("B2", "B3", "B4"):
            shutil.copy(measured(f"hokkaido-2018-s2-scene/{date}_event_{band}.tif"), folder / f"{band}.tif")
            with (folder / "scene.toml").open("a") as manifest:
                manifest.write(f'{band} = "{band}.tif"\n')
        return folder

    return make


@pytest.mark.soak
@pytest.mark.data
@pytest.mark.slow
def test_the_measured_scene_end_to_end(hokkaido, measured, tmp_path):
    """After the Hokkaido earthquake of 2018 slides cover the hills; before it there are none to speak of."""
    found = {}
    for date in ("pre", "post"):
        out = tmp_path / f"o{date}"
        result = detect({"weights": "generated", "scene_path": str(hokkaido(date)), "out_dir": str(out)})
        found[date] = result["polygons"]
        assert (result["crs"], result["pixel_area_m2"]) == ("EPSG:4326", pytest.approx(73.4, abs=0.1))
        assert result["valid_share"] == pytest.approx({"pre": 0.595, "post": 1.0}[date], abs=0.005)
        for item in result["polygons"]:
            assert shape(item["geometry"]).is_valid
            assert item["area_m2"] >= 900
            assert 141.89 <= item["bbox"][0] <= item["bbox"][2] <= 142.03
            assert 42.68 <= item["bbox"][1] <= item["bbox"][3] <= 42.77
        nodata = read_values(tmp_path / date / "B4.tif", 1) == 0
        mask = read_mask(out / "mask.tif")
        assert (mask[nodata] == 255).all()
        assert (mask != 255).mean() == pytest.approx(result["valid_share"], abs=1e-5)
        pixels = (mask == 1).sum() * result["pixel_area_m2"]
        assert sum(item["area_m2"] for item in result["polygons"]) <= 1.1 * pixels
    assert sum(item["area_m2"] for item in found["post"]) > 10 * sum(item["area_m2"] for item in found["pre"])
