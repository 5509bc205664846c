"""Records of a decision: its inputs, the memory that it passes to the next decision, and its result.

`DecisionInputs` contains readings and facts as they were known at one instant. `Memory` contains what the next decision
needs: the standing level with its supporters, votes, steps, answers and open conditions. `Decision` is the result. All
records are frozen. Inputs and memory are written as JSON and read back without loss, because a stored decision can be
computed again from them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from functools import cache
from itertools import chain
from operator import attrgetter
from typing import Any, Final, NamedTuple

from monitor.decision.changes import AlertChange
from monitor.decision.headline import StationRate
from monitor.decision.keys import StepKey, Supporter, VoteKey, read_supporter, rename_key
from monitor.readings.records import Reading
from monitor.sites.criteria.registry import load_criteria
from monitor.text.instants import epoch_s, format_iso, parse_time
from monitor.text.message import Message, messages_to_plain, plain_to_messages


# ---- inputs ------------------------------------------------------------------------------------------------------
class NewestEpoch(NamedTuple):
    """Newest epoch of a series, at most the instant of its reception.

    Attributes:
        observed_s: The epoch, epoch seconds.
        received_s: When it was received, epoch seconds.
    """

    observed_s: float
    received_s: float
    flags: tuple[str, ...] = ()

    @classmethod
    def of(cls, observed_at: datetime, received_at: datetime, flags: tuple[str, ...] = ()) -> "NewestEpoch":
        """Return the epoch of a reading.

        If the clock of the instrument is ahead, the instant of reception counts. Otherwise silence of the instrument
        would be detected too late.
        """
        received_s = epoch_s(received_at)
        return cls(min(epoch_s(observed_at), received_s), received_s, flags)


@dataclass(frozen=True, slots=True)
class ForecastFact:
    """One target of the newest forecast of a series."""

    station: str
    quantity: str
    data_until_s: float
    target_s: float
    horizon_s: float
    q10: float
    q50: float
    q90: float
    data_value: float
    model: str
    shown: bool
    q025: float
    q975: float


@dataclass(frozen=True, slots=True)
class AnomalyFact:
    """One anomaly score above the threshold of its detector."""

    station: str
    quantity: str
    at_s: float
    detector: str
    score: float
    threshold: float
    kind: str
    compared_with: str = ""
    model_hash: str = ""  # weights of the detector; "" if it has none


@dataclass(frozen=True, slots=True)
class FootprintFact:
    """One outline of a scene near a station."""

    scene: str
    acquired_s: float
    polygon: str
    change: str
    area_m2: float
    station: str | None
    distance_m: float | None
    received_s: float  # when the outline became known; scenes are received days after their acquisition
    grown_m2: float | None = None
    parent: str | None = None
    since_s: float | None = None  # acquisition of the earlier image that it was compared with
    caution: str | None = None  # why its change is advice only
    near: tuple[tuple[str, float], ...] = ()  # all stations nearby with their distance in m, nearest first
    kind: str = "landslide"  # class of the outline
    model_hash: str = ""  # weights of the model that drew the outline


@dataclass(frozen=True, slots=True)
class ReportFact:
    """Report of one observer."""

    at_s: float
    received_s: float
    kind: str
    text: str
    by: str
    station: str | None
    # Login that the report was sent with. Reports with one credential count as one observer, because a sender may type
    # any name.
    credential: str


@dataclass(frozen=True, slots=True)
class EventFact:
    """An event that a person or a program declared for the site: work, blasting, reservoir operation, an earthquake."""

    from_s: float
    to_s: float
    received_s: float
    kind: str
    value: float | None
    text: str
    by: str
    id: int
    via: str  # how the declaration was received
    confirmed_by: tuple[str, ...] = ()  # the first two people who confirmed it
    withdrawn: bool = False  # the event is withdrawn; it is loaded only to open the questions again that it explained
    doubted: bool = False  # a person has withdrawn a confirmation

    @property
    def confirmations(self) -> int:
        """Number of people who have confirmed the event. Without confirmation the event explains no step."""
        return len(self.confirmed_by)


@dataclass(frozen=True, slots=True)
class FailureFact:
    """The newest failure window of a series, unless it was withdrawn."""

    station: str
    quantity: str
    method: str  # inverse_velocity or forecast
    issued_s: float
    data_until_s: float
    from_s: float
    mid_s: float
    to_s: float
    velocity_mm_per_day: float
    trusted: bool
    reasons: str


@dataclass(frozen=True, slots=True)
class MaintenanceFact:
    """A maintenance window of a station. During the window, votes of the station up to a level do not count."""

    station: str
    from_s: float
    to_s: float
    by: str
    second_by: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class OffsetFact:
    """A declared offset of a station, with its author and the person who confirmed it."""

    id: int
    station: str
    at_s: float
    by: str
    second_by: str | None  # None until a person other than the author has confirmed it
    quantity: str
    # Whether the offset is subtracted from readings: from the confirmation of a second person on, or from its
    # declaration on if fewer than two people may act on the site.
    counts: bool = True


@dataclass(frozen=True, slots=True)
class PointFact:
    """Rate of a zone of InSAR points.

    Attributes:
        points: Number of points with enough acquisitions, which the rate is computed from. 0 if there are too few
            values for a rate.
        newest_s: Newest acquisition that the rate depends on.
        known_share: Number of values that were used, divided by the number of points times the number of acquisitions.
        lost_mm_per_day: Rate of the points without enough acquisitions, from the values that they have. None if these
            are too few.
    """

    zone: str
    station: str | None
    rate_mm_per_day: float
    error_mm_per_day: float
    points: int
    newest_s: float
    received_s: float
    low_mm_per_day: float  # smallest and largest rate if any single acquisition is left out
    high_mm_per_day: float
    window_s: float
    epochs: int
    known_share: float = 1.0
    lost_mm_per_day: float | None = None


@dataclass(frozen=True, slots=True)
class ProofFact:
    """The newest test of the model behind a criterion, and the model that is in use.

    Attributes:
        name: What was tested: a detector, `forecasts` or `outlines`; "" if nothing of the criterion can be tested.
        tested_s: None if there was no test.
        until_s: Until when the test is valid.
        why: Why the test was not passed.
        weights: Weights that were tested; "" if the model has none.
        settings: Digest of the settings in the site file that were tested.
        weights_now: Weights that are in use.
        settings_now: Digest of the settings that are in use.
    """

    criterion: str
    name: str
    tested_s: float | None = None
    until_s: float = 0.0
    passed: bool = False
    why: str = ""
    weights: str = ""
    settings: str = ""
    weights_now: str = ""
    settings_now: str = ""

    def holds(self, now_s: float) -> bool:
        """Return whether the model in use has passed a test that is still valid."""
        if self.tested_s is None or not self.passed or now_s > self.until_s:
            return False
        return (self.weights, self.settings) == (self.weights_now, self.settings_now)


@dataclass(frozen=True, slots=True)
class DecisionInputs:
    """Inputs of a decision as they were known at its instant.

    Attributes:
        readings: By `station.quantity`, oldest first.
        newest: Newest epoch of each series, by `station.quantity`.
        unsigned: Corrections that two people have not signed, by `station.quantity`. `readings` does not contain them.
        draining: Whether a backlog of readings is being stored. No level falls meanwhile.
        proofs: Empty if no criterion needs a proof to count.
        plugin_facts: Facts for criteria of third-party plugins, by the name in `Kind.facts`. A name is missing if its
            plugin failed.
        missing_facts: Names of facts that a criterion reads and that could not be loaded, because their feature is not
            installed or its third-party plugin failed.
    """

    readings: Mapping[str, tuple[Reading, ...]] = field(default_factory=dict)
    newest: Mapping[str, NewestEpoch] = field(default_factory=dict)
    unsigned: Mapping[str, tuple[Reading, ...]] = field(default_factory=dict)
    forecasts: tuple[ForecastFact, ...] = ()
    anomalies: tuple[AnomalyFact, ...] = ()
    footprints: tuple[FootprintFact, ...] = ()
    reports: tuple[ReportFact, ...] = ()
    draining: bool = False
    events: tuple[EventFact, ...] = ()
    failures: tuple[FailureFact, ...] = ()
    maintenance: tuple[MaintenanceFact, ...] = ()
    points: tuple[PointFact, ...] = ()
    offsets: tuple[OffsetFact, ...] = ()
    proofs: tuple[ProofFact, ...] = ()
    plugin_facts: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    missing_facts: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the inputs as JSON-ready values."""
        values: dict[str, Any] = {
            "readings": _readings_to_json(self.readings),
            "newest": {
                name: [newest.observed_s, newest.received_s, list(newest.flags)]
                for name, newest in sorted(self.newest.items())
            },
            "draining": self.draining,
        }
        if self.unsigned:
            values["unsigned"] = _readings_to_json(self.unsigned)
        for name in FACTS:
            values[name] = [_record_to_json(fact) for fact in getattr(self, name)]
        values |= self._plugin_facts_to_json()
        if self.missing_facts:
            values["missing_facts"] = list(self.missing_facts)
        return values

    def _plugin_facts_to_json(self) -> dict[str, Any]:
        """Return nothing if no plugin loaded facts, so that stored inputs of other sites do not change.

        A name without facts is stored as well. A missing name means that the plugin failed.
        """
        facts = {name: [_record_to_json(fact) for fact in rows] for name, rows in sorted(self.plugin_facts.items())}
        return {"plugin_facts": facts} if facts else {}

    @staticmethod
    def read(value: Mapping[str, Any]) -> "DecisionInputs":
        """Return the inputs with the values of their JSON."""
        facts: dict[str, Any] = {name: _read_facts(value[name], fact_type) for name, fact_type in FACTS.items()}
        plugin_facts = value.get("plugin_facts")
        if plugin_facts:
            facts["plugin_facts"] = _read_plugin_facts(plugin_facts)
        newest = {
            name: NewestEpoch(observed_s, received_s, tuple(flags))
            for name, (observed_s, received_s, flags) in value["newest"].items()
        }
        return DecisionInputs(
            _read_readings(value["readings"]),
            newest,
            _read_readings(value.get("unsigned", {})),
            draining=bool(value["draining"]),
            missing_facts=tuple(value.get("missing_facts", ())),
            **facts,
        )


