"""Training of detectors in a worker process. This module imports no database."""

from detection.anomaly.records import DetectorTraining
from monitor.api.models import TrainingResult


def train_detector(request: DetectorTraining) -> TrainingResult:
    """Train a detector. Return the reason if the record is not sufficient."""
    from detection.anomaly.jobs import train
    from detection.anomaly.records import AnomalyError

    try:
        checkpoint = train(request)
    except AnomalyError as error:
        return TrainingResult(refused=str(error))
    return TrainingResult(checkpoint.model_hash, checkpoint.checkpoint, checkpoint.card)
