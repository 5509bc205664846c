"""Entry point of `slopeward`: find the command, run it, and turn errors into one line and an exit status.

A command is imported when it runs.
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
from monitor.cli.printable import guard
from monitor.worker.garbage_collection import collection_paused, skip_collection_at_exit

HELP: Final = frozenset({"--help", "-h"})
# Exit status if the reader of the output has closed the pipe, as a shell reports it.
READER_LEFT: Final = 141
DISK_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_RIGHTS: Final = "give this account access to it, or name another place"
# What to do about a file that a command reads or writes.
FILE_REMEDIES: Final = {
    errno.EACCES: _RIGHTS,
    errno.EPERM: _RIGHTS,
    errno.EROFS: "the disk is mounted read-only: name another place",
    errno.ENOENT: "check that its folder exists and the name is right",
    errno.ENOTDIR: "a part of its path is a file: check the name",
    errno.EISDIR: "it is a folder: name a file",
}
TRACEBACK: Final = "SLOPEWARD_TRACEBACK"
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
    sys.stdout, sys.stderr = guard(sys.stdout), guard(sys.stderr)
    words = sys.argv[1:] if arguments is None else arguments
    status = run_verb(words)
    try:
        _flush(sys.stderr)
    except OSError:
        _drop(sys.stderr)
    sys.exit(status)


def run_verb(words: list[str]) -> int:
    """Run the command that the words name and return the exit status. Errors are printed in one line."""
    output = _find_file(sys.stdout)
    try:
        status = _run(words)
        # An error of the last write is reported here; at the end of the interpreter it could not be.
        _flush(sys.stdout)
    except KeyboardInterrupt:
        return 130
    except (Exception, SystemExit) as error:
        cause = error.__context__ if isinstance(error, SystemExit) else error
        if isinstance(cause, BrokenPipeError) and _has_lost_reader(sys.stdout, output):
            _drop(sys.stdout)
            return READER_LEFT
        if isinstance(error, SystemExit) or os.environ.get(TRACEBACK):
            raise
        try:
            # Output before the error is kept.
            _flush(sys.stdout)
        except OSError:
            _drop(sys.stdout)
        with contextlib.suppress(OSError):
            print(_describe(error), file=sys.stderr)
        return 1
    else:
        return status


def _flush(stream: TextIO | None) -> None:
    """Write the buffered output. The stream is None if it was closed before the start (`>&-`)."""
    if stream is not None:
        stream.flush()


def _find_file(stream: TextIO | None) -> tuple[int, int] | None:
    """Return device and inode of an output; None if it is no file, as in tests."""
    with contextlib.suppress(OSError, AttributeError):
        status = os.fstat(stream.fileno())  # type: ignore[union-attr]
        return status.st_dev, status.st_ino
    return None


def _has_lost_reader(stream: TextIO | None, file_at_start: tuple[int, int] | None) -> bool:
    """Return whether the reader of an output, such as `head`, has closed it. Sockets and pipes of workers break too.

    Args:
        stream: The output.
        file_at_start: The file that the output was at the start. Rich replaces the file when the reader leaves.
    """
    if stream is None or file_at_start is None:
        return False
    poll = select.poll()
    # Errors are reported without being requested.
    poll.register(stream.fileno(), 0)
    return _find_file(stream) != file_at_start or bool(poll.poll(0))


def _drop(stream: TextIO | None) -> None:
    """Discard the buffered output. The end of the interpreter would try to write it again."""
    if stream is None:
        return
    # In tests the stream is no file.
    with contextlib.suppress(OSError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)


def _run(words: list[str]) -> int:
    if not words or words[0] in HELP:
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
            return _invoke(name, words[depth:])
    from monitor.cli.usage import describe_unknown_command

    print(describe_unknown_command(words[0]), file=sys.stderr)
    return 2


def _invoke(name: str, arguments: list[str]) -> int:
    with collection_paused():
        from monitor.cli.rules import running
        from monitor.storage.engine import PATIENCE_S, patient

        command = build_command(name)
    # `slopeward run` does not retry: the supervisor restarts its processes.
    patience = contextlib.nullcontext() if name == "run" else patient(PATIENCE_S)
    with running(_find_command(find_full_name(name), command, arguments)) as run, patience:
        status = _call(command, name, arguments)
    for line in run.notes if status in {0, 3} else ():
        print(line, file=sys.stderr)
    return status


def _find_command(name: str, command: Any, arguments: list[str]) -> str:
    """Return the full name of the command that the arguments name: `alerts ack` for `alerts` and `ack 12`."""
    names = [name]
    for argument in arguments:
        command = (getattr(command, "commands", None) or {}).get(argument)
        if command is None:
            break
        names.append(argument)
    return " ".join(names)


def _call(command: Any, name: str, arguments: list[str]) -> int:
    import typer

    try:
        result: Any = command.main(args=arguments, prog_name=f"slopeward {name}", standalone_mode=False)
    except (typer.Exit, SystemExit) as end:
        # Click and Rich exit with status 1 after a broken pipe.
        if isinstance(end.__context__, BrokenPipeError):
            raise end.__context__ from None
        code = getattr(end, "exit_code", getattr(end, "code", 0))
        return code if isinstance(code, int) else int(code is not None)
    except typer.Abort:
        return 130
    except typer.TyperException as error:
        from monitor.cli.usage import describe_usage_error

        print(describe_usage_error(error), file=sys.stderr)
        return error.exit_code
    return result if isinstance(result, int) and not isinstance(result, bool) else 0


def _describe(error: Exception) -> str:
    from monitor.errors import SlopewardError
    from monitor.extras import explain_missing
    from monitor.text.reasons import describe_error

    text = " ".join(describe_error(error).split())
    if isinstance(error, SlopewardError):
        return text
    if (missing := explain_missing(error)) is not None:
        return missing
    if isinstance(error, OSError) and error.errno in DISK_FULL:
        target = f" to {error.filename}" if error.filename else ""
        return f"the output{target} is incomplete: {os.strerror(error.errno)}"
    if isinstance(error, OSError) and error.filename and error.errno in FILE_REMEDIES:
        return f"{error.filename}: {os.strerror(error.errno)}; {FILE_REMEDIES[error.errno]}"
    for module, name in LIBRARY_ERRORS:
        base_class = getattr(sys.modules.get(module), name, None)
        if base_class is not None and isinstance(error, base_class):
            return " ".join(describe_error(error).split())
    return f"internal error: {type(error).__name__}: {text} (set {TRACEBACK}=1 to see the traceback)"


if __name__ == "__main__":
    main()
