"""The date of the first forecast is the same in every place that names one, and it is kept."""

import asyncio
import json
import re
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forecasting.data.kinds import format_span
from monitor.cli.main import run_command
from monitor.features.forecasts import run
from monitor.features.forecasts.first_forecast import ObservedCells, expect_forecast, expect_training
from monitor.models.lacking import find_lacking
from monitor.readings.queries.storing import add_observations
from monitor.readings.records import Observation
from monitor.settings.service import ServiceConfig, load_service
from monitor.sites.parsing import parse_site
from monitor.sites.queries.sites import save_site
from monitor.sites.records import Site
from monitor.storage.engine import Database
from monitor.storage.views import load_view
from monitor.text.instants import format_iso, parse_time
from monitor.web.app import build_app
from monitor.worker import compute
from tests.data import site_text
from tests.data.crossing import cross
from tests.data.watched_slope import write_service
from tests.markup import flatten_html

HOUR = timedelta(hours=1)
# Interval and number of readings so far of each quantity; the crack and the piezometer are read by hand.
SERIES = {
    "displacement_downslope": (HOUR, 50),
    "pore_pressure": (24 * HOUR, 9),
    "tilt_x": (6 * HOUR, 17),
    "groundwater_level": (14 * 24 * HOUR, 4),
}


def write_site() -> str:
    text = site_text.head(
        "first", timezone="UTC", levels=site_text.FOUR, forecast={"models": ["gru"], "horizons": ["1d", "7d"]}
    )
    for number, (quantity, (interval, _)) in enumerate(SERIES.items()):
        unit = {"displacement_downslope": "mm", "pore_pressure": "kPa", "tilt_x": "mrad", "groundwater_level": "m"}
        hours = f"{round(interval / HOUR)}h"
        text += site_text.station(f"S{number}", site_text.series(quantity, unit[quantity], hours))
    return text


def store(database: Database, site: Site, end: datetime) -> None:
    """Store the readings of `SERIES`, the newest between one minute and one interval before `end`."""
    readings = []
    for number, station in enumerate(site.stations):
        (spec,) = station.series
        interval, count = SERIES[spec.quantity]
        newest = end - (1 + number) * timedelta(minutes=1)
        readings += [
            Observation(site.id, station.id, spec.quantity, spec.unit, newest - age * interval, newest, 10.0 + age % 3)
            for age in range(count)
        ]
    with database.write() as c:
        save_site(c, site, "test", "test", end - timedelta(days=900))
        add_observations(c, readings, end)


@pytest.fixture
def config(tmp_path, monkeypatch) -> ServiceConfig:
    monkeypatch.setattr(compute, "run", cross)
    return ServiceConfig.model_validate({"paths": {"inbox": f"{tmp_path}/inbox", "models": f"{tmp_path}/models"}})


