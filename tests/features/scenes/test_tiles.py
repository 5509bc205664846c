"""The job that cuts tiles of scenes: each once, again when the scene was read anew, never for a file that changed."""

import shutil
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from affine import Affine

from detection.imagery.tiles.lookup import open_archive, read_metadata
from detection.imagery.tiles.records import METADATA_FILE, SCENE_FILES
from monitor.errors import JobError
from monitor.features.scenes import files, rows, tiles
from monitor.features.scenes.inbox import compute_fingerprint
from monitor.features.scenes.queries.arrivals import save_scene
from monitor.features.scenes.rows import make_stored_name
from monitor.features.scenes.tables import scene
from monitor.sites.parsing import parse_site
from monitor.storage.service_state import IDLE
from tests.data.crossing import cross
from tests.data.drawn_scenes import SITE, add_site, make_config, may
from tests.data.feature_rows import scene_row
from tests.data.surveys.rasters import write_raster

NOW = may(20)
PLACE = {"crs": "EPSG:32654", "transform": Affine(10, 0, 414_000, 0, -10, 4_731_000)}


def draw(folder, day):
    """A scene of a day with the probabilities of its results."""
    results = folder / "results" / str(day)
    results.mkdir(parents=True)
    image = folder / f"202605{day:02}.tif"
    write_raster(image, np.arange(64 * 64, dtype=np.uint8).reshape(1, 64, 64), ("red",), **PLACE)
    write_raster(results / "prob.tif", np.full((1, 64, 64), 150, np.uint8), nodata=255, **PLACE)
    return image, results


@pytest.fixture
def told(database, tmp_path, monkeypatch):
    """Scenes of four days; a function that runs the job, and where the results lie."""
    add_site(database)
    monkeypatch.setattr(files.compute, "run", cross)
    monkeypatch.setattr(rows, "DATES_MOST", 3)
    monkeypatch.setattr(tiles, "ROOM", 0)
    monkeypatch.setattr(tiles, "_waits_since", {})
    config, site = (make_config(tmp_path, "sqlite://"), parse_site(SITE, "x"))
    folders = {}
    with database.write() as c:
        for day in (1, 2, 3):
            image, results = draw(tmp_path, day)
            folders[day] = results
            run = {"fingerprint": compute_fingerprint(image), "outputs": {"prob": "prob.tif"}, "model_hash": "m" * 64}
            facts = {"name": image.name, "path": str(image), "out_dir": str(results), "run": run}
            save_scene(c, scene_row(str(day) * 64, may(day), **facts), [], may(day))
    return lambda at=NOW: tiles.run(database, config, site, at), folders


@pytest.mark.soak
def test_each_scene_is_cut_once_newest_first_and_again_when_it_was_read_anew(told, database, tmp_path, monkeypatch):
    run, folders = told
    with monkeypatch.context() as full:
        full.setattr(tiles, "ROOM", 1 << 62)
        full.setattr(rows, "DATES_MOST", 2)
        (folders[1] / SCENE_FILES["scene"]).write_bytes(b"of a date that is no more among the newest")
        assert [run(), run()] == [f"20260503.tif: no tiles: {tiles.NO_ROOM}", IDLE]
        assert not list(folders[1].glob("*.pmtiles")) + list(folders[3].glob("*.pmtiles"))
    assert [run().split(":")[0] for _ in range(3)] == ["20260503.tif", "20260502.tif", "20260501.tif"]
    assert run() == IDLE
    for folder in folders.values():
        assert all(open_archive(folder / name).type == "image/webp" for name in SCENE_FILES.values())
    # other weights read it: its probabilities are others
    with database.write() as c:
        (row,) = (r for r in rows.list_done(c, "bench") if r.name == "20260502.tif")
        other = dict(row.run) | {"model_hash": "n" * 64}
        c.execute(scene.update().where(scene.c.scene_hash == row.scene_hash).values(run=other))
    assert run().startswith("20260502.tif: ")
    assert run() == IDLE
    # radar has no probabilities
    with database.write() as c:
        radar = dict(row.run) | {"model_hash": "r" * 64, "change": {"method": "sar"}}
        c.execute(scene.update().where(scene.c.scene_hash == row.scene_hash).values(run=radar))
    assert run().startswith("20260502.tif: ")
    assert [(folders[2] / name).exists() for name in SCENE_FILES.values()] == [True, False]
    # one more date: the oldest is no more among the newest, and its tiles go
    monkeypatch.setattr(rows, "DATES_MOST", 2)
    image, folders[4] = draw(tmp_path, 4)
    with database.write() as c:
        values = {**{f: getattr(row, f) for f in type(row).__slots__}, "scene_hash": "4" * 64, "name": image.name}
        values |= {"acquired_at": may(4), "path": str(image), "out_dir": str(folders[4])}
        c.execute(
            scene.insert().values(**values | {"run": dict(row.run) | {"fingerprint": compute_fingerprint(image)}})
        )
    assert run().startswith("20260504.tif: ")
    assert not list(folders[1].glob("*tiles*"))
    assert (folders[2] / SCENE_FILES["scene"]).exists()


