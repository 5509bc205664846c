"""Write what was understood of files: a mapping for each table, and the site file or the stations that it lacks."""

import hashlib
import json
import shlex
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from forecasting.whole_file import replacing
from monitor.api.decision import PreparedSite, RecordDays, WarningSummary, find_unreached, summarise_warnings
from monitor.api.errors import ConfigError
from monitor.api.sites import Site, find_weaknesses, parse_site
from monitor.features.table_import.folder import FileGuess, ImportGuess
from monitor.features.table_import.guess import site_file
from monitor.features.table_import.guess.guess import SensorGuess, TableGuess
from monitor.features.table_import.guess.lookback import count_days
from monitor.features.table_import.guess.toml_writer import format_mapping

# In the folder of the mappings of a site: the answers to the questions about its files, for later imports.
_ANSWERS_FILE: Final = "answers.toml"
_ANSWERS_HEADER: Final = """\
# Answers to questions about the files of this site. `slopeward import` uses them again for later files.
"""


@dataclass(frozen=True, slots=True)
class SiteDraft:
    """A site as it will be once its file is written.

    Attributes:
        text: Text of the site file; None if the file stays as it is.
        added: Series of the stations that the site file lacks.
        undeclared: New quantities of declared stations. They are not added to the site file.
        record: Days of the record that reached each level; None for stations that are added to a site.
    """

    site: Site
    text: str | None
    added: Sequence[SensorGuess] = ()
    undeclared: Sequence[SensorGuess] = ()
    record: RecordDays | None = None

    @property
    def is_weak(self) -> bool:
        """Whether `slopeward check` refuses the site, because no series can reach its highest level."""
        return bool(find_weaknesses(self.site)) or bool(find_unreached(PreparedSite(self.site)))

    def summarise(self) -> WarningSummary:
        """Summarise what raises which level, and what nothing judges."""
        stations = {sensor.station for sensor in self.added} if self.added else None
        return summarise_warnings(self.site, self.record, stations)

    def find_unjudged(self, bounds: Sequence[site_file.LevelBounds] = ()) -> site_file.UnjudgedQuantities | None:
        """Return the quantities of the added series that no criterion judges, except quantities with given bounds."""
        given = {bound.quantity for bound in bounds}
        return site_file.describe_unjudged(self.site, [s for s in self.added if s.quantity not in given])


def draft_new_site(
    name: str,
    found: ImportGuess,
    answers: Mapping[str, str],
    bounds: Sequence[site_file.LevelBounds],
    on_progress: Callable[[float], None] = lambda _: None,
    *,
    zone: str | None = None,
) -> SiteDraft:
    """Return a new site for the files, with bounds that fit their records.

    Args:
        name: The id of the site.
        found: The files.
        answers: Answers to questions, for the place of the site.
        bounds: Bounds that a person gave.
        on_progress: Called with the share of the record that is replayed.
        zone: Time zone of the site; None for that of the first file.

    Raises:
        ConfigError: The name cannot be that of a site, or a bound is for a quantity that no file has.
    """
    merged = found.merge()
    place = site_file.find_place(merged.file_options, answers)
    write = partial(site_file.write_site, name, place, zone or merged.zone, merged.sensors, bounds, merged.file_options)
    files = [(file.path, file.guess) for file in found.files]
    record = count_days(parse_site(write(), name), files, found.values, found.lines, on_progress)
    # The comments of a site file are about the whole record.
    text = write(days=record.list_judged() if record.part is None else {})
    return SiteDraft(parse_site(text, name), text, merged.sensors, record=record)


def draft_additions(site: Site, found: ImportGuess, bounds: Sequence[site_file.LevelBounds]) -> SiteDraft:
    """Return an existing site with the stations that it lacks at the end of its file.

    Raises:
        ConfigError: The site has all stations, so that given bounds have no place.
    """
    merged = found.merge()
    absent = site_file.find_absent(site, merged.sensors)
    undeclared = [
        sensor
        for sensor in merged.sensors
        if sensor not in absent and site.series(sensor.station, sensor.quantity) is None
    ]
    if not absent:
        if bounds:
            raise ConfigError(f"{site.id} has all stations of these files: change its bounds in its own file")
        return SiteDraft(site, None, undeclared=undeclared)
    text = site_file.add_stations(site, absent, bounds, merged.file_options)
    return SiteDraft(parse_site(text, site.id), text, absent, undeclared)


