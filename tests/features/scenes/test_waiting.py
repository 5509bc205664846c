"""A scene that waits is seen: in the status, on the page, and after a while by a person; and for what it waits."""

import json
import os
import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import rasterio
from sqlalchemy import delete, select

from detection.imagery.weights_file import find_fault, read_weights, weights_path
from monitor.alerts.outbox_tables import notification
from monitor.alerts.tables import alert
from monitor.cli.main import run_command
from monitor.features.scenes import checks
from monitor.features.scenes import inbox as scene_inbox
from monitor.features.scenes.queries import cards
from monitor.features.scenes.queries.arrivals import SceneRow, load_scenes, load_waiting, save_scene
from monitor.features.scenes.queries.weights import find_broken_weights
from monitor.features.scenes.tables import scene
from monitor.models.queries.registry import add_model, change_state, find_model
from monitor.storage.actor import Actor
from tests.data.drawn_scenes import SITE, add_site, arrive, draw, may, of_drawings, polygons
from tests.data.store_rows import ask, tell
from tests.data.surveys.rasters import COLOURS, write_raster

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """One ground before and after a scar."""
    folder = tmp_path_factory.mktemp("drawn")
    for name, at, growth in (("a", may(7), None), ("b", may(12), 1.0)):
        draw(folder / name, at, growth)
    return folder


@pytest.fixture(autouse=True)
def configured(config, tmp_path, monkeypatch):
    monkeypatch.setenv("SLOPEWARD_CONFIG", str(tmp_path / "slopeward.toml"))


@pytest.fixture
def calls(monkeypatch):
    """How often a worker was asked, beside what it does."""
    found = []
    run = scene_inbox.compute.run
    monkeypatch.setattr(scene_inbox.compute, "run", lambda *a, **k: (found.append(1), run(*a, **k))[1])
    return found


def alerts(database):
    a = alert.c
    with database.read() as c:
        return [tuple(r) for r in c.execute(select(a.key, a.state, a.reason).where(a.closed_at.is_(None)))]


@pytest.mark.soak
def test_files_that_are_to_come_are_named_until_they_are_there(database, config, drawn, calls, capsys):
    site, at = add_site(database), may(12) + HOUR
    entry = arrive(config, drawn / "b", "b")
    held = (entry / "B4.tif").rename(entry.parent.parent / "B4.tif")
    assert scene_inbox.run(database, config, site, at) == "b: waiting: b/B4.tif: has not arrived"
    with database.read() as c:
        (row,) = load_waiting(c)
        (shown,) = cards.load_scenes_of(c, "bench")
    assert (row.name, row.error, row.received_at) == ("b", "b/B4.tif: has not arrived", at)
    assert (shown.state, shown.error) == ("waiting", "b/B4.tif: has not arrived")
    run_command(["status", "--json"])
    (told,) = json.loads(capsys.readouterr().out)["waiting_scenes"]
    assert (told["site"], told["scene"], told["for"]) == ("bench", "b", "b/B4.tif: has not arrived")
    run_command(["status"])
    assert "bench: scene b waits since 2026-05-12 20:00 JST: b/B4.tif: has not arrived" in capsys.readouterr().out

    # unchanged, it is not asked again at every look; what has changed is
    assert scene_inbox.run(database, config, site, at + MINUTE) == "b: waiting: b/B4.tif: has not arrived"
    assert len(calls) == 1
    (entry / "B4.tif").write_bytes(held.read_bytes()[:100])
    assert "100 bytes, the manifest states" in scene_inbox.run(database, config, site, at + 2 * MINUTE)
    assert (len(calls), alerts(database)) == (2, [])
    with database.read() as c:
        assert [r.received_at for r in load_waiting(c)] == [at], "it has waited from the first look on"

    # after an hour a person is told, once
    for minute in (61, 62, 75):
        scene_inbox.run(database, config, site, at + minute * MINUTE)
    ((key, state, reason),) = alerts(database)
    assert (key, state) == ("scene:b", "unacknowledged")
    assert reason.startswith("scene b waits since 2026-05-12 11:00 UTC: b/B4.tif: 100 bytes")
    assert len(ask(database, lambda c: c.execute(select(notification.c.id)).all())) == 1

    shutil.move(held, entry / "B4.tif")
    assert "footprints" in scene_inbox.run(database, config, site, at + 80 * MINUTE)
    with database.read() as c:
        assert load_waiting(c) == []
        (done,) = cards.load_scenes_of(c, "bench")
        assert (done.state, cards.find_shown_scene(c, "bench")) == ("done", done)
    with database.write() as c:  # many that wait do not bury what was read
        row = load_scenes(c, "bench")[0]
        for number in range(25):
            save_scene(c, replace(row, scene_hash=f"w{number}", name=f"w{number}", state="waiting"), [], at)
    with database.read() as c:
        assert [r.state for r in cards.load_scenes_of(c, "bench")] == ["waiting"] * 20 + ["done"]
        assert cards.find_shown_scene(c, "bench") == done
    tell(database, lambda c: c.execute(delete(scene).where(scene.c.state == "waiting")))
    ((_, state, reason),) = alerts(database)
    assert (state, reason) == ("returned_unacknowledged", "scene b was read")
    run_command(["status", "--json"])
    assert json.loads(capsys.readouterr().out)["waiting_scenes"] == []


