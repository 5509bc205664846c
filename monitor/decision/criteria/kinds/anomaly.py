"""What detectors of anomalies say: a score beyond the threshold that was counted for it."""

from typing import Final

from monitor.decision.criteria.history import no_window
from monitor.decision.records import AnomalyFact, DecisionInputs
from monitor.decision.series.assessment import Assessment, DecisionContext
from monitor.sites.criteria.entry import KindEntry
from monitor.sites.criteria.sections import AroundTable, LevelName
from monitor.sites.kinds import Kind
from monitor.sites.records import Criterion
from monitor.text.message import Figure, Message, Template, Term, Value

_NONE: Final = Template("criterion.anomaly.none", "no anomaly")()
_SCORES: Final = Template("criterion.anomaly.scores", "{quantity} scores {score} over {threshold} ({detector})")
_SCORES_AS: Final = Template(
    "criterion.anomaly.scores_as",
    "{quantity} scores {score} over {threshold} ({detector}): {kind}, compared with {text}",
)
_FAULT: Final = Template("criterion.anomaly.fault", "{quantity}: the check {detector} found a fault")
_FAULT_OF: Final = Template(
    "criterion.anomaly.fault_of", "{quantity}: the check {detector} found a fault ({kind}), compared with {text}"
)


class AnomalyTable(AroundTable):
    """kind = "anomaly"."""

    level: LevelName


def assess_anomalies(criterion: Criterion, context: DecisionContext) -> tuple[Assessment, ...]:
    """A score beyond its detector's threshold, as long as it is valid.

    As witness or part it hears the detectors alone that a test of this site speaks for, with the weights that were
    tested. A fault that a check found is no movement: it is never a vote.
    """
    level = criterion.thresholds[0].level
    tested = _list_tested(criterion, context.view)
    tested_rows = [a for a in context.view.anomalies if tested is None or (a.detector, a.model_hash) in tested]
    found = []
    for station in criterion.stations:
        rows = [
            a for a in tested_rows if a.station == station and 0.0 <= context.now_s - a.at_s <= criterion.valid_for_s
        ]
        if not rows:
            found.append(Assessment(criterion.id, station, reason=_NONE))
            continue
        worst = max(rows, key=lambda a: (a.at_s, a.detector))
        found.append(
            Assessment(
                criterion.id,
                station,
                level,
                level,
                has_data=True,
                newest_s=worst.at_s,
                reason=_explain(worst),
                facts={
                    "score": worst.score,
                    "threshold": worst.threshold,
                    "detector": worst.detector,
                    **({"kind": worst.kind, "compared_with": worst.compared_with} if worst.compared_with else {}),
                },
            )
        )
    return tuple(found)


def _list_tested(criterion: Criterion, view: DecisionInputs) -> set[tuple[str, str]] | None:
    """Detectors that may vote, with their weights; None where nothing asks for a test: then all are heard."""
    if not view.proofs or criterion.role == "advice":
        return None
    return {(f.name, f.weights) for f in view.proofs if f.criterion == criterion.id and f.passed}


def _explain(worst: AnomalyFact) -> Message:
    """A check has no score: it finds a fault or none, and both figures of its row are 1."""
    values: dict[str, Value] = {"quantity": Term(worst.quantity), "detector": worst.detector}
    fault = worst.score <= worst.threshold
    if not fault:
        values |= {"score": Figure(worst.score, ".2f"), "threshold": Figure(worst.threshold, ".2f")}
    if not worst.compared_with:
        return _FAULT(**values) if fault else _SCORES(**values)
    values |= {"kind": Term(worst.kind.replace("-", " ")), "text": worst.compared_with}
    return _FAULT_OF(**values) if fault else _SCORES_AS(**values)


ENTRY: Final = KindEntry(
    Kind(
        id="anomaly",
        role="advice",
        source="suggestion",
        facts="anomalies",
        feature="anomalies",
        plan="anomaly",
        loosening="bounds",
    ),
    AnomalyTable,
    None,
    assess_anomalies,
    implied_s=lambda slowest_s: max(86400.0, 2.0 * slowest_s),
    history_s=no_window,
    fact_type=AnomalyFact,
    example="""
level = "yellow"
""",
)
