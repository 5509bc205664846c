"""The lane of a scene: files in, footprints out; plain dictionaries, so that any process can call it."""

import json
import logging
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from detection.imagery.errors import NoValidPixelsError, OutputError
from detection.imagery.polygons import NODATA, STEPS, find_footprints, pixel_area_m2, threshold_steps
from detection.imagery.preview import write_preview
from detection.imagery.radiometry import Stretch, measure_stretch
from detection.imagery.raster import BandReader, ByteRaster, write_cog
from detection.imagery.registry import find_entry
from detection.imagery.scene import Scene, read_scene, scene_hash
from detection.imagery.tiling import cut

log = logging.getLogger(__name__)

DEFAULTS: dict[str, Any] = {
    "weights": "generated",
    "out_dir": None,
    "threshold": None,
    "minimum_area_m2": 900.0,
    "tile": 512,
    "halo": None,
    "scale": None,
    "acquired_at": None,
    "force": False,
}
FILES = {"prob": "prob.tif", "mask": "mask.tif", "geojson": "landslides.geojson", "preview": "preview.png"}
RUN = "run.json"
WORK = ".detect.part"
# A pixel size this many times the training pixel, or its inverse, is worth a warning.
PIXEL_RATIO = 1.5


def detect(payload: dict[str, Any]) -> dict[str, Any]:
    """Find landslides in one scene.

    The same scene, model and options give the same bytes; a second call into the same `out_dir` reads back what the
    first one found, unless `force` is set. Every output is written by temporary name and
    renamed; a failure leaves nothing. One `out_dir` serves one run at a time.

    Args:
        payload: `scene_path` (raster, or folder with `scene.toml`), and optionally `weights` (name of shipped weights,
            or path of a .safetensors file with its card beside it), `out_dir` (None: nothing is kept), `threshold`
            (None: the card's), `minimum_area_m2` (true area, also the limit below which holes are filled), `tile`,
            `halo` (None: as far as the network sees, so that tiles leave no trace), `scale` (factor from counts to
            the model's values, replaces the card's), `acquired_at` (ISO time, for a raster that does not tell),
            `force`.

    Returns:
        scene_hash, model, model_hash, acquired_at, role, crs, pixel_area_m2, width, height, valid_share, threshold,
        polygons (see `polygons.find_footprints`), outputs (name -> path, and `bounds` of the preview), warnings.

    Raises:
        ImageryError: a subclass for each cause, with one clear line.
    """
    from detection.imagery.neural.checkpoint import load_model
    from detection.imagery.neural.inference import Segmenter

    options = {**DEFAULTS, **payload}
    if unknown := sorted(set(payload) - set(DEFAULTS) - {"scene_path"}):
        raise TypeError(f"unknown key {unknown[0]!r} in the payload")
    given_at = datetime.fromisoformat(options["acquired_at"]) if options["acquired_at"] else None
    scene = read_scene(Path(options["scene_path"]), given_at)
    model = load_model(str(options["weights"]))
    card = model.card
    network = find_entry(card["network"]["name"])
    threshold = float(card["threshold"] if options["threshold"] is None else options["threshold"])
    facts = {
        "scene_hash": scene_hash(scene),
        "model": str(card["name"]),
        "model_hash": model.model_hash,
        "acquired_at": scene.acquired_at.isoformat(),
        "role": scene.role,
        "threshold": threshold,
        "minimum_area_m2": float(options["minimum_area_m2"]),
        "tile": int(options["tile"]),
        "halo": int(network.halo_px if options["halo"] is None else options["halo"]),
        "scale": options["scale"],
    }
    out_dir = Path(options["out_dir"]) if options["out_dir"] else None
    if out_dir and not options["force"] and (known := _read_run(out_dir, facts)):
        return known

    with (
        BandReader(scene.choose(model.bands), scene.mask, _reference_band(model.bands)) as reader,
        _workplace(out_dir) as work,
    ):
        try:
            stretch = measure_stretch(reader, card, options["scale"])
        except NoValidPixelsError as error:
            raise NoValidPixelsError(f"{scene.path}: {error}") from None
        steps = ByteRaster(work / "steps.tif", reader.grid)
        with steps.writing() as write:
            segmenter = Segmenter(model)
            for tile in cut(reader.grid.width, reader.grid.height, facts["tile"], facts["halo"], network.stride):
                values, valid = reader.read(tile.read_column, tile.read_row, tile.read_width, tile.read_height)
                owned = valid[tile.crop]
                out = np.full(owned.shape, NODATA, np.uint8)
                if owned.any():
                    values = stretch.apply(values, tile.read_column, tile.read_row)
                    probabilities = segmenter.probabilities(values, valid)[tile.crop]
                    out[owned] = np.rint(probabilities[owned] * STEPS).astype(np.uint8)
                write(out, tile.own_column, tile.own_row)
        with steps.reading() as read:
            found = list(
                find_footprints(
                    read,
                    reader.grid,
                    threshold=threshold,
                    minimum_area_m2=facts["minimum_area_m2"],
                    minimum_hole_m2=facts["minimum_area_m2"],
                    identity=f"{facts['scene_hash']}:{facts['model_hash']}",
                )
            )
        footprints = [footprint for footprint in found if not footprint["hugs_nodata"]]
        result = {
            **facts,
            "crs": reader.grid.crs_name,
            "width": reader.grid.width,
            "height": reader.grid.height,
            "pixel_area_m2": round(pixel_area_m2(reader.grid), 4),
            "valid_share": round(stretch.valid_share, 6),
            "warnings": _warnings(scene, reader, card, stretch, len(found) - len(footprints)),
            "polygons": footprints,
            "outputs": {},
        }
        if out_dir:
            _write_outputs(result, scene, steps, work, out_dir)
    log.info("%s: %d footprints", scene.path, len(footprints))
    return _with_paths(result, out_dir)


