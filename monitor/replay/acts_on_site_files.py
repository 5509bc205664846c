"""Proposing a changed site file: stored for approval, with what it would have done in the last months.

This act stands here because its effect is a replay, which alerting does not know.
"""

import threading
from datetime import datetime
from typing import Annotated, Final

from forecasting.message import Template
from monitor.alerting.acts import change_control
from monitor.alerting.acts.call import ActCall
from monitor.alerting.acts.on_sites import SiteId
from monitor.alerting.acts.site_diff import StoredEffect, format_proposal
from monitor.alerting.acts.table import ActResult, Argument
from monitor.config.service import parse_site
from monitor.domain.errors import RefusedError, take_turn
from monitor.domain.instants import record_to_json
from monitor.domain.language.catalogue import N_
from monitor.domain.site import Site
from monitor.replay.effect import preview_apart, preview_effect
from monitor.store.database.engine import Database

_WAITS: Final = Template("threshold.waits", "change No. {number} waits for approval")
_OTHER_SITE: Final = Template("proposal.other_site", "the file is that of {other}, not of {site}")
_BUSY: Final = Template("proposal.busy", "another change is being replayed; try again in a minute")
LARGEST: Final = 1 << 20  # characters of a site file
_replaying: Final = threading.Semaphore(1)


def preview_for_page(
    db: Database, limit_s: float, now: datetime, months: int, old: Site | None, new: Site
) -> StoredEffect:
    """What both declarations would have done, replayed apart, one replay at a time; raises StoreBusyError."""
    url = db.url.render_as_string(hide_password=False)
    with take_turn(_replaying, _BUSY()):
        return preview_apart(url, old, new, now, months, limit_s=limit_s)


def propose(
    call: ActCall,
    site: SiteId,
    file: Annotated[str, Argument(N_("Site file with the change"), metavar="FILE", longest=LARGEST, is_file=True)],
    reason: Annotated[str, Argument(N_("On what grounds"), "--reason")],
    months: Annotated[
        int,
        Argument(
            N_("How far back its effect is computed, in months of 30 days; at zero, not at all"),
            "--months",
            least=0,
            most=1200,
        ),
    ] = 3,
) -> ActResult:
    """Propose a changed site file: it is stored for approval, with what it would have done in the last months.

    Example: slopeward sites propose north-bench north-bench.toml --by "R. Mori" --reason "noise is lower"
    """
    name, report, tenths = f"{site}.toml", call.report, {0}

    def print_share(share: float) -> None:
        if report is not None and int(share * 10) not in tenths:
            tenths.add(int(share * 10))
            report(f"replaying {int(share * 10) * 10} %")

    def preview(old: Site | None, new: Site) -> StoredEffect:
        if report is not None or months == 0:
            return preview_effect(call.db, old, new, call.now, months, on_progress=print_share)
        return preview_for_page(call.db, call.config.compute.job_limit_s, call.now, months, old, new)

    if (other := parse_site(file, name).id) != site:
        raise RefusedError(_OTHER_SITE(other=other, site=site))
    found = change_control.propose(call.db, file, name, call.actor, reason, call.now, preview)
    notes = tuple(format_proposal(found)) if report is not None else ()  # the page shows them where it goes on
    is_barred = found.loosens_high and "skipped" in (found.effect or {})  # nobody can approve it
    hint = "" if is_barred else f"slopeward sites approve {found.id} --by NAME --reason WHY"
    return ActResult(_WAITS(number=found.id), record_to_json(found, "source"), notes, hint)
