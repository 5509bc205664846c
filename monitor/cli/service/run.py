"""`slopeward run`: the service in the foreground, as systemd or a container wants it."""

import os
from typing import Annotated

import typer

from monitor.cli.session import ConfigOption

app = typer.Typer()


@app.command(epilog="Example: slopeward run --config configs/slopeward.toml")
def run(
    config: ConfigOption = None,
    standby: Annotated[
        bool, typer.Option("--standby", help="Wait while another service decides on this PostgreSQL, and take over.")
    ] = False,
    no_web: Annotated[bool, typer.Option("--no-web", help="Leave the page out.")] = False,
) -> None:
    """Run broker, core and page until SIGTERM; SIGHUP reads configuration and site files again."""
    from monitor.service.supervisor import main

    if standby:  # as in the service file, for the children too
        os.environ["SLOPEWARD_STANDBY__ENABLED"] = "true"
    raise typer.Exit(main(str(config) if config else None, with_web=not no_web))
