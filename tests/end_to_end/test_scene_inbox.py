"""Scenes in the inbox of a running service, with one site for each test."""

import os
import shutil
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from detection.imagery.data.generate import write_scene
from tests.data.drawn_scenes import SITE, of_drawings
from tests.data.running import Service
from tests.data.surveys.rasters import COLOURS, write_raster
from tests.fixtures import waiting
from tests.fixtures.databases import fill_nothing
from tests.fixtures.soak import with_soak
from tests.fixtures.waiting import free_port

pytestmark = [pytest.mark.server, pytest.mark.slow]

SCAR = (141.951, 42.7305)
SITES = ("truncated", "cloudy", "dates", "again", "renamed", "growing", "killed")
# The outline of this station crosses the antimeridian.
FIJI = (
    SITE.replace('id = "bench"', 'id = "fiji"')
    .replace(
        "latitude = 42.7285\nlongitude = 141.9525\n", "outline = [[-17.1, 179.99], [-17.1, -179.99], [-17, 180]]\n"
    )
    .replace("latitude = 42.73\nlongitude = 141.95", "latitude = -17.05\nlongitude = 179.995")
)


class WatchedInbox:
    """A running service and the inbox of one of its sites."""

    def __init__(self, service: Service, site: str) -> None:
        self.service, self.site = service, site
        self.folder = service.folder / "inbox" / site
        self.folder.mkdir(parents=True, exist_ok=True)

    def list_scenes(self) -> dict[str, tuple[str, str | None]]:
        """Return state and error of the newest version of each scene by name."""
        sql = f"SELECT name, state, error FROM scene WHERE site = '{self.site}' ORDER BY received_at"
        rows = self.service.query(sql)
        return {name: (state, error) for name, state, error in rows}

    def wait_for(self, name: str, state: str) -> str | None:
        """Wait until a scene has a state and return its error."""
        waiting.wait_for(
            lambda: self.list_scenes().get(name, ("", ""))[0] == state, description=f"scene {name} {state}", pause_s=0.1
        )
        return self.list_scenes()[name][1]

    def list_changes(self) -> list[tuple[str, str]]:
        """Return scene and change of each footprint, in the order of acquisition."""
        sql = "SELECT scene, change FROM scene_polygons WHERE site = '{}' ORDER BY acquired_at, polygon_id"
        return self.service.query(sql.format(self.site))

    def list_alerts(self) -> dict[str, str]:
        """Return the state of each open alert about a scene by its key."""
        sql = "SELECT key, state FROM alert WHERE site = '{}' AND key LIKE 'scene:%' AND closed_at IS NULL"
        return dict(self.service.query(sql.format(self.site)))


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the ground before a landslide (`before`) and after it (`after`), and `after` as one raster."""
    folder = tmp_path_factory.mktemp("drawn")
    for name, day, has_scar in (("before", 7, False), ("after", 12, True)):
        taken_at = datetime(2026, 5, day, 10, tzinfo=UTC)
        write_scene(folder / name, 5, has_scar, size_px=96, acquired_at=taken_at, scar_lonlat=SCAR)
    bands = []
    for name in ("B4", "B3", "B2"):
        with rasterio.open(folder / "after" / f"{name}.tif") as source:
            bands.append(source.read(1))
            georeference = {"crs": source.crs, "transform": source.transform, "nodata": source.nodata}
    write_raster(folder / "20260512T100000.tif", np.stack(bands), COLOURS, **georeference)
    return folder


@pytest.fixture(scope="module", params=with_soak("sqlite", "postgresql"))
def service(request: Any, templates: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Run a service with one site for each test."""
    folder = tmp_path_factory.mktemp("service")
    template, _ = templates(request.param, fill_nothing)
    if request.param == "sqlite":
        url = f"sqlite:///{shutil.copy(template, folder / 'service.db')}"
    else:
        server = request.getfixturevalue("postgresql")
        url = server.url(server.copy(template, "scenes"))
    sites = {name: of_drawings(SITE.replace('id = "bench"', f'id = "{name}"')) for name in SITES}
    sites["fiji"] = of_drawings(FIJI)
    broker = f"mqtt://127.0.0.1:{free_port()}"
    with Service(folder, url, broker, sites, tick="60s", page=False, broker=folder / "broker") as running:
        running.start()
        yield running
        if running.running:
            running.stop()


def copy_into_inbox(source: Path, target: Path) -> Path:
    """Copy into the inbox by renaming, as `slopeward scenes add` and a download do."""
    part = target.with_name(f".{target.name}.part")
    (shutil.copytree if source.is_dir() else shutil.copy2)(source, part)
    shutil.rmtree(target) if target.is_dir() else target.unlink(missing_ok=True)
    part.rename(target)
    return target


