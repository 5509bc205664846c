"""`slopeward notify channels`: list the notification channels, and send a test message by each."""

import os
from contextlib import nullcontext
from typing import Annotated

import typer

from monitor.cli import session
from monitor.delivery.notifier import channel_settings
from monitor.delivery.trial import gather_channels, send_test
from monitor.sites.channels import find_channel_traits

app = session.Commands(
    help="List and test the notification channels. The site files name them in the tables [[recipient]].",
    no_args_is_help=True,
)


@app.command("list")
def list_channels() -> None:
    """List the channels of all sites.

    Example: slopeward notify channels list --json
    """
    for channel, users in gather_channels(session.read_sites()).items():
        session.print_result_in_order({"channel": channel, "for": users}, f"{channel}\t{', '.join(users)}")


@app.command("test")
def send_test_messages(
    channel: Annotated[str | None, typer.Option("--channel", help="Only this channel, such as log:desk.")] = None,
) -> None:
    """Send a test message by each channel, without the outbox.

    Exit 0 if all were delivered, 3 some, 1 none, 4 if there is no channel.

    Example: slopeward notify channels test --channel log:desk
    """
    service = session.read_service()
    channels = [channel] if channel else list(gather_channels(session.read_sites()))
    session.require_any(channels, "no site names a recipient with a channel; add [[recipient]] to a site file")
    needs_database = any(find_channel_traits(name).needs_database for name in channels)
    settings = channel_settings(service, os.environ)
    failed = 0
    # A new service has no database yet.
    with session.open_database() if needs_database else nullcontext() as db:
        for name in channels:
            error, _ = send_test(name, settings, db)
            failed += error is not None
            if not session.print_if_json({"channel": name, "delivered": error is None, "error": error}):
                typer.echo(f"{name}: {'delivered' if error is None else error}", err=error is not None)
    if failed:
        session.print_note(
            "the test used the environment of your shell. With systemd, run `sudo slopeward notify channels test`: it "
            "has the secrets of the service (/etc/slopeward/secrets.env)"
        )
        raise typer.Exit(1 if failed == len(channels) else 3)
