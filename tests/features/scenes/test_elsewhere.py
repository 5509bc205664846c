"""Scenes that do not show the ground of their site."""

import json
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from sqlalchemy import select

from detection.imagery.raster.distance import list_border, measure_distance_m
from detection.imagery.raster.grid import LONLAT, Grid, grid_around
from detection.imagery.scene.scene import read_scene
from monitor.alerts.tables import alert
from monitor.cli.main import run_command
from monitor.features.scenes import inbox as scene_inbox
from monitor.features.scenes.elsewhere import MARGIN_M, find_area, find_elsewhere
from monitor.features.scenes.queries.arrivals import load_scenes
from monitor.sites.parsing import parse_site
from tests.data.drawn_scenes import SITE, add_site, arrive, draw, may, of_drawings, polygons
from tests.data.store_rows import ask
from tests.data.surveys.rasters import COLOURS, write_raster

HOUR = timedelta(hours=1)
STATION = "latitude = 42.7285\nlongitude = 141.9525\n"
PLACE = "latitude = 42.73\nlongitude = 141.95\n"
OTHER = SITE.replace(PLACE, "latitude = 45.0\nlongitude = 141.95\n").replace(STATION, "")


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """A folder with a drawn scene around 42.73, 141.95, 960 m wide."""
    folder = tmp_path_factory.mktemp("drawn") / "after"
    draw(folder, may(12), 1.0)
    return folder


@pytest.fixture(autouse=True)
def configured(config, tmp_path, monkeypatch):
    monkeypatch.setenv("SLOPEWARD_CONFIG", str(tmp_path / "slopeward.toml"))
    (tmp_path / "sites").mkdir()


def list_alerts(database):
    a = alert.c
    return ask(database, lambda c: [tuple(r) for r in c.execute(select(a.key, a.state).where(a.closed_at.is_(None)))])


def write_site_files(tmp_path: Path, **sources: str) -> None:
    for name, source in sources.items():
        (tmp_path / "sites" / f"{name}.toml").write_text(of_drawings(source.replace('"bench"', f'"{name}"', 1)))


def test_scene_elsewhere_waits_and_names_the_site_of_its_ground(database, config, scene, tmp_path):
    site = add_site(database, OTHER)
    write_site_files(tmp_path, bench=OTHER, north=SITE, south=OTHER)
    entry = arrive(config, scene, "after")
    line = scene_inbox.run(database, config, site, may(12) + HOUR)
    assert line.startswith(
        "after: waiting: it lies 252 km from site bench, so it was not read. Its ground is that of north: move it"
    )
    assert list_alerts(database) == [("scene:after", "unacknowledged")]
    assert polygons(database) == []
    assert not (Path(config.paths.inbox).parent / "scenes" / "bench" / "after").exists()
    # It is not notified again, and ends when the scene is taken out.
    scene_inbox.run(database, config, site, may(12) + 2 * HOUR)
    assert len(list_alerts(database)) == 1
    entry.rename(tmp_path / "after")
    scene_inbox.run(database, config, site, may(12) + 3 * HOUR)
    assert list_alerts(database) == [("scene:after", "returned_unacknowledged")]
    assert ask(database, load_scenes, "bench") == []


@pytest.mark.soak
def test_scene_is_read_after_the_coordinates_of_the_site_were_corrected(database, config, scene):
    wrong = add_site(database, OTHER)
    arrive(config, scene, "after")
    line = scene_inbox.run(database, config, wrong, may(12) + HOUR)
    assert "correct the coordinates in the site file" in line
    site = add_site(database)
    assert "1 footprints" in scene_inbox.run(database, config, site, may(12) + 2 * HOUR)
    assert list_alerts(database) == [("scene:after", "returned_unacknowledged")]


