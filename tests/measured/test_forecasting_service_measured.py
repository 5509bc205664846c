"""Measured records with a site file only: ingested from a file, trained, forecast and explained by the verbs."""

import csv
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from forecasting.data.sources import read_recipe, read_record
from monitor.cli.main import run_verb
from monitor.worker import compute
from tests.data.crossing import cross, hurry
from tests.data.site_text import THREE, head, series, station

pytestmark = pytest.mark.data

RECIPES = Path(__file__).resolve().parents[2] / "configs" / "forecasting"


def write_service(folder, site, models, horizons, stations):
    """A service file, one site file, and the option that names them."""
    (folder / "sites").mkdir()
    forecast = {"models": models, "horizons": horizons}
    text = head(site, site, 60.0, 10.0, timezone="UTC", levels=THREE, forecast=forecast)
    (folder / "sites" / f"{site}.toml").write_text(text + "".join(stations))
    config = folder / "slopeward.toml"
    config.write_text(
        f'[database]\nurl = "sqlite:///{folder / "s.db"}"\n[paths]\nsites = "{folder / "sites"}"\n'
        f'models = "{folder / "models"}"\n'
    )
    return ["--config", str(config)]


def write_long(path, recipe):
    """The record of a recipe as a long CSV that ends now: what is imported today was known to nobody earlier."""
    record = read_record(None, read_recipe(RECIPES / f"{recipe}.toml"))
    # up to the last row that every station has: one that fell silent before is not forecast, and says so
    last = int(np.flatnonzero(np.isfinite(record.panel.values).all(axis=1))[-1])
    panel = record.panel.head(last + 1)
    end = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(minutes=10)
    times = [end - timedelta(seconds=float(panel.end_s - t)) for t in panel.times_s]
    columns = [(name, "displacement_mm", panel.values[:, i]) for i, name in enumerate(panel.stations)]
    columns += [(*c.name.split(".", 1), c.values) for c in record.covariates]
    with path.open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["time", "station", "quantity", "value"])
        for at, k in zip(times, range(len(times)), strict=True):
            for name, quantity, values in columns:
                if np.isfinite(values[k]):
                    out.writerow([at.isoformat(), name, quantity, float(values[k])])
    return panel


@pytest.fixture
def call(monkeypatch, capsys):
    """The verbs, with jobs in this process and networks that take one pass: what is looked at is that all fits."""

    monkeypatch.setattr(compute, "run", lambda task, asked, *_, **__: cross(task, hurry(asked, stride=8)))

    def ask(*words):
        code = run_verb(list(words))
        told = capsys.readouterr()
        return code, told.out + told.err

    return ask


def test_a_quarter_of_an_hour_by_a_site_file(measured, tmp_path, call):
    measured("bowdoin-gnss15min/B1601_15min.dat")
    panel = write_long(tmp_path / "b.csv", "bowdoin")
    stations = [station(s, series("displacement", "mm", "15m", max_silence="2h")) for s in panel.stations]
    config = write_service(tmp_path, "glacier", ["auto", "gru"], ["15m", "3h", "1d"], stations)
    assert call("db", "upgrade", *config)[0] == 0
    code, said = call("ingest", str(tmp_path / "b.csv"), "--site", "glacier", *config)
    assert code == 0, said
    code, said = call("forecast", "train", "--site", "glacier", "--model", "gru", *config)
    assert code == 0, said
    assert len(list((tmp_path / "models").rglob("*.safetensors"))) == 1, said
    code, said = call("forecast", "run", "--site", "glacier", *config)
    assert code == 0, said
    # every station, horizon and model: persistence, drift, lld, auto, gru, and what the gate makes of it where it does
    assert int(said.split(" rows by ")[0].split()[-1]) >= len(panel.stations) * 3 * 5
    assert "models; 0 withheld" in said
    code, said = call("forecast", "models", "--site", "glacier", "--json", *config)
    facts = json.loads(said.splitlines()[0])
    assert facts["state"] == "shadow"
    assert {h["horizon_s"] for h in facts["horizons"]} == {900.0, 10800.0, 86400.0}
