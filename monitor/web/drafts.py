"""Changes of bounds that somebody tries out on the page: kept in memory until they are proposed or forgotten."""

import logging
import secrets
import threading
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from forecasting.message import Template
from monitor.alerting.acts.change_control import ProposedChange
from monitor.alerting.acts.site_diff import StoredEffect
from monitor.domain.errors import NotFoundError, RefusedError
from monitor.replay.effect import FAILED, preview_apart
from monitor.web.context import Context

_LOG = logging.getLogger(__name__)
MOST: Final = 40  # kept at once; the oldest that is done goes first, none that is at work
MOST_EACH: Final = 3  # at work or waiting, of one person
MOST_DONE: Final = 10  # of one person
LASTS: Final = timedelta(hours=12)
_YOURS_PLAY: Final = Template("draft.yours_play", "{count} of your changes are being replayed; wait for one of them")
_MANY_PLAY: Final = Template("draft.many_play", "{count} changes are being replayed; wait for one of them")
_GONE: Final = Template("draft.gone", "this draft is gone: drafts last 12 hours and end with a restart; enter it anew")


@dataclass(slots=True)
class Draft:
    """A change, who tries it, and how far its replay came; `effect` is empty until it is done."""

    id: str
    site: str
    text: str
    by: str
    reason: str
    at: datetime
    months: int
    change: ProposedChange
    share: float = 0.0
    effect: StoredEffect = field(default_factory=StoredEffect)


class Drafts:
    """Those of this process; one replay at a time."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._drafts: dict[str, Draft] = {}
        self._lock, self._turn = threading.Lock(), threading.Semaphore(1)

    def begin(self, text: str, change: ProposedChange, by: str, reason: str, months: int) -> Draft:
        """Keep a change and start its replay.

        Raises:
            RefusedError: the person has as many at work as one may.
        """
        now = self._context.clock()
        draft = Draft(secrets.token_hex(8), change.new.id, text, by, reason, now, months, change)
        with self._lock:
            if sum(one.by == by and not one.effect for one in self._drafts.values()) >= MOST_EACH:
                raise RefusedError(_YOURS_PLAY(count=MOST_EACH))
            mine = [k for k, one in self._drafts.items() if one.by == by and one.effect]
            done = [k for k, one in self._drafts.items() if one.effect]  # the oldest first, as all here
            gone = {*mine[: max(0, len(mine) + 1 - MOST_DONE)], *done[: max(0, len(self._drafts) + 1 - MOST)]}
            self._drafts = {k: one for k, one in self._drafts.items() if now - one.at < LASTS and k not in gone}
            if len(self._drafts) >= MOST:
                raise RefusedError(_MANY_PLAY(count=MOST))
            self._drafts[draft.id] = draft
        threading.Thread(target=self._play, args=(draft,), name=f"draft-{draft.id}", daemon=True).start()
        return draft

    def find(self, draft_id: str, site: str, by: str) -> Draft:
        """A person's own draft; raises NotFoundError."""
        found = self._drafts.get(draft_id)
        if found is None or found.site != site or found.by != by:
            raise NotFoundError(_GONE())
        return found

    def drop(self, draft: Draft) -> None:
        """Forget one; its replay ends."""
        with self._lock:
            self._drafts.pop(draft.id, None)

    def _play(self, draft: Draft) -> None:
        def report(share: float) -> None:
            draft.share = share

        url = self._context.db.url.render_as_string(hide_password=False)
        try:
            with self._turn:
                draft.effect = preview_apart(
                    url,
                    draft.change.old,
                    draft.change.new,
                    draft.at,
                    draft.months,
                    on_progress=report,
                    limit_s=self._context.config.compute.job_limit_s,
                    is_wanted=lambda: draft.id in self._drafts,
                )
        except Exception as error:  # the person is told; the page goes on
            _LOG.exception("draft %s", draft.id)
            draft.effect = {"skipped": FAILED(problem=type(error).__name__)}