def test_what_cannot_be_cut_is_said_once_a_day_and_holds_no_other_up(told, database, tmp_path, monkeypatch):
    run, folders = told
    (tmp_path / "20260503.tif").write_bytes(b"another file")
    assert run() == f"20260503.tif: no tiles: {tiles.REPLACED}"
    assert read_metadata(folders[3])["error"] == tiles.REPLACED

    def fail(*_args, **_kwargs):
        raise JobError("the worker took more than 4 GiB")

    with monkeypatch.context() as m:
        m.setattr(files.compute, "run", fail)
        assert run().endswith("no tiles: the worker took more than 4 GiB")
        m.setattr(files.compute, "is_stopping", lambda: True)
        with pytest.raises(JobError):
            run()
    image = tmp_path / "20260501.tif"
    image.write_bytes(image.read_bytes()[:-3000])
    with database.write() as c:
        values = {"run": dict(rows.list_done(c, "bench")[-1].run) | {"fingerprint": compute_fingerprint(image)}}
        c.execute(scene.update().where(scene.c.name == image.name).values(**values))
    assert run().startswith("20260501.tif: no tiles: 20260501.tif: not a raster"), "a place of the server is not shown"
    assert run() == IDLE
    assert run(NOW.replace(year=2100) + timedelta(days=2)).startswith("20260503.tif"), "it is tried again after a day"
    (folders[3] / METADATA_FILE).write_text("[")
    assert run().startswith("20260503.tif")


def test_tiles_wait_for_a_scene_that_is_to_be_read_at_any_site_but_not_for_ever(told, database, tmp_path):
    run, _ = told
    add_site(database, SITE.replace('id = "bench"', 'id = "other"'))
    came = tmp_path / "inbox" / "other" / "20260601.tif"
    came.parent.mkdir(parents=True)
    shutil.copy(tmp_path / "20260501.tif", came)
    at, bound = datetime.now(UTC), tiles.WAIT_MOST
    assert [run(at - bound), run(at - bound / 2)] == [IDLE, IDLE]
    assert run(at).startswith("20260503.tif"), "where scenes come all the time, one set is cut in between"
    assert run(at) == IDLE
    assert run(at + bound).startswith("20260502.tif")
    assert run(at) == IDLE
    with database.write() as c:
        values = {"scene_hash": "f" * 64, "site": "other", "role": "single", "path": str(came)}
        run_ = {"fingerprint": compute_fingerprint(came)}
        c.execute(
            scene.insert().values(**values, name=make_stored_name(came), received_at=at, state="failed", run=run_)
        )
    assert run(at).startswith("20260501.tif"), "what cannot be read holds nothing up"


def test_a_scene_that_lies_unread_for_long_holds_no_tiles_up(told, tmp_path):
    run, _ = told
    came = tmp_path / "inbox" / "bench" / "20260601.tif"
    came.parent.mkdir(parents=True)
    shutil.copy(tmp_path / "20260501.tif", came)
    later = datetime.now(UTC) + tiles.WAIT_MOST + timedelta(seconds=1)
    assert [run(later).split(":")[0] for _ in range(3)] == ["20260503.tif", "20260502.tif", "20260501.tif"]
