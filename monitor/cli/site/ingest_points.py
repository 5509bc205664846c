"""The part of `slopeward ingest` that reads InSAR points: what was declared, checked before a file is touched."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import typer

from monitor.domain.site import Site
from monitor.errors import NotFoundError
from monitor.ingest.files.egms import open_egms
from monitor.ingest.files.point_rows import DIRECTIONS, NAME_LIMIT, UNITS, Declared, open_long
from monitor.ingest.files.points import PointsFile, read_points
from monitor.ingest.files.reading import FileResult
from monitor.ingest.files.tables import SUFFIXES
from monitor.ingest.pipeline import Clock
from monitor.store.database.engine import Database

EGMS: Final = "egms"
POINTS: Final = "insar-points"
POINT_SUFFIXES: Final = (*SUFFIXES, ".zip")


@dataclass(frozen=True, slots=True)
class PointsChoice:
    """What the command line says about a file of points."""

    form: str
    name: str | None
    direction: str | None
    unit: str | None

    def read(
        self, path: Path, site: Site | None, database: Database | None, clock: Clock,
        on_progress: Callable[[FileResult], None],
    ) -> FileResult:  # fmt: skip
        """Read one file into a site; raises what `read_points` raises."""
        if site is None:
            raise NotFoundError("points belong to a site: give --site")
        file = PointsFile(path, site, clock, database, self.name)
        if self.form == EGMS:
            return read_points(file, open_egms(path, self.direction, clock()), on_progress=on_progress)
        assert self.name is not None
        assert self.direction is not None
        assert self.unit is not None
        declared = Declared(self.name, self.direction, self.unit)
        return read_points(file, open_long(path, declared, clock()), on_progress=on_progress)


def choose_points(
    form: str | None, name: str | None, direction: str | None, unit: str | None
) -> PointsChoice | None:  # fmt: skip
    """Check the options that belong to points; None when the format is none of points.

    Raises:
        typer.BadParameter: an option is missing, unknown, or belongs to another format.
    """
    said = {"--set": name, "--direction": direction, "--unit": unit}
    if form not in (EGMS, POINTS):
        for option, value in said.items():
            if value is not None:
                raise typer.BadParameter(f"{option} belongs to --format {EGMS} or {POINTS}")
        return None
    if direction is not None and direction not in DIRECTIONS:
        raise typer.BadParameter(f"--direction: expected one of {', '.join(DIRECTIONS)}, got {direction!r}")
    if name is not None and not (0 < len(name) <= NAME_LIMIT and name.isprintable()):
        raise typer.BadParameter(f"--set: expected a name of at most {NAME_LIMIT} characters")
    if form == EGMS:
        if unit is not None:
            raise typer.BadParameter("--unit: EGMS is in mm")
        return PointsChoice(form, name, direction, None)
    for option, value in said.items():
        if value is None:
            raise typer.BadParameter(f"--format {POINTS} needs {option}: unit and sign are declared, never guessed")
    if unit not in UNITS:
        raise typer.BadParameter(f"--unit: expected one of {', '.join(UNITS)}, got {unit!r}")
    return PointsChoice(form, name, direction, unit)
