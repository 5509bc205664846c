"""`slopeward channels`: which channels exist and whether each of them really delivers."""

import os
import uuid
from contextlib import nullcontext
from datetime import UTC, datetime
from typing import Annotated

import typer

from monitor.cli.session import ConfigOption, open_database, print_json
from monitor.config.service import ServiceConfig, load_service, load_sites
from monitor.domain.alert import Notification
from monitor.domain.site import Site
from monitor.errors import SlopewardError
from monitor.notify.notifier import WITH_DATABASE, channel_settings, open_notifier, split_channel
from monitor.store.database.engine import Database

app = typer.Typer(help="See and test the channels that notifications take.", no_args_is_help=True)
AsJson = Annotated[bool, typer.Option("--json", help="JSON lines on stdout.")]


def load_channels(sites: list[Site]) -> dict[str, list[str]]:
    """Channel -> `site: recipient` of all who are notified by it, in the order of the files."""
    found: dict[str, list[str]] = {}
    for site in sites:
        for recipient in site.recipients:
            for channel in recipient.channels:
                found.setdefault(channel, []).append(f"{site.id}: {recipient.name}")
    return found


@app.command("list")
def list_channels(config: ConfigOption = None, as_json: AsJson = False) -> None:
    """List all channels of all sites. Example: slopeward channels list --json."""
    for channel, users in load_channels(load_sites(load_service(config).paths.sites)).items():
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
    channels = [channel] if channel else list(load_channels(load_sites(service.paths.sites)))
    needs_database = any(split_channel(one)[0] in WITH_DATABASE for one in channels)
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
        error = _send(name, settings, db)
        failed += error is not None
        if as_json:
            print_json({"channel": name, "delivered": error is None, "error": error})
        else:
            typer.echo(f"{name}: {'delivered' if error is None else error}", err=error is not None)
    return failed


def _send(channel: str, settings: dict[str, str], db: Database | None) -> str | None:
    """Deliver a test message; the error in words, or None."""
    now = datetime.now(UTC)
    message = Notification(
        id=0, alert_id=0, event_id=0, site="status", ledger="health", level=0, level_name="test", recipient="test",
        channel=channel, exercise=True, subject="EXERCISE: Slopeward tests this channel",
        body=f"Nothing happened. This message was sent at {now:%Y-%m-%d %H:%M:%S} UTC to see whether it arrives.",
        idempotency_key=uuid.uuid4().hex, attempts=1, queued_at=now,
    )  # fmt: skip
    try:
        open_notifier(channel, settings, db).deliver(message)
    except SlopewardError as error:
        return str(error)
    return None
