"""Weights of a user's own tiles: their card, outlines that do not vanish, and whether they read a site's scenes."""

import json
import shutil
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from sqlalchemy import select

from detection.imagery.data import folder
from detection.imagery.data.generate import draw_patches, draw_scene
from detection.imagery.errors import TrainingRecipeError
from detection.imagery.neural.checkpoint import load_model
from detection.imagery.neural.learner import ImageryTrainingSettings
from detection.imagery.raster.raster import write_png
from detection.imagery.weights_file import weights_path
from monitor.cli.main import run_verb
from monitor.errors import RefusedError
from monitor.features.scenes import inbox
from monitor.features.scenes.model_acts import retire
from monitor.features.scenes.queries.weights import load_own_weights
from monitor.models.queries.proofs import digest_settings
from monitor.models.queries.registry import add_model, find_model, load_transitions
from monitor.models.tables import model_proof
from monitor.sites.witnesses import needs_proof
from monitor.storage.actor import Actor
from monitor.storage.engine import Database
from monitor.storage.views import load_view
from tests.data.drawn_scenes import SITE, add_site, arrive, draw, make_config, may, work_here
from tests.data.surveys.rasters import change_raster, write_raster
from tests.data.watched_slope import write_service

BANDS = ("B4", "B3", "B2")
SIZE = 48
RECIPE = """
name = "mine"
bands = ["B4", "B3", "B2"]
seed = 3
[data]
source = "folder"
folder = "own"
bands = ["B4", "B3", "B2"]
[radiometry]
stretch = "reflectance"
scale = 1.0
[training]
width = 0.0625
batch = 4
epochs = 12
"""


def write_tiles(root: Path, count: int, pixel_m: float | None) -> None:
    """Tiles and masks in the layout for one's own data, of reflectances, on UTM ground."""
    for part, seed in (("train", 5), ("validation", 6)):
        images, masks = draw_patches(seed, count, SIZE, BANDS)
        for number in range(count):
            for kind, values in (("images", images[number]), ("masks", masks[number][None])):
                write(root / part / kind / f"tile-{number:02}.tif", values, pixel_m, number)


