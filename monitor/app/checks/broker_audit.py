"""The job that tests what the broker keeps during an outage of the service: sessions, messages and how long."""

import shutil
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from monitor.app.checks.broker import DroppedMessages, OutageBuffer
from monitor.app.checks.table import run_checks
from monitor.broker.access import find_access
from monitor.broker.audit import DROPPED, available_memory_bytes, find_limit, message_bytes, read_figures
from monitor.broker.probe import EXPIRY_S, PROBE_MESSAGES, BrokerFacts, probe_broker
from monitor.settings.service import ServiceConfig
from monitor.sites.records import Site
from monitor.storage.engine import Database
from monitor.storage.service_state import OK, StoredCheck, find_heartbeat, load_checks, save_checks
from monitor.text.instants import parse_time

PROBE_EVERY: Final = timedelta(hours=20)
PROBED: Final = ("broker.session", "broker.queue", "broker.bridge")
# A rate is computed only from counts over at least this time.
LEAST_COUNTING_S: Final = 60.0


def run(db: Database, config: ServiceConfig, site: Site | None, now: datetime) -> str:  # noqa: ARG001 - as all jobs
    """Read the counters of the broker at every run, and probe it once a day or while something is wrong."""
    if config.broker.mode == "demo":
        return "the broker of a demonstration keeps no messages; there is nothing to test"
    try:
        with db.read() as c:
            stored_checks, core = load_checks(c), find_heartbeat(c, "core")
        access = find_access(config.broker)
        figures = read_figures(access)
        before = stored_checks["broker.dropped"].check.value if "broker.dropped" in stored_checks else None
        # The broker does not publish a counter that has never changed.
        dropping = DroppedMessages(figures.get(DROPPED, 0.0) if figures else None, before)
        facts_to_check: list[object] = [dropping]
        if _is_due(stored_checks, now):
            size_bytes = message_bytes(figures)
            facts = probe_broker(access, size_bytes)
            free: dict[str, float] = {}
            if config.broker.mode == "managed":
                free["disk"] = shutil.disk_usage(Path(config.broker.data)).free
                free |= {} if (memory := available_memory_bytes()) is None else {"memory": memory / 2}
            rate_hz = None if core is None else _find_rate(*core)
            limit = find_limit(facts, rate_hz or 1.0, size_bytes, free, EXPIRY_S)
            facts_to_check += [
                facts,
                OutageBuffer(
                    limit, rate_hz, config.broker.mode == "external" and facts.kept_messages >= PROBE_MESSAGES
                ),
            ]
        checks = [finding.row for fact in facts_to_check for finding in run_checks(fact)]
        if figures and (probed := next((fact for fact in facts_to_check if isinstance(fact, BrokerFacts)), None)):
            # Messages of the probe that the broker dropped are no loss, so the next run counts from there.
            lost = PROBE_MESSAGES - probed.kept_messages if probed.session_present else 0
            checks[0] = checks[0]._replace(value=(checks[0].value or 0.0) + lost)
        db.run_write(save_checks, checks, now)
        return "; ".join(f"{check.name} {check.state}: {check.found}" for check in checks)
    except OSError as error:  # Ingest raises the alarm.
        return f"the broker does not answer: {error}"


def _is_due(stored_checks: Mapping[str, StoredCheck], now: datetime) -> bool:
    """Return whether a probe is due. It costs 1,500 messages, so it is rare unless something is wrong."""
    probed = [stored_checks.get(name) for name in PROBED]
    return any(
        stored is None or stored.check.state != OK or now - stored.checked_at >= PROBE_EVERY for stored in probed
    )


def _find_rate(at: datetime, core: dict[str, Any]) -> float | None:
    """Return messages per second since the core started; None if it has not counted long enough."""
    seconds = (at - parse_time(core["started_at"])).total_seconds()
    messages = float(core["ingest"]["messages"])
    return messages / seconds if seconds >= LEAST_COUNTING_S and messages else None
