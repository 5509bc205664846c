"""What a demonstration counts of its forecasters and detectors, beside figures by hand."""

from datetime import UTC, datetime, timedelta
from itertools import count

import pytest

from monitor.features.demo.worth import assess_detectors, assess_forecasters, print_worth
from tests.data.rows import insert_rows

NOW = datetime(2026, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
ERRORS = {"line": 2.0, "combined": 1.0, "gru": 1.5}


FACTS = """data_until=$at as_of_received_at=$at model_hash= baseline=line data_value=100
    reason='not shown: no forecast of it has been scored yet'"""


def lay_forecast(c, number, model, at, horizon_s=3600.0, series_id=1, moved=10.0, more="shown=no hindcast=yes"):
    fan = (("q025", -4), ("q10", -2), ("q50", 0), ("q90", 2), ("q975", 4), ("baseline_q50", 0))
    quantiles = " ".join(f"{name}={100.0 + moved + off}" for name, off in fan)
    row = f"forecast id={number} series_id={series_id} issued_at=$at target_at=$to horizon_s={horizon_s} model={model}"
    names = {"at": at, "to": at + timedelta(seconds=horizon_s)}
    insert_rows(c, NOW, f"\n{row} {quantiles} {more}\n    {FACTS}\n", names)


@pytest.fixture
def filled(database):
    with database.write() as c:
        rows = """
series id=1 site=s station=G1 quantity=crack_opening unit=mm created_at=+0s
series id=2 site=s station=G2 quantity=crack_opening unit=mm created_at=+0s
anomaly series_id=1 at=-1h detector=ae score=1 threshold=1 budget=0.5 kind=drift alerted=no scored_at=+0s
anomaly series_id=1 at=-2h detector=ae score=1 threshold=1 budget=0.5 kind=drift alerted=yes scored_at=+0s
anomaly series_id=1 at=-3h detector=ae score=1 threshold=1 budget=0.5 kind=drift alerted=yes scored_at=+0s
"""
        insert_rows(c, NOW, rows)
        numbers = count(1)
        for model in ERRORS:
            shown = f"shown={'yes' if model == 'combined' else 'no'} hindcast=no"
            for series_id, moved in ((1, 3.0), (2, -10.0)):
                lay_forecast(c, next(numbers), model, NOW, series_id=series_id, moved=moved, more=shown)
        for model, error in ERRORS.items():
            for issue in range(4 if model == "gru" else 3):  # one issue of the network stands alone: it is no pair
                for horizon_s, times in ((3600.0, 1.0), (86400.0, 10.0 if model == "line" else 1.0)):
                    number, off = next(numbers), 99.0 if issue == 3 else times * error * (-1) ** issue
                    lay_forecast(c, number, model, NOW - (9 - issue) * HOUR, horizon_s)
                    row = f"""
forecast_score forecast_id={number} observed_at=+0s observed=0 error={off} baseline_error=1 persistence_error=1
    inside_80=yes inside_95=yes pinball=1 winkler_80=1 scored_at=+0s
"""
                    insert_rows(c, NOW, row)
    return database


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_forecasts_errors_and_anomalies_are_told_as_they_are_stored(filled):
    with filled.read() as c:
        forecasters, detectors = assess_forecasters(c), assess_detectors(c)
    gru = forecasters["gru"]
    assert (gru["forecasts"], gru["shown"]) == (2, 0)
    assert gru["own"] == {"series": "G2.crack_opening", "horizons": {"1h": {"mm": -10.0, "low": -12.0, "high": -8.0}}}
    past = gru["past"]
    assert past["n"] == 6, "the same targets alone"
    assert (past["horizons"]["1h"]["mae_mm"], past["horizons"]["1d"]["mae_straight_line_mm"]) == (1.5, 20.0)
    assert past["skill_straight_line"] == pytest.approx((0.25 + 0.925) / 2)
    assert past["skill_combined"] == pytest.approx(-0.5)
    assert detectors["ae"] == {
        "scores": 3,
        "over_threshold": 2,
        "series": 1,
        "series_over": 1,
        "first_over_at": "2026-02-28T21:00:00.000000Z",
        "budget_per_sensor_month": 0.5,
    }
    said = []
    print_worth(forecasters, detectors, said.append)
    assert "  gru           1h -10.0 (-12.0 to -8.0)" in said
    assert "  gru           1h 1.50, 1d 1.50; beside straight line +59%, combined -50%" in said
    assert "  gru: 0 of 2 forecasts shown: no forecast of it has been scored yet" in said
    assert any(
        line.startswith("  ae: 3 anomaly scores, 2 above the threshold at 1 of 1 series from 21:00") for line in said
    )


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_demonstration_without_networks_and_scores_says_what_there_is(database):
    with database.read() as c:
        assert (assess_forecasters(c), assess_detectors(c)) == ({}, {})
    said = []
    print_worth({}, {}, said.append)
    assert said == []