@pytest.mark.soak
def test_page_status_sql_forecast_run_and_core_name_the_same_date(database, config, tmp_path, capsys) -> None:
    text = write_site()
    site = parse_site(text, "first.toml")
    end = datetime.now(UTC).replace(microsecond=0)
    store(database, site, end)
    service = write_service(tmp_path, database, text)

    def call(*words: str) -> str:
        run_command([*words, "--config", str(service)])
        return capsys.readouterr().out

    said = [json.loads(line) for line in call("forecast", "run", "first", "--json").splitlines()]
    status = json.loads(call("status", "--json"))["awaited"]
    printed_text = call("forecast", "run", "first")
    status_text = call("status")
    listed = [json.loads(line) for line in call("forecast", "models", "--json").splitlines()]
    with database.read() as c:
        lacking = find_lacking(c, site, datetime.now(UTC)).awaited
        rows = load_view(c, "why_not_shown", site="first")
    app = build_app(load_service(None, {}), database, lambda: datetime.now(UTC))

    async def fetch() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as client:
            return await client.get("/sites/first/forecasts")

    page = flatten_html(asyncio.run(fetch()).text)
    simple = {row["quantity"]: row["earliest_at"] for row in rows if row["model"] == "combined"}
    network = {row["quantity"]: row["earliest_at"] for row in rows if row["model"] == "gru"}
    assert simple.keys() == SERIES.keys()
    assert network.keys() == {"displacement_downslope"}, "networks are for motion"
    dates = {name.partition("_downslope")[0]: at for name, at in simple.items()}
    for quantity, group in (("tilt_x", "tilt"),):
        dates[group] = dates.pop(quantity)
    assert {one["at"] for one in status if one["kind"] == "gru"} == {*network.values()}
    assert {m.quantity: format_iso(m.at) for m in lacking if m.what == "forecast"} == dates
    assert {m.what: format_iso(m.at) for m in lacking if m.what == "gru"} == {"gru": network["displacement_downslope"]}
    assert {one["at"] for one in status if one["kind"] == "forecast"} == {*dates.values()}
    assert listed == status
    counted = {f"{m.rows} of {m.needed} rows of {format_span(m.step_s)}" for m in lacking if m.what == "forecast"}
    assert counted == {row["lacking"] for row in rows if row["model"] == "combined"}
    printed = {station: one["earliest_at"] for one in said for station in one.get("stations", ())}
    for row in rows:
        if row["model"] == "combined":
            name = row["station"] + (
                "" if row["quantity"].startswith("disp") else f" {row['quantity'].replace('_', ' ')}"
            )
            assert name in printed
            at = row["earliest_at"]
            minute = f"{at[:10]} {at[11:16]}"
            time = rf"<time datetime=\"{at}\"[^>]*>{minute}</time>"
            assert re.search(rf"combined[^;]*: {row['lacking']};\s*<b>at the earliest\s*{time}</b>", page), row
            assert f"at the earliest {minute} UTC" in printed_text
            assert f"all on {minute} UTC" in status_text
    assert {one["earliest_at"] for one in said if "earliest_at" in one} == {*simple.values(), *network.values()}


def test_a_forecast_comes_on_the_expected_date_and_not_before(database, config) -> None:
    text = site_text.head("first", timezone="UTC", levels=site_text.FOUR, forecast={"horizons": ["7d"]})
    text += site_text.station("P1", site_text.series("pore_pressure", "kPa", "1d"))
    site = parse_site(text, "first.toml")
    start = datetime(2026, 1, 1, tzinfo=UTC)
    with database.write() as c:
        save_site(c, site, "test", "test", start)
    expected = set()
    first_at = None
    # The sensor is silent from the fifth to the ninth day.
    for day in [*range(5), *range(10, 60)]:
        now = start + timedelta(days=day)
        with database.write() as c:
            add_observations(c, [Observation("first", "P1", "pore_pressure", "kPa", now, now, 10.0 + day % 3)], now)
        run.run(database, config, site, now)
        with database.read() as c:
            shown = [row for row in load_view(c, "latest_forecast", site="first") if row["shown"]]
            why = [
                row["earliest_at"] for row in load_view(c, "why_not_shown", site="first") if row["model"] == "combined"
            ]
        if shown:
            first_at = now
            break
        expected |= {*why} if day >= 10 else set()
    assert {format_iso(first_at)} == expected


def observe(cells: list[int]) -> ObservedCells:
    """Return cells of an hour with a reading at the instant of each."""
    return ObservedCells(0.0, 3600.0 * cells[-1], 3600.0, 3600.0, cells)


@given(st.sets(st.integers(1, 90), max_size=60), st.integers(1, 30))
def test_the_expected_instant_stays_while_every_cell_has_a_reading(later_cells, steps) -> None:
    cells = sorted({0, *later_cells})
    expectations = [expect_forecast(observe(cells), steps)]
    while expectations[-1].at is not None:
        cells.append(cells[-1] + 1)
        expectations.append(expect_forecast(observe(cells), steps))
    # a reading that is at most three cells old stands for the origin of a forecast
    errors = sum(any(cell - steps - age in cells for age in range(4)) for cell in cells)
    assert errors >= 20
    if len(expectations) > 1:
        assert errors == 20, "not a reading later than needed"
        assert {one.at for one in expectations[:-1]} == {datetime.fromtimestamp(3600.0 * cells[-1], UTC)}
    assert all(one.rows < one.needed for one in expectations[:-1])
    assert expectations[-1].rows >= expectations[-1].needed


def test_a_network_is_expected_when_its_rows_are_there() -> None:
    expected = expect_training(observe([0, 5, 6]), "gru")
    assert (expected.rows, expected.needed) == (3, 200)
    assert expected.at == parse_time("1970-01-01T00:00:00Z") + HOUR * (6 + 197)
