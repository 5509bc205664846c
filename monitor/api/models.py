"""Models that a site asks for."""

from monitor.models.lacking import (
    AwaitedModel,  # a model that does not exist yet
    LackingModels,  # what the hook `lacking_models` returns
    await_rows,  # makes an AwaitedModel from the readings that there are
)

__all__ = [
    "AwaitedModel",
    "LackingModels",
    "await_rows",
]
