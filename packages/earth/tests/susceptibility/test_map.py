"""The susceptibility map of a site on the maps of the page."""

import json
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from monitor.cli.main import run_command
from monitor.settings.service import load_service
from monitor.sites.parsing import parse_site
from monitor.sites.queries.sites import save_site
from tests.data.filled import NOW, load_story_sites
from tests.web.served import serving

SITE = "/api/v1/sites/north-bench"


@pytest.mark.soak
def test_the_verb_draws_the_map_that_the_site_file_names_and_the_page_sends_it(tmp_path, monkeypatch, capsys):
    from detection.imagery.raster.grid import grid_around
    from detection.imagery.raster.raster import write_geotiff

    values = np.linspace(0, 1, 64 * 64, dtype=np.float32).reshape(1, 64, 64)
    write_geotiff(tmp_path / "prior.tif", values, grid_around(8.9, 46.2, 64, 20.0))
    (tmp_path / "sites").mkdir()
    own = (Path(__file__).parents[4] / "configs/sites/north-bench.toml").read_text(encoding="utf-8")
    file = tmp_path / "sites/north-bench.toml"
    file.write_text(own, encoding="utf-8")
    (tmp_path / "s.toml").write_text('[paths]\nsites = "sites"\n', encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    asked = ["sites", "map", "susceptibility", "north-bench", "--config", "s.toml", "--json"]
    assert (run_command(asked), '[scenes] prior = "susceptibility.tif"' in capsys.readouterr().err) == (1, True)
    file.write_text(f'{own}\n[scenes]\nprior = "prior.tif"\n', encoding="utf-8")
    assert run_command(asked) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["file"] == str(tmp_path / "scenes/north-bench/.susceptibility.png")
    assert facts["bounds"][0] < 8.9 < facts["bounds"][2]
    (tmp_path / "prior.tif").write_bytes(b"no raster")
    assert (run_command(asked), "not a raster" in capsys.readouterr().err) == (1, True)
    assert Path(facts["file"]).is_file()


def test_the_page_has_the_picture_of_the_susceptibility_map_with_its_key(filled_database, tmp_path):
    config = load_service(None, {"SLOPEWARD_PATHS__INBOX": str(tmp_path / "inbox")})
    with serving(filled_database, NOW + timedelta(minutes=5), config) as client:
        assert client.get(f"{SITE}/map").json()["susceptibility"] is None
        assert client.get(f"{SITE}/susceptibility.png").status_code == 404
        folder = tmp_path / "scenes/north-bench"
        folder.mkdir(parents=True)
        (folder / ".susceptibility.png").write_bytes(b"\x89PNG")
        (folder / ".susceptibility.json").write_text("[1]")
        assert client.get(f"{SITE}/map").json()["susceptibility"] is None
        prior = tmp_path / "p.tif"
        told = {"path": str(prior), "sha256": "ab" * 32, "bounds": [8, 46, 9, 47], "classes": [], "secret": 1}
        told |= {"made_on": "2026-01-02"}
        (folder / ".susceptibility.json").write_text(json.dumps(told))
        assert client.get(f"{SITE}/map").json()["susceptibility"] is None  # the site file names no map
        sites = {site.id: site for site in load_story_sites()}
        named = f'{sites["north-bench"].source}\n[scenes]\nprior = "{prior}"\n'
        for text, reason in ((named.replace("p.tif", "q.tif"), "another map"), (named, "a map")):
            with filled_database.write() as c:
                save_site(c, parse_site(text, "north-bench.toml"), "Ada", reason, NOW)
            if text != named:
                assert client.get(f"{SITE}/map").json()["susceptibility"] is None  # the picture is of another map
        found = client.get(f"{SITE}/map").json()["susceptibility"]
        assert (found["url"], found["made_on"]) == (f"{SITE}/susceptibility.png?of=abababababab", "2026-01-02")
        assert "secret" not in found
        assert client.get(found["url"]).content == b"\x89PNG"
        assert client.get("/api/v1/sites/nowhere/susceptibility.png").status_code == 404
