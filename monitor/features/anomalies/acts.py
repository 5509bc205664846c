"""Acts on anomalies: label an anomaly, set the factor of a threshold."""

from datetime import datetime, timedelta
from typing import Annotated, Final

from monitor.api.acts import ActResult, Argument
from monitor.api.queries.alerts import LARGEST_ID, ActCall, SiteId
from monitor.api.sites import ANOMALY_CAUSES, VERDICTS
from monitor.api.text import N_, Figure, Template, Term, Timestamp
from monitor.features.anomalies.queries import budget as anomaly_budget
from monitor.features.anomalies.queries.labels import add_label, find_run, load_runs

_FACTOR: Final = Template(
    "act.anomaly_factor", "{detector}: the threshold is {factor} times the counted one, it was {before} times"
)
_LABEL: Final = Template("act.anomaly_label", "{station} {quantity} {at}: {verdict}, {cause}")


def label(
    call: ActCall,
    site: SiteId,
    station: Annotated[str, Argument("Station", metavar="STATION", longest=64, label=N_("Station"))],
    at: Annotated[
        datetime,
        Argument("A time within it, see `slopeward anomalies list`", "--at", label=N_("A time within it")),
    ],
    verdict: Annotated[
        str, Argument(f"One of: {', '.join(VERDICTS)}", "--as", longest=16, label=N_("What it was"), choices=VERDICTS)
    ],
    cause: Annotated[
        str,
        Argument(
            f"One of: {', '.join(ANOMALY_CAUSES)}", "--cause", longest=32, label=N_("Cause"), choices=ANOMALY_CAUSES
        ),
    ] = "unknown",
    quantity: Annotated[
        str | None,
        Argument("Needed if several quantities have an anomaly then", "--quantity", longest=64, label=N_("Quantity")),
    ] = None,
    note: Annotated[str, Argument(N_("What was seen"), "--note")] = "",
    seen: Annotated[
        int | None, Argument("Id of the newest label that you saw, 0 = none", "--seen", least=0, most=LARGEST_ID)
    ] = None,
) -> ActResult:
    """Label what an anomaly was. The label is stored with your name and the time, and the newest label counts.

    Example: slopeward anomalies label north-bench G1 --at 2026-03-01T06:00Z --as dismissed --cause snow_ice
    """
    declared = call.find_site(site)
    with call.db.write() as c:
        run = find_run(load_runs(c, declared, at - timedelta(seconds=1), call.now), station, at, quantity)
        label_id = add_label(c, site, run, verdict, cause, call.actor, note, call.now, seen=seen)
    terms = {"quantity": Term(run.quantity), "verdict": Term(verdict), "cause": Term(cause)}
    text = _LABEL(station=station, at=Timestamp.of(run.from_at, "minute"), **terms)
    facts = {"label": label_id, "station": station, "quantity": run.quantity, "verdict": verdict, "cause": cause}
    return ActResult(text, facts)


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
            "1 = the threshold of the last training; 1.5 at most",
            metavar="FACTOR",
            least=0.01,
            most=100.0,
            label=N_("Factor; else 1"),
        ),
    ] = 1.0,
) -> ActResult:
    """Set the factor on the threshold of a detector. It changes again by itself after ten new labels.

    Example: slopeward anomalies factor north-bench rules 1 --reason "the labels of March were a mistake"
    """
    declared = call.find_site(site)
    with call.db.write() as c:
        before = anomaly_budget.set_factor(c, declared, detector, factor, call.actor, reason, call.now).factor
    text = _FACTOR(detector=detector, factor=Figure(factor, ".3g"), before=Figure(before, ".3g"))
    return ActResult(text, {"site": site, "detector": detector, "factor_before": before, "factor": factor})