def train(payload: dict[str, Any]) -> dict[str, Any]:
    """Run a training recipe.

    Args:
        payload: `recipe` (path of the TOML file), `out` (path of the .safetensors file to write), and optionally
            `data` (folder of the recipe's data).

    Returns:
        The JSON card, with `weights` = the path written.
    """
    from detection.imagery.recipe import read_recipe, run_recipe

    out = Path(payload["out"])
    data = Path(payload["data"]) if payload.get("data") else None
    return {**run_recipe(read_recipe(Path(payload["recipe"])), out, data), "weights": str(out)}


def _reference_band(bands: tuple[str, ...]) -> str:
    return "B4" if "B4" in bands else bands[0]


@contextmanager
def _workplace(out_dir: Path | None) -> Iterator[Path]:
    """A temporary folder, inside of `out_dir` so that renames stay on one disk; removed whatever happens.

    Its name is fixed, so that what a killed run left behind goes with the next one.
    """
    work = None
    try:
        if out_dir:
            work = out_dir / WORK
            shutil.rmtree(work, ignore_errors=True)
            work.mkdir(parents=True)
        else:
            work = Path(tempfile.mkdtemp(prefix="detect-"))
        yield work
    except OSError as error:
        raise OutputError(f"{out_dir or work}: cannot write the results ({error.strerror or error})") from None
    finally:
        if work:
            shutil.rmtree(work, ignore_errors=True)


def _warnings(scene: Scene, reader: BandReader, card: dict[str, Any], stretch: Stretch, hugging: int) -> list[str]:
    grid = reader.grid
    found = []
    if scene.role == "single":
        found.append("one date only: a footprint may be old, or bare ground; it is advice")
    if reader.warped:
        found.append(f"warped onto the grid of {_reference_band(reader.names)}: {', '.join(reader.warped)}")
    if abs(grid.transform.b) + abs(grid.transform.d) > 0:
        found.append("the grid is rotated or sheared; areas go through the full affine")
    pixel_m = pixel_area_m2(grid) ** 0.5
    if not 1 / PIXEL_RATIO <= pixel_m / card["pixel_size_m"] <= PIXEL_RATIO:
        found.append(f"pixels of {pixel_m:.3g} m, the model was trained at {card['pixel_size_m']:g} m")
    if stretch.valid_share < 1:
        found.append(f"{1 - stretch.valid_share:.1%} of the pixels are nodata; nothing is said about them")
    if hugging:
        found.append(f"{hugging} outlines left out that only follow the edge of nodata")
    return found


def _write_outputs(result: dict[str, Any], scene: Scene, steps: ByteRaster, work: Path, out_dir: Path) -> None:
    tags = {key.upper(): str(result[key]) for key in ("model", "model_hash", "scene_hash", "threshold", "acquired_at")}
    least = threshold_steps(result["threshold"])
    mask = ByteRaster(work / "mask-steps.tif", steps.grid)
    with steps.reading() as read, mask.writing() as write:
        for row in range(0, steps.grid.height, 512):
            values = read(0, row, steps.grid.width, min(512, steps.grid.height - row))
            write(np.where(values == NODATA, NODATA, values >= least).astype(np.uint8), 0, row)
    write_cog(steps.path, work / FILES["prob"], overviews="average", tags={**tags, "STEPS_PER_UNIT": str(STEPS)})
    write_cog(mask.path, work / FILES["mask"], overviews="mode", tags=tags)
    (work / FILES["geojson"]).write_text(json.dumps(to_feature_collection(result)) + "\n", encoding="utf-8")
    bounds = write_preview(scene, result["polygons"], work / FILES["preview"])
    result["outputs"] = {**FILES, "bounds": bounds}
    (work / RUN).write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    # The record goes first and comes last: where it is, everything it speaks of is.
    (out_dir / RUN).unlink(missing_ok=True)
    for name in (*FILES.values(), RUN):
        (work / name).replace(out_dir / name)


def to_feature_collection(result: dict[str, Any]) -> dict[str, Any]:
    """Return the footprints of a result as a GeoJSON FeatureCollection (RFC 7946)."""
    shared = {key: result[key] for key in ("acquired_at", "model", "model_hash", "scene_hash", "threshold")}
    return {
        "type": "FeatureCollection",
        "features": [
            {
                "type": "Feature",
                "id": footprint["polygon_id"],
                "bbox": footprint["bbox"],
                "geometry": footprint["geometry"],
                "properties": {
                    **{key: value for key, value in footprint.items() if key not in {"geometry", "bbox"}},
                    **shared,
                },
            }
            for footprint in result["polygons"]
        ],
    }


def _read_run(out_dir: Path, facts: dict[str, Any]) -> dict[str, Any] | None:
    """Return the stored result of the same scene, model and options, if all of its files are there."""
    try:
        stored: dict[str, Any] = json.loads((out_dir / RUN).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    same = all(stored.get(key) == value for key, value in facts.items())
    return _with_paths(stored, out_dir) if same and all((out_dir / name).is_file() for name in FILES.values()) else None


def _with_paths(result: dict[str, Any], out_dir: Path | None) -> dict[str, Any]:
    if out_dir is None:
        return result
    outputs = {key: str(out_dir / value) if key in FILES else value for key, value in result["outputs"].items()}
    return {**result, "outputs": {**outputs, "run": str(out_dir / RUN)}}
