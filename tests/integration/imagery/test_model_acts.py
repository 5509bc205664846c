"""Whether a network that was learnt for a site reads its scenes: promoted, named by the site file, let go."""

import json
import shutil
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from detection.imagery.neural.checkpoint import load_model
from detection.imagery.weights_file import weights_path
from monitor.cli.main import run_verb
from monitor.domain.alert import Actor
from monitor.domain.errors import RefusedError
from monitor.jobs.scenes import inbox
from monitor.jobs.scenes.model_acts import retire
from monitor.store.database.engine import Database
from monitor.store.models.registry import add_model, find_model, load_own_weights, load_transitions
from tests.data.drawn_scenes import SITE, add_site, arrive, draw, make_config, may, work_here

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
                add_model(
                    c, name, kind="bench", task="scene", site=owner, path=file, card=card, now=may(1), reason="learnt"
                )

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
        assert act("promote")[0] == 0
        assert state() == ("active", [path])
        assert "is in use already" in act("promote")[1]
        assert act("retire")[0] == 0
        assert state() == ("retired", [])
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
