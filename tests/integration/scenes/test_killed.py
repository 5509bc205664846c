"""The watched folder under kill -9 between the files of a scene and its rows: the same bytes, the rows once."""

import os
import shutil
import signal
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import select

from detection.imagery.data.generate import write_scene
from monitor.config.service import load_service, parse_site
from monitor.jobs.scenes import inbox as scene_inbox
from monitor.store.alerting.sites import save_site
from monitor.store.database.engine import Database
from monitor.store.schema import tables as t
from tests.data.crossing import cross
from tests.data.drawn_scenes import of_drawings

TAKEN, NOW = datetime(2026, 5, 7, 10, tzinfo=UTC), datetime(2026, 5, 7, 13, tzinfo=UTC)
SITE = """
[site]
id = "bench"
name = "Bench"
latitude = 42.73
longitude = 141.95
timezone = "Asia/Tokyo"
[[station]]
id = "G1"
latitude = 42.7305
longitude = 141.951
[[station.series]]
quantity = "displacement"
unit = "mm"
interval = "1h"
"""
# Where the process dies: the files are there and no row is; all rows are written but not for good; all is for good.
PLACES = {"no row yet": "add_model", "rows not kept": "clear", "rows kept": "tell_waiting"}

pytestmark = pytest.mark.usefixtures("one_torch_thread")


@pytest.fixture(scope="module")
def inbox(tmp_path_factory):
    folder = tmp_path_factory.mktemp("killed") / "inbox" / "bench" / "a"
    folder.parent.mkdir(parents=True)
    write_scene(folder, 5, size_px=96, acquired_at=TAKEN, scar_lonlat=(141.951, 42.7305))
    return folder


def watch(url: str, inbox: Path, die_at: str | None = None) -> str:
    """Look at the watched folder once, in this process; at a place it is killed by signal 9."""
    root = inbox.parents[2]
    (root / "slopeward.toml").write_text(
        f'[database]\nurl = "{url}"\n[paths]\nsites = "{root}/sites"\ninbox = "{root}/inbox"\n'
    )
    site = parse_site(of_drawings(SITE), "bench.toml")
    patch = pytest.MonkeyPatch()
    patch.setattr(scene_inbox.compute, "run", cross)
    if die_at is not None:
        patch.setattr(scene_inbox, die_at, lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))
    database = Database(url)
    try:
        with database.write() as c:
            save_site(c, site, "test", "test", TAKEN)
        return scene_inbox.run(database, load_service(str(root / "slopeward.toml")), site, NOW)
    finally:
        database.close()
        patch.undo()


def watch_killed(url: str, inbox: Path, place: str) -> int:
    """The same in a child; how it ended."""
    child = os.fork()
    if child == 0:
        try:
            watch(url, inbox, PLACES[place])
        finally:
            os._exit(0)  # not reached when the place was
    return os.waitpid(child, 0)[1]


def list_rows(url: str) -> dict[str, list]:
    """What is stored of scenes, by its meaning: without numbers that a database gives."""
    kept = t.observation.c
    values = select(t.series.c.station, t.series.c.quantity, kept.observed_at, kept.value_raw).join(
        t.observation, kept.series_id == t.series.c.id
    )
    asked = {
        "scene": select(t.scene), "footprint": select(t.scene_footprint), "change": select(t.scene_change),
        "model": select(t.model.c.model_hash, t.model.c.kind, t.model.c.task), "observation": values,
    }  # fmt: skip
    database = Database(url)
    with database.read() as c:
        found = {
            name: sorted(
                repr(sorted((k, v) for k, v in row.items() if k != "id")) for row in c.execute(query).mappings()
            )
            for name, query in asked.items()
        }
    database.close()
    return found


def read_files(inbox: Path) -> dict[str, bytes]:
    (folder,) = (inbox.parents[2] / "scenes" / "bench" / "a").iterdir()
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def undisturbed(sqlite_template, inbox):
    """The rows and files of a run that nobody disturbed, of the same inbox."""
    copy = inbox.parents[2] / "undisturbed.db"
    shutil.copy(sqlite_template, copy)
    watch(f"sqlite:///{copy}", inbox)
    return list_rows(f"sqlite:///{copy}"), read_files(inbox)


@pytest.mark.parametrize("place", PLACES)
def test_a_kill_between_files_and_rows_leaves_each_row_once(database_url, inbox, undisturbed, place):
    rows, files = undisturbed
    shutil.rmtree(inbox.parents[2] / "scenes")
    assert len(rows["scene"]) == len(rows["model"]) == 1
    assert rows["footprint"]
    assert rows["observation"]
    assert watch_killed(database_url, inbox, place) == signal.SIGKILL
    assert read_files(inbox) == files  # the files are whole before a row is begun
    before = list_rows(database_url)
    assert before == rows if place == "rows kept" else not any(before.values())
    said = watch(database_url, inbox)
    assert ("nothing new" in said) == (place == "rows kept")
    assert list_rows(database_url) == rows
    assert read_files(inbox) == files
    assert "nothing new" in watch(database_url, inbox)
    assert list_rows(database_url) == rows
