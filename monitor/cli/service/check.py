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
UNSET_CHANNEL = "channels.unset"


@app.command(epilog="Example: slopeward check --connect")
def check(
    connect: Annotated[bool, typer.Option("--connect", help="Also test broker, database and channels.")] = False,
) -> None:
    """Check service file, all site files and mappings.

    Exit 1 for a mistake, or if the highest level of a site cannot be reached.
    """
    findings = list(_list_findings(read_service(), connect=connect))
    for subject, state, line in findings:
        if options().as_json:
            print_json({"subject": subject, "ok": state != WRONG, "state": state, "text": line})
        else:
            label = "WRONG" if state == WRONG else f"{state:5}"
            print(f"{label} {subject}: {line}", file=sys.stdout if state == OK else sys.stderr)
    if any(state == WRONG for _, state, _ in findings):
        raise typer.Exit(1)


def _list_findings(service: ServiceConfig, *, connect: bool) -> Iterator[tuple[str, str, str]]:
    """Yield subject, state (ok, warn or wrong) and text of each finding, and a summary of each correct site."""
    try:
        files = SiteFolder.read(service)
    except ConfigError as error:
        yield str(service.paths.sites), WRONG, str(error)
        files = SiteFolder(service, [], {})
    wrong_sites = set()
    for part in (files, EnvironmentSettings(files), *([Connections(files)] if connect else [])):
        is_environment = isinstance(part, EnvironmentSettings)
        for finding in run_checks(part):
            # Each channel without its settings is listed with `--connect` only.
            if finding.check.id == UNSET_CHANNEL and not connect:
                continue
            state = WRONG if finding.level == BAD else finding.level
            # The service may run in another environment.
            if is_environment and state == WRONG:
                state = WARN
            if state == WRONG:
                wrong_sites.add(finding.subject)
            is_general = not finding.subject and finding.check.area != "sites"
            # A finding with a figure, such as what calculated channels need, is printed also if nothing is wrong.
            if finding.is_wrong or (finding.text and (is_general or finding.figure != NO_FIGURE)):
                yield finding.subject or finding.check.area, state, finding.text
    for site in files.sites:
        if site.id not in wrong_sites:
            criteria = sum(not criterion.is_implied for criterion in site.criteria)
            counts = f"criteria: {criteria}, recipients: {len(site.all_recipients)}"
            yield site.id, OK, f"stations: {len(site.stations)}, {counts}"
        for sentence in describe_limits(site, PreparedSite(site).judgements):
            yield site.id, OK, sentence
