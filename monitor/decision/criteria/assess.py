"""Assess the witnesses of a criterion by the rule of its kind."""

from typing import Final

from monitor.decision.series.assessment import Assessment, Assessments, DecisionContext
from monitor.sites.criteria.registry import load_criteria
from monitor.sites.records import Criterion
from monitor.sites.witnesses import list_voting_witnesses
from monitor.text.message import Message, Template

_FAILED: Final = Template("criterion.failed", "the rule of the plugin {name} failed: see the log of the service")
_NO_FEATURE: Final = Template("criterion.no_feature", "the feature {name} is not installed")
_NO_FACTS: Final = Template(
    "criterion.no_facts", "the plugin {name} could not load its data: see the log of the service"
)


def assess_criterion(criterion: Criterion, context: DecisionContext) -> Assessments:
    """Return the assessments of a criterion.

    If its facts could not be loaded, or the rule of a third-party plugin fails, every witness is assessed as one
    without data. It raises no level, its earlier vote expires, and the observability of the site is not "full".
    """
    entry = load_criteria()[criterion.kind.id]
    if criterion.kind.facts in context.inputs.missing_facts:
        feature = criterion.kind.feature
        reason = _NO_FACTS(name=entry.plugin) if feature is None else _NO_FEATURE(name=feature)
        return _assess_as_failed(criterion, context, reason)
    assessments = entry.rule(criterion, context)
    if assessments is None:
        return _assess_as_failed(criterion, context, _FAILED(name=entry.plugin))
    return assessments


def _assess_as_failed(criterion: Criterion, context: DecisionContext, reason: Message) -> Assessments:
    witnesses = list_voting_witnesses(context.site, criterion)
    return [Assessment(criterion.id, voting.name, reason=reason, has_failed=True) for voting in witnesses]
