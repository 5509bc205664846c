"""What is stored of an explanation is what the keyboard shows, for the station asked for."""

import json
from datetime import UTC, datetime

from typer.testing import CliRunner

from forecasting.explanation.maps import NOT_A_CAUSE
from forecasting.explanation.record import explain
from forecasting.neural.learner import Settings
from forecasting.neural.training import train_network
from forecasting.series import DAY_S
from forecasting.splits import split
from monitor.cli.forecast import app
from monitor.store.models import add_model
from tests.data.slopes import rain_driven

NOW = datetime(2025, 6, 1, tzinfo=UTC)


def test_a_stored_explanation_is_shown(database, database_url, tmp_path):
    panel = rain_driven(300)
    parts = split(300)
    settings = Settings(epochs=1, stride=4, window=14, hidden=8)
    forecaster = train_network("multi-source", panel, parts, (DAY_S,), settings).forecaster
    told = explain(forecaster, panel, parts)
    (tmp_path / "slopeward.toml").write_text(f'[database]\nurl = "{database_url}"\n')
    config = ["--site", "slope", "--config", str(tmp_path / "slopeward.toml")]
    assert CliRunner().invoke(app, ["explain", *config]).exit_code == 4
    with database.write() as c:
        for digest, card in (("a" * 64, {"explanation": told}), ("b" * 64, {})):
            add_model(
                c, digest, kind="multi-source", task="forecast", site="slope", path="x", card=card, now=NOW, reason="t"
            )
    shown = CliRunner().invoke(app, ["explain", "--json", *config])
    assert shown.exit_code == 0, shown.output
    (row,) = [json.loads(line) for line in shown.stdout.splitlines()]
    assert row["model"] == "multi-source"
    assert {key: row[key] for key in told} == told
    one = CliRunner().invoke(app, ["explain", "--station", "B", *config])
    assert one.exit_code == 0
    assert "B at 1970" in one.stdout
    assert "C at" not in one.stdout
    assert NOT_A_CAUSE in one.stdout
    assert "rain" in one.stdout
    assert CliRunner().invoke(app, ["explain", "--model", "gru", *config]).exit_code == 4
    absent = CliRunner().invoke(app, ["explain", "--station", "Z", *config])
    assert "no station 'Z' is explained; there are: A, B, C" in str(absent.exception)
