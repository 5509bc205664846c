"""What a changed site file would have done: both declarations over the same past, by the same replay as a backtest."""

import time
from datetime import datetime, timedelta
from typing import Final, cast

from forecasting.message import Figure, Template
from monitor.alerting.acts.site_diff import StoredEffect
from monitor.domain.errors import SlopewardError
from monitor.domain.instants import format_iso
from monitor.domain.site import Site
from monitor.replay.apart import ChildProcess, SendLine
from monitor.replay.backtest import Progress, run_backtest
from monitor.store.database.engine import Database

MONTH: Final = timedelta(days=30)
_NOT_WANTED: Final = Template("effect.not_asked", "not asked for (--months 0)")
FAILED: Final = Template("effect.failed", "the replay failed: {problem}")
_LONG: Final = Template("effect.long", "the replay was ended after {minutes}; ask for fewer months")
_SILENT: Final = Template("effect.silent", "the replay stopped without an answer; the log says why")
_ALONE: Final = Template("effect.alone", "A, proposed")
_IN_FORCE: Final = Template("effect.in_force", "A, in force")
_PROPOSED: Final = Template("effect.proposed", "B, proposed")


def preview_effect(
    db: Database, old: Site | None, new: Site, now: datetime, months: int, *, on_progress: Progress | None = None
) -> StoredEffect:
    """The effect of a change on the last months, JSON-ready, as it is stored with a proposal.

    Where it was not asked for or cannot be computed, `skipped` says so; a change that loosens a high level needs it.

    Args:
        months: of 30 days; 0 computes nothing.
    """
    if months == 0:
        return {"skipped": _NOT_WANTED()}
    from_at = now - months * MONTH
    facts: StoredEffect = {"from": format_iso(from_at), "to": format_iso(now), "months": months}
    other = None if old is None else new
    try:
        card = run_backtest(db, new if old is None else old, from_at, now, other=other, on_progress=on_progress)
    except SlopewardError as error:
        return {**facts, "skipped": FAILED(problem=error.message)}
    names = [_ALONE()] if old is None else [_IN_FORCE(), _PROPOSED()]
    return {**facts, "names": names, "scorecard": card.to_json()}


def preview_apart(url: str, old: Site | None, new: Site, now: datetime, months: int, *, limit_s: float) -> StoredEffect:
    """The same in a process of its own with a lower priority: whoever asked goes on answering others meanwhile.

    Args:
        limit_s: the replay is ended after so long.
    """
    began_s = time.monotonic()
    child = ChildProcess("monitor.replay.effect:play", url, old, new, now, months)
    try:
        for line in child.lines(limit_s):
            if isinstance(line, dict):
                return cast("StoredEffect", line)
    finally:
        child.end()
    if time.monotonic() - began_s >= limit_s:
        return {"skipped": _LONG(minutes=Figure(limit_s / 60, ".0f", "min"))}
    return {"skipped": _SILENT()}


def play(send: SendLine, url: str, old: Site | None, new: Site, now: datetime, months: int) -> None:
    """The child's part: the share that is done, again and again, then the effect."""
    with Database(url) as db:
        send(preview_effect(db, old, new, now, months, on_progress=send))
