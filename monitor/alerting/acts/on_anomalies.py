"""What a person may do with what detectors report: put a threshold back."""

from typing import Annotated, Final

from forecasting.message import Figure, Template
from monitor.alerting.acts.call import ActCall
from monitor.alerting.acts.on_sites import SiteId
from monitor.alerting.acts.table import ActResult, Argument
from monitor.domain.language.catalogue import N_
from monitor.store.models import anomaly_budget

_FACTOR: Final = Template(
    "act.anomaly_factor", "{detector}: the threshold is {factor} times the counted one, it was {before} times"
)


def set_factor(
    call: ActCall,
    site: SiteId,
    detector: Annotated[
        str,
        Argument("Detector, see `slopeward anomalies budget`", metavar="DETECTOR", longest=64, label=N_("Detector")),
    ],
    reason: Annotated[str, Argument(N_("Why"), "--reason")],
    factor: Annotated[
        float,
        Argument(
            "1 = the threshold as it was counted; 1.5 at most",
            metavar="FACTOR",
            least=0.01,
            most=100.0,
            label=N_("Factor; else 1"),
        ),
    ] = 1.0,
) -> ActResult:
    """Put the threshold of a detector back, or elsewhere within its bounds; ten new labels are needed to move it again.

    Example: slopeward anomalies factor north-bench rules 1 --reason "the labels of March were a mistake"
    """
    declared = call.find_site(site)
    with call.db.write() as c:
        before = anomaly_budget.set_factor(c, declared, detector, factor, call.actor, reason, call.now).factor
    text = _FACTOR(detector=detector, factor=Figure(factor, ".3g"), before=Figure(before, ".3g"))
    return ActResult(text, {"site": site, "detector": detector, "factor_before": before, "factor": factor})
