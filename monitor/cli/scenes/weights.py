"""`slopeward scenes promote|retire`: whether a network that was learnt for a site reads its scenes."""

from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from monitor.cli.identity import prove
from monitor.cli.session import ConfigOption, JsonOption, SiteOption, open_service, pick_site, show

if TYPE_CHECKING:
    from collections.abc import Callable

EXAMPLES: Final = {
    "promote": 'Example: slopeward scenes promote 3fa1b2 --site north-bench --reason "better on our own ground"',
    "retire": 'Example: slopeward scenes retire 3fa1b2 --site north-bench --reason "learnt from outlines of last year"',
}
HashArgument = Annotated[str, typer.Argument(metavar="HASH", help="Beginning of its hash, see `forecast models`.")]
By = Annotated[str | None, typer.Option("--by", help="Who; else the account of the OS user.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; it is kept with the change.")]


def promote(
    model_hash: HashArgument, site: SiteOption, reason: Reason, by: By = None, config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:  # fmt: skip
    """Let a network that was learnt for a site read its scenes first, where weights are chosen scene by scene."""
    from monitor.jobs.scenes import model_acts

    _act(model_acts.promote, model_hash, site, reason, by, config, as_json=as_json, before=model_acts.try_weights)


def retire(
    model_hash: HashArgument, site: SiteOption, reason: Reason, by: By = None, config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:  # fmt: skip
    """Let a network that was learnt for a site go: it reads no more scenes; what it found stays."""
    from monitor.jobs.scenes import model_acts

    _act(model_acts.retire, model_hash, site, reason, by, config, as_json=as_json)


def _act(
    act: "Callable[..., str]", model_hash: str, site: str, reason: str, by: str | None, config: Path | None, *,
    as_json: bool, before: "Callable[..., None] | None" = None,
) -> None:  # fmt: skip
    service, db = open_service(config)
    one = pick_site(service, site)
    with closing(db):
        who, now = prove(db, by, site), datetime.now(UTC)
        if before is not None:
            with db.read() as c:  # takes seconds, in which others write
                before(c, one, model_hash)
        with db.write() as c:
            said = act(c, one, model_hash, who, reason, now)
    show({"site": site, "said": said}, said, as_json)
