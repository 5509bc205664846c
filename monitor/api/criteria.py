"""Kinds of criteria: what one consists of, and what its rule reads and returns."""

from monitor.decision.criteria.history import (
    longest_window,  # the longest window of the bounds
    no_window,  # for a kind that reads no readings
)
from monitor.decision.records import (
    DecisionInputs,  # readings and facts of a decision
    FactRequest,  # the argument of the hook `evaluation_facts`
)
from monitor.decision.series.assessment import (
    Assessment,  # what a rule returns for one witness
    DecisionContext,  # what a rule is called with
    each_station,  # turns a function of a station into a rule
    each_track,  # turns a function of the cleaned readings of a station into a rule
    recovery_of,  # the value below which a level may fall
)
from monitor.decision.series.tracks import (
    Track,  # the cleaned readings of a station
)
from monitor.sites.criteria.entry import (
    KindEntry,  # a kind of criterion
)
from monitor.sites.criteria.sections import (
    AroundTable,  # a table for what is near stations
    CriterionTable,  # a table without stations
    MeasuredTable,  # a table for series, with a dwell
    OverBound,  # a bound with a value and a window
    StationsTable,  # a table for series
    add_params,  # stores numbers of a table in the criterion
)
from monitor.sites.kinds import (
    Kind,  # the traits of a kind
)
from monitor.sites.records import (
    Criterion,  # a criterion of a site file
    SeriesSpec,  # a series of a site file
    Station,  # a station of a site file
)
from monitor.text.message import (
    Figure,  # a number with its unit
    Template,  # a text with values, in any language
)

__all__ = [
    "AroundTable",
    "Assessment",
    "Criterion",
    "CriterionTable",
    "DecisionContext",
    "DecisionInputs",
    "FactRequest",
    "Figure",
    "Kind",
    "KindEntry",
    "MeasuredTable",
    "OverBound",
    "SeriesSpec",
    "Station",
    "StationsTable",
    "Template",
    "Track",
    "add_params",
    "each_station",
    "each_track",
    "longest_window",
    "no_window",
    "recovery_of",
]
