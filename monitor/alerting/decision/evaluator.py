"""The evaluations of all sites by one thread: each leaves in memory what saves the next one of its site work."""

from datetime import datetime, timedelta
from typing import Final

from monitor.alerting.decision.evaluate import EvaluationResult, evaluate_site
from monitor.alerting.decision.reading_cache import Looking
from monitor.domain.site import Site
from monitor.store.database.engine import Database

# readings and epochs of tracks held of all sites together, 0.4 kB each: some 350 MB; a site beyond it is read anew each
# time. The largest site that `check` lets pass stays below it with three criteria on every series
HOLD_MOST: Final = 900_000
AGAIN: Final = timedelta(hours=6)  # the longest that anything held is trusted, whatever the database says of it


class Evaluator:
    """Evaluates sites as `evaluate_site` does, one at a time.

    Args:
        hold_most: readings and epochs of tracks that may be held of all sites together.
    """

    def __init__(self, hold_most: int = HOLD_MOST) -> None:
        self._hold_most = hold_most
        self._lookings: dict[str, tuple[Looking, datetime]] = {}

    def __call__(
        self, db: Database, site: Site, now: datetime, trigger: str, *, draining: bool = False
    ) -> EvaluationResult:  # fmt: skip
        """Decide once for a site and store what came out; after an error nothing of the site is held."""
        held = self._lookings.pop(site.id, None)
        if held is None or held[0].site is not site or not timedelta(0) <= now - held[1] < AGAIN:
            held = (Looking(site), now)
        looking, since = held
        result = evaluate_site(db, site, now, trigger, draining=draining, looking=looking)
        if looking.count() + sum(other.count() for other, _ in self._lookings.values()) <= self._hold_most:
            self._lookings[site.id] = (looking, since)
        return result
