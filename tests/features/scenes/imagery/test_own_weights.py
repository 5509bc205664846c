"""Tiles and weights of a user: what `scenes detect` and `scenes score` print, and which weights a site uses."""

import json
import shutil
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import select

from detection.imagery.data import folder
from detection.imagery.data.generate import draw_patches, draw_scene
from detection.imagery.errors import TrainingRecipeError
from detection.imagery.neural.learner import ImageryTrainingSettings
from detection.imagery.neural.model_file import load_model, save_model
from detection.imagery.raster.raster import write_png
from detection.imagery.weights_file import weights_path
from monitor.cli.main import run_command
from monitor.errors import RefusedError
from monitor.features.scenes import inbox
from monitor.features.scenes.cli import score
from monitor.features.scenes.model_acts import retire
from monitor.features.scenes.queries.weights import load_own_weights
from monitor.models.queries.proofs import digest_settings
from monitor.models.queries.registry import add_model, find_model, load_transitions
from monitor.models.tables import model_proof
from monitor.sites.witnesses import list_criteria_needing_proof
from monitor.storage.actor import Actor
from monitor.storage.engine import Database
from monitor.storage.views import load_view
from tests.data.drawn_scenes import SITE, add_site, arrive, draw, make_config, may, work_here
from tests.data.own_tiles import BANDS, SIZE, write_tile, write_tiles
from tests.data.surveys.rasters import change_raster
from tests.data.watched_slope import write_service


def write_drawn_scene(path: Path) -> None:
    drawn = draw_scene(5, 2 * SIZE, scars=1)
    write_tile(path, np.stack([drawn.bands[name] for name in BANDS]).astype(np.float32), 10.0)


