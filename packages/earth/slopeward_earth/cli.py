"""The commands of `slopeward scenes` that this package adds."""

from monitor.api.cli import Commands
from slopeward_earth.insar import rates_cli, velocity_cli
from slopeward_earth.radar import cli as radar_cli
from slopeward_earth.surface import cli as surface_cli
from slopeward_earth.tracking import cli as tracking_cli

app = Commands()
app.command(epilog=surface_cli.EXAMPLE, takes_config=False)(surface_cli.dod)
app.command(epilog=rates_cli.EXAMPLE)(rates_cli.rates)
app.command(epilog=tracking_cli.EXAMPLE)(tracking_cli.track)
app.command(epilog=radar_cli.EXAMPLE, takes_config=False)(radar_cli.sar)
app.command(epilog=velocity_cli.EXAMPLE)(velocity_cli.velocity)
