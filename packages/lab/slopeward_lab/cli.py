"""The commands of `slopeward scenes` that this package adds."""

from monitor.api.cli import Commands
from slopeward_lab.explanations import scenes_cli as explanations_cli
from slopeward_lab.instances import cli as instances_cli
from slopeward_lab.learning import cli as learning_cli
from slopeward_lab.recipes import cli as recipes_cli

app = Commands()
app.command(epilog=learning_cli.EXAMPLE)(learning_cli.learn)
app.command(epilog=recipes_cli.EXAMPLE, takes_config=False)(recipes_cli.train)
app.command(epilog=instances_cli.EXAMPLE, takes_config=False)(instances_cli.boxes)
app.command(epilog=explanations_cli.EXAMPLE, takes_config=False)(explanations_cli.explain)
