"""Tables of satellite points that can be exported as files."""

from typing import Final

from monitor.api.hooks import ExportTable

TABLES: Final = {
    "insar-points": ExportTable("insar_points", "newest_at", ("point_set", "pid"), is_layer=True),
    "point-forecasts": ExportTable("point_forecasts", "target_at", ("point_set", "pid", "horizon"), is_layer=True),
}
