"""Files of solutions of RTKLIB (`.pos`): positions or baselines, as displacement since the origin of the station.

The line with the names of the columns states the time system. A file without this line needs `--time`, because GPS time
is not UTC.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import Final

from monitor.errors import ConfigError, PayloadError
from monitor.ingest.decoders.fixes import GOOD, add_parts, check_height, find_displacement, state_error
from monitor.ingest.decoders.native import AXES, NO_FIX
from monitor.ingest.decoders.rows import EPOCH0, FRAME
from monitor.ingest.decoders.rtklib import SolutionHeader, read_frame, read_head, read_height, read_solution
from monitor.ingest.files.reader import ImportOptions, ReadingLine, find_by_name
from monitor.ingest.files.tables import limit_lines
from monitor.ingest.references import PART, UNNAMED, join_frames
from monitor.ingest.text.heads import refuse_part
from monitor.readings.records import DIGIT
from monitor.sites.records import ELLIPSOID, Origin
from monitor.text.instants import format_iso

HEAD_LINES: Final = 200


@contextmanager
def open_rtklib(path: Path, options: ImportOptions) -> Iterator[Iterator[ReadingLine]]:
    """Open a file of solutions. Solutions that are accurate to metres only are rejected (`no_fix`).

    Raises:
        ConfigError: it is no such file, the station is not known, or it has no origin.
    """
    station, origin = _find_station(path, options)
    try:
        with path.open(encoding="ascii", errors="replace") as text:
            lines = limit_lines(text, path)
            head, first = [], ""
            for line in lines:
                if not line.startswith("%"):
                    first = line
                    break
                head.append(line)
                if len(head) > HEAD_LINES:
                    raise ConfigError(f"{path}: more than {HEAD_LINES} lines before the first solution")
            try:
                header = read_head(head, options.time, "llh" if origin.place is not None else "enu")
                if not head and first:
                    read_solution(first, header)  # a file of another format is refused as a whole
                check_height(header.height, origin)
            except PayloadError as error:
                if error.code == "other_frame":
                    raise ConfigError(f"{path}: {station}: {error}") from None
                raise ConfigError(f"{path}: no columns of RTKLIB: {error}; --time {options.time or 'gpst'}") from None
            if (header.form == "llh") != (origin.place is not None) or not _is_complete(origin):
                keys = "latitude, longitude, height_m" if header.form == "llh" else "east_m, north_m, up_m"
                raise ConfigError(f"{path}: contains {header.form}; the origin of {station} must be {{{keys}, since}}")
            numbered = enumerate(chain((first,), lines), len(head) + 1)
            solutions = _skip_heads(path, numbered, header)
            extra = {FRAME: add_parts(origin.frame, header.frame), EPOCH0: format_iso(origin.since)}
            yield (_read_line(line, station, origin, header, extra) for line in solutions)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None


def _skip_heads(path: Path, lines: Iterable[tuple[int, str]], header: SolutionHeader) -> Iterator[str]:
    """Yield the lines of solutions; raises ConfigError if a header among them differs from the first."""
    for number, line in lines:
        if line.startswith("%"):
            is_other = False
            try:
                is_other = read_height([line]) not in {"", header.height}
                is_other = is_other or read_head([line], None, None)[:2] != header[:2]
            except PayloadError as error:  # most lines of a header name no columns
                is_other = is_other or error.code in {"bad_payload", "other_frame"}
            frame = read_frame([line])
            if is_other or (frame and join_frames(f"{UNNAMED}{PART}{header.frame}", f"{UNNAMED}{PART}{frame}") is None):
                raise refuse_part(str(path), number, line)
        elif line.strip():
            yield line


def find_origin(path: Path, time: str | None) -> Origin:
    """Return the first accurate position of a file (fixed, float or PPP) as the origin of a new station.

    Raises:
        PayloadError: the time system is not stated.
        ConfigError: the file has no such solution.
    """
    with path.open(encoding="ascii", errors="replace") as text:
        head: list[str] = []
        for line in limit_lines(text, path):
            if line.startswith("%"):
                head.append(line)
                continue
            header = read_head(head, time, "llh")
            with suppress(PayloadError):
                fix = read_solution(line, header)
                if fix.kind in GOOD:
                    return Origin(fix.at, fix.place, fix.baseline_m, header.height or ELLIPSOID)
    raise ConfigError(f"{path}: no fixed, float or PPP solution, which displacement could count from")


def _is_complete(origin: Origin) -> bool:
    """Return whether an origin has all three components, as a position of RTKLIB has."""
    return origin.place is not None or origin.complete_baseline_m is not None


def _find_station(path: Path, options: ImportOptions) -> tuple[str, Origin]:
    origins = dict(options.origins)
    station = options.station or find_by_name(options.restore_name(path).name, origins)
    if station is None:
        raise ConfigError(f"{path}: whose positions are these? give --station (one with an origin in the site file)")
    if station not in origins:
        keys = "{latitude, longitude, height_m, since} or {east_m, north_m, up_m, since}"
        raise ConfigError(f"{path}: station {station} has no origin; the site file must give it origin = {keys}")
    return station, origins[station]


def _read_line(line: str, station: str, origin: Origin, head: SolutionHeader, extra: Mapping[str, str]) -> ReadingLine:
    try:
        fix = read_solution(line, head)
        if fix.kind not in GOOD:
            raise PayloadError(NO_FIX, f"a {fix.kind} solution is accurate to metres: it measures no displacement")
    except PayloadError as error:
        return ReadingLine((({"line": line.strip()[:500]}, error),))
    cov, steps_mm = state_error(fix, origin)
    rows = (
        {"time": fix.at, "station": station, "quantity": axis, "unit": "mm", "value": value, **extra}
        | ({} if cov is None else {"sigma": cov[k] ** 0.5})
        | ({} if steps_mm is None else {DIGIT: " ".join(map(str, steps_mm))})
        for k, (axis, value) in enumerate(zip(AXES, find_displacement(fix, origin), strict=True))
    )
    return ReadingLine(tuple((row, None) for row in rows))
