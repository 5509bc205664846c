"""Rain and water reach the network that reads them, as they were known when it was trained."""

import random
from datetime import UTC, datetime, timedelta

from forecasting.neural.checkpoint import read
from forecasting.serving.records import TrainingRequest
from monitor.config.service import parse_site
from monitor.domain.instants import epoch_s
from monitor.domain.observation import Observation
from monitor.jobs.forecasts.drivers import load_drivers
from monitor.jobs.forecasts.tasks import (
    FORECAST_SITE,
    TRAIN_FORECASTER,
    ModelRequest,
    NetworkTrainingRequest,
    SiteForecastRequest,
    SiteRecord,
)
from monitor.store.alerting.sites import save_site
from monitor.store.readings.observations import add_observations
from tests.conftest import ON_BOTH
from tests.data import site_text
from tests.data.crossing import cross

START = datetime(2024, 1, 1, tzinfo=UTC)
DAYS = 330


SITE = (
    site_text.head(
        "wet",
        latitude=46.2,
        longitude=8.9,
        timezone="Europe/Zurich",
        levels={"names": ["green", "yellow"]},
        forecast={"models": ["auto", "graph-gru"], "horizons": ["1d"]},
    )
    + "".join(
        site_text.station(
            f"G{i}",
            site_text.series("displacement", "mm", "1d"),
            latitude=46.2 + i * 0.0005,
            longitude=8.9,
            azimuth_deg=200.0,
            plunge_deg=20.0,
        )
        for i in range(2)
    )
    + site_text.station("R1", site_text.series("rain", "mm", "1d"), site_text.series("groundwater_level", "m", "1d"))
    + site_text.station("R2", site_text.series("rain", "mm", "1d", stamp="counter", high=1e6))
    + site_text.station("R3", site_text.series("rain", "mm", "1d", stamp="event"))
)


def _rows():
    rng = random.Random(3)
    rows, counter = [], 0.0
    for day in range(DAYS + 5):
        at = START + timedelta(days=day)
        rain = rng.choice((0.0, 0.0, 12.0))
        counter = 0.0 if day == 100 else counter + rain
        for station, quantity, unit, value in (
            ("R1", "rain", "mm", rain),
            ("R2", "rain", "mm", counter),
            ("R3", "rain", "mm", 0.2),
            ("R1", "groundwater_level", "m", 400.0 + rng.random()),
            ("G0", "displacement", "mm", day * 0.5 + rng.random()),
            ("G1", "displacement", "mm", day * 0.4 + rng.random()),
        ):
            rows.append(Observation("wet", station, quantity, unit, at, at, value))
    return rows


@ON_BOTH
def test_drivers_are_read_as_they_were_known(database):
    site, now = parse_site(SITE, "wet.toml"), START + timedelta(days=DAYS)
    with database.write() as c:
        save_site(c, site, "test", "test", START)
        add_observations(c, _rows(), START + timedelta(days=DAYS + 5))
    with database.read() as c:
        found = load_drivers(c, site, START - timedelta(days=1), now, quantities=("rain", "groundwater_level"))
    assert set(found) == {"R1.rain", "R1.groundwater_level", "R2.rain"}
    assert max(found["R1.rain"][0]) == epoch_s(now)
    counted = dict(zip(*found["R2.rain"], strict=True))
    measured = dict(zip(*found["R1.rain"], strict=True))
    assert len(counted) == len(measured) - 2
    assert all(abs(measured[t] - value) < 1e-9 for t, value in counted.items())
    assert epoch_s(START + timedelta(days=100)) not in counted, "the day of the reset is not known"


def test_drivers_reach_the_network(tmp_path):
    samples: dict = {}
    for row in _rows():
        times, values = samples.setdefault(f"{row.station}.{row.quantity}", ([], []))
        times.append(epoch_s(row.observed_at))
        values.append(row.value)
    drivers = {name: samples[name] for name in ("R1.rain", "R1.groundwater_level")}
    moved = {name: one for name, one in samples.items() if name.startswith("G")}
    record = SiteRecord(moved, 86400.0, epoch_s(START + timedelta(days=DAYS + 4)), drivers=drivers)
    training = TrainingRequest("graph-gru", (86400.0,), tmp_path, epochs=1, stride=4)
    answer = cross(TRAIN_FORECASTER, NetworkTrainingRequest(record, training))
    sources = read(answer.path)[0].recipe.sources
    assert {"R1.rain.sum_3d", "R1.groundwater_level"} <= set(sources.names)
    assert {"rain", "water"} <= set(answer.card["explanation"]["groups"])
    models = (ModelRequest("graph-gru", "graph-gru", answer.path),)
    made = cross(FORECAST_SITE, SiteForecastRequest(record, (86400.0,), models, {}))
    assert not made.failed
    assert {row.station for row in made.rows} == {"G0.displacement", "G1.displacement"}
