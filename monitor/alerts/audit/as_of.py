"""What the tables say today of the inputs a decision froze: late rows, revisions, flags, offsets, what is gone."""

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
from monitor.text.instants import epoch_s, format_iso, parse_time
from monitor.text.local_time import format_instant
from monitor.text.message import plain_to_messages

# what may be told late of the time before a decision, with the instant that it is of
LATE: Final[Mapping[str, Callable[[Any], float]]] = {
    "anomalies": lambda x: float(x.at_s),
    "footprints": lambda x: float(x.acquired_s),
    "reports": lambda x: float(x.at_s),
    "events": lambda x: float(x.from_s),
}


@dataclass(frozen=True, slots=True)
class EvidenceDifference:
    """One way in which today's tables differ from the frozen inputs."""

    kind: str  # late, revised, flags, offset, altered, gone, added
    series: str
    observed_at: str | None
    frozen: Any
    today: Any

    def __str__(self) -> str:
        at = f" of {format_instant(parse_time(self.observed_at))}" if self.observed_at else ""
        return f"{self.kind}: {self.series}{at}: {_format_value(self.frozen)} -> {_format_value(self.today)}"

    def to_json(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class AsOf:
    """Today's tables against frozen inputs, and what would be decided from them."""

    known_at: datetime
    departures: tuple[EvidenceDifference, ...]
    decision: Decision
    level_then: int

    def to_json(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "known_at": format_iso(self.known_at),
            "departures": [d.to_json() for d in self.departures],
            "level_then": self.level_then,
            "level": self.decision.level,
            "sentence": self.decision.evidence["sentence"],
        }


def decide_as_of(connection: Connection, row: DecisionRow, source: str, known_at: datetime | None) -> AsOf:
    """Read the same windows from today's tables, as known at an instant, and decide from them.

    The instant of the decision, its memory and its site file stay as they were frozen.

    Args:
        known_at: what was stored by then counts; None = the decision's own instant.

    Raises:
        RefusedError: a person or the service itself decided: no readings were used.
    """
    import json

    frozen = plain_to_messages(json.loads(row.evidence))
    if "view" not in frozen:
        raise RefusedError("no readings were used: a person or the service itself decided; --as-of has nothing to read")
    now = parse_time(frozen["now"])
    then = DecisionInputs.read(frozen["view"])
    site = parse_frozen_site(row, source)
    today = load_view_as_of(connection, site, then, now, known_at or now)
    decision = decide(PreparedSite(site), Memory.read(frozen["memory"]), today, now)
    departures = tuple(find_evidence_differences(then, today))
    return AsOf(known_at or now, departures, decision, int(frozen["outcome"]["level"]))


def load_view_as_of(
    connection: Connection, site: Site, then: DecisionInputs, now: datetime, known_at: datetime
) -> DecisionInputs:
    """The view `then` of a decision at `now` with every row that was stored by `known_at`; epochs end at `now`."""
    wanted = find_history_spans(site)
    readings: dict[str, tuple[Reading, ...]] = {}
    renamings = load_renamings(connection)
    then_called = {new: s.id for s in site.stations if (new := find_present_id(renamings, site.id, s.id, now)) != s.id}
    newest = {
        f"{then_called.get(station, station)}.{quantity}": value
        for name, value in load_newest(connection, site.id, now).items()
        for station, _, quantity in (name.partition("."),)
    }
    for series in load_series(connection, site.id):
        station = then_called.get(series.station, series.station)
        span_s = find_span_s(wanted, station, series.quantity)
        if not span_s:
            continue
        name = f"{station}.{series.quantity}"
        found = tuple(load_readings(connection, series.id, find_load_start(now, span_s), now, known_at))
        readings[name] = found
        last = next((r for r in reversed(found) if "future" not in r.flags), None)
        if last is not None and known_at != now:
            newest[name] = NewestEpoch.of(last.observed_at, last.received_at, last.flags)
    besides = {
        name: rename_stations(facts, then_called) if then_called else facts
        for name, facts in _load_besides(connection, site, now, known_at).items()
    }
    unsigned = load_unsigned_by_name(connection, site.id, wanted, now, known_at, then_called)
    return DecisionInputs(readings, dict(sorted(newest.items())), unsigned, draining=then.draining, **besides)


def _load_besides(connection: Connection, site: Site, now: datetime, known_at: datetime) -> dict[str, Any]:
    """What a view holds besides readings: as of the decision, with what came late about the time before it."""
    facts = load_facts(connection, site, min(now, known_at))
    if known_at <= now:
        return facts
    now_s = epoch_s(now)
    for name, later in load_facts(connection, site, known_at, scored_until=now).items():
        if name == "offsets":  # readings have those that are known by then
            facts[name] = later
        at = LATE.get(name)
        late = [x for x in later if at is not None and x not in facts[name] and at(x) <= now_s]
        if at is not None and late:
            # one that people stand behind by now is the same event
            anew = {x.id for x in late} if name == "events" else set()
            known = (x for x in facts[name] if name != "events" or x.id not in anew)
            facts[name] = tuple(sorted((*known, *late), key=at, reverse=True))  # newest first, as loaded
    return facts


# ---- differences -----------------------------------------------------------------------------------------------
def find_evidence_differences(then: DecisionInputs, today: DecisionInputs) -> Iterator[EvidenceDifference]:
    """Differences of two views, series by series; what is equal is passed over."""
    for name in sorted({*then.readings, *today.readings}):
        yield from _compare(name, then.readings.get(name, ()), today.readings.get(name, ()))
    for name in OTHER_INPUTS:
        before, after = getattr(then, name), getattr(today, name)
        yield from (EvidenceDifference("gone", name, None, str(x), None) for x in before if x not in after)
        yield from (EvidenceDifference("added", name, None, None, str(x)) for x in after if x not in before)


def _compare(name: str, then: Sequence[Reading], today: Sequence[Reading]) -> Iterator[EvidenceDifference]:
    before = {r.observed_at: r for r in then}
    after = {r.observed_at: r for r in today}
    for at in sorted({*before, *after}):
        old, new = before.get(at), after.get(at)
        spelled = format_iso(at)
        if old is None and new is not None:
            yield EvidenceDifference(
                "late", name, spelled, None, {"value": new.value, "received_at": format_iso(new.received_at)}
            )
        elif new is None and old is not None:
            yield EvidenceDifference("gone", name, spelled, {"value": old.value}, None)
        elif old is not None and new is not None and old != new:
            yield from _differ(name, spelled, old, new)


def _differ(name: str, at: str, old: Reading, new: Reading) -> Iterator[EvidenceDifference]:
    if old.revision != new.revision:
        yield EvidenceDifference("revised", name, at, _revision(old), _revision(new))
    elif (old.value_raw, old.sigma, old.extra, old.received_at) != (
        new.value_raw,
        new.sigma,
        new.extra,
        new.received_at,
    ):
        yield EvidenceDifference(
            "altered", name, at, _revision(old), _revision(new)
        )  # a stored revision never changes by itself
    if old.offset_applied != new.offset_applied:
        yield EvidenceDifference("offset", name, at, old.offset_applied, new.offset_applied)
    if old.flags != new.flags:
        yield EvidenceDifference("flags", name, at, list(old.flags), list(new.flags))


def _revision(r: Reading) -> dict[str, Any]:
    return {
        "revision": r.revision,
        "value_raw": r.value_raw,
        "sigma": r.sigma,
        "received_at": format_iso(r.received_at),
    }


def _format_value(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, Mapping):
        return ", ".join(f"{k} {v}" for k, v in value.items() if v is not None)
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def summarise(departures: Sequence[EvidenceDifference], most: int = 12) -> list[str]:
    """Lines for people: how many of each kind, then the first ones."""
    counts: dict[str, int] = {}
    for one in departures:
        counts[one.kind] = counts.get(one.kind, 0) + 1
    if not departures:
        return ["today's tables say the same"]
    lines = ["today's tables differ: " + ", ".join(f"{n} {kind}" for kind, n in counts.items())]
    lines += [f"  {one}" for one in departures[:most]]
    return [*lines, f"  and {len(departures) - most} more (--json)"] if len(departures) > most else lines
