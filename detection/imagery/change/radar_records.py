"""What is asked of radar images of two times, and what they answer; no library is loaded for them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from detection.imagery.footprints.records import Box

METHOD = "sar"


@dataclass(frozen=True, slots=True, kw_only=True)
class RadarRequest:
    """Which change is computed: of backscatter, of coherence, or of both.

    Attributes:
        before: images of before; their mean is taken.
        after: images of after; the first one gives the grid.
        coherence: of a pair before the event, and of one across it.
        mask: raster that is not 0 in layover and radar shadow.
        incidence: angles of before and of after, degrees: outlines where they differ are uncertain.
        band: of files that hold several; None: by its polarisation, else the first.
        multilook: pixels along a side of a cell.
        false_alarms: chance of one unchanged cell to be called changed.
        minimum_area_m2: smaller outlines are left out.
        looks: equivalent number of looks of a cell; None: estimated.
        units: power, db or amplitude; None: found.
        out_dir: for the files.
        identity: what the ids of outlines depend on, beside their place.
    """

    before: tuple[Path, ...] = ()
    after: tuple[Path, ...] = ()
    coherence: tuple[Path, Path] | None = None
    mask: Path | None = None
    incidence: tuple[Path, Path] | None = None
    band: int | None = None
    multilook: int = 3
    false_alarms: float = 1e-4
    minimum_area_m2: float = 5000.0
    looks: float | None = None
    units: str | None = None
    out_dir: Path | None = None
    identity: str = METHOD


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
    geometry: dict[str, Any]  # geoJSON, longitude and latitude
    bbox: Box  # around it

    def to_json(self) -> dict[str, Any]:
        """As JSON has it, without the outline."""
        return {name: getattr(self, name) for name in self.__slots__ if name not in {"geometry", "bbox"}} | {
            "bbox": list(self.bbox)
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class RadarChange:
    """What radar images of two times say of change.

    Attributes:
        before_at: when the images of before were taken; None: nobody says it.
        after_at: the same of those of after.
        units: of each image, and how that was found.
        crs: of the grid.
        cell_area_m2: true, in the middle of the grid.
        looks: equivalent number of looks of a cell of one date, and of the mean of nine cells; None: no amplitude.
        threshold_db: beyond these a cell changed, the shared change taken away; None: no amplitude.
        offset_db: the change that all ground shares, which was taken away; None: no amplitude.
        threshold_coherence: by how much the normalised difference must fall; None: no coherence.
        false_alarms: as asked, of one cell.
        expected_false_cells: that chance times the cells that were compared.
        valid_share: of all cells, compared.
        changed_share: of these, changed.
        too_small: outlines left out.
        outlines: the largest first.
        warnings: one sentence each.
        outputs: name to path.
    """

    before_at: tuple[datetime | None, ...]
    after_at: tuple[datetime | None, ...]
    units: Mapping[str, str]
    crs: str
    cell_area_m2: float
    looks: tuple[float, float] | None
    threshold_db: tuple[float, float] | None
    offset_db: float | None
    threshold_coherence: float | None
    false_alarms: float
    expected_false_cells: float
    valid_share: float
    changed_share: float
    too_small: int
    outlines: tuple[RadarOutline, ...]
    warnings: tuple[str, ...]
    outputs: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As JSON has it."""
        plain = {name: getattr(self, name) for name in self.__slots__ if name not in {"outlines", "units", "outputs"}}
        return {
            **plain,
            "method": METHOD,
            "units": dict(self.units),
            "outputs": dict(self.outputs),
            "before_at": [_to_iso(at) for at in self.before_at],
            "after_at": [_to_iso(at) for at in self.after_at],
            "outlines": [{**one.to_json(), "geometry": one.geometry} for one in self.outlines],
        }


def _to_iso(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()
