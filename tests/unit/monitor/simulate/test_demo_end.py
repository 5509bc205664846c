"""What a demonstration says when it is done."""

from pathlib import Path

from monitor.simulate.demo import DemoInstallation, _print_summary


def test_the_reason_of_a_forecast_that_is_not_shown_stands_once():
    said = []
    none = {"forecasts": 34, "shown": 0, "not_shown_because": "not shown: no forecast of it has been scored yet"}
    counted = {
        "seconds": 9.0,
        "top_level": 3,
        "notifications": {"delivered": 8},
        "forecasters": {"gru": none},
        "anomalies": {},
        "degraded": False,
    }
    _print_summary(DemoInstallation(Path(), "", "", "", None), counted, said.append, keeps=False)
    assert "  gru: 0 of 34 forecasts shown, because: no forecast of it has been scored yet" in said
