"""Tiles of a scene as the page sends them: with their mark, none beside the scene, none of a torn file, few at once."""

import threading
from contextlib import ExitStack
from datetime import timedelta

import pytest
from pmtiles.tile import zxy_to_tileid

from detection.imagery.tiles.archive import ArchiveFacts, write_archive
from detection.imagery.tiles.records import SCENE_FILES
from monitor.features.scenes import routes as scenes
from monitor.features.scenes.tables import scene, scene_footprint
from tests.data.filled import HASHES, NOW
from tests.markup import flatten_html
from tests.web.served import serving

SCENE = f"/api/v1/sites/north-bench/scenes/{HASHES['scene']}"
BOUNDS = (8.9, 46.19, 8.92, 46.21)


@pytest.fixture
def folder(filled_database, tmp_path):
    """Results of the scene of the story, with two tiles of the image."""
    with filled_database.write() as c:
        c.execute(scene.update().where(scene.c.scene_hash == HASHES["scene"]).values(out_dir=str(tmp_path)))
    content = [(zxy_to_tileid(0, 0, 0), b"all"), (zxy_to_tileid(1, 1, 0), b"north-east")]
    write_archive(tmp_path / SCENE_FILES["scene"], content, ArchiveFacts("webp", BOUNDS, metadata={}))
    return tmp_path


@pytest.fixture
def client(filled_database, folder):
    with serving(filled_database, NOW + timedelta(minutes=5)) as c:
        yield c