# Record of each built-in fact, by the field of `DecisionInputs`.
FACTS: Final[Mapping[str, type]] = {
    "forecasts": ForecastFact,
    "anomalies": AnomalyFact,
    "footprints": FootprintFact,
    "reports": ReportFact,
    "events": EventFact,
    "failures": FailureFact,
    "maintenance": MaintenanceFact,
    "points": PointFact,
    "offsets": OffsetFact,
    "proofs": ProofFact,
}


def _read_facts(rows: Sequence[Mapping[str, Any]], fact_type: type) -> tuple[Any, ...]:
    return tuple(fact_type(**{name: _freeze(value) for name, value in plain_to_messages(row).items()}) for row in rows)


def _read_plugin_facts(facts: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, tuple[Any, ...]]:
    """Return the facts of third-party plugins. Facts of plugins that are not installed are left out."""
    fact_types = {entry.kind.facts: entry.fact_type for entry in load_criteria().values() if entry.plugin}
    read: dict[str, tuple[Any, ...]] = {}
    for name, rows in facts.items():
        fact_type = fact_types.get(name)
        if fact_type is not None:
            read[name] = _read_facts(rows, fact_type)
    return read


def _freeze(value: Any) -> Any:
    """Return lists as tuples, at every depth."""
    return tuple(map(_freeze, value)) if isinstance(value, list) else value


