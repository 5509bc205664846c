"""`slopeward level`: a person sets the hazard level of a site, with a reason."""

from monitor.cli.acts import add_acts
from monitor.cli.session import Commands

app = Commands(no_args_is_help=True, help=__doc__)


@app.callback()
def level() -> None:
    """Set a level by hand."""


add_acts(app, "level")