@pytest.mark.soak
def test_without_weights_a_scene_waits_and_a_person_is_told_at_once(database, config, drawn, calls):
    weights = Path(config.paths.inbox).parent / "own.safetensors"
    site = add_site(database, SITE + f'[scenes]\nweights = "{weights}"\n')
    at = may(12) + HOUR
    arrive(config, drawn / "b", "b")
    assert f"waiting: no weights at {weights}" in scene_inbox.run(database, config, site, at)
    ((key, state, reason),) = alerts(database)
    assert (key, state, "no weights at" in reason) == ("scene:b", "unacknowledged", True)
    scene_inbox.run(database, config, site, at + MINUTE)
    assert len(calls) == 1
    scene_inbox.run(database, config, site, at + 11 * MINUTE)
    assert len(calls) == 2
    shipped = Path(scene_inbox.__file__).parents[3] / "detection" / "imagery" / "weights" / "generated.safetensors"
    for suffix in (".safetensors", ".json"):
        shutil.copy(shipped.with_suffix(suffix), weights.with_suffix(suffix))
    said = scene_inbox.run(database, config, site, at + 22 * MINUTE)
    assert "1 footprints" in said, "the weights came, nothing else did"
    assert ([s for _, s, _ in alerts(database)], len(polygons(database))) == (["returned_unacknowledged"], 1)


def test_what_is_taken_out_of_the_inbox_waits_no_more(database, config, drawn):
    site, at = add_site(database), may(12) + HOUR
    for name in ("b", "broken"):
        entry = arrive(config, drawn / "b", name)
        (entry / "B4.tif").unlink()
    (entry / "scene.toml").write_text((entry / "scene.toml").read_text().replace("acquired_at", "taken_on"))
    scene_inbox.run(database, config, site, at)
    scene_inbox.run(database, config, site, at + 2 * HOUR)
    assert [s for _, s, _ in alerts(database)] == ["unacknowledged", "unacknowledged"]
    for one in list(entry.parent.iterdir()):
        shutil.rmtree(one)
    assert scene_inbox.run(database, config, site, at + 3 * HOUR) == "nothing is due"
    found = alerts(database)
    assert {s for _, s, _ in found} == {"returned_unacknowledged"}
    gone = [f"scene {name} is not in the inbox any more" for name in ("b", "broken")]
    assert (sorted(r for _, _, r in found), ask(database, load_waiting)) == (gone, [])


@pytest.mark.soak
def test_a_folder_without_its_manifest_is_seen(database, config, drawn):
    site = add_site(database)
    entry = arrive(config, drawn / "b", "b")
    held = (entry / "scene.toml").rename(entry.parent.parent / "scene.toml")
    now = may(12) + HOUR
    os.utime(entry, (now.timestamp(), now.timestamp()))
    assert scene_inbox.run(database, config, site, now + MINUTE) == "b: waiting: scene.toml has not arrived"
    assert [r.error for r in ask(database, load_waiting)] == ["scene.toml has not arrived"]
    assert "neither a raster" in scene_inbox.run(database, config, site, now + 20 * MINUTE)
    with database.read() as c:
        assert load_waiting(c) == [], "it is told as one that cannot be used"
    held.rename(entry / "scene.toml")
    assert "footprints" in scene_inbox.run(database, config, site, now + 30 * MINUTE)
    assert [s for _, s, _ in alerts(database)] == ["returned_unacknowledged"]


