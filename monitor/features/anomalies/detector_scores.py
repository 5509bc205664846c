"""What each detector reported during the time of a replay, and how people labelled it."""

from collections.abc import Iterable
from dataclasses import replace

from monitor.api.queries.alerts import DetectorScore
from monitor.api.sites import CONFIRMED, DISMISSED
from monitor.features.anomalies.queries.budget import BudgetMeasurement
from monitor.features.anomalies.queries.labels import AnomalyRun


def score_detectors(
    runs: Iterable[AnomalyRun], measurements: Iterable[BudgetMeasurement] = ()
) -> tuple[DetectorScore, ...]:
    """Count the labels of anomalies by detector.

    Args:
        runs: Anomalies with their newest labels.
        measurements: False alarms of each detector beside its budget.
    """
    measured = {measurement.detector: measurement for measurement in measurements}
    verdicts: dict[str, list[str]] = {}
    for run in runs:
        verdict = "" if run.label is None else str(run.label.verdict)
        for detector in run.detectors:
            verdicts.setdefault(detector, []).append(verdict)
    return tuple(_score(detector, verdicts[detector], measured.get(detector)) for detector in sorted(verdicts))


def _score(detector: str, verdicts: list[str], measurement: BudgetMeasurement | None) -> DetectorScore:
    score = DetectorScore(detector, len(verdicts), verdicts.count(CONFIRMED), verdicts.count(DISMISSED))
    if measurement is None:
        return score
    return replace(
        score,
        false_alarms=measurement.describe(),
        budget_per_sensor_month=measurement.budget,
        factor=measurement.factor,
    )
