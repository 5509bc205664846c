"""Conversion of foreign files in a sandboxed worker into lines of JSON, which are validated when they are read."""

import json
import math
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from monitor.errors import ConfigError, JobError, PayloadError
from monitor.ingest.decoders.rows import value_to_json
from monitor.ingest.files.point_rows import read_place
from monitor.ingest.files.reader import (
    BadRow,
    CheckedRow,
    Content,
    ImportOptions,
    PointLine,
    ReadingLine,
    ValueMeaning,
    list_companions,
)
from monitor.ingest.files.readers import list_readers, open_points, open_readings
from monitor.readings.queries.points import PointValue
from monitor.settings.service import ComputeSection
from monitor.text.message import LABELLED_TEXT, Message, Template, messages_to_plain
from monitor.text.names import UNREADABLE_FILE, rename_file
from monitor.worker import compute
from monitor.worker.records import WorkerTask, read_text
from monitor.worker.sandbox import GIB, SandboxLimits

LINE_BYTES: Final = 4 << 20
REASON_MOST: Final = 500  # characters
NOT_OF_THEIR_FORM: Final = Template("file.lines.form", "the rows cannot be read: a line is not of their form")
_UNREADABLE: Final = Template("file.lines", "the rows cannot be read: {problem}")


def write_lines(lines: Iterable[ReadingLine], write: Callable[[str], object]) -> int:
    """Write the lines of a file of readings as `open_plain` reads them; return their number."""
    count = 0
    for count, line in enumerate(lines, 1):  # noqa: B007 - the last number is returned
        rows = [
            [row, None if error is None else [error.code, messages_to_plain(error.message)]] for row, error in line.rows
        ]
        write(format_line([rows, line.missing, line.mask, line.masked]))
    return count


def format_line(value: Any) -> str:
    """Return a line of JSON; instants are ISO 8601."""
    return json.dumps(value, default=value_to_json) + "\n"


@contextmanager
def open_plain(path: Path) -> Iterator[Iterator[ReadingLine]]:
    """Open the lines that `write_lines` wrote.

    Raises:
        ConfigError: A line does not have this form.
    """
    with open_raw(path) as lines:
        yield (_read_line(raw) for raw in lines)


