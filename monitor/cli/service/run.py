"""`slopeward run`: the service in the foreground, as systemd or a container wants it."""

import os
from typing import Annotated

import typer

from monitor.cli.session import Commands, options

app = Commands()


@app.command(epilog="Example: slopeward run --config configs/slopeward.toml", takes_json=False)
def run(
    standby: Annotated[
        bool, typer.Option("--standby", help="Wait while another service decides on this PostgreSQL, and take over.")
    ] = False,
    no_web: Annotated[bool, typer.Option("--no-web", help="Leave the page out.")] = False,
) -> None:
    """Run broker, core and page until SIGTERM; SIGHUP reads configuration and site files again."""
    from monitor.app.supervisor import main

    if standby:  # as in the service file, for the children too
        os.environ["SLOPEWARD_STANDBY__ENABLED"] = "true"
    raise typer.Exit(main(str(config) if (config := options().config) else None, with_web=not no_web))
