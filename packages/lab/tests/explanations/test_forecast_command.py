"""`slopeward forecast attribute` on a site with readings and a trained network."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from forecasting.data.series import DAY_S
from forecasting.serving.records import TrainingRequest
from forecasting.serving.training import train
from monitor.api.plugins import hooks
from monitor.cli.main import run_command
from monitor.models.queries.registry import add_model
from monitor.sites.parsing import parse_site
from monitor.sites.queries.sites import save_site
from tests.data import daily_slope

pytestmark = pytest.mark.usefixtures("one_torch_thread")
NOW = datetime.now(UTC)


@pytest.fixture
def watched(database, database_url, tmp_path, monkeypatch):
    """A site with 240 days of readings until now, and the folder of its service file."""
    monkeypatch.setattr(daily_slope, "START", NOW.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(240))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sites").mkdir()
    (tmp_path / "sites" / "jobs.toml").write_text(daily_slope.SITE)
    (tmp_path / "slopeward.toml").write_text(
        f'[database]\nurl = "{database_url}"\n[paths]\nsites = "{tmp_path}/sites"\n'
    )
    monkeypatch.setenv("SLOPEWARD_CONFIG", str(tmp_path / "slopeward.toml"))
    site = parse_site(daily_slope.SITE, "jobs.toml")
    with database.write() as c:
        save_site(c, site, "test", "test", NOW)
    daily_slope.fill(database, site, 241)
    return database, site, tmp_path


def add_network(watched):
    database, site, folder = watched
    with database.read() as c:
        (panel,) = hooks().forecast_panels(connection=c, site=site, now=NOW)
    assert panel.stations == ("G0.displacement", "G1.displacement", "G2.displacement")
    trained = train(panel, TrainingRequest("gru", (DAY_S,), folder / "models", epochs=1, stride=8))
    with database.write() as c:
        add_model(
            c,
            trained.model_hash,
            kind="gru",
            task="forecast",
            site="jobs",
            path=trained.path,
            card=trained.card,
            now=NOW,
            reason="test",
        )
    return trained.model_hash


def test_newest_forecast_of_a_station_is_attributed(watched, capsys):
    model_hash = add_network(watched)
    assert run_command("forecast attribute jobs --station G1 --json".split()) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["model_hash"], answer["station"], answer["method"]) == (
        model_hash,
        "G1.displacement",
        "integrated-gradients",
    )
    (horizon,) = answer["horizons"]
    assert len(horizon["parts"]) == 8
    assert run_command("forecast attribute jobs --station G1.displacement --method shap --horizon 1d".split()) == 0
    text = capsys.readouterr().out
    assert "not a cause" in text
    assert "motion of G1.displacement, newest row to" in text
    assert "2 other blocks; all by --json" in text
    assert run_command("forecast attribute jobs --station G1 --method permutation".split()) == 0
    assert "1 d: mean error of" in capsys.readouterr().out


def test_wrong_input_is_one_line(watched, capsys):
    assert run_command("forecast attribute jobs --station G1".split()) == 4
    assert "train one: slopeward forecast train jobs" in capsys.readouterr().err
    add_network(watched)
    for options, status, message in (
        ("--station G9", 4, "no network of jobs forecasts G9"),
        ("--station G1 --model lstm", 4, "no lstm of jobs forecasts G1"),
        ("--station G1 --horizon 30d", 1, "has no horizon of 30d; there are: 1 d"),
        ("--station G1 --method guess", 2, "guess"),
    ):
        assert run_command(["forecast", "attribute", "jobs", *options.split()]) == status, options
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
