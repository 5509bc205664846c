"""The situation of a site at one instant. Conditions, evidence and memory are derived from it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from monitor.decision.common_silence import CommonSilence
from monitor.decision.fusion_rules import RuleStatus
from monitor.decision.incomplete_series import IncompleteSeries
from monitor.decision.judgements import Barriers
from monitor.decision.keys import StepKey, Supporter, VoteKey
from monitor.decision.ladder import LevelState, RequestedLevel
from monitor.decision.records import Condition, Memory, ReceptionRun, StationHealth, Step, Votes
from monitor.decision.series.assessment import Assessments, DecisionContext
from monitor.decision.series.neighbours import NeighbourCheck
from monitor.decision.series.paired_steps import CommonDisturbance
from monitor.decision.series.station_health import SeriesHealthMap
from monitor.decision.vote_status import VoteStatus
from monitor.sites.records import Site
from monitor.text.message import Message


@dataclass(frozen=True, slots=True)
class Observability:
    """Which series of a site have usable data at one instant, and the highest level that they can raise.

    Attributes:
        state: `full`, `degraded` or `blind`, see `monitor.decision.observability`.
        reachable_level: The level that can be raised wherever the slope moves.
        highest_level: The level that all votes together can raise. Some motion series may only raise a lower one.
        top_group_count: Number of independent groups that can vote for the highest level now.
        unseen_since_s: Since when the level depends on data that are missing or unusable, in epoch seconds.
        unheard: Supporters of the level that the site file no longer declares, with the instant since when.
        silence: Common silence of the stations that measure motion or support the level.
        silence_due_s: Instants at which common silence will be reported if nothing is received until then, epoch
            seconds.
        outside: The present run of receptions from instruments outside the slope.
        barriers: Why votes cannot reach levels at the present intervals between readings, by vote and level.
        rare: Series whose readings are too rare for a level, with the reason.
        reasons: Why the state is not `full`, by `STATION.quantity`.
        incomplete: Voting series with missing or doubted readings, and motion series that no criterion reads, by
            `STATION.quantity`.
        held: Supporters of the level that do not fall only because readings are missing or doubted, with the instant
            since when.
        held_reason: Which of their readings are missing, if `unseen_since_s` is due to them.
    """

    state: str
    reachable_level: int
    highest_level: int
    top_group_count: int
    unseen_since_s: float | None
    unheard: Mapping[Supporter, float]
    silence: CommonSilence | None = None
    silence_due_s: Sequence[float] = ()
    outside: ReceptionRun | None = None
    barriers: Barriers = field(default_factory=dict)
    rare: Mapping[tuple[str, str], Message] = field(default_factory=dict)
    reasons: Mapping[str, Message] = field(default_factory=dict)
    incomplete: Mapping[str, IncompleteSeries] = field(default_factory=dict)
    held: Mapping[Supporter, float] = field(default_factory=dict)
    held_reason: Message | None = None


@dataclass(frozen=True, slots=True)
class CommonMotion:
    """References whose stations move alike.

    Attributes:
        stations: Stations that move alike, by reference.
        since_s: Since when they move alike, in epoch seconds, by reference.
        sentences: Descriptions for people, by reference.
    """

    stations: Mapping[str, Sequence[str]]
    since_s: Mapping[str, float]
    sentences: Mapping[str, Message]


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """The situation of a site at one instant.

    Attributes:
        context: The site with the bounds in force, the inputs, the previous memory (see `before`) and the instant.
        factor: Factor on the bounds after an earthquake; 1 if the declared bounds are in force.
        assessments: The result of every criterion at every witness.
        steps: All steps after this evaluation.
        disturbed: Pending steps with simultaneous pending steps of independent stations, and conditions about stations
            that jumped together.
        instrument_conditions: Conditions of instruments, by alert key.
        healths: Health of every station.
        series_health: Health of every series.
        common: References under suspicion, because their stations move alike.
        neighbours: Votes that neighbouring stations do not confirm.
        votes: The votes after this evaluation.
        vote_statuses: The status of every vote.
        covered: Steps of stations under maintenance that request at most the excluded level, with the reason.
        rule_statuses: The status of every fusion rule over several criteria.
        requested_levels: The level that each vote, step and rule requests. Those that do not count are left out.
        requested: The level that they request together.
        level_state: The level after this evaluation.
        observability: Which series have usable data, and the highest level that they can raise.
        moving_references: References that move or that jumped with their stations, by alert key.
        correction_questions: Questions about unsigned corrections, by name.
    """

    context: DecisionContext
    factor: float
    assessments: Assessments
    steps: dict[StepKey, Step]
    disturbed: CommonDisturbance
    instrument_conditions: Mapping[str, Condition]
    healths: tuple[StationHealth, ...]
    series_health: SeriesHealthMap
    common: CommonMotion
    neighbours: NeighbourCheck
    votes: Votes
    vote_statuses: Mapping[VoteKey, VoteStatus]
    covered: Mapping[StepKey, Message]
    rule_statuses: Sequence[RuleStatus]
    requested_levels: Mapping[Supporter, int]
    requested: RequestedLevel
    level_state: LevelState
    observability: Observability
    moving_references: Mapping[str, Condition]
    correction_questions: Mapping[str, Message]

    @property
    def site(self) -> Site:
        """The site with the bounds in force."""
        return self.context.site

    @property
    def before(self) -> Memory:
        """The memory of the previous decision.

        The start is filled in, and answers that the motion has exceeded since are removed.
        """
        return self.context.memory
