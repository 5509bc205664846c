"""Pore pressure, water levels, cracks and tilt are forecast in their own units; the weather is not."""

import asyncio
import json
import random
from dataclasses import asdict
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.cli.main import run_command
from monitor.features.forecasts import run
from monitor.features.forecasts.read_site import read_site
from monitor.features.forecasts.series_text import describe_not_forecast
from monitor.features.forecasts.worker import make_panel
from monitor.models.samples import list_horizons, list_panels
from monitor.readings.queries.storing import add_observations
from monitor.readings.records import Observation
from monitor.settings.service import ServiceConfig, load_service
from monitor.sites.parsing import parse_site
from monitor.sites.quantities import QUANTITIES
from monitor.sites.queries.sites import save_site
from monitor.sites.records import Site
from monitor.sites.watched import number_declared_series
from monitor.storage.engine import Database
from monitor.storage.views import load_view
from monitor.web.app import build_app
from monitor.worker import compute
from tests.data import site_text
from tests.data.crossing import cross
from tests.data.watched_slope import write_service
from tests.markup import flatten_html

DAY = timedelta(days=1)
STATES = {
    "G1": ("displacement_downslope", "crack_opening"),
    "G2": ("crack_opening",),
    "P1": ("pore_pressure", "groundwater_level", "soil_moisture"),
    "T1": ("tilt_x", "tilt_y"),
    "W1": ("reservoir_level", "rain", "temperature", "battery_voltage"),
}
# The newest value and the change per day, in the unit of the quantity.
LEVEL = {"pore_pressure": (3.0, -0.5), "groundwater_level": (412.0, 0.02), "tilt_x": (5.0, 0.01)}


def write_site(stations=STATES, interval="1d", models=()) -> str:
    text = site_text.head("states", timezone="UTC", levels=site_text.FOUR, forecast={"models": models})
    for number, (name, quantities) in enumerate(stations.items()):
        series = [site_text.series(quantity, QUANTITIES[quantity].unit, interval) for quantity in quantities]
        text += site_text.station(name, *series, latitude=46.0 + number * 0.001, longitude=8.0)
    return text


def store(database: Database, site: Site, end: datetime, days: int) -> None:
    """Store one reading a day of every declared series, the newest at `end`."""
    readings = []
    for station in site.stations:
        for spec in station.series:
            noise = random.Random(f"{station.id}{spec.quantity}")
            level, per_day = LEVEL.get(spec.quantity, (20.0, 0.1))
            size = abs(per_day)
            for age in range(days):
                value = max(0.0, level - age * per_day + noise.gauss(0.0, size)) if level else 0.0
                at = end - age * DAY
                where = (site.id, station.id, spec.quantity, spec.unit)
                readings.append(Observation(*where, at, at + timedelta(minutes=1), round(value, 4)))
    with database.write() as c:
        save_site(c, site, "test", "test", end - 500 * DAY)
        add_observations(c, readings, end + timedelta(minutes=2))


@pytest.fixture
def config(tmp_path, monkeypatch) -> ServiceConfig:
    monkeypatch.setattr(compute, "run", cross)
    return ServiceConfig.model_validate({"paths": {"inbox": f"{tmp_path}/inbox", "models": f"{tmp_path}/models"}})


def test_every_state_of_the_slope_is_forecast_in_its_unit(database, config) -> None:
    site = parse_site(write_site(), "states.toml")
    end = datetime(2026, 3, 1, 6, tzinfo=UTC)
    store(database, site, end, 120)
    run.run(database, config, site, end + timedelta(minutes=5))
    with database.read() as c:
        rows = [row for row in load_view(c, "latest_forecast", site=site.id) if row["shown"]]
    shown = {(row["station"], row["quantity"], row["unit"]) for row in rows}
    left_out = {"rain", "temperature", "soil_moisture", "battery_voltage"}
    assert shown == {
        (station, quantity, QUANTITIES[quantity].unit)
        for station, quantities in STATES.items()
        for quantity in quantities
        if quantity not in left_out
    }
    for row in rows:
        newest, per_day = LEVEL.get(row["quantity"], (20.0, 0.1))
        days = row["horizon_s"] / 86400.0
        assert abs(row["q50"] - newest) < 10.0 * abs(per_day) * (2.0 + days), row


