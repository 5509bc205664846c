"""`slopeward report`: what an observer saw on the slope; bulletins, shift reports and the quick card."""

from monitor.cli.acts import add_acts
from monitor.cli.service import reporting
from monitor.cli.session import Commands

app = Commands(no_args_is_help=True, help=__doc__)
app.add_typer(reporting.app)
add_acts(app, "report")