@contextmanager
def open_raw(path: Path, most: int = LINE_BYTES) -> Iterator[Iterator[bytes]]:
    """Open a file as lines of at most `most` bytes.

    Raises:
        ConfigError: The file cannot be opened, or it is a symbolic link.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise ConfigError(_UNREADABLE(problem=error.strerror or "")) from None
    with os.fdopen(descriptor, "rb") as file:
        yield iter(lambda: file.readline(most), b"")


def _read_line(raw: bytes) -> ReadingLine:
    try:
        rows, missing, mask, masked = json.loads(raw)
        checked = tuple(_read_checked_row(*pair) for pair in rows)
        return ReadingLine(checked, _read_count(missing), read_text(mask)[:REASON_MOST], _read_count(masked))
    except (ValueError, TypeError, RecursionError):
        raise ConfigError(NOT_OF_THEIR_FORM()) from None


def _read_checked_row(row: Any, error: Any) -> CheckedRow:
    if not isinstance(row, dict) or not all(isinstance(v, str | int | float | None) for v in row.values()):
        raise TypeError
    return row, None if error is None else read_error(*error)


def read_error(code: Any, reason: Any) -> PayloadError:
    """Return the error for which a row is rejected, with a text of at most `REASON_MOST` characters."""
    text = read_text(reason)
    return PayloadError(str(code)[:40], text if len(text) <= REASON_MOST else text[:REASON_MOST])


_OTHER: Final = Template("file.answer", "the worker returned points instead of readings, or readings instead of points")
POINT_BYTES: Final = 64 << 20  # of one line: a point with all its acquisitions


@dataclass(frozen=True, slots=True)
class ConversionRequest:
    """A file to read, and the file for its lines."""

    path: Path
    form: str
    options: ImportOptions
    out: Path
    now: datetime


@dataclass(frozen=True, slots=True)
class ConversionResult:
    """Result of a conversion.

    Attributes:
        lines: The number of lines.
        declared: Name, direction and unit of a set of points.
        wavelength_mm: Its wavelength.
        reference: The instant and the point from which its values count.
        mask: Its quality layers.
        refused: Why the file could not be read; "" if it was read.
    """

    lines: int = 0
    declared: tuple[str, str, str] | None = None
    wavelength_mm: float | None = None
    reference: tuple[datetime | None, str | None] = (None, None)
    mask: str = ""
    refused: str = ""


@dataclass(frozen=True, slots=True)
class ConvertedFile:
    """A file that a sandboxed worker converted; its lines can be read repeatedly."""

    lines: Path
    result: ConversionResult

    @contextmanager
    def readings(self) -> Iterator[Iterator[ReadingLine]]:
        """Open the lines of a file of readings: an `OpenLines`."""
        with open_plain(self.lines) as lines:
            yield lines

    @contextmanager
    def points(self, now: datetime) -> Iterator[tuple[ValueMeaning, Iterator[PointLine]]]:
        """Open the points of a file, with the meaning of their values."""
        result = self.result
        assert result.declared is not None
        with open_raw(self.lines, POINT_BYTES) as lines:
            meaning = ValueMeaning(*result.declared, result.wavelength_mm, *result.reference, result.mask[:REASON_MOST])
            yield meaning, (_read_point_line(raw, now) for raw in lines)


@contextmanager
def open_converted(
    path: Path, form: str, options: ImportOptions, plan: ComputeSection, now: datetime
) -> Iterator[ConvertedFile]:
    """Convert a file in a sandboxed worker that can open only this file and the masks beside it.

    Raises:
        ConfigError: The file does not have its form, or cannot be read within the limits of `[compute]`; one line.
    """
    with compute.temporary_folder() as folder:
        out = folder / "lines"
        source = path.absolute()
        # The worker cannot list the folder.
        companions = list_companions(source) if "--mask" in list_readers()[form].takes else ()
        room_gib = shutil.disk_usage(folder).free / 2 / GIB  # the database needs the rest meanwhile
        limits = SandboxLimits.from_gib(
            plan.job_memory_gib, min(plan.job_file_gib, room_gib), (source, *companions), (folder,)
        )
        request = ConversionRequest(source, form, replace(options, companions=companions), out, now)
        try:
            result = compute.run(CONVERT, request, plan.job_limit_s, limits=limits)
        except JobError as error:
            text = error.problem
            if room_gib < plan.job_file_gib:
                text = rename_file(
                    text, "compute.job_file_gib", "half of what is free on the disk: make room, or cut it"
                )
            raise ConfigError(LABELLED_TEXT(name=str(path), text=UNREADABLE_FILE(problem=text))) from None
        if result.refused:
            raise ConfigError(rename_file(result.refused, str(source), str(path)))
        if (result.declared is not None) != (list_readers()[form].content is Content.POINTS) or out.is_symlink():
            raise ConfigError(LABELLED_TEXT(name=str(path), text=UNREADABLE_FILE(problem=_OTHER())))
        yield ConvertedFile(out, result)


def convert(request: ConversionRequest) -> ConversionResult:
    """Read a file by its reader and write its lines as JSON. This function runs in the worker."""
    try:
        with request.out.open("w", encoding="utf-8") as out:
            return _convert(request, out.write)
    except ConfigError as error:
        text = error.message
        return ConversionResult(refused=text if isinstance(text, Message) else " ".join(text.split()))


CONVERT: Final = WorkerTask("monitor.ingest.files.sandboxed_conversion:convert", ConversionRequest, ConversionResult)


def _convert(request: ConversionRequest, write: Callable[[str], object]) -> ConversionResult:
    if list_readers()[request.form].content is Content.READINGS:
        with open_readings(request.form)(request.path, request.options) as found:
            return ConversionResult(write_lines(found, write))
    lines = 0
    with open_points(request.form)(request.path, request.options, request.now) as (declared, pieces):
        for piece in pieces:
            p = piece.point
            write(
                format_line(
                    [
                        None if p is None else [p.pid, p.latitude, p.longitude, p.height_m],
                        [[v.observed_at, v.value, v.sigma] for v in piece.values],
                        piece.missing,
                        [[b.row, b.error.code, messages_to_plain(b.error.message), b.count] for b in piece.bad],
                        piece.masked,
                    ]
                )
            )
            lines += 1
    meant = declared.name, declared.direction, declared.unit
    reference = declared.reference_at, declared.reference_point
    return ConversionResult(lines, meant, declared.wavelength_mm, reference, declared.mask)


# ---- validation of points that the worker wrote ----------------------------------------------------------------------


def _read_point_line(raw: bytes, now: datetime) -> PointLine:
    try:
        place, values, missing, bad, masked = json.loads(raw)
        if not all(isinstance(row, dict) for row, *_ in bad):
            raise TypeError
        refused = tuple(BadRow(row, read_error(code, text), max(1, _read_count(n))) for row, code, text, n in bad)
        if place is None:
            return PointLine(None, (), _read_count(missing), refused, _read_count(masked))
        point = read_place(dict(zip(("point", "latitude", "longitude", "height_m"), place, strict=True)))
        found = tuple(_read_value(point.pid, now, *one) for one in values)
        return PointLine(point, found, _read_count(missing), refused, _read_count(masked))
    except (TypeError, ValueError, AttributeError, RecursionError, PayloadError):
        raise ConfigError(NOT_OF_THEIR_FORM()) from None


def _read_value(pid: str, now: datetime, at: str, value: float, sigma: float | None) -> PointValue:
    when = datetime.fromisoformat(at)
    if when.tzinfo is None or when > now or not math.isfinite(value) or not (sigma is None or 0 <= sigma < math.inf):
        raise ValueError
    return PointValue(pid, when, float(value), None if sigma is None else float(sigma))


def _read_count(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError
    return value
