"""The commands of `slopeward forecast` that this package adds."""

from monitor.api.cli import Commands
from slopeward_lab.explanations import forecasts_cli as explanations_cli
from slopeward_lab.search import cli as search_cli

app = Commands()
app.command(epilog=explanations_cli.EXAMPLE)(explanations_cli.attribute)
app.command(epilog=search_cli.EXAMPLE, takes_config=False)(search_cli.search)
