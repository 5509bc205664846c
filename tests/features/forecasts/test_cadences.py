"""Series at intervals far apart: each is forecast on its own, and none changes what a faster one says."""

import random
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from monitor.features.forecasts import run, tasks, train
from monitor.features.forecasts.read_site import read_site
from monitor.features.forecasts.tables import forecast, forecast_state, forecast_withheld
from monitor.features.forecasts.worker import make_panel
from monitor.models.queries.registry import load_models
from monitor.readings.queries.storing import add_observations
from monitor.readings.records import Observation
from monitor.readings.tables import series
from monitor.settings.service import ServiceConfig
from monitor.sites.parsing import parse_site
from monitor.sites.queries.sites import save_site
from monitor.sites.records import Site
from monitor.storage.engine import Database
from monitor.worker import compute
from tests.data import site_text
from tests.data.crossing import cross, hurry
from tests.data.store_rows import ask
from tests.fixtures.databases import create_schema

END = datetime(2026, 3, 1, 6, tzinfo=UTC)
HOUR, DAY = 3600.0, 86400.0
GNSS = {"G1": HOUR, "G2": HOUR}
SLOW = {"R1": 6 * DAY, "C1": 7 * DAY}


def spell_site(name: str, intervals_s: dict[str, float], horizons=("1d", "7d", "30d"), models=()) -> str:
    plan = {"models": models, "horizons": horizons}
    text = site_text.head(name, "Drawn", timezone="UTC", levels=site_text.FOUR, forecast=plan)
    for i, (station, interval_s) in enumerate(intervals_s.items()):
        quantity = {"G": "displacement_downslope", "R": "displacement_los", "C": "crack_opening"}[station[0]]
        facts = {"max_silence": f"{round(4 * interval_s)}s"} | ({"by_hand": True} if station[0] == "C" else {})
        measured = site_text.series(quantity, "mm", f"{round(interval_s)}s", **facts)
        text += site_text.station(station, measured, latitude=46.0 + i * 0.0005, longitude=8.0)
    return text


def declare(name: str, intervals_s: dict[str, float], *words, **more) -> Site:
    return parse_site(spell_site(name, intervals_s, *words, **more), f"{name}.toml")


def fill(database: Database, site: Site, rows: dict[float, int], seed: int = 1) -> None:
    """Creep with noise on every series, the same for a series of the same name, up to END."""
    every = []
    for station in site.stations:
        for spec in station.series:
            noise = random.Random(f"{station.id}{seed}")
            count = rows.get(spec.interval_s, 300)
            for k in range(count):
                at = END - timedelta(seconds=spec.interval_s * (count - 1 - k))
                value = 0.1 * (at - END).total_seconds() / DAY + noise.gauss(0, 0.5)
                where = (site.id, station.id, spec.quantity, "mm")
                every.append(Observation(*where, at, at + timedelta(minutes=1), round(value, 3)))
    with database.write() as c:
        save_site(c, site, "test", "test", END)
        for first in range(0, len(every), 5000):
            add_observations(c, every[first : first + 5000], END + timedelta(minutes=2))


def issued(database: Database, site: Site) -> dict[tuple, dict]:
    """What was stored of each forecast, but for numbers that name the site."""
    f, s = forecast, series
    query = select(f, s.c.station).join(s, s.c.id == f.c.series_id).where(s.c.site == site.id, ~f.c.hindcast)
    with database.read() as c:
        found = c.execute(query).mappings()
        rows = [dict(row) for row in found]
    for row in rows:
        for key in ("id", "series_id", "latency_ms", "reason_values"):  # the instant at which a training ended
            row.pop(key)
    return {(row["station"], row["model"], row["model_hash"], row["horizon_s"]): row for row in rows}


@pytest.fixture
def config(tmp_path: Path, monkeypatch) -> ServiceConfig:
    monkeypatch.setattr(compute, "run", lambda task, asked, *_, **__: cross(task, hurry(asked)))
    return ServiceConfig.model_validate({"paths": {"inbox": f"{tmp_path}/inbox", "models": f"{tmp_path}/models"}})


@pytest.mark.soak
def test_every_series_is_forecast_and_a_slow_one_changes_no_bit_of_a_fast_one(database, config, tmp_path):
    create_schema(f"sqlite:///{tmp_path}/alone.db")
    apart = Database(f"sqlite:///{tmp_path}/alone.db")  # a checkpoint of the same weights is one checkpoint
    rows = {HOUR: 24 * 50, 6 * DAY: 60, 7 * DAY: 60}
    now = END + timedelta(minutes=5)
    plan = (("1d", "7d"), ("gru",))
    alone, mixed = declare("alone", GNSS, *plan), declare("mixed", GNSS | SLOW, *plan)
    hashes, both = [], []
    for db, site in ((apart, alone), (database, mixed)):
        fill(db, site, rows)
        train.run(db, config, site, now)
        run.run(db, config, site, now)
        both.append(issued(db, site))
        models = [m for m in ask(db, load_models, task="forecast") if m.state != "retired"]
        hashes.append({m.card["data"]["hash"]: m.model_hash for m in models})
    apart.close()
    fast = {key: row for key, row in both[1].items() if key[0] in GNSS}
    assert fast.keys() == both[0].keys()
    changed = {(key, name) for key, row in both[0].items() for name in row if row[name] != fast[key][name]}
    assert not changed, "forecasts of a fast series are the same bit for bit"
    assert {key[1] for key in fast} == {"combined", "persistence", "line", "gru"}
    days = {(key[0], key[3] / DAY) for key in both[1] if key[1] == "combined"}
    assert {d for station, d in days if station == "G1"} == {1, 7}
    assert {d for station, d in days if station == "R1"} == {7}, "six days do not reach the next day"
    assert ({d for station, d in days if station == "C1"}, len(hashes[0])) == ({7}, 1)
    assert hashes[0].items() <= hashes[1].items(), "a network of it learns the same, bit for bit"


