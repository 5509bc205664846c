"""Evaluate a site: load a snapshot, decide, and store the outcome in one transaction.

The snapshot is loaded without the write lock. This is safe, because a decision depends only on its inputs and on the
memory that it started from: the outcome is stored only if the stored memory is still the same (compare and set), and
rows that are committed after the snapshot cause an evaluation of their own.
"""

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
from monitor.alerts.reading_cache import SiteReadingCache
from monitor.canonical import CanonicalText, canonical_json, code_version
from monitor.decision.changes import AlertChange
from monitor.decision.criteria.kinds.earthquake import find_event_span_s
from monitor.decision.criteria.scope import find_history_spans, find_load_start, find_longest_reach_s, find_span_s
from monitor.decision.decide import decide
from monitor.decision.records import Decision, DecisionInputs, FactRequest, Memory, ProofFact, instant
from monitor.errors import OutdatedSiteError, StoreBusyError
from monitor.models.queries.proofs import load_proof_facts
from monitor.plugins import implementations, is_built_in
from monitor.readings.queries.corrections import load_unsigned
from monitor.readings.queries.observations import load_series
from monitor.readings.records import Reading
from monitor.sites.criteria.registry import list_plugin_versions
from monitor.sites.parents import list_children, stale_key
from monitor.sites.queries.sites import find_version
from monitor.sites.records import Site
from monitor.storage.actor import SERVICE_ACTOR
from monitor.storage.engine import Database
from monitor.text.instants import format_iso

# Readings and epochs of tracks that are cached for all sites together, 0.4 kB each, so some 350 MB. The largest site
# that `slopeward check` accepts stays below it with three criteria on every series.
CACHED_MOST: Final = 900_000
CACHE_AGE_MOST: Final = timedelta(hours=6)  # a cache is cleared after this time, whatever its fingerprints show
ATTEMPTS: Final = 5
FORMAT: Final = 1  # of frozen inputs
BATTERY_EARLY: Final = timedelta(days=2)  # a battery may be empty this long before the announced day
BEFORE_READINGS_S: Final = 86400.0  # an earthquake explains the steps of the hours after it


@dataclass(frozen=True, slots=True)
class EvaluationResult:
    """The outcome of an evaluation; `changes` are stored already."""

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
    cache: SiteReadingCache | None = None,
) -> EvaluationResult:
    """Evaluate a site once, and store level, health, alerts and outbox in one transaction.

    Args:
        site: The declaration, already stored by `save_site`.
        trigger: What caused the evaluation: data, tick, person or start.
        draining: Whether a backlog of readings is being stored: levels may rise, nothing falls, and silence is not
            judged.
        dry_run: Whether to store nothing.
        cache: What earlier evaluations of the same declaration left. A decision that changes an alert is made again
            without it, so that stored evidence rests on the database alone.

    Raises:
        StoreBusyError: The database is locked, or others changed the memory of the site again and again.
        OutdatedSiteError: Another version of the site file was put in force meanwhile. Nothing is stored.
    """
    now = now.astimezone(UTC)
    cache = SiteReadingCache(site) if cache is None else cache
    for _ in range(ATTEMPTS):
        snapshot = _load_snapshot(db, site, now, cache, draining=draining)
        decision = decide(cache.prepared, snapshot.memory, snapshot.inputs, now, cache.decision)
        if decision.changes and cache.was_used:
            cache.clear()
            snapshot = _load_snapshot(db, site, now, cache, draining=draining)
            decision = decide(cache.prepared, snapshot.memory, snapshot.inputs, now, cache.decision)
        memory_text = CanonicalText(canonical_json(decision.memory.to_json()))
        if dry_run or _store(db, site, snapshot, decision, memory_text, now, trigger):
            cache.save_memory(memory_text, decision.memory)
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
    """Everything that one transaction read for an evaluation."""

    row: StateRow | None  # the memory as it is stored
    memory: Memory
    inputs: DecisionInputs
    known_until: datetime | None  # newest reception


def _load_snapshot(db: Database, site: Site, now: datetime, cache: SiteReadingCache, *, draining: bool) -> _Snapshot:
    with db.read() as c:
        row = find_state(c, site.id)
        inputs, known_until = load_inputs(c, site, now, draining=draining, cache=cache)
    memory = Memory() if row is None else cache.read_memory(row.text)
    return _Snapshot(row, memory, inputs, known_until)


