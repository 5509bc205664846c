"""Entry point of `slopeward`: find the command, run it, and turn errors into one line and an exit status.

Only the command that runs is imported. The exit status is 0 or that of the command, 1 after an error, 2 after wrong
usage, `INTERRUPTED` after Ctrl-C, and `READER_LEFT` if the reader of the output has closed the pipe.
"""

import contextlib
import errno
import os
import select
import sys
from pathlib import Path
from typing import Any, Final, TextIO

from monitor.cli.commands import build_command, find_full_name, list_commands
from monitor.cli.overview import print_overview
from monitor.cli.packages import find_missing_package
from monitor.cli.printable import escape_on_terminal
from monitor.worker.garbage_collection import collection_paused, skip_collection_at_exit

HELP_OPTIONS: Final = frozenset({"--help", "-h"})
# Exit status if the reader of the output has closed the pipe, as a shell reports it.
READER_LEFT: Final = 141
INTERRUPTED: Final = 130
SUCCESS: Final = 0
PARTLY_DONE: Final = 3
DISK_FULL_ERRORS: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_RIGHTS_REMEDY: Final = "give this account access to it, or name another place"
# What to do about a file that a command reads or writes.
FILE_REMEDIES: Final = {
    errno.EACCES: _RIGHTS_REMEDY,
    errno.EPERM: _RIGHTS_REMEDY,
    errno.EROFS: "the disk is mounted read-only: name another place",
    errno.ENOENT: "check that its folder exists and the name is right",
    errno.ENOTDIR: "a part of its path is a file: check the name",
    errno.EISDIR: "it is a folder: name a file",
}
# Environment variable with which an error is printed with its traceback.
TRACEBACK_VARIABLE: Final = "SLOPEWARD_TRACEBACK"
# Base classes of the errors of libraries. A library that is not imported has not raised anything.
LIBRARY_ERRORS: Final = (
    ("forecasting.errors", "ForecastingError"),
    ("detection.imagery.errors", "ImageryError"),
    ("detection.anomaly.records", "AnomalyError"),
    ("monitor.plugin_isolation", "PluginError"),
)


def main(arguments: list[str] | None = None) -> None:
    """Run a command and exit with its status: 1 after an error, 2 after wrong usage, each with one line on stderr."""
    skip_collection_at_exit()
    # An installed wheel contains this folder. Child processes then import the installed packages as well.
    if (Path(__file__).parents[1] / "_migrations").is_dir():
        os.environ.pop("PYTHONPATH", None)
    sys.stdout = escape_on_terminal(sys.stdout)
    sys.stderr = escape_on_terminal(sys.stderr)
    words = sys.argv[1:] if arguments is None else arguments
    status = run_command(words)
    try:
        _flush(sys.stderr)
    except OSError:
        _discard_output(sys.stderr)
    sys.exit(status)


def run_command(words: list[str]) -> int:
    """Run the command that the words name and return its exit status. Print an error in one line.

    Raises:
        SystemExit: A library ended the program.
        Exception: `SLOPEWARD_TRACEBACK` is set and the command failed.
    """
    file_at_start = _identify_file(sys.stdout)
    try:
        status = _find_and_run(words)
        # The interpreter would flush the output only after `main`, where an error could not be reported.
        _flush(sys.stdout)
    except KeyboardInterrupt:
        return INTERRUPTED
    except (Exception, SystemExit) as error:
        cause = error.__context__ if isinstance(error, SystemExit) else error
        if isinstance(cause, BrokenPipeError) and _has_lost_reader(sys.stdout, file_at_start):
            _discard_output(sys.stdout)
            return READER_LEFT
        if isinstance(error, SystemExit) or os.environ.get(TRACEBACK_VARIABLE):
            raise
        try:
            # Print the output that the command wrote before the error.
            _flush(sys.stdout)
        except OSError:
            _discard_output(sys.stdout)
        with contextlib.suppress(OSError):
            print(_describe_error(error), file=sys.stderr)
        return 1
    else:
        return status


def _flush(stream: TextIO | None) -> None:
    """Write the buffered output. The stream is None if it was closed before the start (`>&-`)."""
    if stream is not None:
        stream.flush()


def _identify_file(stream: TextIO | None) -> tuple[int, int] | None:
    """Return the device and inode of an output, or None if it has no file descriptor, as in tests."""
    with contextlib.suppress(OSError, AttributeError):
        status = os.fstat(stream.fileno())  # type: ignore[union-attr]
        return status.st_dev, status.st_ino
    return None


