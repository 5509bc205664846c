"""Keep the house in order: delete what retention allows, and check that the audit chain still holds."""

import contextlib
from datetime import datetime

from sqlalchemy import Connection

from monitor.config.service import ServiceConfig, parse_site, scan_sites
from monitor.domain.alert import SERVICE, health_alarm
from monitor.domain.canonical import code_version
from monitor.domain.site import Recipient, Site, gather_recipients
from monitor.errors import ConfigError, NotFoundError
from monitor.jobs.scenes.sweep import sweep
from monitor.store.alerting.alerts import apply_changes
from monitor.store.alerting.sites import load_site_source, load_sites_summary
from monitor.store.database.audit import verify_chain
from monitor.store.database.engine import Database
from monitor.store.upkeep.prune import Limits, load_cited, prune_step

SERVICE_SITE = "status"  # alarms of the service itself


def run(db: Database, config: ServiceConfig, site: Site | None, now: datetime) -> str:  # noqa: ARG001 - as all jobs
    """Prune in small transactions, so that ingest is never kept waiting; returns one line.

    A broken audit chain is an urgent alarm of the service, to the recipients of all sites.
    """
    limits = Limits.of(
        config.retention.observations_s, config.retention.forecasts_s, config.retention.quarantine_s, now
    )
    with db.read() as c:
        cited = load_cited(c)
        broken = verify_chain(c)
    total: dict[str, int] = {}
    while True:
        with db.write() as c:
            step = prune_step(c, limits, cited, now)
        total = {name: total.get(name, 0) + count for name, count in step.items()}
        if not any(step.values()):
            break
    if folders := sweep(db, config, now):
        total["folders of scenes"] = folders
    reason = f"the audit chain is broken: {broken[0]}" if broken else "the audit chain holds"
    change = health_alarm("health:audit:chain", 2, reason, is_open=bool(broken), evidence={})
    with db.write() as c:
        apply_changes(
            c, SERVICE_SITE, [change], site=None, recipients=_everybody(c, config), actor=SERVICE, now=now,
            rule_version=code_version(),
        )  # fmt: skip
    gone = ", ".join(f"{count} {name}" for name, count in total.items() if count)
    return f"{gone or 'nothing'} pruned; audit chain {'BROKEN' if broken else 'holds'}"


def _everybody(c: Connection, config: ServiceConfig) -> tuple[Recipient, ...]:
    """Whom the files name and whom the versions in force name: an edit that nobody approved silences nobody."""
    sites: list[Site] = []
    with contextlib.suppress(ConfigError):
        sites += scan_sites(config.paths.sites)[0]
    for known in load_sites_summary(c):
        with contextlib.suppress(ConfigError, NotFoundError):
            sites.append(parse_site(load_site_source(c, known.config_sha256), known.id))
    return gather_recipients(sites)
