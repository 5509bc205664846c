"""Compute the decision that an evaluation would make now, for pages. Nothing is stored."""

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
from monitor.web.parts.evidence_listing import EvidenceTable, list_outcome_tables

# A result is used for all requests during this time.
CACHED_FOR: Final = timedelta(seconds=5)
_UNREADABLE: Final = Template("movement.unreadable", "The site file of this version cannot be read by this program.")
_TOO_MUCH: Final = Template(
    "movement.too_much", "Too much to compute for a page: run slopeward evaluate {site} --dry-run"
)


@dataclass(frozen=True, slots=True)
class PresentDecision:
    """The decision that an evaluation would make now, or why it is not computed.

    Attributes:
        note: Why it is not computed; empty if it is.
        sentence: The level and its reason in one sentence.
        rain: Assessments of the criteria on rain.
        reasons: By criterion, the assessment of the station that requests the highest level.
    """

    note: str = ""
    tables: Sequence[EvidenceTable] = ()
    sentence: str = ""
    rain: Sequence[Mapping[str, Any]] = ()
    reasons: Mapping[str, Message] = field(default_factory=dict)


def evaluate_now(context: Context, site: Site | None) -> PresentDecision:
    """Return the decision that an evaluation would make now. Nothing is stored.

    All requests within `CACHED_FOR` share one result. It is not computed for a site whose evaluation loads many
    readings, so that pages do not delay the evaluation itself.
    """
    if site is None:
        return PresentDecision(note=_UNREADABLE())
    if count_rows(site) > SLOW_ROWS:
        return PresentDecision(note=_TOO_MUCH(site=site.id))
    now = context.clock()
    cached = context.dry_runs.get(site.version)
    if cached is not None and timedelta(0) <= now - cached[0] < CACHED_FOR:
        cached_decision: PresentDecision = cached[1]
        return cached_decision
    decision = evaluate_site(context.db, site, now, "page", dry_run=True).decision
    on_rain = {criterion.id for criterion in site.criteria if "rain" in criterion.kind.drawn}
    # `words` are the assessments. The last one of a criterion requests the highest level.
    assessments = sorted(
        decision.evidence["words"],
        key=lambda assessment: (assessment["raise_level"], assessment["hold_level"], assessment["newest_s"] or 0.0),
    )
    present = PresentDecision(
        tables=list_outcome_tables(cast("DecisionEvidence", decision.evidence)),
        sentence=decision.evidence["sentence"],
        rain=[assessment for assessment in decision.evidence["words"] if assessment["criterion"] in on_rain],
        reasons={
            assessment["criterion"]: LABELLED_TEXT(name=assessment["station"], text=assessment["reason"])
            for assessment in assessments
        },
    )
    context.dry_runs[site.version] = (now, present)
    return present
