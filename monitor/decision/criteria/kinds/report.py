"""What observers report; all observers are one witness."""

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

LONGEST: Final = 200  # letters of a reason; what a person wrote is cut
_NONE: Final = Template("criterion.report.none", "no report")()
_REPORTED: Final = Template("criterion.report", "{kind} reported by {name}: {report}")
_TOO_FEW: Final = Template("criterion.report.too_few", "{kind} reported by {n} of {n2} observers that are needed")


class ReportTable(CriterionTable):
    """kind = "report"."""

    kinds: tuple[str, ...] = Field(min_length=1, description="of report that vote")
    needs: int = Field(default=1, ge=1, description="so many different observers within `valid_for`")
    level: LevelName

    def complete(self, criterion: Criterion, places: Places) -> Criterion:
        """With how many observers must say so."""
        del places
        return add_params(criterion, needs=self.needs)


def assess_reports(criterion: Criterion, context: DecisionContext) -> tuple[Assessment, ...]:
    """One answer for all reports of the kinds that count."""
    after = context.answered_s(VoteKey(criterion.id, OBSERVERS))
    rows = [
        r
        for r in context.view.reports
        if (not criterion.kinds or r.kind in criterion.kinds)
        and r.at_s > after
        and 0.0 <= context.now_s - r.at_s <= criterion.valid_for_s
    ]
    if not rows:
        return (Assessment(criterion.id, OBSERVERS, reason=_NONE),)
    newest = max(rows, key=lambda r: (r.at_s, r.text))
    needs, observers = dict(criterion.params).get("needs", 1.0), {r.credential for r in rows}
    if len(observers) < needs:
        reason = _TOO_FEW(kind=Term(newest.kind), n=len(observers), n2=Figure(needs))
        return (Assessment(criterion.id, OBSERVERS, reason=reason),)
    level = criterion.thresholds[0].level
    kind = Term(newest.kind)
    room = LONGEST - len(_REPORTED(kind=kind, name=newest.by, report=""))
    return (
        Assessment(
            criterion.id,
            OBSERVERS,
            level,
            level,
            has_data=True,
            newest_s=newest.at_s,
            reason=_REPORTED(kind=kind, name=newest.by, report=newest.text[: max(0, room)]),
            facts={"count": len(rows)},
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
