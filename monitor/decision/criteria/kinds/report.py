"""Reports of observers. All observers together are one witness."""

from typing import Final

from pydantic import Field

from monitor.decision.criteria.history import no_window
from monitor.decision.keys import VoteKey
from monitor.decision.records import ReportFact
from monitor.decision.series.assessment import Assessment, DecisionContext
from monitor.sites.criteria.entry import KindEntry
from monitor.sites.criteria.places import Places
from monitor.sites.criteria.sections import CriterionTable, LevelName, add_params
from monitor.sites.kinds import Kind
from monitor.sites.records import Criterion
from monitor.sites.witnesses import OBSERVERS
from monitor.text.message import Figure, Template, Term

# Characters of a reason. A longer text of a report is cut.
MAX_REASON_LENGTH: Final = 200
_NONE: Final = Template("criterion.report.none", "no report")()
_REPORTED: Final = Template("criterion.report", "{kind} reported by {name}: {report}")
_TOO_FEW: Final = Template("criterion.report.too_few", "{kind} reported by {n} observers, {n2} needed")


class ReportTable(CriterionTable):
    """kind = "report"."""

    kinds: tuple[str, ...] = Field(min_length=1, description="kinds of report that count")
    needs: int = Field(default=1, ge=1, description="different observers needed within `valid_for`")
    level: LevelName

    def complete(self, criterion: Criterion, places: Places) -> Criterion:
        """Return the criterion with the number of observers that it needs."""
        del places
        return add_params(criterion, needs=self.needs)


def assess_reports(criterion: Criterion, context: DecisionContext) -> tuple[Assessment, ...]:
    """Return one assessment of all recent reports whose kind counts.

    It is never fresh, because the absence of reports shows nothing: a level that reports raised is lowered only by a
    person.
    """
    answered_s = context.find_answered_until_s(VoteKey(criterion.id, OBSERVERS))
    reports = [
        report
        for report in context.inputs.reports
        if (not criterion.kinds or report.kind in criterion.kinds)
        and report.at_s > answered_s
        and 0.0 <= context.now_s - report.at_s <= criterion.valid_for_s
    ]
    if not reports:
        return (Assessment(criterion.id, OBSERVERS, reason=_NONE),)
    newest = max(reports, key=lambda report: (report.at_s, report.text))
    kind = Term(newest.kind)
    needed = dict(criterion.params).get("needs", 1.0)
    observers = {report.credential for report in reports}
    if len(observers) < needed:
        reason = _TOO_FEW(kind=kind, n=len(observers), n2=Figure(needed))
        return (Assessment(criterion.id, OBSERVERS, reason=reason),)
    level = criterion.thresholds[0].level
    text_length = MAX_REASON_LENGTH - len(_REPORTED(kind=kind, name=newest.by, report=""))
    return (
        Assessment(
            criterion.id,
            OBSERVERS,
            level,
            level,
            has_data=True,
            newest_s=newest.at_s,
            reason=_REPORTED(kind=kind, name=newest.by, report=newest.text[: max(0, text_length)]),
            facts={"count": len(reports)},
        ),
    )


ENTRY: Final = KindEntry(
    Kind(
        id="report",
        source="observers",
        witness=OBSERVERS,
        facts="reports",
        loosening="bounds",
        safe_params=(("needs", "lower"),),
    ),
    ReportTable,
    None,
    assess_reports,
    history_s=no_window,
    fact_type=ReportFact,
    example="""
kinds = ["rockfall"]
level = "yellow"
""",
)
