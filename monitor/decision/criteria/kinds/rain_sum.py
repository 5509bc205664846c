"""Sum of rain over a window against a bound per level, in mm."""

from typing import Final

from monitor.decision.criteria.entry import KindEntry
from monitor.decision.criteria.rain_gauge import RAIN_SAFE
from monitor.decision.criteria.rain_table import RainTable
from monitor.decision.criteria.rainfall import each_gauge, measure_sums
from monitor.decision.criteria.tables import OverBound
from monitor.domain.kinds import Kind

ENTRY: Final = KindEntry(
    Kind(
        id="rain_sum",
        quantity="rain",
        per="",
        trigger=True,
        scaled=True,
        loosening="bounds",
        safe_params=RAIN_SAFE,
        drawn=("rain",),
    ),
    RainTable,
    OverBound,
    each_gauge(measure_sums),
    example="""
series = "S1.rain"
yellow = {over = 30.0, window = "1d"}
""",
)