def test_a_tile_comes_with_its_mark_and_nothing_lies_beside_the_scene(client, folder):
    told = client.get(f"{SCENE}/map").json()
    assert told["probability"] is None
    assert {k: told["tiles"][k] for k in ("zooms", "tile_size")} == {"zooms": [0, 1], "tile_size": 512}
    assert told["tiles"]["bounds"] == list(BOUNDS)
    address = told["tiles"]["url"].format(z=1, x=1, y=0)
    tile = client.get(address)
    assert (tile.status_code, tile.headers["content-type"], tile.content) == (200, "image/webp", b"north-east")
    assert "private" in tile.headers["cache-control"]
    again = client.get(address, headers={"if-none-match": tile.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    for beside in ("tiles/1/0/0", "tiles/9/1/0", "tiles/1/2/0", "tiles/1/-1/0", "probability/0/0/0"):
        assert client.get(f"{SCENE}/{beside}").status_code == 404, beside
    elsewhere = f"/api/v1/sites/lake-slope/scenes/{HASHES['scene']}/tiles/0/0/0"
    assert client.get(elsewhere).status_code == 404, "of another site"
    path = folder / SCENE_FILES["scene"]
    path.write_bytes(path.read_bytes()[:-6])
    assert client.get(address).status_code == 404
    path.write_bytes(b"torn")
    assert client.get(address).status_code == 404
    assert client.get(f"{SCENE}/map").json() == {"tiles": None, "probability": None}


def test_requests_of_tiles_use_a_limited_number_of_threads(client, monkeypatch):
    monkeypatch.setattr(scenes, "MAX_WAIT_S", 0.02)
    with ExitStack() as stack:
        for _ in range(scenes.MAX_READS):
            stack.enter_context(scenes._reading)
        assert client.get(f"{SCENE}/tiles/0/0/0").status_code == 503
        threading.Timer(0.1, stack.pop_all().close).start()
        monkeypatch.setattr(scenes, "MAX_WAIT_S", 5.0)
        assert client.get(f"{SCENE}/tiles/0/0/0").content == b"all", "whoever waits a moment gets it"


def test_landslides_have_the_age_that_the_image_knows(client, filled_database):
    """p1 new, p2 and p3 of a line of before; p4 of the earlier image alone; then p2 is seen again on a later one."""
    with filled_database.write() as c:
        rows = {row.polygon_id: dict(row._mapping) for row in c.execute(scene_footprint.select())}
        old = dict(c.execute(scene.select().where(scene.c.scene_hash == HASHES["scene"])).one()._mapping)
        later = {"scene_hash": "l" * 64, "name": "later", "acquired_at": NOW - timedelta(days=1)}
        c.execute(scene.insert().values(**old | later | {"out_dir": None}))
        seen = {"scene_hash": "l" * 64, "polygon_id": "q2", "parent_id": "p2"}
        c.execute(scene_footprint.insert().values(**rows["p2"] | seen))
        gone = {"scene_hash": "l" * 64, "polygon_id": "q1", "root_id": "p1", "change": "vanished"}
        c.execute(scene_footprint.insert().values(**rows["p1"] | gone))

    def ages(scene_hash):
        found = client.get(f"/api/v1/sites/north-bench/scenes/{scene_hash}/landslides.geojson").json()
        assert found["of"] == len(found["features"])
        return {f["properties"]["polygon_id"]: f["properties"] for f in found["features"]}

    then, now = ages(HASHES["scene"]), ages("l" * 64)
    year = ("year", True, 1)
    aged = {"p1": ("here", True, 1), "p2": year, "p3": year, "p4": ("gone", False, 1)}
    assert {k: (p["age"], p["confirmed"], p["dates"]) for k, p in then.items()} == aged
    assert (now["q2"]["age"], now["q2"]["dates"], now["q2"]["age_days"]) == ("year", 2, 39.0)
    assert now["q2"]["last_confirmed_at"] > then["p2"]["last_confirmed_at"]
    assert (now["p1"]["age"], now["p1"]["change"], now["p3"]["change"]) == ("gone", "vanished", "unseen")
    page = client.get(f"/sites/north-bench/scenes/{'l' * 64}")
    assert (page.status_code, flatten_html(page.text).count('<td><i class="kfoot age-gone">')) == (200, 3)
    assert len(page.content) < 60_000
    for odd in ("x", HASHES["scene"] + "'", "a" * 3000):
        assert client.get(f"/sites/north-bench/scenes/{odd}").status_code == 404
    assert client.get(f"/sites/north-bench/scenes/{'l' * 64}?before=nothing").status_code == 200


def test_what_another_image_of_the_same_instant_shows_is_not_confirmed_by_this_one(client, filled_database):
    """A second tile of the same pass shows p1 in two parts and one more; and one lies beside this image."""
    with filled_database.write() as c:
        row = c.execute(scene_footprint.select().where(scene_footprint.c.polygon_id == "p1")).one()._mapping
        old = dict(c.execute(scene.select().where(scene.c.scene_hash == HASHES["scene"])).one()._mapping)
        box = [row["min_lon"] - 0.001, row["min_lat"] - 0.001, row["max_lon"] + 0.001, row["max_lat"] + 0.001]
        run = {**old["run"], "outputs": {"bounds": box}}
        c.execute(scene.update().where(scene.c.scene_hash == HASHES["scene"]).values(run=run))
        for name, days in (("same", 0), ("next", 1)):
            when = old["acquired_at"] + timedelta(days=days)
            c.execute(scene.insert().values(**old | {"scene_hash": name, "name": name, "acquired_at": when}))
        at = lambda **other: scene_footprint.insert().values(**{**row, "scene_hash": "same"} | other)  # noqa: E731
        c.execute(at(polygon_id="a", root_id=None))
        c.execute(at(polygon_id="far", root_id=None, min_lon=1.0, max_lon=1.1))
        for name in ("b1", "b2"):
            c.execute(at(polygon_id=name, scene_hash="next", root_id="p1", area_m2=7.0, model="index"))

    def lines(scene_hash):
        found = client.get(f"/api/v1/sites/north-bench/scenes/{scene_hash}/landslides.geojson").json()["features"]
        return {f["properties"]["polygon_id"]: (f["properties"], f["geometry"]["type"]) for f in found}

    here, after = lines(HASHES["scene"]), lines("next")
    assert (here["p1"][0]["confirmed"], here["a"][0]["confirmed"], here["a"][0]["age"]) == (True, False, "gone")
    assert "far" not in here
    said, form = after["b1"]
    assert (said["dates"], said["area_m2"], said["method"], form) == (2, 14.0, "index", "MultiPolygon")
    assert '<td class="num">–</td>' in flatten_html(client.get("/sites/north-bench/scenes/next").text)
