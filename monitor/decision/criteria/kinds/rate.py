"""Rate of change per day of any series (pressure, water level, tilt, crack) against an upper or lower bound."""

from typing import Final

from monitor.decision.criteria.fits import MIN_LINE_EPOCHS
from monitor.decision.criteria.history import longest_window
from monitor.decision.criteria.rates import assess_rates
from monitor.decision.series.assessment import each_track
from monitor.sites.criteria.entry import KindEntry
from monitor.sites.criteria.sections import FastTrack, LevelBound, MeasuredTable, Sureness, Window
from monitor.sites.kinds import Kind
from monitor.sites.records import DEFAULT_MIN_SIGMA


class RateBound(LevelBound):
    """The bound of one level on a rate (per day) in a window."""

    window: Window


class RateTable(MeasuredTable):
    """kind = "rate"."""

    min_sigma: Sureness = DEFAULT_MIN_SIGMA
    fast_track: FastTrack = None


ENTRY: Final = KindEntry(
    Kind(
        id="rate",
        per="/day",
        epochs=MIN_LINE_EPOCHS,
        motion=True,
        rate=True,
        followed=True,
        scaled=True,
        loosening="bounds",
        drawn=("ray",),
    ),
    RateTable,
    RateBound,
    each_track(assess_rates),
    history_s=longest_window,
    example="""
series = "S1.tilt"
yellow = {under = -1.0, window = "1d"}
""",
)
