"""What a person may do with a drill: end it."""

from typing import Annotated, Final

from forecasting.message import Template
from monitor.alerting.acts.call import ActCall
from monitor.alerting.acts.change_control import find_in_force
from monitor.alerting.acts.on_alerts import LARGEST_ID
from monitor.alerting.acts.on_sites import THERE_ALREADY, SiteId
from monitor.alerting.acts.table import Act, ActResult, Argument
from monitor.domain.errors import NotFoundError
from monitor.domain.language.catalogue import N_
from monitor.extensions.drills.store import RUNNING, end_drill, find_drill

_NONE: Final = Template("drill.none", "drill {number} does not exist")
_ENDED: Final = Template("drill.ended", "drill {number} of {site} is ended: {count} alarms closed")
_OVER: Final = Template("drill.over_already", "drill {number} is over already")


def end(
    call: ActCall,
    site: SiteId,
    number: Annotated[
        int,
        Argument("Number of the drill, see `slopeward notify drill list`", metavar="ID", least=1, most=LARGEST_ID),
    ],
    reason: Annotated[str, Argument(N_("Why"), "--reason")] = "ended by hand",
) -> ActResult:
    """End a drill: recipients are notified that it is over, and its alarms are closed.

    Example: slopeward notify drill end north-bench 3 --by ada --reason "telephone"
    """
    with call.write() as c:
        found = find_drill(c, number)
        if found.site != site:
            raise NotFoundError(_NONE(number=number))
        outcome = end_drill(c, number, call.actor, reason, call.now, site=find_in_force(c, site))
    facts = {"drill": number, "site": site, **outcome}
    if found.state != RUNNING:
        return ActResult(_OVER(number=number), facts, status=THERE_ALREADY)
    return ActResult(_ENDED(number=number, site=site, count=outcome["alerts"]), facts)


_DRILLS: Final = "/sites/{site}/drills"
ACTS: Final = (
    Act("drill.end", "notify drill end", f"{_DRILLS}/{{number}}/end", "monitor.extensions.drills.acts:end", _DRILLS),
)
