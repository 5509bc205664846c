"""`slopeward run`: run the service in the foreground, for systemd, a container or a terminal."""

import os
from typing import Annotated

import typer

from monitor.cli.session import Commands, options

app = Commands()


@app.command(epilog="Example: slopeward run --config configs/slopeward.toml", takes_json=False)
def run(
    standby: Annotated[
        bool,
        typer.Option("--standby", help="Wait while another service uses this PostgreSQL, and take over if it fails."),
    ] = False,
    no_web: Annotated[bool, typer.Option("--no-web", help="Do not start the web page.")] = False,
) -> None:
    """Start the service: MQTT broker, core and web page. Ctrl-C or SIGTERM stops it.

    After SIGHUP the service reads configuration and site files again.
    """
    from monitor.app.supervisor import main

    # The child processes read the same setting.
    if standby:
        os.environ["SLOPEWARD_STANDBY__ENABLED"] = "true"
    raise typer.Exit(main(str(config) if (config := options().config) else None, with_web=not no_web))
