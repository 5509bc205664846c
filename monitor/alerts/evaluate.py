"""Evaluate a site: load a snapshot, decide, and store the outcome in one transaction.

`evaluate_site` takes these steps:

1. `_load_snapshot` loads the memory of the site and all inputs in one read transaction, without the write lock.
2. `decide` computes the decision. It is a pure function of these values.
3. `_store` opens the write transaction and compares the stored memory with the one of the snapshot. If they differ, it
   stores nothing, and `evaluate_site` starts again with step 1.
4. `_store` saves memory and level. If an alert changes, it stores the frozen inputs (`freeze_evidence`), then the
   alerts, their events and the messages to send (`apply_changes`), and at last the seal in the audit log.

Step 1 needs no lock: the comparison in step 3 detects other writers of the memory, and rows that are committed after
the snapshot cause an evaluation of their own.
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
from monitor.alerts.queries.instruments import (
    load_open_pages,
    load_stations_with_empty_battery,
    load_stations_with_wrong_clock,
)
from monitor.alerts.queries.maintenance import load_maintenance_facts
from monitor.alerts.queries.offsets import load_offset_facts
from monitor.alerts.queries.point_facts import load_point_facts
from monitor.alerts.reading_cache import SiteReadingCache
from monitor.canonical import CanonicalText, canonical_json, code_version
from monitor.decision.changes import AlertChange
from monitor.decision.criteria.kinds.earthquake import find_event_span_s
from monitor.decision.criteria.scope import find_history_spans, find_load_start, find_longest_reach_s, find_span_s
from monitor.decision.decide import decide
from monitor.decision.records import Decision, DecisionInputs, FactRequest, Memory, ProofFact
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
from monitor.text.instants import format_iso, from_epoch_s

# Readings and epochs of tracks that are cached for all sites together, 0.4 kB each, so some 350 MB. The largest site
# that `slopeward check` accepts stays below it with three criteria on every series.
MAX_CACHED_ROWS: Final = 900_000
# A cache is cleared after this time, even if its fingerprints are valid.
MAX_CACHE_AGE: Final = timedelta(hours=6)
# Number of attempts if others change the memory of the site during an evaluation.
MAX_ATTEMPTS: Final = 5
# Version of the format of frozen inputs.
FORMAT: Final = 1
# A battery may be empty this much earlier than announced.
BATTERY_TOLERANCE: Final = timedelta(days=2)
# Events are loaded from this long before the first reading, because an earthquake also explains jumps hours later.
EVENT_LEAD_S: Final = 86400.0


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
        cache: Readings and tracks of earlier evaluations with the same declaration. A decision that changes an alert
            is made again without it, so that stored evidence depends on the database alone.

    Raises:
        StoreBusyError: The database is locked, or others changed the memory of the site again and again.
        OutdatedSiteError: Another version of the site file was put in force meanwhile. Nothing is stored.
    """
    now = now.astimezone(UTC)
    cache = SiteReadingCache(site) if cache is None else cache
    for _attempt in range(MAX_ATTEMPTS):
        snapshot = _load_snapshot(db, site, now, cache, draining=draining)
        decision = decide(cache.prepared, snapshot.memory, snapshot.inputs, now, cache.decision)
        if decision.changes and cache.was_used:
            cache.clear()
            snapshot = _load_snapshot(db, site, now, cache, draining=draining)
            decision = decide(cache.prepared, snapshot.memory, snapshot.inputs, now, cache.decision)
        memory_text = CanonicalText(canonical_json(decision.memory.to_json()))
        is_stored = not dry_run and _store(db, site, snapshot, decision, memory_text, now, trigger)
        if dry_run or is_stored:
            # This is also safe after a dry run: the cached memory is used only if the stored text is the same.
            cache.save_memory(memory_text, decision.memory)
            return EvaluationResult(
                level=decision.level,
                observability=decision.observability,
                reachable_level=decision.reachable_level,
                changes=decision.changes,
                next_due_at=None if decision.next_due_s is None else from_epoch_s(decision.next_due_s),
                decision=decision,
            )
    raise StoreBusyError(f"site {site.id}: its state was changed by others {MAX_ATTEMPTS} times in a row; try again")


class _Snapshot(NamedTuple):
    """The data that one transaction loaded for an evaluation.

    Attributes:
        stored_state: The stored memory; None before the first evaluation.
        known_until: When the newest reading was received; None without readings.
    """

    stored_state: StateRow | None
    memory: Memory
    inputs: DecisionInputs
    known_until: datetime | None


def _load_snapshot(db: Database, site: Site, now: datetime, cache: SiteReadingCache, *, draining: bool) -> _Snapshot:
    with db.read() as connection:
        stored_state = find_state(connection, site.id)
        inputs, known_until = load_inputs(connection, site, now, draining=draining, cache=cache)
    memory = Memory() if stored_state is None else cache.read_memory(stored_state.text)
    return _Snapshot(stored_state, memory, inputs, known_until)


