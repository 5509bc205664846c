"""`slopeward maintenance`: people work on a station; its votes wait for a time, and the gravest never do."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer
from sqlalchemy import Connection

from monitor.cli.identity import act_by_two, acting, narrow_to_reader, prove
from monitor.cli.people.teams import By
from monitor.cli.session import LARGEST_ID, Commands, check_site, open_database, record_to_json, require_any, show
from monitor.domain.alert import Actor
from monitor.domain.instants import format_iso, parse, parse_duration_s
from monitor.errors import NeedsSecondError, NotFoundError, RefusedError
from monitor.store.alerting import maintenance as store
from monitor.store.alerting.sites import load_sites_summary
from monitor.store.people.countersign import TwoPersonAct
from monitor.store.people.users import load_users

app = Commands(no_args_is_help=True, help=__doc__)
WindowId = Annotated[
    int, typer.Argument(min=1, max=LARGEST_ID, metavar="ID", help="Number, see `slopeward maintenance list`")
]


@app.command("add")
def add(
    site: Annotated[str, typer.Argument(metavar="SITE", help="Site")],
    station: Annotated[str, typer.Argument(metavar="STATION", help="Station that is worked on")],
    reason: Annotated[str, typer.Option("--reason", help="What is done there")],
    for_: Annotated[str, typer.Option("--for", help="How long, such as 4h; 7d at most")] = "4h",
    from_: Annotated[str | None, typer.Option("--from", help="Begin, such as 2026-03-01T06:00Z; else now")] = None,
    second: Annotated[
        str | None,
        typer.Option(
            "--second",
            help="Second person: the votes of the station for the "
            "second highest level wait as well; those for the top never do",
        ),
    ] = None,
    by: By = None,
) -> None:
    """Declare work on a station: its votes are set aside, with this as the reason, until the time is over.

    Where accounts exist, --second asks for a second person: it is in force (exit 3 until then) once another account
    gives the same command within four hours.

    Example: slopeward maintenance add north-bench G1 --for 4h --by "R. Mori" --reason "new mast"
    """
    try:
        span = timedelta(seconds=parse_duration_s(for_))
        begin = None if from_ is None else parse(from_)
    except ValueError as error:
        raise RefusedError(f"--for, --from: {error}") from error
    with open_database() as db:
        who, now = prove(db, by, site), datetime.now(UTC)
        from_at = now if begin is None else begin

        def do(c: Connection, other: Actor | None) -> dict[str, Any]:
            known = [s.id for s in load_sites_summary(c)]
            if site not in known:
                raise NotFoundError(f"no site {site!r} is watched; there are: {', '.join(known) or 'none'}")
            if second is not None and other is None and load_users(c):
                raise NeedsSecondError("a maintenance by two people")
            number = store.add_maintenance(
                c, site, station, from_at, from_at + span, who, reason, now, second=None if second is None else other
            )
            return next(
                record_to_json(m) for m in store.load_maintenance(c, site, now, everything=True) if m.id == number
            )

        from_text = None if begin is None else format_iso(begin)
        terms = {"for_s": span.total_seconds(), "from": from_text, "two": second is not None}
        again = f"slopeward maintenance add {site} {station} --for {for_}{f' --from {from_}' if from_ else ''}"
        facts = act_by_two(
            db,
            TwoPersonAct("maintenance.add", f"station:{site}/{station}", terms),
            who,
            second,
            reason,
            f"{again} --second {who.name}",
            do,
        )
        number = facts["id"]
    show(facts, f"maintenance {number}: {site} {station} until {facts['to_at'][:16]}Z")


@app.command("end")
def end(
    number: WindowId, reason: Annotated[str, typer.Option("--reason", help="Why; such as: work is done")], by: By = None
) -> None:
    """End a maintenance before its time; the votes count again within seconds.

    Example: slopeward maintenance end 3 --reason "mast stands, readings are sound"
    """
    with acting(by, lambda c: store.find_site_of_maintenance(c, number)) as (c, who, now):
        store.end_maintenance(c, number, who, reason, now)
        done = next(m for m in store.load_maintenance(c, None, now, everything=True) if m.id == number)
    again = f"slopeward offsets propose --site {done.site} --station {done.station} --maintenance {number}"
    line = f"maintenance {number} is over; was a sensor replaced or moved? Once it has sent readings: {again}"
    show({"id": number, "ended": True, "propose": again}, line)


@app.command("list")
def list_(
    site: Annotated[str | None, typer.Option("--site", help="Only this site")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Those that are over as well")] = False,
) -> None:
    """List maintenance that is declared and not over; exit 4 when there is none.

    Example: slopeward maintenance list --site north-bench --all
    """
    with open_database() as db, db.read() as c:
        found = store.load_maintenance(c, narrow_to_reader(c, site), datetime.now(UTC), everything=everything)
        check_site(c, site, found)
    for one in found:
        facts = record_to_json(one)
        people = one.by + (f" with {one.second_by}" if one.second_by else "")
        over = f", ended {facts['ended_at'][:16]}Z by {one.ended_by}" if one.ended_at else ""
        line = f"{one.id:>4} {one.site} {one.station} {facts['from_at'][:16]}Z to {facts['to_at'][:16]}Z{over}"
        show(facts, f"{line}, {people}: {one.reason}")
    require_any(found, "no maintenance")
