"""`slopeward channels`: which channels exist and whether each of them really delivers."""

import os
from contextlib import nullcontext
from typing import Annotated

import typer

from monitor.cli.session import ConfigOption, open_database, print_json
from monitor.config.service import ServiceConfig, load_service, load_sites
from monitor.domain.duty.channels import traits_of
from monitor.notify.notifier import channel_settings
from monitor.notify.trial import gather_channels, send_test
from monitor.store.database.engine import Database

app = typer.Typer(help="See and test the channels that notifications take.", no_args_is_help=True)
AsJson = Annotated[bool, typer.Option("--json", help="JSON lines on stdout.")]


@app.command("list")
def list_channels(config: ConfigOption = None, as_json: AsJson = False) -> None:
    """List all channels of all sites.

    Example: slopeward channels list --json
    """
    for channel, users in gather_channels(load_sites(load_service(config).paths.sites)).items():
        if as_json:
            print_json({"channel": channel, "for": users})
        else:
            typer.echo(f"{channel}\t{', '.join(users)}")


@app.command("test")
def check_channels(
    channel: Annotated[str | None, typer.Option("--channel", help="Only this one, kind:address.")] = None,
    config: ConfigOption = None,
    as_json: AsJson = False,
) -> None:
    """Send one exercise message by each channel, past the outbox.

    Exit: 0 all delivered, 3 some, 1 none, 4 there is no channel. Example: slopeward channels test --channel log:desk.
    """
    service = load_service(config)
    channels = [channel] if channel else list(gather_channels(load_sites(service.paths.sites)))
    needs_database = any(traits_of(one).needs_database for one in channels)
    with open_database(config) if needs_database else nullcontext() as db:  # a new service has none yet
        failed = _send_all(service, db, channels, as_json=as_json)
    if not channels:
        typer.echo("no site names a recipient with a channel; add [[recipient]] to a site file", err=True)
        raise typer.Exit(4)
    if failed:
        raise typer.Exit(1 if failed == len(channels) else 3)


def _send_all(service: ServiceConfig, db: Database | None, channels: list[str], *, as_json: bool) -> int:
    """Send by each; returns how many took nothing."""
    settings = channel_settings(service, os.environ)
    failed = 0
    for name in channels:
        error, _ = send_test(name, settings, db)
        failed += error is not None
        if as_json:
            print_json({"channel": name, "delivered": error is None, "error": error})
        else:
            typer.echo(f"{name}: {'delivered' if error is None else error}", err=error is not None)
    return failed
