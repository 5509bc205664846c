"""Records about models that workers may use, because this module imports no database."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """A trained checkpoint with its card, or the reason why a worker trained nothing."""

    model_hash: str = ""
    path: str = ""
    card: dict[str, Any] = field(default_factory=dict)
    refused: str = ""
