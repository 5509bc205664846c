"""Sum of rain over a window against a bound per level, in mm."""

from typing import Final

from monitor.decision.criteria.history import longest_rain_window
from monitor.decision.criteria.rain_gauge import rain_kind
from monitor.decision.criteria.rainfall import each_gauge, measure_sums
from monitor.sites.criteria.entry import KindEntry
from monitor.sites.criteria.rain_sections import RainTable
from monitor.sites.criteria.sections import OverBound

ENTRY: Final = KindEntry(
    rain_kind(id="rain_sum", per="", scaled=True),
    RainTable,
    OverBound,
    each_gauge(measure_sums),
    history_s=longest_rain_window,
    example="""
series = "S1.rain"
yellow = {over = 30.0, window = "1d"}
""",
)
