"""One evaluation of one site: what was known is read from one snapshot, the outcome is written in one transaction.

The view is read outside the write lock. That is sound because a decision rests only on its frozen view and on the
memory it started from: the write transaction takes effect only if the memory is still that one (compare and set), and
rows that were committed after the snapshot bring their own evaluation.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection

from monitor.alerts.queries.alerts import ChangeContext, apply_changes, follow_maintenance, unshelve_due
from monitor.alerts.queries.decision_seals import seal_decision
from monitor.alerts.queries.evaluations import (
    StateRow,
    add_decision,
    add_evaluation,
    digest_of,
    find_state,
    load_newest,
    load_report_facts,
    save_chances,
    save_rates,
    save_state,
    save_station_states,
)
from monitor.alerts.queries.events import load_event_facts
from monitor.alerts.queries.instruments import load_emptied, load_misdated, load_open_pages
from monitor.alerts.queries.maintenance import load_maintenance_facts
from monitor.alerts.queries.offsets import load_offset_facts
from monitor.alerts.queries.point_facts import load_point_facts
from monitor.canonical import CanonicalText, canonical_json, code_version
from monitor.decision.changes import AlertChange
from monitor.decision.criteria.kinds.earthquake import event_span_s
from monitor.decision.criteria.scope import anchor_at, find_span_s, reach_s, wanted_series
from monitor.decision.decide import decide
from monitor.decision.records import Decision, DecisionInputs, FactRequest, Memory, ProofFact, instant
from monitor.decision.series.assessment import EvaluationCache
from monitor.errors import OutdatedSiteError, StoreBusyError
from monitor.models.queries.proofs import load_proof_facts
from monitor.plugins import implementations, is_built_in
from monitor.readings.queries.corrections import load_unsigned
from monitor.readings.queries.observations import load_readings, load_series
from monitor.readings.queries.stamps import StretchFingerprint, load_fingerprints, load_newer
from monitor.readings.records import Reading
from monitor.sites.criteria.registry import list_plugin_versions
from monitor.sites.parents import list_children, stale_key
from monitor.sites.queries.sites import find_version
from monitor.sites.records import Site
from monitor.storage.actor import SERVICE_ACTOR
from monitor.storage.engine import Database
from monitor.text.instants import format_iso


@dataclass(frozen=True, slots=True)
class _Held:
    """Readings of one series after `from_at`, all up to the instant of the last look, and what the database said."""

    from_at: datetime
    readings: tuple[Reading, ...]
    stamp: StretchFingerprint

    @property
    def last_at(self) -> datetime:
        return self.readings[-1].observed_at if self.readings else self.from_at


class SiteReadingCache:
    """Readings of one site, held between the evaluations of one thread.

    Attributes:
        site: The declaration; another one needs another memory.
        warm: What `decide` may reuse.
        is_warm: The newest look found readings that were held.
    """

    def __init__(self, site: Site) -> None:
        self.site = site
        self.warm = EvaluationCache()
        self._spans = wanted_series(site)
        self._held: dict[int, _Held] = {}
        self._now: datetime | None = None
        self._memory = "", Memory()
        self.is_warm = False

    def forget(self) -> None:
        """Begin anew: the next look reads everything."""
        self.warm, self._held, self._now, self._memory = EvaluationCache(), {}, None, ("", Memory())

    def note(self, text: str, memory: Memory) -> None:
        """Hold the memory that was stored with its text."""
        self._memory = text, memory.in_order()  # as it comes back

    def recall(self, text: str) -> Memory:
        """The memory that a stored text spells."""
        known, memory = self._memory
        return memory if text == known else Memory.read(json.loads(text))

    def count(self) -> int:
        """Readings held, and with them the epochs of tracks, of which each criterion has its own."""
        return sum(len(h.readings) for h in self._held.values()) + sum(t.count() for t in self.warm.trackers.values())

    def read(self, c: Connection, now: datetime) -> dict[str, tuple[Reading, ...]]:
        """Readings that a decision at `now` may see, by `station.quantity`, as they are known at `now`."""
        if self._now is not None and now < self._now:
            self.forget()
        self._now = now
        wanted = [
            (row.id, f"{row.station}.{row.quantity}", anchor_at(now, span_s))
            for row in load_series(c, self.site.id)
            if (span_s := find_span_s(self._spans, row.station, row.quantity))
        ]
        self._renew(c, [(series_id, from_at) for series_id, _, from_at in wanted], now)
        return {key: self._held[series_id].readings for series_id, key, _ in wanted}

    def _renew(self, c: Connection, wanted: Sequence[tuple[int, datetime]], now: datetime) -> None:
        known = [
            (i, held.from_at, held.last_at)
            for i, from_at in wanted
            if (held := self._held.get(i)) is not None and held.from_at == from_at
        ]
        self.is_warm = bool(known)
        stamps = load_fingerprints(c, known, now)
        sound = [(i, last_at, s) for (i, _, last_at), s in zip(known, stamps, strict=True) if s == self._held[i].stamp]
        for series_id, (newer, stamp) in load_newer(c, sound, now, now).items():
            held = self._held[series_id]
            self._held[series_id] = _Held(held.from_at, (*held.readings, *newer), stamp)
        kept = {i for i, _, _ in sound}
        anew = [(i, from_at) for i, from_at in wanted if i not in kept]
        fresh = {i: self._read_anew(c, i, from_at, now) for i, from_at in anew}
        ends = [(i, at, found[-1].observed_at if (found := fresh[i]) else at) for i, at in anew]
        for (series_id, from_at, _), stamp in zip(ends, load_fingerprints(c, ends, now), strict=True):
            self._held[series_id] = _Held(from_at, fresh[series_id], stamp)

    def _read_anew(self, c: Connection, series_id: int, from_at: datetime, now: datetime) -> tuple[Reading, ...]:
        """All readings of a stretch; those that are as they were stay the same objects."""
        found = load_readings(c, series_id, from_at, now, now)
        held = self._held.get(series_id)
        before = {} if held is None else {r.observed_at: r for r in held.readings}
        return tuple(old if (old := before.get(r.observed_at)) == r else r for r in found)


# readings and epochs of tracks held of all sites together, 0.4 kB each: some 350 MB; a site beyond it is read anew each
# time. The largest site that `check` lets pass stays below it with three criteria on every series
HOLD_MOST: Final = 900_000
AGAIN: Final = timedelta(hours=6)  # the longest that anything held is trusted, whatever the database says of it
ATTEMPTS: Final = 5
FORMAT: Final = 1  # of frozen inputs
EARLY: Final = timedelta(days=2)  # a battery may end so long before it was expected to
BEFORE_READINGS_S: Final = 86400.0  # an earthquake explains the steps of the hours after it


@dataclass(frozen=True, slots=True)
class EvaluationResult:
    """What an evaluation found; `changes` are already written."""

    level: int
    observability: str
    reachable_level: int
    changes: tuple[AlertChange, ...]
    next_due_at: datetime | None
    decision: Decision


def evaluate_site(
    db: Database,
    site: Site,
    now: datetime,
    trigger: str,
    *,
    draining: bool = False,
    dry_run: bool = False,
    looking: SiteReadingCache | None = None,
) -> EvaluationResult:
    """Decide once for a site and store level, health, alerts and outbox in one transaction.

    Args:
        site: the declaration, already saved with `save_site`.
        trigger: data, tick, person or start.
        draining: True while a backlog is being read: levels may rise, nothing falls, silence is not judged.
        looking: what earlier evaluations of this very site left in memory; a change is decided again without it.

    Raises:
        StoreBusyError: the database is locked, or the memory was changed by others again and again.
        OutdatedSiteError: another version of the site file was put in force meanwhile; nothing is written.
    """
    now = now.astimezone(UTC)
    looking = SiteReadingCache(site) if looking is None else looking
    for _ in range(ATTEMPTS):
        seen = _load_snapshot(db, site, now, looking, draining=draining)
        decision = decide(site, seen.memory, seen.view, now, looking.warm)
        if decision.changes and looking.is_warm:
            looking.forget()  # what is frozen rests on nothing but what the database says
            seen = _load_snapshot(db, site, now, looking, draining=draining)
            decision = decide(site, seen.memory, seen.view, now, looking.warm)
        state = CanonicalText(canonical_json(decision.memory.to_json()))
        if dry_run or _store(db, site, seen, decision, state, now, trigger):
            looking.note(state, decision.memory)
            return EvaluationResult(
                level=decision.level,
                observability=decision.observability,
                reachable_level=decision.reachable_level,
                changes=decision.changes,
                next_due_at=None if decision.next_due_s is None else instant(decision.next_due_s),
                decision=decision,
            )
    raise StoreBusyError(f"site {site.id}: its state was changed by others {ATTEMPTS} times in a row; try again")


class _Snapshot(NamedTuple):
    row: StateRow | None  # the memory as it is stored
    memory: Memory
    view: DecisionInputs
    known_until: datetime | None  # newest instant of reception


def _load_snapshot(db: Database, site: Site, now: datetime, looking: SiteReadingCache, *, draining: bool) -> _Snapshot:
    with db.read() as c:
        row = find_state(c, site.id)
        view, known_until = load_view(c, site, now, draining=draining, looking=looking)
    return _Snapshot(row, Memory() if row is None else looking.recall(row.text), view, known_until)


def load_view(
    c: Connection, site: Site, now: datetime, *, draining: bool, looking: SiteReadingCache | None = None
) -> tuple[DecisionInputs, datetime | None]:
    """Everything a decision at `now` may see, and the newest instant of reception among it."""
    readings = (SiteReadingCache(site) if looking is None else looking).read(c, now)
    newest = load_newest(c, site.id, now)
    unsigned = load_unsigned_by_name(c, site, now, now)
    view = DecisionInputs(readings, newest, unsigned, draining=draining, **load_facts(c, site, now))
    known = max((n.received_s for n in newest.values()), default=None)
    return view, None if known is None else instant(known)


def load_unsigned_by_name(
    c: Connection, site: Site, to_at: datetime, known_at: datetime, names: Mapping[str, str] = MappingProxyType({})
) -> dict[str, tuple[Reading, ...]]:
    """Return the corrections that two people have not signed, by `station.quantity`, as far back as criteria read.

    Args:
        names: Names of stations in the site file, by their names today, where these differ.
    """
    spans = wanted_series(site)
    wanted = {
        row.id: (f"{station}.{row.quantity}", anchor_at(to_at, span_s))
        for row in load_series(c, site.id)
        if (span_s := find_span_s(spans, (station := names.get(row.station, row.station)), row.quantity))
    }
    unsigned = load_unsigned(c, {series_id: since for series_id, (_, since) in wanted.items()}, to_at, known_at)
    return {wanted[series_id][0]: readings for series_id, readings in unsigned.items()}


def load_facts(
    c: Connection,
    site: Site,
    now: datetime,
    *,
    as_claimed: bool = False,
    proofs: Sequence[ProofFact] | None = None,
    scored_until: datetime | None = None,
) -> dict[str, Any]:
    """What a view holds besides readings, by the name of its field, as known at `now`; a replay asks the same.

    With `as_claimed` events count from when people said that they knew them, which only a replay asks for. So it
    does of `proofs` that are not those stored here; where they are empty, no criterion has to prove that it may count.
    Anomalies are those until `scored_until`, as known at `now`: who looks back asks for what came late of a time.
    """
    proofs = load_proof_facts(c, site, now) if proofs is None else tuple(proofs)
    since = now - timedelta(seconds=max((x.valid_for_s for x in site.criteria), default=86400.0))
    reads = {x.kind.facts for x in site.criteria if x.kind.facts is not None}
    scored_until = scored_until or now
    # a step that an earthquake explained is found again at every walk: without it it would be movement
    walked_s = max((reach_s(span_s) for span_s in wanted_series(site).values()), default=0.0)
    strict_s = event_span_s(site)
    events_since = min(since, now - timedelta(seconds=max(strict_s, walked_s + BEFORE_READINGS_S)))
    facts: dict[str, Any] = {
        "reports": load_report_facts(c, site.id, since, now) if "reports" in reads else (),
        "events": load_event_facts(c, site.id, events_since, now, as_reported=as_claimed, strict_s=strict_s),
        "offsets": load_offset_facts(c, site.id, now),
        "maintenance": load_maintenance_facts(c, site.id, now),
        "points": load_point_facts(c, site, now) if "points" in reads else (),
        "proofs": proofs,
    }
    request = FactRequest(now, since, scored_until, frozenset(reads))
    plugin_facts: dict[str, tuple[object, ...]] = {}
    for implementation in implementations("evaluation_facts"):
        found = implementation.call(connection=c, site=site, request=request) or {}
        if is_built_in(implementation.plugin):
            facts |= found
        else:
            plugin_facts |= {name: tuple(rows) for name, rows in found.items()}
    missing = reads - facts.keys() - plugin_facts.keys()
    return {**facts, "plugin_facts": plugin_facts, "missing_facts": tuple(sorted(missing))}


def _store(
    db: Database, site: Site, seen: _Snapshot, decision: Decision, state: CanonicalText, now: datetime, trigger: str
) -> bool:
    """Write the outcome if the memory is still the one it started from."""
    # an evaluation that saw nothing new differs by its instant alone
    row, draining, after = seen.row, seen.view.draining, decision.memory
    moved = (
        row is None
        or seen.memory.newest_s != after.newest_s
        or digest_of({**row.state, "seen_s": None}) != digest_of({**after.to_json(), "seen_s": None})
    )
    # Frozen inputs can hold many thousand readings, so they are serialised before the write lock is taken.
    frozen = canonical_json(freeze_evidence(site, seen.memory, seen.view, decision, now)) if decision.changes else ""
    with db.write() as c:
        current = find_state(c, site.id)
        if (current.digest if current else None) != (row.digest if row else None):
            return False
        if (in_force := find_version(c, site.id)) not in (None, site.version):
            # the memory was set apart for the names of that version: votes under older ones must not come back
            raise OutdatedSiteError(
                f"site {site.id}: another version of its file is in force ({str(in_force)[:12]}); "
                f"nothing is decided by {site.version[:12]} any more"
            )
        save_state(c, site.id, decision, state, site.version, now, catching_up=draining)
        save_station_states(c, site.id, decision, now, catching_up=draining)
        save_rates(c, site.id, decision)
        if any(x.kind.facts == "forecasts" for x in site.criteria):
            save_chances(c, site.id, decision, site.version, now)
        if moved or trigger != "data":
            add_evaluation(c, site.id, now, trigger, decision, state, seen.known_until, site.version)
        if decision.changes:
            basis = add_decision(c, site.id, now, site.version, frozen)
            apply_changes(
                c,
                _mute_explained(c, site, decision.changes, now),
                ChangeContext(site.id, site, site.recipients, SERVICE_ACTOR, now, rule_version(site), basis),
            )
        unshelve_due(c, site.id, SERVICE_ACTOR, now)
        follow_maintenance(c, site.id, SERVICE_ACTOR, now)
        if decision.changes:
            seal_decision(c, basis, SERVICE_ACTOR, now)  # last: it serialises all who write the audit log
    return True


def _mute_explained(c: Connection, site: Site, changes: Sequence[AlertChange], now: datetime) -> list[AlertChange]:
    """One cause is one page: silence that a notice explains is told to nobody.

    That of instruments whose battery was announced to be empty by now, and of those that send on with a wrong clock, so
    that what they send counts for nothing. It stands on the page and on the board. What it takes out of sight or reach
    is told as ever.
    """
    if not any(x.open and x.key.endswith(":stale") for x in changes):
        return list(changes)
    emptied, misdated = load_emptied(c, site.id, now + EARLY), load_misdated(c, site.id)
    clocks = load_open_pages(c, site.id, ("clock",)) if misdated else {}
    behind = {parent.key: {station for station, _ in places} for parent, places in list_children(site).items()}
    behind |= {stale_key((station.id, s.quantity)): {station.id} for station in site.stations for s in station.series}

    def is_explained(key: str) -> bool:
        name = key.removeprefix("health:").removesuffix(":stale")
        those = behind.get(key, set())
        return bool(those) and (those <= emptied or those <= misdated or f"health:instrument:{name}:clock" in clocks)

    return [replace(x, notify=x.notify and not (x.open and is_explained(x.key))) for x in changes]


def freeze_evidence(
    site: Site, memory: Memory, view: DecisionInputs, decision: Decision, now: datetime
) -> dict[str, Any]:
    """Everything needed to decide again: configuration hash, instant, memory, view, and what came out."""
    outcome = decision.to_json()
    return {
        "format": FORMAT,
        "site": site.id,
        "config_sha256": site.version,
        "code_version": code_version(),
        **({"plugins": plugins} if (plugins := list_plugin_versions(site)) else {}),
        "now": format_iso(now),
        "memory": memory.to_json(),
        "view": view.to_json(),
        "outcome": outcome,
        "sentence": decision.evidence["sentence"],
    }


def rule_version(site: Site) -> str:
    """Code and configuration that decided, as people read it."""
    return f"{code_version()}+{site.version[:12]}"


class Evaluator:
    """Evaluates sites as `evaluate_site` does, one at a time.

    Args:
        hold_most: readings and epochs of tracks that may be held of all sites together.
    """

    def __init__(self, hold_most: int = HOLD_MOST) -> None:
        self._hold_most = hold_most
        self._lookings: dict[str, tuple[SiteReadingCache, datetime]] = {}

    def __call__(
        self, db: Database, site: Site, now: datetime, trigger: str, *, draining: bool = False
    ) -> EvaluationResult:
        """Decide once for a site and store what came out; after an error nothing of the site is held."""
        held = self._lookings.pop(site.id, None)
        if held is None or held[0].site is not site or not timedelta(0) <= now - held[1] < AGAIN:
            held = (SiteReadingCache(site), now)
        looking, since = held
        result = evaluate_site(db, site, now, trigger, draining=draining, looking=looking)
        if looking.count() + sum(other.count() for other, _ in self._lookings.values()) <= self._hold_most:
            self._lookings[site.id] = (looking, since)
        return result
