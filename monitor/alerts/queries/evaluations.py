"""Load and store the memory of decisions, evaluations, frozen inputs, and the inputs of decisions besides readings."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from typing import Any, Final

from sqlalchemy import Connection, Select, Text, bindparam, case, delete, insert, select, type_coerce

from monitor.alerts.evaluation_tables import decision as decision_table
from monitor.alerts.evaluation_tables import evaluation, forecast_chance, rate_now, site_state, station_state
from monitor.alerts.event_tables import report
from monitor.alerts.tables import alert
from monitor.canonical import CanonicalText, canonical_json, code_version, digest_text
from monitor.decision.common_silence import SILENT_SLOPE
from monitor.decision.headline import StationRate
from monitor.decision.keys import VoteKey
from monitor.decision.records import Decision, Memory, NewestEpoch, ReportFact
from monitor.errors import NotFoundError
from monitor.readings.tables import observation, series, series_latest
from monitor.storage.engine import insert as upsert
from monitor.storage.locks import take_named_lock
from monitor.storage.rows import add_row, fill_row, find_record, record_to_dict, row_to_record, save_rows
from monitor.text.instants import FUTURE_TOLERANCE, epoch_s, from_epoch_s
from monitor.text.message import Message, plain_to_messages
from monitor.text.names import unify_names

# Columns of `forecast_chance` that are facts of a bound.
_BOUND_FACTS: Final = (
    "level",
    "window_s",
    "over_mm_per_day",
    "chance_from",
    "chance_to",
    "probability",
    "crossed",
    "model",
)
# Most reports that are inputs of a decision, the newest first.
ADVICE_LIMIT: Final = 500


@dataclass(frozen=True, slots=True)
class StateRow:
    """The stored memory of a site. Its digest detects changes by others.

    Attributes:
        text: The memory as canonical JSON.
    """

    text: str
    level: int
    observability: str
    reachable_level: int

    @property
    def state(self) -> Mapping[str, Any]:
        """The memory as JSON values."""
        memory: Mapping[str, Any] = json.loads(self.text)
        return memory

    @property
    def digest(self) -> str:
        """SHA-256 of the memory."""
        return digest_text(self.text)


@dataclass(frozen=True, slots=True)
class DecisionRow:
    """The frozen inputs of a decision."""

    id: int
    site: str
    at: datetime
    code_version: str
    config_sha256: str
    evidence: str
    evidence_sha256: str


def digest_of(state: Mapping[str, Any]) -> str:
    """Return the SHA-256 of the canonical JSON of a memory."""
    return digest_text(canonical_json(state))


# ---- memory ----------------------------------------------------------------------------------------------------
def find_state(connection: Connection, site: str) -> StateRow | None:
    """Return the memory of a site, or None before its first evaluation.

    In a write transaction this also locks the memory, so that a level set by a person and an evaluation at the same
    moment cannot overwrite each other.
    """
    if connection.get_execution_options().get("slopeward_write"):
        take_named_lock(connection, f"site:{site}")
    row = connection.execute(_query_state(), {"of_site": site}).one_or_none()
    return None if row is None else StateRow(*row)


def find_movement_stage(connection: Connection, site: str) -> str | None:
    """Return the stage of movement of a site; None before the first assessment."""
    return connection.execute(select(site_state.c.movement_stage).where(site_state.c.site == site)).scalar()


def find_newest_reading(connection: Connection, site: str) -> datetime | None:
    """Return when the newest reading that a site was evaluated with was measured; None if there is none."""
    return connection.execute(select(site_state.c.newest_at).where(site_state.c.site == site)).scalar()


def load_incomplete(connection: Connection, site: str) -> Mapping[str, Message]:
    """Return why the data of a series were incomplete at the last evaluation, by `STATION.quantity`."""
    row = find_state(connection, site)
    reasons: Mapping[str, Message] = {} if row is None else plain_to_messages(row.state.get("incomplete", {}))
    return reasons


def find_common_silence(connection: Connection, site: str) -> Message | None:
    """Return the text on the common silence of a site at its last evaluation; None if there is none."""
    row = find_state(connection, site)
    condition = None if row is None else row.state.get("conditions", {}).get(SILENT_SLOPE)
    if condition is None:
        return None
    text: Message = plain_to_messages(condition)["reason"]
    return text


# Each evaluation runs these queries, so they are built once.
@cache
def _query_state() -> Select[Any]:
    s = site_state.c
    # The column type would parse the JSON, but the digest needs its text.
    text = type_coerce(s.state, Text).label("text")
    return select(text, s.level, s.observability, s.reachable_level).where(s.site == bindparam("of_site"))


@cache
def _query_station_states() -> Select[Any]:
    return select(station_state).where(station_state.c.site == bindparam("of_site"))


@cache
def _query_rates() -> Select[Any]:
    r = rate_now.c
    return select(rate_now).where(r.site == bindparam("of_site")).order_by(r.criterion, r.station)


@cache
def _query_newest() -> Select[Any]:
    k, s = series_latest.c, series.c
    return (
        select(s.id, s.station, s.quantity, k.observed_at, k.received_at, k.flags)
        .join(series_latest, k.series_id == s.id)
        .where(s.site == bindparam("of_site"))
        .order_by(s.station, s.quantity)
    )


def save_state(
    connection: Connection,
    site: str,
    decision: Decision,
    state: CanonicalText,
    config_sha256: str,
    now: datetime,
    *,
    catching_up: bool = False,
) -> None:
    """Store the memory after a decision, and the columns that people read.

    Args:
        state: The memory as canonical JSON.
    """
    memory = decision.memory
    faulty = sorted(health.station for health in decision.health if health.state != "ok")
    facts = {"level_source": memory.level_source, "since": from_epoch_s(memory.since_s), "state": state}
    facts |= {"health": f"not ok: {', '.join(faulty)}" if faulty else "ok", "catching_up": catching_up}
    row = fill_row(site_state, decision, site=site, evaluated_at=now, config_sha256=config_sha256, **facts)
    save_rows(connection, site_state, [row])


def save_memory(connection: Connection, site: str, memory: Memory, config_sha256: str, now: datetime) -> None:
    """Store a memory that a person changed. Observability and health remain those of the last evaluation."""
    values: dict[str, Any] = {"since": from_epoch_s(memory.since_s), "state": memory.to_json()}
    values |= {"level": memory.level, "level_source": memory.level_source}
    first = {"site": site, "evaluated_at": now, "witnesses_available": 0, "health": "unknown"}
    first |= {"observability": memory.observability, "reachable_level": memory.reachable_level or 0}
    row = upsert(connection, site_state).values(**values, **first, config_sha256=config_sha256)
    connection.execute(row.on_conflict_do_update(index_elements=["site"], set_=values))


def save_station_states(
    connection: Connection, site: str, decision: Decision, now: datetime, *, catching_up: bool = False
) -> None:
    """Store the state of each station. `since` changes only with the state.

    Args:
        catching_up: Whether older readings are still being stored. Silence is not judged then, so a station that was
            silent and has no newer reading remains silent.
    """
    stored = {row.station: row for row in connection.execute(_query_station_states(), {"of_site": site})}
    rows = []
    for health in decision.health:
        before = stored.get(health.station)
        newest_at = None if health.newest_s is None else from_epoch_s(health.newest_s)
        values = fill_row(station_state, health, newest_at=newest_at)
        if before is not None and all(getattr(before, name) == value for name, value in values.items()):
            continue
        if catching_up and before is not None and (before.state, before.newest_at) == ("silent", newest_at):
            continue
        since = before.since if before is not None and before.state == health.state else now
        rows.append({"site": site, "since": since, **values})
    save_rows(connection, station_state, rows)


def save_chances(connection: Connection, site: str, decision: Decision, config_sha256: str, now: datetime) -> None:
    """Replace the results of criteria on forecasts if they differ from the stored ones."""
    k = forecast_chance.c
    common_values = {"site": site, "config_sha256": config_sha256, "evaluated_at": now}
    rows = [
        common_values
        | {
            "data_until": from_epoch_s(bound["data_until_s"]),
            "criterion": assessment["criterion"],
            "station": assessment["station"],
        }
        | {n: bound[n] for n in _BOUND_FACTS}
        for assessment in decision.evidence["words"]
        for bound in assessment["facts"].get("bounds", ())
        if "chance_from" in bound
    ]
    names = [column.name for column in forecast_chance.columns if column.name != "evaluated_at"]
    stored = connection.execute(select(*(k[n] for n in names)).where(k.site == site)).all()
    if sorted(tuple(row) for row in stored) != sorted(tuple(row[n] for n in names) for row in rows):
        connection.execute(delete(forecast_chance).where(k.site == site))
        if rows:
            connection.execute(insert(forecast_chance), rows)


def save_rates(connection: Connection, site: str, decision: Decision) -> None:
    """Store the rates behind votes if they differ from the stored ones. A vote without a new rate keeps its rate."""
    stored = {VoteKey(rate.criterion, rate.station): rate for rate in load_rates(connection, site)}
    votes = decision.evidence["votes"]
    measured = {VoteKey(rate.criterion, rate.station): rate for rate in decision.rates}
    rates = {
        key: replace(rate, level=votes[key]["level"], counted=votes[key]["counted"])
        for key, rate in stored.items()
        if key in votes and key not in measured
    }
    rates |= measured
    columns = rate_now.c
    for key in stored.keys() - rates.keys():
        is_row = (columns.site == site, columns.criterion == key.criterion, columns.station == key.station)
        connection.execute(delete(rate_now).where(*is_row))
    changed = [{"site": site, **record_to_dict(rate)} for key, rate in rates.items() if stored.get(key) != rate]
    save_rows(connection, rate_now, changed)


def load_rates(connection: Connection, site: str) -> list[StationRate]:
    """Return the newest rate behind each vote on a rate."""
    return [row_to_record(StationRate, row) for row in connection.execute(_query_rates(), {"of_site": site})]


def add_evaluation(
    connection: Connection,
    site: str,
    now: datetime,
    trigger: str,
    decision: Decision,
    state: CanonicalText,
    known_until: datetime | None,
    config_sha256: str,
) -> None:
    """Store an evaluation, with its newest reception (`known_until`) and the digest of its memory."""
    row = fill_row(evaluation, decision, site=site, at=now, trigger=trigger, known_until=known_until)
    add_row(connection, evaluation, row, config_sha256=config_sha256, digest=digest_text(state))


# ---- frozen inputs ---------------------------------------------------------------------------------------------
def add_decision(connection: Connection, site: str, at: datetime, config_sha256: str, evidence: str) -> int:
    """Store the frozen inputs of a decision, and return its id.

    Args:
        evidence: The inputs as canonical JSON.
    """
    row = {"site": site, "at": at, "code_version": code_version(), "config_sha256": config_sha256}
    return add_row(connection, decision_table, row, evidence=evidence, evidence_sha256=digest_text(evidence))


def load_decision(connection: Connection, decision_id: int) -> DecisionRow:
    """Return the frozen inputs of a decision.

    Raises:
        NotFoundError: The decision does not exist.
    """
    row = find_record(connection, DecisionRow, select(decision_table).where(decision_table.c.id == decision_id))
    if row is None:
        raise NotFoundError(f"decision {decision_id} does not exist")
    return row


# ---- inputs besides readings -------------------------------------------------------------------------------
def load_newest(connection: Connection, site: str, known_at: datetime) -> dict[str, NewestEpoch]:
    """Return the newest epoch of each series as known at `known_at`, by `station.quantity`."""
    rows = connection.execute(_query_newest(), {"of_site": site}).all()
    newest = {}
    o, until = observation.c, known_at + FUTURE_TOLERANCE
    for series_id, station, quantity, observed_at, received_at, flags in rows:
        if received_at > known_at or observed_at > until:
            # The newest row was received later, so the newest row known at that time is searched.
            is_known = (o.series_id == series_id, o.received_at <= known_at, o.observed_at <= until)
            found_then = select(o.observed_at, o.received_at, o.flags).where(*is_known, o.flags.not_like("%future%"))
            then = connection.execute(found_then.order_by(o.observed_at.desc()).limit(1)).one_or_none()
            if then is None:
                continue
            observed_at, received_at, flags = then  # noqa: PLW2901
        flag_list = tuple(f for f in flags.split(",") if f) if flags else ()
        newest[f"{station}.{quantity}"] = NewestEpoch.of(observed_at, received_at, flag_list)
    return newest


def load_report_facts(connection: Connection, site: str, since: datetime, now: datetime) -> tuple[ReportFact, ...]:
    """Return the reports since `since`, as known at `now`, the newest first.

    Of more than `ADVICE_LIMIT` reports, those of authenticated senders are loaded first.
    """
    r = report.c
    is_proven = r.credential != r.via
    rows: Sequence[Any] = connection.execute(
        select(report)
        .where(r.site == site, r.at > since, r.at <= now, r.received_at <= now)
        .order_by(case((is_proven, 0), else_=1), r.at.desc(), r.id)
        .limit(ADVICE_LIMIT)
    ).all()
    rows = sorted(rows, key=lambda row: (-epoch_s(row.at), row.id))
    unified_names = unify_names(row.by for row in reversed(rows))
    return tuple(
        ReportFact(
            epoch_s(row.at),
            epoch_s(row.received_at),
            row.kind,
            row.text,
            unified_names[row.by],
            row.station,
            row.credential,
        )
        for row in rows
    )


def find_requested_levels(connection: Connection, site: str, top: int, now: datetime) -> dict[str, int]:
    """Return the highest level that the valid votes of each station request.

    Args:
        top: The highest level of the site.
    """
    state = find_state(connection, site)
    if state is None:
        return {}
    levels: dict[str, int] = {}
    for key, vote in Memory.read(state.state).votes.items():
        if vote.level > 0 and vote.valid_until_s >= epoch_s(now):
            station = VoteKey.read(key).station
            levels[station] = max(min(vote.level, top), levels.get(station, 0))
    return levels


def find_evidence(connection: Connection, alert_id: int) -> str | None:
    """Return the frozen inputs of the newest decision of an alert as canonical JSON; None if there are none."""
    d, a = decision_table.c, alert.c
    return connection.execute(select(d.evidence).join(alert, a.decision_id == d.id).where(a.id == alert_id)).scalar()