@pytest.mark.soak
def test_truncated_file_fails_with_a_reason_and_is_read_when_it_is_complete(service: Service, scenes: Path) -> None:
    inbox = WatchedInbox(service, "truncated")
    complete_file = scenes / "20260512T100000.tif"
    target = inbox.folder / complete_file.name
    target.write_bytes(complete_file.read_bytes()[: complete_file.stat().st_size * 6 // 10])
    error = inbox.wait_for(target.name, "failed")
    assert error is not None
    assert target.name in error
    assert inbox.list_alerts() == {f"scene:{target.name}": "unacknowledged"}
    assert inbox.list_changes() == []
    copy_into_inbox(complete_file, target)
    inbox.wait_for(target.name, "done")
    assert inbox.list_changes() == [(target.name, "single")]
    assert inbox.list_alerts() == {f"scene:{target.name}": "returned_unacknowledged"}


@pytest.mark.soak
def test_clouds_reduce_the_valid_share_and_a_scene_full_of_clouds_is_not_read(service: Service, scenes: Path) -> None:
    inbox = WatchedInbox(service, "cloudy")
    random_source = np.random.default_rng(1)
    with rasterio.open(scenes / "20260512T100000.tif") as source:
        bands, georeference = source.read(), {"crs": source.crs, "transform": source.transform, "nodata": source.nodata}
    bands[:, :, :48] = 7500 + random_source.integers(0, 200, (96, 48))
    write_raster(inbox.folder / "20260512T100000.tif", bands, COLOURS, **georeference)
    inbox.wait_for("20260512T100000.tif", "done")
    ((share,),) = service.query("SELECT valid_share FROM scene WHERE site = 'cloudy'")
    assert share < 0.6
    bands[:] = 7500 + random_source.integers(0, 200, (96, 96))
    write_raster(inbox.folder / "20260513T100000.tif", bands, COLOURS, **georeference)
    error = inbox.wait_for("20260513T100000.tif", "failed")
    assert "cloud" in (error or "")
    assert inbox.list_alerts() == {"scene:20260513T100000.tif": "unacknowledged"}


@pytest.mark.soak
def test_second_date_of_the_same_ground_shows_what_is_new(service: Service, scenes: Path) -> None:
    inbox = WatchedInbox(service, "dates")
    for name in ("before", "after"):
        copy_into_inbox(scenes / name, inbox.folder / name)
        inbox.wait_for(name, "done")
    assert inbox.list_changes() == [("after", "new")]


@pytest.mark.soak
def test_scene_of_another_place_waits_until_a_person_confirms_it(service: Service, scenes: Path) -> None:
    inbox = WatchedInbox(service, "fiji")
    copy_into_inbox(scenes / "after", inbox.folder / "after")
    error = inbox.wait_for("after", "waiting")
    assert error is not None
    assert "it lies 7,674 km from site fiji, so it was not read" in error
    assert "Its ground is that of again, cloudy, dates and 4 more" in error
    assert inbox.list_alerts() == {"scene:after": "unacknowledged"}
    assert inbox.list_changes() == []
    refused = service.call("scenes", "add", "fiji", str(inbox.folder / "after"))
    assert refused.returncode == 1
    assert "so it was not added" in refused.stderr
    assert inbox.list_scenes()["after"][0] == "waiting"
    confirmed = service.call("scenes", "add", "fiji", str(inbox.folder / "after"), "--anyway")
    assert "1 footprints" in confirmed.stdout
    assert inbox.list_scenes() == {"after": ("done", None)}
    assert inbox.list_changes() == [("after", "single")]
    assert inbox.list_alerts() == {"scene:after": "returned_unacknowledged"}
    (inbox.folder / "after").rename(inbox.folder.parent / ".after")


@pytest.mark.soak
def test_same_files_delivered_again_change_nothing(service: Service, scenes: Path) -> None:
    inbox = WatchedInbox(service, "again")
    copy_into_inbox(scenes / "after", inbox.folder / "after")
    inbox.wait_for("after", "done")
    facts_query = "SELECT scene_hash, received_at FROM scene WHERE site = 'again'"
    before = service.query(facts_query), inbox.list_changes()
    target = copy_into_inbox(scenes / "after", inbox.folder / "after")
    for path in target.iterdir():
        os.utime(path)
    run_before = service.query("SELECT run FROM scene WHERE site = 'again'")
    waiting.wait_for(
        lambda: service.query("SELECT run FROM scene WHERE site = 'again'") != run_before, description="second delivery"
    )
    assert (service.query(facts_query), inbox.list_changes()) == before
    assert inbox.list_alerts() == {}


@pytest.mark.soak
def test_same_files_by_another_name_are_one_scene(service: Service, scenes: Path) -> None:
    inbox = WatchedInbox(service, "renamed")
    copy_into_inbox(scenes / "after", inbox.folder / "first")
    inbox.wait_for("first", "done")
    copy_into_inbox(scenes / "after", inbox.folder / "second")
    inbox.wait_for("second", "done")
    assert inbox.list_scenes() == {"second": ("done", None)}
    assert inbox.list_changes() == [("second", "single")]


@pytest.mark.soak
def test_file_is_read_only_after_its_last_byte(service: Service, scenes: Path) -> None:
    inbox = WatchedInbox(service, "growing")
    content = (scenes / "20260512T100000.tif").read_bytes()
    with (inbox.folder / "20260512T100000.tif").open("wb") as target:
        for position in range(0, len(content), len(content) // 8):
            target.write(content[position : position + len(content) // 8])
            target.flush()
            assert inbox.list_scenes() == {}
            time.sleep(1.0)
    inbox.wait_for("20260512T100000.tif", "done")
    assert inbox.list_changes() == [("20260512T100000.tif", "single")]
    assert inbox.list_alerts() == {}


@pytest.mark.soak
def test_scene_is_read_once_although_the_service_was_killed_during_reading(service: Service, scenes: Path) -> None:
    inbox = WatchedInbox(service, "killed")
    copy_into_inbox(scenes / "after", inbox.folder / "after")
    results = service.folder / "scenes" / "killed"
    waiting.wait_for(results.is_dir, description="the worker", pause_s=0.005)
    time.sleep(0.5)
    service.kill()
    assert inbox.list_scenes() == {}
    service.start()
    inbox.wait_for("after", "done")
    assert inbox.list_changes() == [("after", "single")]
    assert inbox.list_alerts() == {}
