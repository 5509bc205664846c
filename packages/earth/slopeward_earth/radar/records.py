"""What is asked of radar images of two times, and what they answer; no library is loaded for them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from detection.geojson import Geometry
from detection.imagery.footprints.records import RADAR, Box


@dataclass(frozen=True, slots=True, kw_only=True)
class RadarRequest:
    """Which change is computed: of backscatter, of coherence, or of both."""

    before: tuple[Path, ...] = ()  # images of before; their mean is taken
    after: tuple[Path, ...] = ()  # images of after; the first one gives the grid
    coherence: tuple[Path, Path] | None = None  # of a pair before the event, and of one across it
    mask: Path | None = None  # raster that is not 0 in layover and radar shadow
    # angles of before and of after, degrees: outlines where they differ are uncertain
    incidence: tuple[Path, Path] | None = None
    band: int | None = None  # of files that hold several; None: by its polarisation, else the first
    multilook: int = 3  # pixels along a side of a cell
    false_alarms: float = 1e-4  # chance of one unchanged cell to be called changed
    minimum_area_m2: float = 5000.0  # smaller outlines are left out
    looks: float | None = None  # equivalent number of looks of a cell; None: estimated
    units: str | None = None  # power, db or amplitude; None: found
    out_dir: Path | None = None  # for the files
    identity: str = RADAR  # what the ids of outlines depend on, beside their place


@dataclass(frozen=True, slots=True, kw_only=True)
class RadarOutline:
    """Ground that changed."""

    polygon_id: str  # a hash of its first cell
    by: str  # amplitude, coherence or both
    area_m2: float  # true
    change_db: float | None  # mean change of backscatter; None: not measured
    brighter_share: float | None  # of its cells, where backscatter rose; None: not measured
    coherence_was: float | None  # mean before; None: not measured
    coherence_is: float | None  # mean across the event; None: not measured
    uncertain: bool  # the incidence differs beneath it
    touches_masked: bool  # it touches cells without an answer: layover, shadow or nodata may hide more of it
    geometry: Geometry  # geoJSON, longitude and latitude
    bbox: Box  # around it

    def to_json(self) -> dict[str, Any]:
        """As JSON has it, without the outline."""
        return {name: getattr(self, name) for name in self.__slots__ if name not in {"geometry", "bbox"}} | {
            "bbox": list(self.bbox)
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class RadarChange:
    """What radar images of two times say of change."""

    before_at: tuple[datetime | None, ...]  # when the images of before were taken; None: nobody says it
    after_at: tuple[datetime | None, ...]  # the same of those of after
    units: Mapping[str, str]  # of each image, and how that was found
    crs: str  # of the grid
    cell_area_m2: float  # true, in the middle of the grid
    # equivalent number of looks of a cell of one date, and of the mean of nine cells; None: no amplitude
    looks: tuple[float, float] | None
    # beyond these a cell changed, the shared change taken away; None: no amplitude
    threshold_db: tuple[float, float] | None
    offset_db: float | None  # the change that all ground shares, which was taken away; None: no amplitude
    threshold_coherence: float | None  # by how much the normalised difference must fall; None: no coherence
    false_alarms: float  # as asked, of one cell
    expected_false_cells: float  # that chance times the cells that were compared
    valid_share: float  # of all cells, compared
    changed_share: float  # of these, changed
    too_small: int  # outlines left out
    outlines: tuple[RadarOutline, ...]  # the largest first
    warnings: tuple[str, ...]  # one sentence each
    outputs: Mapping[str, Any] = field(default_factory=dict)  # name to path

    def to_json(self) -> dict[str, Any]:
        """As JSON has it."""
        plain = {name: getattr(self, name) for name in self.__slots__ if name not in {"outlines", "units", "outputs"}}
        return {
            **plain,
            "method": RADAR,
            "units": dict(self.units),
            "outputs": dict(self.outputs),
            "before_at": [_to_iso(at) for at in self.before_at],
            "after_at": [_to_iso(at) for at in self.after_at],
            "outlines": [{**one.to_json(), "geometry": one.geometry} for one in self.outlines],
        }


def _to_iso(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()
