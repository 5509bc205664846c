"""Understand several files of one site together, and ask each question once for all files that need it."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Final, NamedTuple

from monitor.api.errors import ConfigError
from monitor.api.files import Content, ImportOptions
from monitor.api.ingest import list_files
from monitor.api.queries.ingest import WIDE, add_places, find_form, list_readers
from monitor.api.sites import QUANTITIES, Origin, Site, convert
from monitor.api.text import Template
from monitor.features.table_import.guess import site_file
from monitor.features.table_import.guess.guess import SensorGuess, TableGuess, guess
from monitor.features.table_import.guess.instruments import (
    Instruments,
    SampledSeries,
    SeriesSampler,
    join_instruments,
)
from monitor.features.table_import.guess.known_format import guess_known_format
from monitor.features.table_import.guess.preview import FilePreview, preview_values
from monitor.features.table_import.guess.questions import EACH, FileQuestion, Interview
from monitor.features.table_import.guess.raw_table import SHEET, RawTable, read_raw_table
from monitor.features.table_import.guess.same_times import request_one_record
from monitor.features.table_import.guess.values import LineReader, list_values

# Tables that stay in memory while questions are open. If there are more, files with open questions are read again
# after each round of answers.
TABLES_KEPT: Final = 16
# An answer to a question about several files. The question is then asked for each of them.
EACH_FILE: Final = "each file on its own"
_POINTS: Final = Template("import.points", "satellite points are imported by `slopeward ingest {file} --site SITE`")
_NO_TABLE: Final = Template("import.no_table", "{path}: no file in it is a table of readings")
_OTHER_FOLDER: Final = Template("import.folder", "a folder; name it as well to import its files")
_NO_TABLE_NAME: Final = Template("import.other_file", "its suffix is not one of a table")
_COPY: Final = Template("import.copy", "a copy of {file}")
_SAME_NAME: Final = Template(
    "import.same_name",
    "{file} and {other} have the same name, and a mapping is named after its file: rename one of them",
)


@dataclass(frozen=True, slots=True)
class FileGuess:
    """A file with its meaning as far as it is known.

    Attributes:
        preview: Its first and last values as they would be stored; None while a question is open.
        samples: Values to compare with those of other files; empty for a single file.
    """

    path: Path
    guess: TableGuess
    preview: FilePreview | None = None
    samples: tuple[SampledSeries, ...] = ()


@dataclass(frozen=True, slots=True)
class SharedQuestion:
    """A question with the files that leave it open.

    Attributes:
        key: The key of the answer. It begins with the name of a file where the answer is for this file alone.
        files: Names of the files; empty for a question about the site as a whole.
        other_texts: The question as other files put it, for example with other columns.
    """

    question: FileQuestion
    key: str
    files: tuple[str, ...] = ()
    other_texts: tuple[str, ...] = ()

    @property
    def choices(self) -> tuple[str, ...]:
        """The choices of the question, and `EACH_FILE` if it is about several files."""
        question = self.question
        return (*question.choices, EACH_FILE) if question.choices and len(self.files) > 1 else question.choices

    def add(self, name: str, question: FileQuestion) -> "SharedQuestion":
        """Return the question with another file that leaves it open, perhaps with other columns."""
        is_new = question.text not in {self.question.text, *self.other_texts}
        texts = (*self.other_texts, question.text) if is_new else self.other_texts
        choices = tuple(dict.fromkeys((*self.question.choices, *question.choices)))
        joined = replace(self.question, choices=choices)
        return replace(self, question=joined, files=(*self.files, name), other_texts=texts)


@dataclass(frozen=True, slots=True)
class ImportGuess:
    """What is known about all files of an import.

    Attributes:
        questions: Open questions. The files cannot be stored before they are answered.
        left_out: Files and folders that are not imported, each with the reason.
        lines: Reads the lines of the files.
    """

    files: tuple[FileGuess, ...]
    questions: tuple[SharedQuestion, ...] = ()
    left_out: tuple[tuple[Path, str], ...] = ()
    lines: LineReader = field(default_factory=LineReader, compare=False)

    @property
    def values(self) -> int:
        """Number of values in all files."""
        return sum(file.preview.values for file in self.files if file.preview is not None)

    def merge(self) -> TableGuess:
        """Return all files as one: zone and form of the first file, and each series once."""
        if len(self.files) == 1:
            return self.files[0].guess
        guesses = [file.guess for file in self.files]
        sensors, file_options = merge_series(
            [(guess.sensors, guess.file_options) for guess in guesses], self._list_samples()
        )
        facts = tuple((f.path.name, text) for f in self.files for name, text in f.guess.facts if name == "file")
        return replace(guesses[0], facts=facts, questions=(), sensors=sensors, file_options=file_options)

    def find_instruments(self) -> Instruments:
        """Return the stations of all files that share an instrument."""
        return _find_shared_instruments([s for file in self.files for s in file.guess.sensors], self._list_samples())

    def _list_samples(self) -> list[SampledSeries]:
        return [series for file in self.files for series in file.samples]

    def find_shared_series(self) -> dict[tuple[str, str], list[FileGuess]]:
        """Return the series that stand in several files, by station and quantity, with their files."""
        found: dict[tuple[str, str], list[FileGuess]] = {}
        for file in self.files:
            for sensor in file.guess.sensors:
                found.setdefault((sensor.station, sensor.quantity), []).append(file)
        return {key: files for key, files in found.items() if len(files) > 1}


def merge_series(
    files: Iterable[tuple[Iterable[SensorGuess], ImportOptions]], samples: Sequence[SampledSeries] = ()
) -> tuple[tuple[SensorGuess, ...], ImportOptions]:
    """Return the series of several files, each once and with its instrument, and what the files state about stations.

    Args:
        files: The series and the options of each file.
        samples: Values of the series, by which copies in other files are found.
    """
    measured: list[SensorGuess] = []
    sensors: dict[tuple[str, str], SensorGuess] = {}
    options: list[ImportOptions] = []
    for of_file, known in files:
        options.append(known)
        for sensor in of_file:
            measured.append(sensor)
            sensors.setdefault((sensor.station, sensor.quantity), sensor)
    instruments = _find_shared_instruments(measured, samples).names
    merged = ImportOptions(
        places=tuple({place.station: place for known in options for place in known.places}.values()),
        origins=_merge_origins(origin for known in options for origin in known.origins),
        total_stations=next((known.total_stations for known in options if known.total_stations), ()),
    )
    joined = tuple(replace(one, instrument=instruments.get(one.station, "")) for one in sensors.values())
    return joined, merged


def _find_shared_instruments(sensors: Iterable[SensorGuess], samples: Sequence[SampledSeries]) -> Instruments:
    """Return the stations that share an instrument, by what each file shows and by names and values across files."""
    known: dict[str, str] = {}
    measured: dict[tuple[str, str], None] = {}
    for sensor in sensors:
        known[sensor.station] = known.get(sensor.station) or sensor.instrument
        measured[sensor.station, sensor.quantity] = None
    return join_instruments(known, measured, samples)


def _merge_origins(origins: Iterable[tuple[str, Origin]]) -> tuple[tuple[str, Origin], ...]:
    """Return the earliest origin of each station."""
    found: dict[str, Origin] = {}
    for station, origin in origins:
        earliest = found.setdefault(station, origin)
        if origin.since < earliest.since:
            found[station] = origin
    return tuple(found.items())


class ListedFiles(NamedTuple):
    """The files of an import, and what is left out of its folders, with the reasons."""

    files: Sequence[Path]
    left_out: Sequence[tuple[Path, str]]


def list_import_files(paths: Sequence[Path]) -> ListedFiles:
    """Return the files to import: those that are named, and the tables in folders that are named.

    Folders inside of a folder, files that are no tables by their names, and copies of other files are left out.

    Raises:
        ConfigError: There is no such file, a folder has no table, or two files have the same name.
    """
    suffixes = {s for reader in list_readers().values() if reader.content is Content.READINGS for s in reader.suffixes}
    found: dict[str, Path] = {}
    left_out: list[tuple[Path, str]] = []
    contents: dict[tuple[int, str], Path] = {}
    for path in paths:
        files = list_files(path, tuple(sorted(suffixes)))
        if path.is_dir():
            left_out += [(other, _OTHER_FOLDER()) for other in sorted(path.iterdir()) if other.is_dir()]
            left_out += [(other, _NO_TABLE_NAME()) for other in sorted(path.iterdir()) if _is_other(other, files)]
        for file in files:
            other = found.setdefault(file.name, file)
            if other.resolve() != file.resolve():
                raise ConfigError(_SAME_NAME(file=str(file), other=str(other)))
            original = contents.setdefault(_identify(file), file)
            if original.resolve() != file.resolve():
                del found[file.name]
                left_out.append((file, _COPY(file=original.name)))
    return ListedFiles(list(found.values()), left_out)


def _is_other(path: Path, files: Sequence[Path]) -> bool:
    return path.is_file() and path not in files and not path.name.startswith(".")


def _identify(path: Path) -> tuple[int, str]:
    """Return size and checksum of a file."""
    if str(path) == "-":
        return 0, "-"
    with path.open("rb") as file:
        return path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest()


class ImportReader:
    """Reads the files of an import as often as their questions require.

    Attributes:
        used_answers: Keys of answers that were looked up for at least one file.

    Args:
        files: As from `list_import_files`.
        site: The site to which the files belong; None for a new site.
        asks_place: Whether the position of the slope is asked for unless a file states it.
        remembered: Answers of earlier imports. They are used for questions that remain open and accept this answer.
    """

    def __init__(
        self,
        files: Sequence[Path],
        site: Site | None,
        *,
        asks_place: bool,
        remembered: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._files = files
        self._remembered = remembered
        self._site_options = add_places(ImportOptions(), site)
        self._place = None if site is None else (site.latitude, site.longitude)
        self._asks_place = asks_place
        self._read_table = lru_cache(TABLES_KEPT)(read_raw_table)
        self._lines = LineReader()
        self._answered: dict[Path, tuple[Mapping[str, str], FileGuess]] = {}
        self.used_answers: set[str] = set()

    def guess(self, answers: Mapping[str, str]) -> ImportGuess:
        """Return what all files mean with these answers, and the questions that remain.

        Args:
            answers: By key of the question, for all files; `FILE/KEY` answers for one file alone.

        Raises:
            ConfigError: No file is a table of readings, or an answer is none of the choices.
        """
        files: list[FileGuess] = []
        left_out: list[tuple[Path, str]] = []
        for path in self._files:
            try:
                files.append(self._guess_file(path, select_answers(answers, path.name)))
            except ConfigError as error:
                if len(self._files) == 1:
                    raise
                left_out.append((path, error.message))
        if not files:
            raise ConfigError(_NO_TABLE(path=str(self._files[0].parent)))
        questions = share_questions(((file.path.name, file.guess.questions) for file in files), answers)
        found = ImportGuess(tuple(files), tuple(questions), tuple(left_out), self._lines)
        if not found.questions:
            found = replace(found, questions=self._compare_files(found, answers))
        if self._asks_place and all(site_file.needs_place(file.guess, answers) for file in files):
            place = SharedQuestion(site_file.PLACE_QUESTION, site_file.PLACE)
            found = replace(found, questions=(*found.questions, place))
        return found

    def _guess_file(self, path: Path, answers: Mapping[str, str]) -> FileGuess:
        answered = self._answered.get(path)
        if answered is not None and answered[0] == answers:
            return answered[1]
        own = _UsedAnswers(answers)
        guessed = self._guess_table(path, own)
        remembered = select_answers(self._remembered, path.name)
        while recalled := _recall(guessed.questions, remembered, own):
            own.add(recalled)
            guessed = self._guess_table(path, own)
        self.used_answers |= own.used | {f"{path.name}/{key}" for key in own.used}
        if guessed.questions:
            return FileGuess(path, guessed)
        sampler = SeriesSampler() if len(self._files) > 1 else None
        sensors, preview = preview_values(path, guessed, self._lines, sampler)
        samples = () if sampler is None else tuple(sampler.list_series())
        found = FileGuess(path, replace(guessed, sensors=sensors), preview, samples)
        self._answered[path] = dict(answers), found
        return found

    def _compare_files(self, found: ImportGuess, answers: Mapping[str, str]) -> tuple[SharedQuestion, ...]:
        """Return questions about series for which several files contain different values at the same times."""
        values = _load_shared_values(found)
        own = _UsedAnswers(answers)
        questions = _request_records(values, own)
        own.add(_recall(questions, self._remembered, own))
        questions = _request_records(values, own)
        self.used_answers |= own.used
        return tuple(SharedQuestion(question, question.key) for question in questions)

    def _guess_table(self, path: Path, answers: Mapping[str, str]) -> TableGuess:
        form = find_form(path)
        if list_readers()[form].content is Content.POINTS:
            raise ConfigError(_POINTS(file=str(path)))
        if form == WIDE:
            table = self._read(path, answers)
            origins = dict(self._site_options.origins)
            return guess(
                table,
                answers,
                site_origins=origins,
                total_stations=self._site_options.total_stations,
                site_place=self._place,
            )
        return guess_known_format(path, form, answers, self._site_options)

    def _read(self, path: Path, answers: Mapping[str, str]) -> RawTable:
        return self._read_table(path, answers.get(SHEET, ""))


def _recall(
    questions: Iterable[FileQuestion], remembered: Mapping[str, str], answers: Mapping[str, str]
) -> dict[str, str]:
    """Return earlier answers to open questions, as far as they are possible here."""
    recalled = {}
    for question in questions:
        answer = remembered.get(question.key)
        if answer is None or question.key in answers:
            continue
        if not question.choices or answer in question.choices:
            recalled[question.key] = answer
    return recalled


class _UsedAnswers(Mapping[str, str]):
    """Answers that note which of them were looked up."""

    def __init__(self, answers: Mapping[str, str]) -> None:
        self._answers = dict(answers)
        self.used: set[str] = set()

    def add(self, answers: Mapping[str, str]) -> None:
        self._answers |= answers

    def __getitem__(self, key: str) -> str:
        self.used.add(key)
        return self._answers[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._answers)

    def __len__(self) -> int:
        return len(self._answers)


def select_answers(answers: Mapping[str, str], file: str) -> dict[str, str]:
    """Return the answers for one file: `FILE/KEY` of this file overrides KEY.

    Answers for other files stay, because a key may contain a slash. An `EACH_FILE` answer is dropped.

    >>> select_answers({"zone": "UTC", "a.csv/zone": "Europe/Rome", "b.csv/unit": "mm"}, "a.csv")
    {'zone': 'Europe/Rome', 'b.csv/unit': 'mm'}
    """
    prefix = f"{file}/"
    shared = {key: answer for key, answer in answers.items() if not key.startswith(prefix) and answer != EACH_FILE}
    return shared | {key.removeprefix(prefix): answer for key, answer in answers.items() if key.startswith(prefix)}


def share_questions(
    files: Iterable[tuple[str, Iterable[FileQuestion]]], answers: Mapping[str, str] = MappingProxyType({})
) -> list[SharedQuestion]:
    """Return the questions of files. Those with the same key are one question if they offer the same choices.

    Args:
        files: The name of each file and its open questions.
        answers: A question with the answer `EACH_FILE` is asked for each file on its own.
    """
    shared: dict[str, SharedQuestion] = {}
    for name, questions in files:
        for question in questions:
            earlier = shared.get(question.key)
            is_separate = answers.get(question.key) == EACH_FILE or (
                earlier is not None and not _have_same_choices(earlier.question, question)
            )
            if is_separate:
                key = f"{name}/{question.key}"
                shared[key] = SharedQuestion(question, key, (name,))
            elif earlier is None:
                shared[question.key] = SharedQuestion(question, question.key, (name,))
            else:
                shared[question.key] = earlier.add(name, question)
    return list(shared.values())


def _have_same_choices(one: FileQuestion, other: FileQuestion) -> bool:
    """Return whether two questions offer the same choices, apart from `EACH`."""
    return {*one.choices} - {EACH} == {*other.choices} - {EACH}


def _load_shared_values(found: ImportGuess) -> dict[tuple[str, str], dict[str, list[tuple[datetime, float]]]]:
    """Return times and values of the series that several files contain, by series and by the name of the file."""
    shared = found.find_shared_series()
    values: dict[tuple[str, str], dict[str, list[tuple[datetime, float]]]] = {key: {} for key in shared}
    for file in dict.fromkeys(file.path for files in shared.values() for file in files):
        guessed = next(one.guess for one in found.files if one.path == file)
        for one in list_values(file, guessed.form, guessed.options, found.lines):
            key = one.station, one.quantity
            if one.at is None or one.error or key not in shared:
                continue
            with suppress(ValueError, TypeError):  # the value is no number
                number = convert(float(one.value), one.unit, QUANTITIES[one.quantity].unit)
                values[key].setdefault(file.name, []).append((one.at, number))
    return values


def _request_records(
    values: Mapping[tuple[str, str], Mapping[str, Sequence[tuple[datetime, float]]]], answers: Mapping[str, str]
) -> list[FileQuestion]:
    """Return the open questions about series with different values in several files."""
    interview = Interview(answers)
    for (station, quantity), files in values.items():
        request_one_record(f"{station}.{quantity}", [*files.items()], interview)
    return interview.questions
