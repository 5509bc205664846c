"""`slopeward report`: what an observer saw on the slope."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from monitor.cli.opening import NOTHING, ConfigOption, JsonOption, actor, open_database, pick_site, say, show
from monitor.config import load_service
from monitor.domain.instants import spell
from monitor.domain.observation import Report
from monitor.errors import RefusedError
from monitor.ingest.decoders.observer import read_given_time
from monitor.ingest.message import is_station
from monitor.store.audit import add_audit
from monitor.store.messages import add_report

app = typer.Typer(no_args_is_help=True, help=__doc__)


@app.callback()
def describe() -> None:
    """What an observer saw on the slope."""


@app.command("add")
def add(
    site: Annotated[str, typer.Option("--site", help="Site")],
    kind: Annotated[str, typer.Option("--kind", help="Such as crack, rockfall, road_damage")],
    text: Annotated[str, typer.Option("--text", help="What was seen, in words")],
    by: Annotated[str | None, typer.Option("--by", help="Who saw it; else the account at the keyboard")] = None,
    time: Annotated[str | None, typer.Option("--time", help="When, with zone; now when not given")] = None,
    station: Annotated[str | None, typer.Option("--station", help="The station it is near")] = None,
    photo_url: Annotated[str | None, typer.Option("--photo-url", help="Where a picture lies")] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Add an observer's report; a report criterion of the site may vote on it.

    Example: slopeward report add --site north-bench --kind crack --text "new crack above G1, 3 cm" --by Ada
    """
    now = datetime.now(UTC)
    if station is not None and not is_station(station):
        raise RefusedError(f"--station: {station!r} is no station id")
    if not text.strip() or not kind.strip():
        raise RefusedError("a report needs a kind and a text")
    place = pick_site(load_service(config), site)
    who = actor(by)
    item = Report(place.id, read_given_time(time, now), kind, text, who.name, station, photo_url)
    with open_database(config) as db, db.write(urgent=True) as c:
        added = add_report(c, item, now)
        if added:
            add_audit(c, who, "report.add", f"site:{place.id}", {"kind": kind, "at": spell(item.at)}, now)
    if not added:
        say("the very same report is there already")
        raise typer.Exit(NOTHING)
    show({"site": place.id, "kind": kind, "at": spell(item.at), "by": who.name}, f"{place.id}: {kind} noted", as_json)
