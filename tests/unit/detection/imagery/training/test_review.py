"""People judge what the network was not sure of; twenty words make a candidate, and a gate judges the candidate."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import shapely
from shapely.geometry import box, mapping, shape

from detection.imagery.data.generate import write_scene
from detection.imagery.data.patches import IGNORED
from detection.imagery.errors import ModelError, TrainingRecipeError
from detection.imagery.footprints.detect import detect
from detection.imagery.neural.checkpoint import load_model, save_model
from detection.imagery.training import retraining
from detection.imagery.training.evaluation import map_patches
from detection.imagery.training.recipe import run_recipe
from detection.imagery.training.recipe_file import read_recipe
from detection.imagery.training.retraining import RING_PX, compare_candidate, paint_verdict, retrain
from detection.imagery.training.scoring import score_maps
from monitor.domain.alert import Actor
from monitor.errors import NotFoundError, RefusedError
from monitor.store.scenes.arrivals import save_scene
from monitor.store.scenes.reviews import add_review, load_reviewed
from tests.conftest import ON_SQLITE
from tests.data.store_rows import footprint_row, scene_row
from tests.data.tiny_recipe import tiny

NOW = datetime(2026, 5, 2, 9, tzinfo=UTC)
WHO = Actor("R. Mori", "person")
RECIPE = tiny(40, 4, 4)


pytestmark = pytest.mark.usefixtures("one_torch_thread")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    (folder / "tiny.toml").write_text(RECIPE)
    run_recipe(read_recipe(folder / "tiny.toml"), folder / "tiny.safetensors")
    return folder / "tiny.safetensors"


@pytest.fixture(scope="module")
def found(weights, tmp_path_factory):
    """Three drawn scenes, what the tiny weights find on them, and the truth."""
    scenes = []
    for seed in (41, 42, 43):
        folder = tmp_path_factory.mktemp("scenes") / f"s{seed}"
        truth = write_scene(folder, seed=seed, size_px=160, acquired_at=datetime(2026, 5, 1, tzinfo=UTC))
        answer = detect({"scene_path": str(folder), "weights": str(weights), "minimum_area_m2": 300.0})
        scenes.append((folder, answer, shapely.union_all([shape(scar["geometry"]) for scar in truth["scars"]])))
    return scenes


def keep(c, site, found):
    for folder, answer, _ in found:
        facts = {"site": site, "name": folder.name, "path": str(folder), "received_at": NOW, "valid_share": 1.0}
        facts |= {key: answer[key] for key in ("crs", "pixel_area_m2")} | {"run": {"threshold": answer["threshold"]}}
        row = scene_row(answer["scene_hash"], datetime.fromisoformat(answer["acquired_at"]), **facts)
        footprints = [
            footprint_row(
                answer["scene_hash"],
                one["polygon_id"],
                one["bbox"],
                model_hash=answer["model_hash"],
                model=answer["model"],
                **{key: one[key] for key in ("area_m2", "mean_probability", "geometry")},
            )
            for one in answer["polygons"]
        ]
        save_scene(c, row, footprints, NOW)


def words_of(found):
    """What somebody who knows the truth says of each footprint: (polygon, verdict, outline)."""
    for _, answer, truth in found:
        for one in answer["polygons"]:
            outline = shape(one["geometry"])
            shared = outline.intersection(truth)
            if shared.area > 0.6 * outline.area:
                yield one["polygon_id"], "accept", None
            elif shared.area > 0.05 * outline.area:
                part = max(shapely.get_parts(truth), key=lambda scar: scar.intersection(outline).area)
                yield one["polygon_id"], "redraw", mapping(part)
            else:
                yield one["polygon_id"], "reject", None


def payload_of(path, geometry, verdict, redrawn):
    return {
        "scene_path": str(path),
        "acquired_at": None,
        "geometry": dict(geometry),
        "verdict": verdict,
        "redrawn": redrawn,
    }


@pytest.fixture(scope="module")
def reviews(found):
    said = {polygon: (verdict, outline) for polygon, verdict, outline in words_of(found)}
    every = [
        payload_of(folder, one["geometry"], *said[one["polygon_id"]])
        for folder, answer, _ in found
        for one in answer["polygons"]
    ]
    assert {one["verdict"] for one in every} >= {"accept", "reject"}
    return every[:24]


def test_what_people_said_is_kept_for_the_training(database, found, reviews):
    with database.write() as c:
        keep(c, "bench", found)
        waiting = load_reviewed(c, "bench")
        assert [one.mean_probability for one in waiting] == sorted(one.mean_probability for one in waiting)
        assert all(one.verdict is None for one in waiting)
        for polygon, verdict, outline in words_of(found):
            add_review(c, "bench", polygon, verdict, WHO, NOW, geometry=outline)
        judged = load_reviewed(c, "bench")
    kept = [payload_of(one.path, one.geometry, one.verdict, one.redrawn) for one in judged]
    assert {json.dumps(review, sort_keys=True) for review in reviews} <= {json.dumps(k, sort_keys=True) for k in kept}


def test_twenty_words_make_a_candidate_that_the_gate_judges(reviews, weights, tmp_path):
    assert len(reviews) >= 20
    payload = {"weights": str(weights), "out": str(tmp_path / "new.safetensors"), "reviews": reviews, "data": None}
    with pytest.raises(TrainingRecipeError, match="19 reviews; 20 are needed"):
        retrain({**payload, "reviews": reviews[:19]})
    answer = retrain(payload)
    assert answer["reviews"]["held_back"] == -(-len(reviews) // 4)
    assert answer["reviews"]["learnt_from"] == len(reviews) - answer["reviews"]["held_back"]
    card = load_model(answer["weights"], ungated=True).card
    assert card["gate"] == answer["gate"]
    assert len(card["gate"]["reasons"]) == 2
    assert card["from_model_hash"] == load_model(str(weights)).model_hash
    assert retrain({**payload, "out": str(tmp_path / "again.safetensors")})["gate"] == answer["gate"]
    assert (tmp_path / "again.safetensors").read_bytes() == (tmp_path / "new.safetensors").read_bytes()
    if not answer["gate"]["passed"]:
        with pytest.raises(ModelError, match="did not pass its gate"):
            load_model(answer["weights"])


def test_weights_that_learnt_from_all_tiles_are_judged_on_those_left_out(reviews, weights, tmp_path, monkeypatch):
    own = tmp_path / "own.safetensors"
    own.write_bytes(weights.read_bytes())
    card = json.loads(weights.with_suffix(".json").read_text())
    card["training"] |= {"split": "all", "threshold": 0.35, "temperature": 1.2}
    own.with_suffix(".json").write_text(json.dumps(card))
    judged = []

    def look(model, patches):
        judged.append(patches.names)
        return score_maps(map_patches(model, patches), 0.5, objects=False)

    monkeypatch.setattr(retraining, "_map", look)
    monkeypatch.setattr(retraining, "EPOCHS", 1)
    answer = retrain({"weights": str(own), "out": str(tmp_path / "new.safetensors"), "reviews": reviews, "data": None})
    _, left_out = retraining._own_parts(card, tuple(card["bands"]), None)
    assert judged[0] == judged[2] == left_out.names
    assert len(left_out) == card["metrics"]["test_patches"]
    assert answer["gate"]["reasons"][0].startswith("pictures that were left out: F1 ")
    new = load_model(answer["weights"], ungated=True).card
    assert (new["threshold"], new["temperature"]) == (0.35, 1.2), "chosen by cross-validation, and not again"


def scored(share_right, images=40, seed=0):
    rng = np.random.default_rng(seed)
    maps = []
    for number in range(images):
        mask = (rng.random((16, 16)) < 0.2).astype(np.uint8)
        right = rng.random((16, 16)) < share_right
        maps.append((str(number), np.where(right, mask, 1 - mask).astype(float), mask))
    return score_maps(maps, 0.5, objects=False)


@pytest.mark.parametrize(
    ("candidate", "in_use", "passed"),
    [
        ((0.95, 0.95), (0.90, 0.85), True),
        ((0.80, 0.95), (0.95, 0.85), False),  # forgot what it knew
        ((0.95, 0.85), (0.95, 0.90), False),  # learnt nothing from the words
        ((0.95, 0.90), (0.95, 0.90), False),  # the same
    ],
)
def test_the_gate_asks_for_no_loss_and_a_gain(candidate, in_use, passed):
    new, old = (tuple(scored(share) for share in pair) for pair in (candidate, in_use))
    gate = compare_candidate([new, old])
    assert gate["passed"] is passed
    assert ("may be worse" in gate["reasons"][0]) == (candidate[0] < in_use[0])
    assert ("not better" in gate["reasons"][1]) == (candidate[1] <= in_use[1])


def test_a_candidate_that_failed_finds_no_footprints(weights, found, tmp_path):
    model = load_model(str(weights))
    card = {**model.card, "gate": {"passed": False, "reasons": ["held part of train: may be worse by 0.02"]}}
    save_model(tmp_path / "failed.safetensors", model.network, card)
    with pytest.raises(ModelError, match="did not pass its gate: held part of train: may be worse"):
        detect({"scene_path": str(found[0][0]), "weights": str(tmp_path / "failed.safetensors")})
    assert load_model(str(tmp_path / "failed.safetensors"), ungated=True).card["gate"]["passed"] is False


def test_only_what_was_looked_at_is_known():
    outline, better = box(10, 10, 20, 20), box(12, 12, 26, 20)
    accepted = paint_verdict(outline, "accept", None, (0, 0), 40)
    assert np.count_nonzero(accepted == 1) == 100
    assert accepted[15, 20 + RING_PX - 1] == 0
    assert accepted[15, 20 + RING_PX] == IGNORED
    assert np.count_nonzero(paint_verdict(outline, "reject", None, (0, 0), 40) == 1) == 0
    redrawn = paint_verdict(outline, "redraw", better, (0, 0), 40)
    assert np.count_nonzero(redrawn == 1) == 14 * 8
    assert redrawn[11, 11] == 0
    moved = paint_verdict(outline, "accept", None, (5, 5), 40)
    assert moved[5, 5] == 1
    assert moved[4, 4] == 0


@ON_SQLITE
def test_a_word_needs_a_person_a_verdict_and_one_footprint(database, found):
    ring = mapping(box(8.9, 46.2, 8.901, 46.201))
    with database.write() as c:
        keep(c, "bench", found[:1])
        first = load_reviewed(c, "bench")[0].polygon_id
        with pytest.raises(RefusedError, match="by a person with a name"):
            add_review(c, "bench", first, "accept", replace(WHO, kind="service"), NOW)
        with pytest.raises(RefusedError, match="none of accept, reject, redraw"):
            add_review(c, "bench", first, "maybe", WHO, NOW)
        with pytest.raises(RefusedError, match="comes with an outline"):
            add_review(c, "bench", first, "redraw", WHO, NOW)
        with pytest.raises(RefusedError, match="comes with an outline"):
            add_review(c, "bench", first, "accept", WHO, NOW, geometry=ring)
        with pytest.raises(RefusedError, match="not a GeoJSON Polygon"):
            add_review(c, "bench", first, "redraw", WHO, NOW, geometry={"type": "Point", "coordinates": [8.9, 46.2]})
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
    from monitor.cli.main import run_verb
    from monitor.cli.site.sites import write_first_site
    from monitor.store.database.engine import Database
    from monitor.store.upkeep.migrate import upgrade

    (tmp_path / "sites").mkdir()
    (tmp_path / "sites" / "bench.toml").write_text(write_first_site("bench"))
    url = f"sqlite:///{tmp_path / 'slopeward.db'}"
    config = tmp_path / "slopeward.toml"
    config.write_text(f'[database]\nurl = "{url}"\n[paths]\nsites = "{tmp_path / "sites"}"\n')
    with Database(url) as db:
        upgrade(db, NOW)
        with db.write() as c:
            keep(c, "bench", found[:1])
    common = ["--site", "bench", "--config", str(config)]
    assert run_verb(["scenes", "review", "list", *common, "--json", "--all"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(rows) == len(found[0][1]["polygons"])
    unsure = [row for row in rows if row["unsure"]]
    assert unsure
    assert all(row["mean_probability"] < (row["threshold"] + 1) / 2 for row in unsure)
    first, second = (row["polygon_id"] for row in (*unsure, *reversed(rows))[:2])
    assert run_verb(["scenes", "review", "reject", first[:14], *common, "--by", "R. Mori", "--note", "a road"]) == 0
    outline = Path(tmp_path / "mine.geojson")
    outline.write_text(json.dumps({"type": "Feature", "properties": {}, "geometry": mapping(box(8.9, 46, 8.91, 46.1))}))
    words = ["scenes", "review", "redraw", second, *common, "--by", "R. Mori", "--outline", str(outline), "--json"]
    assert run_verb(words) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["verdict"] == "redraw"
    assert run_verb(["scenes", "review", "list", *common, "--json"]) in {0, 4}
    left = [json.loads(line)["polygon_id"] for line in capsys.readouterr().out.splitlines()]
    assert first not in left
    outline.write_text("no json")
    assert run_verb(words) == 1
    assert "mine.geojson: not GeoJSON" in capsys.readouterr().err
