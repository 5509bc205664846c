"""What decisions need from the database and leave in it: ladder memory, evaluations, frozen inputs, advice rows."""

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
from monitor.decision.headline import StationRate
from monitor.decision.keys import VoteKey
from monitor.decision.records import Decision, Memory, NewestEpoch, ReportFact
from monitor.errors import NotFoundError
from monitor.readings.tables import observation, series, series_latest
from monitor.storage.engine import insert as upsert
from monitor.storage.locks import take_turn
from monitor.storage.rows import add_row, fill_row, find_record, read_record, record_to_dict, save_rows
from monitor.text.instants import FUTURE_TOLERANCE, epoch_s, from_epoch_s
from monitor.text.message import Message, plain_to_messages
from monitor.text.names import unify_names

_BOUND_FACTS: Final = "level window_s over_mm_per_day chance_from chance_to probability crossed model"
ADVICE_LIMIT: Final = 500  # rows of one kind that a decision looks at, newest first


@dataclass(frozen=True, slots=True)
class StateRow:
    """Ladder memory as it stands; its digest says whether somebody else changed it meanwhile."""

    text: str  # canonical JSON
    level: int
    observability: str
    reachable_level: int

    @property
    def state(self) -> Mapping[str, Any]:
        """The memory as plain data."""
        found: Mapping[str, Any] = json.loads(self.text)
        return found

    @property
    def digest(self) -> str:
        """SHA-256 of its canonical JSON."""
        return digest_text(self.text)


@dataclass(frozen=True, slots=True)
class DecisionRow:
    """Frozen inputs of a decision."""

    id: int
    site: str
    at: datetime
    code_version: str
    config_sha256: str
    evidence: str
    evidence_sha256: str


def digest_of(state: Mapping[str, Any]) -> str:
    """SHA-256 of the canonical JSON of a memory."""
    return digest_text(canonical_json(state))


# ---- memory ----------------------------------------------------------------------------------------------------
def find_state(connection: Connection, site: str) -> StateRow | None:
    """The memory of a site, or None before its first evaluation.

    Inside a write transaction it stays as it is until that ends: who changes it in another process waits, so that a
    level set by a person and an evaluation at the same moment cannot overwrite one another.
    """
    if connection.get_execution_options().get("slopeward_write"):
        take_turn(connection, f"site:{site}")
    row = connection.execute(_plan_state(), {"of_site": site}).one_or_none()
    return None if row is None else StateRow(*row)


def find_movement_stage(connection: Connection, site: str) -> str | None:
    """Return the stage of movement that a site shows; None before its movement was assessed."""
    return connection.execute(select(site_state.c.movement_stage).where(site_state.c.site == site)).scalar()


def load_incomplete(connection: Connection, site: str) -> Mapping[str, Message]:
    """Return by `STATION.quantity` why the site did not see "full" at its last evaluation."""
    row = find_state(connection, site)
    found: Mapping[str, Message] = {} if row is None else plain_to_messages(row.state.get("incomplete", {}))
    return found


@cache  # put together once, as those below: they are asked at every look
def _plan_state() -> Select[Any]:
    s = site_state.c
    text = type_coerce(s.state, Text).label("text")  # canonical JSON, as its digest is taken of
    return select(text, s.level, s.observability, s.reachable_level).where(s.site == bindparam("of_site"))


@cache
def _plan_station_states() -> Select[Any]:
    return select(station_state).where(station_state.c.site == bindparam("of_site"))


@cache
def _plan_rates() -> Select[Any]:
    r = rate_now.c
    return select(rate_now).where(r.site == bindparam("of_site")).order_by(r.criterion, r.station)


@cache
def _plan_newest() -> Select[Any]:
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
    """Write the memory, spelled, and what people read of it."""
    memory = decision.memory
    sick = sorted(h.station for h in decision.health if h.state != "ok")
    facts = {"level_source": memory.level_source, "since": from_epoch_s(memory.since_s), "state": state}
    facts |= {"health": f"not ok: {', '.join(sick)}" if sick else "ok", "catching_up": catching_up}
    row = fill_row(site_state, decision, site=site, evaluated_at=now, config_sha256=config_sha256, **facts)
    save_rows(connection, site_state, [row])


