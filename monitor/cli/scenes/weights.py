"""`slopeward scenes promote|retire`: whether a network that was learnt for a site reads its scenes."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from monitor.cli.forecast.models import By, HashArgument, Reason
from monitor.cli.identity import prove
from monitor.cli.session import SiteOption, open_site, show

if TYPE_CHECKING:
    from collections.abc import Callable

EXAMPLES: Final = {
    "promote": 'Example: slopeward scenes promote 3fa1b2 --site north-bench --reason "better on our own ground"',
    "retire": 'Example: slopeward scenes retire 3fa1b2 --site north-bench --reason "learnt from outlines of last year"',
}


def promote(model_hash: HashArgument, site: SiteOption, reason: Reason, by: By = None) -> None:
    """Let a network that was learnt for a site read its scenes first, where weights are chosen scene by scene."""
    from monitor.jobs.scenes import model_acts

    _act(model_acts.promote, model_hash, site, reason, by, before=model_acts.try_weights)


def retire(model_hash: HashArgument, site: SiteOption, reason: Reason, by: By = None) -> None:
    """Let a network that was learnt for a site go: it reads no more scenes; what it found stays."""
    from monitor.jobs.scenes import model_acts

    _act(model_acts.retire, model_hash, site, reason, by)


def _act(
    act: "Callable[..., str]",
    model_hash: str,
    site: str,
    reason: str,
    by: str | None,
    *,
    before: "Callable[..., None] | None" = None,
) -> None:
    _, db, one = open_site(site)
    with db:
        who, now = prove(db, by, site), datetime.now(UTC)
        if before is not None:
            with db.read() as c:  # takes seconds, in which others write
                before(c, one, model_hash)
        outcome = db.do(act, one, model_hash, who, reason, now)
    show({"site": site, "said": outcome}, outcome)
