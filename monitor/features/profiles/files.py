"""Read files with readings by depth into the series of the [[profile]] of their borehole.

A file contains surveys or a table. A survey has a head with its date, and a row for each depth. A table has a row for
each instant, and the depths are in the names of its columns. Borehole and unit are stated in the file or by an option.
If neither states them, the file is refused with a message that names the option.
"""

import io
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from itertools import chain, islice
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from monitor.api.errors import ConfigError, PayloadError
from monitor.api.files import ImportOptions, ReadingLine
from monitor.api.ingest import TableMapping, TimeRule, is_missing, limit_lines, name_station
from monitor.api.queries.ingest import CheckedRow, find_by_name
from monitor.api.settings import read_toml
from monitor.api.sites import UNITS, convert
from monitor.features.profiles import surveys
from monitor.features.profiles.declare import SAME_DEPTH_M, Profile, read_profiles

MAX_BYTES: Final = 16 << 20
MAX_CELLS_FOR_DECIMAL_MARK: Final = 100_000  # first cells of a file that determine its decimal mark
_COMMAS: Final = re.compile(r"[+-]?(\d*),(\d+)")


@contextmanager
def open_profile(path: Path, options: ImportOptions) -> Iterator[Iterator[ReadingLine]]:
    """Open a file of readings by depth.

    Raises:
        ConfigError: The file has no readings by depth, or its borehole, time or unit is unknown. One line.
    """
    try:
        read = _ProfileFile(path, options).read()
    except (ConfigError, ValueError) as error:
        raise ConfigError(f"{path}: {error}") from None
    yield read


def _read_lines(path: Path) -> list[str]:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ConfigError(f"files of readings by depth may have at most {MAX_BYTES >> 20} MiB: divide the file")
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}") from None
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("cp1252", "replace")
    return list(limit_lines(io.StringIO(text, newline=None), path))


def _find_decimal(cells: Iterable[str], mark: str) -> str:
    """Return the decimal mark of some cells.

    Raises:
        ConfigError: The comma may be a decimal mark or separate thousands.
    """
    if mark == ",":
        return "."
    numbers = [cell for cell in cells if re.fullmatch(r"[+-]?\d*[.,]\d+", cell)]
    has_points = any("." in number for number in numbers)
    commas = [match for match in map(_COMMAS.fullmatch, numbers) if match is not None]
    could_separate_thousands = all(len(match[2]) == 3 and match[1].strip("0") for match in commas)
    if commas and (has_points or could_separate_thousands):
        raise ConfigError(
            f"the comma of {commas[0][0]} may be a decimal mark or separate thousands: write decimal points"
        )
    return "," if commas else "."


