"""What is stored of an explanation is what the keyboard shows, for the station asked for."""

import asyncio
import json
import re
from datetime import UTC, datetime

import httpx
import pytest
from typer.testing import CliRunner

from forecasting.data.series import DAY_S
from forecasting.data.splits import split
from forecasting.explanation.record import NOT_A_CAUSE, explain
from forecasting.neural.learner import Settings
from forecasting.neural.training import train_network
from monitor.features.forecasts.cli.app import app
from monitor.models.queries.registry import add_model
from monitor.settings.service import load_service
from monitor.sites.parsing import parse_site
from monitor.sites.queries.sites import save_site
from monitor.web.app import build_app
from tests.data.site_text import head, series, station
from tests.data.slopes import rain_driven
from tests.markup import flatten_html

SITE = head("slope", levels={"names": ["green", "yellow"]}) + station("A", series("displacement", "mm", "1d"))
NOW = datetime(2025, 6, 1, tzinfo=UTC)


async def fetch(app, path):
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as client:
        return await client.get(path)


@pytest.fixture(scope="module")
def told():
    panel = rain_driven(300)
    parts = split(300)
    settings = Settings(epochs=1, stride=4, window=14, hidden=8)
    return explain(train_network("graph-gru", panel, parts, (DAY_S,), settings).forecaster, panel, parts)


def test_a_stored_explanation_is_shown(database, database_url, tmp_path, told):
    (tmp_path / "slopeward.toml").write_text(f'[database]\nurl = "{database_url}"\n')
    config = ["slope", "--config", str(tmp_path / "slopeward.toml")]
    with database.write() as c:
        save_site(c, parse_site(SITE, "slope.toml"), "test", "test", NOW)
    assert CliRunner().invoke(app, ["explain", *config]).exit_code == 4
    with database.write() as c:
        for digest, card in (("a" * 64, {"explanation": told}), ("b" * 64, {})):
            facts = {"kind": "graph-gru", "task": "forecast", "site": "slope", "path": "x", "card": card}
            add_model(c, digest, now=NOW, reason="t", **facts)
    page = asyncio.run(fetch(build_app(load_service(None, {}), database, lambda: NOW), "/sites/slope/forecasts"))
    assert page.status_code == 200
    number = r"[-.\de]+"
    text = flatten_html(page.text)
    assert re.search(rf"<small>aaaaaaaa</small>.*earlier motion {number}, neighbours", text)
    assert "It does not show what" in text
    beside = r"Additional input.*<td>R.rain_mm</td><td class=.num.>0 %</td>.*W.level_m"
    assert re.search(beside, text)
    assert "bbbbbbbb" not in text
    shown = CliRunner().invoke(app, ["explain", "--json", *config])
    assert shown.exit_code == 0, shown.output
    (row,) = [json.loads(line) for line in shown.stdout.splitlines()]
    assert (row["model"], {key: row[key] for key in told}) == ("graph-gru", told)
    one = CliRunner().invoke(app, ["explain", "--station", "B", *config])
    assert one.exit_code == 0
    assert "B at 1970" in one.stdout
    assert "C at" not in one.stdout
    assert NOT_A_CAUSE in one.stdout
    assert "rain" in one.stdout
    assert CliRunner().invoke(app, ["explain", "--model", "gru", *config]).exit_code == 4
    absent = CliRunner().invoke(app, ["explain", "--station", "Z", *config])
    assert "no station 'Z' is explained; there are: A, B, C" in str(absent.exception)