def load_inputs(
    connection: Connection, site: Site, now: datetime, *, draining: bool, cache: SiteReadingCache | None = None
) -> tuple[DecisionInputs, datetime | None]:
    """Load the inputs of a decision at `now`, and return them with the newest reception among them."""
    cache = SiteReadingCache(site) if cache is None else cache
    spans = cache.prepared.history_spans
    readings = cache.read(connection, now)
    newest = load_newest(connection, site.id, now)
    unsigned = load_unsigned_by_name(connection, site.id, spans, now, now)
    facts = load_facts(connection, site, now, spans=spans)
    inputs = DecisionInputs(readings, newest, unsigned, draining=draining, **facts)
    known_until_s = max((epoch.received_s for epoch in newest.values()), default=None)
    return inputs, None if known_until_s is None else from_epoch_s(known_until_s)


def load_unsigned_by_name(
    connection: Connection,
    site_id: str,
    spans: Mapping[tuple[str, str], float],
    to_at: datetime,
    known_at: datetime,
    names: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, tuple[Reading, ...]]:
    """Return the corrections that two people have not signed, by `station.quantity`.

    Args:
        spans: The history that criteria need, see `find_history_spans`. Older corrections are left out.
        names: The id in the site file of each renamed station, by its present id.
    """
    series_names: dict[int, str] = {}
    starts: dict[int, datetime] = {}
    for row in load_series(connection, site_id):
        station = names.get(row.station, row.station)
        span_s = find_span_s(spans, station, row.quantity)
        if span_s:
            series_names[row.id] = f"{station}.{row.quantity}"
            starts[row.id] = find_load_start(to_at, span_s)
    unsigned = load_unsigned(connection, starts, to_at, known_at)
    return {series_names[series_id]: readings for series_id, readings in unsigned.items()}


def load_facts(
    connection: Connection,
    site: Site,
    now: datetime,
    *,
    as_reported: bool = False,
    proofs: Sequence[ProofFact] | None = None,
    scored_until: datetime | None = None,
    spans: Mapping[tuple[str, str], float] | None = None,
) -> dict[str, Any]:
    """Load the inputs of a decision besides readings, as known at `now`, by field of `DecisionInputs`.

    Args:
        as_reported: Whether events count from the time at which people knew of them, not from when they were entered.
            Only a replay uses this.
        proofs: The proofs of criteria; None loads the stored proofs.
        scored_until: Anomaly scores of readings up to this instant are loaded. It is later than `now` if the decision
            is explained with data that arrived late; None is `now`.
        spans: The history that criteria need; None computes it (`find_history_spans`).
    """
    proofs = load_proof_facts(connection, site, now) if proofs is None else tuple(proofs)
    since = now - timedelta(seconds=max((criterion.valid_for_s for criterion in site.criteria), default=86400.0))
    fact_names = {criterion.kind.facts for criterion in site.criteria if criterion.kind.facts is not None}
    spans = find_history_spans(site) if spans is None else spans
    # Every evaluation detects a jump that an earthquake explained again. Without the event it would be movement.
    history_s = max((find_longest_reach_s(span_s) for span_s in spans.values()), default=0.0)
    earthquake_span_s = find_event_span_s(site)
    events_since = min(since, now - timedelta(seconds=max(earthquake_span_s, history_s + EVENT_LEAD_S)))
    facts: dict[str, Any] = {
        "reports": load_report_facts(connection, site.id, since, now) if "reports" in fact_names else (),
        "events": load_event_facts(
            connection, site.id, events_since, now, as_reported=as_reported, earthquake_span_s=earthquake_span_s
        ),
        "offsets": load_offset_facts(connection, site.id, now),
        "maintenance": load_maintenance_facts(connection, site.id, now),
        "points": load_point_facts(connection, site, now) if "points" in fact_names else (),
        "proofs": proofs,
    }
    request = FactRequest(now, since, scored_until or now, frozenset(fact_names))
    plugin_facts: dict[str, tuple[object, ...]] = {}
    for implementation in implementations("evaluation_facts"):
        loaded = implementation.call(connection=connection, site=site, request=request) or {}
        if is_built_in(implementation.plugin):
            facts |= loaded
        else:
            plugin_facts |= {name: tuple(rows) for name, rows in loaded.items()}
    missing = fact_names - facts.keys() - plugin_facts.keys()
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
    """Store the outcome if the stored memory is still the one that the decision started from.

    Returns:
        Whether the outcome was stored. False if another evaluation or a person has changed the memory meanwhile.
    """
    draining = snapshot.inputs.draining
    has_news = _has_news(snapshot, decision.memory)
    # Frozen inputs can hold many thousand readings, so they are serialised before the write lock is taken.
    frozen = ""
    if decision.changes:
        frozen = canonical_json(freeze_evidence(site, snapshot.memory, snapshot.inputs, decision, now))
    with db.write(urgent=bool(decision.changes)) as connection:
        current = find_state(connection, site.id)
        current_digest = None if current is None else current.digest
        expected_digest = None if snapshot.stored_state is None else snapshot.stored_state.digest
        if current_digest != expected_digest:
            return False
        in_force = find_version(connection, site.id)
        if in_force not in (None, site.version):
            # The memory was adapted to the criteria of that version, so votes of other criteria must not return.
            raise OutdatedSiteError(
                f"site {site.id}: another version of its file is in force ({str(in_force)[:12]}); "
                f"version {site.version[:12]} is no longer evaluated"
            )
        save_state(connection, site.id, decision, memory_text, site.version, now, catching_up=draining)
        save_station_states(connection, site.id, decision, now, catching_up=draining)
        save_rates(connection, site.id, decision)
        if any(criterion.kind.facts == "forecasts" for criterion in site.criteria):
            save_chances(connection, site.id, decision, site.version, now)
        if has_news or trigger != "data":
            add_evaluation(connection, site.id, now, trigger, decision, memory_text, snapshot.known_until, site.version)
        if decision.changes:
            decision_id = add_decision(connection, site.id, now, site.version, frozen)
            apply_changes(
                connection,
                _mute_explained_notices(connection, site, decision.changes, now),
                ChangeContext(site.id, site, site.recipients, SERVICE_ACTOR, now, rule_version(site), decision_id),
            )
        unshelve_due(connection, site.id, SERVICE_ACTOR, now)
        follow_maintenance(connection, site.id, SERVICE_ACTOR, now)
        if decision.changes:
            # All writers of the audit log wait for the seal, so it is written last.
            seal_decision(connection, decision_id, SERVICE_ACTOR, now)
    return True


