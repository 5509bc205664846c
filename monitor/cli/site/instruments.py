"""`slopeward instruments`: how each instrument does, why, whether it votes, and what it needs."""

from monitor.cli.acts import add_acts
from monitor.cli.session import Commands

app = Commands(no_args_is_help=True, help=__doc__)
add_acts(app, "instruments")
