"""The watched folder under kill -9 between probabilities, rows and the other files: the same bytes, the rows once."""

import os
import shutil
import signal
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest
from rasterio.io import MemoryFile
from sqlalchemy import select

from detection.imagery.data.generate import write_scene
from detection.imagery.footprints.records import MAKING, NOT_MADE, is_making
from monitor.errors import JobError
from monitor.features.scenes import files, tiles
from monitor.features.scenes import inbox as scene_inbox
from monitor.features.scenes.queries.arrivals import load_scenes
from monitor.features.scenes.queries.versions import SUPERSEDED
from monitor.features.scenes.tables import scene as scene_table
from monitor.features.scenes.tables import scene_change, scene_footprint
from monitor.features.scenes.tasks import READ_ONE
from monitor.models.tables import model
from monitor.readings.tables import observation
from monitor.readings.tables import series as series_table
from monitor.sites.parsing import parse_site
from monitor.sites.queries.sites import save_site
from monitor.storage.engine import Database
from monitor.storage.service_state import IDLE
from tests.data.crossing import cross
from tests.data.drawn_scenes import SITE as DRAWN_SITE
from tests.data.drawn_scenes import add_site, draw, make_config, may, of_drawings
from tests.data.forked import run_forked
from tests.data.site_text import head, series, station
from tests.data.store_rows import ask, tell

LATER = may(20)
TAKEN, NOW = datetime(2026, 5, 7, 10, tzinfo=UTC), datetime(2026, 5, 7, 13, tzinfo=UTC)
SITE = head("bench", latitude=42.73, longitude=141.95, timezone="Asia/Tokyo") + station(
    "G1", series("displacement", "mm"), latitude=42.7305, longitude=141.951
)
# Where the process dies: all rows are written but not for good; all is for good and the other files are not there.
PLACES = {"rows not kept": "end_waiting", "rows kept": "notify_waiting"}
FIRST = {"prob.tif", "making.json"}

pytestmark = pytest.mark.usefixtures("one_torch_thread")


@pytest.fixture(scope="module")
def inbox(tmp_path_factory):
    folder = tmp_path_factory.mktemp("killed") / "inbox" / "bench" / "a"
    folder.parent.mkdir(parents=True)
    write_scene(folder, 5, size_px=96, acquired_at=TAKEN, scar_lonlat=(141.951, 42.7305))
    return folder


def watch(url: str, inbox: Path, die_at: str | None = None) -> str:
    """Look at the watched folder once, in this process; at a place it is killed by signal 9."""
    config, site = make_config(inbox.parents[2], url), parse_site(of_drawings(SITE), "bench.toml")
    patch = pytest.MonkeyPatch()
    patch.setattr(scene_inbox.compute, "run", cross)
    if die_at is not None:
        patch.setattr(scene_inbox.waiting, die_at, lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))
    database = Database(url)
    try:
        tell(database, save_site, site, "test", "test", TAKEN)
        said = scene_inbox.run(database, config, site, NOW)
        files.make_missing_files(config, site, ask(database, load_scenes, site.id), NOW)
        return said
    finally:
        database.close()
        patch.undo()


def list_rows(url: str) -> dict[str, list]:
    """What is stored of scenes, by its meaning: without numbers that a database gives."""
    values = select(series_table.c.station, series_table.c.quantity, observation.c.observed_at, observation.c.value_raw)
    asked = {
        "scene": select(scene_table),
        "footprint": select(scene_footprint),
        "change": select(scene_change),
        "model": select(model.c.model_hash, model.c.kind, model.c.task),
        "observation": values.join(observation, observation.c.series_id == series_table.c.id),
    }
    database = Database(url)
    with database.read() as c:
        rows = {name: c.execute(query).mappings() for name, query in asked.items()}
        found = {
            name: sorted(repr(sorted((k, v) for k, v in row.items() if k != "id")) for row in many)
            for name, many in rows.items()
        }
    database.close()
    return found


def read_files(inbox: Path) -> dict[str, bytes]:
    (folder,) = (inbox.parents[2] / "scenes" / "bench" / "a").iterdir()
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def read_map(content: bytes) -> tuple[list, dict[str, str], tuple[str | None, ...]]:
    """The values of a GeoTIFF and what it says of them, however it is packed."""
    with MemoryFile(content) as memory, memory.open() as source:
        tags = {key: value for key, value in source.tags().items() if key != "OVR_RESAMPLING_ALG"}
        return source.read().tolist(), tags, source.descriptions


@pytest.fixture(scope="module")
def undisturbed(sqlite_template, inbox):
    """The rows and files of a run that nobody disturbed, of the same inbox."""
    copy = inbox.parents[2] / "undisturbed.db"
    shutil.copy(sqlite_template, copy)
    watch(f"sqlite:///{copy}", inbox)
    return list_rows(f"sqlite:///{copy}"), read_files(inbox)


