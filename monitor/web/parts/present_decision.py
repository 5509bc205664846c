"""The decision that an evaluation would make at this moment, for pages; nothing is stored."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final, cast

from monitor.alerts.evaluate import evaluate_site
from monitor.decision.cost import SLOW_ROWS, count_rows
from monitor.decision.headline import DecisionEvidence
from monitor.sites.records import Site
from monitor.text.message import LABELLED_TEXT, Message, Template
from monitor.web.context import Context
from monitor.web.parts.evidence_tables import EvidenceTable, list_outcome_tables

KEPT: Final = timedelta(seconds=5)  # how long one result serves all requests
_UNREADABLE: Final = Template("movement.unreadable", "The site file of this version cannot be read by this program.")
_TOO_MUCH: Final = Template(
    "movement.too_much", "Too much to compute for a page: run slopeward evaluate --site {site} --dry-run"
)


@dataclass(frozen=True, slots=True)
class PresentDecision:
    """What a decision at this moment would rest on, or why that is not computed."""

    note: str = ""
    tables: Sequence[EvidenceTable] = ()
    sentence: str = ""
    rain: Sequence[Mapping[str, Any]] = ()  # what criteria of rain say
    reasons: Mapping[str, Message] = field(default_factory=dict)  # by criterion, of the station that asks for most


def evaluate_now(context: Context, site: Site | None) -> PresentDecision:
    """What a decision at this moment would rest on; nothing is written.

    It is computed once in some seconds, however many look. A site whose evaluation reads very much is not asked: the
    page must not compete with the evaluation itself.
    """
    if site is None:
        return PresentDecision(note=_UNREADABLE())
    if count_rows(site) > SLOW_ROWS:
        return PresentDecision(note=_TOO_MUCH(site=site.id))
    now = context.clock()
    before = context.dry_runs.get(site.version)
    if before is not None and timedelta(0) <= now - before[0] < KEPT:
        known: PresentDecision = before[1]
        return known
    decision = evaluate_site(context.db, site, now, "page", dry_run=True).decision
    rainy = {k.id for k in site.criteria if "rain" in k.kind.drawn}
    words = sorted(decision.evidence["words"], key=lambda w: (w["raise_level"], w["hold_level"], w["newest_s"] or 0.0))
    says = PresentDecision(
        tables=list_outcome_tables(cast("DecisionEvidence", decision.evidence)),
        sentence=decision.evidence["sentence"],
        rain=[w for w in decision.evidence["words"] if w["criterion"] in rainy],
        reasons={w["criterion"]: LABELLED_TEXT(name=w["station"], text=w["reason"]) for w in words},
    )
    context.dry_runs[site.version] = (now, says)
    return says
