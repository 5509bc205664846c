"""Assess the witnesses of a criterion by the rule of its kind."""

from typing import Final

from monitor.decision.series.assessment import Assessment, Assessments, DecisionContext
from monitor.sites.criteria.registry import load_criteria
from monitor.sites.records import Criterion
from monitor.sites.witnesses import list_voting_witnesses
from monitor.text.message import Template

_FAILED: Final = Template("criterion.failed", "the rule of the plugin {name} failed")


def assess_criterion(criterion: Criterion, context: DecisionContext) -> Assessments:
    """Return the assessments of a criterion.

    If the rule of a third-party plugin fails, every witness is assessed as one without data: it raises no level, and
    its earlier vote ages.
    """
    entry = load_criteria()[criterion.kind.id]
    assessments = entry.rule(criterion, context)
    if assessments is not None:
        return assessments
    reason = _FAILED(name=entry.plugin)
    witnesses = list_voting_witnesses(context.site, criterion)
    return [Assessment(criterion.id, voting.witness, reason=reason) for voting in witnesses]
