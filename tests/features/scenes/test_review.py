"""People judge what the network was not sure of; weights that did not pass their gate find nothing."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from shapely.geometry import box, mapping, shape

from detection.imagery.data.generate import write_scene
from detection.imagery.errors import ModelError
from detection.imagery.neural.model_file import load_model, save_model
from monitor.cli.main import run_command
from monitor.cli.site.sites import write_first_site
from monitor.errors import NotFoundError, RefusedError
from monitor.features.scenes.queries.arrivals import save_scene
from monitor.features.scenes.queries.outlines import add_review
from monitor.features.scenes.queries.reviews import load_reviewed
from monitor.storage.actor import Actor
from monitor.storage.engine import Database
from monitor.storage.migrate import upgrade
from tests.data.asked_detection import detect
from tests.data.feature_rows import footprint_row, scene_row
from tests.data.store_rows import tell
from tests.fixtures.databases import ON_SQLITE

NOW = datetime(2026, 5, 2, 9, tzinfo=UTC)
WHO = Actor("R. Mori", "person")


pytestmark = pytest.mark.usefixtures("one_torch_thread")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Return a copy of the weights `generated` with a high temperature, so that no outline is certain."""
    path = tmp_path_factory.mktemp("weights") / "hesitant.safetensors"
    model = load_model("generated")
    save_model(path, model.network, {**model.card, "temperature": 6.0, "threshold": 0.4})
    return path


@pytest.fixture(scope="module")
def found(weights, tmp_path_factory):
    """Return a drawn scene and what the weights find on it."""
    folder = tmp_path_factory.mktemp("scenes") / "s41"
    write_scene(folder, seed=41, size_px=256, acquired_at=datetime(2026, 5, 1, tzinfo=UTC))
    return folder, detect({"scene_path": str(folder), "weights": str(weights), "minimum_area_m2": 300.0})


def keep(c, site, found):
    folder, answer = found
    facts = {"site": site, "name": folder.name, "path": str(folder), "received_at": NOW, "valid_share": 1.0}
    facts |= {key: answer[key] for key in ("crs", "pixel_area_m2")} | {"run": {"threshold": answer["threshold"]}}
    row = scene_row(answer["scene_hash"], datetime.fromisoformat(answer["acquired_at"]), **facts)
    by = {key: answer[key] for key in ("model_hash", "model")}
    footprints = []
    for one in answer["polygons"]:
        facts = by | {key: one[key] for key in ("area_m2", "mean_probability", "geometry")}
        footprints.append(footprint_row(answer["scene_hash"], one["polygon_id"], one["bbox"], **facts))
    save_scene(c, row, footprints, NOW)


@pytest.mark.soak
def test_a_candidate_that_failed_finds_no_footprints(weights, found, tmp_path):
    model = load_model(str(weights))
    card = {**model.card, "gate": {"passed": False, "reasons": ["held part of train: may be worse by 0.02"]}}
    save_model(tmp_path / "failed.safetensors", model.network, card)
    with pytest.raises(ModelError, match="did not pass its gate: held part of train: may be worse"):
        detect({"scene_path": str(found[0]), "weights": str(tmp_path / "failed.safetensors")})
    assert load_model(str(tmp_path / "failed.safetensors"), ungated=True).card["gate"]["passed"] is False


@ON_SQLITE
def test_a_word_needs_a_person_a_verdict_and_one_footprint(database, found):
    ring = mapping(box(8.9, 46.2, 8.901, 46.201))
    with database.write() as c:
        keep(c, "bench", found)
        first = load_reviewed(c, "bench")[0].polygon_id
        point = {"type": "Point", "coordinates": [8.9, 46.2]}
        for verdict, who, geometry, words in (
            ("accept", replace(WHO, kind="service"), None, "by a person with a name"),
            ("maybe", WHO, None, "none of accept, reject, redraw"),
            ("redraw", WHO, None, "comes with an outline"),
            ("accept", WHO, ring, "comes with an outline"),
            ("redraw", WHO, point, "not a GeoJSON Polygon"),
        ):
            with pytest.raises(RefusedError, match=words):
                add_review(c, "bench", first, verdict, who, NOW, geometry=geometry)
        with pytest.raises(NotFoundError, match="0 footprints"):
            add_review(c, "bench", "nothing", "accept", WHO, NOW)
        with pytest.raises(NotFoundError, match="0 footprints of elsewhere"):
            add_review(c, "elsewhere", first, "accept", WHO, NOW)
        assert add_review(c, "bench", first, "accept", WHO, NOW).verdict == "accept"
        later = add_review(c, "bench", first, "redraw", WHO, NOW, geometry=ring, note="too small")
        assert (later.verdict, later.note) == ("redraw", "too small")
        assert shape(later.redrawn).equals(shape(ring))
        assert len([one for one in load_reviewed(c, "bench") if one.verdict]) == 1


def test_the_command_lists_what_waits_and_keeps_what_is_said(tmp_path, found, capsys, monkeypatch):
    (tmp_path / "sites").mkdir()
    (tmp_path / "sites" / "bench.toml").write_text(write_first_site("bench"))
    url = f"sqlite:///{tmp_path / 'slopeward.db'}"
    config = tmp_path / "slopeward.toml"
    config.write_text(f'[database]\nurl = "{url}"\n[paths]\nsites = "{tmp_path / "sites"}"\n')
    with Database(url) as db:
        upgrade(db, NOW)
        tell(db, keep, "bench", found)
    common = ["--config", str(config)]
    assert run_command(["scenes", "review", "list", *common, "--json", "--all"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(rows) == len(found[1]["polygons"])
    sure = [row["mean_probability"] for row in rows]
    assert sure == sorted(sure), "the least sure first"
    unsure = [row for row in rows if row["unsure"]]
    assert unsure
    assert all(row["mean_probability"] < (row["threshold"] + 1) / 2 for row in unsure)
    first, second = (row["polygon_id"] for row in (*unsure, *reversed(rows))[:2])
    words = ["scenes", "review", "reject", "bench", first[:14], *common, "--by", "R. Mori", "--note", "a road"]
    assert run_command(words) == 0
    outline = Path(tmp_path / "mine.geojson")
    outline.write_text(json.dumps({"type": "Feature", "properties": {}, "geometry": mapping(box(8.9, 46, 8.91, 46.1))}))
    words = ["scenes", "review", "redraw", "bench", second, *common, "--by", "R. Mori"]
    words += ["--outline", str(outline), "--json"]
    assert (run_command(words), json.loads(capsys.readouterr().out.splitlines()[-1])["verdict"]) == (0, "redraw")
    assert run_command(["scenes", "review", "list", "--site", "bench", *common, "--json"]) in {0, 4}
    assert first not in [json.loads(line)["polygon_id"] for line in capsys.readouterr().out.splitlines()]
    outline.write_text("no json")
    assert (run_command(words), "not GeoJSON" in capsys.readouterr().err) == (1, True)