@pytest.mark.soak
def test_a_manifest_that_arrives_during_a_look_does_not_leave_its_scene_waiting(database, config, drawn, monkeypatch):
    """The look found that it lacks; the mark of the files was taken a moment later, with it."""
    site, now = add_site(database), may(12) + HOUR
    entry = arrive(config, drawn / "b", "b")
    held = (entry / "scene.toml").rename(entry.parent.parent / "scene.toml")
    os.utime(entry, (now.timestamp(), now.timestamp()))
    look = scene_inbox._is_scene

    def look_before_it_comes(one):
        found = look(one)
        if held.exists():
            held.rename(entry / "scene.toml")
        return found

    monkeypatch.setattr(scene_inbox, "_is_scene", look_before_it_comes)
    assert scene_inbox.run(database, config, site, now + MINUTE) == "b: waiting: scene.toml has not arrived"
    assert "1 footprints" in scene_inbox.run(database, config, site, now + MINUTE + timedelta(seconds=10))


def test_a_point_cloud_is_listed_with_the_command_for_it(database, config):
    site = add_site(database)
    cloud = Path(config.paths.inbox) / site.id / "flight.laz"
    cloud.parent.mkdir(parents=True, exist_ok=True)
    cloud.write_bytes(b"LASF cut")
    os.utime(cloud, (1, 1))
    said = scene_inbox.run(database, config, site, may(12))
    assert said.startswith("flight.laz: failed: a point cloud: `slopeward scenes clouds grid`")


@pytest.mark.soak
def test_adding_a_scene_again_replaces_what_lay_there_by_its_name(database, config, drawn, tmp_path, capsys):
    add_site(database)
    (tmp_path / "sites").mkdir()
    (tmp_path / "sites" / "bench.toml").write_text(of_drawings(SITE))
    one, other = tmp_path / "first" / "b", tmp_path / "second" / "b"
    for source, target in (("b", one), ("a", other)):
        shutil.copytree(drawn / source, target)
    text = (other / "scene.toml").read_text().split("[files]")[0].replace("2026-05-07", "2026-05-12")
    (other / "scene.toml").write_text(f"complete = true\n{text}")
    assert run_command(["scenes", "add", "bench", str(one)]) == 0
    assert "1 footprints" in capsys.readouterr().out
    assert run_command(["scenes", "add", "bench", str(other)]) == 0
    assert "0 footprints" in capsys.readouterr().out
    assert polygons(database) == [], "the first version is withdrawn"
    inbox = Path(config.paths.inbox) / "bench"
    assert sorted(p.name for p in inbox.iterdir()) == ["b"]
    assert run_command(["scenes", "add", "bench", str(inbox / "b")]) == 0, "it is read where it lies"


@pytest.mark.soak
def test_without_a_service_the_files_of_a_scene_wait_and_are_made_when_asked_for(
    database, config, drawn, tmp_path, capsys
):
    add_site(database)
    (tmp_path / "sites").mkdir()
    (tmp_path / "sites" / "bench.toml").write_text(of_drawings(SITE))
    add = ["scenes", "add", "bench", str(drawn / "b")]
    assert run_command(add) == 0
    said = capsys.readouterr()
    assert "1 footprints" in said.out
    (row,) = ask(database, load_scenes, "bench")
    assert not (Path(row.out_dir) / "run.json").exists()
    assert run_command([*add, "--files"]) == 0
    folders = [Path(row.out_dir) for row in ask(database, load_scenes, "bench")]
    assert all((folder / "run.json").is_file() and (folder / "preview.png").is_file() for folder in folders)

    shutil.copytree(drawn / "a", tmp_path / "half")
    (tmp_path / "half" / "B4.tif").unlink()
    assert run_command(["scenes", "add", "bench", str(tmp_path / "half")]) == 0
    said = capsys.readouterr()
    assert "waiting: half/B4.tif: has not arrived" in said.out


