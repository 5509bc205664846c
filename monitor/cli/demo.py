"""`slopeward demo`: everything in three minutes, in a folder of its own."""

import json
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from monitor.cli.opening import JsonOption

app = typer.Typer()


@app.command(epilog="Example: slopeward demo --once --json")
def demo(
    once: Annotated[bool, typer.Option("--once", help="End by itself when everything was seen.")] = False,
    as_json: JsonOption = False,
    folder: Annotated[Path | None, typer.Option("--folder", help="Keep everything here; else a temporary one.")] = None,
    seed: Annotated[int, typer.Option("--seed", help="Same seed, same slope.")] = 1,
) -> None:
    """Run broker, service and a simulated slope that fails; prints the page. Exit 3 when a part is missing."""
    from monitor.simulate.demo import is_complete, run_demo

    def leave(*_: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, leave)

    def say(line: str) -> None:
        print(line, file=sys.stderr if as_json else sys.stdout, flush=True)

    counted = run_demo(once=once, folder=folder, seed=seed, say=say, clock=lambda: datetime.now(UTC))
    if as_json:
        print(json.dumps(counted, ensure_ascii=False))
    else:
        for name, value in counted.items():
            print(f"{name}: {value}")
    if not is_complete(counted):
        raise typer.Exit(3)
