"""What a decision sees and what it leaves behind: frozen records that can be spelled as JSON and read back exactly."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from functools import cache
from operator import attrgetter
from typing import Any, Final, NamedTuple

from monitor.decision.changes import AlertChange
from monitor.decision.headline import StationRate
from monitor.decision.keys import StepKey, Supporter, VoteKey, read_support, rename_key
from monitor.readings.records import Reading
from monitor.sites.criteria.registry import load_criteria
from monitor.text.instants import EPOCH, epoch_s, format_iso, from_epoch_s, parse_time
from monitor.text.message import Message, messages_to_plain, plain_to_messages

__all__ = ["EPOCH", "Decision", "DecisionInputs", "Memory"]


# ---- what a decision sees --------------------------------------------------------------------------------------
class NewestEpoch(NamedTuple):
    """The newest epoch of a series that was not stamped in the future: it lies no later than its reception."""

    observed_s: float
    received_s: float
    flags: tuple[str, ...] = ()

    @classmethod
    def of(cls, observed_at: datetime, received_at: datetime, flags: tuple[str, ...] = ()) -> "NewestEpoch":
        """Of a reading; by a clock a little ahead it counts from its reception, else silence would be seen late."""
        received_s = seconds(received_at)
        return cls(min(seconds(observed_at), received_s), received_s, flags)


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
    """One score beyond its detector's threshold."""

    station: str
    quantity: str
    at_s: float
    detector: str
    score: float
    threshold: float
    kind: str
    compared_with: str = ""
    model_hash: str = ""  # the weights that scored it; empty: it has none


@dataclass(frozen=True, slots=True)
class FootprintFact:
    """One polygon of a scene near a station."""

    scene: str
    acquired_s: float
    polygon: str
    change: str
    area_m2: float
    station: str | None
    distance_m: float | None
    received_s: float  # when it was known: scenes come late
    grown_m2: float | None = None
    parent: str | None = None
    since_s: float | None = None  # when the image was taken that it was compared with
    caution: str | None = None  # why its change is advice only
    near: tuple[tuple[str, float], ...] = ()  # all stations within reach and how far they are, nearest first
    kind: str = "landslide"  # the model's class
    model_hash: str = ""  # the weights that found it


@dataclass(frozen=True, slots=True)
class ReportFact:
    """One observer's report."""

    at_s: float
    received_s: float
    kind: str
    text: str
    by: str
    station: str | None
    credential: str  # what proved who sent it: one is one observer, names are free to whoever sends


@dataclass(frozen=True, slots=True)
class EventFact:
    """Work, blasting, reservoir operation, an earthquake: what people or programs declared for the site."""

    from_s: float
    to_s: float
    received_s: float
    kind: str
    value: float | None
    text: str
    by: str
    id: int
    via: str  # by which way it came
    confirmed_by: tuple[str, ...] = ()  # the people who stand behind it, the first two
    withdrawn: bool = False  # as a whole: all that is left of it are the questions that it had answered
    doubted: bool = False  # somebody stood behind it and took that back

    @property
    def words(self) -> int:
        """How many people stand behind it; without one it annotates and explains nothing."""
        return len(self.confirmed_by)


@dataclass(frozen=True, slots=True)
class FailureFact:
    """The newest failure window of a series that is not withdrawn."""

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
    """A time in which people work on a station: its votes are pended up to a level."""

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
    second_by: str | None  # None until another person than its author has confirmed it
    quantity: str
    counts: bool = True  # False while it waits for a second person: readings do not have it subtracted


@dataclass(frozen=True, slots=True)
class PointFact:
    """How fast a zone of InSAR points moves, with the true age of that knowledge.

    Attributes:
        points: Points with enough acquisitions, which give the rate; 0: there are too few values for a rate.
        known_share: Of the values that all points of the zone would have at all acquisitions, those that were used.
        lost_mm_per_day: Rate of the points that lack too many acquisitions, as far as they were measured; None where
            too few of their values are in the window.
    """

    zone: str
    station: str | None
    rate_mm_per_day: float
    error_mm_per_day: float
    points: int
    newest_s: float
    received_s: float
    low_mm_per_day: float  # smallest and largest rate when any single acquisition is left out
    high_mm_per_day: float
    window_s: float
    epochs: int
    known_share: float = 1.0
    lost_mm_per_day: float | None = None