def _readings_to_json(readings: Mapping[str, Sequence[Reading]]) -> dict[str, list[list[Any]]]:
    return {name: [_reading_to_json(reading) for reading in rows] for name, rows in sorted(readings.items())}


def _read_readings(value: Mapping[str, Sequence[list[Any]]]) -> dict[str, tuple[Reading, ...]]:
    return {name: tuple(_read_reading(row) for row in rows) for name, rows in value.items()}


def _reading_to_json(reading: Reading) -> list[Any]:
    columns = [
        format_iso(reading.observed_at),
        format_iso(reading.received_at),
        reading.revision,
        reading.value_raw,
        reading.offset_applied,
        reading.value,
        reading.sigma,
        list(reading.flags),
        reading.extra,
    ]
    if reading.first is not None:
        columns.append(_reading_to_json(reading.first))
    return columns


def _read_reading(columns: list[Any]) -> Reading:
    return Reading(
        observed_at=parse_time(columns[0]),
        received_at=parse_time(columns[1]),
        revision=columns[2],
        value_raw=columns[3],
        offset_applied=columns[4],
        value=columns[5],
        sigma=columns[6],
        flags=tuple(columns[7]),
        extra=columns[8],
        first=_read_reading(columns[9]) if len(columns) > 9 else None,
    )


class FactRequest(NamedTuple):
    """Facts that an evaluation needs. The argument of the hook `evaluation_facts`.

    Attributes:
        now: Only facts that were known at this instant count.
        since: Earliest instant that a criterion of the site reads.
        scored_until: Return anomaly scores of readings up to this instant. It is later than `now` in a replay.
        kinds: Fields of `DecisionInputs` that the criteria of the site read.
    """

    now: datetime
    since: datetime
    scored_until: datetime
    kinds: frozenset[str]


