"""`slopeward help`: list all commands, or show the help of one."""

from typing import Annotated

import typer

from monitor.cli.commands import find_full_name
from monitor.cli.overview import find_subject, list_summaries, print_all_commands, print_overview
from monitor.cli.session import Commands, options, print_json

app = Commands()


@app.command("help", takes_config=False)
def show_help(
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[COMMAND]", help="A command such as `alerts ack`; `commands` lists all commands"),
    ] = None,
) -> None:
    """Show the help of a command, or list all commands by subject.

    Example: slopeward help commands
    """
    from monitor.cli.main import run_command

    if not words:
        print_overview()
    elif words != ["commands"]:
        raise typer.Exit(run_command([*words, "--help"]))
    elif options().as_json:
        for name, summary in list_summaries().items():
            full_name = find_full_name(name)
            facts = {"command": name, "subject": find_subject(name), "summary": summary}
            print_json(facts if full_name == name else {**facts, "short_for": full_name})
    else:
        print_all_commands()
