"""The registry of trained models: versions, checkpoints, scores, samples."""

from monitor.models.records import (
    TrainingResult,  # A trained checkpoint with its card, or the reason why a worker trained nothing
)

__all__ = [
    "TrainingResult",
]
