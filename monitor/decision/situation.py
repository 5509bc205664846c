"""The situation of a site at one instant: everything that conditions, evidence and memory are derived from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from monitor.decision.common_silence import CommonSilence
from monitor.decision.fusion_rules import RuleStatus
from monitor.decision.incomplete_series import IncompleteSeries
from monitor.decision.judgements import Barriers
from monitor.decision.keys import StepKey, Supporter, VoteKey
from monitor.decision.ladder import LevelState, RequestedLevel
from monitor.decision.records import Condition, Memory, StationHealth, Step, Votes
from monitor.decision.series.assessment import Assessments, DecisionContext
from monitor.decision.series.neighbours import NeighbourCheck
from monitor.decision.series.paired_steps import CommonDisturbance
from monitor.decision.series.station_health import SeriesHealthMap
from monitor.decision.vote_status import VoteStatus
from monitor.sites.records import Site
from monitor.text.message import Message


@dataclass(frozen=True, slots=True)
class Observability:
    """What a site sees at one instant, and the highest level that it can reach."""

    state: str  # full, degraded or blind
    reachable_level: int  # level that the slope raises wherever it moves
    highest_level: int  # level that all votes together can raise; some moving series may be judged only below it
    witnesses: int
    unseen_since_s: float | None
    unheard: Mapping[Supporter, float]  # supporters of the level that are declared no more, since when
    silence: CommonSilence | None = None
    barriers: Barriers = field(default_factory=dict)  # before levels, by what really arrives
    rare: Mapping[tuple[str, str], Message] = field(default_factory=dict)  # series that come too seldom for a level
    # by `STATION.quantity`: why the site does not see "full"
    reasons: Mapping[str, Message] = field(default_factory=dict)
    # by `STATION.quantity`: voting series that are not known whole, and moving series that no criterion judges
    incomplete: Mapping[str, IncompleteSeries] = field(default_factory=dict)
    # supporters of the level that only missing or doubted readings keep from falling, since when
    held: Mapping[Supporter, float] = field(default_factory=dict)
    # which series these are and what is missing of each, where the clock of `unseen_since_s` is theirs
    held_reason: Message | None = None


@dataclass(frozen=True, slots=True)
class CommonMotion:
    """References whose rovers move as one."""

    stations: Mapping[str, Sequence[str]]  # by reference
    since_s: Mapping[str, float]  # since when they move alike, by reference
    sentences: Mapping[str, Message]  # for people, by reference


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """The situation of a site at one instant: criteria, steps, votes and rules."""

    context: DecisionContext  # the site with the bounds in force, the inputs, the memory of before and the instant
    factor: float  # the share of themselves to which bounds are lowered; 1 = as declared
    assessments: Assessments  # the result of every criterion
    steps: dict[StepKey, Step]  # all steps after this evaluation
    disturbed: CommonDisturbance  # steps that wait for those of other stations
    sick: Mapping[str, Condition]  # conditions of instruments
    healths: tuple[StationHealth, ...]  # health of every station
    series_health: SeriesHealthMap  # health of every series
    common: CommonMotion  # references under suspicion
    neighbours: NeighbourCheck  # votes that their neighbours do not share
    votes: Votes  # votes after this evaluation, by key
    vote_statuses: Mapping[VoteKey, VoteStatus]  # status of every vote
    covered: Mapping[StepKey, Message]  # steps that maintenance sets aside, with the reason
    rule_statuses: Sequence[RuleStatus]  # status of every rule over several criteria
    counted: Mapping[Supporter, int]  # level asked for by each vote that counts
    requested: RequestedLevel  # what they ask for together
    level_state: LevelState  # where the ladder stands now
    observability: Observability
    moving_references: Mapping[str, Condition]  # references that move or jumped with their stations, by alert key
    corrected: Mapping[str, Message]  # questions about values that were changed after they had arrived

    @property
    def site(self) -> Site:
        """The declaration with the bounds in force."""
        return self.context.site

    @property
    def before(self) -> Memory:
        """What the decision before left."""
        return self.context.memory
