"""`slopeward demo`: run the service with a simulated slope, in a folder of its own."""

import signal
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from monitor.api.cli import LARGEST_SEED, Commands, options, print_if_json

app = Commands()


@app.command(epilog="Example: slopeward demo --once --json", takes_config=False)
def demo(
    once: Annotated[bool, typer.Option("--once", help="End without Ctrl-C when everything has been shown.")] = False,
    folder: Annotated[
        Path | None,
        typer.Option("--folder", help="New folder for the demo, kept afterwards. Default: a temporary folder."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, max=LARGEST_SEED, help="Seed of the simulated slope.")] = 1,
) -> None:
    """Run the service with a simulated slope that fails, and print the address of the web page.

    Exit 3 if a part could not be shown.
    """
    from monitor.features.demo.demo import is_complete, run_demo

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)

    def print_line(line: str) -> None:
        print(line, file=sys.stderr if options().as_json else sys.stdout, flush=True)

    results = run_demo(once=once, folder=folder, seed=seed, print_line=print_line, clock=lambda: datetime.now(UTC))
    if not print_if_json(results):
        for name, value in results.items():
            print(f"{name}: {value}")
    if results["missing"] or not is_complete(results):
        raise typer.Exit(3)
