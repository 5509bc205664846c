"""A backtest over a time with stored forecasts reports what they gained."""

from datetime import timedelta
from random import Random

from monitor.domain.observation import Observation
from monitor.replay.backtest import run_backtest
from monitor.replay.page import write_page
from monitor.replay.text import say_gain
from monitor.store.alerting.sites import save_site
from monitor.store.database.engine import Database
from monitor.store.models.forecasts import ForecastRow, add_forecasts
from monitor.store.readings.observations import add_observations, find_series_id
from tests.unit.monitor.replay.test_forecast_gain import DAY, EVENT, SITE, START


def test_a_backtest_reports_what_stored_forecasts_gained(sqlite_url: str) -> None:
    database = Database(sqlite_url)
    luck, value, rows = Random(1), 0.0, []
    path = []
    for day in range(54):
        value += 0.2 if day < 44 else 0.5 * (day - 43) ** 1.5
        path.append(value)
        at = START + timedelta(days=day)
        rows.append(Observation("slope", "G1", "displacement", "mm", at, at, value + luck.gauss(0.0, 0.1)))
    with database.write() as c:
        save_site(c, SITE, "test", "test", START)
        add_observations(c, rows, START + timedelta(days=60))
        series_id = find_series_id(c, "slope", "G1", "displacement")
        assert series_id is not None
        for day in range(20, 52):
            at = START + timedelta(days=day)
            middle = path[day + 1]
            add_forecasts(c, [ForecastRow(
                series_id, at, at, at, at + timedelta(days=1), DAY, middle - 1.0, middle - 0.6, middle, middle + 0.6,
                middle + 1.0, "auto", "", "persistence", path[day], path[day], shown=True, reason="",
            )])  # fmt: skip
    card = run_backtest(database, SITE, START, START + timedelta(days=53), labels=[EVENT])
    (gain,) = card.runs[0].gains
    assert gain.heard_share > 0.5
    assert gain.false_days == (0, 0)
    assert gain.gained_s[0] is not None
    assert gain.gained_s[0] > 0.0, "the forecast knows a day before"
    assert card.to_json()["runs"][0]["forecast_gain"][0]["criterion"] == "f"
    database.close()
    assert "Forecast beside velocity" in write_page(card)
    assert "Lead gained on velocity with its bounds times" in say_gain(gain)