@dataclass(frozen=True, slots=True)
class ProofFact:
    """The newest test of what a criterion rests on, beside what is in use; without `tested_s` there is none."""

    criterion: str
    name: str  # what was tested: a detector, `forecasts` or `outlines`; empty: nothing of it can be tested
    tested_s: float | None = None
    until_s: float = 0.0
    passed: bool = False
    why: str = ""  # it did not pass
    weights: str = ""  # that were tested; empty = it has none
    settings: str = ""  # digest of what the site file said of it
    weights_now: str = ""
    settings_now: str = ""

    def holds(self, now_s: float) -> bool:
        """Whether it was passed, by what is in use, and still speaks for it."""
        same = (self.weights, self.settings) == (self.weights_now, self.settings_now)
        return self.tested_s is not None and self.passed and same and now_s <= self.until_s


@dataclass(frozen=True, slots=True)
class DecisionInputs:
    """Inputs of a decision as they were known at its instant; `readings` by `station.quantity`."""

    readings: Mapping[str, tuple[Reading, ...]] = field(default_factory=dict)
    newest: Mapping[str, NewestEpoch] = field(default_factory=dict)
    # corrections that two people have not signed, by `station.quantity`: `readings` does not contain them
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
    proofs: tuple[ProofFact, ...] = ()  # empty: no criterion has to prove that it may count
    # facts for criteria of third-party plugins, by the name in `Kind.facts`; a name is missing if its plugin failed
    plugin_facts: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    # names of facts that a criterion reads and that could not be loaded: their feature is not installed, or its
    # third-party plugin failed
    missing_facts: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values: keys, revisions, raw values, offsets, flags."""
        return {
            "readings": _readings_to_json(self.readings),
            "newest": {k: [v.observed_s, v.received_s, list(v.flags)] for k, v in sorted(self.newest.items())},
            "draining": self.draining,
            **({"unsigned": _readings_to_json(self.unsigned)} if self.unsigned else {}),
            **{name: [_record_to_json(f) for f in getattr(self, name)] for name in FACTS},
            **self._plugin_facts_to_json(),
            **({"missing_facts": list(self.missing_facts)} if self.missing_facts else {}),
        }

    def _plugin_facts_to_json(self) -> dict[str, Any]:
        """Return nothing if no plugin loaded facts, so that stored inputs of other sites do not change.

        A name without facts is stored as well. A missing name means that the plugin failed.
        """
        facts = {name: [_record_to_json(f) for f in rows] for name, rows in sorted(self.plugin_facts.items())}
        return {"plugin_facts": facts} if facts else {}

    @staticmethod
    def read(value: Mapping[str, Any]) -> "DecisionInputs":
        """The inputs back from their JSON."""
        facts: dict[str, Any] = {name: _read_facts(value[name], fact_type) for name, fact_type in FACTS.items()}
        if plugin_facts := value.get("plugin_facts"):
            types = {entry.kind.facts: entry.fact_type for entry in load_criteria().values() if entry.plugin}
            facts["plugin_facts"] = {
                name: _read_facts(rows, fact_type)
                for name, rows in plugin_facts.items()
                if (fact_type := types.get(name)) is not None
            }
        return DecisionInputs(
            _read_readings(value["readings"]),
            {k: NewestEpoch(v[0], v[1], tuple(v[2])) for k, v in value["newest"].items()},
            _read_readings(value.get("unsigned", {})),
            draining=bool(value["draining"]),
            missing_facts=tuple(value.get("missing_facts", ())),
            **facts,
        )


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


def _freeze(value: Any) -> Any:
    return tuple(map(_freeze, value)) if isinstance(value, list) else value


def _readings_to_json(readings: Mapping[str, Sequence[Reading]]) -> dict[str, list[list[Any]]]:
    return {name: [_reading_to_json(reading) for reading in rows] for name, rows in sorted(readings.items())}


def _read_readings(value: Mapping[str, Sequence[list[Any]]]) -> dict[str, tuple[Reading, ...]]:
    return {name: tuple(_read_reading(row) for row in rows) for name, rows in value.items()}


def _reading_to_json(r: Reading) -> list[Any]:
    return [
        format_iso(r.observed_at),
        format_iso(r.received_at),
        r.revision,
        r.value_raw,
        r.offset_applied,
        r.value,
        r.sigma,
        list(r.flags),
        r.extra,
        *([] if r.first is None else [_reading_to_json(r.first)]),
    ]


def _read_reading(v: list[Any]) -> Reading:
    return Reading(
        observed_at=parse_time(v[0]),
        received_at=parse_time(v[1]),
        revision=v[2],
        value_raw=v[3],
        offset_applied=v[4],
        value=v[5],
        sigma=v[6],
        flags=tuple(v[7]),
        extra=v[8],
        first=_read_reading(v[9]) if len(v) > 9 else None,
    )


class FactRequest(NamedTuple):
    """What an evaluation asks the features for, by the hook `evaluation_facts`."""

    now: datetime  # only what was known at this instant counts
    since: datetime  # the earliest instant that a criterion of the site looks back to
    scored_until: datetime  # anomaly scores of readings up to this instant; later than `now` in a look back
    kinds: frozenset[str]  # fields of `DecisionInputs` that the criteria of the site read


# ---- what it leaves behind -------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Vote:
    """The newest result of one witness (criterion and station) from fresh data; it ages with its newest datum."""

    level: int
    newest_s: float
    valid_until_s: float
    reason: Message


@dataclass(frozen=True, slots=True)
class Step:
    """A sudden jump of a station that nobody has explained yet."""

    at_s: float  # first epoch after the jump
    known_s: float  # when we learned of it: the clock starts here
    size: float
    level: int  # what it counts for once it counts
    # pending, counted, instrument (no movement, says a person), movement, event (explained, unanswered), before (older
    # than the watch), doubtful (the instrument does not vouch for it), returned (it counted and came back)
    state: str
    reason: Message
    quantity: str = ""  # the declared series that jumped
    words: int | None = None  # people behind the event that explains it; None = none does


Votes = Mapping[VoteKey, Vote]
Steps = Mapping[StepKey, Step]


@dataclass(frozen=True, slots=True)
class Signature:
    """The first of two words that a question is about no movement; alone it changes nothing."""

    answer: str
    by: str
    height: int  # the level that was asked for when it was given


@dataclass(frozen=True, slots=True)
class Condition:
    """An open condition of the health or advice ledger."""

    ledger: str
    level: int
    since_s: float
    reason: Message


@dataclass(frozen=True, slots=True)
class Memory:
    """What must survive a restart. Levels are numbers of the site's ladder; times are epoch seconds."""

    started_s: float | None = None  # first evaluation ever
    level: int = 0  # the hazard level that stands
    level_source: str = "auto"  # auto or person
    since_s: float = 0.0  # since when it stands
    floor: int = 0  # a level set by a person that data may not lower
    votes: Votes = field(default_factory=dict)  # by `criterion|station`
    # votes the standing level rests on, with the highest level each has asked for since it was raised
    supporters: Mapping[Supporter, int] = field(default_factory=dict)
    # by vote, or its share in a rule: data up to this instant were answered by a person and raise no more
    answered: Mapping[Supporter, float] = field(default_factory=dict)
    steps: Steps = field(default_factory=dict)  # by `station@instant`
    # what a person said of a step, a common motion or another question: movement, or what it was instead
    answers: Mapping[str, str] = field(default_factory=dict)
    common: Mapping[str, float] = field(default_factory=dict)  # by reference: since when its rovers move as one
    # open conditions of health and advice by alert key
    conditions: Mapping[str, Condition] = field(default_factory=dict)
    observability: str = "full"
    reachable_level: int | None = None
    newest_s: float | None = None  # newest datum ever used
    seen_s: float | None = None  # instant of the last evaluation
    # by question about a station that moves alone: since when it is asked
    asked: Mapping[str, float] = field(default_factory=dict)
    # by question about a motion: the level its votes ask for, or asked for when it was answered; by step: what it
    # asked for when one person alone said that it was none
    heights: Mapping[str, int] = field(default_factory=dict)
    signed: Mapping[str, Signature] = field(default_factory=dict)  # by question or step: the first word of two
    # by supporter of the level that the site file hears no more: since when
    unheard: Mapping[Supporter, float] = field(default_factory=dict)
    # by supporter of the level: since when only missing or doubted readings keep the level from falling
    held: Mapping[Supporter, float] = field(default_factory=dict)
    # by criterion: the largest rate that people were notified of since the level stands
    reported: Mapping[str, float] = field(default_factory=dict)
    # by `STATION.quantity`: why the site does not see "full"
    incomplete: Mapping[str, Message] = field(default_factory=dict)
    # by `STATION.quantity`: the newest receptions, where the loaded readings show too few to learn how often it sends
    receptions: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values."""
        found = _read_fields(self)
        for name, value in found.items():
            if isinstance(value, Mapping):
                found[name] = dict(value)
        for name in ("votes", "steps", "conditions", "signed"):
            found[name] = {k: _record_to_json(v) for k, v in found[name].items()}
        found["incomplete"] = messages_to_plain(found["incomplete"])
        found["receptions"] = {name: list(times_s) for name, times_s in found["receptions"].items()}
        return found

    def in_order(self) -> "Memory":
        """The same memory with every mapping in the order of its keys: so it comes back from canonical JSON."""
        held = ((name, getattr(self, name)) for name in _MAPPINGS)
        ordered: dict[str, Any] = {name: dict(sorted(one.items())) for name, one in held if len(one) > 1}
        changed = {name: one for name, one in ordered.items() if [*one] != [*getattr(self, name)]}
        return replace(self, **changed) if changed else self

    def rename(self, names: Mapping[str, str]) -> "Memory":
        """What it holds of stations under the ids that they have now; open conditions end under the old ones."""
        renamed = self.to_json()
        for name in _MAPPINGS:
            if name not in {"conditions", "incomplete", "receptions"}:  # the next evaluation finds them again
                renamed[name] = {rename_key(key, names): value for key, value in renamed[name].items()}
        return Memory.read(renamed).in_order()

    @staticmethod
    def read(value: Mapping[str, Any]) -> "Memory":
        """The memory back from its JSON."""
        known = dict(value)
        for name, kind in (("votes", Vote), ("steps", Step), ("conditions", Condition), ("signed", Signature)):
            name_of = _KEYS.get(name, str)
            known[name] = {name_of(k): kind(**plain_to_messages(v)) for k, v in known[name].items()}
        known["incomplete"] = plain_to_messages(known.get("incomplete", {}))
        known["receptions"] = {name: tuple(times_s) for name, times_s in known.get("receptions", {}).items()}
        for name in ("supporters", "answered", "unheard", "held"):
            known[name] = {read_support(k): v for k, v in known.get(name, {}).items()}
        return Memory(**known)


_MAPPINGS: Final = tuple(f.name for f in fields(Memory) if f.default_factory is dict)
_KEYS: Final[Mapping[str, Callable[[str], str]]] = {"votes": VoteKey.read, "steps": StepKey.read}


@dataclass(frozen=True, slots=True)
class StationHealth:
    """How a station does; `votes` says whether its word counts now."""

    station: str
    state: str  # ok, silent, flagged, stuck, verify, unknown
    reason: Message
    newest_s: float | None
    expected_interval_s: float | None
    missing_share_24h: float | None
    votes: bool


@dataclass(frozen=True, slots=True)
class Decision:
    """One evaluation's outcome."""

    memory: Memory
    level: int
    observability: str  # full, degraded, blind
    reachable_level: int
    witnesses_available: int
    health: tuple[StationHealth, ...]
    changes: tuple[AlertChange, ...]
    evidence: Mapping[str, Any]
    newest_at: datetime | None
    next_due_s: float | None
    rates: tuple[StationRate, ...] = ()  # what every vote on a rate measured

    def to_json(self) -> dict[str, Any]:
        """The outcome as JSON-ready values; equal decisions spell equally."""
        plain = ("level", "observability", "reachable_level", "witnesses_available")
        return {
            "memory": self.memory.to_json(),
            **{name: getattr(self, name) for name in plain},
            "health": [_record_to_json(h) for h in self.health],
            "changes": [
                {
                    "ledger": str(x.ledger),
                    "key": x.key,
                    "level": x.level,
                    "open": x.open,
                    "data_time": None if x.data_time is None else format_iso(x.data_time),
                    "evidence": x.evidence,
                    "notify": x.notify,
                    **messages_to_plain({"reason": x.reason}),
                }
                for x in self.changes
            ],
            "evidence": messages_to_plain(self.evidence),
        }


def _record_to_json(record: Any) -> dict[str, Any]:
    found: dict[str, Any] = messages_to_plain(_read_fields(record))
    return found


def _read_fields(record: Any) -> dict[str, Any]:
    """Names and values of a record; `asdict` would copy every one of them, and this is done at every look."""
    names, read = _fields_of(record.__class__)
    return dict(zip(names, read(record), strict=True))


@cache
def _fields_of(kind: Any) -> tuple[tuple[str, ...], Callable[[Any], tuple[Any, ...]]]:
    names = tuple(f.name for f in fields(kind))
    return names, attrgetter(*names)


seconds: Final = epoch_s  # of an instant; the inverse of `instant`
instant: Final = from_epoch_s