def save_memory(connection: Connection, site: str, memory: Memory, config_sha256: str, now: datetime) -> None:
    """Write a memory that a person changed; what is seen stays as the last evaluation left it."""
    values: dict[str, Any] = {"since": from_epoch_s(memory.since_s), "state": memory.to_json()}
    values |= {"level": memory.level, "level_source": memory.level_source}
    first = {"site": site, "evaluated_at": now, "witnesses_available": 0, "health": "unknown"}
    first |= {"observability": memory.observability, "reachable_level": memory.reachable_level or 0}
    row = upsert(connection, site_state).values(**values, **first, config_sha256=config_sha256)
    connection.execute(row.on_conflict_do_update(index_elements=["site"], set_=values))


def save_station_states(
    connection: Connection, site: str, decision: Decision, now: datetime, *, catching_up: bool = False
) -> None:
    """Write how each station does; `since` moves only when its state changes.

    While readings that waited are being read (`catching_up`) silence is not judged: a station that was silent and has
    brought nothing since is silent as before.
    """
    known = {r.station: r for r in connection.execute(_plan_station_states(), {"of_site": site})}
    rows = []
    for h in decision.health:
        before = known.get(h.station)
        newest_at = None if h.newest_s is None else from_epoch_s(h.newest_s)
        fresh = fill_row(station_state, h, newest_at=newest_at)
        if before is not None and all(getattr(before, name) == value for name, value in fresh.items()):
            continue
        if catching_up and before is not None and (before.state, before.newest_at) == ("silent", newest_at):
            continue
        since = before.since if before is not None and before.state == h.state else now
        rows.append({"site": site, "since": since, **fresh})
    save_rows(connection, station_state, rows)


def save_chances(connection: Connection, site: str, decision: Decision, config_sha256: str, now: datetime) -> None:
    """Replace what the criteria on forecasts say, where it differs from what they said before."""
    k = forecast_chance.c
    shared = {"site": site, "config_sha256": config_sha256, "evaluated_at": now}
    rows = [
        shared
        | {
            "data_until": from_epoch_s(bound["data_until_s"]),
            "criterion": claim["criterion"],
            "station": claim["station"],
        }
        | {n: bound[n] for n in _BOUND_FACTS.split()}
        for claim in decision.evidence["words"]
        for bound in claim["facts"].get("bounds", ())
        if "chance_from" in bound
    ]
    names = [x.name for x in forecast_chance.columns if x.name != "evaluated_at"]
    known = connection.execute(select(*(k[n] for n in names)).where(k.site == site)).all()
    if sorted(tuple(r) for r in known) != sorted(tuple(row[n] for n in names) for row in rows):
        connection.execute(delete(forecast_chance).where(k.site == site))
        if rows:
            connection.execute(insert(forecast_chance), rows)


def save_rates(connection: Connection, site: str, decision: Decision) -> None:
    """Replace what the votes on a rate measured, where it differs; a vote that says nothing new keeps its figures."""
    known = {VoteKey(r.criterion, r.station): r for r in load_rates(connection, site)}
    votes = decision.evidence["votes"]
    fresh = {VoteKey(r.criterion, r.station): r for r in decision.rates}
    kept = {k: r for k, r in known.items() if k in votes and k not in fresh}
    rates = {k: replace(r, level=votes[k]["level"], counted=votes[k]["counted"]) for k, r in kept.items()} | fresh
    r = rate_now.c
    for key in known.keys() - rates.keys():
        gone = (r.site == site, r.criterion == key.criterion, r.station == key.station)
        connection.execute(delete(rate_now).where(*gone))
    save_rows(
        connection, rate_now, [{"site": site, **record_to_dict(r)} for k, r in rates.items() if known.get(k) != r]
    )


