"""The registry of trained models: versions, checkpoints, scores, samples."""

from monitor.models.records import (
    TrainingResult,  # a trained checkpoint with its card, or the reason why nothing was trained
)

__all__ = [
    "TrainingResult",
]
