"""Files from outside are read in a sandboxed worker: it turns any form into plain lines, which alone are read here."""

import json
import math
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from forecasting.message import TEXT_OF, Message, Template, spread
from monitor.config.service import ComputeSection
from monitor.domain.errors import ConfigError, JobError, PayloadError
from monitor.domain.names import UNREADABLE, rename_file
from monitor.ingest.files.plain_lines import (
    NOT_OF_THEIR_FORM,
    format_line,
    open_plain,
    open_raw,
    read_error,
    write_lines,
)
from monitor.ingest.files.point_rows import read_place
from monitor.ingest.files.reader import BadRow, Content, ImportOptions, PointLine, ReadingLine, ValueMeaning
from monitor.ingest.files.readers import READERS, open_points, open_readings
from monitor.store.readings.points import PointValue
from monitor.worker import compute
from monitor.worker.records import WorkerTask
from monitor.worker.sandbox import GIB, SandboxLimits

_OTHER: Final = Template("file.answer", "the worker answered something else")
POINT_BYTES: Final = 64 << 20  # octets of one line: a point with all its acquisitions


@dataclass(frozen=True, slots=True)
class ConversionRequest:
    """A file to read, and where its lines go."""

    path: Path
    form: str
    options: ImportOptions
    out: Path
    now: datetime


@dataclass(frozen=True, slots=True)
class ConversionResult:
    """How many lines there are; what a set of points is; or why the file is none of its form."""

    lines: int = 0
    declared: tuple[str, str, str] | None = None
    wavelength_mm: float | None = None
    reference: tuple[datetime | None, str | None] = (None, None)
    refused: str = ""


@dataclass(frozen=True, slots=True)
class ConvertedFile:
    """A file that was read behind the walls; its lines can be read again and again."""

    lines: Path
    declared: tuple[str, str, str] | None
    wavelength_mm: float | None = None
    reference: tuple[datetime | None, str | None] = (None, None)
    count: int = 0

    @contextmanager
    def readings(self) -> Iterator[Iterator[ReadingLine]]:
        """The lines of a file of readings: an `OpenLines`."""
        with open_plain(self.lines) as lines:
            yield lines

    @contextmanager
    def points(self, now: datetime) -> Iterator[tuple[ValueMeaning, Iterator[PointLine]]]:
        """What a file of points declares, and its points."""
        assert self.declared is not None
        with open_raw(self.lines, POINT_BYTES) as lines:
            yield (
                ValueMeaning(*self.declared, self.wavelength_mm, *self.reference),
                (_read_piece(raw, now) for raw in lines),
            )


@contextmanager
def open_converted(
    path: Path, form: str, options: ImportOptions, plan: ComputeSection, now: datetime
) -> Iterator[ConvertedFile]:
    """Have a worker read a file; it sees that file alone, reaches nothing, and leaves plain lines.

    Raises:
        ConfigError: the file is none of its form, or cannot be read within the bounds of `[compute]`; one line.
    """
    with compute.own_folder() as folder:
        out = folder / "lines"
        source = path.absolute()
        room_gib = shutil.disk_usage(folder).free / 2 / GIB  # readings, and the database, need the rest meanwhile
        terms = SandboxLimits.bound(plan.job_memory_gib, min(plan.job_file_gib, room_gib), (source,), (folder,))
        request = ConversionRequest(source, form, options, out, now)
        try:
            answer = compute.run(CONVERT, request, plan.job_limit_s, terms=terms)
        except JobError as error:
            text = error.problem
            if room_gib < plan.job_file_gib:
                text = rename_file(
                    text, "compute.job_file_gib", "half of what is free on the disk: make room, or cut it"
                )
            raise ConfigError(TEXT_OF(name=str(path), text=UNREADABLE(problem=text))) from None
        if answer.refused:
            raise ConfigError(rename_file(answer.refused, str(source), str(path)))
        if (answer.declared is not None) != (READERS[form].content is Content.POINTS) or out.is_symlink():
            raise ConfigError(TEXT_OF(name=str(path), text=UNREADABLE(problem=_OTHER())))
        yield ConvertedFile(out, answer.declared, answer.wavelength_mm, answer.reference, answer.lines)


def convert(request: ConversionRequest) -> ConversionResult:
    """The job: read a file by its reader and write its lines as JSON."""
    try:
        with request.out.open("w", encoding="utf-8") as out:
            return _convert(request, out.write)
    except ConfigError as error:
        text = error.message
        return ConversionResult(refused=text if isinstance(text, Message) else " ".join(text.split()))


CONVERT: Final = WorkerTask("monitor.ingest.files.sandboxed_conversion:convert", ConversionRequest, ConversionResult)


def _convert(request: ConversionRequest, write: Callable[[str], object]) -> ConversionResult:
    if READERS[request.form].content is Content.READINGS:
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
                        [[b.row, b.error.code, spread(b.error.message), b.count] for b in piece.bad],
                    ]
                )
            )
            lines += 1
    meant = declared.name, declared.direction, declared.unit
    return ConversionResult(lines, meant, declared.wavelength_mm, (declared.reference_at, declared.reference_point))


# ---- points that the worker wrote, which are not trusted ----------------------------------------------------------


def _read_piece(raw: bytes, now: datetime) -> PointLine:
    try:
        place, values, missing, bad = json.loads(raw)
        refused = tuple(
            BadRow(_read_dict(row), read_error(code, text), max(1, _read_count(n))) for row, code, text, n in bad
        )
        if place is None:
            return PointLine(None, (), _read_count(missing), refused)
        point = read_place(dict(zip(("point", "latitude", "longitude", "height_m"), place, strict=True)))
        found = tuple(_read_value(point.pid, now, *one) for one in values)
        return PointLine(point, found, _read_count(missing), refused)
    except (TypeError, ValueError, AttributeError, RecursionError, PayloadError):
        raise ConfigError(NOT_OF_THEIR_FORM()) from None


def _read_value(pid: str, now: datetime, at: str, value: float, sigma: float | None) -> PointValue:
    when = datetime.fromisoformat(at)
    if when.tzinfo is None or when > now or not math.isfinite(value) or not (sigma is None or 0 <= sigma < math.inf):
        raise ValueError
    return PointValue(pid, when, float(value), None if sigma is None else float(sigma))


def _read_dict(row: Any) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise TypeError
    return row


def _read_count(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError
    return value