# ---- memory ----------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Vote:
    """The level that one criterion requests at one witness.

    An assessment raises the level at once, but only a fresh assessment lowers it. The level may therefore be higher
    than that of the newest assessment.

    Attributes:
        level: Level that the vote requests.
        newest_s: Newest reading that it depends on, epoch seconds.
        valid_until_s: When it expires without newer readings, epoch seconds.
        reason: Text for people.
    """

    level: int
    newest_s: float
    valid_until_s: float
    reason: Message


@dataclass(frozen=True, slots=True)
class Step:
    """A jump of a station as an open question, and what became of it. See `monitor.decision.series.steps`.

    Attributes:
        at_s: First epoch after the jump, epoch seconds.
        known_s: When the question was opened or opened again, epoch seconds. The deadline is counted from it.
        size: Length of the jump in the unit of the series.
        level: Level that the jump requests as movement.
        state: One of
            `pending` (an open question with a deadline),
            `counted` (nobody answered before the deadline: it counts for the lowest level),
            `movement` (it counts for `level`),
            `instrument` (a person answered that it was no movement),
            `event` (a confirmed earthquake explains it, and nobody has answered),
            `before` (older than the monitoring of its station: a question without a deadline that never counts),
            `doubtful` (the reading itself is doubtful: a question without a deadline),
            `returned` (it counted, and the station soon came back to its earlier position).
        quantity: Quantity of the declared series that jumped; "" if it is not known.
        words: Number of people who confirmed the earthquake that explains the step (stored name). None if no earthquake
            explains it.
    """

    at_s: float
    known_s: float
    size: float
    level: int
    state: str
    reason: Message
    quantity: str = ""
    words: int | None = None


Votes = Mapping[VoteKey, Vote]
Steps = Mapping[StepKey, Step]


@dataclass(frozen=True, slots=True)
class Signature:
    """The first of two signatures for an answer that a motion was no movement. Alone it changes nothing.

    Attributes:
        answer: What the person answered.
        by: The person who signed.
        height: Level that the motion requested when the person signed.
    """

    answer: str
    by: str
    height: int


@dataclass(frozen=True, slots=True)
class Condition:
    """An open condition of the category health or advice.

    Attributes:
        ledger: The category (`AlertCategory`): `health` or `advice`.
        level: 1 for a notice, 2 if it is urgent.
        since_s: When it was opened, epoch seconds.
        reason: Text for people.
    """

    ledger: str
    level: int
    since_s: float
    reason: Message


class ReceptionRun(NamedTuple):
    """An uninterrupted run of receptions, epoch seconds.

    Attributes:
        since_s: First reception of the run.
        newest_s: Newest reception.
    """

    since_s: float
    newest_s: float


