"""`slopeward level`: a person sets the hazard level of a site, with a reason."""

from datetime import UTC, datetime
from typing import Annotated

import typer
from sqlalchemy import Connection

from monitor.alerting.acts.operator_acts import find_asking, measure_stake, order_level_of
from monitor.cli.identity import act_by_two, prove
from monitor.cli.session import Commands, open_database, pick_site, print_note, read_service, show, take_site
from monitor.domain.alert import Actor
from monitor.domain.site import Site
from monitor.errors import RefusedError
from monitor.store.people.countersign import TwoPersonAct

app = Commands(no_args_is_help=True, help=__doc__)


@app.callback()
def level() -> None:
    """Set a level by hand."""


@app.command("set")
def set_(
    site_id: Annotated[str, typer.Argument(metavar="SITE", help="Site")],
    name: Annotated[str, typer.Argument(metavar="LEVEL", help="Name of the level, or its number")],
    reason: Annotated[str, typer.Option("--reason", help="Why; it is sent with the level")],
    by: Annotated[str | None, typer.Option("--by", help="Who decides; else the account of the OS user")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Lower the level although something asks for more.")] = False,
) -> None:
    """Set the hazard level. Raised, it stands until a person lowers it; lowered, only newer data raise it again.

    A lower level is refused while something asks for more; what asks is shown, and `--yes` lowers it all the same.
    Where accounts exist, below one of the two highest levels takes two people: the first command leaves a signature
    (exit 3), the same command by another account within four hours does it.

    Example: slopeward level set north-bench yellow --by "R. Mori" --reason "inspected on foot, crack is dry"
    """
    site = pick_site(read_service(), site_id)
    signers: list[str] = []
    with open_database() as db:
        who, now = prove(db, by, site.id), datetime.now(UTC)
        site = take_site(db, site, "level set", now)
        number = _find_level(site, name)
        asking = find_asking(db, site, number, now) if yes else []  # without --yes they stand in the refusal
        level_name = site.levels[number].name

        def do(c: Connection, second: Actor | None) -> int:
            signers[:] = [who.name] if second is None else [second.name, who.name]
            return order_level_of(c, site, number, who, reason, now, sure=yes, second=second)

        act = TwoPersonAct("level.set", f"site:{site.id}", {"to": number})
        again = f"slopeward level set {site.id} {level_name}{' --yes' if yes else ''}"
        before = act_by_two(db, act, who, None, reason, again, do, lambda c: measure_stake(c, site))
    for one in asking if number < before else ():
        print_note(one)
    line = f"{site.id}: {site.levels[before].name} -> {level_name}"
    facts = {"site": site.id, "from": before, "to": number, "level_name": level_name, "signed_by": signers}
    show(facts, line)


def _find_level(site: Site, name: str) -> int:
    for known in site.levels:
        if name in {known.name, str(known.number)}:
            return known.number
    raise RefusedError(f"{site.id} has no level {name!r}; expected one of: {', '.join(k.name for k in site.levels)}")
