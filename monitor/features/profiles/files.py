"""Files of readings by depth as the series of the profile that the site file declares.

A survey has rows of depths below a head with its date; a table has rows of instants, and depths in the names of its
columns. Whose a file is and what its readings are in, it says itself or a person does; what it leaves open is asked.
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
from monitor.features.profiles.declare import NEAR_M, Profile, read_profiles

MOST_BYTES: Final = 16 << 20
MOST_SEEN: Final = 100_000  # cells that say what the decimal mark is
_COMMAS: Final = re.compile(r"[+-]?(\d*),(\d+)")


@contextmanager
def open_profile(path: Path, options: ImportOptions) -> Iterator[Iterator[ReadingLine]]:
    """Open a file of readings by depth.

    Raises:
        ConfigError: it is none, or leaves open whose it is, when it was read or what its readings are in; one line.
    """
    try:
        read = _ProfileFile(path, options).read()
    except (ConfigError, ValueError) as error:
        raise ConfigError(f"{path}: {error}") from None
    yield read


def _read_lines(path: Path) -> list[str]:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ConfigError(f"at most {MOST_BYTES >> 20} MiB of readings by depth are read at a time: cut it")
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}") from None
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("cp1252", "replace")
    return list(limit_lines(io.StringIO(text, newline=None), path))


def _find_decimal(cells: Iterable[str], mark: str) -> str:
    """The decimal mark of cells; raises ConfigError where it is open."""
    if mark == ",":
        return "."
    numbers = [cell for cell in cells if re.fullmatch(r"[+-]?\d*[.,]\d+", cell)]
    has_points = any("." in one for one in numbers)
    commas = [found for one in numbers if (found := _COMMAS.fullmatch(one)) is not None]
    if commas and (has_points or all(len(one[2]) == 3 and one[1].strip("0") for one in commas)):
        raise ConfigError(f"is the comma of {commas[0][0]} a decimal mark? write its numbers with a point")
    return "," if commas else "."


class _ProfileFile:
    """A file on its way to the series of profiles."""

    def __init__(self, path: Path, options: ImportOptions) -> None:
        self.options, self.name, lines = options, options.restore_name(path).name, _read_lines(path)
        mark, self.blocks = surveys.list_blocks(lines)
        if not self.blocks:
            raise ConfigError("no column of depths; expected Depth, A0, A180, ..., or names such as A0_12.5 and a time")
        if not any(one.rows for one in self.blocks):
            raise ConfigError("below the names of its columns stands no row: is the file whole?")
        self.torn = len(lines) if not lines[-1].endswith("\n") else 0
        rows = [(one, cells) for one in self.blocks for _, cells in one.rows]
        dates = {one.head.get("date", "") for one in self.blocks} | {_join(cells, one.times) for one, cells in rows}
        stated = self.blocks[0].head.get("order", "") + "m/d" * (self.blocks[0].is_digit and bool(mark))
        self.order = surveys.find_order(sorted(dates), stated)
        decimal = _find_decimal(islice(chain.from_iterable(cells for _, cells in rows), MOST_SEEN), mark)
        zone = read_toml(options.site_file, "site").get("site", {}).get("timezone", "UTC")
        self.table = TableMapping(TimeRule(("date",), zone=ZoneInfo(zone)), (), decimal=decimal)
        self.profiles = {one.station: one for one in read_profiles(options.site_file, "site file")}
        self.find_profile, self.find_unit = cache(self._find_profile), cache(self._find_unit)
        self.find_quantity = cache(self._find_quantity)

    def read(self) -> Iterator[ReadingLine]:
        """Its rows; raises ConfigError where it leaves something open."""
        for block in self.blocks:
            self._check(block)
        # of surveys nothing is read where a row leaves something open; a table may be long, and none of its does
        each = [self._read_block(one) if one.depth_at is None else [*self._read_block(one)] for one in self.blocks]
        return chain.from_iterable(each)

    def _read_block(self, block: surveys.SurveyBlock) -> Iterator[ReadingLine]:
        seen: set[str] = set()
        for number, cells in block.rows:
            yield self._read_row(block, number, cells, seen)

    def _check(self, block: surveys.SurveyBlock) -> None:
        """Raise ConfigError where a block is not whole, or does not go with the profile whose it is."""
        count = block.head.get("count", "")
        if count.isdigit() and int(count) != len(block.rows):
            raise ConfigError(f"its head says {count} depths, and {len(block.rows)} are there: is the file whole?")
        holes = sorted({block.find_hole(cells) for _, cells in block.rows})
        known = [hole for hole in holes if len(holes) == 1 or self._find_named(hole)]
        if holes and not known:
            raise ConfigError(f"none of {', '.join(holes)} is a station with a [[profile]]")
        for profile in map(self.find_profile, known):
            self.find_unit(profile.station, *block.describe_units())
            self._check_columns(block, profile)

    def _check_columns(self, block: surveys.SurveyBlock, profile: Profile) -> None:
        faces = [(one.face or profile.faces[0]).upper() for one in block.values.values()]
        named = [self.find_quantity(profile.station, *place) for place in block.list_places(self._read_depth)]
        columns = named if block.depth_at is None else faces
        if twice := {name for name in columns if name and columns.count(name) > 1}:
            raise ConfigError(f"{min(twice)} stands in two columns: which one is it?")
        needed = [face.upper() for face in profile.faces]
        if absent := [face for face in needed if face not in faces]:
            raise ConfigError(f"no column of {absent[0]}: of {profile.station} are read {', '.join(needed)}")
        if not any(named):
            depths = ", ".join(f"{one:g}" for one in profile.depths_m[:3])
            raise ConfigError(
                f"none of its depths is one of {profile.station} ({depths}, ... m); where they are in feet, its "
                "head must say Depth Units, feet"
            )

    def _find_named(self, hole: str) -> str | None:
        plain = name_station(hole).lower()
        return next((name for name in self.profiles if plain and name_station(name).lower() == plain), None)

    def _find_profile(self, hole: str) -> Profile:
        """Whose readings a file has: as a person says it, its head, or its name."""
        if not self.profiles:
            raise ConfigError(
                "readings by depth belong to a [[profile]] of the site file, and it has none; give --site"
            )
        named = self._find_named(hole) or self.options.station
        station = self.options.station or named or find_by_name(self.name, self.profiles)
        if station not in self.profiles or (named and named != station):
            whose = f"its head names {hole!r}; " if hole else ""
            raise ConfigError(f"{whose}whose readings are these? give --station ({', '.join(self.profiles)})")
        return self.profiles[station]

    def _find_unit(self, station: str, texts: frozenset[str], constant: str) -> str:
        """What the readings of a file are in, fit for the series of the profile."""
        profile, named = self.profiles[station], {surveys.read_unit(text) for text in texts}
        given = surveys.read_unit(self.options.unit) if self.options.unit else None
        names = {one.name for one in (*named, *([given] if given else ()))}
        if len(names) > 1 or len(named) > 1:
            raise ConfigError(f"are its readings in {' or in '.join(sorted(names))}? the file and --unit must agree")
        if not (given or named or constant):
            raise ConfigError("what are its readings in? give --unit digit, mm, m, in, deg or another unit")
        unit = given or next(iter(named), surveys.ReadingUnit(surveys.DIGIT))
        if profile.constant and unit.name in {surveys.DIGIT, profile.unit}:
            stated = unit.constant or (0.0 if given else float(constant or 0.0))
            if stated and stated != profile.constant:
                raise ConfigError(
                    f"its readings count to {stated:g} at 90 deg, and {station} to {profile.constant:g} in its "
                    "[[profile]]; where that is right: --unit digit"
                )
            return profile.unit
        try:
            convert(1.0, unit.name, profile.unit if profile.constant else UNITS.get(profile.unit, (profile.unit,))[0])
        except ValueError:
            raise ConfigError(
                f"its readings are in {unit.name}, and the profile of {station} is declared in {profile.unit}"
            ) from None
        return unit.name

    def _find_quantity(self, station: str, face: str, depth: float, depth_unit: str) -> str | None:
        """The series of a depth; None where the profile does not have it."""
        profile, depth_m = self.profiles[station], depth * convert(1.0, surveys.read_unit(depth_unit).name, "m")
        near = min(range(len(profile.depths_m)), key=lambda i: abs(profile.depths_m[i] - depth_m))
        is_there = abs(profile.depths_m[near] - depth_m) < NEAR_M
        return profile.name(face or profile.faces[0], near) if is_there else None

    def _read_depth(self, cell: str) -> float:
        return abs(float(str(self.table.clean(cell))))

    def _read_row(self, block: surveys.SurveyBlock, number: int, cells: Sequence[str], seen: set[str]) -> ReadingLine:
        when = _join(cells, block.times) or " ".join(block.head.get(key, "") for key in ("date", "time")).strip()
        iso, line = surveys.write_iso(when, self.order), {"line": " ".join(cells)[:500]}
        if not (iso or block.times):
            raise ConfigError(f"line {number}: nothing says when the survey was read: its head needs a line Date")
        try:
            at = self.table.time.read(iso or when)
            if len(cells) <= max(block.depth_at or 0, *block.values) or any(cells[len(block.names) :]):
                raise PayloadError(
                    "cell_count", f"line {number} has {len(cells)} cells, and {len(block.names)} columns have names"
                )
            if (hole := block.find_hole(cells)) and block.hole_at is not None and self._find_named(hole) is None:
                raise PayloadError("no_station", f"line {number}: {hole!r} is no station with a [[profile]]")
            profile = self.find_profile(hole)
            found, unknown = self._find_values(block, cells, profile)
            if block.depth_at is not None and found:
                key = " ".join((profile.station, iso, *found))
                if key in seen:
                    raise ConfigError(
                        f"line {number}: {cells[block.depth_at]} comes twice in the survey of {iso}: leave one out"
                    )
                seen.add(key)
                if number == self.torn and (len(seen) < len(profile.depths_m) or "" in found.values()):
                    raise PayloadError(
                        "cell_count", f"the file ends within line {number}, and more is missing: is it whole?"
                    )
        except (PayloadError, ValueError) as error:
            fault = error if isinstance(error, PayloadError) else PayloadError("not_number", f"line {number}: {error}")
            return ReadingLine(((line, fault),))
        row = {"time": at, "station": profile.station, "unit": self.find_unit(profile.station, *block.describe_units())}
        good = [(quantity, self.table.clean(cell)) for quantity, cell in found.items() if not is_missing(cell)]
        rows: list[CheckedRow] = [(row | {"quantity": quantity, "value": value}, None) for quantity, value in good]
        why = (f"{profile.station} has no depth {depth:g} in its [[profile]]" for depth in sorted(unknown))
        rows += [(line, PayloadError("unknown_quantity", one)) for one in why]
        return ReadingLine(tuple(rows), len(found) - len(good))

    def _find_values(
        self, block: surveys.SurveyBlock, cells: Sequence[str], profile: Profile
    ) -> tuple[dict[str, str], set[float]]:
        """The cells of a row by their series, and depths that the profile does not have."""
        found: dict[str, str] = {}
        unknown: set[float] = set()
        for place, one in block.values.items():
            depth = self._read_depth(cells[block.depth_at or 0]) if one.depth is None else one.depth
            quantity = self.find_quantity(profile.station, one.face, depth, one.depth_unit or block.depth_unit)
            if (one.face or profile.faces[0]) not in profile.faces:
                continue
            if quantity is None:
                unknown.add(depth)
            else:
                found[quantity] = cells[place]
        return found, unknown


def _join(cells: Sequence[str], places: Iterable[int]) -> str:
    return " ".join(cells[i] for i in places if i < len(cells))
