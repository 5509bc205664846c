"""The tutorial's slope, typed as printed: status, page and evidence agree on it, and no number of it lacks its unit."""

import json
import re
import shlex
from datetime import UTC, datetime
from pathlib import Path

import pytest

from monitor.alerting.audit.explain import explain, read_units
from monitor.alerting.evaluate import evaluate_site
from monitor.cli.main import run_verb
from monitor.config.service import load_site
from monitor.movement.update import update_movement
from monitor.store.alerting.sites import load_site_source, save_site
from monitor.store.database.engine import Database
from monitor.store.schema.views import load_view
from tests.data.figures import bare_figures
from tests.integration.web.served import serving
from tests.integration.web.test_simulated import Page

# further criteria, so that more rules speak; v_eq is what the angle needs
MORE = """
[[criterion]]
kind = "acceleration"
stations = ["G*"]
yellow = {over = 1.0, window = "3d"}

[[criterion]]
kind = "tangential_angle"
stations = ["G*"]
yellow = {over = 80.0, window = "2d"}

[[criterion]]
kind = "level"
series = "E1.crack_opening"
yellow = {over = 50.0}
"""


@pytest.fixture
def tutorial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The folder after the tutorial's commands, evaluated and its movement judged as the service does."""
    monkeypatch.chdir(tmp_path)
    for line in (
        "sites init first-slope",
        "db upgrade",
        "simulate --readings readings.csv",
        "ingest readings.csv --site first-slope",
    ):
        assert run_verb(line.split()) == 0, line
    file = tmp_path / "configs/sites/first-slope.toml"
    text = file.read_text(encoding="utf-8").replace("[movement.progressive]", MORE + "\n[movement.progressive]")
    reviewed = 'plunge_deg = 28.0\nv_eq_mm_per_day = 0.5\nv_eq_reviewed = "A. Rossi 2026-01"'
    file.write_text(re.sub(r"plunge_deg = 28.0", reviewed, text, count=1), encoding="utf-8")
    assert run_verb(["check"]) == 0
    database = Database(f"sqlite:///{tmp_path}/slopeward.db")
    site, now = load_site(file), datetime.now(UTC)
    with database.write() as c:
        save_site(c, site, "test", "test", now)
    decision = evaluate_site(database, site, now, "data").decision
    update_movement(database, site, now)
    yield database, site, now, decision
    database.close()


def test_the_tutorial_says_one_thing_of_its_slope_and_each_number_has_its_unit(tutorial, capsys):
    database, site, now, decision = tutorial
    capsys.readouterr()
    run_verb(["status"])
    status = capsys.readouterr().out
    with serving(database, now) as client:
        page = Page(client.get("/sites/first-slope").text)
    with database.read() as c:
        [row] = load_view(c, "site_status", site="first-slope")
        moved = {m["station"]: m for m in load_view(c, "movement_history")}
        windows = load_view(c, "failure_windows")
        alerts = load_view(c, "alert_events")
        messages = c.exec_driver_sql("SELECT subject FROM notification").scalars().all()
        frozen = c.exec_driver_sql("SELECT evidence FROM decision").scalars().all()
        source = load_site_source(c, site.version)
    assert messages
    assert frozen
    assert row["level_name"] == "orange"
    assert row["movement_stage"] in {"intermediate", "progressive"}
    assert set(moved) == {"G1", "E1"}
    for name, over in (("G1", 25.0), ("E1", 35.0)):
        assert moved[name]["stage"] != "creep", moved[name]
        assert moved[name]["trend"] != "none", moved[name]
        assert moved[name]["velocity_mm_per_day"] > over
        assert moved[name]["velocity_window_s"] < 3 * 86400.0
    assert f"{row['movement_stage']}, {row['trend']}" in status
    assert "creep" not in status
    assert "creep, trend" not in page.words
    sentences = {
        "evidence": [w["reason"] for w in decision.evidence["words"]] + [decision.evidence["sentence"]],
        "explain": [line for text in frozen for line in explain(json.loads(text), read_units(source))],
        "movement": [m["reasons"] for m in moved.values()] + [w["reasons"] for w in windows],
        "alerts": [a["reason"] for a in alerts],
        "messages": list(messages),
    }
    bare = {room: [b for text in texts for b in bare_figures(text)] for room, texts in sentences.items()}
    assert {room: found for room, found in bare.items() if found} == {}


PRINTED = Path(__file__).parents[3] / "docs/tutorial/first-slope.md"


def test_every_command_of_the_tutorial_does_what_it_says(tmp_path, monkeypatch, capsys):
    """As printed, in their order; the service is left out, and people give their passwords in the environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SLOPEWARD_USER_PASSWORD", "korrekt-pferd-9")
    monkeypatch.setenv("SLOPEWARD_BY_PASSWORD", "korrekt-pferd-9")
    blocks = re.findall(r"```\n(.*?)```", PRINTED.read_text(encoding="utf-8"), re.DOTALL)
    lines = [line.partition("  #")[0].strip() for block in blocks for line in block.splitlines()]
    typed = [shlex.split(line)[1:] for line in lines if line.startswith("slopeward ") and line != "slopeward run"]
    assert len(typed) == 17
    said = {}
    for words in typed:
        if words[:2] == ["alerts", "list"]:  # what the service would have done meanwhile
            database = Database(f"sqlite:///{tmp_path}/slopeward.db")
            site, now = load_site(tmp_path / "configs/sites/first-slope.toml"), datetime.now(UTC)
            with database.write() as c:
                save_site(c, site, "test", "test", now)
            evaluate_site(database, site, now, "data")
            database.close()
        expected = 3 if words[:2] == ["level", "set"] and "ada" in words else 0
        assert run_verb(words) == expected, (words, capsys.readouterr())
        said[" ".join(words)] = capsys.readouterr().out
    assert run_verb(["ingest", "readings.csv", "--site", "first-slope"]) == 0
    assert "0 stored, 2886 known before" in capsys.readouterr().out
    assert said["evaluate --site first-slope --dry-run"].startswith("orange | sees: full | reachable: red")
    assert "equal bit for bit" in said["alerts explain 1 --recompute"]
    assert "password: " in said["broker add first-slope/E1 --by ada"]
