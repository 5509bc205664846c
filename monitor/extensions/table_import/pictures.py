"""Small pictures of a record as plain SVG facts: its curves, and forecasts beside what came."""

from typing import Any

from monitor.extensions.table_import.guess.preview import PreviewCurve
from monitor.extensions.table_import.past_levels import ForecastPicture
from monitor.web.parts.past_pictures import format_day
from monitor.web.parts.pictures import PlotScale


def draw_curve(curve: PreviewCurve) -> dict[str, Any] | None:
    """A series of a table; None where it has fewer than two values."""
    if len(curve.values) < 2:
        return None
    scale = PlotScale(curve.times_s, curve.values)
    return {
        "series": curve.series.replace("_", " "),
        "unit": curve.unit,
        "count": curve.count,
        "low": scale.low,
        "high": scale.high,
        "path": scale.draw(list(zip(curve.times_s, curve.values, strict=False))),
        "from": format_day(curve.times_s[0]),
        "to": format_day(curve.times_s[-1]),
    }


def draw_forecast(one: ForecastPicture) -> dict[str, Any] | None:
    """What would have been forecast, with its 80 % interval, beside what came; None where nothing can be drawn."""
    if len(one.times_s) < 2:
        return None
    scale = PlotScale(one.times_s, [*one.observed, *one.low, *one.high])
    band = [p for p in zip(one.times_s, one.low, one.high, strict=True) if p[1] is not None and p[2] is not None]
    edges = [scale.place(t, low) for t, low, _ in band if low is not None]
    edges += [scale.place(t, high) for t, _, high in reversed(band) if high is not None]
    return {
        "station": one.station,
        "horizon": one.horizon,
        "band": f"M{' L'.join(edges)} Z" if len(band) > 1 else "",
        "observed": scale.draw(list(zip(one.times_s, one.observed, strict=True))),
        "middle": scale.draw(list(zip(one.times_s, one.middle, strict=True))),
        "low": scale.low,
        "high": scale.high,
        "from": format_day(one.times_s[0]),
        "to": format_day(one.times_s[-1]),
    }
