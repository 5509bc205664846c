"""Compare the frozen inputs of a decision with the tables of today: late rows, revisions, flags, offsets, deletions."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection

from monitor.alerts.audit.explain import OTHER_INPUTS
from monitor.alerts.audit.recompute import parse_frozen_site
from monitor.alerts.evaluate import load_facts, load_unsigned_by_name
from monitor.alerts.queries.evaluations import DecisionRow, load_newest
from monitor.decision.criteria.scope import find_history_spans, find_load_start, find_span_s
from monitor.decision.decide import decide
from monitor.decision.prepared_site import PreparedSite
from monitor.decision.records import Decision, DecisionInputs, Memory, NewestEpoch
from monitor.errors import RefusedError
from monitor.readings.queries.observations import load_readings, load_series
from monitor.readings.queries.renames import find_present_id, load_renamings
from monitor.readings.records import Reading
from monitor.sites.records import Site, rename_stations
from monitor.storage.rows import record_to_dict
from monitor.text.figures import format_number
from monitor.text.instants import epoch_s, format_iso, from_epoch_s, parse_time
from monitor.text.local_time import format_instant
from monitor.text.message import plain_to_messages

# Inputs that may arrive after the time that they are about, with a function that returns this time.
LATE_INPUTS: Final[Mapping[str, Callable[[Any], float]]] = {
    "anomalies": lambda fact: float(fact.at_s),
    "footprints": lambda fact: float(fact.acquired_s),
    "reports": lambda fact: float(fact.at_s),
    "events": lambda fact: float(fact.from_s),
}
# A field that ends with `_s` and is larger than this is a time, not a duration: 2001-09-09 in seconds since 1970.
_EARLIEST_S: Final = 1e9
# Differences that `summarise` lists.
_MAX_DIFFERENCES: Final = 12


@dataclass(frozen=True, slots=True)
class EvidenceDifference:
    """A difference between the frozen inputs and the tables of today.

    Attributes:
        kind: late, revised, flags, offset, altered, gone or added.
        series: The series, or the kind of input.
        description: For an input that was added or deleted, its values for people.
    """

    kind: str
    series: str
    observed_at: str | None
    frozen: Any
    today: Any
    description: str | None = None

    def __str__(self) -> str:
        if self.description is not None:
            return f"{self.kind}: {self.series}: {self.description}"
        at = f" of {format_instant(parse_time(self.observed_at))}" if self.observed_at else ""
        return f"{self.kind}: {self.series}{at}: {_format_value(self.frozen)} -> {_format_value(self.today)}"

    def to_json(self) -> dict[str, Any]:
        """Return the difference as JSON values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class AsOf:
    """The differences of the tables from frozen inputs, and the decision that they would give today."""

    known_at: datetime
    departures: tuple[EvidenceDifference, ...]
    decision: Decision
    level_then: int

    def to_json(self) -> dict[str, Any]:
        """Return the comparison as JSON values."""
        return {
            "known_at": format_iso(self.known_at),
            "departures": [difference.to_json() for difference in self.departures],
            "level_then": self.level_then,
            "level": self.decision.level,
            "sentence": self.decision.evidence["sentence"],
        }


def decide_as_of(connection: Connection, row: DecisionRow, source: str, known_at: datetime | None) -> AsOf:
    """Load the same windows from the tables of today, and decide from them.

    Time, memory and site file are those of the frozen decision.

    Args:
        known_at: Rows that were stored by then count; None for the time of the decision.

    Raises:
        RefusedError: A person or the service itself decided, so no readings were used.
    """
    import json

    frozen = plain_to_messages(json.loads(row.evidence))
    if "view" not in frozen:
        raise RefusedError(
            "no readings were used: a person or the service itself decided, so --as-of has nothing to compare"
        )
    now = parse_time(frozen["now"])
    frozen_inputs = DecisionInputs.read(frozen["view"])
    site = parse_frozen_site(row, source)
    inputs = load_inputs_as_of(connection, site, frozen_inputs, now, known_at or now)
    decision = decide(PreparedSite(site), Memory.read(frozen["memory"]), inputs, now)
    departures = tuple(find_evidence_differences(frozen_inputs, inputs))
    return AsOf(known_at or now, departures, decision, int(frozen["outcome"]["level"]))


def load_inputs_as_of(
    connection: Connection, site: Site, frozen_inputs: DecisionInputs, now: datetime, known_at: datetime
) -> DecisionInputs:
    """Return the inputs of a decision at `now` with all rows that were stored by `known_at`. Epochs end at `now`."""
    spans = find_history_spans(site)
    readings: dict[str, tuple[Reading, ...]] = {}
    renamings = load_renamings(connection)
    former_names = {new: s.id for s in site.stations if (new := find_present_id(renamings, site.id, s.id, now)) != s.id}
    newest = {
        f"{former_names.get(station, station)}.{quantity}": value
        for name, value in load_newest(connection, site.id, now).items()
        for station, _, quantity in (name.partition("."),)
    }
    for series in load_series(connection, site.id):
        station = former_names.get(series.station, series.station)
        span_s = find_span_s(spans, station, series.quantity)
        if not span_s:
            continue
        name = f"{station}.{series.quantity}"
        series_readings = tuple(load_readings(connection, series.id, find_load_start(now, span_s), now, known_at))
        readings[name] = series_readings
        last = next((reading for reading in reversed(series_readings) if "future" not in reading.flags), None)
        if last is not None and known_at != now:
            newest[name] = NewestEpoch.of(last.observed_at, last.received_at, last.flags)
    other_inputs = {
        name: rename_stations(facts, former_names) if former_names else facts
        for name, facts in _load_other_inputs(connection, site, now, known_at).items()
    }
    unsigned = load_unsigned_by_name(connection, site.id, spans, now, known_at, former_names)
    return DecisionInputs(
        readings, dict(sorted(newest.items())), unsigned, draining=frozen_inputs.draining, **other_inputs
    )


