"""Whether the core of the service decides, by the newest sign of life that it wrote."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

CORE_SILENT: Final = timedelta(minutes=1)  # core writes its sign every few seconds; older than this, nobody evaluates
STOPPED: Final = "stopped"


def is_silent(core: tuple[datetime, Mapping[str, Any]], at: datetime) -> bool:
    """Whether core was stopped or lost by an instant.

    >>> from datetime import UTC
    >>> noon = datetime(2026, 3, 1, 12, tzinfo=UTC)
    >>> is_silent((noon, {"state": "running"}), noon + CORE_SILENT), is_silent((noon, {"state": "stopped"}), noon)
    (False, True)
    """
    return core[1].get("state") == STOPPED or at - core[0] > CORE_SILENT
