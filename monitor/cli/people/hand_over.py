"""`slopeward people duty hand-over`: who goes writes what is open and signs, who comes reads it and signs as well."""

import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import typer
from sqlalchemy import Connection

from monitor.cli.identity import By, acting, require_readable
from monitor.cli.people.teams import SiteName, TeamOption, find_site, pick_team
from monitor.cli.session import Commands, open_database, show
from monitor.domain.instants import format_iso, parse
from monitor.domain.language.local_time import format_local
from monitor.store.alerting import duty as store
from monitor.store.alerting.duty import Handover
from monitor.store.schema.view_rows import AlertRow

app = Commands(no_args_is_help=True, help=__doc__)
Number = Annotated[
    int, typer.Argument(metavar="NUMBER", min=1, max=2**63 - 1, help="See `slopeward people duty hand-over show`")
]
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
        items, every = store.gather_open(c, site, now, _list_sentences), store.load_handovers(c, site)
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


@app.command("write")
def write(
    site: SiteName,
    notes: Annotated[str, typer.Option("--notes", help="What who comes must know; - reads it from the input")],
    team: TeamOption = None,
    by: By = None,
) -> None:
    """Sign as who goes: your notes are kept with what is open now, and wait for who comes.

    Example: slopeward people duty hand-over write north-bench --by mori --notes "G3 is noisy since the rain; road open"
    """
    text = sys.stdin.read(store.LONGEST_NOTES + 1) if notes == "-" else notes
    with acting(by, site) as (c, who, now):
        crew = pick_team(find_site(c, site), team)
        number = store.sign_out(c, crew, who, text.strip(), now, _list_sentences)
    line = f"hand-over {number} of {crew.name} is signed by {who.name}; who comes signs as well"
    show({"handover_id": number, "team": crew.name, "outgoing": who.name}, line)


@app.command("sign")
def sign(
    site: SiteName,
    number: Number,
    remark: Annotated[str, typer.Option("--remark", help="What is added, if anything")] = "",
    by: By = None,
) -> None:
    """Sign as who comes: you have read it and take the watch. Another person than who wrote it.

    Example: slopeward people duty hand-over sign north-bench 3 --by rossi --remark "read; G3 looked at"
    """
    with acting(by, site) as (c, who, now):
        found = store.sign_in(c, site, number, who, remark, now)
    facts = {"handover_id": number, "team": found.team, "outgoing": found.outgoing, "incoming": who.name}
    show(facts, f"hand-over {number}: {found.outgoing} hands the watch of {found.team} over to {who.name}")


@app.command("withdraw")
def withdraw(
    site: SiteName, number: Number, reason: Annotated[str, typer.Option("--reason", help="Why")], by: By = None
) -> None:
    """Take a hand-over back before who comes signed it.

    Example: slopeward people duty hand-over withdraw north-bench 3 --by mori --reason "a new crack; it is written anew"
    """
    with acting(by, site) as (c, who, now):
        store.withdraw_handover(c, site, number, who, reason, now)
    show({"handover_id": number, "withdrawn": True}, f"hand-over {number} is withdrawn")


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


def _list_sentences(c: Connection, alerts: Sequence[AlertRow]) -> Mapping[int, str]:
    """What the page says of each alert; loaded late."""
    from monitor.web.parts.headline import list_sentences

    return list_sentences(c, alerts, at_once=store.MOST)


def _list_items(items: store.OpenItems, zone: str) -> list[str]:
    """What was open, a line each."""

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