def test_forecasts_keep_to_the_physical_limits_of_their_quantity(database, config) -> None:
    """Pore pressure that falls by 5 kPa a day comes close to the vacuum, and does not pass it."""
    site = parse_site(write_site({"P1": ("pore_pressure",)}), "states.toml")
    end = datetime(2026, 3, 1, 6, tzinfo=UTC)
    noise = random.Random(3)
    falling = [-100.0 + 5.0 * age + noise.gauss(0.0, 0.1) for age in range(120)]
    readings = [
        Observation(site.id, "P1", "pore_pressure", "kPa", end - age * DAY, end, value)
        for age, value in enumerate(falling)
    ]
    with database.write() as c:
        save_site(c, site, "test", "test", end - 500 * DAY)
        add_observations(c, readings, end)
    run.run(database, config, site, end + timedelta(minutes=5))
    with database.read() as c:
        rows = [row for row in load_view(c, "latest_forecast", site=site.id) if row["horizon_s"] > 6 * 86400.0]
    assert rows
    assert all(row["q025"] >= QUANTITIES["pore_pressure"].low for row in rows)
    assert any("held above -110 kPa, a physical bound" in row["reason"] for row in rows)


def test_other_quantities_do_not_change_the_panel_of_motion(database, config) -> None:
    end = datetime(2026, 3, 1, 6, tzinfo=UTC)
    site = parse_site(write_site({"G1": ("displacement_downslope",), **STATES}), "states.toml")
    alone = parse_site(write_site({"G1": ("displacement_downslope",), "G2": ("crack_opening",)}), "states.toml")
    store(database, site, end, 60)
    records = []
    for one in (alone, site):
        with database.read() as c:
            reads = read_site(c, one, end + timedelta(minutes=5))
        (motion,) = [read for read in reads if read.panel.is_motion]
        record = asdict(motion.record)
        record.pop("xy_m")
        records.append(record)
        for read in reads:
            assert read.record is not None
            assert make_panel(read.record).unit == read.panel.unit
    assert records[0]["samples"] == records[1]["samples"]


DRAWN = st.sampled_from(sorted({*QUANTITIES} - {"velocity_p95", "moving_share", "velocity"}))


@given(
    st.dictionaries(
        st.sampled_from("ABC"),
        st.tuples(st.sets(DRAWN, min_size=1, max_size=6), st.sampled_from(["10m", "1d", "14d"])),
    ).filter(bool)
)
def test_every_declared_series_is_in_one_panel_or_named_as_not_forecast(stations) -> None:
    text = site_text.head("states", timezone="UTC", levels=site_text.FOUR)
    for name, (quantities, interval) in stations.items():
        displacement = [q for q in sorted(quantities) if q == "displacement"]
        names = displacement + [q for q in sorted(quantities) if not (displacement and q.startswith("displacement"))]
        series = [site_text.series(q, QUANTITIES[q].unit, interval) for q in names]
        text += site_text.station(name, *series)
    site = parse_site(text, "states.toml")
    panels = list_panels(site, number_declared_series(site))
    for panel in panels:
        assert {series.spec.unit for series in panel.series} == {panel.unit}
        assert max(s.spec.interval_s for s in panel.series) <= 3 * min(s.spec.interval_s for s in panel.series)
    forecast = [series.label for panel in panels for series in panel.series]
    assert len(forecast) == len({*forecast})
    left_out = {f"{station.id}.{spec.quantity}" for station in site.stations for spec in station.series} - {*forecast}
    line = describe_not_forecast(site)
    assert (line is None) == (not left_out)
    quantities = {name.partition(".")[2] for name in left_out}
    assert all(q.startswith("displacement") or q.replace("_", " ") in str(line) for q in quantities)
    assert {h for panel in panels for h in panel.cadence.horizons_s} <= {*list_horizons(site)}


def test_page_status_and_forecast_run_say_what_is_not_forecast(database, config, tmp_path, capsys) -> None:
    text = write_site()
    site = parse_site(text, "states.toml")
    end = datetime.now(UTC).replace(microsecond=0)
    store(database, site, end, 5)
    service = write_service(tmp_path, database, text)
    line = str(describe_not_forecast(site))
    assert line == (
        "not forecast: soil moisture, rain, temperature (weather, which drives the slope); battery voltage (about the "
        "instrument)"
    )

    def call(*words: str) -> str:
        run_command([*words, "--config", str(service)])
        return capsys.readouterr().out

    assert line in call("forecast", "run", "states").splitlines()
    status = json.loads(call("status", "--json"))
    assert status["not_forecast"] == [{"site": "states", "reason": line}]
    assert f"  states: {line}" in call("status").splitlines()

    async def fetch() -> httpx.Response:
        app = build_app(load_service(None, {}), database, lambda: end)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as client:
            return await client.get("/sites/states/forecasts")

    assert line in flatten_html(asyncio.run(fetch()).text)
