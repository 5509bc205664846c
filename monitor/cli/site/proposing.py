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
            proposal = load_proposal(c, number)
            require_readable(c, proposal.site)
            _print_in_full(proposal)
            return
        rows = load_proposals(c, find_readable_sites(c, site), everything=everything)
        check_site(c, site, rows)
    for proposal in rows:
        mark = ", loosens a high level" if proposal.loosens_high else ""
        proposed_at = f"{format_iso(proposal.proposed_at)[:16]}Z"
        state = f"{proposal.state}{mark}"
        line = f"{proposal.id:>4} {proposed_at} {proposal.site}, {state}, {proposal.author}: {proposal.reason}"
        print_result(record_to_json(proposal, "source"), line)
    require_any(rows, "no proposal")


def _print_in_full(proposal: Proposal) -> None:
    print_result(record_to_json(proposal, "source"), "\n".join(format_proposal(proposal)))