@pytest.mark.soak
@pytest.mark.parametrize("place", PLACES)
def test_a_kill_between_files_and_rows_leaves_each_row_once(database_url, inbox, undisturbed, place):
    rows, files = undisturbed
    shutil.rmtree(inbox.parents[2] / "scenes")
    assert len(rows["scene"]) == len(rows["model"]) == 1
    assert rows["footprint"]
    assert rows["observation"]
    assert run_forked(lambda: watch(database_url, inbox, PLACES[place])) == signal.SIGKILL
    # what the rows rest on is whole before a row is begun
    left = read_files(inbox)
    assert (read_map(left["prob.tif"]), set(left)) == (read_map(files["prob.tif"]), FIRST)
    before = list_rows(database_url)
    assert before == rows if place == "rows kept" else not any(before.values())
    assert (IDLE in watch(database_url, inbox)) == (place == "rows kept")
    assert (list_rows(database_url), read_files(inbox)) == (rows, files)
    assert IDLE in watch(database_url, inbox)
    assert list_rows(database_url) == rows


@pytest.fixture
def read(database, tmp_path, monkeypatch):
    """A scene whose rows are stored and whose other files are not made; a function that makes them, and the folder."""
    add_site(database)
    monkeypatch.setattr(scene_inbox.compute, "run", cross)
    config, site = make_config(tmp_path, "sqlite://"), parse_site(of_drawings(DRAWN_SITE), "x")
    draw(tmp_path / "inbox" / "bench" / "a", may(7), 1.0)
    entry = tmp_path / "inbox" / "bench" / "a"
    assert "footprints" in scene_inbox.detect_scene(database, config, site, entry, LATER)
    (folder,) = (tmp_path / "scenes" / "bench" / "a").iterdir()
    rows = ask(database, load_scenes, site.id)
    monkeypatch.setattr(tiles, "ROOM", 0)
    make, cut = (
        partial(files.make_missing_files, config, site, rows, LATER),
        partial(tiles.run, database, config, site, LATER),
    )
    return make, folder, cut


@pytest.mark.soak
def test_what_fails_is_tried_again_after_a_while(read, monkeypatch):
    make, folder, _ = read
    assert is_making(folder)

    def fail(*_, **__):
        raise JobError("killed for memory")

    with monkeypatch.context() as broken:
        broken.setattr(files.compute, "run", fail)
        make()
        assert "killed for memory" in (folder / NOT_MADE).read_text()
        assert not is_making(folder)
        broken.setattr(files.compute, "is_stopping", lambda: True)
        (folder / NOT_MADE).unlink()
        with pytest.raises(JobError):  # not the scene's fault: it is made after the next start
            make()
        assert is_making(folder)
    (folder / NOT_MADE).write_text("{}")
    os.utime(folder / NOT_MADE, (LATER.timestamp(), LATER.timestamp() - files.RETRY_AFTER_S + 1))
    make()
    assert not (folder / "run.json").exists()
    os.utime(folder / NOT_MADE, (LATER.timestamp(), LATER.timestamp() - files.RETRY_AFTER_S - 1))
    make()
    assert {"run.json", "mask.tif", "preview.png"} <= {path.name for path in folder.iterdir()}
    assert not (folder / NOT_MADE).exists()
    assert not (folder / MAKING).exists()


@pytest.mark.soak
@pytest.mark.parametrize("replaced", [True, False])
def test_an_image_of_another_scene_or_that_cannot_be_read_costs_the_picture_alone(read, tmp_path, replaced):
    (make, folder, _), scene = read, tmp_path / "inbox" / "bench" / "a"
    if replaced:
        shutil.rmtree(scene)
        draw(scene, may(8), None)
    else:
        for path in scene.glob("B*.tif"):
            path.write_bytes(b"")
    make()
    left = {path.name for path in folder.iterdir()}
    assert {"run.json", "mask.tif"} <= left
    assert not left & {NOT_MADE, MAKING, "preview.png"}


@pytest.mark.soak
def test_a_scene_that_was_delivered_again_before_its_files_gets_them(read):
    make, folder, _ = read
    config, site, (row,), _ = make.args
    files.make_missing_files(config, site, [replace(row, state=SUPERSEDED)], LATER)
    assert {"run.json", "preview.png"} <= {path.name for path in folder.iterdir()}


@pytest.mark.soak
def test_the_worker_that_cuts_tiles_says_why_files_lack(read):
    _, folder, cut = read
    (folder / MAKING).write_text("[")
    assert "tiles" in cut()
    assert "making.json: cannot be read" in (folder / NOT_MADE).read_text()


@pytest.mark.soak
def test_the_worker_that_cuts_tiles_makes_the_files(read, tmp_path, monkeypatch):
    _, folder, cut = read
    asked = []

    def count(task, *arguments, **options):
        asked.append(task)
        assert options["limits"].is_low_priority == (task != READ_ONE)
        return cross(task, *arguments, **options)

    monkeypatch.setattr(files.compute, "run", count)
    # a second scene: each gets its files with its tiles
    database, config, site, _ = cut.args
    draw(tmp_path / "inbox" / "bench" / "b", may(8), 1.0)
    assert "footprints" in scene_inbox.detect_scene(database, config, site, tmp_path / "inbox" / "bench" / "b", LATER)
    folders = [folder, *(tmp_path / "scenes" / "bench" / "b").iterdir()]
    asked.clear()
    assert "tiles" in cut()
    assert [is_making(folder) for folder in folders] == [True, False]
    assert "tiles" in cut()
    assert asked == [tiles.CUT, tiles.CUT]
    for one in folders:
        left = {path.name for path in one.iterdir()}
        assert {"run.json", "preview.png", "scene.pmtiles"} <= left
        assert MAKING not in left
