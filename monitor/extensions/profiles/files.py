"""Files of readings by depth as the series of the profile that the site file declares.

A survey has rows of depths below a head with its date; a table has rows of instants, and depths in the names of its
columns. Whose a file is and what its readings are in, it says itself or a person does; what it leaves open is asked.
"""

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from monitor.domain.errors import ConfigError, PayloadError
from monitor.domain.quantities import UNITS, convert
from monitor.domain.terms import read_toml
from monitor.extensions.profiles import surveys
from monitor.extensions.profiles.declare import NEAR_M, Profile, read_profiles
from monitor.ingest.files.lines import open_wide
from monitor.ingest.files.mapping import ColumnRule, TableMapping, TimeRule, is_missing, name_station
from monitor.ingest.files.reader import ImportOptions, Judged, ReadingLine, find_by_name
from monitor.ingest.files.tables import Layout, limit_lines, name_columns
from monitor.ingest.text.clocks import NAMED

MOST_BYTES: Final = 64 << 20
_OF_HOLE: Final = re.compile(r"(?:bore)?hole ?(?:id|no\.?|name)?|station", re.IGNORECASE)
_EXPECTED: Final = "expected Depth, A0, A180, ..., or names such as A0_12.5 beside a time"
_COMMAS: Final = re.compile(r"[+-]?(\d*),(\d+)")


@contextmanager
def open_profile(path: Path, options: ImportOptions) -> Iterator[Iterator[ReadingLine]]:
    """Open a file of readings by depth.

    Raises:
        ConfigError: it is none, or leaves open whose it is, when it was read or what its readings are in; one line.
    """
    lines, encoding = _read_lines(path)
    try:
        read = _read_surveys(path, lines, options)
        mapping = None if read else _explain_table(path, lines, encoding, options)
    except (ConfigError, ValueError) as error:
        raise ConfigError(f"{path}: {error}") from None
    if mapping is None:
        yield iter(read)
        return
    with open_wide(path, ImportOptions(mapping)) as rows:
        yield rows


def _read_surveys(path: Path, lines: Sequence[str], options: ImportOptions) -> list[ReadingLine]:
    """The lines of a file of surveys; none where it is a table."""
    found = surveys.list_surveys(lines)
    if not found:
        return []
    mark = surveys.find_mark(lines)
    stated = found[0].head.get("order", "") + "m/d" * (found[0].is_digit and bool(mark))
    order = surveys.find_order([one.head.get("date", "") for one in found], stated)
    decimal = _find_decimal(chain.from_iterable(row for one in found for _, row in one.rows), mark)
    torn = len(lines) if not lines[-1].endswith("\n") else 0
    each = (_SurveyReader(path, options, one, (order, decimal, torn)).read() for one in found)
    read = [line for one in each for line in one]
    if not read:
        raise ConfigError("below the names of its columns stands no row: is the file whole?")
    return read


def _read_lines(path: Path) -> tuple[list[str], str]:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ConfigError(f"{path}: at most {MOST_BYTES >> 20} MiB of readings by depth are read at a time: cut it")
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    try:
        text, encoding = content.decode("utf-8-sig"), "utf-8-sig"
    except UnicodeDecodeError:
        text, encoding = content.decode("cp1252", "replace"), "cp1252"
    return list(limit_lines(io.StringIO(text, newline=None), path)), encoding


def _find_profile(path: Path, options: ImportOptions, hole: str) -> Profile:
    """Whose readings a file has: as a person says it, its head, or its name."""
    profiles = {one.station: one for one in _list_profiles(options.site_file)}
    if not profiles:
        raise ConfigError("readings by depth belong to a [[profile]] of the site file, and it has none; give --site")
    by_name = {name_station(name).lower(): name for name in profiles}
    named = by_name.get(name_station(hole).lower(), "") or options.station
    station = options.station or named or find_by_name(options.call(path).name, profiles)
    if station not in profiles or (named and named != station):
        whose = f"its head names {hole!r}; " if hole else ""
        raise ConfigError(f"{whose}whose readings are these? give --station ({', '.join(profiles)})")
    return profiles[station]


