"""A forecast of which only the values are set that decide whether it is shown."""

from forecasting.reasons import Reason
from forecasting.serving.records import Forecast

REASON = Reason("forecast.simple", {"model": "drawn"})


def row(model, station="A", horizon_s=86400.0, shown=True, baseline="line", reason=REASON):
    nothing = dict.fromkeys(("q025", "q10", "q50", "q90", "q975", "baseline_q50", "data_value"), 0.0)
    times = {"horizon_s": horizon_s, "issued_s": 0.0, "target_s": horizon_s, "data_until_s": 0.0}
    choice = {"baseline": baseline, "shown": shown, "reason": reason}
    return Forecast(station=station, model=model, **times, **choice, **nothing)