def load_rates(connection: Connection, site: str) -> list[StationRate]:
    """What every vote on a rate measured last."""
    return [read_record(StationRate, row) for row in connection.execute(_plan_rates(), {"of_site": site})]


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
    """Store the instant of an evaluation, what it had seen, what came out and the digest of its memory."""
    row = fill_row(evaluation, decision, site=site, at=now, trigger=trigger, known_until=known_until)
    add_row(connection, evaluation, row, config_sha256=config_sha256, digest=digest_text(state))


# ---- frozen inputs ---------------------------------------------------------------------------------------------
def add_decision(connection: Connection, site: str, at: datetime, config_sha256: str, evidence: str) -> int:
    """Freeze what was decided on; `evidence` is canonical JSON. Returns its id."""
    row = {"site": site, "at": at, "code_version": code_version(), "config_sha256": config_sha256}
    return add_row(connection, decision_table, row, evidence=evidence, evidence_sha256=digest_text(evidence))


def load_decision(connection: Connection, decision_id: int) -> DecisionRow:
    """Frozen inputs by id; raises NotFoundError: there are none."""
    found = find_record(connection, DecisionRow, select(decision_table).where(decision_table.c.id == decision_id))
    if found is None:
        raise NotFoundError(f"decision {decision_id} does not exist")
    return found


# ---- what a view is made of, besides the readings --------------------------------------------------------------
def load_newest(connection: Connection, site: str, known_at: datetime) -> dict[str, NewestEpoch]:
    """Newest epoch of each series by `station.quantity`, as received now (or until an earlier instant, by a seek)."""
    rows = connection.execute(_plan_newest(), {"of_site": site}).all()
    found = {}
    o, until = observation.c, known_at + FUTURE_TOLERANCE
    for series_id, station, quantity, observed_at, received_at, flags in rows:
        if received_at > known_at or observed_at > until:
            # the newest row came after the instant asked for: seek what was known then
            known = (o.series_id == series_id, o.received_at <= known_at, o.observed_at <= until)
            found_then = select(o.observed_at, o.received_at, o.flags).where(*known, o.flags.not_like("%future%"))
            then = connection.execute(found_then.order_by(o.observed_at.desc()).limit(1)).one_or_none()
            if then is None:
                continue
            observed_at, received_at, flags = then  # noqa: PLW2901
        flag_list = tuple(f for f in flags.split(",") if f) if flags else ()
        found[f"{station}.{quantity}"] = NewestEpoch.of(observed_at, received_at, flag_list)
    return found


def load_report_facts(connection: Connection, site: str, since: datetime, now: datetime) -> tuple[ReportFact, ...]:
    """Reports of a time, newest first; of too many, those of known senders before those of nobody in particular."""
    r = report.c
    is_proven = r.credential != r.via
    rows: Sequence[Any] = connection.execute(
        select(report)
        .where(r.site == site, r.at > since, r.at <= now, r.received_at <= now)
        .order_by(case((is_proven, 0), else_=1), r.at.desc(), r.id)
        .limit(ADVICE_LIMIT)
    ).all()
    rows = sorted(rows, key=lambda x: (-epoch_s(x.at), x.id))
    who = unify_names(x.by for x in reversed(rows))
    return tuple(
        ReportFact(epoch_s(x.at), epoch_s(x.received_at), x.kind, x.text, who[x.by], x.station, x.credential)
        for x in rows
    )


def find_asks(connection: Connection, site: str, top: int, now: datetime) -> dict[str, int]:
    """The highest level that each station asks for by itself, by votes that have not aged."""
    state = find_state(connection, site)
    if state is None:
        return {}
    found: dict[str, int] = {}
    for key, vote in Memory.read(state.state).votes.items():
        if vote.level > 0 and vote.valid_until_s >= epoch_s(now):
            station = VoteKey.read(key).station
            found[station] = max(min(vote.level, top), found.get(station, 0))
    return found


def find_evidence(connection: Connection, alert_id: int) -> str | None:
    """The frozen inputs of the decision behind an alert, canonical JSON; None where there are none."""
    d, a = decision_table.c, alert.c
    return connection.execute(select(d.evidence).join(alert, a.decision_id == d.id).where(a.id == alert_id)).scalar()
