"""The service file and secrets."""

from monitor.sections import (
    Duration,  # type of a key such as `window = "1d"`; its value is in seconds
)
from monitor.settings.service import (
    ServiceConfig,  # the service file with all defaults
)

__all__ = [
    "Duration",
    "ServiceConfig",
]