def write(path: Path, values: np.ndarray, pixel_m: float | None, number: int = 0) -> None:
    place = {}
    if pixel_m is not None:
        left = 600_000 + number * SIZE * pixel_m
        place = {"crs": "EPSG:32632", "transform": Affine(pixel_m, 0, left, 0, -pixel_m, 5_100_000)}
    write_raster(path, values, BANDS, "2024-05-06T00:00:00Z", **place)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Weights trained through the command line on tiles with pixels of half a metre."""
    below = tmp_path_factory.mktemp("own-weights")
    write_tiles(below / "own", 20, 0.5)
    (below / "mine.toml").write_text(RECIPE)
    weights = below / "w.safetensors"
    arguments = ["scenes", "train", "--recipe", str(below / "mine.toml"), "--data", str(below), "--out", str(weights)]
    assert run_verb(arguments) == 0
    return weights


@pytest.mark.usefixtures("one_torch_thread")
def test_the_card_says_the_pixel_size_of_the_tiles_and_names_a_recipe_that_exists(trained):
    card = json.loads(trained.with_suffix(".json").read_text())
    assert card["pixel_size_m"] == pytest.approx(0.5, rel=0.01)
    assert card["domain"]["pixel_size_m"] == card["pixel_size_m"]
    assert card["minimum_area_m2"] == pytest.approx(9 * 0.25, rel=0.02)
    assert (trained.parent / card["recipe_file"]).read_text() == RECIPE
    assert f"--recipe {card['recipe_file']} --seed 3 " in trained.with_suffix(".md").read_text()


@pytest.mark.usefixtures("one_torch_thread")
def test_outlines_below_the_smallest_area_are_counted_and_never_all_dropped_in_silence(trained, tmp_path, capsys):
    drawn = draw_scene(5, 2 * SIZE, scars=1)
    scene = tmp_path / "scene.tif"
    write(scene, np.stack([drawn.bands[name] for name in BANDS]).astype(np.float32) * 1e-4, 0.5)

    def detect(*more: str) -> tuple[list[dict], str]:
        assert run_verb(["scenes", "detect", str(scene), "--model", str(trained), "--json", *more]) == 0
        out, err = capsys.readouterr()
        return json.loads(out)["polygons"], err

    found, _ = detect()  # the card's own limit: a scar of some hundred m² is found
    assert found
    assert max(polygon["area_m2"] for polygon in found) < 900
    none, said = detect("--mmu", "900")
    assert (none, "smaller than 900 m², which is all that was found; lower it with --mmu" in said) == ([], True)


def test_tiles_of_several_pixel_sizes_and_contradicted_sizes_are_refused(tmp_path):
    write_tiles(tmp_path, 4, 0.5)
    assert folder.read(tmp_path, "train").pixel_size_m == pytest.approx(0.5, rel=0.01)
    assert folder.read(tmp_path, "train", pixel_size_m=0.55).pixel_size_m == 0.55
    with pytest.raises(TrainingRecipeError, match=r"data\.pixel_size_m is 10 m, the tiles in .* have pixels of 0\.5 m"):
        folder.read(tmp_path, "train", pixel_size_m=10.0)
    write(tmp_path / "train" / "images" / "tile-01.tif", np.ones((3, SIZE, SIZE), np.float32), 10.0)
    with pytest.raises(TrainingRecipeError, match=r"tiles with pixels of 0\.5 to 10 m"):
        folder.read(tmp_path, "train")


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_tiles_without_a_place_need_their_pixel_size_in_the_recipe(tmp_path, capsys):
    write_tiles(tmp_path / "own", 6, None)
    (tmp_path / "mine.toml").write_text(RECIPE)
    train = ["scenes", "train", "--recipe", str(tmp_path / "mine.toml"), "--data", str(tmp_path), "--out"]
    assert run_verb([*train, str(tmp_path / "w.safetensors")]) == 1
    assert "give data.pixel_size_m" in capsys.readouterr().err


def test_few_patches_get_more_passes_and_a_warm_up_that_fits_the_run():
    few, many = ImageryTrainingSettings().fitted(184), ImageryTrainingSettings().fitted(935)
    assert (few.epochs, many.epochs, few.warmup_steps, many.warmup_steps) == (34, 13, 57, 100)
    given = ImageryTrainingSettings(epochs=3, warmup_steps=2)
    assert given.fitted(184) == given


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
    assert run_verb([*ask, "--part", "train"]) == 0
    by_colour = json.loads(capsys.readouterr().out)
    assert (by_colour["images"], run_verb([*ask, "--part", "train", "--bands", "blue,green,red"])) == (4, 0)
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
        assert run_verb([*ask, "--bands", "red,green,blue"]) == 0
        said = capsys.readouterr().out
        assert "bench: outlines are advice: 2 held-out images or blocks of ground were scored, 20 are needed" in said
        assert "0 of its outlines were reviewed, 10 are needed" in said
        # neither other weights, nor another threshold, nor patches that were trained on speak of what serves
        for option, value, why in (("--weights", "bijie", "others prove nothing"), ("--threshold", "0.9", "name none")):
            assert run_verb([*ask, "--bands", "red,green,blue", option, value]) != 0
            assert why in capsys.readouterr().err
        assert run_verb([*ask, "--bands", "red,green,blue", "--part", "train"]) == 1
        assert "6 of 6 patches are among those that were trained on; nothing is kept" in capsys.readouterr().err
        with database.read() as c:
            (row,) = load_view(c, "model_proofs", site="bench")
            (result,) = c.scalars(select(model_proof.c.result))
        (asking,) = needs_proof(site)
        near = replace(site, scenes=replace(site.scenes, near_m=site.scenes.near_m + 50.0))
        assert digest_settings(near, asking) != digest_settings(site, asking), "a wider circle is another question"
    assert (result["data"]["test_part"], len(result["patches_sha256"])) == ("validation", 64)
    assert result["threshold"] == load_model("landslide4sense").card["threshold"]
    assert row["made_by"] == f"slopeward scenes score --site bench --layout folder --folder {tmp_path}"
    assert (row["kind"], row["subject"], row["passed"], row["rows_tested"]) == ("scene", "outlines", False, 2)
    assert row["weights"] == load_model("landslide4sense").model_hash


@pytest.mark.usefixtures("one_torch_thread")
def test_a_training_goes_on_from_weights_of_the_same_bands_and_stretch(trained, tmp_path, capsys):
    def train(name: str, start: str, *more: str, bands: str = '"B4", "B3", "B2"') -> int:
        text = RECIPE.replace('bands = ["B4", "B3", "B2"]\nseed', f"bands = [{bands}]\nseed")
        (tmp_path / f"{name}.toml").write_text(text.replace("epochs = 12", f'epochs = 1\nstart = "{start}"'))
        out = str(tmp_path / f"{name}.safetensors")
        recipe, data = str(tmp_path / f"{name}.toml"), str(trained.parent)
        return run_verb(["scenes", "train", "--recipe", recipe, "--data", data, "--out", out, *more])

    assert train("on", str(trained)) == 0
    old, new = (json.loads(one.with_suffix(".json").read_text()) for one in (trained, tmp_path / "on.safetensors"))
    assert new["begun_from"] == {"weights": str(trained), "model_hash": load_model(str(trained)).model_hash}
    assert new["normalisation"]["mean"] == pytest.approx(old["normalisation"]["mean"], rel=1e-6)
    assert (new["network"], new["training"]["learning_rate"]) == (old["network"], 5e-4)
    assert new["history"][0]["loss"] < 0.8 * old["history"][0]["loss"], "it does not begin anew"
    assert "Went on from the weights" in (tmp_path / "on.md").read_text()
    capsys.readouterr()
    for name, start, more, bands, why in (
        ("others", str(trained), (), '"B4", "B3"', "reads bands B4, B3, B2 by"),
        ("stretch", "landslide4sense", (), '"B4", "B3", "B2"', "training cannot go on from there"),
        ("none", "nothing", (), '"B4", "B3", "B2"', "no weights at nothing"),
    ):
        assert train(name, start, *more, bands=bands) == 1
        assert why in capsys.readouterr().err


@pytest.mark.usefixtures("one_torch_thread")
def test_a_scene_of_another_season_than_the_tiles_is_said(trained, tmp_path, capsys):
    domain = json.loads(trained.with_suffix(".json").read_text())["domain"]
    assert (domain["season"], domain["season_note"]) == ([5], None), "by the tag of every tile"
    scene = draw_scene(9, SIZE, scars=1)
    values = np.stack([scene.bands[name] for name in BANDS]).astype(np.float32) / 1e4
    said = {}
    for month in (6, 12):
        path = tmp_path / f"{month}.tif"
        write(path, values, 0.5)
        change_raster(path, ACQUIRED_AT=f"2024-{month:02}-06T00:00:00Z")
        assert run_verb(["scenes", "detect", str(path), "--model", str(trained)]) == 0
        said[month] = "taken in December, trained on images of May" in capsys.readouterr().err
    assert said == {6: False, 12: True}


def test_the_season_of_tiles_is_known_where_all_of_them_say_it(tmp_path):
    """By the tag, or by a date in the name; one that says nothing leaves the season unknown."""
    root = tmp_path / "own" / "train"
    for number, name in enumerate(("20230401-a", "20230815-b")):
        write(root / "images" / f"{name}.tif", np.ones((3, 8, 8), np.float32), 0.5, number)
        write(root / "masks" / f"{name}.tif", np.ones((1, 8, 8), np.uint8), 0.5, number)
        change_raster(root / "images" / f"{name}.tif", ACQUIRED_AT="")
    assert folder.read(tmp_path / "own", "train").months == (4, 8)
    for kind in ("images", "masks"):
        (root / kind / "20230815-b.tif").rename(root / kind / "b.tif")
    assert folder.read(tmp_path / "own", "train").months == ()


WHY = ["--site", "bench", "--reason", "better here"]


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
            return run_verb(["scenes", verb, start, *WHY, "--by", "ada"]), "".join(capsys.readouterr())

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