@dataclass(frozen=True, slots=True)
class Memory:
    """State that one decision passes to the next one. It is stored, so that a restart changes nothing.

    A *question* is named after the thing that it is about: a step (`station@instant`), a reference whose stations move
    alike (`reference:ID`), a station that moves alone (`alone:ID`), or corrected values (`corrected:...`). All instants
    are epoch seconds.

    Some names are older than the terms of the code, and stay because they are stored: `asked` (questions about stations
    that move alone), `heights` (levels of questions), `unheard` (orphaned supporters), `seen_s` (last evaluation).

    Attributes:
        started_s: Instant of the first evaluation of the site.
        level: The standing level of the site, an index into its ladder.
        level_source: `auto`, or `person` if a person set the level.
        since_s: When the level last changed, or was set by a person.
        floor: Level that a person raised or confirmed, and below which the level does not fall by itself. 0 if there is
            none.
        votes: By `criterion|witness`.
        supporters: Votes, steps and rules that the level depends on, with the highest level that each requested since
            the level was raised.
        answered: By supporter: readings up to this instant do not raise the level again, because a person has lowered
            the level in spite of them. It has nothing to do with `answers`.
        steps: By `station@instant`.
        answers: By question: `movement`, or the cause that a person stated instead.
        common: By reference, the instant since when its stations move alike.
        conditions: Open conditions of health and advice, by alert key.
        observability: What the site sees: `full`, `degraded` or `blind`.
        reachable_level: Highest level that motion anywhere on the slope can raise; None before the first evaluation.
        newest_s: Newest epoch of any series that an evaluation had received, whatever its quality. None before the
            first reading.
        seen_s: Instant of the last evaluation.
        asked: By question about a station that moves alone, the instant since when it is open.
        heights: By question about a motion: the level that its votes request or, once a person has answered that it was
            no movement, the level at the time of the answer. By step: the level that it requested when one person alone
            answered that it was no movement.
        signed: First signature of each question that needs two, by question.
        unheard: Orphaned supporters, with the instant since when: the level depends on them, but the site file does not
            declare them any more (`monitor.decision.orphaned_votes`).
        held: Supporters that only missing or doubtful readings keep from falling, with the instant since when.
        reported: By criterion, the largest rate that people were notified of since the level last changed.
        incomplete: By `station.quantity`, why the site does not see "full".
        receptions: By `station.quantity`, the newest instants of reception, if the loaded readings are too few to show
            how often the series is received.
        outside: The present run of receptions from instruments outside the slope. An outage of the service or of its
            connection ends a run. None before the first reception.
    """

    started_s: float | None = None
    level: int = 0
    level_source: str = "auto"
    since_s: float = 0.0
    floor: int = 0
    votes: Votes = field(default_factory=dict)
    supporters: Mapping[Supporter, int] = field(default_factory=dict)
    answered: Mapping[Supporter, float] = field(default_factory=dict)
    steps: Steps = field(default_factory=dict)
    answers: Mapping[str, str] = field(default_factory=dict)
    common: Mapping[str, float] = field(default_factory=dict)
    conditions: Mapping[str, Condition] = field(default_factory=dict)
    observability: str = "full"
    reachable_level: int | None = None
    newest_s: float | None = None
    seen_s: float | None = None
    asked: Mapping[str, float] = field(default_factory=dict)
    heights: Mapping[str, int] = field(default_factory=dict)
    signed: Mapping[str, Signature] = field(default_factory=dict)
    unheard: Mapping[Supporter, float] = field(default_factory=dict)
    held: Mapping[Supporter, float] = field(default_factory=dict)
    reported: Mapping[str, float] = field(default_factory=dict)
    incomplete: Mapping[str, Message] = field(default_factory=dict)
    receptions: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    outside: ReceptionRun | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the memory as JSON-ready values."""
        values = _read_fields(self)
        for name, value in values.items():
            if isinstance(value, Mapping):
                values[name] = dict(value)
        for name in ("votes", "steps", "conditions", "signed"):
            values[name] = {key: _record_to_json(record) for key, record in values[name].items()}
        values["incomplete"] = messages_to_plain(values["incomplete"])
        values["receptions"] = {name: list(times_s) for name, times_s in values["receptions"].items()}
        values["outside"] = None if self.outside is None else list(self.outside)
        return values

    def sort_mappings(self) -> "Memory":
        """Return the memory with sorted mappings, as it is after writing and reading canonical JSON."""
        changed: dict[str, Any] = {}
        for name in _MAPPINGS:
            mapping = getattr(self, name)
            if len(mapping) > 1 and list(mapping) != sorted(mapping):
                changed[name] = dict(sorted(mapping.items()))
        return replace(self, **changed) if changed else self

    def limit_levels(self, top_level: int) -> "Memory":
        """Return the memory with no level above `top_level`.

        The memory may contain higher levels if the site file has fewer levels than before.
        """
        levels = chain(
            (self.level, self.floor),
            (vote.level for vote in self.votes.values()),
            self.supporters.values(),
            (step.level for step in self.steps.values()),
            self.heights.values(),
            (signature.height for signature in self.signed.values()),
        )
        if max(levels) <= top_level:
            return self
        return replace(
            self,
            level=min(self.level, top_level),
            floor=min(self.floor, top_level),
            votes={key: replace(vote, level=min(vote.level, top_level)) for key, vote in self.votes.items()},
            supporters={key: min(level, top_level) for key, level in self.supporters.items()},
            steps={key: replace(step, level=min(step.level, top_level)) for key, step in self.steps.items()},
            heights={question: min(level, top_level) for question, level in self.heights.items()},
            signed={
                question: replace(signature, height=min(signature.height, top_level))
                for question, signature in self.signed.items()
            },
        )

    def rename(self, names: Mapping[str, str]) -> "Memory":
        """Return the memory with renamed stations.

        Conditions and series keep the old ids. The next evaluation computes them again, and ends the old conditions.

        Args:
            names: New id by old id.
        """
        renamed = self.to_json()
        for name in _MAPPINGS:
            if name not in {"conditions", "incomplete", "receptions"}:
                renamed[name] = {rename_key(key, names): value for key, value in renamed[name].items()}
        return Memory.read(renamed).sort_mappings()

    @staticmethod
    def read(value: Mapping[str, Any]) -> "Memory":
        """Return the memory with the values of its JSON."""
        values = dict(value)
        for name, record_type in (("votes", Vote), ("steps", Step), ("conditions", Condition), ("signed", Signature)):
            values[name] = {key: record_type(**plain_to_messages(record)) for key, record in values[name].items()}
        values["incomplete"] = plain_to_messages(values.get("incomplete", {}))
        values["receptions"] = {name: tuple(times_s) for name, times_s in values.get("receptions", {}).items()}
        outside = values.get("outside")
        values["outside"] = None if outside is None else ReceptionRun(*outside)
        for name, read_key in _KEYS.items():
            values[name] = {read_key(key): entry for key, entry in values.get(name, {}).items()}
        return Memory(**values)


# Names of the fields of `Memory` that are mappings.
_MAPPINGS: Final = tuple(f.name for f in fields(Memory) if f.default_factory is dict)
# Functions that read the keys of these fields. The keys of all other fields are plain text.
_KEYS: Final[Mapping[str, Callable[[str], str]]] = {
    "votes": VoteKey.read,
    "steps": StepKey.read,
    "supporters": read_supporter,
    "answered": read_supporter,
    "unheard": read_supporter,
    "held": read_supporter,
}


# ---- result ----------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class StationHealth:
    """Health of a station.

    Attributes:
        state: `ok`, `silent`, `flagged`, `stuck`, `verify` or `unknown`.
        missing_share_24h: Share of the readings of the last 24 h that were not received.
        votes: Whether a series of the station that a criterion uses is healthy, so that the station can cast new votes.
            A stored vote may still count. For display only.
    """

    station: str
    state: str
    reason: Message
    newest_s: float | None
    expected_interval_s: float | None
    missing_share_24h: float | None
    votes: bool


@dataclass(frozen=True, slots=True)
class Decision:
    """The result of one evaluation of a site.

    Attributes:
        memory: The memory for the next decision.
        level: The standing level.
        observability: `full`, `degraded` or `blind`.
        reachable_level: Highest level that motion anywhere on the slope can raise.
        witnesses_available: Number of independent groups that can vote for the highest level now.
        changes: Alerts that are opened, changed or closed.
        evidence: The reasons of the decision. See `monitor.decision.evidence`.
        newest_at: Newest epoch of a series that measures the motion of the slope. Without such a series, the newest
            epoch of all series. None if there is none.
        next_due_s: When the site must be evaluated again even if no reading is received, epoch seconds.
        rates: The measured rate behind every vote on a rate.
    """

    memory: Memory
    level: int
    observability: str
    reachable_level: int
    witnesses_available: int
    health: tuple[StationHealth, ...]
    changes: tuple[AlertChange, ...]
    evidence: Mapping[str, Any]
    newest_at: datetime | None
    next_due_s: float | None
    rates: tuple[StationRate, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the result as JSON-ready values. Equal decisions have equal canonical JSON."""
        return {
            "memory": self.memory.to_json(),
            "level": self.level,
            "observability": self.observability,
            "reachable_level": self.reachable_level,
            "witnesses_available": self.witnesses_available,
            "health": [_record_to_json(health) for health in self.health],
            "changes": [_change_to_json(change) for change in self.changes],
            "evidence": messages_to_plain(self.evidence),
        }


def _change_to_json(change: AlertChange) -> dict[str, Any]:
    return {
        "ledger": str(change.ledger),
        "key": change.key,
        "level": change.level,
        "open": change.open,
        "data_time": None if change.data_time is None else format_iso(change.data_time),
        "evidence": change.evidence,
        "notify": change.notify,
        **messages_to_plain({"reason": change.reason}),
    }


def _record_to_json(record: Any) -> dict[str, Any]:
    values: dict[str, Any] = messages_to_plain(_read_fields(record))
    return values


def _read_fields(record: Any) -> dict[str, Any]:
    """Return the values of a record by field. `asdict` would copy them all, in every evaluation."""
    names, read_values = _find_fields(record.__class__)
    return dict(zip(names, read_values(record), strict=True))


@cache
def _find_fields(record_type: Any) -> tuple[tuple[str, ...], Callable[[Any], tuple[Any, ...]]]:
    names = tuple(f.name for f in fields(record_type))
    return names, attrgetter(*names)
