"""Notice that an expression, or an offset of an input, has changed, and have the past of the series computed again."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from monitor.api.database import IDLE, Database, find_heartbeat, write_heartbeat
from monitor.api.queries.readings import find_series_id, load_extents, load_offsets
from monitor.api.sites import Site
from monitor.api.text import Span, canonical_json, digest_text
from monitor.features.derived.pending import group_spans, limit_spans
from monitor.features.derived.plans import Plan, plan_site
from monitor.features.derived.queries import Cause, PendingRow, add_pending

# Prefix of the name of a series: the digest of what the site file alone determines.
OF_FILE = "= "


def run(db: Database, _config: Any, site: Site, now: datetime) -> str:
    """Note the whole past of every series whose expression, or an offset of whose inputs, has changed."""
    name, plans = f"derived:{site.id}", plan_site(site).each
    known = db.run_read(lambda c: find_heartbeat(c, name))
    before = {} if known is None else known[1]
    with db.read() as c:
        digests: dict[str, str] = {}
        for plan in plans:  # each after those that it reads
            digests |= _digest(c, site, plan, digests, now)
        if digests == before:
            return IDLE  # the digests of a file without calculated series are noted as well, in case they return
        rows: list[PendingRow] = []
        changed = [plan for plan in plans if before.get(plan.name) != digests[plan.name]]
        for plan in changed:
            is_same = before.get(f"{OF_FILE}{plan.name}") == digests[f"{OF_FILE}{plan.name}"]
            rows += _list_past(c, site, plan, now, is_same=is_same)
    with db.write() as c:
        add_pending(c, rows)
        write_heartbeat(c, name, digests, now)
    return f"the past of {len(changed)} calculated series is computed again"


def _digest(connection: Connection, site: Site, plan: Plan, known: Mapping[str, str], now: datetime) -> dict[str, str]:
    """Return digests of what past values follow from beside the readings, and of what the site file says about it."""
    numbers = {place: find_series_id(connection, site.id, *place) for place in plan.expression.inputs}
    offsets = [[] if n is None else load_offsets(connection, n, now) for n in numbers.values()]
    calculation = plan.calculation
    facts = [calculation.expression, calculation.inputs, calculation.within_s, calculation.hold_s, plan.spec.unit]
    facts += [calculation.every_s] if calculation.every_s else []
    calculated = [one for one in calculation.inputs if one in known]
    return {
        plan.name: digest_text(canonical_json([*facts, offsets, *(known[one] for one in calculated)])),
        f"{OF_FILE}{plan.name}": digest_text(canonical_json([*facts, *(known[f"{OF_FILE}{o}"] for o in calculated)])),
    }


def _list_past(c: Connection, site: Site, plan: Plan, now: datetime, *, is_same: bool) -> list[PendingRow]:
    """Return notes on the past of a series.

    Args:
        is_same: only an offset has changed. Values whose inputs were deleted meanwhile stay then.
    """
    own = find_series_id(c, site.id, *plan.place)
    numbers = [n for place in plan.calculation.places if (n := find_series_id(c, site.id, *place)) is not None]
    extents = load_extents(c, [*numbers, own or 0], datetime(1, 1, 2, tzinfo=now.tzinfo), now + timedelta(days=1))
    keep_before: datetime | None = None
    if is_same:
        begins = [extent.first for number, extent in extents.items() if number != own]
        keep_before = max(begins, default=now) + timedelta(seconds=plan.behind_s)
    early = timedelta(seconds=plan.early_s)
    # A reading of a calculated input may not be stored yet: all of its inputs' time counts.
    spans: list[Span] = [(extent.first - early, extent.last) for extent in extents.values()]
    return group_spans(site.id, {plan.name: limit_spans(spans)}, Cause.REDEFINED, keep_before)