@pytest.mark.soak
def test_add_refuses_a_scene_elsewhere_until_a_person_confirms_it(database, config, scene, tmp_path, capsys):
    add_site(database, OTHER)
    write_site_files(tmp_path, bench=OTHER, north=SITE)
    words = ["scenes", "add", "bench", str(scene)]
    assert run_command(words) == 1
    assert "after: it lies 252 km from site bench, so it was not added. Its ground is that of north" in (
        capsys.readouterr().err
    )
    assert not (Path(config.paths.inbox) / "bench" / "after").exists()
    assert run_command([*words, "--anyway"]) == 0
    assert "1 footprints" in capsys.readouterr().out
    (row,) = ask(database, load_scenes, "bench")
    assert any("a person confirmed that it is meant" in str(warning) for warning in row.run["warnings"])


def test_detect_refuses_a_scene_outside_of_the_site_file(scene, tmp_path, capsys):
    write_site_files(tmp_path, near=SITE, far=OTHER)
    words = ["scenes", "detect", str(scene), "--model", "generated", "--json", "--site-file"]
    assert run_command([*words, str(tmp_path / "sites" / "near.toml")]) == 0
    assert json.loads(capsys.readouterr().out)["polygons"]
    far = str(tmp_path / "sites" / "far.toml")
    assert run_command([*words, far]) == 1
    refused = capsys.readouterr()
    assert (refused.out, "it lies 252 km from site far, so no landslides were looked for" in refused.err) == ("", True)
    assert run_command([*words, far, "--anyway"]) == 0
    assert json.loads(capsys.readouterr().out)["polygons"]


@pytest.mark.parametrize(
    ("place", "is_elsewhere"),
    [
        ((42.73, 141.95), False),
        # 96 pixels of 10 m: the border lies 480 m north of the centre.
        ((42.73 + (480 + MARGIN_M - 200) / 111_100, 141.95), False),
        ((42.73 + (480 + MARGIN_M + 200) / 111_100, 141.95), True),
        ((-42.73, -38.05), True),
    ],
)
def test_margin_is_measured_from_the_border_of_the_scene(scene, place, is_elsewhere):
    source = SITE.replace(PLACE, f"latitude = {place[0]}\nlongitude = {place[1]}\n").replace(STATION, "")
    elsewhere = find_elsewhere(read_scene(scene), find_area(parse_site(source, "bench.toml")))
    assert (elsewhere is not None) == is_elsewhere


def test_scene_that_shows_a_part_of_an_outline_is_read(scene):
    # The site lies 30 km west. Its outline reaches into the scene, no corner of it does.
    outline = "outline = [[42.6, 141.6], [42.9, 141.6], [42.9, 142.3], [42.6, 142.3]]\n"
    source = SITE.replace(PLACE, "latitude = 42.73\nlongitude = 141.6\n")
    outlined = parse_site(source.replace(STATION, outline), "bench.toml")
    alone = parse_site(source.replace(STATION, ""), "bench.toml")
    assert find_elsewhere(read_scene(scene), find_area(outlined)) is None
    assert find_elsewhere(read_scene(scene), find_area(alone)) is not None


def test_scene_without_a_place_is_left_to_the_reader(scene, tmp_path):
    place = Affine(10, 0, 5_000, 0, -10, 9_000)
    path = write_raster(tmp_path / "20260512T100000.tif", np.ones((3, 8, 8), np.uint16), COLOURS, transform=place)
    assert find_elsewhere(read_scene(path), find_area(parse_site(SITE, "bench.toml"))) is None


@pytest.mark.parametrize("is_geographic", [False, True])
def test_distance_holds_across_the_antimeridian(is_geographic):
    grid = grid_around(179.9999, -17.0, 96, 10.0, geographic=is_geographic)
    corners = list_border(grid)
    assert measure_distance_m(corners, [(-179.9999, -17.0)]) == 0.0
    assert measure_distance_m(corners, [(179.99, -17.0), (-179.99, -17.0)]) == 0.0
    assert measure_distance_m(corners, [(-179.9, -17.0)]) == pytest.approx(10_190, abs=50)


def test_map_of_the_world_shows_every_site():
    world = Grid(Affine(1, 0, -180, 0, -1, 90), LONLAT.to_wkt(), 360, 180)
    assert measure_distance_m(list_border(world), [(141.95, 42.73)]) == 0.0
