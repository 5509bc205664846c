"""Choose the reader of a file by its first bytes, without unpacking anything."""

import codecs
import re
import shlex
from collections.abc import Container, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from monitor.errors import ConfigError, PayloadError
from monitor.ingest.decoders.rtklib import SolutionHeader, find_columns, read_solution
from monitor.ingest.files.egms import OWN, find_separator, is_wide_points
from monitor.ingest.files.gnss import CARTESIAN, is_cartesian, is_positions
from monitor.ingest.files.lines import is_long
from monitor.ingest.files.reader import is_licsbas
from monitor.ingest.files.readers import LONG, WIDE, list_readers
from monitor.ingest.files.tables import WORKBOOKS, open_rows
from monitor.ingest.text.encodings import find_bare_utf_16, strip_zeros
from monitor.text.message import LABELLED_TEXT, Template
from monitor.text.names import UNREADABLE_FILE

HEAD_BYTES: Final = 1 << 16
_LONG: Final = frozenset({"time", "station", "quantity", "value"})
_POINTS: Final = frozenset({"time", "point", "latitude", "longitude", "value"})
_TIFF: Final = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_NETCDF: Final = (b"CDF\x01", b"CDF\x02", b"CDF\x05")
_HDF5: Final = b"\x89HDF\r\n\x1a\n"
_LICSBAS_DATASET: Final = b"imdates"  # written first
_ZIP: Final = b"PK\x03\x04"
_NAME_AT: Final = 30  # bytes before the name of the first file of a zip
_SOLUTION_FIELDS: Final = 13  # fields of a line of RTKLIB with errors; shorter lines occur in other formats too


class ReaderCandidates(NamedTuple):
    """Readers that may read a file, the most likely first, and advice if none of them can read it without options."""

    forms: tuple[str, ...]
    advice: str = ""


_KNOWN: Final = Template(
    "guess.known", "its format is known, nothing is asked: slopeward ingest {file} --format {form}"
)
_DECLARED: Final = Template(
    "guess.declared",
    "its format is known and the site file declares its readings, nothing is asked: slopeward ingest {file} "
    "--format {form} --site ID",
)
_PARQUET: Final = Template("guess.advice.parquet", "this is Parquet: let its name end in .parquet")
_WORKBOOK: Final = Template("guess.advice.workbook", "this is a workbook: let its name end in .xlsx")
_GRID: Final = Template(
    "guess.advice.grid",
    "this is a grid: give --quantity for values at stations, or --set and --direction for pixels as points",
)
_LICSBAS: Final = Template("guess.advice.licsbas", "this is a time series of LiCSBAS: --set gives the point set a name")
_POINTS_NEED: Final = Template(
    "guess.advice.points", "these are InSAR points: give --set, --direction and --unit for the meaning of their values"
)
_PACKED: Final = Template("guess.advice.packed", "the file is compressed: unpack it, and import what it contains")
_ZIPPED: Final = Template("guess.advice.zip", "a zip of other files: unpack it, and import what it contains")
_JSON: Final = Template("guess.advice.json", "this is JSON: a decoder reads it if an instrument sends it by MQTT")
_NO_TEXT: Final = Template(
    "guess.advice.no_text",
    "neither text nor a known format: export it as text, or give --format",
)
_NO_LONG: Final = Template(
    "guess.advice.table",
    "no table of time, station, quantity, value in UTF-8 with commas: import it with slopeward ingest {file} --guess",
)


def choose_reader(path: Path, given: Container[str] = ()) -> str:
    """Return the reader of a file.

    Args:
        given: Options that the user gave, such as `--quantity`.

    Raises:
        ConfigError: no reader can read it with these options. The message names the remedy.
    """
    forms, advice = _find_candidates(path)
    for form in forms:
        if all(option in given for option in list_readers()[form].needs):
            return form
    raise ConfigError(LABELLED_TEXT(name=str(path), text=advice))


def find_form(path: Path) -> str:
    """Return the format of a file by its content; `wide` for a table whose columns must be identified.

    Raises:
        ConfigError: the file cannot be read, or needs options that are not asked for.
    """
    forms, advice = _find_candidates(path)
    if not forms or forms[0] == "grid":
        raise ConfigError(LABELLED_TEXT(name=str(path), text=advice))
    if list_readers()[forms[0]].recognises:
        raise ConfigError(LABELLED_TEXT(name=str(path), text=_describe_form(path, forms[0])))
    if forms[0] != LONG:
        return forms[0]
    with open_rows(path) as (names, _):
        return LONG if is_long(names) else WIDE


def describe_known(path: Path) -> str:
    """Return why a file is no table whose columns must be identified; empty if it may be one.

    Raises:
        ConfigError: the file cannot be read.
    """
    forms, advice = _find_candidates(path)
    if forms[:1] in {(LONG,), (WIDE,)} or (forms == ("gnss",) and path.suffix.lower() == ".csv"):
        return ""  # columns with names can be identified as well
    return advice or _describe_form(path, forms[0])