def load_inputs(
    c: Connection, site: Site, now: datetime, *, draining: bool, cache: SiteReadingCache | None = None
) -> tuple[DecisionInputs, datetime | None]:
    """Load the inputs of a decision at `now`, and return them with the newest reception among them."""
    readings = (SiteReadingCache(site) if cache is None else cache).read(c, now)
    newest = load_newest(c, site.id, now)
    unsigned = load_unsigned_by_name(c, site, now, now)
    inputs = DecisionInputs(readings, newest, unsigned, draining=draining, **load_facts(c, site, now))
    known_s = max((epoch.received_s for epoch in newest.values()), default=None)
    return inputs, None if known_s is None else instant(known_s)


def load_unsigned_by_name(
    c: Connection, site: Site, to_at: datetime, known_at: datetime, names: Mapping[str, str] = MappingProxyType({})
) -> dict[str, tuple[Reading, ...]]:
    """Return the corrections that two people have not signed, by `station.quantity`, as far back as criteria read.

    Args:
        names: Names of stations in the site file, by their names today, where these differ.
    """
    spans = find_history_spans(site)
    wanted = {
        row.id: (f"{station}.{row.quantity}", find_load_start(to_at, span_s))
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
    """Load the inputs of a decision besides readings, as known at `now`, by field of `DecisionInputs`.

    Args:
        as_claimed: Whether events count from the instant at which people say that they knew them. Only a replay does
            so.
        proofs: The proofs of criteria; None loads the stored ones. Without any, no criterion needs a proof.
        scored_until: Anomaly scores of readings up to this instant are loaded. It is later than `now` if the decision
            is explained with what arrived late; None is `now`.
    """
    proofs = load_proof_facts(c, site, now) if proofs is None else tuple(proofs)
    since = now - timedelta(seconds=max((criterion.valid_for_s for criterion in site.criteria), default=86400.0))
    names = {criterion.kind.facts for criterion in site.criteria if criterion.kind.facts is not None}
    # A step that an earthquake explained is found again in every evaluation. Without the event it would be movement.
    history_s = max((find_longest_reach_s(span_s) for span_s in find_history_spans(site).values()), default=0.0)
    strict_s = find_event_span_s(site)
    events_since = min(since, now - timedelta(seconds=max(strict_s, history_s + BEFORE_READINGS_S)))
    facts: dict[str, Any] = {
        "reports": load_report_facts(c, site.id, since, now) if "reports" in names else (),
        "events": load_event_facts(c, site.id, events_since, now, as_reported=as_claimed, strict_s=strict_s),
        "offsets": load_offset_facts(c, site.id, now),
        "maintenance": load_maintenance_facts(c, site.id, now),
        "points": load_point_facts(c, site, now) if "points" in names else (),
        "proofs": proofs,
    }
    request = FactRequest(now, since, scored_until or now, frozenset(names))
    plugin_facts: dict[str, tuple[object, ...]] = {}
    for implementation in implementations("evaluation_facts"):
        loaded = implementation.call(connection=c, site=site, request=request) or {}
        if is_built_in(implementation.plugin):
            facts |= loaded
        else:
            plugin_facts |= {name: tuple(rows) for name, rows in loaded.items()}
    missing = names - facts.keys() - plugin_facts.keys()
    return {**facts, "plugin_facts": plugin_facts, "missing_facts": tuple(sorted(missing))}


def _store(
    db: Database,
    site: Site,
    snapshot: _Snapshot,
    decision: Decision,
    memory_text: CanonicalText,
    now: datetime,
    trigger: str,
) -> bool:
    """Store the outcome, if the stored memory is still the one that the decision started from.

    Returns:
        False if it is another one. Nothing is stored then.
    """
    row, draining = snapshot.row, snapshot.inputs.draining
    is_news = _differs(snapshot, decision.memory)
    # Frozen inputs can hold many thousand readings, so they are serialised before the write lock is taken.
    frozen = ""
    if decision.changes:
        frozen = canonical_json(freeze_evidence(site, snapshot.memory, snapshot.inputs, decision, now))
    with db.write() as c:
        current = find_state(c, site.id)
        if (current.digest if current else None) != (row.digest if row else None):
            return False
        in_force = find_version(c, site.id)
        if in_force not in (None, site.version):
            # The memory was adapted to the criteria of that version. Votes of older ones must not come back.
            raise OutdatedSiteError(
                f"site {site.id}: another version of its file is in force ({str(in_force)[:12]}); "
                f"nothing is decided by {site.version[:12]} any more"
            )
        save_state(c, site.id, decision, memory_text, site.version, now, catching_up=draining)
        save_station_states(c, site.id, decision, now, catching_up=draining)
        save_rates(c, site.id, decision)
        if any(criterion.kind.facts == "forecasts" for criterion in site.criteria):
            save_chances(c, site.id, decision, site.version, now)
        if is_news or trigger != "data":
            add_evaluation(c, site.id, now, trigger, decision, memory_text, snapshot.known_until, site.version)
        if decision.changes:
            decision_id = add_decision(c, site.id, now, site.version, frozen)
            apply_changes(
                c,
                _mute_explained(c, site, decision.changes, now),
                ChangeContext(site.id, site, site.recipients, SERVICE_ACTOR, now, rule_version(site), decision_id),
            )
        unshelve_due(c, site.id, SERVICE_ACTOR, now)
        follow_maintenance(c, site.id, SERVICE_ACTOR, now)
        if decision.changes:
            # The seal is written last, because all writers of the audit log wait for it.
            seal_decision(c, decision_id, SERVICE_ACTOR, now)
    return True


def _differs(snapshot: _Snapshot, memory: Memory) -> bool:
    """Return whether an evaluation changed anything but its own instant."""
    if snapshot.row is None or snapshot.memory.newest_s != memory.newest_s:
        return True
    before = {**snapshot.row.state, "seen_s": None}
    return digest_of(before) != digest_of({**memory.to_json(), "seen_s": None})


def _mute_explained(c: Connection, site: Site, changes: Sequence[AlertChange], now: datetime) -> list[AlertChange]:
    """Notify nobody of stale data that an open notice already explains.

    Such notices are about instruments whose battery was announced to be empty by now, and instruments whose clock is
    wrong, so that their readings do not count. The alerts stay visible on the page. People are still notified if the
    site can no longer see or reach a level because of them.
    """
    if not any(change.open and change.key.endswith(":stale") for change in changes):
        return list(changes)
    emptied = load_emptied(c, site.id, now + BATTERY_EARLY)
    misdated = load_misdated(c, site.id)
    clock_pages = load_open_pages(c, site.id, ("clock",)) if misdated else {}
    stations = {parent.key: {station for station, _ in places} for parent, places in list_children(site).items()}
    for station in site.stations:
        for spec in station.series:
            stations[stale_key((station.id, spec.quantity))] = {station.id}

    def is_explained(key: str) -> bool:
        silent = stations.get(key, set())
        if not silent:
            return False
        name = key.removeprefix("health:").removesuffix(":stale")
        return silent <= emptied or silent <= misdated or f"health:instrument:{name}:clock" in clock_pages

    return [
        replace(change, notify=change.notify and not (change.open and is_explained(change.key))) for change in changes
    ]


def freeze_evidence(
    site: Site, memory: Memory, inputs: DecisionInputs, decision: Decision, now: datetime
) -> dict[str, Any]:
    """Return all that is needed to decide again: digest of the site file, instant, memory, inputs and outcome."""
    plugins = list_plugin_versions(site)
    return {
        "format": FORMAT,
        "site": site.id,
        "config_sha256": site.version,
        "code_version": code_version(),
        **({"plugins": plugins} if plugins else {}),
        "now": format_iso(now),
        "memory": memory.to_json(),
        "view": inputs.to_json(),
        "outcome": decision.to_json(),
        "sentence": decision.evidence["sentence"],
    }


def rule_version(site: Site) -> str:
    """Return the versions of the code and the site file that decided, for people."""
    return f"{code_version()}+{site.version[:12]}"


class Evaluator:
    """Evaluates sites as `evaluate_site` does, with a cache for each.

    Args:
        cached_most: Readings and epochs of tracks that may be cached for all sites together.
    """

    def __init__(self, cached_most: int = CACHED_MOST) -> None:
        self._cached_most = cached_most
        self._caches: dict[str, tuple[SiteReadingCache, datetime]] = {}

    def __call__(
        self, db: Database, site: Site, now: datetime, trigger: str, *, draining: bool = False
    ) -> EvaluationResult:
        """Evaluate a site and store the outcome. After an error, nothing of the site is cached."""
        cached = self._caches.pop(site.id, None)
        if cached is None or cached[0].site is not site or not timedelta(0) <= now - cached[1] < CACHE_AGE_MOST:
            cached = SiteReadingCache(site), now
        cache, since = cached
        result = evaluate_site(db, site, now, trigger, draining=draining, cache=cache)
        if cache.count() + sum(other.count() for other, _ in self._caches.values()) <= self._cached_most:
            self._caches[site.id] = (cache, since)
        return result
