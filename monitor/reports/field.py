"""Photos of the field for a report: few and small. The digest proves figures, so it leaves them out."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection

from monitor.reports.period import Period
from monitor.store.readings.photos import load_between

MOST: Final = 9
MOST_BYTES: Final = 400_000  # of all pictures of a report: it goes by mail


@dataclass(frozen=True, slots=True)
class Photos:
    """Those that a report shows, in order, their pictures in base 64; and how many came in its time."""

    shown: tuple[Mapping[str, Any], ...] = ()
    count: int = 0


NO_PHOTOS: Final = Photos()


def load_photos(c: Connection, site: str, period: Period) -> Photos:
    """The newest photos that came in a period, as many as a mail bears."""
    rows, count = load_between(c, site, period.from_at, period.to_at, MOST)
    shown: list[Mapping[str, Any]] = []
    left = MOST_BYTES
    for row in reversed(rows):
        left -= len(row["small"])
        if left < 0:
            break
        shown.insert(0, {**row, "small": base64.b64encode(row["small"]).decode()})
    return Photos(tuple(shown), count)
