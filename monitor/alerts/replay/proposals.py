"""Propose a changed site file: store it for approval, with a replay of its effect on the last months."""

import threading
import time
from datetime import datetime, timedelta
from typing import Annotated, Final, cast

from monitor.alerts.acts import change_control
from monitor.alerts.acts.call import ActCall
from monitor.alerts.acts.on_sites import SiteId
from monitor.alerts.acts.site_diff import StoredEffect, format_proposal
from monitor.alerts.acts.table import ActResult, Argument
from monitor.alerts.replay.backtest import Progress, run_backtest
from monitor.errors import RefusedError, SlopewardError, acquire_or_refuse
from monitor.sites.parsing import parse_site
from monitor.sites.records import Site
from monitor.storage.engine import Database
from monitor.text.catalogue import N_
from monitor.text.instants import format_iso, record_to_json
from monitor.text.message import Figure, Template
from monitor.worker.child_process import ChildProcess, SendLine

MONTH: Final = timedelta(days=30)
_NOT_WANTED: Final = Template("effect.not_asked", "not requested (--months 0)")
FAILED: Final = Template("effect.failed", "the replay failed: {problem}")
_LONG: Final = Template("effect.long", "the replay was stopped after {minutes}; choose fewer months")
_SILENT: Final = Template("effect.silent", "the replay ended without a result; see the log")
_ALONE: Final = Template("effect.alone", "A, proposed")
_IN_FORCE: Final = Template("effect.in_force", "A, in force")
_PROPOSED: Final = Template("effect.proposed", "B, proposed")


def preview_effect(
    db: Database, old: Site | None, new: Site, now: datetime, months: int, *, on_progress: Progress | None = None
) -> StoredEffect:
    """Return the effect of a change on the last months, JSON-ready, as it is stored with a proposal.

    If the effect was not requested or cannot be computed, `skipped` contains the reason. A change that loosens a high
    level cannot be approved without its effect.

    Args:
        months: Months of 30 days. 0 computes nothing.
    """
    if months == 0:
        return {"skipped": _NOT_WANTED()}
    from_at = now - months * MONTH
    facts: StoredEffect = {"from": format_iso(from_at), "to": format_iso(now), "months": months}
    other = None if old is None else new
    try:
        card = run_backtest(db, new if old is None else old, from_at, now, other=other, on_progress=on_progress)
    except SlopewardError as error:
        return {**facts, "skipped": FAILED(problem=error.message)}
    names = [_ALONE()] if old is None else [_IN_FORCE(), _PROPOSED()]
    return {**facts, "names": names, "scorecard": card.to_json()}


def preview_apart(url: str, old: Site | None, new: Site, now: datetime, months: int, *, limit_s: float) -> StoredEffect:
    """Compute the effect as `preview_effect` does, in a child process of low priority.

    Args:
        limit_s: The replay is ended after this time, in seconds.
    """
    began_s = time.monotonic()
    child = ChildProcess("monitor.alerts.replay.proposals:play", url, old, new, now, months)
    try:
        for line in child.lines(limit_s):
            if isinstance(line, dict):
                return cast("StoredEffect", line)
    finally:
        child.end()
    if time.monotonic() - began_s >= limit_s:
        return {"skipped": _LONG(minutes=Figure(limit_s / 60, ".0f", "min"))}
    return {"skipped": _SILENT()}


def play(send: SendLine, url: str, old: Site | None, new: Site, now: datetime, months: int) -> None:
    """Send the share that is done from time to time, then the effect. Runs in the child process."""
    with Database(url) as db:
        send(preview_effect(db, old, new, now, months, on_progress=send))


WAITS_FOR_APPROVAL: Final = Template("threshold.waits", "change No. {number} waits for approval")
_OTHER_SITE: Final = Template("proposal.other_site", "the file belongs to {other}, not to {site}")
_BUSY: Final = Template("proposal.busy", "another change is being replayed; try again in a minute")
# Most characters of a site file.
LARGEST: Final = 1 << 20
_replaying: Final = threading.Semaphore(1)


def preview_for_page(
    db: Database, limit_s: float, now: datetime, months: int, old: Site | None, new: Site
) -> StoredEffect:
    """Compute the effect of a change in a child process, one replay at a time.

    Raises:
        StoreBusyError: Another replay is running.
    """
    url = db.url.render_as_string(hide_password=False)
    with acquire_or_refuse(_replaying, _BUSY()):
        return preview_apart(url, old, new, now, months, limit_s=limit_s)


def propose(
    call: ActCall,
    site: SiteId,
    file: Annotated[str, Argument(N_("Site file with the change"), metavar="FILE", longest=LARGEST, is_file=True)],
    reason: Annotated[str, Argument(N_("Why"), "--reason")],
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
    """Propose a changed site file: it is stored for approval, with its effect on the last months.

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

    other = parse_site(file, name).id
    if other != site:
        raise RefusedError(_OTHER_SITE(other=other, site=site))
    proposal = change_control.propose(call.db, file, name, call.actor, reason, call.now, preview)
    # The page shows the proposal on the next page.
    notes = tuple(format_proposal(proposal)) if report is not None else ()
    # Nobody can approve a change that loosens a high level without its effect.
    is_barred = proposal.loosens_high and "skipped" in (proposal.effect or {})
    hint = "" if is_barred else f"slopeward sites approve {proposal.id} --by NAME --reason WHY"
    return ActResult(WAITS_FOR_APPROVAL(number=proposal.id), record_to_json(proposal, "source"), notes, hint)
