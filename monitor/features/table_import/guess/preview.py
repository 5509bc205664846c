"""Preview a file: its meaning, the open questions, and its first and last rows.

For the page, a sandboxed worker previews uploaded files, so that the libraries that open workbooks and Parquet never
run in the service. Only text and numbers come back.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import UTC
from itertools import islice
from pathlib import Path
from typing import Final

from monitor.api.errors import ConfigError
from monitor.api.files import Content, ImportOptions
from monitor.api.queries.ingest import WIDE, StationPlace, find_form, list_readers
from monitor.api.sites import Origin, TotalStation
from monitor.api.text import Template, rename_file
from monitor.features.table_import.guess.guess import SensorGuess, TableGuess, guess
from monitor.features.table_import.guess.instruments import SeriesSampler
from monitor.features.table_import.guess.known_format import guess_known_format
from monitor.features.table_import.guess.motion import MotionReadings
from monitor.features.table_import.guess.questions import FileQuestion
from monitor.features.table_import.guess.raw_table import SHEET, read_raw_table
from monitor.features.table_import.guess.site_file import request_place
from monitor.features.table_import.guess.toml_writer import format_mapping
from monitor.features.table_import.guess.values import CheckedValue, LineReader, list_values

HEAD: Final = ("time", "station", "quantity", "value", "unit")
# Values of a file that are read for the preview.
VALUES_MOST: Final = 5_000_000
ROWS_SHOWN: Final = 8
COLUMNS_SHOWN: Final = 12
# Characters of a cell that are shown.
CELL_MOST: Final = 60
_POINTS: Final = Template("upload.points", "satellite points come in by `slopeward ingest FILE --site SITE`")


@dataclass(frozen=True, slots=True)
class PreviewRequest:
    """A request to preview an uploaded file.

    Attributes:
        table: Path of the file.
        name: Name that its owner gave it.
        answers: Answers so far, by key of the question.
        is_new: Whether the site is new, so that its position must be known.
        site_options: Import options of the site file, such as origins of stations.
        place: Latitude and longitude of an existing site.
    """

    table: str
    name: str
    answers: Mapping[str, str]
    is_new: bool
    site_options: ImportOptions = ImportOptions()  # noqa: RUF009 - frozen
    place: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class FilePreview:
    """The first and last values of a file as they would be stored, as cells under `HEAD`.

    Attributes:
        values: Number of values.
        refused: Number of values that would be refused.
        first_refused: The first refused value with the reason; empty if there is none.
    """

    first: tuple[tuple[str, ...], ...] = ()
    last: tuple[tuple[str, ...], ...] = ()
    values: int = 0
    refused: int = 0
    first_refused: str = ""


def preview_values(
    path: Path, found: TableGuess, reader: LineReader | None = None, sampler: SeriesSampler | None = None
) -> tuple[tuple[SensorGuess, ...], FilePreview]:
    """Read the values of a file without open questions, at most `VALUES_MOST` of them.

    Args:
        path: The file.
        found: Its meaning.
        reader: Reads the lines of the file.
        sampler: Collects the values, to compare them with those of other files.

    Returns:
        The series of the file, each with the motion in its record, and the first and last values.

    Raises:
        ConfigError: The file cannot be read.
    """
    record = MotionReadings()
    first: list[tuple[str, ...]] = []
    last: deque[CheckedValue] = deque(maxlen=ROWS_SHOWN)
    values = refused = 0
    first_refused = ""
    for value in islice(list_values(path, found.form, found.options, reader), VALUES_MOST):
        values += 1
        record.add(value)
        if sampler is not None:
            sampler.add(value)
        if value.error:
            refused += 1
            first_refused = first_refused or f"{value.when} {value.station}: {value.error}"
        if len(first) < ROWS_SHOWN:
            first.append(_to_cells(value))
        else:
            last.append(value)
    preview = FilePreview(tuple(first), tuple(map(_to_cells, last)), values, refused, first_refused)
    return record.estimate_motion(found.sensors), preview


@dataclass(frozen=True, slots=True)
class FileOptions:
    """Import options that a file or an answer states: the part of `ImportOptions` that the worker returns."""

    station: str | None = None
    time: str | None = None
    places: tuple[StationPlace, ...] = ()
    origins: tuple[tuple[str, Origin], ...] = ()
    total_stations: tuple[TotalStation, ...] = ()


@dataclass(frozen=True, slots=True)
class PreviewResult:
    """The preview of a file.

    Attributes:
        trouble: Why the file cannot be read; empty if it can.
        facts: What was understood, as names and texts.
        questions: The open questions.
        sensors: The series of the file.
        mapping: The mapping as TOML; empty while a question is open and for known forms.
        head: Headings of `rows`.
        rows: The first rows: cells of the file while a question is open, then values as they would be stored.
        last_rows: The last values as they would be stored.
        form: The reader of the file.
        told: Import options that the file or an answer states.
        zone: Time zone of a new site.
    """

    trouble: str = ""
    facts: tuple[tuple[str, str], ...] = ()
    questions: tuple[FileQuestion, ...] = ()
    sensors: tuple[SensorGuess, ...] = ()
    mapping: str = ""
    head: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    last_rows: tuple[tuple[str, ...], ...] = ()
    form: str = WIDE
    told: FileOptions = FileOptions()
    zone: str = "UTC"

    @property
    def file_options(self) -> ImportOptions:
        """Return the options of the import except for the mapping."""
        return ImportOptions(**{one.name: getattr(self.told, one.name) for one in fields(self.told)})

    @property
    def is_answered(self) -> bool:
        """Whether the file can be accepted: no question is open."""
        return bool(self.facts) and not self.questions and not self.trouble


def preview_file(request: PreviewRequest) -> PreviewResult:
    """Preview a file; the task of the worker."""
    path = Path(request.table)
    head: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    try:
        form = find_form(path)
        if list_readers()[form].content is Content.POINTS:
            raise ConfigError(_POINTS())
        if form != WIDE:
            options = replace(request.site_options, name=request.name)
            found = _request_place(guess_known_format(path, form, request.answers, options), request)
        else:
            table = read_raw_table(path, request.answers.get(SHEET, ""))
            table_guess = guess(
                replace(table, path=Path(request.name)),
                request.answers,
                site_origins=dict(request.site_options.origins),
                total_stations=request.site_options.total_stations,
                site_place=request.place,
            )
            found = _request_place(table_guess, request)
            shown = [table.columns[name][:ROWS_SHOWN] for name in table.keys[:COLUMNS_SHOWN]]
            rows = tuple(tuple("" if c is None else _cut(str(c)) for c in row) for row in zip(*shown, strict=True))
            head = tuple(map(_cut, table.keys[:COLUMNS_SHOWN]))
        result = PreviewResult(
            facts=found.facts,
            questions=found.questions,
            sensors=found.sensors,
            form=form,
            told=FileOptions(**{one.name: getattr(found.file_options, one.name) for one in fields(FileOptions)}),
            zone=found.zone,
        )
        if found.questions:
            return replace(result, head=head, rows=rows)
        sensors, preview = preview_values(path, found)
    except ConfigError as error:
        return PreviewResult(rename_file(error.message, str(path), request.name))
    mapping = "" if found.mapping is None else format_mapping(found.mapping, request.name)
    return replace(result, mapping=mapping, head=HEAD, rows=preview.first, last_rows=preview.last, sensors=sensors)


def _request_place(found: TableGuess, request: PreviewRequest) -> TableGuess:
    return request_place(found, request.answers) if request.is_new else found


def _cut(text: str) -> str:
    return text if len(text) <= CELL_MOST else f"{text[:CELL_MOST]}…"


def _to_cells(one: CheckedValue) -> tuple[str, ...]:
    when = one.when if one.at is None else f"{one.at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    number = f"{one.value:.10g}" if isinstance(one.value, float) else str(one.value)
    value = f"{number}: {one.error}" if one.error else number
    return tuple(map(_cut, (when, one.station, one.quantity, value, one.unit)))