@pytest.mark.soak
@pytest.mark.usefixtures("one_torch_thread")
def test_outlines_below_the_smallest_area_are_counted(tmp_path, capsys):
    write_drawn_scene(tmp_path / "scene.tif")
    detect = ["scenes", "detect", str(tmp_path / "scene.tif"), "--model", "generated", "--json"]
    assert run_command(detect) == 0
    assert json.loads(capsys.readouterr().out)["polygons"]
    assert run_command([*detect, "--mmu", "1e6"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["polygons"] == []
    assert "smaller than 1e+06 m², which is all that was found; lower it with --mmu" in err


@pytest.mark.usefixtures("one_torch_thread")
def test_a_scene_of_another_season_than_the_tiles_is_doubted(tmp_path, capsys):
    model = load_model("generated")
    weights = tmp_path / "may.safetensors"
    save_model(weights, model.network, {**model.card, "domain": {**model.card["domain"], "season": [5]}})
    scene = tmp_path / "scene.tif"
    write_drawn_scene(scene)
    doubts = {}
    for month in (6, 12):
        change_raster(scene, ACQUIRED_AT=f"2024-{month:02}-06T00:00:00Z")
        assert run_command(["scenes", "detect", str(scene), "--model", str(weights)]) == 0
        doubts[month] = "taken in December, trained on images of May" in capsys.readouterr().err
    assert doubts == {6: False, 12: True}


def test_tiles_of_several_pixel_sizes_and_contradicted_sizes_are_refused(tmp_path):
    write_tiles(tmp_path, 4, 0.5)
    assert folder.read(tmp_path, "train").pixel_size_m == pytest.approx(0.5, rel=0.01)
    assert folder.read(tmp_path, "train", pixel_size_m=0.55).pixel_size_m == 0.55
    with pytest.raises(TrainingRecipeError, match=r"data\.pixel_size_m is 10 m, the tiles in .* have pixels of 0\.5 m"):
        folder.read(tmp_path, "train", pixel_size_m=10.0)
    write_tile(tmp_path / "train" / "images" / "tile-01.tif", np.ones((3, SIZE, SIZE), np.float32), 10.0)
    with pytest.raises(TrainingRecipeError, match=r"tiles with pixels of 0\.5 to 10 m"):
        folder.read(tmp_path, "train")


def test_few_patches_get_more_passes_and_a_warm_up_that_fits_the_run():
    few, many = ImageryTrainingSettings().with_defaults(184), ImageryTrainingSettings().with_defaults(935)
    assert (few.epochs, many.epochs, few.warmup_steps, many.warmup_steps) == (34, 13, 57, 100)
    given = ImageryTrainingSettings(epochs=3, warmup_steps=2)
    assert given.with_defaults(184) == given


def write_pictures(root: Path, count: int, name) -> None:
    """Drawn patches and masks as pictures; `name` says the folder of each by its number."""
    images, masks = draw_patches(8, count, SIZE, BANDS)
    for number in range(count):
        for kind, picture in (("images", np.clip(images[number] * 3, 0, 1) * 255), ("masks", masks[number][None])):
            path = root / name(number) / kind / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_png(path, picture.astype(np.uint8))


@pytest.mark.usefixtures("one_torch_thread")
def test_pictures_of_one_s_own_are_scored_by_the_colours_that_they_hold(tmp_path, capsys):
    write_pictures(tmp_path, 4, lambda _: "train")
    ask = ["scenes", "score", "--weights", "landslide4sense", "--layout", "folder", "--folder", str(tmp_path), "--json"]
    assert run_command([*ask, "--part", "train"]) == 0
    by_colour = json.loads(capsys.readouterr().out)
    assert (by_colour["images"], run_command([*ask, "--part", "train", "--bands", "blue,green,red"])) == (4, 0)
    assert json.loads(capsys.readouterr().out)["f1"] != by_colour["f1"]  # the names given go before the format's


@pytest.mark.usefixtures("one_torch_thread")
def test_a_score_on_patches_of_a_site_is_kept_as_its_proof(tmp_path, monkeypatch, capsys, sqlite_url):
    """Beside logistic regression and what people said of its outlines; too few patches and reviews are no proof."""
    # two neighbours in a block
    write_pictures(tmp_path, 10, lambda k: f"{'train' if k < 6 else 'validation'}/b{k // 2:04d}")
    with closing(Database(sqlite_url)) as database:
        site = add_site(database, SITE + '[scenes]\nweights = "landslide4sense"\n')
        monkeypatch.setenv("SLOPEWARD_CONFIG", str(write_service(tmp_path, database, site.source)))
        ask = ["scenes", "score", "--site", "bench", "--layout", "folder", "--folder", str(tmp_path)]
        assert run_command([*ask, "--bands", "red,green,blue"]) == 0
        said = capsys.readouterr().out
        reason = "2 images or blocks of ground that were not used for training were scored, 20 are needed"
        assert f"bench: outlines are advice: {reason}" in said
        assert "0 of its outlines were reviewed, 10 are needed" in said
        # neither other weights, nor another threshold, nor patches that were trained on speak of what serves
        for option, value, why in (
            ("--weights", "bijie", "is no proof for this site"),
            ("--threshold", "0.9", "cannot be combined with --site"),
        ):
            assert run_command([*ask, "--bands", "red,green,blue", option, value]) != 0
            assert why in capsys.readouterr().err
        assert run_command([*ask, "--bands", "red,green,blue", "--part", "train"]) == 1
        assert "6 of 6 patches were used in the training, so no proof is stored" in capsys.readouterr().err
        with database.read() as c:
            (row,) = load_view(c, "model_proofs", site="bench")
            (result,) = c.scalars(select(model_proof.c.result))
        (asking,) = list_criteria_needing_proof(site)
        near = replace(site, scenes=replace(site.scenes, near_m=site.scenes.near_m + 50.0))
        assert digest_settings(near, asking) != digest_settings(site, asking), "a wider circle is another question"
    assert (result["data"]["test_part"], len(result["patches_sha256"])) == ("validation", 64)
    assert result["threshold"] == load_model("landslide4sense").card["threshold"]
    assert row["made_by"] == f"slopeward scenes score --site bench --layout folder --folder {tmp_path}"
    assert (row["kind"], row["subject"], row["passed"], row["rows_tested"]) == ("scene", "outlines", False, 2)
    assert row["weights"] == load_model("landslide4sense").model_hash


def test_the_season_of_tiles_is_known_where_all_of_them_say_it(tmp_path):
    """By the tag, or by a date in the name; one that says nothing leaves the season unknown."""
    root = tmp_path / "own" / "train"
    for number, name in enumerate(("20230401-a", "20230815-b")):
        write_tile(root / "images" / f"{name}.tif", np.ones((3, 8, 8), np.float32), 0.5, number)
        write_tile(root / "masks" / f"{name}.tif", np.ones((1, 8, 8), np.uint8), 0.5, number)
        change_raster(root / "images" / f"{name}.tif", ACQUIRED_AT="")
    assert folder.read(tmp_path / "own", "train").months == (4, 8)
    for kind in ("images", "masks"):
        (root / kind / "20230815-b.tif").rename(root / kind / "b.tif")
    assert folder.read(tmp_path / "own", "train").months == ()


WHY = ["--reason", "better here"]


@pytest.mark.soak
def test_a_network_of_a_site_is_promoted_named_and_let_go(tmp_path, monkeypatch, capsys, database_url):
    work_here(monkeypatch)
    monkeypatch.setattr(inbox, "SETTLED_S", 0.0)
    model, path = load_model("generated"), str(weights_path("generated"))
    wider = tmp_path / "wider.safetensors"  # sound by its card, but of another width
    shutil.copy(path, wider)
    card = json.loads(Path(path).with_suffix(".json").read_text())
    card["network"]["width"] *= 2
    wider.with_suffix(".json").write_text(json.dumps(card))
    with closing(Database(database_url)) as database:
        config = make_config(tmp_path, database_url)
        monkeypatch.setenv("SLOPEWARD_CONFIG", str(tmp_path / "slopeward.toml"))
        site = add_site(database, SITE + '[scenes]\nweights = "auto"\n')
        (tmp_path / "sites").mkdir()
        (tmp_path / "sites" / "bench.toml").write_text(site.source)
        with database.write() as c:
            as_good = {"passed": True, "put_to_use": False, "verdict": "as good"}
            for name, owner, file, card in (
                (model.model_hash, "bench", path, model.card),
                ("e" * 64, "bench", "gone.safetensors", model.card),
                ("c" * 64, "bench", str(wider), model.card),
                ("f" * 64, "other", path, model.card),
                ("d" * 64, "bench", path, {**model.card, "gate": as_good}),
            ):
                facts = {"kind": "bench", "task": "scene", "site": owner, "path": file, "reason": "learnt"}
                add_model(c, name, **facts, card=card, now=may(1))

        def act(verb: str, start: str = model.model_hash[:8]) -> tuple[int, str]:
            return run_command(["scenes", verb, "bench", start, *WHY, "--by", "ada"]), "".join(capsys.readouterr())

        def state() -> tuple[str, list[str]]:
            with database.read() as c:
                return find_model(c, model.model_hash).state, load_own_weights(c, "bench")

        assert act("promote", "ffff")[1].strip().endswith("is no network learnt for the scenes of bench")
        assert "cannot be read: no weights at gone.safetensors" in act("promote", "eeee")[1]
        assert "cannot be read: " in (said := act("promote", "cccc")[1])
        assert "does not fit the network of the card" in said
        assert "is a candidate: its gate did not find it better than logistic" in act("promote", "dddd")[1]
        assert (act("promote")[0], state()) == (0, ("active", [path]))
        assert "is in use already" in act("promote")[1]
        assert (act("retire")[0], state()) == (0, ("retired", []))
        assert "is retired already" in act("retire")[1]
        # the site file names it, by another spelling: from its first scene on the registry says that it serves
        spelt = f"{Path(path).parent}/../{Path(path).parent.name}/{Path(path).name}"
        auto, site = site, replace(site, scenes=replace(site.scenes, weights=spelt))
        draw(tmp_path / "drawn", may(5), 1.0)
        arrive(config, tmp_path / "drawn", "first")
        assert "footprints" in inbox.run(database, config, site, may(5))
        assert state() == ("active", [path])
        with database.read() as c:
            last = load_transitions(c, model.model_hash)[-1]
        assert (last.from_state, last.to_state, last.reason) == ("retired", "active", "weights named by the site file")
        with database.write() as c, pytest.raises(RefusedError, match="is named by the site file of bench"):
            retire(c, site, model.model_hash, Actor("ada"), "it is old", may(5))
        # it names it no more: the retirement of before holds again
        inbox.run(database, config, auto, may(6))
        assert state() == ("retired", [])


def test_printed_score_names_unknown_training_pictures_and_the_difference_to_simple_maps(capsys):
    scores = dict.fromkeys(("precision", "recall", "iou", "miou", "mf1", "oa", "kappa", "ap50"), 0.5)
    answer = {
        "weights": "mine",
        "trained_on": None,
        "images": 4,
        "threshold": 0.4,
        "f1": 0.5,
        "intervals": {"f1": [0.4, 0.6]},
        **scores,
        "undefined": {},
        "object_recall": {"covered_half": {}},
        "simple_learnt_from": "the train part of the set",
        "simple": {"logistic": {"f1": 0.45}, "beside": {"logistic": {"interval": [-0.1, 0.2]}}},
        "note": "drawn",
    }
    score._print_score(answer)
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == (
        "how many of 4 pictures were used in the training is unknown: there is no list of the training pictures of mine"
    )
    assert "  logistic: F1 0.4500; F1 of the weights minus this: -0.1 to 0.2" in printed
    score._print_score(answer | {"trained_on": 2})
    assert capsys.readouterr().out.startswith(
        "2 of 4 pictures were used in the training: the score does not apply to new ground"
    )
