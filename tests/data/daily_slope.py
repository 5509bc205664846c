"""A site with daily readings at three stations."""

import math
import random
from datetime import UTC, datetime, timedelta

from monitor.readings.queries.storing import add_observations
from monitor.readings.records import Observation
from monitor.sites.records import Site
from monitor.storage.engine import Database
from tests.data import site_text
from tests.data.store_rows import tell

START = datetime(2025, 1, 1, tzinfo=UTC)
_PLACE = {"latitude": 46.2, "longitude": 8.9, "timezone": "Europe/Zurich"}
_PLAN = {
    "forecast": {"models": ["gru"], "horizons": ["1d", "7d"]},
    "scenes": {"weights": "generated"},
    "levels": {"names": ["green", "yellow", "orange", "red"]},
    "anomaly": {"detectors": ["rules", "ae"]},
}
_SERIES = site_text.series("displacement", "mm", "1d", max_silence="3d")
_ALONG = {"longitude": 8.9, "azimuth_deg": 200.0, "plunge_deg": 20.0}
SITE = site_text.head("jobs", **_PLACE, **_PLAN) + "".join(
    site_text.station(f"G{i}", _SERIES, latitude=46.2 + i * 0.0005, **_ALONG) for i in range(3)
)


def fill(database: Database, site: Site, days: int, first_day: int = 0) -> datetime:
    """Store daily readings with steady creep, a season and white noise. Return the instant after the last one."""
    noise = random.Random(1)
    values = {
        (i, day): 0.3 * day + 2 * math.sin(day / 58.0 + i) + noise.gauss(0, 0.8) for i in range(3) for day in range(900)
    }
    rows = [
        Observation(site.id, f"G{i}", "displacement", "mm", at, at + timedelta(minutes=1), values[i, day])
        for day in range(first_day, first_day + days)
        for i, at in enumerate([START + timedelta(days=day)] * 3)
    ]
    end = START + timedelta(days=first_day + days - 1, hours=1)
    tell(database, add_observations, rows, end)
    return end
