"""Zones, map tiles and shaded relief."""

import itertools
import json
from pathlib import Path

import pytest

from detection.imagery.tiles.archive import ArchiveFacts, write_archive
from monitor.cli.main import run_command
from monitor.features.maps.routes import draw_zones, list_files
from monitor.settings.service import load_service
from monitor.sites.parsing import parse_site
from tests.data.filled import NOW, load_story_sites
from tests.web.served import serving

SITE = "/api/v1/sites/north-bench"


def test_zones_are_exposed_objects_areas_and_circles_of_radar_points():
    text = (Path(__file__).parents[3] / "configs" / "sites" / "north-bench.toml").read_text(encoding="utf-8")
    for name in ("G1", "G2", "E1"):
        text = text.replace(f'id = "{name}"', f'id = "{name}"\narea = "head"', 1)
    text += '\n[[criterion]]\nkind = "insar_rate"\nstations = ["G1"]\nwindow = "60d"\nyellow = {over = 1.0}\n'
    text += 'author = "a"\nreason = "b"\n'
    for name, others in (("Road", "[46.21, 8.9], [46.2, 8.92]"), ("Houses", "[46.2, 8.92], [46.21, 8.9]")):
        text += f'[[exposed]]\nname = "{name}"\ncorners = [[46.2, 8.9], {others}]\n'
    found = {f["id"]: f for f in draw_zones(parse_site(text, "x.toml"))}
    assert set(found) == {"area/head", "radar/G1", "exposed/Road", "exposed/Houses"}
    assert found["radar/G1"]["properties"]["radius_m"] == 150.0
    for zone in found.values():
        ring = zone["geometry"]["coordinates"][0]
        assert ring[0] == ring[-1]
        twice = sum((a[0] - b[0]) * (a[1] + b[1]) for a, b in itertools.pairwise(ring))
        assert twice > 0  # counter-clockwise
    assert draw_zones(load_story_sites()[1]) == []
    corners = ", ".join(f"[{lat}, {lon}]" for lat, lon in ((46.195, 8.892), (46.195, 8.908), (46.205, 8.9)))
    flank = parse_site(text.replace('id = "E1"', f'id = "E1"\noutline = [{corners}]', 1), "x.toml")
    (drawn,) = [one for one in draw_zones(flank) if one["properties"]["name"] == "E1"]
    assert len(drawn["geometry"]["coordinates"][0]) == 4


@pytest.fixture
def tiles(tmp_path):
    folder = tmp_path / "tiles"
    folder.mkdir()
    about = ArchiveFacts("png", (8.0, 46.0, 9.0, 47.0), metadata={})
    write_archive(folder / "land.pmtiles", [(0, bytes(range(256)) * 40)], about)
    (folder / "huge.pmtiles").touch()
    with (folder / "huge.pmtiles").open("r+b") as file:
        file.truncate(1 << 40)
    (tmp_path / "secret.pmtiles").write_bytes(b"secret" * 99)
    (folder / "link.pmtiles").symlink_to(tmp_path / "secret.pmtiles")
    (folder / "room.pmtiles").mkdir()
    (folder / "notes.txt").write_text("x")
    (folder / ".hidden.pmtiles").write_text("x")
    return folder


def test_tiles_are_served_in_ranges_and_no_other_file_is_served(filled_database, tiles, tmp_path):
    environment = {"SLOPEWARD_MAP__TILES": str(tiles), "SLOPEWARD_PATHS__INBOX": str(tmp_path / "inbox")}
    (tmp_path / "scenes" / "north-bench").mkdir(parents=True)
    (tmp_path / "scenes" / "north-bench" / ".relief.pmtiles").write_bytes(b"PMTiles")
    with serving(filled_database, NOW, load_service(None, environment)) as client:
        assert [one["name"] for one in client.get("/api/v1/map/tiles").json()] == ["huge.pmtiles", "land.pmtiles"]
        whole = (tiles / "land.pmtiles").read_bytes()
        address = "/api/v1/map/tiles/land.pmtiles"
        for asked, first, last in (("0-99", 0, 99), ("5-", 5, len(whole) - 1), (f"9-{10**14}", 9, len(whole) - 1)):
            found = client.get(address, headers={"Range": f"bytes={asked}"})
            assert (found.status_code, found.content) == (206, whole[first : last + 1]), asked
            assert found.headers["content-range"] == f"bytes {first}-{last}/{len(whole)}"
            assert found.headers["content-encoding"] == "identity"  # a compressed answer would be another range
        for bad, status in (("bytes=a-b", 400), ("lines=0-1", 400), (f"bytes={10**9}-", 416)):
            assert client.get(address, headers={"Range": bad}).status_code == status
        hostile = ("../secret", "..%2fsecret", "%2e%2e/secret", "link", "room", ".hidden", "gone", "a" * 300)
        for name in ("notes.txt", "land.pmtiles%00", *(f"{name}.pmtiles" for name in hostile)):
            found = client.get(f"/api/v1/map/tiles/{name}", headers={"Range": "bytes=0-9"})
            assert found.status_code in {400, 404}, name
            assert b"secret" not in found.content
        library = client.get("/vendor/maplibre-gl.mjs", headers={"Accept-Encoding": "gzip"})
        assert library.headers["cache-control"] == "private, max-age=31536000, immutable"
        assert int(library.headers.get("content-length", 0)) < 300_000
        assert client.get(f"{SITE}/map").json()["relief"] == f"{SITE}/relief.pmtiles"
        assert client.get(f"{SITE}/relief.pmtiles", headers={"Range": "bytes=0-6"}).content == b"PMTiles"
        for site in ("lake-slope", "nowhere", "..%2fscenes%2fnorth-bench"):
            assert client.get(f"/api/v1/sites/{site}/relief.pmtiles", headers={"Range": "bytes=0-6"}).status_code == 404
    assert list_files("") == list_files(tmp_path / "absent") == []


def test_commands_draw_relief_and_copy_tiles(tmp_path, monkeypatch, capsys):
    from detection.imagery.data.generate import write_scene

    write_scene(tmp_path / "scene", 7, center_lon=8.9, center_lat=46.2, size_px=64)
    sites = Path(__file__).parents[3] / "configs" / "sites"
    (tmp_path / "s.toml").write_text(f'[paths]\nsites = "{sites}"\n', encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    config = ["--config", "s.toml", "--json"]
    assert run_command(["sites", "map", "relief", "north-bench", "scene/dem.tif", *config]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["file"], facts["kind"]) == (str(tmp_path / "scenes" / "north-bench" / ".relief.pmtiles"), "png")
    assert run_command(["sites", "map", "tiles", facts["file"], *config]) == 1
    assert "[map] tiles is not set" in capsys.readouterr().err
    with (tmp_path / "s.toml").open("a") as file:
        file.write('[map]\ntiles = "tiles"\n')
    (tmp_path / "a b!.bin").write_bytes(Path(facts["file"]).read_bytes())
    assert run_command(["sites", "map", "tiles", "a b!.bin", *config]) == 0
    assert Path(json.loads(capsys.readouterr().out)["file"]).name == "a-b.pmtiles"
    assert run_command(["sites", "map", "tiles", "tiles/a-b.pmtiles", *config]) == 1
    capsys.readouterr()
    assert run_command(["sites", "map", "tiles", "s.toml", *config]) == 1
    assert "no PMTiles" in capsys.readouterr().err
    assert run_command(["sites", "map", "relief", "nowhere", "scene/dem.tif", *config]) == 1
    assert run_command(["sites", "map", "relief", "north-bench", "s.toml", *config]) == 1
