"""Kinds of criteria: what one consists of, and what its rule reads and returns."""

from monitor.decision.criteria.history import (
    longest_window,  # the longest window of the bounds
    no_window,  # for a kind that reads no readings
)
from monitor.decision.series.assessment import (
    Assessment,  # what a rule returns for one witness
    each_station,  # turns a function of a station into a rule
    each_track,  # turns a function of the cleaned readings of a station into a rule
)
from monitor.sites.criteria.entry import (
    KindEntry,  # a kind of criterion
)
from monitor.sites.criteria.sections import (
    AroundTable,  # a table for what is near stations
    CriterionTable,  # a table without stations
    MeasuredTable,  # a table for series, with the keys `dwell` and `recover`
    OverBound,  # a bound with a value and a window
    RecoveringTable,  # a table for series, with the key `recover`
    StationsTable,  # a table for series
    add_params,  # stores numbers of a table in the criterion
)
from monitor.sites.kinds import (
    Kind,  # the traits of a kind
)
from monitor.sites.records import (
    find_recovery_limit,  # the value below which a level may fall
)

__all__ = [
    "AroundTable",
    "Assessment",
    "CriterionTable",
    "Kind",
    "KindEntry",
    "MeasuredTable",
    "OverBound",
    "RecoveringTable",
    "StationsTable",
    "add_params",
    "each_station",
    "each_track",
    "find_recovery_limit",
    "longest_window",
    "no_window",
]
