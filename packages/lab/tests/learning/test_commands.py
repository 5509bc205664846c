"""`scenes learn` for a site: labels of the page, a stopped run goes on, weights for the service, tiles to look at."""

import json
import os
import signal
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest
import shapely

from detection.imagery.errors import ModelError
from detection.imagery.neural.model_file import load_model
from detection.imagery.raster.areas import map_outline
from detection.imagery.raster.components import outline_pixels
from detection.imagery.raster.raster import read_grid
from monitor.cli.main import run_command
from monitor.errors import SlopewardError
from monitor.features.scenes.queries.arrivals import SceneRow, save_scene
from monitor.features.scenes.queries.outlines import load_unsure
from monitor.features.scenes.queries.weights import load_own_weights
from monitor.models.queries.registry import load_models
from monitor.storage.actor import Actor
from monitor.storage.engine import Database
from monitor.storage.views import load_view
from monitor.worker.scene_lock import lock_scene_results
from slopeward_lab.learning import cli as learn
from slopeward_lab.learning import gate, records
from tests.data.drawn_ground import draw_picture, write_pictures
from tests.data.drawn_scenes import SITE, add_site
from tests.data.watched_slope import write_service
from tests.features.scenes.test_outlines import add_outline

NOW = datetime(2026, 5, 6, tzinfo=UTC)
ADA = Actor("ada")
LABELLED, OTHERS = 20, 2
LEFT_OUT = 8


def outline_on_page(database, folder) -> None:
    """Scenes that were read; a person outlined the scar of most of them and looked at all of them, and at no other."""
    with database.write() as c:
        for number, path in enumerate(sorted(folder.glob("*.tif"))):
            frame = shapely.geometry.shape(place(read_grid(path), shapely.box(0, 0, 32, 32)))
            run = {"outputs": {"bounds": list(frame.bounds)}, "threshold": 0.5}
            row = SceneRow(f"{number:064d}", "bench", path.name, NOW, "single", str(path), NOW, "done", run=run)
            save_scene(c, row, [], NOW)
            if number < LABELLED:
                (scar,) = outline_pixels(draw_picture(number)[1])
                for kind, shape in (("landslide", scar), ("nothing", shapely.box(1, 1, 31, 31))):
                    add_outline(c, "bench", row.scene_hash, kind, place(read_grid(path), shape), ADA, NOW)


def end_at_once(*_) -> None:
    raise SlopewardError("killed")


def weights_of(folder) -> list[tuple[bytes, int]]:
    """The weights and their card, and when each was written."""
    return [(path.read_bytes(), path.stat().st_mtime_ns) for path in sorted(folder.glob("bench.*"))]


def place(grid, shape) -> dict:
    """GeoJSON in longitude and latitude of a shape in pixels."""
    placed = map_outline(shape, lambda x, y: grid.to_lonlat(*grid.to_crs(x, y)))
    return json.loads(json.dumps(shapely.geometry.mapping(placed)))


