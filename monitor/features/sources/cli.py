"""`slopeward ingest sources`: list the servers and folders that files come from, and download now."""

import os
from datetime import UTC, datetime
from typing import Annotated

import typer

from monitor.api.cli import (
    EXIT_NOTHING,
    EXIT_PARTLY,
    Commands,
    find_readable_sites,
    open_service,
    options,
    pick_site,
    require_any,
    show,
)
from monitor.api.errors import NotFoundError, RefusedError
from monitor.api.settings import FOLDER_KIND, SourceSection
from monitor.api.text import format_instants
from monitor.features.sources.addresses import hide_query
from monitor.features.sources.poll import poll_source
from monitor.features.sources.queries import PollState, load_files, load_polls
from monitor.features.sources.take import SourceTarget

app = Commands(no_args_is_help=True, help=__doc__)


@app.command("list")
def list_(site: Annotated[str | None, typer.Option("--site", help="Only this site")] = None) -> None:
    """List sources: where their files lie, the last look, what it stored, and since when something is wrong.

    Exit 4 without any.

    Example: slopeward ingest sources list --json
    """
    service, db = open_service()
    with db, db.read() as c:
        chosen = find_readable_sites(c, site)
        states = {state.source: state for state in load_polls(c)}
        files = {name: len(load_files(c, name)) for name in states}
    tables = {one.name: one for one in service.source if one.kind != FOLDER_KIND}
    shown = 0
    for name in sorted(tables.keys() | states.keys()):
        table, state = tables.get(name), states.get(name)
        place = table.site if table is not None else state.site if state is not None else ""
        if chosen is not None and place not in ({chosen} if isinstance(chosen, str) else chosen):
            continue
        shown += 1
        names = {"polled": "polled_at", "success": "success_at", "news": "new_at", "next": "next_at"}
        names |= {"error": "error", "error_since": "error_since"}
        facts_of_poll = {key: state and format_instants(getattr(state, name)) for key, name in names.items()}
        facts = {
            "name": name,
            "site": place,
            "kind": table.kind if table else state.kind if state else "",
            "url": "" if table is None else hide_query(table.address),
            "configured": table is not None,
            "files": files.get(name, 0),
            **facts_of_poll,
            "stored": 0 if state is None else state.rows_all,
        }
        show(facts, _describe(name, place, table, state))
    require_any(
        shown, "no source: write a [[source]] into the service file (how: /help/how-to/fetch-files on the page)"
    )


@app.command("poll")
def poll(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Source, as its table names it")],
    shorter: Annotated[bool, typer.Option("--shorter", help="Take files that became shorter, this once")] = False,
) -> None:
    """Look at a source now, due or not; exit 3 when something of it could not be taken, 4 when nothing is new.

    Example: slopeward ingest sources poll nevada-p816 --json
    """
    service, db = open_service()
    with db:
        tables = {one.name: one for one in service.source if one.kind != FOLDER_KIND}
        if name not in tables:
            raise NotFoundError(f"no source {name!r}; there are: {', '.join(sorted(tables)) or 'none'}")
        source = tables[name]
        site = pick_site(service, source.site)
        place = SourceTarget(db, service, site, lambda: datetime.now(UTC), f"source {name}", source.accept_units)
        found = poll_source(source, place, os.environ, may_shrink=shorter)
    facts = {
        "name": name,
        "site": site.id,
        "new": found.new,
        "same": found.same,
        "stored": found.rows,
        "revisions": found.revisions,
        "rejected": found.rejected,
        "scenes": found.scenes,
        "errors": found.errors,
    }
    if found.errors and not (found.new or found.same):
        if options().as_json:
            show(facts, "")
        raise RefusedError("; ".join(found.errors))
    show(facts, found.describe())
    if found.errors:
        raise typer.Exit(EXIT_PARTLY)
    if not found.new:
        raise typer.Exit(EXIT_NOTHING)


def _describe(name: str, site: str, table: SourceSection | None, state: PollState | None) -> str:
    place = "watched folder" if table is None else hide_query(table.address)
    line = f"{name}  {site}  {place}: "
    if state is None:
        return line + "never looked at"
    if table is None and state.kind != FOLDER_KIND:
        line += "no table names it any more; "
    success, news = ("never" if at is None else f"{at:%Y-%m-%d %H:%M} UTC" for at in (state.success_at, state.new_at))
    line += f"last success {success}, last news {news}, {state.rows_new} values new, {state.rows_all} in all"
    if state.error is not None and state.error_since is not None:
        line += f"; since {state.error_since:%Y-%m-%d %H:%M} UTC: {state.error}"
    return line