def _has_lost_reader(stream: TextIO | None, file_at_start: tuple[int, int] | None) -> bool:
    """Return whether the reader of an output, such as `head`, has closed it.

    A `BrokenPipeError` alone does not prove this, because it can also come from a socket or from the pipe of a worker.

    Args:
        stream: The output.
        file_at_start: The file that the output was at the start. Rich replaces the file when the reader leaves.
    """
    if stream is None or file_at_start is None:
        return False
    poll = select.poll()
    # Errors are reported without being requested.
    poll.register(stream.fileno(), 0)
    return _identify_file(stream) != file_at_start or bool(poll.poll(0))


def _discard_output(stream: TextIO | None) -> None:
    """Discard the buffered output, which the interpreter would otherwise try to write again at its end."""
    if stream is None:
        return
    # In tests the stream has no file descriptor.
    with contextlib.suppress(OSError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)


def _find_and_run(words: list[str]) -> int:
    if not words or words[0] in HELP_OPTIONS:
        print_overview()
        return 0 if words else 2
    if words[0] == "--version":
        from monitor.canonical import code_version

        print(f"slopeward {code_version()}")
        return 0
    if (missing := find_missing_package(words)) is not None:
        print(missing, file=sys.stderr)
        return 1
    for depth in (2, 1):
        name = " ".join(words[:depth])
        if name in list_commands():
            return _run_registered_command(name, words[depth:])
    from monitor.cli.usage import describe_unknown_command

    print(describe_unknown_command(words[0]), file=sys.stderr)
    return 2


def _run_registered_command(name: str, arguments: list[str]) -> int:
    """Run a command of the table and return its exit status.

    The command is registered for `monitor.cli.rules`. Its notes are printed if it has succeeded, at least in part.
    """
    with collection_paused():
        from monitor.cli.rules import register_running
        from monitor.storage.engine import PATIENCE_S, patient

        command = build_command(name)
    # `slopeward run` does not retry: the supervisor restarts its processes.
    patience = contextlib.nullcontext() if name == "run" else patient(PATIENCE_S)
    full_name = _append_subcommands(find_full_name(name), command, arguments)
    with register_running(full_name) as running_command, patience:
        status = _call_click(command, name, arguments)
    if status in {SUCCESS, PARTLY_DONE}:
        for line in running_command.notes:
            print(line, file=sys.stderr)
    return status


def _append_subcommands(name: str, command: Any, arguments: list[str]) -> str:
    """Return the name of a command with its subcommands: `alerts ack` for `alerts` with the arguments `ack 12`."""
    names = [name]
    for argument in arguments:
        command = (getattr(command, "commands", None) or {}).get(argument)
        if command is None:
            break
        names.append(argument)
    return " ".join(names)


def _call_click(command: Any, name: str, arguments: list[str]) -> int:
    """Call a Click command and return its exit status. Print an error of the parser in one line."""
    import typer

    try:
        result: Any = command.main(args=arguments, prog_name=f"slopeward {name}", standalone_mode=False)
    except (typer.Exit, SystemExit) as end:
        # Click and Rich exit with status 1 after a broken pipe.
        if isinstance(end.__context__, BrokenPipeError):
            raise end.__context__ from None
        code = getattr(end, "exit_code", getattr(end, "code", 0))
        if isinstance(code, int):
            return code
        # As Python does: `sys.exit()` succeeds, and `sys.exit("text")` fails.
        return 0 if code is None else 1
    except typer.Abort:
        return INTERRUPTED
    except typer.TyperException as error:
        from monitor.cli.usage import describe_usage_error

        print(describe_usage_error(error), file=sys.stderr)
        return error.exit_code
    return result if isinstance(result, int) and not isinstance(result, bool) else 0


def _describe_error(error: Exception) -> str:
    from monitor.errors import SlopewardError
    from monitor.extras import explain_missing
    from monitor.text.reasons import describe_error

    text = " ".join(describe_error(error).split())
    if isinstance(error, SlopewardError):
        return text
    if (missing := explain_missing(error)) is not None:
        return missing
    if isinstance(error, OSError) and error.errno in DISK_FULL_ERRORS:
        target = f" to {error.filename}" if error.filename else ""
        return f"the output{target} is incomplete: {os.strerror(error.errno)}"
    if isinstance(error, OSError) and error.filename and error.errno in FILE_REMEDIES:
        return f"{error.filename}: {os.strerror(error.errno)}; {FILE_REMEDIES[error.errno]}"
    for module, name in LIBRARY_ERRORS:
        base_class = getattr(sys.modules.get(module), name, None)
        if base_class is not None and isinstance(error, base_class):
            return " ".join(describe_error(error).split())
    return f"internal error: {type(error).__name__}: {text} (set {TRACEBACK_VARIABLE}=1 to see the traceback)"


if __name__ == "__main__":
    main()
