"""Delete rows according to the retention rules, and verify the audit log."""

import contextlib
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection

from monitor.alerts.queries.alerts import ChangeContext, apply_changes
from monitor.canonical import code_version
from monitor.decision.changes import health_alarm
from monitor.decision.criteria.scope import find_history_spans, find_longest_reach_s
from monitor.errors import ConfigError, NotFoundError
from monitor.settings.service import ServiceConfig
from monitor.sites.files import scan_sites
from monitor.sites.parsing import parse_site
from monitor.sites.queries.sites import load_site_source, load_sites_summary
from monitor.sites.records import Site, gather_recipients
from monitor.storage.actor import SERVICE_ACTOR, SERVICE_SITE
from monitor.storage.audit import verify_chain
from monitor.storage.engine import Database
from monitor.storage.prune import RetentionRun
from monitor.storage.retention import SUMMARY_SPANS_S, RetentionLimits, Thinning
from monitor.text.message import Template

_BROKEN: Final = Template("audit.broken", "the audit chain is broken: {problem}")
_HOLDS: Final = Template("audit.holds", "the audit chain holds")()


def run(db: Database, config: ServiceConfig, site: Site | None, now: datetime) -> str:  # noqa: ARG001 - as all jobs
    """Delete rows in short transactions, so that ingest is not delayed. Return one line.

    A broken audit chain is an urgent alarm for the recipients of all sites.
    """
    broken = db.run_read(verify_chain)
    pruning = RetentionRun(db, find_limits(db, config, now), now)
    pruning.run()
    total = pruning.count_removed()
    reason = _BROKEN(problem=broken[0]) if broken else _HOLDS
    change = health_alarm("health:audit:chain", 2, reason, is_open=bool(broken), evidence={})
    with db.write() as c:
        recipients = gather_recipients(_load_sites(c, config))
        apply_changes(c, [change], ChangeContext(SERVICE_SITE, None, recipients, SERVICE_ACTOR, now, code_version()))
    pruned = ", ".join(f"{count} {name}" for name, count in total.items() if count)
    return f"{pruned or 'nothing'} pruned; audit chain {'BROKEN' if broken else 'holds'}"


def find_limits(db: Database, config: ServiceConfig, now: datetime) -> RetentionLimits:
    """Return which rows may be deleted: by the configuration, and by the history that decisions of each site need."""
    retention = config.retention
    reaches_s: dict[str, float] = {}
    for site in db.run_read(_load_sites, config):
        reaches_s[site.id] = max(
            reaches_s.get(site.id, 0.0), *map(find_longest_reach_s, find_history_spans(site).values()), 0.0
        )
    return RetentionLimits(
        before_at={
            key: now - timedelta(seconds=age_s) for key, age_s in retention.ages_s().items() if age_s is not None
        },
        quantities={
            name: Thinning(now - timedelta(seconds=section.raw_s), SUMMARY_SPANS_S.get(section.then, 0))
            for name, section in retention.quantities.items()
        },
        needed_from={site_id: now - timedelta(seconds=reach) for site_id, reach in reaches_s.items()},
    )


def _load_sites(c: Connection, config: ServiceConfig) -> list[Site]:
    """Return the sites of the files and of the versions in force. An edit that is not approved removes nothing."""
    sites: list[Site] = []
    with contextlib.suppress(ConfigError):
        sites += scan_sites(config.paths.sites)[0]
    for summary in load_sites_summary(c):
        with contextlib.suppress(ConfigError, NotFoundError):
            sites.append(parse_site(load_site_source(c, summary.config_sha256), summary.id))
    return sites