def _describe_form(path: Path, form: str) -> str:
    return (_DECLARED if list_readers()[form].recognises else _KNOWN)(file=shlex.quote(path.name), form=form)


def _find_candidates(path: Path) -> ReaderCandidates:
    try:
        with path.open("rb") as file:
            return _inspect_bytes(path, file.read(HEAD_BYTES))
    except OSError as error:
        raise ConfigError(LABELLED_TEXT(name=str(path), text=UNREADABLE_FILE(problem=error.strerror or ""))) from None


def _inspect_bytes(path: Path, head: bytes) -> ReaderCandidates:
    suffix = path.suffix.lower()
    if suffix in WORKBOOKS:
        return _table(path)
    if head.startswith(_ZIP):
        first = head[_NAME_AT : _NAME_AT + int.from_bytes(head[26:28], "little")].decode("utf-8", "replace")
        if re.match(r"(?:.*/)?EGMS_L\d", first):
            return ReaderCandidates(("egms",))
        if re.match(r"\[Content_Types\]|_rels/|docProps/|xl/", first):
            return ReaderCandidates((), _WORKBOOK())
        return ReaderCandidates((), _ZIPPED())
    if head.startswith(b"PAR1"):
        return ReaderCandidates((LONG,)) if suffix in {".parquet", ".pq"} else ReaderCandidates((), _PARQUET())
    if head.startswith(_HDF5) and suffix in list_readers()["mintpy"].suffixes:
        if is_licsbas(path) or _LICSBAS_DATASET in head:
            return ReaderCandidates(("licsbas",), _LICSBAS())
        return ReaderCandidates(("mintpy",))
    if head.startswith((*_TIFF, *_NETCDF, _HDF5)):
        return ReaderCandidates(("grid", "insar-grid"), _GRID())
    if head.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"7z\xbc\xaf", b"Rar!")):
        return ReaderCandidates((), _PACKED())
    if head.startswith((b"\xff\xfe", b"\xfe\xff", b'"TOB1"')):
        return _table(path)
    if find_bare_utf_16(head):
        return _table(path)
    head = strip_zeros(head)
    if b"\0" in head:
        return ReaderCandidates((), _NO_TEXT())
    candidates = _inspect_text(path, head.decode("utf-8-sig", "replace"))
    if candidates.forms == (LONG,) and not _is_utf_8(head):
        return _table(path)
    return candidates


def _is_utf_8(head: bytes) -> bool:
    """Return whether bytes are UTF-8. The last character may be cut."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return True


def _table(path: Path) -> ReaderCandidates:
    return ReaderCandidates((WIDE,), _NO_LONG(file=shlex.quote(str(path))))


def _inspect_text(path: Path, text: str) -> ReaderCandidates:
    lines = text.splitlines(keepends=True)
    first = next((line.strip() for line in lines if line.strip()), "")
    if re.match(r"\s*[\[{]\s*[\[{\"}]", text):
        return ReaderCandidates((), _JSON())
    names = {name.strip().strip('"') for name in first.split(",")}
    if len(_LONG & names) > 1 or not first:
        return ReaderCandidates((LONG,)) if not names >= _POINTS else _POINT_ROWS
    if names >= _POINTS:
        return _POINT_ROWS
    names = {name.strip().strip('"') for name in first.split(find_separator(first))}
    if "pid" in names and OWN & names and any(re.fullmatch(r"\d{8}", name) for name in names):
        return ReaderCandidates(("egms",))
    if is_wide_points(sorted(names)):
        return ReaderCandidates(("insar-wide",), _POINTS_NEED())
    if is_solution(lines):
        return ReaderCandidates(("rtklib",))
    if is_positions(path, lines):
        return ReaderCandidates(("gnss",))
    if is_cartesian(lines):
        return ReaderCandidates((), CARTESIAN())
    return _find_plugin_reader(text) or _table(path)


def _find_plugin_reader(text: str) -> ReaderCandidates | None:
    """Return the reader of a plugin that recognises a text."""
    names = (
        name for name, reader in list_readers().items() if reader.recognises is not None and reader.recognises(text)
    )
    return next((ReaderCandidates((name,)) for name in names), None)


_POINT_ROWS: Final = ReaderCandidates(("insar-points",), _POINTS_NEED())


def is_solution(lines: Iterable[str]) -> bool:
    """Return whether lines are of RTKLIB: by their header, or by time, place, quality and errors in the first line."""
    head = []
    for line in lines:
        if line.startswith("%"):
            head.append(line)
            continue
        with suppress(PayloadError):
            if find_columns(head):
                return True
            fields = line.split()
            read_solution(line, SolutionHeader("utc", "llh"))
            return len(fields) >= _SOLUTION_FIELDS and ("/" in fields[0] or fields[0].isdigit())
        return False
    return False
