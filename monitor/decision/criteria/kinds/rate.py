"""Rate of change per day of any series against bounds on either side: pressure, water, drawdown, tilt, crack."""

from typing import Final

from monitor.decision.criteria.history import longest_window
from monitor.decision.criteria.kinds.velocity import LEAST_EPOCHS, assess_rates
from monitor.decision.series.assessment import each_track
from monitor.sites.criteria.entry import KindEntry
from monitor.sites.criteria.sections import FastTrack, LevelBound, MeasuredTable, Sureness, Window
from monitor.sites.kinds import Kind


class RateBound(LevelBound):
    """The bound of one level on a rate (per day) in a window."""

    window: Window


class RateTable(MeasuredTable):
    """kind = "rate"."""

    min_sigma: Sureness = 3.0
    fast_track: FastTrack = None


# the same error-aware fit as velocity; `under` with a negative bound watches a drawdown
ENTRY: Final = KindEntry(
    Kind(
        id="rate",
        per="/day",
        epochs=LEAST_EPOCHS,
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