def _find_unit(options: ImportOptions, profile: Profile, texts: Sequence[str], constant: str, *, is_digit: bool) -> str:
    """What the readings of a file are in, fit for the series of the profile."""
    given = None if options.unit is None else surveys.read_unit(options.unit)
    unit = _agree([surveys.read_unit(text) for text in texts if text.strip()], given)
    if unit is None and not (is_digit or constant):
        raise ConfigError("what are its readings in? give --unit digit, mm, m, in, deg or another unit")
    unit = unit or surveys.ReadingUnit(surveys.DIGIT)
    if profile.constant and unit.name in {surveys.DIGIT, profile.unit}:
        _check_constant(profile, unit.constant or (0.0 if given else float(constant or 0.0)))
        return profile.unit
    try:
        convert(1.0, unit.name, profile.unit if profile.constant else UNITS.get(profile.unit, (profile.unit,))[0])
    except ValueError:
        raise ConfigError(
            f"its readings are in {unit.name}, and the profile of {profile.station} is declared in {profile.unit}"
        ) from None
    return unit.name


def _agree(named: Sequence[surveys.ReadingUnit], given: surveys.ReadingUnit | None) -> surveys.ReadingUnit | None:
    """The one unit that a file and a person name; what the person says of its constant counts."""
    names = sorted({one.name for one in (*named, *([given] if given else ()))})
    if len(names) > 1 or len({*named}) > 1:
        raise ConfigError(f"are its readings in {' or in '.join(names)}? the file and --unit must agree")
    return given or next(iter(named), None)


def _check_constant(profile: Profile, stated: float) -> None:
    if stated and stated != profile.constant:
        raise ConfigError(
            f"its readings count to {stated:g} at 90 deg, and {profile.station} to {profile.constant:g} in its "
            "[[profile]]; where that is right: --unit digit"
        )


def _find_place(profile: Profile, depth_m: float) -> int | None:
    near = min(range(len(profile.depths_m)), key=lambda i: abs(profile.depths_m[i] - depth_m))
    return near if abs(profile.depths_m[near] - depth_m) < NEAR_M else None


def _require_faces(profile: Profile, faces: Sequence[str]) -> None:
    if twice := {face for face in faces if faces.count(face) > 1}:
        raise ConfigError(f"{min(twice).upper()} stands in two columns: which one is it?")
    if absent := [face.upper() for face in profile.faces if face not in faces]:
        needed = ", ".join(face.upper() for face in profile.faces)
        raise ConfigError(f"no column of {absent[0]}: of {profile.station} are read {needed}")


def _find_decimal(cells: Iterator[str], mark: str) -> str:
    """The decimal mark of cells; raises ConfigError where it is open."""
    if mark == ",":
        return "."
    numbers = [cell for cell in cells if re.fullmatch(r"[+-]?\d*[.,]\d+", cell)]
    has_points = any("." in one for one in numbers)
    commas = [found for one in numbers if (found := _COMMAS.fullmatch(one)) is not None]
    if commas and (has_points or all(len(one[2]) == 3 and one[1].strip("0") for one in commas)):
        raise ConfigError(f"is the comma of {commas[0][0]} a decimal mark? write its numbers with a point")
    return "," if commas else "."


@lru_cache(8)
def _list_profiles(text: str) -> Sequence[Profile]:
    return read_profiles(text, "site file")


def _read_zone(options: ImportOptions) -> ZoneInfo:
    site: Mapping[str, str] = read_toml(options.site_file, "site").get("site", {})
    return ZoneInfo(site.get("timezone", "UTC"))