@pytest.mark.soak
@pytest.mark.usefixtures("one_torch_thread")
def test_labels_of_the_page_become_weights_that_the_service_may_use(tmp_path, monkeypatch, capsys, database_url):
    write_pictures(tmp_path / "scenes", LABELLED + OTHERS)
    monkeypatch.setattr("os.cpu_count", lambda: 1)  # no second process: it would load torch again
    monkeypatch.setattr(records, "LearningRequest", partial(records.LearningRequest, tile_px=32))
    monkeypatch.setattr(gate, "NOT_WORSE", 0.9)  # a second of training: what is offered shall be seen
    monkeypatch.chdir(tmp_path)
    asked = ["scenes", "learn", "--from-page", "--site", "bench", "--minutes", "0.04", "--json"]
    with closing(Database(database_url)) as database:
        site = add_site(database, SITE + '[scenes]\nweights = "auto"\n')
        outline_on_page(database, tmp_path / "scenes")
        monkeypatch.setenv("SLOPEWARD_CONFIG", str(write_service(tmp_path, database, site.source)))
        with monkeypatch.context() as stopped:
            stopped.setattr(learn, "show_progress", lambda _: os.kill(os.getpid(), signal.SIGTERM))
            assert run_command(asked) == 0
        out, said = capsys.readouterr()
        assert (out, "the same command goes on in models/scenes/bench/" in said) == ("", True)
        with monkeypatch.context() as killed:
            killed.setattr(learn, "_keep", end_at_once)  # the answer is written, nothing is registered
            assert run_command(asked) == 1
        assert f"going on with the {LABELLED} tiles" in capsys.readouterr().err
        (folder,) = Path("models/scenes/bench").iterdir()
        asked += ["--out", str(folder)]
        with lock_scene_results(folder, wait=False):
            assert run_command(asked) == 1
        said = capsys.readouterr().err
        assert "weights of the run before are registered now" in said
        assert "another process learns in it" in said
        assert run_command([*asked, "--seed", "1"]) == 1
        assert "holds the answer to another question" in capsys.readouterr().err
        before = weights_of(folder)
        assert (run_command(asked), weights_of(folder)) == (0, before)
        out, said = capsys.readouterr()
        answer = json.loads(out)
        _check_answer(answer)
        with database.read() as c:
            doubts = [one.doubt for one in load_unsure(c, "bench")]
            models = load_models(c, task="scene", site="bench")
            assert load_own_weights(c, "bench") == [], "nobody has named it yet"
        assert len(doubts) == OTHERS
        assert [(one.path, one.state) for one in models] == [(answer["weights"], "candidate")]
        assert run_command(["scenes", "detect", "scenes/020_20240506.tif", "--model", answer["weights"]]) == 0
        # what may serve is proven on the tiles that were left out, before it reads its first scene
        folder = str(Path(answer["weights"]).parent)
        prove = ["scenes", "score", "--site", "bench", "--data", folder, "--layout", "folder", "--folder", "tiles"]
        assert run_command([*prove, "--weights", answer["weights"], "--by", "ada"]) == 0
        said = capsys.readouterr().out
        reason = f"{LEFT_OUT} images or blocks of ground that were not used for training were scored, 20 are needed"
        assert f"outlines are advice: {reason}" in said
        assert f"F1 {answer['gate']['f1']['network']:.4f}" in said
        with database.read() as c:
            (row,) = load_view(c, "model_proofs", site="bench")
    assert (row["weights"], row["rows_tested"]) == (answer["model_hash"], LEFT_OUT)


def _check_answer(answer) -> None:
    """What the folder of a run holds."""
    assert (answer["tiles"]["train"], answer["tiles"]["left_out"]) == (LABELLED - LEFT_OUT, LEFT_OUT)
    assert answer["on_page"] == answer["least_sure"] == OTHERS
    weights = Path(answer["weights"])
    parts = [{path.name for path in (weights.parent / "tiles" / p).rglob("images/*")} for p in ("train", "validation")]
    assert [len(part) for part in parts] == [LABELLED - LEFT_OUT, LEFT_OUT]
    assert not parts[0] & parts[1]
    card = load_model(answer["weights"]).card
    assert (card["gate"], card["learnt"]["tries"]["seeds"]) == (answer["gate"], [0])
    assert (card["domain"]["season"], card["pixel_size_m"]) == ([5], pytest.approx(10, rel=0.01))
    unsure = json.loads((weights.parent / "least-sure.geojson").read_text())["features"]
    assert [one["properties"]["rank"] for one in unsure] == [1, 2]
    doubts = [one["properties"]["doubt"] for one in unsure]
    assert 1 >= doubts[0] >= doubts[1] >= 0
    refused = weights.with_name("refused.safetensors")
    refused.write_bytes(weights.read_bytes())
    failed = {**card, "gate": {**card["gate"], "passed": False}}
    refused.with_suffix(".json").write_text(json.dumps(failed))
    with pytest.raises(ModelError, match=r"did not pass its gate: the network"):
        load_model(str(refused))
