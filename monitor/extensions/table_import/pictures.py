"""Small pictures of a record as plain SVG facts: its curves, and forecasts beside what came."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from monitor.extensions.table_import.guess.preview import PreviewCurve
from monitor.extensions.table_import.past_levels import ForecastPicture
from monitor.web.parts.documents import PlotScale

RIBBON: Final = 1000.0
LEAST: Final = 2.0  # of a span of levels: what was short is to be seen


def format_day(at_s: float) -> str:
    """The day of an instant."""
    return f"{datetime.fromtimestamp(at_s, UTC):%Y-%m-%d}"


def draw_levels(
    from_s: float, to_s: float, names: Mapping[int, str], spans: Iterable[tuple[float, float, int]]
) -> list[dict[str, float | str]]:
    """The times at one level (from, to, number) as blocks of a ribbon."""
    whole_s = (to_s - from_s) or 1.0
    blocks: list[dict[str, float | str]] = []
    for low_s, high_s, level in spans:
        x = min(max((low_s - from_s) / whole_s, 0.0), 1.0) * RIBBON
        width = max((high_s - low_s) / whole_s * RIBBON, LEAST)
        text = f"{format_day(low_s)} – {format_day(high_s)}"
        place = {"x": round(min(x, RIBBON - width), 1), "width": round(width, 1)}
        blocks.append({**place, "level": level, "name": names[level], "text": text})
    return blocks


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
