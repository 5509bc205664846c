"""`slopeward report`: what an observer saw on the slope; the extension `reports` adds bulletins and cards."""

from monitor.cli.acts import add_acts
from monitor.cli.session import Commands

app = Commands(no_args_is_help=True, help=__doc__)
add_acts(app, "report")
