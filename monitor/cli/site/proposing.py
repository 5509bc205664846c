"""`slopeward sites`: propose a change of a site file, and approve or reject it."""

from typing import Annotated

import typer

from monitor.alerts.acts.site_diff import format_proposal
from monitor.cli.acts import add_acts
from monitor.cli.identity import find_readable_sites, require_readable
from monitor.cli.session import LARGEST_ID, Commands, SiteFilter, check_site, open_database, print_result, require_any
from monitor.sites.queries.sites import Proposal
from monitor.text.instants import format_iso, record_to_json

app = Commands()
add_acts(app, "sites")


@app.command(epilog="Example: slopeward sites proposals 3")
def proposals(
    number: Annotated[
        int | None, typer.Argument(metavar="[ID]", min=1, max=LARGEST_ID, help="Show this proposal in full.")
    ] = None,
    site: SiteFilter = None,
    everything: Annotated[bool, typer.Option("--all", help="Also decided proposals.")] = False,
) -> None:
    """List the proposals that wait for approval, or show one with its differences and its effect."""
    from monitor.sites.queries.sites import load_proposal, load_proposals

    with open_database() as db, db.read() as c:
        if number is not None:
            one = load_proposal(c, number)
            require_readable(c, one.site)
            _print(one)
            return
        found = load_proposals(c, find_readable_sites(c, site), everything=everything)
        check_site(c, site, found)
    for one in found:
        mark = ", loosens a high level" if one.loosens_high else ""
        line = (
            f"{one.id:>4} {format_iso(one.proposed_at)[:16]}Z {one.site}, {one.state}{mark}, {one.author}: {one.reason}"
        )
        print_result(record_to_json(one, "source"), line)
    require_any(found, "no proposal")


def _print(one: Proposal) -> None:
    print_result(record_to_json(one, "source"), "\n".join(format_proposal(one)))
