"""Find out what the broker would do in an outage: does it keep our session, how much, and for how long."""

import shutil
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from monitor.broker.access import find_access
from monitor.broker.audit import DROPPED, available_memory_bytes, find_limit, message_bytes, read_figures
from monitor.broker.probe import EXPIRY_S, KEEPS, BrokerFacts, probe_broker
from monitor.config.service import ServiceConfig
from monitor.domain.instants import parse, spell_about
from monitor.domain.site import Site
from monitor.store.database.engine import Database
from monitor.store.service_checks import BAD, OK, WARN, Check, Checked, load_checks, save_checks
from monitor.store.service_state import find_stamp

PROBE_EVERY: Final = timedelta(hours=20)
PROBED: Final = ("broker.session", "broker.queue", "broker.bridge")
LEAST_S: Final = 60.0  # of counting before a rate is believed
SHORT_S, LONG_S = 3600.0, 86400.0  # an outage shorter than an hour happens to everybody


def run(db: Database, config: ServiceConfig, site: Site | None, now: datetime) -> str:  # noqa: ARG001 - as all jobs
    """Read the broker's own figures every time, probe it once a day, or while something is wrong; returns one line."""
    if config.broker.mode == "demo":
        return "the broker of a demonstration forgets; nothing to look at"
    try:
        return _look(db, config, now)
    except OSError as error:  # an alarm of ingest says so
        return f"the broker does not answer: {error}"


def _look(db: Database, config: ServiceConfig, now: datetime) -> str:
    with db.read() as c:
        known, core = load_checks(c), find_stamp(c, "core")
    access = find_access(config.broker)
    figures = read_figures(access)
    checks = [_look_at_dropped(figures, known["broker.dropped"].check.value if "broker.dropped" in known else None)]
    if _is_due(known, now):
        size_bytes = message_bytes(figures)
        facts = probe_broker(access, size_bytes)
        if figures and facts.session_present:
            # what the broker dropped of the trial is no loss: the next look counts from there
            checks[0] = checks[0]._replace(value=(checks[0].value or 0.0) + KEEPS - facts.kept)
        free: dict[str, float] = {}
        if config.broker.mode == "managed":
            free["disk"] = shutil.disk_usage(Path(config.broker.data)).free
            free |= {} if (memory := available_memory_bytes()) is None else {"memory": memory / 2}
        rate = None if core is None else _find_rate(*core)
        checks += _judge_session(facts)
        limit = find_limit(facts, rate or 1.0, size_bytes, free, EXPIRY_S)
        state = BAD if limit.seconds < SHORT_S else WARN if limit.seconds < LONG_S else OK
        said = "1 message a second, for none was counted yet" if rate is None else f"{rate:.3g} messages a second"
        found = f"bridges an outage of {spell_about(limit.seconds)} at {said}; then {limit.why}"
        if config.broker.mode == "external" and facts.kept >= KEEPS:
            found += f"; as far as {KEEPS} messages show: its max_queued_messages and max_queued_bytes say more"
        remedy = "" if state == OK else f"change {limit.setting}"
        checks.append(Check("broker.bridge", state, found, remedy, round(limit.seconds / 3600, 1), "h"))
    with db.write() as c:
        save_checks(c, checks, now)
    return "; ".join(f"{one.name} {one.state}: {one.found}" for one in checks)


def _is_due(known: Mapping[str, Checked], now: datetime) -> bool:
    """Whether a probe is due: each costs 1,500 messages. What is wrong may have been mended since the last look."""
    found = [known.get(name) for name in PROBED]
    return any(one is None or one.check.state != OK or now - one.checked_at >= PROBE_EVERY for one in found)


def _look_at_dropped(figures: dict[str, float], before: float | None) -> Check:
    count = figures.get(DROPPED, 0.0)  # a figure that never changed is not published
    if not figures:
        remedy = "let the service read $SYS/# (its access list: slopeward broker acl)"
        return Check("broker.dropped", WARN, "the broker does not say how many messages it dropped", remedy, before)
    # after a restart of the broker it counts anew
    grown = count - (before if before is not None and before <= count else 0.0)
    if before is not None and grown > 0:
        found = f"the broker dropped {grown:.0f} messages since the last look"
        remedy = "set max_queued_messages 0 and max_queued_bytes 0; a client that is slow or away was too far behind"
        return Check("broker.dropped", BAD, found, remedy, count)
    return Check("broker.dropped", OK, f"{count:.0f} messages dropped since it started", "", count)


def _judge_session(facts: BrokerFacts) -> list[Check]:
    """Whether a session outlives an absence, and how many messages it kept of those that a probe sent."""
    if not facts.session_present:
        found = "the broker keeps no session for an absent client"
        session = Check("broker.session", BAD, found, "allow persistent sessions")
        return [session, Check("broker.queue", WARN, "not known: nothing is kept without a session", session.remedy)]
    session = Check("broker.session", OK, "a client that came back found its session")
    if facts.kept >= KEEPS:
        found = f"keeps at least {KEEPS} messages for an absent client"
        return [session, Check("broker.queue", OK, found, "", facts.kept)]
    remedy = "max_queued_messages 0, max_queued_bytes 0, and no per_listener_settings (deploy/mosquitto.conf)"
    found = f"of {KEEPS} messages for an absent client the broker kept {facts.kept}"
    return [session, Check("broker.queue", BAD, found, remedy, facts.kept)]


def _find_rate(at: datetime, core: dict[str, Any]) -> float | None:
    """Messages a second since the core started; None where it has not counted for long."""
    seconds = (at - parse(core["started_at"])).total_seconds()
    messages = float(core["ingest"]["messages"])
    return messages / seconds if seconds >= LEAST_S and messages else None