def _load_other_inputs(connection: Connection, site: Site, now: datetime, known_at: datetime) -> dict[str, Any]:
    """Return the inputs besides readings: those of the time of the decision, and late ones about the time before it."""
    facts = load_facts(connection, site, min(now, known_at))
    if known_at <= now:
        return facts
    now_s = epoch_s(now)
    for name, later in load_facts(connection, site, known_at, scored_until=now).items():
        if name == "offsets":
            # The readings are corrected by the offsets that are known by then.
            facts[name] = later
        find_time = LATE_INPUTS.get(name)
        if find_time is None:
            continue
        late = [fact for fact in later if fact not in facts[name] and find_time(fact) <= now_s]
        if not late:
            continue
        earlier = facts[name]
        if name == "events":
            # An event that was confirmed later replaces the same event without confirmation.
            late_ids = {fact.id for fact in late}
            earlier = [fact for fact in earlier if fact.id not in late_ids]
        facts[name] = tuple(sorted((*earlier, *late), key=find_time, reverse=True))
    return facts


# ---- differences -----------------------------------------------------------------------------------------------
def find_evidence_differences(then: DecisionInputs, today: DecisionInputs) -> Iterator[EvidenceDifference]:
    """Yield the differences between two sets of inputs, series by series."""
    for name in sorted({*then.readings, *today.readings}):
        yield from _compare(name, then.readings.get(name, ()), today.readings.get(name, ()))
    for name in OTHER_INPUTS:
        before = getattr(then, name)
        after = getattr(today, name)
        for fact in before:
            if fact not in after:
                yield EvidenceDifference("gone", name, None, str(fact), None, _describe_fact(fact))
        for fact in after:
            if fact not in before:
                yield EvidenceDifference("added", name, None, None, str(fact), _describe_fact(fact))


def _compare(name: str, frozen: Sequence[Reading], today: Sequence[Reading]) -> Iterator[EvidenceDifference]:
    before = {reading.observed_at: reading for reading in frozen}
    after = {reading.observed_at: reading for reading in today}
    for at in sorted({*before, *after}):
        old, new = before.get(at), after.get(at)
        observed_at = format_iso(at)
        if old is None and new is not None:
            yield EvidenceDifference(
                "late", name, observed_at, None, {"value": new.value, "received_at": format_iso(new.received_at)}
            )
        elif new is None and old is not None:
            yield EvidenceDifference("gone", name, observed_at, {"value": old.value}, None)
        elif old is not None and new is not None and old != new:
            yield from _compare_reading(name, observed_at, old, new)


def _compare_reading(name: str, at: str, old: Reading, new: Reading) -> Iterator[EvidenceDifference]:
    if old.revision != new.revision:
        yield EvidenceDifference("revised", name, at, _describe_revision(old), _describe_revision(new))
    elif (old.value_raw, old.sigma, old.extra, old.received_at) != (
        new.value_raw,
        new.sigma,
        new.extra,
        new.received_at,
    ):
        # A stored revision never changes, so somebody has altered it.
        yield EvidenceDifference("altered", name, at, _describe_revision(old), _describe_revision(new))
    if old.offset_applied != new.offset_applied:
        yield EvidenceDifference("offset", name, at, old.offset_applied, new.offset_applied)
    if old.flags != new.flags:
        yield EvidenceDifference("flags", name, at, list(old.flags), list(new.flags))


def _describe_revision(reading: Reading) -> dict[str, Any]:
    return {
        "revision": reading.revision,
        "value_raw": reading.value_raw,
        "sigma": reading.sigma,
        "received_at": format_iso(reading.received_at),
    }


def _describe_fact(fact: Any) -> str:
    """Return the fields of an input as text, with times in the zone in use and rounded figures."""
    parts = []
    for name, value in record_to_dict(fact).items():
        if value is None or value in ("", ()):
            continue
        is_time = name.endswith("_s") and isinstance(value, float) and value > _EARLIEST_S
        text = format_instant(from_epoch_s(value)) if is_time else _format_value(value)
        parts.append(f"{name.removesuffix('_s') if is_time else name} {text}".replace("_", " "))
    return ", ".join(parts)


def _format_value(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, Mapping):
        return ", ".join(
            f"{name.replace('_', ' ')} {_format_value(item)}" for name, item in value.items() if item is not None
        )
    if isinstance(value, list | tuple):
        return ", ".join(map(_format_value, value)) or "none"
    return format_number(value, 6) if isinstance(value, float) else str(value)


def summarise(differences: Sequence[EvidenceDifference]) -> list[str]:
    """Return the number of differences of each kind, and the first differences, as lines for people."""
    if not differences:
        return ["the tables of today contain the same inputs"]
    counts = Counter(difference.kind for difference in differences)
    lines = ["the tables of today differ: " + ", ".join(f"{count} {kind}" for kind, count in counts.items())]
    lines += [f"  {difference}" for difference in differences[:_MAX_DIFFERENCES]]
    if len(differences) > _MAX_DIFFERENCES:
        lines.append(f"  and {len(differences) - _MAX_DIFFERENCES} more (--json)")
    return lines
