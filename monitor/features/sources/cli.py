"""`slopeward ingest sources`: list servers and watched folders, and download files now."""

import os
from datetime import UTC, datetime
from typing import Annotated

import typer

from monitor.api.cli import (
    EXIT_NOTHING,
    EXIT_PARTLY,
    Commands,
    SiteFilter,
    find_readable_sites,
    open_service,
    options,
    pick_site,
    print_result,
    require_any,
)
from monitor.api.errors import NotFoundError, RefusedError
from monitor.api.settings import FOLDER_KIND, SourceSection
from monitor.api.text import format_instants
from monitor.features.sources.poll import poll_source
from monitor.features.sources.queries import PollState, load_files, load_polls
from monitor.features.sources.section import describe_address
from monitor.features.sources.store import SourceTarget

app = Commands(no_args_is_help=True, help=__doc__)


@app.command("list")
def list_(site: SiteFilter = None) -> None:
    """List sources with their address, latest poll, stored values and current error. Exit 4 if there are none.

    Example: slopeward ingest sources list --json
    """
    service, db = open_service()
    with db, db.read() as c:
        readable = find_readable_sites(c, site)
        states = {state.source: state for state in load_polls(c)}
        file_counts = {name: len(load_files(c, name)) for name in states}
    readable_sites = {readable} if isinstance(readable, str) else readable
    sections = {section.name: section for section in service.source if section.kind != FOLDER_KIND}
    shown = 0
    for name in sorted(sections.keys() | states.keys()):
        section = sections.get(name)
        state = states.get(name)
        site_id = _find_site(section, state)
        if readable_sites is not None and site_id not in readable_sites:
            continue
        shown += 1
        facts = {
            "name": name,
            "site": site_id,
            "kind": section.kind if section else state.kind if state else "",
            "url": "" if section is None else describe_address(section),
            "configured": section is not None,
            "files": file_counts.get(name, 0),
            "polled": state and format_instants(state.polled_at),
            "success": state and format_instants(state.success_at),
            "news": state and format_instants(state.new_at),
            "next": state and format_instants(state.next_at),
            "error": state and state.error,
            "error_since": state and format_instants(state.error_since),
            "stored": 0 if state is None else state.rows_all,
        }
        print_result(facts, _describe(name, site_id, section, state))
    require_any(
        shown, "no source: write a [[source]] into the service file (how: /help/how-to/fetch-files on the page)"
    )


@app.command("poll")
def poll(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the source in its [[source]] table")],
    shorter: Annotated[
        bool, typer.Option("--shorter", help="Accept files that became shorter, only this time")
    ] = False,
) -> None:
    """Poll a source now, even if it is not due. Exit 3 if a part failed, 4 if nothing is new.

    Example: slopeward ingest sources poll nevada-p816 --json
    """
    service, db = open_service()
    with db:
        sections = {section.name: section for section in service.source if section.kind != FOLDER_KIND}
        if name not in sections:
            raise NotFoundError(f"no source {name!r}; there are: {', '.join(sorted(sections)) or 'none'}")
        section = sections[name]
        site = pick_site(service, section.site)
        target = SourceTarget(db, service, site, lambda: datetime.now(UTC), f"source {name}", section.accept_units)
        summary = poll_source(section, target, os.environ, may_shrink=shorter)
    facts = {
        "name": name,
        "site": site.id,
        "new": summary.new,
        "same": summary.same,
        "stored": summary.rows,
        "revisions": summary.revisions,
        "rejected": summary.rejected,
        "scenes": summary.scenes,
        "has_more": summary.has_more,
        "notes": summary.notes,
        "errors": summary.errors,
    }
    if summary.errors and not (summary.new or summary.same):
        if options().as_json:
            print_result(facts, "")
        raise RefusedError("; ".join(summary.errors))
    print_result(facts, summary.describe())
    if summary.errors:
        raise typer.Exit(EXIT_PARTLY)
    if not summary.new:
        raise typer.Exit(EXIT_NOTHING)


def _find_site(section: SourceSection | None, state: PollState | None) -> str:
    if section is not None:
        return section.site
    return "" if state is None else state.site


def _describe(name: str, site_id: str, section: SourceSection | None, state: PollState | None) -> str:
    address = "watched folder" if section is None else describe_address(section)
    line = f"{name}  {site_id}  {address}: "
    if state is None:
        return line + "never polled"
    if section is None and state.kind != FOLDER_KIND:
        line += "no [[source]] table names it any more; "
    line += f"last success {_format_time(state.success_at)}, last news {_format_time(state.new_at)}, "
    line += f"{state.rows_new} values new, {state.rows_all} in all"
    if state.error is not None and state.error_since is not None:
        line += f"; since {_format_time(state.error_since)}: {state.error}"
    return line


def _format_time(instant: datetime | None) -> str:
    return "never" if instant is None else f"{instant:%Y-%m-%d %H:%M} UTC"
