"""Acts of people on site files: approve or reject a proposal, and end the monitoring of a site."""

from typing import Annotated, Final

from sqlalchemy import Connection

from monitor.alerts.acts import change_control
from monitor.alerts.acts.call import ActCall
from monitor.alerts.acts.on_alerts import LARGEST_ID, Reason
from monitor.alerts.acts.on_sites import SiteId
from monitor.alerts.acts.table import ActResult, Argument
from monitor.alerts.queries.evaluations import find_state
from monitor.alerts.queries.signatures import TwoPersonAct
from monitor.errors import NeedsSecondError, RefusedError
from monitor.people.queries.users import require_two
from monitor.sites.files import scan_sites
from monitor.sites.queries.sites import load_sites_summary, mark_inactive
from monitor.storage.actor import Actor
from monitor.storage.audit import add_audit
from monitor.text.catalogue import N_
from monitor.text.message import Template, Term

_IN_FORCE: Final = Template("proposal.in_force", "change No. {number} is in force; the service takes it within seconds")
_FILE_THERE: Final = Template(
    "act.site_file_there", "the file of {site} is still in the folder of site files; take it away first"
)
_NOT_WATCHED: Final = Template("act.site_not_watched", "{site} is not watched")
_STANDS: Final = Template(
    "act.site_stands", "{site} is at {level}: one person may not end its monitoring; name a second one"
)
_RETIRED: Final = Template("act.site_retired", "{site} is no longer watched; restart the service (or send it SIGHUP)")
_TURNED_DOWN: Final = Template("proposal.turned_down", "change No. {number} is turned down")
ProposalId = Annotated[int, Argument("Number, see `slopeward sites proposals`", metavar="ID", least=1, most=LARGEST_ID)]


def approve(
    call: ActCall,
    proposal_id: ProposalId,
    reason: Annotated[str, Argument(N_("Why it may be put in force"), "--reason")],
) -> ActResult:
    """Put a proposal in force: the site file is written, and the running service loads it within seconds.

    Example: slopeward sites approve 3 --by "A. Rossi" --reason "as discussed"
    """
    path = change_control.approve(call.db, call.config.paths.sites, proposal_id, call.actor, reason, call.now)
    facts = {"id": proposal_id, "state": "approved", "file": path.name}
    return ActResult(_IN_FORCE(number=proposal_id), facts)


def reject(
    call: ActCall, proposal_id: ProposalId, reason: Annotated[str, Argument(N_("Why not"), "--reason")]
) -> ActResult:
    """Reject a proposal, or withdraw your own; it stays on record.

    Example: slopeward sites reject 3 --by "A. Rossi" --reason "no evidence yet"
    """
    change_control.reject(call.db, proposal_id, call.actor, reason, call.now)
    return ActResult(_TURNED_DOWN(number=proposal_id), {"id": proposal_id, "state": "rejected"})


def retire(call: ActCall, site: SiteId, reason: Reason) -> ActResult:
    """End the monitoring of a site whose file was removed; its history stays. Restart the service afterwards.

    Example: slopeward sites retire north-bench --reason 'mine closed' --by 'A. Rossi'
    """
    if site in {declared.id for declared in scan_sites(call.config.paths.sites)[0]}:
        raise RefusedError(_FILE_THERE(site=site))

    def do(connection: Connection, second: Actor | None) -> None:
        summary = next((row for row in load_sites_summary(connection) if row.id == site), None)
        if summary is None:
            raise RefusedError(_NOT_WATCHED(site=site))
        level = measure(connection)
        if level >= max(1, len(summary.levels) - 2):
            if second is None:
                # The level may be stored from a site file with more levels.
                level_name = summary.levels[min(level, len(summary.levels) - 1)]
                raise NeedsSecondError(_STANDS(site=site, level=Term(level_name)))
            require_two(connection, call.actor, second, call.now)
        mark_inactive(connection, site)
        detail = {"reason": reason, "second_by": None if second is None else second.name}
        add_audit(connection, call.actor, "site.retire", site, detail, call.now)

    def measure(connection: Connection) -> int:
        state = find_state(connection, site)
        return 0 if state is None else state.level

    call.by_two(TwoPersonAct("site.retire", site, {}), reason, do, measure)
    return ActResult(_RETIRED(site=site), {"site": site, "watched": False, "reason": reason})
