"""What a decision has found so far: one frozen record, so that whoever describes it is handed one thing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from forecasting.message import Message
from monitor.decision.common_silence import CommonSilence
from monitor.decision.criteria.reachable import Barriers
from monitor.decision.fusion_rules import RuleStatus
from monitor.decision.ladder import LevelState, RequestedLevel
from monitor.decision.series.assessment import Assessment, DecisionContext
from monitor.decision.series.neighbours import NeighbourCheck
from monitor.decision.series.paired_steps import CommonDisturbance
from monitor.decision.series.station_health import SeriesHealthMap
from monitor.decision.vote_status import VoteStatus
from monitor.domain.decision import Condition, Memory, StationHealth, Step, Vote
from monitor.domain.keys import StepKey, Support, VoteKey
from monitor.domain.site import Site


@dataclass(frozen=True, slots=True)
class Observability:
    """Observability of a site at this instant: what it can see, and the highest level that it can raise."""

    observability: str
    reachable_level: int
    witnesses: int
    unseen_since_s: float | None
    unheard: Mapping[Support, float]  # supporters of the level that are declared no more, since when
    silence: CommonSilence | None = None
    barriers: Barriers = field(default_factory=dict)  # before levels, by what really arrives
    rare: Mapping[tuple[str, str], Message] = field(default_factory=dict)  # series that come too seldom for a level


@dataclass(frozen=True, slots=True)
class CommonMotion:
    """References whose rovers move as one.

    Attributes:
        stations: By reference.
        since_s: When it was seen first, by reference.
        sentences: For people, by reference.
    """

    stations: Mapping[str, Sequence[str]]
    since_s: Mapping[str, float]
    sentences: Mapping[str, Message]


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """The situation of a site at one instant: criteria, steps, votes and rules.

    Attributes:
        windows: The site with the bounds in force, the inputs, the memory of before and the instant.
        factor: The share of themselves to which bounds are lowered; 1 = as declared.
        assessments: The result of every criterion.
        steps: All steps after this evaluation.
        disturbed: Steps that wait for those of other stations.
        sick: Conditions of instruments.
        healths: Health of every station.
        series_health: Health of every series.
        common: References under suspicion.
        neighbours: Votes that their neighbours do not share.
        votes: Votes after this evaluation, by key.
        vote_statuses: Status of every vote.
        covered: Steps that maintenance sets aside, with the reason.
        rulings: Status of every rule over several criteria.
        counted: Level asked for by each vote that counts.
        requested: What they ask for together.
        level_state: Where the ladder stands now.
        sight: What could be seen and raised.
        corrected: Questions about values that were changed after they had arrived.
    """

    windows: DecisionContext
    factor: float
    assessments: Sequence[Assessment]
    steps: dict[StepKey, Step]
    disturbed: CommonDisturbance
    sick: Mapping[str, Condition]
    healths: tuple[StationHealth, ...]
    series_health: SeriesHealthMap
    common: CommonMotion
    neighbours: NeighbourCheck
    votes: Mapping[VoteKey, Vote]
    vote_statuses: Mapping[VoteKey, VoteStatus]
    covered: Mapping[StepKey, Message]
    rulings: Sequence[RuleStatus]
    counted: Mapping[Support, int]
    requested: RequestedLevel
    level_state: LevelState
    sight: Observability
    corrected: Mapping[str, Message]

    @property
    def site(self) -> Site:
        """The declaration with the bounds in force."""
        return self.windows.site

    @property
    def before(self) -> Memory:
        """What the decision before left."""
        return self.windows.memory