def is_own_site_file(path: Path, found: TableGuess, answers: Mapping[str, str]) -> bool:
    """Return whether a site file has the content that an import wrote without bounds. Comments are not compared."""
    if not path.is_file() or (site_file.PLACE not in answers and not found.file_options.places):
        return False
    place = site_file.find_place(found.file_options, answers)
    text = site_file.write_site(path.stem, place, found.zone, found.sensors, known=found.file_options)
    return tomllib.loads(path.read_text(encoding="utf-8")) == tomllib.loads(text)


# ---- mappings --------------------------------------------------------------------------------------------------------


def name_mapping(folder: Path, file: Path, found: ImportGuess) -> Path:
    """Return the path of the mapping of a file.

    The mapping has the name of the file without its suffix, but with it if another file of the import has the same name
    apart from the suffix.
    """
    is_shared = any(other.path.stem == file.stem and other.path.name != file.name for other in found.files)
    return folder / f"{file.name if is_shared else file.stem}.mapping.toml"


def write_new_mapping(folder: Path, file: FileGuess, found: ImportGuess) -> Path | None:
    """Write the mapping of a table and return its path; None for a known form, which needs no mapping.

    Raises:
        ConfigError: There is another mapping for a file of this name.
    """
    if file.guess.mapping is None:
        return None
    text = format_mapping(file.guess.mapping, file.path.name)
    return write_new(name_mapping(folder, file.path, found), text)


def write_mapping(folder: Path, file: FileGuess, found: ImportGuess) -> Path | None:
    """Write the mapping of a table, or replace the one that an earlier import wrote; None for a known form.

    The first line contains a checksum of the rest, by which `require_own_mappings` notices changes.
    """
    if file.guess.mapping is None:
        return None
    text = format_mapping(file.guess.mapping, file.path.name)
    path = name_mapping(folder, file.path, found)
    return replace_file(path, f"{_checksum(text)}\n{text}")


def require_own_mappings(folder: Path, found: ImportGuess) -> None:
    """Require that the mappings of files are as earlier imports wrote them, before anything is stored.

    Raises:
        ConfigError: A mapping was changed by hand.
    """
    for file in found.files:
        path = name_mapping(folder, file.path, found)
        if file.guess.mapping is None or not path.is_file():
            continue
        first, _, rest = path.read_text(encoding="utf-8").partition("\n")
        if first != _checksum(rest):
            raise ConfigError(
                f"{path} was changed by hand, so nothing was stored; to use it: slopeward ingest "
                f"{quote_path(file.path)} --mapping {quote_path(path)}. To let the import write a new one, remove it"
            )


def _checksum(text: str) -> str:
    """Return the first line of a mapping that an import wrote."""
    return f"# Written by slopeward import, checksum {hashlib.sha256(text.encode()).hexdigest()[:16]}"


def load_answers(folder: Path) -> dict[str, str]:
    """Return the answers of earlier imports of a site.

    Raises:
        ConfigError: The file cannot be read.
    """
    path = folder / _ANSWERS_FILE
    if not path.is_file():
        return {}
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}; correct it, or remove it and answer again") from None
    return {key: str(answer) for key, answer in found.items()}


def save_answers(folder: Path, answers: Mapping[str, str]) -> None:
    """Store the answers of an import for the next one of the same site."""
    if not answers:
        return
    lines = [
        f"{json.dumps(key, ensure_ascii=False)} = {json.dumps(answers[key], ensure_ascii=False)}" for key in answers
    ]
    replace_file(folder / _ANSWERS_FILE, _ANSWERS_HEADER + "\n".join(lines) + "\n")


def replace_file(path: Path, text: str) -> Path:
    """Write a file so that a reader finds either the old or the whole new text."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path, flush=True) as partial_file:
        partial_file.write_text(text, encoding="utf-8")
    return path


def write_new(path: Path, text: str) -> Path:
    """Write a new file. A file with the same text is left as it is.

    Raises:
        ConfigError: There is a file with another text.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        if path.read_text(encoding="utf-8") != text:
            raise ConfigError(f"{path} exists already with other content; move it away, or give --out") from None
    return path


def quote_path(path: Path) -> str:
    """Return a path as a shell reads it."""
    return shlex.quote(str(path))
