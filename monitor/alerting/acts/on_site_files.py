"""What a person may do with a changed site file that waits: put it in force, or turn it down."""

from typing import Annotated, Final

from forecasting.message import Template
from monitor.alerting.acts import change_control
from monitor.alerting.acts.call import ActCall
from monitor.alerting.acts.on_alerts import LARGEST_ID
from monitor.alerting.acts.table import ActResult, Argument
from monitor.domain.language.catalogue import N_

_IN_FORCE: Final = Template("proposal.in_force", "change No. {number} is in force; the service takes it within seconds")
_TURNED_DOWN: Final = Template("proposal.turned_down", "change No. {number} is turned down")

ProposalId = Annotated[int, Argument("Number, see `slopeward sites proposals`", metavar="ID", least=1, most=LARGEST_ID)]


def approve(
    call: ActCall,
    proposal_id: ProposalId,
    reason: Annotated[str, Argument(N_("Why it may go into force"), "--reason")],
) -> ActResult:
    """Put a proposal in force: the site file is written, the running service takes it within seconds.

    Example: slopeward sites approve 3 --by "A. Rossi" --reason "as discussed"
    """
    path = change_control.approve(call.db, call.sites_folder, proposal_id, call.actor, reason, call.now)
    facts = {"id": proposal_id, "state": "approved", "file": path.name}
    return ActResult(_IN_FORCE(number=proposal_id), facts)


def reject(
    call: ActCall, proposal_id: ProposalId, reason: Annotated[str, Argument(N_("Why not"), "--reason")]
) -> ActResult:
    """Turn a proposal down, or withdraw one's own; it stays on record.

    Example: slopeward sites reject 3 --by "A. Rossi" --reason "no evidence yet"
    """
    change_control.reject(call.db, proposal_id, call.actor, reason, call.now)
    return ActResult(_TURNED_DOWN(number=proposal_id), {"id": proposal_id, "state": "rejected"})