class _SurveyReader:
    """One survey on its way to the series of its profile."""

    def __init__(
        self, path: Path, options: ImportOptions, survey: surveys.SurveyText, of_file: tuple[str, str, int]
    ) -> None:
        self.survey, head = survey, survey.head
        self.order, decimal, self.torn = of_file
        self.profile = _find_profile(path, options, head.get("hole", ""))
        texts = survey.units or (head.get("unit", ""),)
        self.unit = _find_unit(options, self.profile, texts, head.get("constant", ""), is_digit=survey.is_digit)
        _require_faces(self.profile, [*survey.faces.values()])
        self.metres = convert(1.0, surveys.read_unit(head.get("depth unit", "m")).name, "m")
        self.table = TableMapping(TimeRule(("date",), zone=_read_zone(options)), (), decimal=decimal)
        self.seen: set[tuple[str, int]] = set()
        self.strange = 0  # rows of depths that the profile does not have
        self._check_count()

    def _check_count(self) -> None:
        head, step = self.survey.head, self.survey.head.get("step", "")
        ends = [*head.get("span", "").split(), *(head[key] for key in ("start", "end") if key in head)]
        try:
            count = int(head["count"]) if "count" in head else 0
            if len(ends) == 2 and float(step or 0.0):
                count = round(abs(float(ends[0]) - float(ends[1])) / float(step)) + 1
        except ValueError:
            return
        if count and count != len(self.survey.rows):
            raise ConfigError(
                f"its head says {count} depths, and {len(self.survey.rows)} are there: is the file whole?"
            )

    def read(self) -> Iterator[ReadingLine]:
        """Its rows; raises ConfigError where it has no date, or a depth twice, or none of the profile."""
        for number, cells in self.survey.rows:
            yield self._read_row(number, cells)
        if self.survey.rows and self.strange == len(self.survey.rows):
            depths = ", ".join(f"{one:g}" for one in self.profile.depths_m[:3])
            raise ConfigError(
                f"none of its depths is one of {self.profile.station} ({depths}, ... m); where they are in feet, its "
                "head must say Depth Units, feet"
            )

    def _read_row(self, number: int, cells: Sequence[str]) -> ReadingLine:
        survey, profile = self.survey, self.profile
        when = " ".join(cells[i] for i in survey.times if i < len(cells))
        when = when or " ".join(survey.head.get(key, "") for key in ("date", "time")).strip()
        iso = surveys.write_iso(when, self.order)
        if not iso:
            raise ConfigError(f"line {number}: nothing says when the survey was read: its head needs a line Date")
        try:
            at = self.table.time.read(iso)
            if len(cells) <= max(survey.depth_at, *survey.faces) or any(cells[survey.width :]):
                raise PayloadError(
                    "cell_count", f"line {number} has {len(cells)} cells, and {survey.width} columns have names"
                )
            depth = self.table.clean(cells[survey.depth_at])
            place = _find_place(profile, abs(float(str(depth))) * self.metres)
            if place is None:
                self.strange += 1
                raise PayloadError("unknown_quantity", f"{profile.station} has no depth {depth} in its [[profile]]")
            if (iso, place) in self.seen:
                raise ConfigError(f"line {number}: {depth} comes twice in the survey of {iso}: leave one out")
            self.seen.add((iso, place))
            faces = {face: cells[i] for i, face in survey.faces.items() if face in profile.faces}
            if number == self.torn and (len(self.seen) < len(profile.depths_m) or "" in faces.values()):
                raise PayloadError(
                    "cell_count", f"the file ends within line {number}, and more is missing: is it whole?"
                )
            row = {"time": at, "station": profile.station, "unit": self.unit}
            rows: list[Judged] = [
                (row | {"quantity": profile.name(face, place), "value": self.table.clean(cell)}, None)
                for face, cell in faces.items()
                if not is_missing(cell)
            ]
        except (PayloadError, ValueError) as error:
            fault = error if isinstance(error, PayloadError) else PayloadError("not_number", f"line {number}: {error}")
            return ReadingLine((({"line": " ".join(cells)[:500]}, fault),))
        return ReadingLine(tuple(rows), len(faces) - len(rows))