class _ProfileFile:
    """One file while it is read."""

    def __init__(self, path: Path, options: ImportOptions) -> None:
        self.options = options
        self.name = options.restore_name(path).name
        lines = _read_lines(path)
        mark, self.blocks = surveys.list_blocks(lines)
        if not self.blocks:
            raise ConfigError(
                "no column of depths; expected Depth, A0, A180, ..., or a column of times and names such as A0_12.5"
            )
        if not any(block.rows for block in self.blocks):
            raise ConfigError("no row below the names of the columns: check whether the file is complete")
        # Number of the last line if it does not end with a newline: the file may be incomplete.
        self.torn = len(lines) if not lines[-1].endswith("\n") else 0
        rows = [(block, cells) for block in self.blocks for _, cells in block.rows]
        dates = {block.head.get("date", "") for block in self.blocks}
        dates |= {_join(cells, block.times) for block, cells in rows}
        stated = self.blocks[0].head.get("order", "") + "m/d" * (self.blocks[0].is_digit and bool(mark))
        self.order = surveys.find_order(sorted(dates), stated)
        decimal = _find_decimal(
            islice(chain.from_iterable(cells for _, cells in rows), MAX_CELLS_FOR_DECIMAL_MARK), mark
        )
        zone = read_toml(options.site_file, "site").get("site", {}).get("timezone", "UTC")
        self.table = TableMapping(TimeRule(("date",), zone=ZoneInfo(zone)), (), decimal=decimal)
        self.profiles = {profile.station: profile for profile in read_profiles(options.site_file, "site file")}
        # Every row calls these methods, and most rows with the same arguments.
        self.find_profile = cache(self._find_profile)
        self.find_unit = cache(self._find_unit)
        self.find_quantity = cache(self._find_quantity)

    def read(self) -> Iterator[ReadingLine]:
        """Return the rows of the file.

        Raises:
            ConfigError: See `open_profile`.
        """
        for block in self.blocks:
            self._check(block)
        # Surveys are read completely before the first row is returned, because each row can raise ConfigError. Rows of
        # tables cannot, and tables may be long.
        rows = [
            self._read_block(block) if block.depth_at is None else [*self._read_block(block)] for block in self.blocks
        ]
        return chain.from_iterable(rows)

    def _read_block(self, block: surveys.SurveyBlock) -> Iterator[ReadingLine]:
        read_keys: set[str] = set()
        for number, cells in block.rows:
            yield self._read_row(block, number, cells, read_keys)

    def _check(self, block: surveys.SurveyBlock) -> None:
        """Raise ConfigError if a block is incomplete or does not fit its profile."""
        count = block.head.get("count", "")
        if count.isdigit() and int(count) != len(block.rows):
            raise ConfigError(
                f"the head states {count} depths, the file has {len(block.rows)}: check whether it is complete"
            )
        holes = sorted({block.find_hole(cells) for _, cells in block.rows})
        # The station of a single borehole may be given by --station instead of its name.
        stations = [hole for hole in holes if len(holes) == 1 or self._find_named(hole)]
        if holes and not stations:
            raise ConfigError(f"none of {', '.join(holes)} is a station with a [[profile]]")
        for profile in map(self.find_profile, stations):
            self.find_unit(profile.station, *block.describe_units())
            self._check_columns(block, profile)

    def _check_columns(self, block: surveys.SurveyBlock, profile: Profile) -> None:
        faces = [(column.face or profile.faces[0]).upper() for column in block.values.values()]
        named = [self.find_quantity(profile.station, *place) for place in block.list_places(self._read_depth)]
        columns = named if block.depth_at is None else faces
        duplicates = {name for name in columns if name and columns.count(name) > 1}
        if duplicates:
            raise ConfigError(f"{min(duplicates)} has two columns: remove one")
        needed = [face.upper() for face in profile.faces]
        absent = [face for face in needed if face not in faces]
        if absent:
            raise ConfigError(f"no column {absent[0]}: the profile of {profile.station} needs {', '.join(needed)}")
        if not any(named):
            depths = ", ".join(f"{depth_m:g}" for depth_m in profile.depths_m[:3])
            raise ConfigError(
                f"no depth of the file is a depth of {profile.station} ({depths}, ... m); if they are in feet, add the "
                "line Depth Units, feet to the head"
            )

    def _find_named(self, hole: str) -> str | None:
        plain = name_station(hole).lower()
        return next((name for name in self.profiles if plain and name_station(name).lower() == plain), None)

    def _find_profile(self, hole: str) -> Profile:
        """Return the profile of the readings, from the option --station, the head or the name of the file."""
        if not self.profiles:
            raise ConfigError(
                "the site file has no [[profile]], which readings by depth need: add it, or give another --site"
            )
        named = self._find_named(hole) or self.options.station
        station = self.options.station or named or find_by_name(self.name, self.profiles)
        if station not in self.profiles or (named and named != station):
            stated = f"the head names {hole!r}; " if hole else ""
            choices = ", ".join(self.profiles)
            raise ConfigError(f"{stated}give --station with the borehole of these readings ({choices})")
        return self.profiles[station]

    def _find_unit(self, station: str, texts: frozenset[str], constant: str) -> str:
        """Return the unit of the readings of a file.

        Args:
            station: Borehole.
            texts: Units in the file.
            constant: Constant of the instrument in the head of the file; may be empty.
        """
        profile = self.profiles[station]
        named = {surveys.read_unit(text) for text in texts}
        given = surveys.read_unit(self.options.unit) if self.options.unit else None
        names = {unit.name for unit in (*named, *([given] if given else ()))}
        if len(names) > 1 or len(named) > 1:
            raise ConfigError(f"the unit is ambiguous: {' or '.join(sorted(names))}; the file and --unit must agree")
        if not (given or named or constant):
            raise ConfigError("the unit of the readings is unknown: give --unit digit, mm, m, in, deg or another unit")
        unit = given or next(iter(named), surveys.ReadingUnit(surveys.DIGIT))
        if profile.constant and unit.name in {surveys.DIGIT, profile.unit}:
            stated = unit.constant or (0.0 if given else float(constant or 0.0))
            if stated and stated != profile.constant:
                raise ConfigError(
                    f"the constant is {stated:g} in the file, and {profile.constant:g} in the [[profile]] of "
                    f"{station}: correct it there, or give --unit digit if the [[profile]] is right"
                )
            return profile.unit
        try:
            convert(1.0, unit.name, profile.unit if profile.constant else UNITS.get(profile.unit, (profile.unit,))[0])
        except ValueError:
            raise ConfigError(
                f"the readings are in {unit.name}, and the unit of the [[profile]] of {station} is {profile.unit}"
            ) from None
        return unit.name

    def _find_quantity(self, station: str, face: str, depth: float, depth_unit: str) -> str | None:
        """Return the quantity of a reading; None if the profile does not have this depth."""
        profile = self.profiles[station]
        depth_m = depth * convert(1.0, surveys.read_unit(depth_unit).name, "m")
        nearest = min(range(len(profile.depths_m)), key=lambda place: abs(profile.depths_m[place] - depth_m))
        if abs(profile.depths_m[nearest] - depth_m) >= SAME_DEPTH_M:
            return None
        return profile.name_quantity(face or profile.faces[0], nearest)

    def _read_depth(self, cell: str) -> float:
        return abs(float(str(self.table.clean(cell))))

    def _read_row(
        self, block: surveys.SurveyBlock, number: int, cells: Sequence[str], read_keys: set[str]
    ) -> ReadingLine:
        when = _join(cells, block.times) or " ".join(block.head.get(key, "") for key in ("date", "time")).strip()
        iso = surveys.write_iso(when, self.order)
        line = {"line": " ".join(cells)[:500]}
        if not (iso or block.times):
            raise ConfigError(f"line {number}: the survey has no date: add a line Date to its head")
        try:
            at = self.table.time.read(iso or when)
            if len(cells) <= max(block.depth_at or 0, *block.values) or any(cells[len(block.names) :]):
                raise PayloadError(
                    "cell_count", f"line {number} has {len(cells)} cells, the header has {len(block.names)} columns"
                )
            if (hole := block.find_hole(cells)) and block.hole_at is not None and self._find_named(hole) is None:
                raise PayloadError("no_station", f"line {number}: {hole!r} is no station with a [[profile]]")
            profile = self.find_profile(hole)
            values, unknown_depths = self._find_values(block, cells, profile)
            if block.depth_at is not None and values:
                key = " ".join((profile.station, iso, *values))
                if key in read_keys:
                    raise ConfigError(
                        f"line {number}: the survey of {iso} has the depth {cells[block.depth_at]} twice: remove one"
                    )
                read_keys.add(key)
                if number == self.torn and (len(read_keys) < len(profile.depths_m) or "" in values.values()):
                    raise PayloadError(
                        "cell_count",
                        f"the file ends within line {number} and lacks depths: check whether it is complete",
                    )
        except (PayloadError, ValueError) as error:
            fault = error if isinstance(error, PayloadError) else PayloadError("not_number", f"line {number}: {error}")
            return ReadingLine(((line, fault),))
        row = {"time": at, "station": profile.station, "unit": self.find_unit(profile.station, *block.describe_units())}
        good = [(quantity, self.table.clean(cell)) for quantity, cell in values.items() if not is_missing(cell)]
        rows: list[CheckedRow] = [(row | {"quantity": quantity, "value": value}, None) for quantity, value in good]
        for depth in sorted(unknown_depths):
            reason = f"{profile.station} has no depth {depth:g} in its [[profile]]"
            rows.append((line, PayloadError("unknown_quantity", reason)))
        return ReadingLine(tuple(rows), len(values) - len(good))

    def _find_values(
        self, block: surveys.SurveyBlock, cells: Sequence[str], profile: Profile
    ) -> tuple[dict[str, str], set[float]]:
        """Return the cells of a row by quantity, and the depths that the profile does not have."""
        values: dict[str, str] = {}
        unknown_depths: set[float] = set()
        for position, column in block.values.items():
            depth = self._read_depth(cells[block.depth_at or 0]) if column.depth is None else column.depth
            quantity = self.find_quantity(profile.station, column.face, depth, column.depth_unit or block.depth_unit)
            if (column.face or profile.faces[0]) not in profile.faces:
                continue
            if quantity is None:
                unknown_depths.add(depth)
            else:
                values[quantity] = cells[position]
        return values, unknown_depths


def _join(cells: Sequence[str], places: Iterable[int]) -> str:
    return " ".join(cells[i] for i in places if i < len(cells))
