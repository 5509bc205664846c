"""A measured record and a site file are enough to ingest, train, forecast and list models by commands."""

import csv
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from forecasting.data.sources import read_recipe, read_record
from monitor.cli.main import run_command
from monitor.features.forecasts import hindcast
from monitor.worker import compute
from tests.data.crossing import cross, hurry
from tests.data.site_text import THREE, head, series, station

pytestmark = pytest.mark.data

RECIPES = Path(__file__).resolve().parents[2] / "configs" / "forecasting"


def write_service(folder, stations):
    """Write a service file and a site file. Return the option of the commands that names the service file."""
    (folder / "sites").mkdir()
    plan = {"models": ["gru"], "horizons": ["15m", "3h"]}
    text = head("glacier", "glacier", 60.0, 10.0, timezone="UTC", levels=THREE, forecast=plan)
    (folder / "sites" / "glacier.toml").write_text(text + "".join(stations))
    config = folder / "slopeward.toml"
    config.write_text(
        f'[database]\nurl = "sqlite:///{folder / "s.db"}"\n[paths]\nsites = "{folder / "sites"}"\n'
        f'models = "{folder / "models"}"\n'
    )
    return ["--config", str(config)]


def write_long(path, rows):
    """Write the record as a long CSV that ends now, because imported readings are known from now on only.

    Return the names of its stations.
    """
    panel = read_record(None, read_recipe(RECIPES / "bowdoin.toml")).panel
    # Up to the last row with a value of every station, because a silent station has no forecast.
    last = int(np.flatnonzero(np.isfinite(panel.values).all(axis=1))[-1])
    end = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(minutes=10)
    with path.open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["time", "station", "quantity", "value"])
        for k in range(last + 1 - rows, last + 1):
            at = end - timedelta(seconds=float(panel.times_s[last] - panel.times_s[k]))
            values = [(name, v) for name, v in zip(panel.stations, panel.values[k], strict=True) if np.isfinite(v)]
            out.writerows([at.isoformat(), name, "displacement_mm", float(v)] for name, v in values)
    return panel.stations


@pytest.fixture
def call(monkeypatch, capsys):
    """Return a function that runs a command, with jobs in this process and short training of networks."""
    monkeypatch.setattr(compute, "run", lambda task, asked, *_, **__: cross(task, hurry(asked, stride=8)))
    monkeypatch.setattr(hindcast, "ISSUES", 3)

    def ask(*words):
        code = run_command(list(words))
        output = capsys.readouterr()
        return code, output.out + output.err

    return ask


@pytest.mark.soak
def test_record_of_15_minutes_is_ingested_trained_and_forecast(measured, tmp_path, call):
    measured("bowdoin-gnss15min/B1601_15min.dat")
    names = write_long(tmp_path / "b.csv", 500)
    config = write_service(tmp_path, [station(s, series("displacement", "mm", "15m", max_silence="2h")) for s in names])
    assert call("db", "upgrade", *config)[0] == 0
    code, output = call("ingest", str(tmp_path / "b.csv"), "--site", "glacier", *config)
    assert code == 0, output
    code, output = call("forecast", "train", "glacier", "--model", "gru", *config)
    assert code == 0, output
    assert len(list((tmp_path / "models").rglob("*.safetensors"))) == 1, output
    code, output = call("forecast", "run", "glacier", *config)
    assert code == 0, output
    # Each station and horizon has four forecasts: combined, persistence, line and gru.
    assert f"{len(names) * 2 * 4} forecasts; 0 withheld" in output
    code, output = call("forecast", "models", "--site", "glacier", "--json", *config)
    facts = json.loads(output.splitlines()[0])
    assert (facts["kind"], facts["state"]) == ("gru", "active")