def _find_names(lines: Sequence[str]) -> tuple[int, str, list[str], dict[str, surveys.DepthName], list[str]]:
    """Number and mark of the line that names the columns of a table; their names, those of depths, and of times."""
    for number, line in enumerate(lines[: surveys.HEAD_LINES]):
        for mark in ";\t,":
            names = name_columns(surveys.split_cells(line, mark))
            depths = surveys.read_depth_names([name for name in names if name])
            times = [name for name in names if name not in depths and NAMED.search(name)]
            if len(depths) > 1 and 0 < len(times) < 3:
                return number, mark, names, depths, times
    raise ConfigError(f"no column of depths; {_EXPECTED}")


def _name_columns(
    profile: Profile, depths: Mapping[str, surveys.DepthName], station: str | None, unit: str
) -> tuple[ColumnRule, ...]:
    """What the columns of depths mean; raises ConfigError where two mean the same, or none is of the profile."""
    rules: dict[str, ColumnRule] = {}
    known = False
    for name, one in depths.items():
        place = _find_place(profile, one.depth * convert(1.0, one.depth_unit or "m", "m"))
        face, known = one.face or profile.faces[0], known or place is not None
        # a depth that it does not have waits in the quarantine, by its name
        quantity = f"depth_{face}_{one.depth:g}m" if place is None else profile.name(face, place)
        if quantity in rules:
            raise ConfigError(f"{quantity} stands in two columns: which one is it?")
        if face in profile.faces:
            rules[quantity] = ColumnRule(name, station, quantity, unit)
    if not known:
        raise ConfigError(f"none of its columns is a depth of {profile.station}")
    return tuple(rules.values())


def _find_pattern(clocks: Sequence[str]) -> str:
    pattern = surveys.find_pattern(clocks[0], surveys.find_order(clocks)) if clocks else "iso"
    if not pattern:
        raise ConfigError(f"{clocks[0]!r} is no date that is known here: say by a --mapping what the columns mean")
    return pattern


def _explain_table(path: Path, lines: Sequence[str], encoding: str, options: ImportOptions) -> TableMapping:
    """What the columns of a table mean; raises ConfigError where it has none of depths, or leaves something open."""
    number, mark, names, depths, times = _find_names(lines)
    cells = surveys.split_cells(lines[number], mark)
    rows = [surveys.split_cells(line, mark) for line in lines[number + 1 : number + surveys.HEAD_LINES] if line.strip()]
    rows = [row for row in rows if row != cells]
    if not lines[-1].endswith("\n") and len(surveys.split_cells(lines[-1], mark)) < len(names):
        raise ConfigError(f"it ends within line {len(lines)}: is the file whole?")
    hole = next((name for name in names if _OF_HOLE.fullmatch(name)), None)
    first = dict(zip(names, rows[0] if rows else (), strict=False))
    profile = _find_profile(path, options, first.get(hole, "") if hole else "")
    faces = [*dict.fromkeys(one.face or profile.faces[0] for one in depths.values())]
    _require_faces(profile, faces)
    unit = _find_unit(options, profile, [one.unit for one in depths.values()], "", is_digit=False)
    rules = _name_columns(profile, depths, None if hole else profile.station, unit)
    pattern = _find_pattern(
        [" ".join(dict(zip(names, row, strict=False)).get(name, "") for name in times) for row in rows]
    )
    numbers = (cell for row in rows for name, cell in zip(names, row, strict=False) if name in depths)
    rule, layout = TimeRule(tuple(times), pattern, _read_zone(options)), Layout(mark, number, encoding)
    decimal = _find_decimal(numbers, mark)
    return TableMapping(rule, rules, layout, decimal=decimal, station=hole)
