"""Photos of the field for a report: few and small. The digest proves figures, so it leaves them out."""

import base64
from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

from sqlalchemy import Connection

from monitor.extensions.reports.period import Period
from monitor.store.readings.photos import FieldPhoto, load_between

MOST: Final = 9
MOST_BYTES: Final = 400_000  # of all pictures of a report: it goes by mail


@dataclass(frozen=True, slots=True)
class Photos:
    """Those that a report shows, in order, each with its picture in base 64; and how many came in its time."""

    shown: tuple[tuple[FieldPhoto, str], ...] = ()
    count: int = 0


NO_PHOTOS: Final = Photos()


def load_photos(c: Connection, site: str, period: Period) -> Photos:
    """The newest photos that came in a period, as many as a mail bears."""
    photos, count = load_between(c, site, period.from_at, period.to_at, MOST)
    sizes = list(accumulate(len(one.small) for one in reversed(photos)))
    shown = photos[len(photos) - bisect_right(sizes, MOST_BYTES) :]
    return Photos(tuple((one, base64.b64encode(one.small).decode()) for one in shown), count)