def _has_news(snapshot: _Snapshot, memory: Memory) -> bool:
    """Return whether new readings were loaded, or the memory changed apart from the time of the evaluation."""
    if snapshot.stored_state is None or snapshot.memory.newest_s != memory.newest_s:
        return True
    before = {**snapshot.stored_state.state, "seen_s": None}
    return digest_of(before) != digest_of({**memory.to_json(), "seen_s": None})


def _mute_explained_notices(
    connection: Connection, site: Site, changes: Sequence[AlertChange], now: datetime
) -> list[AlertChange]:
    """Return the changes, without notifications of stale data that an open notice already explains.

    Such a notice says that the battery of an instrument is empty by now, or that its clock is wrong, so that its
    readings do not count. The alerts remain on the page. People are still notified if the site can no longer reach a
    level because of them.
    """
    if not any(change.open and change.key.endswith(":stale") for change in changes):
        return list(changes)
    with_empty_battery = load_stations_with_empty_battery(connection, site.id, now + BATTERY_TOLERANCE)
    with_wrong_clock = load_stations_with_wrong_clock(connection, site.id)
    clock_notices = load_open_pages(connection, site.id, ("clock",)) if with_wrong_clock else {}
    silent_stations_by_key = {
        parent.key: {station for station, _ in places} for parent, places in list_children(site).items()
    }
    for station in site.stations:
        for spec in station.series:
            silent_stations_by_key[stale_key((station.id, spec.quantity))] = {station.id}

    def is_explained(key: str) -> bool:
        silent_stations = silent_stations_by_key.get(key)
        if not silent_stations:
            return False
        if silent_stations <= with_empty_battery or silent_stations <= with_wrong_clock:
            return True
        name = key.removeprefix("health:").removesuffix(":stale")
        return f"health:instrument:{name}:clock" in clock_notices

    return [
        replace(change, notify=change.notify and not (change.open and is_explained(change.key))) for change in changes
    ]


def freeze_evidence(
    site: Site, memory: Memory, inputs: DecisionInputs, decision: Decision, now: datetime
) -> dict[str, Any]:
    """Return everything that is needed to recompute a decision: site file hash, time, memory, inputs and outcome."""
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
    """Return the version of the code and of the site file, as alerts show it."""
    return f"{code_version()}+{site.version[:12]}"


class Evaluator:
    """Evaluate sites with `evaluate_site`, with one cache per site.

    Args:
        max_cached_rows: Most readings and epochs of tracks that are cached for all sites together.
    """

    def __init__(self, max_cached_rows: int = MAX_CACHED_ROWS) -> None:
        self._max_cached_rows = max_cached_rows
        self._caches: dict[str, tuple[SiteReadingCache, datetime]] = {}

    def __call__(
        self, db: Database, site: Site, now: datetime, trigger: str, *, draining: bool = False
    ) -> EvaluationResult:
        """Evaluate a site and store the outcome. After an error, nothing of the site is cached."""
        cache, since = self._caches.pop(site.id, (None, now))
        # The age is negative after the clock was set back.
        is_recent = timedelta(0) <= now - since < MAX_CACHE_AGE
        if cache is None or cache.site is not site or not is_recent:
            cache, since = SiteReadingCache(site), now
        result = evaluate_site(db, site, now, trigger, draining=draining, cache=cache)
        if cache.count() + sum(other.count() for other, _ in self._caches.values()) <= self._max_cached_rows:
            self._caches[site.id] = (cache, since)
        return result