@pytest.mark.parametrize("seed", range(3))
def test_a_panel_reads_the_same_beside_any_slower_series(database: Database, config: ServiceConfig, seed: int) -> None:
    draw = random.Random(seed)
    fast_s = draw.choice([600.0, HOUR, 6 * HOUR, DAY])
    horizons, longest = draw.choice([(("6h", "1d"), DAY), (("1d", "7d", "30d"), 30 * DAY), (("1d",), DAY)])
    slower = [s for s in (4 * fast_s, 12 * HOUR, DAY, 6 * DAY, 12 * DAY, 35 * DAY) if s > 3 * fast_s]
    slow = dict(zip(("R1", "C1", "R2"), draw.sample(slower, min(3, len(slower))), strict=False))
    fast = {"G1": fast_s, "G2": fast_s}
    alone, mixed = declare("alone", fast, horizons), declare("mixed", fast | slow, horizons)
    for site in (alone, mixed):
        fill(database, site, {fast_s: 150} | dict.fromkeys(slow.values(), 30), seed)
    now = END + timedelta(minutes=5)
    with database.read() as c:
        (lone,), found = read_site(c, alone, now), read_site(c, mixed, now)
    assert asdict(lone.record) == asdict(found[0].record), "what a worker is given"
    assert lone.panel.cadence == found[0].panel.cadence
    read = {s.label.partition(".")[0]: one for one in found for s in one.samples}
    assert set(read) == set(fast) | set(slow), "no series is left out"
    for station, interval_s in slow.items():
        cadence = read[station].panel.cadence
        assert interval_s <= cadence.step_s <= 3 * max(interval_s, longest), "on a grid of its own"


def test_a_slow_series_is_stale_by_its_own_interval(database: Database, config: ServiceConfig) -> None:
    site = declare("mixed", GNSS | SLOW)
    fill(database, site, {HOUR: 24 * 30, 6 * DAY: 60, 7 * DAY: 60})
    later = END + timedelta(days=11)  # hourly readings stopped long ago; the next pass of the satellite was missed
    run.run(database, config, site, later)
    w, s = forecast_withheld, series
    with database.read() as c:
        query = select(s.c.station, w.c.reason).join(s, s.c.id == w.c.series_id)
        told = dict(c.execute(query.where(w.c.model == "combined")).all())
    assert ({key[0] for key in issued(database, site)}, set(told)) == ({"R1", "C1"}, {"G1", "G2"})
    assert "no series of this interval has a reading of the last 4 intervals" in told["G1"]


def test_a_slow_series_drives_a_fast_one_where_the_site_names_it(database: Database) -> None:
    text = spell_site("mixed", GNSS | SLOW, models=("gru",))
    named = text.replace("models =", 'covariates = ["C1.crack_opening"]\nmodels =')
    fill(database, parse_site(text, "mixed.toml"), {HOUR: 24 * 60, 6 * DAY: 60, 7 * DAY: 60})
    read = []
    for one in (text, named):
        fast, _ = ask(database, read_site, parse_site(one, "mixed.toml"), END + timedelta(minutes=5))
        drivers = make_panel(fast.record).drivers
        read.append(None if drivers is None else {name.rpartition(".")[0] for name in drivers.names})
    assert read == [None, {"C1.crack_opening"}]


@pytest.mark.soak
def test_a_panel_in_pieces_stores_no_state(database: Database, config: ServiceConfig, monkeypatch) -> None:
    site = declare("pieces", {"G1": DAY, "G2": DAY, "G3": DAY}, ("1d",))
    fill(database, site, {DAY: 60})
    states = select(forecast_state.c.panel)
    monkeypatch.setattr(tasks, "POINTS_AT_ONCE", 2)
    for days in (0, 1):
        run.run(database, config, site, END + timedelta(days=days, minutes=5))
        with database.read() as c:
            assert c.execute(states).all() == []
    assert {key[0] for key in issued(database, site)} == {"G1", "G2", "G3"}
    monkeypatch.undo()
    monkeypatch.setattr(compute, "run", lambda task, asked, *_, **__: cross(task, hurry(asked)))
    run.run(database, config, site, END + timedelta(days=1, minutes=10))
    with database.read() as c:
        assert len(c.execute(states).all()) == 1
