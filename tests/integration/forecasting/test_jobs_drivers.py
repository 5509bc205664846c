"""Rain and water reach the network that reads them, as they were known when it was trained."""

import random
from datetime import UTC, datetime, timedelta

from monitor.config.service import parse_site
from monitor.domain.instants import epoch_s
from monitor.domain.observation import Observation
from monitor.jobs.forecasts.drivers import load_drivers
from monitor.store.alerting.sites import save_site
from monitor.store.readings.observations import add_observations
from tests.conftest import ON_BOTH
from tests.data import site_text

START = datetime(2024, 1, 1, tzinfo=UTC)
DAYS = 330


SITE = (
    site_text.head("wet", levels={"names": ["green", "yellow"]})
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
        for station, value in (("R1", rain), ("R2", counter), ("R3", 0.2)):
            rows.append(Observation("wet", station, "rain", "mm", at, at, value))
        rows.append(Observation("wet", "R1", "groundwater_level", "m", at, at, 400.0 + rng.random()))
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
