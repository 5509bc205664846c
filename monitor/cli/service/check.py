"""`slopeward check`: find mistakes in the configuration before the service runs."""

import sys
from collections.abc import Iterator
from typing import Annotated

import typer

from monitor.app.checks.settings import Connections
from monitor.app.checks.site_files import EnvironmentSettings, SiteFolder
from monitor.app.checks.table import run_checks
from monitor.cli.session import Commands, options, print_json, read_service
from monitor.decision.judgements import describe_limits
from monitor.decision.prepared_site import PreparedSite
from monitor.errors import ConfigError
from monitor.settings.service import ServiceConfig
from monitor.storage.check import BAD, NO_FIGURE, OK, WARN

app = Commands()
WRONG = "wrong"


@app.command(epilog="Example: slopeward check --connect")
def check(
    connect: Annotated[bool, typer.Option("--connect", help="Also test broker, database and channels.")] = False,
) -> None:
    """Check service file, all site files and mappings.

    Exit 1 for a mistake, or if the highest level of a site cannot be reached.
    """
    findings = list(_find(read_service(), connect=connect))
    for subject, state, line in findings:
        if options().as_json:
            found = {"subject": subject, "ok": state != WRONG, "state": state, "text": line}
            print_json(found)
        else:
            label = "WRONG" if state == WRONG else f"{state:5}"
            print(f"{label} {subject}: {line}", file=sys.stdout if state == OK else sys.stderr)
    if any(state == WRONG for _, state, _ in findings):
        raise typer.Exit(1)


def _find(service: ServiceConfig, *, connect: bool) -> Iterator[tuple[str, str, str]]:
    """Yield subject, state (ok, warn or wrong) and text of each finding, and a summary of each correct site."""
    try:
        files = SiteFolder.read(service)
    except ConfigError as error:
        yield str(service.paths.sites), WRONG, str(error)
        files = SiteFolder(service, [], {})
    wrong = set()
    for what in (files, EnvironmentSettings(files), *([Connections(files)] if connect else [])):
        for one in run_checks(what):
            if isinstance(what, EnvironmentSettings) and one.check.area == "channels" and not connect:
                continue
            state = WRONG if one.level == BAD else one.level
            if isinstance(what, EnvironmentSettings) and state == WRONG:  # the service may have another one
                state = WARN
            wrong |= {one.subject} if state == WRONG else set()
            is_general = not one.subject and one.check.area != "sites"
            # A finding with a figure, such as what calculated channels need, is worth a line when all is well, too.
            if one.is_wrong or (one.text and (is_general or one.figure != NO_FIGURE)):
                yield one.subject or one.check.area, state, one.text
    for site in files.sites:
        if site.id not in wrong:
            criteria = sum(not criterion.is_implied for criterion in site.criteria)
            counts = f"criteria: {criteria}, recipients: {len(site.recipients)}"
            yield site.id, OK, f"stations: {len(site.stations)}, {counts}"
        for sentence in describe_limits(site, PreparedSite(site).judgements):
            yield site.id, OK, sentence
