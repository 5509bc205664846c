"""The commands of `slopeward scenes` that compare surfaces, images and radar of two dates, and read maps and stacks."""

from monitor.cli.session import Commands
from monitor.extensions.surveys import sar, stack, surface, track, velocity

app = Commands()
app.command(epilog=surface.EXAMPLE, takes_config=False)(surface.dod)
app.command(epilog=stack.EXAMPLE)(stack.rates)
app.command(epilog=track.EXAMPLE)(track.track)
app.command(epilog=sar.EXAMPLE, takes_config=False)(sar.sar)
app.command(epilog=velocity.EXAMPLE)(velocity.velocity)
