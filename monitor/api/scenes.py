"""Methods that read scenes without a network."""

from monitor.features.scenes.methods import (
    SceneMethod,  # one method
)
from monitor.features.scenes.tasks import (
    DateAssessment,  # how a scene compares with earlier dates
    KnownDate,  # a scene that was read before
    PlaceValue,  # a value of a station or place, stored as a reading
    ReadScene,  # what a method returns
    SceneRequest,  # the scene to read, and where to write its files
)

__all__ = [
    "DateAssessment",
    "KnownDate",
    "PlaceValue",
    "ReadScene",
    "SceneMethod",
    "SceneRequest",
]
