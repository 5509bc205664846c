"""`slopeward report`: what an observer saw on the slope; bulletins, shift reports and the quick card."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from monitor.cli.identity import prove
from monitor.cli.service import reporting
from monitor.cli.session import Commands, open_database, pick_site, read_service, require_any, show
from monitor.domain.instants import format_iso
from monitor.domain.names import tidy_text
from monitor.domain.observation import ObserverReport
from monitor.errors import RefusedError
from monitor.ingest.decoders.observer import read_given_time
from monitor.ingest.message import is_station
from monitor.store.people.users import name_credential
from monitor.store.readings.messages import add_report

app = Commands(no_args_is_help=True, help=__doc__)
app.add_typer(reporting.app)


@app.command("add")
def add(
    site: Annotated[str, typer.Option("--site", help="Site")],
    kind: Annotated[str, typer.Option("--kind", help="Such as crack, rockfall, road_damage")],
    text: Annotated[str, typer.Option("--text", help="What was seen, in words")],
    by: Annotated[str | None, typer.Option("--by", help="Who saw it; else the account of the OS user")] = None,
    time: Annotated[str | None, typer.Option("--time", help="When, with zone; now when not given")] = None,
    station: Annotated[str | None, typer.Option("--station", help="The station it is near")] = None,
    photo_url: Annotated[str | None, typer.Option("--photo-url", help="Where a picture lies")] = None,
) -> None:
    """Add an observer's report; a report criterion of the site may vote on it.

    Where a criterion needs several observers, they are counted by account, else by the user of the machine: two names
    from one keyboard are one observer.

    Example: slopeward report add --site north-bench --kind crack --text "new crack above G1, 3 cm" --by Ada
    """
    now = datetime.now(UTC)
    if station is not None and not is_station(station):
        raise RefusedError(f"--station: {station!r} is no station id")
    kind, text = tidy_text(kind), tidy_text(text)
    if not text or not kind:
        raise RefusedError("a report needs a kind and a text")
    place = pick_site(read_service(), site)
    station = None if station is None else place.now_called(station)
    seen_at = read_given_time(time, now)
    with open_database() as db:
        who, now = prove(db, by, place.id), datetime.now(UTC)
        item = ObserverReport(place.id, seen_at, kind, text, who.name, station, photo_url)
        with db.write(urgent=True) as c:
            credential = name_credential(c, who.name, f"user {who.os_user} of this machine")
            added = add_report(c, item, now, actor=who, credential=credential)
    require_any(added, "the very same report is there already")
    show({"site": place.id, "kind": kind, "at": format_iso(item.at), "by": who.name}, f"{place.id}: {kind} noted")
