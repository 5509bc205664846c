"""A model laid over the ground by windows: probability, spread, class, and where the training saw nothing alike."""

import json
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detection.imagery.errors import NoValidPixelsError
from detection.imagery.footprints.outputs import open_workplace
from detection.imagery.raster.raster import write_cog, writing_geotiff
from slopeward_earth.susceptibility.factors import Factors, windows
from slopeward_earth.susceptibility.model import CLASSES, SusceptibilityModel, load_model
from slopeward_earth.susceptibility.picture import draw_picture
from slopeward_earth.susceptibility.study import StudyError, read_study

NODATA: Final = -1.0
BANDS: Final = ("probability", "spread", "class", "factors outside of the training")
RASTER, PICTURE, RECORD = "susceptibility.tif", "susceptibility.png", "map.json"
Progress = Callable[[str, float], None]


@dataclass(frozen=True, slots=True)
class MapRequest:
    """Which model is laid over the factors of which study."""

    study: Path  # the study file; its inventory is not read
    model: Path  # the JSON file of the training
    out: Path  # folder for the map
    day: date  # on which it is made


def make_map(request: MapRequest, progress: Progress = lambda *_: None) -> dict[str, Any]:
    """Write the map, its picture and its record; returns the record.

    The raster has four bands (float32, nodata -1): probability, its spread over the models of the folds, the class (1
    to 5), and how many factors lie outside of what the training saw. Memory is bounded by a window.

    Raises ImageryError: a subclass for each cause, with one clear line.
    """
    began = time.process_time()
    model, study = load_model(request.model), read_study(request.study)
    own = [
        (f.name, "direction" if f.is_direction else "classes" if f.kind == "classes" else "number")
        for f in study.factors
    ]
    wanted = [(one.name, one.kind) for one in model.encoder.factors]
    if own != wanted:
        described = ", ".join(f"{name} ({kind})" for name, kind in wanted)
        raise StudyError(f"{study.path}: the model {request.model} needs these factors in this order: {described}")
    counts = np.zeros(len(CLASSES) + 1, np.int64)
    outside = 0
    with open_workplace(request.out) as work:
        with Factors(study, work) as factors:
            grid, notes = factors.grid, factors.notes
            with writing_geotiff(work / "plain.tif", grid, "float32", nodata=NODATA, count=len(BANDS)) as write:
                for done, box in windows(grid):
                    bands = _map_window(model, factors, box)
                    write(bands, box[0], box[1])
                    counts += np.bincount(np.maximum(bands[2], 0).astype(np.int64).ravel(), minlength=len(counts))
                    outside += int((bands[3] > 0).sum())
                    progress("map", done)
        known = int(counts[1:].sum())
        if not known:
            raise NoValidPixelsError(f"{study.path}: no pixel has a value of every factor; do they overlap?")
        progress("files", 0.0)
        tags = _tag(model, request.day)
        write_cog(work / "plain.tif", work / RASTER, overviews="nearest", tags=tags, descriptions=BANDS)
        drawn = draw_picture(work / RASTER, work / PICTURE)
        warnings = [*notes, *model.card.get("warnings", ())]
        if outside > 0.05 * known:
            share = f"{outside / known:.0%} of the map"
            warnings.append(f"{share} lie outside of what the training saw; they are marked in band 4")
        record = {
            "model": str(request.model),
            **{name.lower(): value for name, value in tags.items()},
            "sha256": drawn["sha256"],
            "crs": grid.crs_name,
            "width": grid.width,
            "height": grid.height,
            "known_share": known / (grid.width * grid.height),
            "outside_share": outside / known,
            "class_shares": dict(zip(CLASSES, (counts[1:] / known).tolist(), strict=True)),
            "picture": {"bounds": drawn["bounds"], "classes": drawn["classes"]},
            "outputs": {"map": RASTER, "picture": PICTURE},
            "cpu_s": round(time.process_time() - began, 1),
            "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10,
            "warnings": warnings,
        }
        (work / RECORD).write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        (request.out / RECORD).unlink(missing_ok=True)  # it comes last: where it is, everything it speaks of is
        for name in (RASTER, PICTURE, RECORD):
            (work / name).replace(request.out / name)
    progress("files", 1.0)
    return record


def _map_window(model: SusceptibilityModel, factors: Factors, box: tuple[int, int, int, int]) -> NDArray[np.float32]:
    values, known = factors.read(box)
    bands = np.full((len(BANDS), box[3], box[2]), NODATA, np.float32)
    if not known.any():
        return bands
    chance, bands[1] = model.map(values)
    bands[0] = chance
    bands[2] = np.searchsorted(model.bounds, chance, side="right") + 1
    bands[3] = model.encoder.count_outside(values)
    bands[:, ~known] = NODATA
    return bands


def _tag(model: SusceptibilityModel, day: date) -> dict[str, str]:
    card = model.card
    inventory, scores = card["inventory"], card["scores"]
    return {
        "SUSCEPTIBILITY": "1",
        "MODEL_HASH": model.model_hash,
        "MADE_ON": day.isoformat(),
        "LEARNER": model.learner,
        "CLASS_BOUNDS": json.dumps(list(model.bounds)),
        "AUC": f"{scores['auc']:.4f}",
        "AUC_INTERVAL": json.dumps([round(one, 4) for one in scores["interval"]]),
        "INVENTORY": str(inventory["file"]),
        "INVENTORY_FROM": inventory["from"] or "",
        "INVENTORY_TO": inventory["to"] or "",
        "LANDSLIDES": str(inventory["landslides"]),
    }
