"""The decision: criteria, votes, levels and evidence, as pure functions."""

from monitor.decision.alert_texts import (
    EXERCISE,  # text for people: marks a reason as part of a drill
    is_reminder,  # return whether a reason is a reminder of a level that is still in force
    unwrap_reason,  # return the reason of a level without the name of the level and the mark of a drill
)
from monitor.decision.causes import (
    describe_cause,  # return a text that summarises several advice alerts of one criterion
)
from monitor.decision.changes import (
    RESOLVED,  # text for people: marks the reason of an alarm that has ended
    AlertCategory,  # category of an alert: hazard, health or advice
    AlertChange,  # change of an alert ordered by a decision or a check
    health_alarm,  # return an alert change about the service or its instruments
)
from monitor.decision.common_silence import (
    SILENT_SLOPE,  # alert key of the common silence of all instruments on the slope
)
from monitor.decision.criteria.kinds.inverse_velocity import (
    find_motion,  # return the series that measures motion at a station in mm, or None
)
from monitor.decision.criteria.kinds.rain_intensity_duration import (
    measure_curve,  # return sum, bound and coverage of rain for each duration that ends now
)
from monitor.decision.criteria.proofs import (
    check_forecasts,  # return reasons why forecasts do not count as proven; empty if they do
    check_outlines,  # return reasons why scene outlines do not count as proven; empty if they do
)
from monitor.decision.criteria.rain_gauge import (
    Gauge,  # rain amounts of a gauge by interval end, with gaps and uncertain intervals
    make_gauge,  # convert raw readings of a rain gauge into amounts; None without readings
    read_gauge,  # convert the readings of a gauge in decision inputs into rain amounts
)
from monitor.decision.decide import (
    decide,  # decides once about a site; returns the level and its evidence
)
from monitor.decision.judgements import (
    can_change_level,  # return whether readings of a series can change the level of a site
    find_unreached,  # return the levels that have bounds but that no vote can raise at declared intervals
    is_judged,  # return whether a series can raise a level or is left unjudged on purpose
)
from monitor.decision.keys import (
    VoteKey,  # key of the vote of one criterion on one witness, `criterion|station`
)
from monitor.decision.prepared_site import (
    PreparedSite,  # a site, and values derived from its file; pass one to all decisions of a version
)
from monitor.decision.records import (
    AnomalyFact,  # One score beyond its detector's threshold
    DecisionInputs,  # readings and facts of a decision
    FactRequest,  # the argument of the hook `evaluation_facts`
    FailureFact,  # newest failure window of a series that is not withdrawn
    FootprintFact,  # One polygon of a scene near a station
    ForecastFact,  # One target of the newest forecast of a series
    MaintenanceFact,  # maintenance window of a station, during which its votes are pended
    Memory,  # what one decision leaves for the next one
    OffsetFact,  # declared offset of a station, with its author and who confirmed it
    ProofFact,  # newest test of the model behind a criterion, compared with the model in use
)
from monitor.decision.series.assessment import (
    REPEATS,  # text for people: the instrument repeats one value
    DecisionContext,  # site, readings, facts and memory at one instant; the argument of a rule
    EvaluationCache,  # caches that one evaluation of a site leaves for the next
)
from monitor.decision.series.maintenance import (
    MAINTENANCE,  # text for people: maintenance of a station, with end, people and reason
)
from monitor.decision.series.step_states import (
    MOVEMENT,  # answer that a step was movement, and the state of such a step
)
from monitor.decision.subjects import (
    cut_message,  # translate a text and cut it to a length, leaving out its last facts first
    cut_words,  # return the first whole words of a text that fit a length
    shorten,  # shorten a text to a length, at whole parts or clauses if possible
)
from monitor.decision.warning_summary import (
    DaysAtLevel,  # type: days of a record that reach a level, by (criterion id, level)
    RecordDays,  # number of days of a record on which each level was reached
    SeriesWarnings,  # levels that series judged alike can raise, and what they miss
    WarningSummary,  # summary of which motion raises which level at a site
    summarise_warnings,  # summarise which motion raises which level, how quickly, and what is missed
)
from monitor.readings.cleaned.tracks import (
    COMPONENTS,  # quantities of the displacement components east, north and up
    SCALARS,  # quantities of displacement as a single value (along slope, LOS, distance)
    Track,  # the cleaned readings of a station
    Tracker,  # builds the track of one station and criterion incrementally from new readings
    make_motion_tracker,  # return the tracker of a series for readers without a bound of their own
)
from monitor.readings.cleaned.vectors import (
    Vector,  # type of a vector: tuple of floats
)

__all__ = [
    "COMPONENTS",
    "EXERCISE",
    "MAINTENANCE",
    "MOVEMENT",
    "REPEATS",
    "RESOLVED",
    "SCALARS",
    "SILENT_SLOPE",
    "AlertCategory",
    "AlertChange",
    "AnomalyFact",
    "DaysAtLevel",
    "DecisionContext",
    "DecisionInputs",
    "EvaluationCache",
    "FactRequest",
    "FailureFact",
    "FootprintFact",
    "ForecastFact",
    "Gauge",
    "MaintenanceFact",
    "Memory",
    "OffsetFact",
    "PreparedSite",
    "ProofFact",
    "RecordDays",
    "SeriesWarnings",
    "Track",
    "Tracker",
    "Vector",
    "VoteKey",
    "WarningSummary",
    "can_change_level",
    "check_forecasts",
    "check_outlines",
    "cut_message",
    "cut_words",
    "decide",
    "describe_cause",
    "find_motion",
    "find_unreached",
    "health_alarm",
    "is_judged",
    "is_reminder",
    "make_gauge",
    "make_motion_tracker",
    "measure_curve",
    "read_gauge",
    "shorten",
    "summarise_warnings",
    "unwrap_reason",
]
