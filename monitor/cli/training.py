"""Progress on the terminal, and a graceful stop, for commands that train a network."""

import contextlib
import signal
import sys
from collections.abc import Iterator
from types import FrameType
from typing import Any

import typer


def show_progress(progress: Any) -> None:
    """Print one line to stderr.

    On a terminal, the line replaces the one before until the epoch ends. Elsewhere, only the end of an epoch is
    printed.

    Args:
        progress: A `detection.imagery.neural.learner.Progress`.
    """
    is_epoch_over = progress.held_score is not None
    is_terminal = sys.stderr.isatty()
    if not is_epoch_over and not is_terminal:
        return
    line = f"epoch {progress.epoch}/{progress.epochs} step {progress.step}/{progress.steps} loss {progress.loss:.4f}"
    if is_epoch_over:
        line += f" held {progress.held_score:.4f}"
    line += f" {progress.cpu_s:.0f} s, about {progress.left_s:.0f} s left"
    typer.echo(f"\r{line:<100}" if is_terminal else line, err=True, nl=is_epoch_over)


@contextlib.contextmanager
def catch_stop_signals() -> Iterator[list[int]]:
    """Note the first SIGTERM or Ctrl-C in the returned list, so that training stops after the current step.

    The second one raises KeyboardInterrupt.
    """
    signals: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        if signals:
            raise KeyboardInterrupt
        signals.append(number)

    previous_handlers = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield signals
    finally:
        for number, handler in previous_handlers.items():
            signal.signal(number, handler)
