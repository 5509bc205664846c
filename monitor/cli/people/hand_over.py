"""`slopeward people duty hand-over`: who goes writes what is open and signs, who comes reads it and signs as well."""

from datetime import UTC, datetime
from typing import Annotated, Any, Final

import typer
from sqlalchemy import Connection

from monitor.alerting.acts.change_control import find_in_force
from monitor.cli.acts import add_acts, list_sentences
from monitor.cli.identity import require_readable
from monitor.cli.session import Commands, check_site, open_database, show
from monitor.domain.errors import NotFoundError
from monitor.domain.instants import format_iso, parse
from monitor.domain.language.local_time import format_local
from monitor.domain.site import Site
from monitor.store.alerting import duty as store
from monitor.store.alerting.duty import Handover

SiteName = Annotated[str, typer.Argument(metavar="SITE", help="Site")]
TeamOption = Annotated[str | None, typer.Option("--team", help="Team; needed where the site has several")]


def find_site(c: Connection, site: str) -> Site:
    """The site as it is in force; raises NotFoundError."""
    found = find_in_force(c, site)
    if found is None:
        check_site(c, site)
        raise NotFoundError(
            f"site {site!r} is not in force yet: start the service, or run `slopeward evaluate --site {site}`"
        )
    return found


app = Commands(no_args_is_help=True, help=__doc__)
add_acts(app, "people duty hand-over")
SHOWN: Final = 5  # signed ones, the newest


@app.command("show")
def show_(site: SiteName) -> None:
    """Show what is open now, the hand-over that waits for who comes, and the last ones that both signed.

    Example: slopeward people duty hand-over show north-bench
    """
    now = datetime.now(UTC)
    with open_database() as db, db.read() as c:
        require_readable(c, site)
        zone = find_site(c, site).timezone
        items, every = store.gather_open(c, site, now, list_sentences), store.load_handovers(c, site)
    waiting = [one for one in every if one.signed_at is None]
    signed = [one for one in every if one.signed_at is not None][:SHOWN]
    facts = {
        "site": site,
        "at": format_iso(now),
        "open": items,
        "waiting": [_to_json(one) for one in waiting],
        "signed": [_to_json(one) for one in signed],
    }
    lines = [f"open at {site} now:", *_list_items(items, zone)]
    for one in waiting:
        lines += [f"hand-over {one.id} of {one.team}: {one.outgoing} signed at {format_local(one.at, zone)}"]
        lines += [f"  {line}" for line in one.notes.splitlines()]
        lines += ["  open then:", *(f"  {line}" for line in _list_items(one.open_items, zone))]
        lines += [f"  who comes signs: slopeward people duty hand-over sign {site} {one.id} --by NAME"]
    lines += [] if waiting else ["no hand-over waits for who comes"]
    lines += [
        f"{format_local(one.signed_at, zone)} {one.outgoing} to {one.incoming} ({one.team})"
        for one in signed
        if one.signed_at is not None
    ]
    show(facts, "\n".join(lines))


def _to_json(one: Handover) -> dict[str, Any]:
    return {
        "handover_id": one.id,
        "team": one.team,
        "since": one.since_at and format_iso(one.since_at),
        "at": format_iso(one.at),
        "outgoing": one.outgoing,
        "notes": one.notes,
        "open": one.open_items,
        "signed_at": one.signed_at and format_iso(one.signed_at),
        "incoming": one.incoming,
        "remark": one.remark,
    }


def _list_items(items: store.OpenItems, zone: str) -> list[str]:
    def local(at: str) -> str:
        return format_local(parse(at), zone)

    more = items["alerts_count"] - len(items["alerts"])
    return [
        f"  level: {items['level_name'] or 'not evaluated'}",
        *(
            f"  alert {a['alert_id']} {a['level_name']}, {a['state'].replace('_', ' ')}: {a['reason']}"
            for a in items["alerts"]
        ),
        *(["  no alert is open"] if not items["alerts"] else []),
        *([f"  {more} more alerts"] if more > 0 else []),
        *(f"  instrument {s['instrument']}: {s['state']}{s['reason'] and ', ' + s['reason']}" for s in items["sick"]),
        *(
            f"  work on {m['station']} until {local(m['to_at'])}: {m['reason']} ({m['by']})"
            for m in items["maintenance"]
        ),
        *(f"  {local(r['at'])} {r['kind'].replace('_', ' ')}: {r['text']} ({r['by']})" for r in items["reports"]),
    ]
