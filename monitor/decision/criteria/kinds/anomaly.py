"""Anomalies: scores of detectors beyond the threshold of the detector, and faults found by checks."""

from typing import Final

from monitor.decision.criteria.history import no_window
from monitor.decision.records import AnomalyFact
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
    """Return one assessment for each station, from the newest anomaly that is still valid.

    A criterion with the role witness or part uses only detectors whose present weights and settings passed a test at
    this site that is still valid. A fault found by a check is not a movement and never a vote.
    """
    level = criterion.thresholds[0].level
    tested = _list_tested(criterion, context)
    anomalies = [a for a in context.inputs.anomalies if tested is None or (a.detector, a.model_hash) in tested]
    assessments = []
    for station_id in criterion.stations:
        valid = [
            anomaly
            for anomaly in anomalies
            if anomaly.station == station_id and 0.0 <= context.now_s - anomaly.at_s <= criterion.valid_for_s
        ]
        if not valid:
            assessments.append(Assessment(criterion.id, station_id, reason=_NONE))
            continue
        newest = max(valid, key=lambda anomaly: (anomaly.at_s, anomaly.detector))
        facts = {"score": newest.score, "threshold": newest.threshold, "detector": newest.detector}
        if newest.compared_with:
            facts |= {"kind": newest.kind, "compared_with": newest.compared_with}
        assessments.append(
            Assessment(
                criterion.id,
                station_id,
                level,
                level,
                has_data=True,
                newest_s=newest.at_s,
                reason=_explain(newest),
                facts=facts,
            )
        )
    return tuple(assessments)


def _list_tested(criterion: Criterion, context: DecisionContext) -> set[tuple[str, str]] | None:
    """Return the detectors that can vote, with their weights; None if every detector can."""
    proofs = context.inputs.proofs
    if not proofs or criterion.role == "advice":
        return None
    return {
        (proof.name, proof.weights)
        for proof in proofs
        if proof.criterion == criterion.id and proof.holds(context.now_s)
    }


def _explain(anomaly: AnomalyFact) -> Message:
    values: dict[str, Value] = {"quantity": Term(anomaly.quantity), "detector": anomaly.detector}
    # A check has no score. Both figures of its row are 1.
    is_fault = anomaly.score <= anomaly.threshold
    if not is_fault:
        values["score"] = Figure(anomaly.score, ".2f")
        values["threshold"] = Figure(anomaly.threshold, ".2f")
    if not anomaly.compared_with:
        return _FAULT(**values) if is_fault else _SCORES(**values)
    values["kind"] = Term(anomaly.kind.replace("-", " "))
    values["text"] = anomaly.compared_with
    return _FAULT_OF(**values) if is_fault else _SCORES_AS(**values)


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