@pytest.fixture
def raster(drawn, tmp_path):
    """The bytes of one lone raster of three bands, and a name that says when it was taken."""
    bands = []
    for name in ("B4", "B3", "B2"):
        with rasterio.open(drawn / "b" / f"{name}.tif") as source:
            bands.append(source.read(1))
            place = {"crs": source.crs, "transform": source.transform, "nodata": source.nodata}
    write_raster(tmp_path / "whole.tif", np.stack(bands), COLOURS, **place)
    return (tmp_path / "whole.tif").read_bytes()


@pytest.mark.soak
@pytest.mark.parametrize("ahead_h", [-1, 1])
def test_a_raster_is_read_soon_after_its_last_byte_and_never_before(
    database, config, raster, monkeypatch, calls, ahead_h
):
    site, inbox = add_site(database), Path(config.paths.inbox) / "bench"
    inbox.mkdir(parents=True)
    now = datetime.now(UTC) + ahead_h * HOUR

    class Copying:
        """Time that passes only while the inbox sleeps; somebody copies one piece of the raster in each sleep."""

        now_s, left = 1000.0, []

        def monotonic(self):
            return self.now_s

        def sleep(self, seconds):
            self.now_s += seconds
            self.write()

        def copy(self, name, pieces):
            self.path = inbox / name
            self.left = [raster[len(raster) * k // pieces : len(raster) * (k + 1) // pieces] for k in range(pieces)]
            self.write()

        def write(self):
            if self.left:
                with self.path.open("ab") as file:
                    file.write(self.left.pop(0))

    copying = Copying()
    monkeypatch.setattr(scene_inbox, "time", copying)

    def run_until(word):
        """Run when the inbox says; a run itself waits for a second at most, so that it holds no thread of others."""
        began_s = copying.now_s
        while word not in (said := scene_inbox.run(database, config, site, now)):
            assert copying.now_s - began_s <= scene_inbox.SCAN_S + 0.5
            due_s = scene_inbox.next_scan(config, site)
            assert due_s is not None, said
            while copying.now_s < due_s:
                copying.sleep(0.25)
            began_s = copying.now_s
        return said

    # it grows for long: it is said to wait, and it is taken when it has stayed
    copying.copy("20260512T100000.tif", pieces=200)
    assert (run_until("waiting"), calls) == ("20260512T100000.tif: waiting: is still being written", [])
    assert copying.left, "the look ended before the copy did"
    while copying.left:
        copying.write()
    assert run_until("footprints").startswith("20260512T100000.tif: ")
    assert scene_inbox.next_scan(config, site) is None
    # it is finished before anybody says a word
    copying.copy("20260513T100000.tif", pieces=8)
    assert "20260513T100000.tif: " in (said := run_until("tif"))
    assert "waiting" not in said
    assert not copying.left
    assert (len(calls), scene_inbox.run(database, config, site, now)) == (2, "nothing is due")


def test_a_raster_that_stayed_and_is_replaced_is_watched_anew(database, config, raster, monkeypatch):
    """It waits for weights meanwhile; what is written over it is said to be written after long alone."""
    lacking = Path(config.paths.inbox).parent / "own.safetensors"
    site = add_site(database, SITE + f'[scenes]\nweights = "{lacking}"\n')
    entry = Path(config.paths.inbox) / "bench" / "20260512T100000.tif"
    now_s, at, said = [1000.0], datetime.now(UTC), []
    clock = SimpleNamespace(monotonic=lambda: now_s[0], sleep=lambda seconds: pass_by(seconds))
    monkeypatch.setattr(scene_inbox, "time", clock)

    def pass_by(seconds):
        now_s[0] += seconds

    def look(seconds):
        pass_by(seconds)
        said.append(scene_inbox.run(database, config, site, at + timedelta(seconds=now_s[0] - 1000.0)))
        return said[-1]

    entry.parent.mkdir(parents=True)
    entry.write_bytes(raster)
    assert look(0.0) == "nothing is due"
    assert "no weights at" in look(10.0)
    assert "no weights at" in look(60.0)
    entry.write_bytes(raster[:100])
    assert look(10.0) == "nothing is due"
    for size in range(200, 500, 100):  # it grows between all looks, and these are far apart
        entry.write_bytes(raster[:size])
        look(10.0)
    assert said[-2:] == ["nothing is due", "20260512T100000.tif: waiting: is still being written"]


@pytest.mark.soak
def test_relative_weights_of_a_site_file_are_an_error_where_the_folder_of_the_core_is_known(
    config, tmp_path, monkeypatch, capsys
):
    (tmp_path / "sites").mkdir()
    (tmp_path / "sites" / "bench.toml").write_text(f'{SITE}[scenes]\nweights = "run-1/mine.safetensors"\n')
    monkeypatch.chdir(tmp_path)
    for start, state, here in ((None, "warn", "; from here"), (tmp_path / "core", "bad ", "")):
        monkeypatch.setattr(checks, "find_start", lambda _, start=start: start)
        run_command(["doctor"])
        out, place = capsys.readouterr().out, start or tmp_path
        assert f"{state} scenes: bench: the weights of its site file cannot be read (run-1/mine.safetensors" in out
        assert f"the folder where the service was started){here}: no weights at {place}/run-1/mine.safetensors" in out


@pytest.mark.parametrize(
    ("declared", "label", "line"),
    [
        ("", "ok   ", "scene-2: a footprint counts for 30d from when its image was taken\n"),
        ('valid_for = "1d"\n', "warn ", "1d from when its image was taken; images arrive up to two days later"),
    ],
)
def test_check_says_from_when_a_footprint_counts(config, tmp_path, monkeypatch, capsys, declared, label, line):
    (tmp_path / "sites").mkdir()
    criterion = f'[[criterion]]\nkind = "scene"\nlevel = "yellow"\n{declared}'
    (tmp_path / "sites" / "bench.toml").write_text(f"{SITE}[scenes]\n{criterion}")
    monkeypatch.chdir(tmp_path)
    run_command(["check"])
    out, err = capsys.readouterr()
    assert f"{label} bench: " in out + err
    assert line in out + err


@pytest.mark.soak
def test_own_weights_that_cannot_be_read_are_told_until_they_can(database, config, drawn, tmp_path, capsys):
    own, at = tmp_path / "run-1" / "mine.safetensors", may(12) + HOUR
    site = add_site(database, f'{SITE}[scenes]\nweights = "auto"\n')
    folder = tmp_path / "sites"
    folder.mkdir()
    (folder / "bench.toml").write_text(site.source)
    with database.write() as c:
        add_model(c, "a" * 64, kind="mine", task="scene", site="bench", path=str(own), card={}, now=at, reason="learnt")
        change_state(c, find_model(c, "aaa"), "active", "chosen by a person", Actor("ada"), at)
    arrive(config, drawn / "b", "b")
    scene_inbox.run(database, config, site, at)
    scene_inbox.run(database, config, site, at + MINUTE)
    said = "your own weights run-1/mine.safetensors cannot be read: "
    told = f"{said}others are tried instead; see slopeward doctor"
    assert [one for one in alerts(database) if one[0].startswith("weights:")] == [
        ("weights:aaaaaaaaaaaa", "unacknowledged", told)
    ]
    (row,) = ask(database, load_scenes, "bench")
    assert row.run["warnings"][0].startswith(said)
    assert run_command(["doctor"]) == 1
    assert f"bad  scenes: bench: your own weights {own} cannot be read: others" in capsys.readouterr().out
    own.parent.mkdir()
    for end in (".safetensors", ".json"):
        shutil.copy(weights_path("bijie").with_suffix(end), own.with_suffix(end))
    scene_inbox.run(database, config, site, at + 2 * MINUTE)
    assert [one[1] for one in alerts(database) if one[0].startswith("weights:")] == ["returned_unacknowledged"]
    card = json.loads(own.with_suffix(".json").read_text())
    card["network"]["width"] *= 2  # sound to look at: that it does not fit is only known where it is run
    own.with_suffix(".json").write_text(json.dumps(card))
    arrive(config, drawn / "a", "a")
    scene_inbox.run(database, config, site, at + 3 * MINUTE)
    scene_inbox.run(database, config, site, at + 4 * MINUTE)
    assert [one[1] for one in alerts(database) if one[0].startswith("weights:")] == ["unacknowledged"]
    assert (run_command(["doctor"]), "does not fit the network of the card" in capsys.readouterr().out) == (1, True)
    own.write_bytes(b"torn")
    ((_, fault),) = ask(database, find_broken_weights, site)
    assert fault == f"{own}: the weights are not those of the card (sha256 differs)"
    for card, said in (("[3]", "not a card of format 1"), ('{"gate": 3}', "not a card"), ("[" * 10**5, "not JSON")):
        own.with_suffix(".json").write_text(card)
        assert said in (find_fault(str(own)) or "")
    whole = json.loads(weights_path("bijie").with_suffix(".json").read_text())
    network, domain, others = whole["network"], whole["domain"], whole["other_pixels"]
    for odd, said in (
        ({"gate": None}, "gate must be an object"),
        ({"gate": {"passed": False, "reasons": 3}}, "gate.reasons must be a list"),
        ({"gate": {}}, "gate.passed must be true or false"),
        ({"name": ""}, "name must be a text"),
        ({"network": network | {"options": None}}, "network.options must be an object"),
        ({"network": network | {"width": 10**400}}, "network.width must be a number above 0, at most 16"),
        ({"bands": ["B4", "B3"]}, "domain.bands must be a list of bands of the card"),
        ({"bands": [["B4"], "B3"]}, "bands must be a list of different names"),
        ({"radiometry": {}}, "radiometry.stretch must be a text"),
        ({"radiometry": {"stretch": "reflectance"}}, "radiometry must be an object, with a scale where"),
        ({"normalisation": None}, "normalisation must be an object"),
        ({"threshold": None}, "threshold must be a number from 0 to 1"),
        ({"threshold": float("nan")}, "threshold must be a number from 0 to 1"),
        ({"pixel_size_m": True}, "pixel_size_m must be a number above 0"),
        ({"other_pixels": others | {"finest_m": 3.0}}, "other_pixels.coarse_at_m must be a number from finest_m to"),
        ({"tile_px": None}, "tile_px must be a number of pixels"),
        ({"domain": {}}, "domain.bands must be a list of bands of the card"),
        ({"domain": domain | {"median": [[0, 1]]}}, "domain.median must be a lowest and a highest value for each of"),
        ({"domain": domain | {"season": [13]}}, "domain.season must be a list of months or null"),
    ):
        own.with_suffix(".json").write_text(json.dumps(whole | odd))
        assert (find_fault(str(own)) or "").startswith(f"{own.with_suffix('.json')}: {said}")
    del whole["pixel_size_m"]
    own.with_suffix(".json").write_text(json.dumps(whole))
    assert (find_fault(str(own)) or "").endswith(": pixel_size_m must be a number above 0")
    assert (find_fault(f"{'n' * 300}.safetensors") or "").endswith("cannot be read (File name too long)")


@pytest.mark.soak
def test_a_network_that_cannot_be_run_is_known_until_a_scene_asks_it_again_however_many_came_since(database):
    site, at = add_site(database, f'{SITE}[scenes]\nweights = "auto"\n'), may(12)
    own = read_weights("bijie").model_hash
    with database.write() as c:
        path = str(weights_path("bijie"))
        add_model(c, "a" * 64, kind="mine", task="scene", site="bench", path=path, card={}, now=at, reason="learnt")
        change_state(c, find_model(c, "aaa"), "active", "chosen by a person", Actor("ada"), at)
    found = []
    others = [{}, {"b" * 64: None}, None, *[{"b" * 64: "torn"}] * 120]
    for hour, asked in enumerate(({own: "misfit"}, *others, {own: None})):
        with database.write() as c:
            run = {"model_hash": own, "copies": {}} | ({} if asked is None else {"broken": asked})
            row = SceneRow(f"{hour:064}", "bench", str(hour), at, "single", "", at + hour * HOUR, "done", None, run=run)
            save_scene(c, row, [], at + hour * HOUR)
        found.append([why for _, why in ask(database, find_broken_weights, site)])
    assert found == [["misfit"]] * (1 + len(others)) + [[]]
